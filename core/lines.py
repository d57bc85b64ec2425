"""Lines of pixels as polylines: what formats of vectors need of a map of edges.

Pixels hang together by sides, and by corners where no pixel of the two beside the corner is there. So a corner of
three pixels is a way along its sides and no triangle, and a pixel with three ways or more is a junction.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .compiled import compiled
from .skeletons import framed, thin

TOLERANCE = 0.5  # pixels at most from the middle of a pixel to its line: the stairs of a straight slope are within it


class Line(NamedTuple):
    """A line from an end or a junction to the next, or around and back to where it began."""

    # float64 (K, 2), x and y, at least two: middles of pixels, 0 at the left and top edge of the image; the last is the
    # first where the line is closed. Of a pixel alone, the middles of its left and right side.
    points: np.ndarray
    pixels: np.ndarray  # int32 (P,), indices into the flat mask of the pixels that it stands for, each once
    closed: bool


def trace(mask: np.ndarray) -> Iterator[Line]:
    """The lines of `mask`, bool (H, W), after it is thinned to lines one pixel wide: closed ones last.

    Each pixel of the thinned mask is on a line, within `TOLERANCE` of it; lines meet in the pixels of junctions. They
    are simplified by Douglas and Peucker's rule ("Algorithms for the reduction of the number of points required to
    represent a digitized line or its caricature", Cartographica 1973).
    """
    width = mask.shape[1]
    pixels, starts = _trace(thin(mask))
    y, x = np.divmod(pixels, width)
    kept = _kept(x, y, starts, TOLERANCE)
    points = np.stack([x, y], axis=1) + 0.5
    for first, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if end - first == 1:
            yield Line(points[first] + ((-0.5, 0), (0.5, 0)), pixels[first:end], closed=False)
        else:
            closed = bool(pixels[first] == pixels[end - 1])
            yield Line(points[first:end][kept[first:end]], pixels[first : end - closed], closed)


@compiled
def _trace(mask):
    """The pixels of all lines behind one another, as flat indices, and where each line begins, and where all end."""
    width = mask.shape[1]
    wide = width + 2
    around = (1, 1 - wide, -wide, -wide - 1, -1, wide - 1, wide, wide + 1)  # from the right, counter-clockwise
    pixels, here = framed(mask)
    ways = np.zeros(len(here), np.uint8)  # of each pixel to its neighbours, a bit each, that no line has gone yet
    degree = np.zeros(len(here), np.uint8)
    total = 0
    for pixel in pixels:
        for k in range(8):
            beside = k & 1 and here[pixel + around[k - 1]] | here[pixel + around[(k + 1) & 7]]
            if here[pixel + around[k]] and not beside:
                ways[pixel] |= 1 << k
                degree[pixel] += 1
        total += max(degree[pixel], 1)
    found, starts = np.empty(total, np.int32), np.empty(total + 1, np.int64)
    length = lines = 0
    for rings in range(2):  # what is left when all lines with ends are gone
        for pixel in pixels:
            if degree[pixel] == 0 and rings == 0:
                starts[lines], found[length] = length, pixel
                lines, length = lines + 1, length + 1
            if (degree[pixel] == 2) != rings:
                continue
            while ways[pixel]:
                starts[lines], found[length] = length, pixel
                lines, length, at = lines + 1, length + 1, pixel
                while at == pixel or (degree[at] == 2 and ways[at]):
                    k = 0
                    while not ways[at] >> k & 1:
                        k += 1
                    ways[at] &= ~(1 << k)
                    at += around[k]
                    ways[at] &= ~(1 << ((k + 4) & 7))
                    found[length] = at
                    length += 1
                    if at == pixel:
                        break
    starts[lines] = length
    for index in range(length):
        found[index] = (found[index] // wide - 1) * width + found[index] % wide - 1
    return found[:length], starts[: lines + 1]


@compiled
def _kept(x, y, starts, tolerance):
    """Which points the simplified lines go through: bool, as `x` and `y`."""
    kept = np.zeros(len(x), np.bool_)
    waiting = np.empty((len(x), 2), np.int64)  # parts of a line, by their first and their last point
    for line in range(len(starts) - 1):
        kept[starts[line]] = kept[starts[line + 1] - 1] = True
        waiting[0] = starts[line], starts[line + 1] - 1
        count = 1
        while count:
            count -= 1
            first, last = waiting[count]
            farthest, most = first, tolerance
            for index in range(first + 1, last):
                distance = _distance(x[index], y[index], x[first], y[first], x[last], y[last])
                if distance > most:
                    farthest, most = index, distance
            if farthest != first:
                kept[farthest] = True
                waiting[count] = first, farthest
                waiting[count + 1] = farthest, last
                count += 2
    return kept


@compiled
def _distance(x, y, x1, y1, x2, y2):
    """From a point to the nearest one between two others."""
    across, down = x2 - x1, y2 - y1
    squared = across * across + down * down
    share = 0.0
    if squared > 0:
        share = min(max(((x - x1) * across + (y - y1) * down) / squared, 0.0), 1.0)
    return np.hypot(x - x1 - share * across, y - y1 - share * down)
