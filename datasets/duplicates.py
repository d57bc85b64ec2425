"""Which pictures of a data set are the same, to the byte or nearly.

Exact: equal digests of the files' bytes. Near: the same picture packed anew, resized, or a little brighter. Each
picture is shrunk to a grey thumbnail, and a hash of its 64 lowest frequencies (which of them are above their median:
the perceptual hash by cosine transform of Zauner's thesis of 2010) finds candidates. That alone would call all
microscope pictures of one kind alike, so a second look compares the thumbnails themselves: their grey levels must
correlate. Behind the two limits, from 864 photographs: packing at quality 60, nine tenths and half of the size, and 8
levels brighter change 4 bits at most and leave a correlation of 0.9905 or more; two shots of one scene from one place,
in another focus, reach 0.978.

Imports no torch.
"""

import hashlib
from collections.abc import Iterator

import cv2
import numpy as np

THUMBNAIL = 32  # pixels a side
SMALLEST = 64  # pixels of the shorter side: pictures below that are alike by chance, as digits are

_BITS = 8  # how many bits two hashes of one picture may differ in
_CORRELATION = 0.99
_LEAST_CONTRAST = 2.0  # grey levels, standard deviation: a blank page is like every other
# One of five bands is the same wherever four bits or fewer differ, so only pictures that share a band are compared.
_BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))  # first bit, number of bits
_WINDOW = 256  # pictures of one band, in the order of their hashes, that each is compared with
_CHUNK = 4096  # thumbnails that are made float32 at a time

_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    1: cv2.IMREAD_GRAYSCALE,
}


def digest_of(data: bytes) -> np.ndarray:
    """128 bits that stand for the bytes of a file: uint64 (2,)."""
    return np.frombuffer(hashlib.blake2b(data, digest_size=16).digest(), np.uint64)


def exact_groups(digests: np.ndarray) -> list[np.ndarray]:
    """The rows of `digests`, uint64 (N, 2), that are equal: for each digest that occurs twice or more, rising int64."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    new = (digests[order][1:] != digests[order][:-1]).any(axis=1)
    groups = np.split(order, np.flatnonzero(new) + 1)
    return sorted((np.sort(group) for group in groups if len(group) > 1), key=lambda group: group[0])


def thumbnail_of_jpeg(data: bytes, size: tuple[int, int]) -> np.ndarray | None:
    """A JPEG of `size` (H, W) as a grey thumbnail, uint8 (32, 32); None where it cannot be decoded.

    Only its lowest frequencies are decoded, at an eighth, a quarter or half of its size: several times faster.
    """
    scale = next((scale for scale in (8, 4, 2) if min(size) >= scale * SMALLEST), 1)
    try:
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[scale])
    except cv2.error:
        return None
    if grey is None:
        return None
    # The decoder rounds sizes up, and fills what lies beyond: the last row may stand for an eighth of a row.
    columns = _averages(grey.astype(np.float32), size[0] / scale).T
    return np.rint(_averages(columns, size[1] / scale).T).astype(np.uint8)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A picture, uint8 (H, W, 3) RGB, as a grey thumbnail, uint8 (32, 32)."""
    small = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def near_partners(thumbnails: np.ndarray, splits: np.ndarray, number_of_splits: int) -> np.ndarray:
    """For each picture one that is nearly the same, in each split: int64 (N, number_of_splits), -1 where there is none.

    `thumbnails`: uint8 (N, 32, 32), all 0 for those that take no part; `splits`: int (N,), from 0. Within its own split
    a picture's partner is an earlier one, so that the first of several has none.
    """
    partners = np.full((len(thumbnails), number_of_splits), -1, np.int64)
    hashes, contrast = _hashes(thumbnails)
    rows = np.flatnonzero(contrast >= _LEAST_CONTRAST)
    for pairs in _candidates(hashes, rows):
        first, second = np.sort(pairs, axis=1).T
        wanted = (partners[second, splits[first]] < 0) | (
            (splits[first] != splits[second]) & (partners[first, splits[second]] < 0)
        )
        first, second = first[wanted], second[wanted]
        alike = _correlation(thumbnails, first, second) >= _CORRELATION
        first, second = first[alike], second[alike]
        partners[second, splits[first]] = first
        across = splits[first] != splits[second]
        partners[first[across], splits[second[across]]] = second[across]
    return partners


def _averages(values: np.ndarray, extent: float) -> np.ndarray:
    """The means of 32 equal parts of the first `extent` rows of float32 (R, C): float32 (32, C).

    By running sums: a product of matrices would start threads of its own in each of ours.
    """
    edges = np.linspace(0, extent, THUMBNAIL + 1)
    row = np.minimum(edges.astype(np.int64), len(values) - 1)
    before = np.cumsum(values, axis=0)[row] - values[row]
    sums = before + (edges - row).astype(np.float32)[:, None] * values[row]
    return np.diff(sums, axis=0) * np.float32(THUMBNAIL / extent)


def _hashes(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The perceptual hash of each thumbnail, uint64 (N,), and its contrast, float32 (N,)."""
    # The cosine transform's lowest eight rows; cv2.dct takes one picture at a time.
    steps, waves = np.arange(THUMBNAIL) + 0.5, np.arange(8)[:, None]
    cosines = np.cos(np.pi / THUMBNAIL * waves * steps).astype(np.float32)
    hashes, contrast = np.zeros(len(thumbnails), np.uint64), np.zeros(len(thumbnails), np.float32)
    for start in range(0, len(thumbnails), _CHUNK):
        part = thumbnails[start : start + _CHUNK].astype(np.float32)
        low = (cosines @ part @ cosines.T).reshape(len(part), 64)
        bits = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)
        hashes[start : start + _CHUNK] = bits.view(np.uint64)[:, 0]
        contrast[start : start + _CHUNK] = part.std(axis=(1, 2))
    return hashes, contrast


def _candidates(hashes: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs of `rows`, int64 (P, 2), whose hashes share a band and differ in few bits."""
    for first, number in _BANDS:
        band = hashes[rows] >> np.uint64(first) & np.uint64(2**number - 1)
        order = rows[np.lexsort((hashes[rows], band))]
        band = np.sort(band)
        for distance in range(1, min(_WINDOW, len(rows) - 1) + 1):
            same = band[distance:] == band[:-distance]
            if not same.any():
                break
            left, right = order[:-distance][same], order[distance:][same]
            close = np.bitwise_count(hashes[left] ^ hashes[right]) <= _BITS
            if close.any():
                yield np.stack([left[close], right[close]], axis=1)


def _correlation(thumbnails: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each pair of thumbnails, float32 (P,)."""
    found = np.zeros(len(first), np.float32)
    for start in range(0, len(first), _CHUNK):
        part = slice(start, start + _CHUNK)
        a, b = (thumbnails[rows[part]].reshape(-1, THUMBNAIL**2).astype(np.float32) for rows in (first, second))
        a -= a.mean(axis=1, keepdims=True)
        b -= b.mean(axis=1, keepdims=True)
        found[part] = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return found
