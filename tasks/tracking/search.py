"""Which crops of a frame a tracker looks at: targets near one another share one.

Features of a larger crop are, cell by cell, those of smaller ones inside it, if these begin a multiple of the stride
from its corner and padding has been cut off. So each target reads its part of the common map; that the part begins up
to half a stride beside where its own crop would, is known, and goes into the place that is found (`Part.offset`).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .region import Region

_NEAR_SIZES = 1.04  # about a step of scales (1.0375): the sizes of regions that are searched at one common scale


class Grid(NamedTuple):
    """What is to be known of a head to share its crops."""

    search_size: int  # pixels
    stride: int
    smallest: float  # factor of the search region


class Search(NamedTuple):
    """A crop, to be cut out in each of the scales."""

    image: int  # index of the frame among those of the call
    region: Region  # at scale 1
    size: int  # pixels a side, that of a head's search crop and a multiple of the stride more
    members: list[int]  # targets that are searched in it

    def part_region(self, middle: Region, search_size: int) -> Region:
        """The part of a member, whose own search region is `middle`, at the scale of the crop."""
        pixel = self.region.width / self.size
        return Region(middle.x, middle.y, pixel * search_size, pixel * search_size)


class Part(NamedTuple):
    """Where in a crop's map that of a member begins."""

    row: int
    column: int
    offset: tuple[float, float]  # from the member's place to the middle of its part, x and y in pixels of the crop


def alone(regions: Sequence[Region], images: Sequence[int], size: int) -> list[Search]:
    """A crop for each target."""
    return [
        Search(image, region, size, [index]) for index, (region, image) in enumerate(zip(regions, images, strict=True))
    ]


def together(regions: Sequence[Region], images: Sequence[int], grid: Grid) -> list[Search]:
    """As few pixels as a greedy look finds: targets share a crop where that has fewer than their own would have.

    `regions` are the targets' square search regions, `images` says in which frame each is.
    """
    groups: list[Search] = []
    for index, (region, image) in enumerate(zip(regions, images, strict=True)):
        best, saved = None, 0
        for place, group in enumerate(groups):
            joined = _joined(group, index, regions, grid) if group.image == image else None
            if joined is not None and group.size**2 + grid.search_size**2 - joined.size**2 > saved:
                best, saved = (place, joined), group.size**2 + grid.search_size**2 - joined.size**2
        if best is None:
            groups.append(Search(image, region, grid.search_size, [index]))
        else:
            groups[best[0]] = best[1]
    return groups


def part(search: Search, member: Region, factor: float, grid: Grid) -> Part:
    """Where `member`, a target's own search region, lies in the crop that is `factor` times as large as `search`."""
    pixel = search.region.width / search.size * factor
    room = (search.size - grid.search_size) // grid.stride
    cells, offset = [], []
    for distance in (member.x - search.region.x, member.y - search.region.y):
        start = distance / pixel + (search.size - grid.search_size) / 2
        cell = min(max(round(start / grid.stride), 0), room)
        cells.append(cell)
        offset.append(cell * grid.stride - start)
    return Part(cells[1], cells[0], (offset[0], offset[1]))


def _joined(group: Search, index: int, regions: Sequence[Region], grid: Grid) -> Search | None:
    """`group` with one more, or None where their sizes differ too much for a common scale."""
    members = [*group.members, index]
    widths = np.array([regions[member].width for member in members])
    if widths.max() > _NEAR_SIZES * widths.min():
        return None
    pixel = math.sqrt(widths.max() * widths.min()) / grid.search_size
    middles = np.array([(regions[member].x, regions[member].y) for member in members])
    low, high = middles.min(axis=0), middles.max(axis=0)
    reach = (high - low).max() / (pixel * grid.smallest)
    size = grid.search_size + math.ceil(reach / grid.stride) * grid.stride
    x, y = (low + high) / 2
    return Search(group.image, Region(float(x), float(y), pixel * size, pixel * size), size, members)
