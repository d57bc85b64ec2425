"""Augmentation of edges: lines stay whole, lie on the image's, and keep the share of those who drew them."""

import math

import cv2
import numpy as np
import pytest

from foveal.core.data import preprocessing
from foveal.core.options import DataOptions
from foveal.core.transforms import A, Transform
from foveal.tasks.edges.transforms import AUGMENTATIONS, transform
from foveal.tasks.edges.turn import Rescale, Turn, inner_rectangle, resize_edges

ANGLES = [k * math.pi / 8 for k in range(16)]


class Turned(Turn):
    """By one angle."""

    def __init__(self, number: int) -> None:
        super().__init__(16)
        self.number = number

    @property
    def py_random(self):
        return self

    @py_random.setter
    def py_random(self, _value):
        pass

    def randrange(self, _count: int) -> int:
        return self.number


def drawing(height: int = 90, width: int = 120) -> dict:
    """A white circle and a long diagonal, each a line one pixel wide, on black, in the image and as edges."""
    lines = np.zeros((height, width), np.uint8)
    cv2.circle(lines, (width // 2, height // 2), 20, 255)
    edges = np.where(lines > 0, np.float32(0.6), 0)
    np.fill_diagonal(lines, 255)
    np.fill_diagonal(edges, 1)
    return {"image": np.repeat(lines[:, :, None], 3, axis=2), "edges": edges.astype(np.float32)}


@pytest.mark.parametrize(
    ("size", "degrees", "inner"),
    [
        ((60, 100), 0, (60, 100)),
        ((60, 100), 180, (60, 100)),
        ((60, 100), 90, (100, 60)),
        ((60, 100), 270, (100, 60)),
        # 45 degrees: of a square of 100 the side over the root of 2; of a thin one half of its width over sin 45.
        ((100, 100), 45, (70, 70)),
        ((60, 100), 45, (42, 42)),
        ((60, 100), 135, (42, 42)),
        # 22.5 degrees, sin 0.3827, cos 0.9239, cos 45 0.7071: (100 c - 100 s) / 0.7071 = 76.5.
        ((100, 100), 22.5, (76, 76)),
        # 60 > 2 s c 80 = 56.6: (60 c - 80 s) / 0.7071 = 35.1 and (80 c - 60 s) / 0.7071 = 72.06.
        ((60, 80), 22.5, (35, 72)),
        # 60 < 2 s c 100 = 70.7: 60 / 2 s = 78.4 along and 60 / 2 c = 32.5 across.
        ((60, 100), 22.5, (32, 78)),
        ((100, 60), 22.5, (78, 32)),
        ((1, 1), 22.5, (1, 1)),
    ],
)
def test_the_inner_rectangle_by_hand(size, degrees, inner):
    assert inner_rectangle(*size, math.radians(degrees)) == inner


@pytest.mark.parametrize("size", [(50, 70), (70, 50), (64, 64), (30, 90)])
@pytest.mark.parametrize("angle", ANGLES)
def test_the_inner_rectangle_is_inside_and_none_around_it_is(size, angle):
    def inside(height, width):
        corners = np.array([[x * width / 2, y * height / 2] for x in (-1, 1) for y in (-1, 1)])
        cosine, sine = math.cos(angle), math.sin(angle)
        back = np.abs(corners @ np.array([[cosine, -sine], [sine, cosine]]))
        return (back <= np.array([size[1], size[0]]) / 2 + 1e-6).all()

    height, width = inner_rectangle(*size, angle)
    assert inside(height, width) and not inside(height + 1, width + 1)
    # Nor is any of another shape larger, by more than what whole pixels cost.
    areas = [h * w for h in range(1, 100, 3) for w in range(1, 100, 3) if inside(h, w)]
    assert max(areas) <= (height + 1) * (width + 1)


@pytest.mark.parametrize("number", range(16))
def test_a_turned_image_has_nothing_from_outside(number):
    sample = {"image": np.full((61, 93, 3), 200, np.uint8), "mask": np.ones((61, 93), np.int64)}
    result = Transform([Turned(number)])(sample, 0)
    assert result["image"].shape[:2] == inner_rectangle(61, 93, ANGLES[number])
    assert (result["mask"] == 1).all()  # 255 would be unknown
    assert (result["image"] == 200).all()


@pytest.mark.parametrize("number", range(16))
def test_turned_lines_stay_whole_thin_and_on_the_images(number):
    sample = drawing()
    result = Transform([Turned(number)])(sample, 0)
    edges, light = result["edges"], result["image"][:, :, 0]
    assert {round(float(share), 4) for share in np.unique(edges)} == {0, 0.6, 1}
    # What is bright in the image is an edge, and an edge lies on what is not black.
    assert (edges[light > 127] > 0).all() and (light[edges > 0] > 0).all()
    # The circle is one line as before; where the diagonal crosses it, both are.
    assert cv2.connectedComponents((edges > 0).astype(np.uint8), connectivity=8)[0] == 2
    kept = edges.size / sample["edges"].size
    assert (edges > 0).sum() <= 2 * (sample["edges"] > 0).sum() and kept > 0.2


@pytest.mark.parametrize(("number", "quarters"), [(0, 0), (4, 1), (8, 2), (12, 3)])
def test_quarters_are_exact(number, quarters):
    random = np.random.default_rng(0)
    sample = {
        "image": random.integers(0, 256, (40, 61, 3), dtype=np.uint8),
        "edges": random.integers(0, 6, (40, 61)).astype(np.float32) / 5,
    }
    result = Transform([Turned(number)])(sample, 0)
    for key in ("image", "edges"):
        assert (result[key] == np.rot90(sample[key], quarters)).all()


def test_all_sixteen_angles_come_up_and_the_draw_is_that_of_the_seed():
    step, sample = Transform([Turn(16)]), drawing(80, 81)
    results = [step(sample, seed)["edges"] for seed in range(150)]
    assert len({result.tobytes() for result in results}) == 16
    assert all((step(sample, seed)["edges"] == results[seed]).all() for seed in (0, 7, 149))


def test_scales_by_hand():
    edges = np.array([[0, 0.2, 0, 0], [0, 0, 0, 0.6], [1, 0, 0, 0], [0, 0, 0.4, 0.8]], np.float32)
    assert np.array_equal(resize_edges(edges, 2, 2), np.array([[0.2, 0.6], [1, 0.8]], np.float32))
    # Middles at 1/3, 1, 5/3, 7/3, 3 and 11/3.
    assert np.array_equal(resize_edges(edges[:1], 1, 6), np.array([[0, 0.2, 0.2, 0, 0, 0]], np.float32))
    assert np.array_equal(resize_edges(edges, 4, 4), edges)
    assert np.array_equal(resize_edges(edges[:3, :3], 1, 1), np.array([[1]], np.float32))


@pytest.mark.parametrize("size", [(90, 120), (91, 121)])
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_scaled_lines_stay_whole_thin_and_on_the_images(scale, size):
    sample = drawing(*size)
    result = Transform([Rescale((scale,))])(sample, 0)
    edges, light = result["edges"], result["image"][:, :, 0]
    assert edges.shape == light.shape == tuple(round(side * scale) for side in size)
    assert {round(float(share), 4) for share in np.unique(edges)} == {0, 0.6, 1}
    assert (edges[light > 160] > 0).all()
    assert (cv2.dilate(light, np.ones((3, 3)))[edges > 0] > 0).all()
    assert cv2.connectedComponents((edges > 0).astype(np.uint8), connectivity=8)[0] == 2
    assert (edges > 0).mean() <= 2 * (sample["edges"] > 0).mean() / min(scale, 1)


def test_boxes_masks_and_points_are_turned_with_the_image():
    inside = np.zeros((100, 100), bool)
    inside[40:60, 30:50] = True
    image = np.repeat(np.where(inside, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2)
    sample = {
        "image": image,
        "mask": inside.astype(np.int64),
        "boxes": np.array([[30, 40, 50, 60]], np.float32),
        "labels": np.array([1]),
        "keypoints": np.array([[40, 50]], np.float32),
    }
    result = Transform([Turned(2)])(sample, 0)
    rows, columns = np.nonzero(result["mask"] == 1)
    extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(result["boxes"][0] - extent).max() <= 1.5
    middle = [columns.mean() + 0.5, rows.mean() + 0.5]
    assert np.abs(result["keypoints"][0] - middle).max() < 0.3


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_the_drawings_of_single_annotators_stay_only_where_they_still_fit(augment):
    sample = {**drawing(), "annotators": np.zeros((5, 90, 120), bool)}
    result = transform(preprocessing(DataOptions(size=64)), augment)(sample, 3)
    assert ("annotators" in result) == (augment == "none")
    assert result["image"].shape[:2] == result["edges"].shape
    if augment in ("crops", "hed_crops"):
        assert result["edges"].shape == (64, 64)


def test_hed_draws_scales_angles_and_mirrors():
    change = transform(preprocessing(DataOptions(size=64)), "hed")
    shapes = {change(drawing(), seed)["image"].shape[:2] for seed in range(200)}
    expected = {
        inner_rectangle(round(90 * scale), round(120 * scale), angle) for scale in (0.5, 1, 1.5) for angle in ANGLES
    }
    assert shapes == expected
    assert isinstance(AUGMENTATIONS["hed"](preprocessing(DataOptions()))[-1], A.HorizontalFlip)
