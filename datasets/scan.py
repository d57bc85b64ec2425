"""One reading of every image file of a data set: is it whole, how large is it, and what tells it from the others.

Threads, not processes: reading, hashing and decoding all let go of Python's lock, and the results lie in arrays.
Imports no torch.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np

from ..core.cores import number_of_cores
from ..core.images import ImageError, decode_image, inspect_image, read_bytes
from .duplicates import SMALLEST, THUMBNAIL, digest_of, thumbnail, thumbnail_of_jpeg

# quick: headers, and the bytes themselves; usual: JPEG files decoded at a fraction of their size, all others in full;
# full: everything decoded.
Mode = Literal["quick", "usual", "full"]

# What is told of a long piece of work: its title, how many of its parts are done, and how many there are.
Watch = Callable[[str, int, int], None]

_PART = 32  # files that a thread takes at a time


class Scan(NamedTuple):
    """What is known of N files, row by row."""

    sizes: np.ndarray  # int32 (N, 2), (H, W) as the image is read; 0 for a file that cannot be read
    kinds: np.ndarray  # str (N,), "JPEG", ...; "" for a file that cannot be read
    digests: np.ndarray  # uint64 (N, 2), of the bytes
    thumbnails: np.ndarray  # uint8 (N, 32, 32), grey; 0 for pictures too small to be compared; (0, 32, 32) if unasked
    faults: list[tuple[int, str, str]]  # row, code and what is wrong, of each file that cannot be read

    @property
    def readable(self) -> np.ndarray:
        """Which files hold an image, bool (N,)."""
        return self.sizes[:, 0] > 0


def scan_images(paths: np.ndarray, mode: Mode, watch: Watch, *, compare: bool) -> Scan:
    """Read every file of `paths`, bytes (N,); with `compare`, and unless `mode` is quick, thumbnails are made."""
    count = len(paths)
    compare = compare and mode != "quick"
    scan = Scan(
        np.zeros((count, 2), np.int32),
        np.zeros(count, "<U4"),
        np.zeros((count, 2), np.uint64),
        np.zeros((count if compare else 0, THUMBNAIL, THUMBNAIL), np.uint8),
        [],
    )

    def look(row: int) -> None:
        name = os.fsdecode(paths[row])
        try:
            data = read_bytes(name)
            scan.digests[row] = digest_of(data)
            kind, size = inspect_image(data, name)
            small = _decode(data, name, kind, size, mode)
        except ImageError as error:
            scan.faults.append((row, error.code, error.reason))
            return
        scan.kinds[row], scan.sizes[row] = kind, size
        if compare and small is not None:
            scan.thumbnails[row] = small

    in_threads(look, count, "images", watch)
    scan.faults.sort()
    return scan


def in_threads(work: Callable[[int], None], count: int, title: str, watch: Watch) -> None:
    """Call `work` with each number below `count`, on all cores, and tell `watch`; what it raises is raised."""

    def part(start: int) -> int:
        stop = min(start + _PART, count)
        for number in range(start, stop):
            work(number)
        return stop - start

    done = 0
    watch(title, done, count)
    pool = ThreadPoolExecutor(number_of_cores())
    try:
        for finished in pool.map(part, range(0, count, _PART)):
            done += finished
            watch(title, done, count)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest


def _decode(data: bytes, name: str, kind: str, size: tuple[int, int], mode: Mode) -> np.ndarray | None:
    """The thumbnail of a file, if it was decoded and is large enough for one; raises ImageError for a damaged one."""
    if mode == "quick":
        return None
    large = min(size) >= SMALLEST
    if mode == "full" or kind != "JPEG":
        image = decode_image(data, name)
        return thumbnail(image) if large else None
    small = thumbnail_of_jpeg(data, size)
    if small is None:
        decode_image(data, name)  # says what is wrong
    return small if large else None
