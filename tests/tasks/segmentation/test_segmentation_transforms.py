"""Tiles reach the network at one scale."""

import numpy as np
import pytest

from foveal.core.data import DataOptions, preprocessing
from foveal.tasks.segmentation.transforms import tile_transform


def prepared(image: np.ndarray, tile: int, size: int = 64) -> np.ndarray:
    return tile_transform(preprocessing(DataOptions(size=size)), tile)({"image": image}, seed=0)["image"]


def test_a_tile_of_the_networks_size_is_left_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (64, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(prepared(image, tile=64), image)


@pytest.mark.parametrize(("tile", "size"), [(128, (64, 25)), (80, (102, 40)), (32, (256, 100))])
def test_sides_are_scaled_alike_however_long(tile, size):
    # 128 x 50 pixels, by 1/2, by 0.8 (102.4) and by 2.
    assert prepared(np.zeros((128, 50, 3), np.uint8), tile).shape == (*size, 3)


def test_a_smaller_image_is_the_mean_over_pixels():
    image = np.zeros((2, 4, 3), np.uint8)
    image[0, 0], image[1, 1], image[:, 2:] = 100, 60, 30
    assert prepared(image, tile=128)[0, :, 0].tolist() == [40, 30]  # (100 + 60 + 0 + 0) / 4


def test_a_tile_never_vanishes():
    assert prepared(np.zeros((1, 3, 3), np.uint8), tile=1024).shape == (1, 1, 3)
