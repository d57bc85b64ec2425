"""What is drawn of edges, and the curve with its lines of equal F."""

import numpy as np
import torch

from foveal.core.images import read_image
from foveal.tasks.edges.berkeley import Point, Rates, Scores
from foveal.tasks.edges.draw import draw_edges, plot_curve
from foveal.tasks.edges.prediction import edge_prediction

RED = (200, 30, 30)


def red_columns(edges: np.ndarray, threshold: float = 0.5) -> list[int]:
    """Of the picture's middle row, at the size of the image."""
    size = (400, 600)
    image = np.full((*size, 3), 255, np.uint8)
    picture = draw_edges(image, edge_prediction(torch.from_numpy(edges), "a.png", threshold=threshold, thin=False))
    assert picture.shape == (*size, 3)
    return np.flatnonzero((picture[size[0] // 2] == RED).all(axis=-1)).tolist()


def ridge(middle: int, width: int, top: float = 0.9) -> np.ndarray:
    """A line down the image that falls off by 0.05 a pixel on both sides, `width` pixels wide."""
    away = np.abs(np.arange(600) - middle)
    profile = np.where(away <= width // 2, top - 0.05 * away, 0)
    return np.tile(profile, (400, 1)).astype(np.float32)


def test_of_a_wide_edge_its_middle_is_red_and_the_rest_is_not():
    assert red_columns(ridge(300, 11)) == [300]
    image = np.full((400, 600, 3), 255, np.uint8)
    prediction = edge_prediction(torch.from_numpy(ridge(300, 11)), "a.png", threshold=0.5, thin=False)
    beside = draw_edges(image, prediction)[200, 298]  # likely as well: strong orange, 0.8 of it on white
    assert beside.tolist() == [243, 187, 99]


def test_lines_stay_as_they_are():
    edges = np.zeros((400, 600), np.float32)
    edges[:, 100], edges[:, 300:302], edges[:, 500] = 0.6, 0.7, 0.4  # one pixel, two, and one below the threshold
    assert red_columns(edges) == [100, 300, 301]


def test_nothing_found_is_nothing_red():
    assert red_columns(np.zeros((400, 600), np.float32)) == []


def test_the_curve_is_a_picture_with_and_without_scores(tmp_path):
    curve = tuple(Point(t, 1 - t, t, 0.5) for t in (0.2, 0.5, 0.8))
    scores = Scores(Point(0.5, 0.5, 0.5, 0.5), Rates(0.5, 0.5, 0.5), 0.3, 0.5, (), curve)
    for name, each in (("with.png", scores), ("without.png", None)):
        plot_curve(each, str(tmp_path / name))
    shown, bare = (read_image(str(tmp_path / name)) for name in ("with.png", "without.png"))
    assert shown.shape == bare.shape and (shown != bare).any()
