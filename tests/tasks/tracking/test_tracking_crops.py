"""Regions cut out of frames, to the pixel."""

import numpy as np
import pytest

from foveal.tasks.tracking.crops import crop, mean_colour
from foveal.tasks.tracking.region import Region

GREEN = np.array([0.0, 200.0, 0.0])


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def plain(image: np.ndarray, region: Region, size: int, fill: np.ndarray) -> np.ndarray:
    """Linear interpolation pixel by pixel, what lies outside being `fill`."""
    height, width = image.shape[:2]
    drawn = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            y = region.y - region.height / 2 + (row + 0.5) * region.height / size - 0.5
            x = region.x - region.width / 2 + (column + 0.5) * region.width / size - 0.5
            for below in (int(np.floor(y)), int(np.floor(y)) + 1):
                for beside in (int(np.floor(x)), int(np.floor(x)) + 1):
                    inside = 0 <= below < height and 0 <= beside < width
                    pixel = image[below, beside] if inside else fill
                    drawn[row, column] += (1 - abs(y - below)) * (1 - abs(x - beside)) * pixel
    return drawn


@pytest.mark.parametrize(("x", "y", "size"), [(60, 40, 32), (50.5, 40.5, 31), (16, 16, 32)])
def test_whole_pixels_come_back_unchanged(noise, x, y, size):
    left, top = int(x - size / 2), int(y - size / 2)
    cut = crop(noise, Region(x, y, size, size), size, GREEN)
    assert cut.dtype == np.uint8
    assert (cut == noise[top : top + size, left : left + size]).all()


def test_what_lies_beyond_the_border_is_filled(noise):
    cut = crop(noise, Region(0, 0, 20, 20), 20, GREEN)
    assert (cut[10:, 10:] == noise[:10, :10]).all()
    assert (cut[:10] == GREEN).all() and (cut[:, :10] == GREEN).all()
    cut = crop(noise, Region(120, 90, 20, 20), 20, GREEN)
    assert (cut[:10, :10] == noise[80:, 110:]).all()
    assert (cut[10:] == GREEN).all() and (cut[:, 10:] == GREEN).all()


@pytest.mark.parametrize("region", [Region(-300, 40, 64, 64), Region(60, 1e9, 64, 64), Region(-1e30, 0, 9000, 9000)])
def test_a_region_outside_is_all_fill(noise, region):
    assert (crop(noise, region, 16, np.array([0.4, 199.6, 7.0])) == (0, 200, 7)).all()


@pytest.mark.parametrize(
    "region", [Region(40.3, 50.7, 37.3, 20.1), Region(2.2, 3.3, 30.5, 20), Region(119, 88.1, 47, 15)]
)
def test_it_is_linear_interpolation(noise, region):
    cut = crop(noise, region, 24, GREEN)
    # Rounding to whole levels, and at the border OpenCV's rounding of the fill's share.
    assert np.abs(cut - plain(noise, region, 24, GREEN)).max() < 1.01


def test_a_fine_checkerboard_becomes_grey():
    rows, columns = np.indices((256, 256))
    board = np.repeat(((rows + columns) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    for side in (64.0, 67.0, 127.0, 130.0, 200.0):
        cut = crop(board, Region(128.3, 127.1, side, side), 32, GREEN)
        assert np.abs(cut - 127.5).max() <= 15, side  # a block of 3 x 3 has 5 of the one and 4 of the other
    assert np.ptp(crop(board, Region(128, 128, 40, 40), 40, GREEN)) == 255


@pytest.mark.parametrize("side", [20.0, 40.0, 79.9, 80.1, 130.0, 200.0])
def test_the_middle_of_a_region_is_the_middle_of_its_crop(side):
    rows, columns = np.indices((300, 300)) + 0.5
    x, y = 151.37, 140.81
    blob = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (side / 10) ** 2))
    image = np.repeat(np.rint(blob)[..., None], 3, axis=2).astype(np.uint8)
    cut = crop(image, Region(x, y, side, side), 40, np.zeros(3))[..., 0].astype(float)
    middle = [float((cut.sum(axis=axis) * (np.arange(40) + 0.5)).sum() / cut.sum()) for axis in (0, 1)]
    assert middle == pytest.approx([20, 20], abs=0.05)


def test_a_whole_factor_is_the_mean_of_blocks(noise):
    cut = crop(noise, Region(60, 45, 60, 90), 30, GREEN)
    blocks = noise[:, 30:90].reshape(30, 3, 30, 2, 3).mean(axis=(1, 3))
    assert np.abs(cut - blocks).max() <= 1


def test_a_block_that_the_border_cuts_is_filled_up():
    image = np.zeros((90, 121, 3), np.uint8)  # 4 pixels become one, and of the last block the image has one
    cut = crop(image, Region(120, 44, 80, 80), 20, np.full(3, 100.0))
    assert (cut[10, :10] == 0).all() and (cut[10, 10] == 75).all() and (cut[10, 11:] == 100).all()


def test_odd_images_and_regions_pass(noise):
    assert crop(noise, Region(60, 45, 0, 0), 8, GREEN).shape == (8, 8, 3)
    assert (crop(noise[:1, :1], Region(0.5, 0.5, 1, 1), 1, GREEN) == noise[0, 0]).all()
    long = np.zeros((2, 40_000, 3), np.uint8)  # OpenCV warps no image of 2**15 pixels or more
    assert (crop(long, Region(39_000, 1, 2, 2), 2, GREEN) == 0).all()
    assert (crop(noise[:, ::-1], Region(10, 10, 20, 20), 20, GREEN) == noise[:20, ::-1][:, :20]).all()


def test_the_mean_colour_is_that_of_all_pixels(noise):
    assert mean_colour(noise) == pytest.approx(noise.reshape(-1, 3).mean(axis=0))
    assert mean_colour(noise).shape == (3,)
