"""The pen of styles: kinds that take turns, sizes, repeatability, and pictures that differ."""

import hashlib

import numpy as np
import pytest

from foveal.datasets.world.pens import halved
from foveal.datasets.world.styles import STYLE_KINDS, draw_style

SMALL = (64, 96)


def test_the_kinds_take_turns():
    assert STYLE_KINDS == ("stripes", "dots", "brush_strokes", "mosaic", "hatching", "waves")
    assert [draw_style(index, size=SMALL)[1] for index in range(12)] == [*STYLE_KINDS, *STYLE_KINDS]


@pytest.mark.parametrize("index", range(6))
def test_a_picture_is_rgb_of_the_size_and_the_same_again(index):
    picture, _ = draw_style(index, size=SMALL)
    assert picture.shape == (64, 96, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, draw_style(index, size=SMALL)[0])
    assert not np.array_equal(picture, draw_style(index, size=SMALL, seed=1)[0])


@pytest.mark.parametrize("index", range(6))
def test_a_style_is_everywhere_in_its_picture(index):
    """Each quarter has texture: grey values that spread by more than the grain's 11 levels."""
    grey = draw_style(index)[0].mean(-1)
    for quarter in (grey[:128, :128], grey[:128, 128:], grey[128:, :128], grey[128:, 128:]):
        assert quarter.std() > 12


def test_each_index_has_its_own_palette():
    colours = np.array([draw_style(index, size=SMALL)[0].mean((0, 1)) for index in range(60)])
    distances = np.abs(colours[:, None] - colours).sum(-1) + 1000 * np.eye(60)
    assert distances.min() > 0.5
    assert np.median(distances.min(1)) > 5


def test_halving_is_the_rounded_mean_of_four():
    canvas = np.array([[0, 1], [1, 0], [255, 255], [254, 255]], np.uint8)[..., None]
    assert halved(canvas)[..., 0].tolist() == [[1], [255]]  # 2 / 4 = 0.5 and 1019 / 4 = 254.75


def test_no_byte_changes_unnoticed():
    """A digest over one small picture of each kind: data sets that were drawn must be drawn the same again."""
    drawn = b"".join(draw_style(index, size=SMALL)[0].tobytes() for index in range(6))
    assert hashlib.sha256(drawn).hexdigest()[:16] == "f459ccc2424f798a"
