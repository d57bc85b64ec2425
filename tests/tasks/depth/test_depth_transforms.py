"""Depth and normals under changes of the picture: what the drawn world's geometry says must stay, stays."""

import pickle

import numpy as np
import pytest

from foveal.core.data import DataModule, preprocessing
from foveal.core.options import DataOptions
from foveal.core.transforms import A, RandomResizedCrop, Transform
from foveal.datasets.shapes import ShapesWorld
from foveal.datasets.world.dice import Dice
from foveal.datasets.world.scenes import draw_scene, focal_length
from foveal.tasks.depth.normals import angles_between, normals_from_depth
from foveal.tasks.depth.transforms import AUGMENTATIONS, Zoom, transform

SIZE = (160, 192)
FOCAL = focal_length(SIZE)
MIDDLE = ((SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2)


def scene(number: int) -> dict:
    """A drawn scene with its depth, the number of the body at each pixel as a mask, and its normals."""
    drawn = draw_scene(Dice(3, number), SIZE)
    normals = normals_from_depth(drawn.depth, FOCAL)
    return {"image": drawn.image, "depth": drawn.depth, "mask": drawn.ids.astype(np.int64), "normals": normals}


def points(depth: np.ndarray, focal: float, centre: tuple[float, float]) -> np.ndarray:
    """Where in space the pixels of a picture are, (H, W, 3), in metres."""
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]]
    return np.stack([(columns - centre[0]) * depth / focal, (rows - centre[1]) * depth / focal, depth], axis=-1)


def zoomed(sample: dict, factor: float, *, nearer: bool, seed: int = 0) -> tuple[dict, tuple[float, float]]:
    """A sample enlarged by a factor, and where the camera's axis then is, (x, y)."""
    step = Zoom(nearer=nearer, least=factor, most=factor)
    result = Transform([step])({**sample, "keypoints": np.float32([MIDDLE]) + 0.5}, seed)
    return result, tuple(result["keypoints"][0] - 0.5)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("factor", [1.0, 1.2, 1.5])
def test_what_is_zoomed_comes_nearer_or_is_of_another_camera(number, factor):
    sample = scene(number)
    near, centre = zoomed(sample, factor, nearer=True)
    far, same = zoomed(sample, factor, nearer=False)
    assert same == centre and (near["image"] == far["image"]).all() and (near["mask"] == far["mask"]).all()
    assert near["depth"] == pytest.approx(far["depth"] / factor, rel=1e-6)
    assert near["image"].shape == sample["image"].shape
    before = points(sample["depth"], FOCAL, MIDDLE)
    # Of the same camera: where a thing was, at (X, Y, Z), it is at (X, Y, Z / s): as large as it was, and nearer.
    squeezed = points(near["depth"], FOCAL, centre)
    # Of a camera with a focal length of s times as much: all is where it was.
    unmoved = points(far["depth"], factor * FOCAL, centre)
    for body in np.unique(sample["mask"]):
        old, new = sample["mask"] == body, near["mask"] == body
        if factor > 1 and new.sum() < 400:
            continue
        assert unmoved[new] == pytest.approx(squeezed[new] * [1, 1, factor], rel=1e-4, abs=1e-4)
        low, high = before[old].min(axis=0), before[old].max(axis=0)
        pixel = high[2] / FOCAL  # by which the nearest pixel may be off
        for axis in range(3):
            seen = unmoved[new][:, axis]
            assert seen.min() >= low[axis] - pixel and seen.max() <= high[axis] + pixel


@pytest.mark.parametrize("factor", [1.15, 1.5])
def test_normals_of_a_zoom_are_those_of_planes_through_its_points(factor):
    checked = 0
    for number in range(6):
        near, centre = zoomed(scene(number), factor, nearer=True)
        where = points(near["depth"].astype(np.float64), FOCAL, centre)
        for body in np.unique(near["mask"])[1:]:
            inside = near["mask"] == body
            if inside.sum() < 900:
                continue
            cloud = where[inside] - where[inside].mean(axis=0)
            fitted = np.linalg.svd(cloud, full_matrices=False)[2][2]
            fitted = -fitted if fitted @ where[inside].mean(axis=0) > 0 else fitted
            found = near["normals"][inside].astype(np.float64)
            asked = np.broadcast_to(fitted, found.shape)
            assert np.median(angles_between(found, asked)) < 2.5  # bodies are all but planes
            checked += 1
    assert checked >= 6


