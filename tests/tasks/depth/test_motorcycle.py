"""A real pair: Middlebury 2014's Motorcycle, a quarter of its size, as scikit-image's wheel has it.

Depth is baseline x focal length / (disparity + the difference of both principal points): for this size, by the
calibration in scikit-image's documentation of `stereo_motorcycle` (Scharstein et al., GCPR 2014), 0.193001 m, 994.978
pixels and 31.086 pixels.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch

from foveal.datasets import open_dataset
from foveal.datasets.depths import write_depth, write_scale
from foveal.tasks.depth.losses import LOSSES
from foveal.tasks.depth.metrics import DepthMetrics
from foveal.tasks.depth.normals import normals_from_depth

FOCAL, BASELINE, OFFSET, CENTRE = 994.978, 0.193001, 31.086, (311.193, 254.877)
DATA = Path(skimage.__file__).parent / "data"


@pytest.fixture(scope="module")
def disparity() -> np.ndarray:
    with np.load(DATA / "motorcycle_disp.npz") as file:
        return file["arr_0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, disparity) -> Path:
    """Image and depth as float metres, infinite or negative where no disparity was measured."""
    root = tmp_path_factory.mktemp("motorcycle")
    (root / "images").mkdir()
    (root / "depth").mkdir()
    shutil.copy(DATA / "motorcycle_left.png", root / "images/motorcycle.png")
    depth = BASELINE * FOCAL / (disparity.astype(np.float64) + OFFSET)
    depth[~np.isfinite(disparity)] = np.inf
    depth[:100][~np.isfinite(disparity[:100])] = -1
    np.save(root / "depth/motorcycle.npy", depth)
    return root


def sample(root: Path) -> dict:
    return open_dataset("depth_folder", root, split="train", fractions=(1, 0, 0))[0]


def test_it_is_read_and_masked(folder, disparity):
    read = sample(folder)
    assert read["image"].shape == (500, 741, 3) and read["depth"].dtype == np.float32
    known = np.isfinite(disparity)
    assert int((~known).sum()) == 27226 and ((read["depth"] > 0) == known).all()
    assert read["depth"].max() == pytest.approx(5.017, abs=1e-3) and np.isfinite(read["depth"]).all()
    assert np.median(read["depth"][known]) == pytest.approx(2.750, abs=1e-3)
    # 59.9 pixels, the nearest: 0.193001 * 994.978 / (59.909 + 31.086) metres.
    assert read["depth"][known].min() == pytest.approx(2.1104, abs=1e-3)


def test_16_bits_hold_it(folder, tmp_path):
    metres = sample(folder)["depth"]
    (tmp_path / "images").mkdir()
    shutil.copy(folder / "images/motorcycle.png", tmp_path / "images/motorcycle.png")
    (tmp_path / "depth").mkdir()
    write_scale(tmp_path, 1000)
    write_depth(tmp_path / "depth/motorcycle.png", metres, 1000)
    read = sample(tmp_path)["depth"]
    assert np.abs(read - metres).max() <= 0.000501 and ((read == 0) == (metres == 0)).all()


def test_it_is_measured(folder):
    truth = sample(folder)["depth"]
    known = truth > 0
    metrics = DepthMetrics(max_depth=10)
    metrics.update(np.where(known, 1.1 * truth, np.nan), truth)
    found = metrics.compute()
    assert found["none"]["abs_rel"] == pytest.approx(0.1, abs=1e-5) and found["none"]["delta1"] == 1
    assert found["none"]["rmse_log"] == pytest.approx(np.log(1.1), abs=1e-5)
    assert all(found[name]["rmse"] < 1e-5 for name in ("median", "scale_shift", "log"))
    # A flat guess, by numpy's own words.
    metrics.reset()
    metrics.update(np.full_like(truth, 3.0), truth)
    asked = truth[known].astype(np.float64)
    found = metrics.compute()
    assert found["none"]["abs_rel"] == pytest.approx(np.mean(np.abs(3 - asked) / asked))
    assert found["none"]["delta1"] == pytest.approx(np.mean((3 / asked < 1.25) & (asked / 3 < 1.25)))
    assert found["scale_shift"]["rmse"] == pytest.approx(asked.std())


@pytest.mark.parametrize("name", LOSSES)
def test_its_unknown_pixels_cost_nothing(folder, name):
    truth = torch.from_numpy(sample(folder)["depth"])[None]
    wild = torch.where(truth > 0, truth, torch.inf)
    assert LOSSES[name](wild, truth).item() == pytest.approx(0, abs=1e-6)
    assert LOSSES[name](torch.full_like(truth, 3.0), truth).item() > 1e-4


def test_its_surfaces_face_the_camera(folder):
    truth = sample(folder)["depth"]
    normals = normals_from_depth(truth, FOCAL, CENTRE)
    known = np.linalg.norm(normals, axis=-1) > 0
    assert known.mean() > 0.9 and not known[truth == 0].any()
    rows, columns = np.mgrid[:500, :741]
    rays = np.stack([(columns - CENTRE[0]) / FOCAL, (rows - CENTRE[1]) / FOCAL, np.ones((500, 741))], axis=-1)
    assert ((normals * rays).sum(axis=-1)[known] < 0).all()
