"""Lines of pixels as polylines: a few by hand, and that no pixel is left out, whatever the mask."""

import cv2
import numpy as np
import pytest

from foveal.core.lines import Line, trace
from foveal.core.skeletons import thin


def mask_of(*rows: str) -> np.ndarray:
    return np.array([[sign == "#" for sign in row] for row in rows])


def points_of(mask: np.ndarray) -> list[list[tuple[float, float]]]:
    """Of each line its points, from the end that comes first."""
    lines = ([tuple(point) for point in line.points.tolist()] for line in trace(mask))
    return sorted(min(points, points[::-1]) for points in lines)


def distance(line: Line, pixel: tuple[float, float]) -> float:
    """From the middle of a pixel to the line."""
    start, step = line.points[:-1], np.diff(line.points, axis=0)
    share = (((np.array(pixel) - start) * step).sum(1) / np.maximum((step**2).sum(1), 1e-9)).clip(0, 1)
    return np.hypot(*(start + share[:, None] * step - pixel).T).min()


def test_an_l_is_one_line_with_a_corner():
    corner = mask_of(
        "......",
        ".#....",
        ".#....",
        ".#....",
        ".####.",
        "......",
    )  # fmt: skip
    assert points_of(corner) == [[(1.5, 1.5), (1.5, 3.5), (2.5, 4.5), (4.5, 4.5)]]  # thinning cuts the corner


def test_three_lines_meet_in_the_middle_of_a_t():
    tee = np.zeros((9, 11), bool)
    tee[1, 1:10] = tee[1:8, 5] = True
    assert points_of(tee) == [[(1.5, 1.5), (5.5, 1.5)], [(5.5, 1.5), (5.5, 7.5)], [(5.5, 1.5), (9.5, 1.5)]]


def test_lines_that_touch_at_corners_cross():
    cross = np.eye(7, dtype=bool) | np.eye(7, dtype=bool)[::-1]
    ends = [[(0.5, 0.5), (3.5, 3.5)], [(0.5, 6.5), (3.5, 3.5)], [(3.5, 3.5), (6.5, 0.5)], [(3.5, 3.5), (6.5, 6.5)]]
    assert points_of(cross) == ends


def test_a_circle_is_closed():
    circle = cv2.circle(np.zeros((40, 50), np.uint8), (25, 20), 12, 1, 1).astype(bool)
    (line,) = trace(circle)
    assert line.closed and line.points[0].tolist() == line.points[-1].tolist()
    assert 8 <= len(line.points) <= 32 and len(line.pixels) == len(set(line.pixels.tolist())) == thin(circle).sum()
    assert np.abs(np.hypot(*(line.points - (25.5, 20.5)).T) - 12).max() < 1
    assert np.hypot(*np.diff(line.points, axis=0).T).sum() == pytest.approx(2 * np.pi * 12, rel=0.05)


def test_a_thick_ring_with_a_tail_is_a_ring_at_the_end_of_a_line():
    picture = cv2.circle(np.zeros((60, 80), np.uint8), (25, 30), 15, 1, 5)
    lines = list(trace(cv2.line(picture, (40, 30), (75, 30), 1, 3).astype(bool)))
    assert sorted(line.closed for line in lines) == [False, True]
    tail, ring = sorted(lines, key=lambda line: line.closed)
    meeting = ring.points[0].tolist()
    assert meeting == ring.points[-1].tolist() and meeting in (tail.points[0].tolist(), tail.points[-1].tolist())


def test_a_pixel_alone_is_a_line_across_it():
    assert points_of(mask_of("...", "..#")) == [[(2.0, 1.5), (3.0, 1.5)]]


def test_a_slope_is_one_straight_line():
    slope = cv2.line(np.zeros((20, 60), np.uint8), (2, 3), (57, 16), 1, 1).astype(bool)
    assert points_of(slope) == [[(2.5, 3.5), (57.5, 16.5)]]


@pytest.mark.parametrize("mask", [np.zeros((5, 7), bool), np.zeros((1, 1), bool)])
def test_without_pixels_there_is_no_line(mask):
    assert list(trace(mask)) == []


def test_every_pixel_is_on_a_line_and_no_line_is_elsewhere():
    rng = np.random.default_rng(0)
    for number in range(60):
        size = rng.integers(1, 50, 2)
        mask = rng.random(size) < rng.random()
        if number % 2:
            mask = cv2.GaussianBlur(rng.random(size), (0, 0), 0.5 + 2 * rng.random()).reshape(size) > 0.5
        lines, skeleton = list(trace(mask)), thin(mask)
        assert sorted({pixel for line in lines for pixel in line.pixels.tolist()}) == np.flatnonzero(skeleton).tolist()
        for line in lines:
            middles = np.stack([line.pixels % size[1], line.pixels // size[1]], axis=1) + 0.5
            assert max(distance(line, middle) for middle in middles) <= 0.5 + 1e-9
            corners = {tuple(point) for point in line.points.tolist()}
            assert corners <= {tuple(middle) for middle in middles.tolist()} or len(middles) == 1
            steps = np.abs(np.diff(middles, axis=0)).max(axis=1, initial=0)
            assert (steps == 1).all() or len(middles) == 1  # pixel by pixel, without a gap