def test_a_zoom_of_a_slope_by_hand():
    # (0.6, 0, -0.8) at twice the size: (0.6, 0, -1.6), of the length sqrt(2.92).
    normals = np.tile(np.float32([0.6, 0, -0.8]), (8, 8, 1))
    sample = {"image": np.zeros((8, 8, 3), np.uint8), "depth": np.full((8, 8), 6.0, np.float32), "normals": normals}
    result = Transform([Zoom(nearer=True, least=2, most=2)])(sample, 0)
    assert (result["depth"] == 3).all()
    assert result["normals"] == pytest.approx(np.tile([0.6, 0, -1.6], (8, 8, 1)) / 2.92**0.5, abs=1e-6)
    result = Transform([Zoom(nearer=False, least=2, most=2)])(sample, 0)
    assert (result["depth"] == 6).all() and (result["normals"] == normals).all()


def test_a_zoom_moves_pixels_boxes_and_points_alike():
    sample = {"image": np.zeros((60, 80, 3), np.uint8), "depth": np.full((60, 80), 9.0, np.float32)}
    sample["image"][20:35, 30:52] = 255
    sample["depth"][20:35, 30:52] = 3.0
    sample |= {"boxes": np.float32([[30, 20, 52, 35]]), "labels": np.array([1]), "keypoints": np.float32([[30, 20]])}
    for seed in range(20):
        result = Transform([Zoom(nearer=False, least=1.3, most=1.3)])(sample, seed)
        rows, columns = np.nonzero(result["depth"] == 3)
        extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(result["boxes"][0] - extent).max() <= 1
        if min(extent[:2]) > 0:
            assert np.abs(result["keypoints"][0] - extent[:2]).max() <= 1
        assert (result["image"][result["depth"] == 9] < 255).all()


