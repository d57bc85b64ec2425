"""Normals of depth maps whose planes are known, also of the drawn world's, and the angles between them."""

import math

import numpy as np
import pytest
import torch

from foveal.core.errors import UsageError
from foveal.datasets.world.dice import Dice
from foveal.datasets.world.scenes import draw_scene, focal_length
from foveal.tasks.depth.normals import NormalMetrics, angles_between, normals_from_depth, true_normals


def plane(normal, distance: float, size=(24, 32), focal=30.0) -> np.ndarray:
    """The depth of a plane: of points P with normal . P = -distance, each along its pixel's ray."""
    height, width = size
    x, y = np.meshgrid((np.arange(width) - (width - 1) / 2) / focal, (np.arange(height) - (height - 1) / 2) / focal)
    rays = np.stack([x, y, np.ones(size)], axis=-1)
    return -distance / (rays @ normal)


def unit(*vector: float) -> np.ndarray:
    return np.array(vector) / np.linalg.norm(vector)


@pytest.mark.parametrize(
    "normal",
    [unit(0, 0, -1), unit(0.5, 0, -1), unit(0, -1, -0.8), unit(-0.3, 0.4, -1), unit(0.6, 0.2, -1.2)],
    ids=str,
)
def test_a_plane_has_one_normal(normal):
    depth = plane(normal, 4.0)
    assert (depth > 0).all()
    found = normals_from_depth(depth, 30.0)
    assert found.dtype == np.float32 and found.shape == (24, 32, 3)
    assert np.abs(found - normal).max() < 1e-5
    # Of a picture of half the size, whose focal length is half as long, at the same places of the scene.
    assert np.abs(normals_from_depth(plane(normal, 4.0, (12, 16), 15.0), 15.0) - normal).max() < 1e-5


def test_a_wall_and_a_floor_meet_in_a_crease():
    wall, floor = plane(unit(0, 0, -1), 3.0, focal=20.0), plane(unit(0, -1, 0), 1.0, focal=20.0)
    depth = np.where((floor > 0) & (floor < wall), floor, wall)
    found = normals_from_depth(depth, 20.0)
    on_floor = depth == floor
    assert 60 < on_floor.sum() < 500
    off = np.abs(found - np.where(on_floor[..., None], [0, -1, 0], [0, 0, -1])).max(axis=(1, 2))
    assert (off > 1e-5).sum() <= 1 and off.max() < 0.1  # the row of the crease itself


def test_a_border_is_no_slope():
    depth = np.full((8, 10), 5.0)
    depth[:, 5:] = 2.0
    assert (normals_from_depth(depth, 10.0) == [0, 0, -1]).all()


def test_what_is_not_known():
    depth = np.full((5, 6), 2.0)
    depth[0, 0], depth[0, 1], depth[0, 2], depth[0, 3] = 0, np.nan, np.inf, -1
    depth[4] = 0
    depth[4, 5] = 2.0  # no neighbour on its row
    found = normals_from_depth(depth, 10.0)
    none = np.zeros((5, 6), bool)
    none[0, :4] = none[4] = True
    assert ((found == 0).all(axis=-1) == none).all() and (found[~none] == [0, 0, -1]).all()
    assert (normals_from_depth(np.full((1, 6), 2.0), 10.0) == 0).all()
    assert (normals_from_depth(np.zeros((4, 4)), 10.0) == 0).all()
    for focal in (0, -3, np.nan, np.inf):
        with pytest.raises(UsageError, match=r"The focal length is .*; give the pixels of the image it has"):
            normals_from_depth(depth, focal)


@pytest.mark.parametrize("number", range(6))
def test_ground_and_wall_of_the_drawn_world(number):
    size = (200, 256)
    scene = draw_scene(Dice(0, number), size)
    horizon, wall = scene._plan.backdrop.horizon, scene._plan.backdrop.wall
    found = normals_from_depth(scene.depth, focal_length(size), ((size[1] - 1) / 2, horizon - 0.5))
    assert np.linalg.norm(found, axis=-1) == pytest.approx(1, abs=1e-5)
    free = scene.ids == 0
    for part, normal in (
        (free & (scene.depth < wall), (0, -1, 0)),
        (free & (scene.depth == np.float32(wall)), (0, 0, -1)),
    ):
        off = np.abs(found[part] - normal).max(axis=-1) > 0.01
        assert part.sum() > 2000 and off.mean() < 0.03  # slivers between two bodies, one pixel wide


def test_angles_by_hand():
    degrees = [0.0, 11.0, 12.0, 22.0, 40.0, 180.0]
    found = np.array([[math.sin(math.radians(x)), 0, -math.cos(math.radians(x))] for x in degrees] + [[0, 1, 0]])
    truth = np.array([[0, 0, -1.0]] * 6 + [[0, 0, 0.0]])
    assert angles_between(3 * found, truth) == pytest.approx(degrees)
    metrics = NormalMetrics()
    metrics.update(found[None, :4], truth[None, :4])
    metrics.update(found[None, 4:], truth[None, 4:])
    numbers = metrics.compute()
    assert numbers["normals_mean"] == pytest.approx(sum(degrees) / 6)
    assert numbers["normals_median"] == pytest.approx(12, abs=0.011)  # the third of six
    assert [numbers[f"normals_{x}"] for x in ("11_25", "22_5", "30")] == pytest.approx([2 / 6, 4 / 6, 4 / 6])


def test_small_angles_are_told_from_nothing_and_no_direction_is_the_worst():
    tilted = np.array([[math.sin(1e-4), 0, -math.cos(1e-4)]], np.float32)
    assert angles_between(tilted, np.array([[0, 0, -1.0]])) == pytest.approx(math.degrees(1e-4), rel=1e-3)
    assert angles_between(np.array([[0, 0, 0], [np.nan, 0, 1]]), np.array([[0, 0, -1.0]] * 2)).tolist() == [180, 180]


def test_the_median_is_right_to_a_hundredth():
    random = np.random.default_rng(0)
    found, truth = (random.normal(size=(41, 51, 3)) for _ in range(2))
    truth /= np.linalg.norm(truth, axis=-1, keepdims=True)
    metrics = NormalMetrics()
    metrics.update(found, truth)
    assert metrics.compute()["normals_median"] == pytest.approx(np.median(angles_between(found, truth)), abs=0.011)
    metrics.reset()
    metrics.update(found, np.zeros_like(truth))
    assert set(metrics.compute().values()) == {-1.0}


def test_the_truth_of_a_sample():
    depth = plane(unit(0.3, 0, -1), 4.0, focal=28.0).astype(np.float32)  # of 24 x 32: the drawn world's (24 + 32) / 2
    for given in (depth, torch.from_numpy(depth)):
        assert np.abs(true_normals({"depth": given}) - unit(0.3, 0, -1)).max() < 1e-4
    assert np.abs(true_normals({"depth": depth}, focal=56.0) - unit(0.3, 0, -1)).max() > 0.1
    own = np.zeros((24, 32, 3), np.float32)
    assert (true_normals({"depth": depth, "normals": torch.from_numpy(own)}) == own).all()
