"""From metres to predictions, what is drawn of them; scale and shift."""

from pathlib import Path

import numpy as np
import pytest
import skimage
import torch

from foveal.core.checkpoint import AtomicCheckpointIO, read_checkpoint
from foveal.core.errors import DataError, ModelFileError
from foveal.core.images import read_image
from foveal.core.types import Prediction
from foveal.tasks.depth.calibration import calibrated, fit_calibration, read_calibration, store_calibration
from foveal.tasks.depth.draw import draw_depth
from foveal.tasks.depth.prediction import about_depth, depth_prediction

TWICE = {"scale": 2.0, "shift": -1.0}


# --- predictions ------------------------------------------------------------------------------------------------------


def test_a_prediction_knows_its_range():
    found = depth_prediction(torch.tensor([[1.0, 5.0, 2.0], [0.0, 9.0, 3.0]]), "a.jpg")
    assert [found[key] for key in ("path", "size", "names", "nearest", "median", "farthest")] == [
        "a.jpg", (2, 3), [], 1.0, 3.0, 9.0,
    ]  # fmt: skip
    assert found["known"] == pytest.approx(5 / 6) and "normals" not in found


def test_what_is_no_distance_is_not_known():
    depth = torch.tensor([[0.0, -1.0, torch.nan, torch.inf, -torch.inf, 0.25]])
    found = depth_prediction(depth, "a.jpg")
    assert found["depth"].tolist() == [[0, 0, 0, 0, 0, 0.25]] and found["known"] == pytest.approx(1 / 6)
    nothing = depth_prediction(torch.zeros(2, 2), "a.jpg")
    assert [nothing[key] for key in ("nearest", "median", "farthest", "known")] == [0, 0, 0, 0]


def test_calibration_is_scale_and_shift_and_what_comes_out_behind_the_camera_is_not_known():
    found = depth_prediction(torch.tensor([[1.0, 0.5, 0.0, 3.0]]), "a.jpg", calibration=TWICE)
    assert found["depth"].tolist() == [[1.0, 0.0, 0.0, 5.0]] and found["farthest"] == 5.0


def test_normals_become_unit_vectors():
    normals = torch.tensor([[0.0, 3.0, -4.0], [0.0, 0.0, 0.0], [torch.nan, 1.0, 0.0]]).T[:, None]
    found = depth_prediction(torch.ones(1, 3), "a.jpg", normals=normals)["normals"]
    assert found[:, 0, 0].tolist() == pytest.approx([0.0, 0.6, -0.8])
    assert found[:, 0, 1:].tolist() == [[0, 0]] * 3


def test_what_is_said_of_a_network_follows_its_calibration():
    assert about_depth(0.25, 10.0, None) == {"alignment": "none", "calibration": None, "range": [0.25, 10.0]}
    about = about_depth(0.25, 10.0, TWICE)
    assert about["range"] == [0.0, 19.0] and about["calibration"] == TWICE and "foveal calibrate" in about["alignment"]


# --- pictures ---------------------------------------------------------------------------------------------------------


def predicted(depth: np.ndarray, **entries) -> Prediction:
    return depth_prediction(torch.from_numpy(depth.astype(np.float32)), "a.jpg", **entries)


def test_near_is_bright_and_far_is_dark_below_the_image():
    depth = np.geomspace(1, 16, 300)[None].repeat(200, axis=0)
    image = np.full((200, 300, 3), 77, np.uint8)
    drawn = draw_depth(image, predicted(depth))
    assert (drawn[:200, :300] == 77).all()
    row = drawn[300, :300].astype(int).sum(axis=1)
    # Inferno's ends: (252, 255, 164) and (0, 0, 4); each metre's share of the logarithm is a share of the colours.
    assert row[0] == 671 and row[-1] == 4 and (np.diff(row) <= 6).all()
    assert (drawn[400:] == 255).any() and drawn.shape[1] == 300


def test_a_portrait_stands_beside_its_distances():
    drawn = draw_depth(np.zeros((300, 250, 3), np.uint8), predicted(np.full((300, 250), 3.0)))
    assert drawn.shape[1] == 500 and drawn.shape[0] > 300


def test_what_is_not_known_is_grey():
    depth = np.full((260, 300), 2.0)
    depth[:, 150:] = 0
    drawn = draw_depth(np.zeros((260, 300, 3), np.uint8), predicted(depth))
    assert (drawn[260:520, 150:] == 128).all() and not (drawn[260:520, :150] == 128).all(axis=2).any()
    nothing = draw_depth(np.zeros((260, 300, 3), np.uint8), predicted(np.zeros((260, 300))))
    assert nothing.shape == drawn.shape and (nothing[260:520] == 128).all()


