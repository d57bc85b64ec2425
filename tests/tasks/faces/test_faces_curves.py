"""Plots of verification: that what they are of can be seen in them."""

import numpy as np

from foveal.core.images import read_image
from foveal.tasks.faces.curves import plot_distances, plot_roc
from foveal.tasks.faces.far import Roc, roc

BLUE, ORANGE, DARK = (31, 119, 180), (255, 127, 14), (51, 51, 51)  # matplotlib's


def place_of(picture, colour):
    """The mean row and column of the pixels of a colour, in the left three quarters, where no legend is."""
    rows, columns = np.nonzero((picture[:, : picture.shape[1] * 3 // 4] == colour).all(axis=-1))
    return rows.mean(), columns.mean()


def curve(tar, least=1e-3):
    """A line of one height from a FAR on."""
    far = np.array([0, least, 1])
    return Roc(np.arange(3.0), far, np.array([0, tar, tar]))


def test_the_better_curve_lies_above(tmp_path):
    plot_roc({"better": curve(0.9), "worse": curve(0.2)}, tmp_path / "a.png")
    picture = read_image(str(tmp_path / "a.png"))
    assert place_of(picture, BLUE)[0] < place_of(picture, ORANGE)[0]


def test_a_curve_begins_at_the_least_rate_that_was_seen(tmp_path):
    plot_roc({"few pairs": curve(0.9, 0.1), "many": curve(0.2, 1e-5)}, tmp_path / "a.png")
    picture = read_image(str(tmp_path / "a.png"))
    assert place_of(picture, BLUE)[1] > place_of(picture, ORANGE)[1]


def test_odd_names_no_curves_and_curves_of_no_false_accept(tmp_path):
    apart = roc(np.array([0.1, 0.9]), np.array([True, False]))
    assert apart is not None
    plot_roc({"_a": apart, "$x_1": apart, "追踪": apart, **{f"{n}": apart for n in range(12)}}, tmp_path / "a.png")
    plot_roc({}, tmp_path / "b.png")
    assert read_image(str(tmp_path / "a.png")).shape[0] > 400


def test_distances_and_their_threshold(tmp_path):
    rng = np.random.default_rng(0)
    distances = np.concatenate([rng.normal(0.3, 0.05, 500), rng.normal(1.0, 0.05, 2000)])
    plot_distances(distances, np.arange(2500) < 500, 0.6, tmp_path / "a.png")
    picture = read_image(str(tmp_path / "a.png")).astype(int)
    left, right = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    blues, oranges = ([(sign * (part[..., 2] - part[..., 0]) > 60).sum() for part in (left, right)] for sign in (1, -1))
    assert blues[0] > 4 * blues[1]
    assert oranges[1] > 4 * oranges[0]


def test_distances_of_one_kind_of_one_value_or_none(tmp_path):
    plot_distances(np.full(5, 0.5), np.ones(5, bool), None, tmp_path / "a.png")
    plot_distances(np.zeros(0), np.zeros(0, bool), np.inf, tmp_path / "b.png")
    plot_distances(np.array([0.1, np.inf]), np.array([True, False]), 0.2, tmp_path / "c.png")
    assert all(read_image(str(path)).shape[0] > 300 for path in tmp_path.iterdir())
