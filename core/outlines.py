"""Parts of a mask of class numbers, with outlines that say exactly which pixels they hold.

OpenCV's contours run through the middles of pixels; those along their edges are had of a mask enlarged twice, with
14 bytes a pixel. Here it is 6, which is what finding the parts takes.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial import KDTree

_BAND = 2**20  # points that are looked at together


class Part(NamedTuple):
    """Pixels of a class that hang together, by sides or corners."""

    box: tuple[int, int, int, int]  # left, top, width, height, in pixels
    area: int  # pixels
    # int64 (K, 2), x and y of the corners of one closed polygon along the pixels' edges. A hole is joined to the outer
    # ring by a line that goes there and comes back, and runs the other way round. So the polygon covers the part and
    # nothing else by the even-odd rule (that of pycocotools), and its area is the part's.
    outline: np.ndarray


def parts(mask: np.ndarray, label: int) -> Iterator[Part]:
    """The parts of class `label` in `mask`, uint8 (H, W), roughly from above."""
    own = (mask == label).view(np.uint8)
    left, top, width, height = cv2.boundingRect(own)
    if not width:
        return
    own = own[top : top + height, left : left + width]
    _, places, boxes, _ = cv2.connectedComponentsWithStats(own, connectivity=8)
    rings = defaultdict(list)
    points, across, down = _corners(own)
    for ring in _rings(across.tolist(), down.tolist()):
        # A ring begins with its upper left corner: that of a pixel, or of a hole, above which there is one.
        x, y = points[ring[0]]
        rings[int(places[y, x] or places[y - 1, x])].append(points[ring])
    del own, places
    for number, (x, y, width, height, area) in enumerate(boxes.tolist()[1:], 1):
        outer, *holes = rings.pop(number)
        outline = _joined(outer, [hole[::-1] for hole in holes])
        yield Part((left + x, top + y, width, height), area, outline + np.array((left, top)))


def _corners(own: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The corners (N, 2) of all outlines in `own`, uint8 (H, W) of 0 and 1, row by row; and the number of the corner
    to which the edge of each leads in its row, and of that in its column.
    """
    x, y, around = np.concatenate(list(_corners_in_bands(own))).T
    # Where two pixels touch at a point, that is two corners. The first has the edge to the left, and of the other two
    # the one around an empty pixel: so both pixels are in one ring.
    touching = (around == 0b0110) | (around == 0b1001)
    which = np.repeat(np.arange(len(x)), 1 + touching)
    x, y, around, touching = x[which], y[which], around[which], touching[which]
    second = np.append(False, which[1:] == which[:-1])
    lower = touching & (second == (around == 0b0110))
    # In order, the corners of a row are two by two the ends of its edges, and so are those of a column.
    partners = np.arange(len(x)) ^ 1
    order = np.lexsort((lower, y, x))
    down = np.empty_like(order)
    down[order] = order[partners]
    return np.stack([x, y], axis=1), partners, down


def _corners_in_bands(own: np.ndarray) -> Iterator[np.ndarray]:
    """x, y, and which of the four pixels around are set, int64 (N, 3), of points where these are not in line."""
    height, width = own.shape
    rows = max(1, _BAND // width)
    for top in range(0, height + 1, rows):
        above = own[max(top - 1, 0) : top + rows]
        missing = (int(top == 0), int(top + rows > height))  # no pixels there
        pixels = np.pad(above, (missing, (1, 1)))
        around = pixels[:-1, :-1] + 2 * pixels[:-1, 1:] + 4 * pixels[1:, :-1] + 8 * pixels[1:, 1:]
        y, x = np.nonzero(_TURNS[around])
        yield np.stack([x, y + top, around[y, x]], axis=1)


# By upper left 1, upper right 2, lower left 4, lower right 8.
_TURNS = ~np.isin(np.arange(16), (0b0000, 0b0011, 0b0101, 0b1010, 0b1100, 0b1111))


def _rings(across: Sequence[int], down: Sequence[int]) -> Iterator[list[int]]:
    """The corners of each closed line, by their numbers: from its first to the right, and on."""
    seen = bytearray(len(across))
    for start in range(len(across)):
        ring, at = [], start
        while not seen[at]:
            other = across[at]
            seen[at] = seen[other] = True
            ring += (at, other)
            at = down[other]
        if ring:
            yield ring


def _joined(outer: np.ndarray, holes: Sequence[np.ndarray]) -> np.ndarray:
    """One ring of all: each hole hangs at the corner of the outer ring that is nearest to the hole's first."""
    if not holes:
        return outer
    nearest = np.asarray(KDTree(outer).query([hole[0] for hole in holes])[1])
    ways = [np.concatenate([hole, hole[:1], corner]) for hole, corner in zip(holes, outer[nearest, None], strict=True)]
    return np.insert(outer, np.repeat(nearest + 1, [len(way) for way in ways]), np.concatenate(ways), axis=0)
