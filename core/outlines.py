"""Parts of a mask of class numbers, and their outlines as polygons that say exactly which pixels they hold."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial import KDTree


class Part(NamedTuple):
    """Pixels of a class that hang together, by sides or corners."""

    left: int
    top: int
    pixels: np.ndarray  # bool (h, w), without empty rows and columns around them
    area: int  # pixels


def parts(mask: np.ndarray, label: int) -> Iterator[Part]:
    """The parts of class `label` in `mask`, uint8 (H, W): those that begin in a higher row come first."""
    own = (mask == label).view(np.uint8)
    left, top, width, height = cv2.boundingRect(own)
    if not width:
        return
    own = own[top : top + height, left : left + width]
    count, places, boxes, _ = cv2.connectedComponentsWithStats(own, connectivity=8)
    for number in range(1, count):
        x, y, width, height, area = boxes[number].tolist()
        yield Part(left + x, top + y, places[y : y + height, x : x + width] == number, area)


def outline(pixels: np.ndarray) -> np.ndarray:
    """One closed polygon along the pixels' edges around a part, bool (h, w): corners x, y, int32 (K, 2), in pixels.

    A hole is joined to the outer ring by a line that goes there and comes back. By the even-odd rule, which
    pycocotools and most drawing libraries have, the polygon covers the part and nothing else.
    """
    # Enlarged twice, the line through a part's outermost pixels runs beside each of its pixels' edges: half of it,
    # rounded up, is the edge. At its corners that gives some points twice.
    large = cv2.resize(pixels.view(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer, *holes = [_corners((line[:, 0] + 1) // 2) for line in lines]
    if not holes:
        return outer
    places = np.asarray(KDTree(outer).query([hole[0] for hole in holes])[1])
    ways = [np.concatenate([hole, hole[:1], corner]) for hole, corner in zip(holes, outer[places, None], strict=True)]
    return np.insert(outer, np.repeat(places + 1, [len(way) for way in ways]), np.concatenate(ways), axis=0)


def _corners(ring: np.ndarray) -> np.ndarray:
    """A closed ring (K, 2) without points that are twice in a row."""
    before = np.concatenate([ring[-1:], ring[:-1]])  # np.roll, but ten times as fast on a few points
    return ring[(ring != before).any(axis=1)]
