"""Tiles cover an image, overlap as much as was asked for, and begin on the grid."""

from itertools import pairwise

import numpy as np
import pytest

from foveal.core.tiles import Tile, Tiling


def test_tiles_by_hand():
    # 1,000 pixels in steps of at most 480 = 600 * 0.8: from 0 and from 400, the second flush with the border.
    tiles = [Tile(0, 0, 600, 600), Tile(0, 400, 600, 600)]
    assert Tiling(600, 0.2).tiles((600, 1000)) == tiles
    assert Tiling(600, 0.2, whole=True).tiles((600, 1000)) == [*tiles, Tile(0, 0, 600, 1000)]


def test_tiles_on_a_grid_by_hand():
    # In steps of at most 448 = 14 * 32, the last from the multiple of 32 behind 400, and 16 pixels shorter for it.
    assert Tiling(600, 0.2, grid=32).tiles((600, 1000)) == [Tile(0, 0, 600, 600), Tile(0, 416, 600, 584)]
    # Two columns of rows: row by row.
    assert Tiling(64, 0.0, grid=32).tiles((100, 128)) == [
        Tile(0, 0, 64, 64), Tile(0, 64, 64, 64), Tile(64, 0, 36, 64), Tile(64, 64, 36, 64)
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(640, 640), (1, 1), (600, 300), (640, 1)])
@pytest.mark.parametrize("grid", [1, 32])
def test_an_image_no_larger_than_a_tile_is_one_tile(size, grid):
    assert Tiling(640, 0.2, grid, whole=True).tiles(size) == [Tile(0, 0, *size)]


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("size", [(641, 641), (999, 1500), (100, 4000), (1280, 1152)])
@pytest.mark.parametrize("grid", [1, 32, 60])
def test_tiles_cover_all_and_overlap_as_asked(size, overlap, grid):
    *tiles, whole = Tiling(640, overlap, grid, whole=True).tiles(size)
    assert whole == Tile(0, 0, *size)
    seen = np.zeros(size, bool)
    for top, left, height, width in tiles:
        assert min(640, size[0]) - grid < height <= 640 and min(640, size[1]) - grid < width <= 640
        assert top % grid == left % grid == 0
        assert top + height <= size[0] and left + width <= size[1]
        seen[top : top + height, left : left + width] = True
    assert seen.all()
    for axis in (0, 1):
        spans = sorted({(tile[axis], tile[axis] + tile[axis + 2]) for tile in tiles})
        assert spans[0][0] == 0 and spans[-1][1] == size[axis]
        assert all(end < size[axis] for _, end in spans[:-1])
        assert all(end - start >= overlap * 640 for (_, end), (start, _) in pairwise(spans))


def test_a_grid_coarser_than_the_steps_is_left():
    assert [tile.left for tile in Tiling(100, 0.8, grid=32).tiles((100, 150))] == [0, 16, 33, 50]  # steps of 20 or less


def test_a_huge_image_has_no_more_tiles_than_it_needs():
    # (12,000 - 640) / 512 = 22.2 and (9,000 - 640) / 512 = 16.3 steps: 24 x 18 tiles.
    assert len(Tiling(640, 0.2).tiles((9000, 12000))) == 24 * 18
