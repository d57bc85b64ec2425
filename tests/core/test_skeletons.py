"""Lines one pixel wide, beside scikit-image's thinning."""

import cv2
import numpy as np
import pytest
from skimage.morphology import thin as thin_by_skimage

from foveal.core.compiled import compiled
from foveal.core.skeletons import thin, thinned_pixels


def test_a_bar_becomes_its_middle_line():
    bar = np.zeros((7, 12), bool)
    bar[2:5, 1:11] = True
    rows, columns = np.nonzero(thin(bar))
    assert set(rows) == {3}
    assert sorted(columns) == list(range(2, 10))  # a pixel less at either end


def test_a_ring_stays_a_ring():
    ring = cv2.circle(np.zeros((40, 40), np.uint8), (20, 20), 12, 1, 5).astype(bool)
    assert cv2.connectedComponents((~thin(ring)).astype(np.uint8), connectivity=4)[0] == 3  # inside, outside and 0


def test_thinning_is_that_of_scikit_image():
    rng = np.random.default_rng(0)
    for number in range(60):
        size = rng.integers(1, 70, 2)
        mask = rng.random(size) < rng.random()
        if number % 2:
            mask = cv2.GaussianBlur(rng.random(size), (0, 0), 0.5 + 3 * rng.random()).reshape(size) > 0.5
        assert (thin(mask) == thin_by_skimage(mask)).all()
        assert thinned_pixels(mask).tolist() == np.flatnonzero(thin(mask)).tolist()


@pytest.mark.parametrize("mask", [np.zeros((1, 1), bool), np.ones((1, 1), bool), np.zeros((5, 4), bool)])
def test_what_is_thin_stays(mask):
    assert (thin(mask) == mask).all()


def test_code_without_a_place_to_be_kept_is_compiled_all_the_same():
    names: dict = {}
    exec(compile("def twice(x):\n    return 2 * x", "<nowhere>", "exec"), names)
    assert compiled(names["twice"])(21) == 42
