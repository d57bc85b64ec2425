"""COCO's masks, polygons and run lengths, in flat arrays, each checked before any other library could see it.

pycocotools believes what it gets: a polygon with a NaN or a number of 1e12 takes all memory there is, run lengths that
are too short come back as a mask of whatever the memory held before, and an empty size ends the process.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from .coco_json import shown

_FEWEST = 6  # numbers of a polygon: three corners
_REACH = 10  # images that a polygon may stick out by; rounding and cut objects stay far below
_REACH_UNKNOWN = 1e6  # pixels, where the image's size is not known
_WIDEST = 7  # characters of a run length in COCO's strings, 5 bits each; more than 2 ** 31 pixels are no mask

# What is said of a mask: the object's row, a code and a sentence.
Report = Callable[[int, str, str], None]


class Masks(NamedTuple):
    """The masks of M objects: polygons, or run lengths down the columns, beginning with those of background.

    Flat arrays in the order of the file, and where each object's part of them lies: a choice of objects, in any order,
    is a choice of rows of the first three.
    """

    polygons: np.ndarray  # int64 (M, 2), the object's first polygon and the one behind its last
    lengths: np.ndarray  # int64 (M, 2), the same for run lengths; equal where it has polygons
    sizes: np.ndarray  # int64 (M, 2), (H, W) that the run lengths are for; 0 where there are none
    ends: np.ndarray  # int64 (P + 1,), where each polygon's numbers begin, and the last one's end
    points: np.ndarray  # float32, x, y, x, y, ... of all polygons, in pixels
    runs: np.ndarray  # uint32, all run lengths

    def subset(self, rows: np.ndarray) -> Self:
        """The masks of the objects at `rows`."""
        return self._replace(polygons=self.polygons[rows], lengths=self.lengths[rows], sizes=self.sizes[rows])

    def polygons_of(self, row: int) -> list[np.ndarray]:
        """An object's polygons, float32 (K, 2) each, x and y; none where it has run lengths."""
        first, end = self.polygons[row].tolist()
        return [self.points[self.ends[at] : self.ends[at + 1]].reshape(-1, 2) for at in range(first, end)]

    def mask_of(self, row: int) -> np.ndarray | None:
        """The mask that an object's run lengths stand for, bool (H, W); None where it has polygons."""
        first, end = self.lengths[row].tolist()
        if first == end:
            return None
        runs = self.runs[first:end]
        height, width = self.sizes[row].tolist()
        return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def read_masks(segmentations: Sequence[Any], sizes: np.ndarray, report: Report) -> tuple[Masks, np.ndarray]:
    """The masks of M annotations, and which of them are of use, bool (M,).

    `segmentations`: as parsed, lists of polygons or {size, counts}, None or [] where there is no mask; `sizes`: (M, 2),
    (H, W) of the image of each, 0 where it is not known. A mask of no use, but for one that is not there, is reported
    as INVALID_POLYGON (fewer than three corners, an odd count, no number, wild numbers) or INVALID_RLE (lengths that do
    not add up to the image, another size than the image's, what is no run length at all), OUTSIDE (no
    polygon within the image) or NO_AREA (run lengths without a pixel).
    """
    usable = np.ones(len(segmentations), bool)

    def refuse(row: int, code: str, text: str) -> None:
        if usable[row]:
            report(row, code, text)
        usable[row] = False

    polygons, ends, points = _polygons(segmentations, sizes, refuse)
    lengths, of_runs, runs = _run_lengths(segmentations, sizes, refuse)
    usable &= (polygons[:, 1] > polygons[:, 0]) | (lengths[:, 1] > lengths[:, 0])
    return Masks(polygons, lengths, of_runs, ends, points, runs), usable


def _polygons(segmentations: Sequence[Any], sizes: np.ndarray, refuse: Report) -> tuple[np.ndarray, ...]:
    points, ends = array("d"), array("q", [0])
    for row, segmentation in enumerate(segmentations):
        if type(segmentation) is list:
            for polygon in segmentation:
                try:
                    points.fromlist(polygon)
                except (TypeError, OverflowError):
                    refuse(row, "INVALID_POLYGON", f"its polygon is {shown(polygon)}: expected a list of numbers")
                ends.append(len(points))
        elif segmentation is not None and type(segmentation) is not dict:
            refuse(row, "INVALID_POLYGON", f"its segmentation is {shown(segmentation)}: expected a list of polygons")
    counts = [len(segmentation) if type(segmentation) is list else 0 for segmentation in segmentations]
    last = np.cumsum(counts, dtype=np.int64)
    numbers, edges = np.frombuffer(points, np.float64), np.frombuffer(ends, np.int64)
    _check_polygons(numbers, edges, np.repeat(np.arange(len(counts)), counts), sizes, refuse)
    with np.errstate(over="ignore", invalid="ignore"):  # wild numbers have been reported
        return np.stack([last - counts, last], axis=1), edges, numbers.astype(np.float32)