GEOMETRIES = {
    "mirror": ([A.HorizontalFlip(p=1)], np.diag([-1.0, 1, 1])),
    "upside down": ([A.VerticalFlip(p=1)], np.diag([1.0, -1, 1])),
    "quarter": ([A.Affine(rotate=(90, 90), p=1)], None),
    "tilt": ([A.Affine(rotate=(20, 20), p=1)], None),
    "smaller": ([A.Resize(80, 96)], np.eye(3)),
    "squashed": ([A.Resize(64, 192)], np.eye(3)),
    "part": ([RandomResizedCrop((64, 64), scale=(0.5, 0.9))], np.eye(3)),
    "mirrored part": ([RandomResizedCrop((64, 64), scale=(0.5, 0.9)), A.HorizontalFlip(p=1)], np.diag([-1.0, 1, 1])),
    "transposed": ([A.Transpose(p=1)], np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_normals_are_turned_and_mirrored_as_their_picture(name):
    steps, expected = GEOMETRIES[name]
    # Each pixel has its own normal, and says in its depth which it is.
    random = np.random.default_rng(0)
    normals = random.normal(size=(40, 48, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    number = np.arange(1, 40 * 48 + 1, dtype=np.float32).reshape(40, 48)
    sample = {"image": np.zeros((40, 48, 3), np.uint8), "depth": number, "normals": normals}
    result = Transform(steps)(sample, 4)
    there = result["depth"] > 0
    before = normals.reshape(-1, 3)[result["depth"][there].astype(int) - 1]
    if expected is None:  # as points are turned
        ends = Transform(steps)({**sample, "keypoints": np.float32([[24, 20], [34, 20], [24, 30]])}, 4)["keypoints"]
        expected = np.eye(3)
        expected[:2, :2] = (ends[1:] - ends[0]).T / 10
        assert abs(expected[0, 1]) > 0.3 and np.linalg.det(expected) == pytest.approx(1, abs=1e-3)
    assert there.mean() > 0.5
    assert result["normals"][there] == pytest.approx(before @ expected.T, abs=1e-3)
    assert (result["normals"][~there] == 0).all()  # from outside of the picture
    assert np.linalg.norm(result["normals"][there], axis=-1) == pytest.approx(1, abs=1e-5)
    assert result["normals"].dtype == np.float32 and result["normals"].shape[:2] == result["image"].shape[:2]


@pytest.mark.parametrize("number", range(3))
def test_the_normals_of_a_mirrored_scene_are_those_of_its_depth(number):
    sample = scene(number)
    mirrored = Transform([A.HorizontalFlip(p=1)])(sample, 0)
    assert np.abs(mirrored["normals"] - normals_from_depth(mirrored["depth"], FOCAL)).max() < 1e-4
    # Left as they were, they would be wrong wherever a surface leans to a side.
    assert angles_between(mirrored["normals"], sample["normals"][:, ::-1]).max() > 20


@pytest.mark.parametrize("focal", [96.0, None])
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_samples_of_a_recipe_have_normals_where_the_focal_length_is_known(augment, focal):
    options = DataOptions(size=64, batch_size=3, num_workers=0, augment=augment)
    data = DataModule(lambda split: ShapesWorld("depth", split, images=3, size=96), options)
    data.transform = lambda name: transform(preprocessing(options), name, normals=True, focal=focal)
    batch = next(iter(data.train_dataloader()))
    assert batch["depth"].shape == (3, 64, 64) and batch["normals"].shape == (3, 3, 64, 64)
    length = batch["normals"].norm(dim=1)
    assert length.numpy() == pytest.approx(1, abs=1e-5)
    assert (batch["normals"][:, 2] <= 0.5).all() and batch["normals"][:, 2].mean() < -0.3
    # What is compared with predictions is as the file has it.
    batch = next(iter(data.val_dataloader()))
    assert [truth["depth"].shape for truth in batch["truth"]] == [(96, 96)] * 3
    plain = transform(preprocessing(options), augment)(ShapesWorld("depth", images=1, size=96)[0], 0)
    assert "normals" not in plain


def test_it_can_be_sent_to_a_worker_and_knows_its_like():
    focal = 80.0
    seen = preprocessing(DataOptions(size=64))
    sample = ShapesWorld("depth", images=1, size=96)[0]
    with_normals = transform(seen, "zoom", normals=True, focal=focal)
    again = pickle.loads(pickle.dumps(with_normals))
    assert all((again(sample, 5)[key] == with_normals(sample, 5)[key]).all() for key in ("image", "depth", "normals"))
    assert transform(seen).does_as(transform(seen)) and not transform(seen, "zoom").does_as(transform(seen, "crops"))
    assert with_normals.does_as(again) and not with_normals.does_as(transform(seen, "zoom"))
    assert not with_normals.does_as(transform(seen, "zoom", normals=True))


def test_a_recipe_says_whether_a_zoom_changes_depth():
    seen = preprocessing(DataOptions(size=96))
    sample = ShapesWorld("depth", images=1, size=96)[0]
    sample["depth"][:] = 6.0
    steps = {name: transform(seen, name) for name in AUGMENTATIONS}
    depths = {name: [float(step(sample, seed)["depth"][0, 0]) for seed in range(30)] for name, step in steps.items()}
    assert set(depths["none"]) == set(depths["photos"]) == set(depths["crops"]) == {6.0}
    assert min(depths["zoom"]) >= 4 and max(depths["zoom"]) <= 6 and len(set(depths["zoom"])) == 30


def test_a_zoom_is_right_to_a_part_of_a_pixel():
    # Each pixel says four times where its middle is; so does each of the result, of the place that it comes from.
    ramp = np.tile((4 * np.arange(60) + 2).astype(np.uint8)[None, :, None], (40, 1, 3))
    for seed in range(5):
        step = Transform([Zoom(nearer=False, least=2, most=2)])
        result = step({"image": ramp, "keypoints": np.float32([[0, 0]])}, seed)
        start = -float(result["keypoints"][0, 0]) / 2
        expected = 4 * ((np.arange(60) + 0.5) / 2 + start)
        assert 0 <= start <= 30 and result["image"][20, 1:-1, 0] == pytest.approx(expected[1:-1], abs=0.7)