def test_a_few_pixels_that_are_far_off_do_not_change_the_colours():
    depth = np.linspace(1, 2, 300)[None].repeat(260, axis=0)
    off = depth.copy()
    off[:2, :2] = 1e4
    image = np.zeros((260, 300, 3), np.uint8)
    plain, drawn = (draw_depth(image, predicted(each))[262:520].astype(int) for each in (depth, off))
    assert np.abs(plain - drawn).max() <= 4


def test_a_map_of_another_size_is_drawn_at_the_pictures():
    depth = np.full((10, 15), 2.0)
    depth[:, :5] = 0
    drawn = draw_depth(np.zeros((240, 360, 3), np.uint8), predicted(depth))
    assert (drawn[240:480, :120] == 128).all() and not (drawn[240:480, 120:360] == 128).all(axis=2).any()


def test_normals_are_a_third_panel():
    normals = torch.tensor([0.0, 0.0, -1.0]).reshape(3, 1, 1).expand(3, 240, 300)
    drawn = draw_depth(np.zeros((240, 300, 3), np.uint8), predicted(np.full((240, 300), 2.0), normals=normals))
    assert (drawn[480:720] == (128, 128, 255)).all()


def test_a_real_pair_is_drawn_with_what_was_not_measured_in_grey():
    # Middlebury 2014's Motorcycle; where its numbers come from stands in test_motorcycle.py.
    data = Path(skimage.__file__).parent / "data"
    with np.load(data / "motorcycle_disp.npz") as file:
        disparity = file["arr_0"].astype(np.float64)
    found = predicted(0.193001 * 994.978 / (disparity + 31.086) * np.isfinite(disparity))
    assert [round(found[key], 3) for key in ("nearest", "median", "farthest", "known")] == [2.11, 2.75, 5.017, 0.927]
    image = read_image(data / "motorcycle_left.png")
    drawn = draw_depth(image, found)
    assert (drawn[:500] == image).all()
    assert ((drawn[500:1000] == 128).all(axis=2) == ~np.isfinite(disparity)).all()
    light = drawn[500:1000].astype(int).sum(axis=2)
    assert light[disparity > 55].mean() > 2 * light[disparity < 20].mean()  # near and far


# --- scale and shift --------------------------------------------------------------------------------------------------


def test_two_points_are_met_exactly():
    assert fit_calibration(np.array([1.0, 3.0]), np.array([2.5, 6.5])) == {"scale": 2.0, "shift": 0.5}


def test_more_points_are_met_by_least_squares():
    # y = 2 x + 1 with errors of 0.1, -0.2 and 0.1, which no other line makes smaller.
    found = fit_calibration(np.array([1.0, 2.0, 3.0]), np.array([3.1, 4.8, 7.1]))
    assert found == {"scale": pytest.approx(2.0), "shift": pytest.approx(1.0)}


@pytest.mark.parametrize(
    ("seen", "measured", "words"),
    [
        ([2.0, 2.01], [1.0, 9.0], "lie at nearly one distance for the network, 2.000 to 2.010 m"),
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], "measure one that is near and one that is far"),
        ([1.0, 2.0], [4.0, 3.0], "The scale came out as -1: what was measured as farther is nearer"),
        ([1.0, 2.0], [3.0, 3.0], "The scale came out as 0"),
    ],
)
def test_points_that_do_not_tell_are_refused(seen, measured, words):
    with pytest.raises(DataError, match=words):
        fit_calibration(np.array(seen), np.array(measured))


def test_a_checkpoint_carries_it_and_all_else_stays(tmp_path):
    entry = {"format": 1, "task": "depth", "model": {}, "class_names": [], "preprocessing": {"size": 8}, "recipe": {}}
    entry |= {"metrics": {}, "epoch": 3, "versions": {}}
    contents = {"state_dict": {"head.weight": torch.arange(3.0)}, "foveal": entry, "optimizer_states": [{"step": 7}]}
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint(contents, path)
    store_calibration(path, {"scale": 1.5, "shift": 0.25}, tmp_path / "b.ckpt")
    assert read_calibration(read_checkpoint(path)["foveal"]) is None
    stored = read_checkpoint(tmp_path / "b.ckpt")
    assert read_calibration(stored["foveal"]) == {"scale": 1.5, "shift": 0.25}
    assert stored["optimizer_states"] == [{"step": 7}] and stored["state_dict"]["head.weight"].tolist() == [0, 1, 2]
    store_calibration(tmp_path / "b.ckpt", None, tmp_path / "b.ckpt")
    assert read_checkpoint(tmp_path / "b.ckpt")["foveal"] == entry


@pytest.mark.parametrize(
    "value", [{"scale": 1.0}, {"scale": 0.0, "shift": 1.0}, [1.0, 0.0], {"scale": "x", "shift": 0}]
)
def test_a_damaged_calibration_is_refused(value):
    with pytest.raises(ModelFileError, match="it must be a scale above 0 and a shift"):
        read_calibration({"calibration": value})


def test_without_calibration_nothing_changes():
    depth = torch.rand(3, 4)
    assert calibrated(depth, None) is depth