def _check_polygons(
    numbers: np.ndarray, edges: np.ndarray, owners: np.ndarray, sizes: np.ndarray, refuse: Report
) -> None:
    counts = np.diff(edges)
    for at in np.flatnonzero((counts % 2 == 1) | (counts < _FEWEST)).tolist():
        text = f"its polygon has {counts[at]} numbers: expected x, y of three corners or more"
        refuse(int(owners[at]), "INVALID_POLYGON", text)
    filled = np.flatnonzero(counts)
    if not len(filled):
        return
    farthest = np.maximum.reduceat(np.abs(numbers), edges[filled])  # NaN where there is one
    sides = sizes[owners[filled]].max(axis=1)
    limits = np.where(sides > 0, (_REACH + 1) * sides, _REACH_UNKNOWN)
    for at in np.flatnonzero(~(farthest <= limits)).tolist():
        text = f"its polygon has the coordinate {farthest[at]:g}, where at most {limits[at]:g} can be meant"
        refuse(int(owners[filled[at]]), "INVALID_POLYGON", text)
    even = (counts > 0) & (counts % 2 == 0)
    pairs = (numbers if even.all() else numbers[np.repeat(even, counts)]).reshape(-1, 2)
    _check_inside(pairs, counts[even] // 2, owners[even], sizes, refuse)


def _check_inside(pairs: np.ndarray, counts: np.ndarray, owners: np.ndarray, sizes: np.ndarray, refuse: Report) -> None:
    """Report objects all of whose polygons lie outside of an image of known size."""
    if not len(counts):
        return
    firsts, outside = np.cumsum(counts) - counts, np.zeros(len(counts), bool)
    for axis, sides in ((0, sizes[owners, 1]), (1, sizes[owners, 0])):
        outside |= (sides > 0) & (np.maximum.reduceat(pairs[:, axis], firsts) <= 0)
        outside |= (sides > 0) & (np.minimum.reduceat(pairs[:, axis], firsts) >= sides)
    for row in np.setdiff1d(owners[outside], owners[~outside]).tolist():
        height, width = sizes[row].tolist()
        refuse(row, "OUTSIDE", f"its polygons lie outside of the image of {width} x {height} pixels")


def _run_lengths(segmentations: Sequence[Any], sizes: np.ndarray, refuse: Report) -> tuple[np.ndarray, ...]:
    """First and last run length of each annotation, the (H, W) they are for, and all run lengths."""
    of_runs = np.zeros((len(segmentations), 2), np.int64)
    plain_rows, plain_counts, plain, packed_rows, packed = [], [], array("q"), [], []
    for row, segmentation in enumerate(segmentations):
        if type(segmentation) is not dict:
            continue
        size, counts, given = _size(segmentation), segmentation.get("counts"), tuple(sizes[row].tolist())
        if size is None or (all(given) and size != given):
            text = f"its run lengths are for the size {shown(segmentation.get('size'))}: expected "
            refuse(row, "INVALID_RLE", text + (shown(list(given)) if all(given) else "[height, width]"))
            continue
        before = len(plain)
        try:
            if type(counts) is str:
                packed.append(counts.encode("ascii"))
                packed_rows.append(row)
            else:
                plain.fromlist(counts)  # type: ignore[arg-type]  # what is no list of numbers is a TypeError
                plain_rows.append(row)
                plain_counts.append(len(plain) - before)
        except (TypeError, OverflowError, UnicodeEncodeError):
            text = f"its run lengths are {shown(counts)}: expected a list of whole numbers, or a string of them"
            refuse(row, "INVALID_RLE", text)
            continue
        of_runs[row] = size
    unpacked, unpacked_counts = _unpack(packed)
    counts = np.concatenate([np.array(plain_counts, np.int64), unpacked_counts])
    runs = np.concatenate([np.frombuffer(plain, np.int64), unpacked])
    last = np.cumsum(counts)
    places = np.stack([last - counts, last], axis=1)
    rows = np.array(plain_rows + packed_rows, np.int64)
    _check_runs(runs, places, rows, of_runs, refuse)
    of_all = np.zeros_like(of_runs)
    of_all[rows] = places
    return of_all, of_runs, runs.astype(np.uint32)


def _size(segmentation: Mapping[str, Any]) -> tuple[int, int] | None:
    size = segmentation.get("size")
    if type(size) is not list or len(size) != 2 or any(type(side) is not int or not 0 < side < 2**20 for side in size):
        return None
    return size[0], size[1]


def _check_runs(runs: np.ndarray, places: np.ndarray, rows: np.ndarray, sizes: np.ndarray, refuse: Report) -> None:
    wild = (runs < 0) | (runs >= 2**32)
    sums = np.diff(np.append(0, np.cumsum(np.where(wild, 0, runs)))[places], axis=1)[:, 0]
    wilds = np.diff(np.append(0, np.cumsum(wild))[places], axis=1)[:, 0]
    for at in np.flatnonzero(wilds).tolist():
        refuse(int(rows[at]), "INVALID_RLE", "one of its run lengths is below 0, too large, or damaged")
    for at in np.flatnonzero(sums != sizes[rows].prod(axis=1)).tolist():
        height, width = sizes[rows[at]].tolist()
        text = f"its run lengths add up to {sums[at]} pixels, and not to the {height * width} of {width} x {height}"
        refuse(int(rows[at]), "INVALID_RLE", text)
    lengths = places[:, 1] - places[:, 0]
    odd = (np.arange(len(runs)) - np.repeat(places[:, 0], lengths)) % 2 == 1
    covered = np.diff(np.append(0, np.cumsum(odd & (runs > 0)))[places], axis=1)[:, 0]
    for at in np.flatnonzero(covered == 0).tolist():
        refuse(int(rows[at]), "NO_AREA", "its run lengths cover no pixel")


def _unpack(strings: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The run lengths in COCO's strings, one behind another, int64, and how many each has; -1 stands for damage.

    A string holds numbers of 5 bits a character, the lowest first, with a bit that says whether more follow, and 48
    added to be printable; from the fourth on a number is the difference to the one before the last (the format of
    `rleToString` in cocoapi's maskApi.c).
    """
    counts = np.array([len(string) for string in strings], np.int64)
    owners = np.repeat(np.arange(len(strings)), counts)
    codes = np.frombuffer(b"".join(strings), np.uint8).astype(np.int64) - 48
    damaged = np.zeros(len(strings), bool)
    damaged[owners[(codes < 0) | (codes > 63)]] = True
    damaged[counts > 0] |= codes[np.cumsum(counts)[counts > 0] - 1] & 32 > 0  # the last number goes on
    kept = ~damaged[owners]
    numbers, owners = _numbers(codes[kept], owners[kept])
    damaged[owners[numbers == _DAMAGED]] = True
    numbers, owners = numbers[~damaged[owners]], owners[~damaged[owners]]
    counts = np.bincount(owners, minlength=len(strings))
    lengths = _undo_differences(numbers, counts, owners)
    # A damaged string gets one length that no check lets through.
    firsts = np.cumsum(counts) - counts
    return np.insert(lengths, firsts[damaged], -1), counts + damaged


_DAMAGED = np.iinfo(np.int64).min


def _numbers(codes: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers that characters stand for, and the string of each."""
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.append(0, ends[:-1] + 1)[: len(ends)]
    widths = ends - starts + 1
    if not len(ends):
        return ends, ends
    places = np.minimum(np.arange(len(codes)) - np.repeat(starts, widths), _WIDEST)
    numbers = np.add.reduceat((codes & 31) << (5 * places), starts)
    numbers -= np.where(codes[ends] & 16 > 0, 1 << (5 * np.minimum(widths, _WIDEST)), 0)  # the sign
    return np.where(widths > _WIDEST, _DAMAGED, numbers), owners[ends]


def _undo_differences(numbers: np.ndarray, counts: np.ndarray, owners: np.ndarray) -> np.ndarray:
    firsts = np.cumsum(counts) - counts
    positions = np.arange(len(numbers)) - firsts[owners]
    lengths = numbers.copy()
    for chain in (positions % 2 == 1, (positions % 2 == 0) & (positions > 0)):
        sums = np.cumsum(np.where(chain, numbers, 0))
        lengths[chain] = (sums - sums[firsts[owners]])[chain]
    return lengths
