"""Soft lines become thin ones, at the places where they were drawn."""

import cv2
import numpy as np
import pytest

from foveal.core.skeletons import thin
from foveal.tasks.edges.thin import suppress_non_maxima

INNER = (slice(8, -8), slice(8, -8))  # where an image of 64 x 64 is not faded


def ridge(angle: float, width: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """A soft line through the middle of 64 x 64 pixels, and each pixel's distance from it."""
    y, x = np.mgrid[:64, :64] - 31.7
    distance = np.cos(np.radians(angle)) * y - np.sin(np.radians(angle)) * x
    return np.exp(-((distance / width) ** 2) / 2).astype(np.float32), np.abs(distance)


@pytest.mark.parametrize("angle", [0, 10, 22.5, 30, 45, 60, 67.5, 80, 90, 120, 135, 150, 170])
@pytest.mark.parametrize("width", [1.0, 2.0])
def test_a_soft_line_becomes_one_where_it_was(angle, width):
    edges, distance = ridge(angle, width)
    kept = suppress_non_maxima(edges)
    assert distance[INNER][kept[INNER] > 0].max() < 0.75
    assert (kept[INNER] == np.where(kept > 0, edges, 0)[INNER]).all()  # values as they were
    across = (kept > 0).sum(axis=1 if 45 < angle < 135 else 0)[8:-8]
    assert set(across) <= {1, 2}  # two where they are about equally far from the line
    skeleton = thin(kept > 0).sum(axis=1 if 45 < angle < 135 else 0)[8:-8]
    assert set(skeleton) == {1}


def test_neighbouring_lines_are_kept_apart():
    edges = np.zeros((40, 40), np.float32)
    edges[:, 18], edges[:, 22] = 1, 0.5
    edges = cv2.GaussianBlur(edges, (0, 0), 0.8)
    assert np.flatnonzero(suppress_non_maxima(edges)[20]).tolist() == [18, 22]


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (3, 7), (40, 50)])
def test_an_even_surface_has_no_edge(value, size):
    assert not suppress_non_maxima(np.full(size, value, np.float32)).any()


def test_edges_fade_along_the_border():
    edges, _ = ridge(0)
    kept = suppress_non_maxima(edges)[:, :7].max(axis=0)
    assert kept.tolist() == pytest.approx(edges.max() * np.minimum(np.arange(7) / 5, 1))
