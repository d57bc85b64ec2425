"""Tiles cover an image, and overlap as much as was asked for."""

from itertools import pairwise

import numpy as np
import pytest

from foveal.core.tiles import Tile, cut_tiles


def test_tiles_by_hand():
    # 1,000 pixels in steps of at most 480 = 600 * 0.8: from 0 and from 400, the second flush with the border.
    assert cut_tiles((600, 1000), 600, 0.2) == [Tile(0, 0, 600, 600), Tile(0, 400, 600, 600), Tile(0, 0, 600, 1000)]


@pytest.mark.parametrize("size", [(640, 640), (1, 1), (600, 300), (640, 1)])
def test_an_image_no_larger_than_a_tile_is_one_tile(size):
    assert cut_tiles(size, 640, 0.2) == [Tile(0, 0, *size)]


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("size", [(641, 641), (999, 1500), (100, 4000), (1280, 1152)])
def test_tiles_cover_all_and_overlap_as_asked(size, overlap):
    *tiles, whole = cut_tiles(size, 640, overlap)
    assert whole == Tile(0, 0, *size)
    seen = np.zeros(size, bool)
    for top, left, height, width in tiles:
        assert height == min(640, size[0]) and width == min(640, size[1])
        assert top + height <= size[0] and left + width <= size[1]
        seen[top : top + height, left : left + width] = True
    assert seen.all()
    for axis, side in ((0, size[0]), (1, size[1])):
        starts = sorted({tile[axis] for tile in tiles})
        assert starts[0] == 0 and starts[-1] + min(640, side) == side
        assert all(640 - (after - before) >= overlap * 640 for before, after in pairwise(starts))


def test_a_huge_image_has_no_more_tiles_than_it_needs():
    # (12,000 - 640) / 512 = 22.2 and (9,000 - 640) / 512 = 16.3 steps: 24 x 18 tiles, and the whole image.
    assert len(cut_tiles((9000, 12000), 640, 0.2)) == 24 * 18 + 1
