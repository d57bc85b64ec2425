"""Plots of several trackers: who comes first, and that every curve is seen."""

import numpy as np
import pytest

from foveal.core.images import read_image
from foveal.tasks.tracking.curves import plot_normalised_precision, plot_precision, plot_success, ranked
from foveal.tasks.tracking.metrics import Curves

BLUE, ORANGE = (31, 119, 180), (255, 127, 14)  # matplotlib's first and second colour


def level(value: float) -> Curves:
    """Curves of one height."""
    return Curves(np.full(21, value), np.full(51, value), np.full(51, value))


def row_of(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    """The mean row of the pixels of a colour; of the left half, where no legend is."""
    rows, _ = np.nonzero((picture[:, : picture.shape[1] // 2] == colour).all(axis=-1))
    return float(rows.mean())


def test_names_by_falling_score():
    assert ranked({"a": 0.1, "b": 0.5, "c": 0.1}) == ["b", "a", "c"]


@pytest.mark.parametrize("plot", [plot_success, plot_precision, plot_normalised_precision])
def test_the_best_has_the_first_colour_and_lies_above(plot, tmp_path):
    plot({"worse": level(0.2), "better": level(0.8)}, tmp_path / "a.png")
    picture = read_image(str(tmp_path / "a.png"))
    assert row_of(picture, BLUE) < row_of(picture, ORANGE)


def test_any_names_and_any_number_of_trackers(tmp_path):
    odd = {"_hidden": level(0.95), "$x_1": level(0.9), "追踪": level(0.1), "a\nb": level(0.3)}
    many = {f"tracker {number}": level(number / 50) for number in range(45)}
    for name, trackers in (("odd", odd), ("many", many | odd), ("none", {})):
        plot_success(trackers, tmp_path / f"{name}.png")
        assert read_image(str(tmp_path / f"{name}.png")).shape[0] > 500


def test_a_name_that_begins_with_an_underscore_is_in_the_legend(tmp_path):
    # Matplotlib leaves labels that begin so out.
    for name in ("_a", "a"):
        plot_success({name: level(0.5)}, tmp_path / f"{name}.png")
    hidden, shown = (read_image(str(tmp_path / f"{name}.png")) for name in ("_a", "a"))
    assert dark_on_the_right(shown) > 100 and dark_on_the_right(hidden) > dark_on_the_right(shown)


def dark_on_the_right(picture: np.ndarray) -> int:
    """Pixels of letters beside the axes."""
    return int((picture[:, picture.shape[1] * 9 // 10 :] < 100).all(axis=-1).sum())
