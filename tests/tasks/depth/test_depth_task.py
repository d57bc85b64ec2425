"""The task: losses by their names, numbers at the size of the files beside those of every alignment, predictions, what
is kept; it learns.
"""

import json
import warnings

import numpy as np
import pytest
import torch

from foveal.cli.main import main
from foveal.core.data import DataOptions, collate, preprocessing, to_tensor
from foveal.core.errors import DataError, DataWarning, UsageError
from foveal.core.images import write_image
from foveal.core.options import PredictionOptions
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.depth.metrics import DepthMetrics
from foveal.tasks.depth.options import DepthOptions
from foveal.tasks.depth.task import DepthTask

BOTH = {"log_l1": 1.0, "scale_invariant": 1.0}
SMALL = ["--data.images", "12", "--data.splits", "[0.5,0.25,0.25]", "--data.size", "64", "--data.num_workers", "0"]
SMALL += ["--data.batch_size", "2", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]


def make_task(size: int = 64, **options) -> DepthTask:
    torch.manual_seed(0)
    options = {"backbone": "resnet18", "min_depth": 0.5, "max_depth": 60.0, **options}
    return DepthTask(DepthOptions(**options), preprocessing=preprocessing(DataOptions(size=size)))


def drawn(number: int, size: int = 64) -> list[dict]:
    world = ShapesWorld("depth", "train", images=number, size=size)
    return [world[index] for index in range(number)]


def make_batch(task: DepthTask, samples: list[dict]) -> dict:
    """As the loaders make it, with the truth of the files."""
    rows = []
    for sample in samples:
        row = task.transform("none")(sample, 0)
        row |= {key: to_tensor(row[key]) for key in ("image", "normals") if key in row}
        row |= {key: torch.from_numpy(row[key]) for key in ("depth", "mask") if key in row}
        row["truth"] = {key: torch.from_numpy(sample[key]) for key in ("depth", "mask") if key in sample}
        rows.append(row)
    return collate(rows)


class Told(DepthTask):
    """Says the same of every image: `answer`, (1 + C, H, W)."""

    answer: torch.Tensor

    def network(self, images):
        return self.answer[None].repeat(len(images), 1, 1, 1)


def told(answer: np.ndarray, **options) -> Told:
    task = Told(DepthOptions(backbone="resnet18", **options), preprocessing=preprocessing(DataOptions(size=4)))
    task.answer = torch.from_numpy(answer.astype(np.float32))[None]
    return task.eval()


def sample_of(depth: np.ndarray, path: str = "a.png") -> dict:
    image = np.zeros((*depth.shape, 3), np.uint8)
    return {"image": image, "path": path, "size": depth.shape, "depth": depth.astype(np.float32)}


# --- what it says -----------------------------------------------------------------------------------------------------


def test_numbers_by_hand():
    # 2 m everywhere, where the left half is at 2 m, the right one at 4: AbsRel (0 + 1/2) / 2, RMSE the root of 4 / 2.
    task = told(np.full((4, 4), 2.0))
    truth = np.repeat([[2.0, 2.0, 4.0, 4.0]], 4, axis=0)
    task.evaluate(make_batch(task, [sample_of(truth)]))
    found = task.compute_metrics()
    assert found["abs_rel"] == pytest.approx(0.25) and found["rmse"] == pytest.approx(2**0.5)
    assert found["delta1"] == found["delta2"] == found["delta3"] == 0.5  # twice too near is not within 1.25 cubed
    # By the median, 3 m: all 1.5 times off; d of scale-invariant error: half 0, half log 2.
    assert task.tables()["alignment"]["median"]["delta2"] == 1
    assert found["loss"] == pytest.approx(np.log(2) ** 2 * (1 / 2 - 1 / 2 * 1 / 4))
    assert "crop none" in task.remark() and "no cap" in task.remark() and "mean over 1 images" in task.remark()
    assert task.metrics.images == 0  # all is forgotten


def test_pixels_without_a_depth_do_not_count_and_an_image_without_any_is_left_out():
    task = told(np.full((4, 4), 2.0))
    truth = np.array([[2.0, 0.0], [0.0, 2.0]]).repeat(2, axis=0).repeat(2, axis=1)
    task.evaluate(make_batch(task, [sample_of(truth), sample_of(np.zeros((4, 4)))]))
    found = task.compute_metrics()
    assert found["delta1"] == 1 and found["abs_rel"] == 0 and found["loss"] == 0
    assert "1 images without a known depth left out" in task.remark()
    task.evaluate(make_batch(task, [sample_of(np.zeros((4, 4)))]))
    assert task.compute_metrics()["delta1"] == -1


def test_the_cap_and_the_crop_of_an_evaluation_are_chosen_after_training():
    task = told(np.full((4, 4), 2.0), cap=80.0)
    task.evaluate_by(DepthOptions(backbone="resnet18", cap=3.0))
    task.evaluate(make_batch(task, [sample_of(np.repeat([[2.0, 2.0, 4.0, 4.0]], 4, axis=0))]))
    assert task.compute_metrics()["delta1"] == 1 and "cap 3 m" in task.remark()


def test_images_of_other_sizes_are_evaluated_and_predicted_at_their_own():
    task = make_task().eval()
    samples = [sample_of(np.full(size, 5.0)) for size in ((48, 64), (33, 70), (1, 1))]
    with torch.no_grad():
        task.evaluate(make_batch(task, samples))
        found = task.predict(make_batch(task, samples))
    assert [prediction["depth"].shape for prediction in found] == [(48, 64), (33, 70), (1, 1)]
    assert all(0.5 <= float(prediction["nearest"]) <= float(prediction["farthest"]) <= 60 for prediction in found)
    assert np.isfinite(list(task.compute_metrics().values())).all()


def test_a_calibration_counts_in_predictions_and_in_evaluation():
    task = told(np.full((4, 4), 2.0))
    task.calibration = {"scale": 3.0, "shift": 1.0}
    batch = make_batch(task, [sample_of(np.full((4, 4), 7.0))])
    assert task.predict(batch)[0]["depth"].unique().tolist() == [7]
    task.evaluate(batch)
    assert task.compute_metrics()["delta1"] == 1
    assert task.about()["calibration"] == {"scale": 3.0, "shift": 1.0}
    assert task.remark().startswith("Depths were evaluated after the calibration, not aligned: crop none")


def test_a_mirrored_look_is_turned_back_and_its_normals_too():
    # Normals that lean to the right in both looks: mirrored back, one of them leans to the left.
    answer = np.zeros((4, 4, 4), np.float32)
    answer[0], answer[1], answer[3] = [1.0, 2.0, 3.0, 4.0], 0.6, -0.8
    task = Told(DepthOptions(backbone="resnet18", normals=1.0), preprocessing=preprocessing(DataOptions(size=4)))
    task.answer = torch.from_numpy(answer)
    task.prediction_options = PredictionOptions(flip=True)
    (found,) = task.eval().predict(make_batch(task, [sample_of(np.ones((4, 4)))]))
    assert (found["depth"] == 2.5).all()
    assert found["normals"][:, 0, 0].tolist() == pytest.approx([0, 0, -1], abs=1e-6)


def test_depths_a_hundred_times_off_are_warned_of():
    task = told(np.full((4, 4), 2.0))
    task.usual_depth = 2.0
    task.evaluate(make_batch(task, [sample_of(np.full((4, 4), 400.0))]))
    with pytest.warns(DataWarning, match=r"The images evaluated are 200 times farther .* data.depth_scale") as warned:
        assert task.compute_metrics()["delta1"] == 0
    assert len(warned) == 1
    task.evaluate(make_batch(task, [sample_of(np.full((4, 4), 2.0))]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert task.compute_metrics()["delta1"] == 1  # what was warned of is forgotten


def test_a_cap_does_not_hide_another_scale():
    task = told(np.full((4, 4), 2.0), cap=10.0)
    task.usual_depth = 2.0
    task.evaluate(make_batch(task, [sample_of(np.full((4, 4), 2000.0))]))  # millimetres taken for metres
    with pytest.warns(DataWarning, match="The images evaluated are 1,000 times farther"):
        assert task.compute_metrics()["delta1"] == -1


def test_a_training_set_without_a_depth_is_warned_of():
    class Nothing(list):
        def truth(self, index):
            return {"depth": np.zeros((4, 4), np.float32)}

    options = DepthOptions(backbone="resnet18")
    with pytest.warns(DataWarning, match="No pixel of the 2 depth maps looked at, of 2 to train on, has a depth"):
        task = DepthTask.build(
            options, class_names=[], preprocessing=preprocessing(DataOptions()), training=Nothing([0, 0])
        )
    assert task.usual_depth is None


def test_a_training_set_of_another_scale_is_warned_of():
    class Millimetres(list):
        def truth(self, index):
            return {"depth": np.full((4, 4), 5000.0, np.float32)}

    options = DepthOptions(backbone="resnet18", min_depth=0.5, max_depth=10.0)
    with pytest.warns(DataWarning, match=r"The training images are 500 times farther .* data.depth_scale"):
        task = DepthTask.build(
            options, class_names=[], preprocessing=preprocessing(DataOptions()), training=Millimetres([0])
        )
    assert task.usual_depth == 5000


@pytest.mark.parametrize(
    ("options", "data", "sentence"),
    [
        ({"loss": {"l3": 1.0}}, {}, "loss 'l3'"),
        ({"loss": {"l1": -1.0}}, {}, "got the weight -1"),
        ({"min_depth": 9.0, "max_depth": 3.0}, {}, "are no range"),
        ({"head": "eigen2014", "output": "bins"}, {}, "gives one number a pixel"),
        ({"head": "eigen2014", "normals": 1.0}, {}, "gives depth alone"),
        ({}, {"resize": "crop"}, "data.resize is crop"),
    ],
)
def test_a_wrong_word_is_a_sentence(options, data, sentence):
    with pytest.raises(UsageError, match=sentence):
        DepthTask(DepthOptions(backbone="resnet18", **options), preprocessing=preprocessing(DataOptions(**data)))


def test_labels_need_masks_of_so_many_classes():
    task = make_task(labels=1.0)
    (sample,) = drawn(1)
    with pytest.raises(DataError, match="has no masks beside its depths"):
        task.losses(make_batch(task, [{key: value for key, value in sample.items() if key != "mask"}]))
    task = make_task(labels=1.0, classes=2)
    sample["mask"][0, 0] = 5
    with pytest.raises(DataError, match=r"A mask has class .*, but model.classes is 2"):
        task.losses(make_batch(task, [sample]))


# --- it learns --------------------------------------------------------------------------------------------------------


def learn(task: DepthTask, samples: list[dict], *, steps: int, lr: float = 1e-3) -> dict[str, float]:
    """The numbers of the images that were learnt, after so many steps over all of them."""
    optimizer = torch.optim.AdamW(task.parameters(), lr=lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2)
    batch = make_batch(task, samples)
    task.train()
    for _ in range(steps):
        optimizer.zero_grad()
        torch.stack(list(task.losses(batch).values())).sum().backward()
        optimizer.step()
        schedule.step()
    task.eval()
    with torch.no_grad():
        task.evaluate(batch)
    return task.compute_metrics()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "options", "size", "steps", "lr", "least"),
    [
        ("fcrn", {}, 64, 60, 1e-3, 0.7),
        ("unet", {"output": "bins"}, 64, 60, 1e-3, 0.5),
        ("eigen2014", {"backbone": "alexnet", "loss": BOTH}, 96, 150, 2e-4, 0.8),
        ("eigen2015", {"normals": 0.5, "labels": 0.5, "loss": BOTH}, 64, 80, 8e-4, 0.75),
    ],
)
def test_eight_scenes_are_learnt_by_heart(head, options, size, steps, lr, least):
    task, samples = make_task(size, head=head, **options), drawn(8, size)
    found = learn(task, samples, steps=steps, lr=lr)
    assert found["delta1"] > least
    truth = torch.stack([torch.from_numpy(sample["depth"]) for sample in samples])
    assert close(torch.full_like(truth, truth.median()), truth) < 0.3  # one depth for all
    if "normals" in options:
        assert found["normals_mean"] < 25 and found["label_accuracy"] > 0.9
    if head.startswith("eigen"):  # what is refined, too
        with torch.no_grad():
            coarse = task._found(make_batch(task, samples)["image"])["coarse_depth"]
        assert close(coarse, truth) > 0.8


def close(depth: torch.Tensor, truth: torch.Tensor) -> float:
    """The share of pixels within a factor of 1.25."""
    return (torch.maximum(depth / truth, truth / depth) < 1.25).float().mean().item()


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("depth") / "run"
    line = ["train", "depth/fcrn_resnet18_shapes", *SMALL, "--model.normals", "0.5", "--out", str(folder)]
    assert main(line) == 0
    return folder


def test_a_run_is_evaluated_with_every_alignment_and_as_it_is_told(run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json", "--model.cap", "20", "--model.crop", "garg", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert {"delta1", "abs_rel", "rmse_log", "silog", "normals_median", "loss", "log_l1"} <= set(found)
    columns = found["tables"]["alignment"]
    assert list(columns) == ["none", "median", "scale_shift", "log"]
    assert columns["none"]["rmse"] == pytest.approx(found["rmse"])
    assert "crop garg" in said.err and "cap 20 m" in said.err
    assert main(["evaluate", str(run), "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert "scale shift" in said.out and "no cap" in said.err
    for wrong in (["--model.cap", "far"], ["--model.head", "unet"], ["--model.crop", "middle"]):
        assert main(["evaluate", str(run), *wrong]) == 2
        assert wrong[0] in capsys.readouterr().err


def test_alignments_are_for_tests_and_cost_a_training_nothing(tmp_path, monkeypatch):
    seen, update = [], DepthMetrics.update

    def noted(metrics, *given, **names):
        seen.append(metrics.alignments)
        return update(metrics, *given, **names)

    monkeypatch.setattr(DepthMetrics, "update", noted)
    assert main(["train", "depth/fcrn_resnet18_shapes", *SMALL, "--out", str(tmp_path / "run")]) == 0
    assert seen == [("none",)] * 3 + [("none", "median", "scale_shift", "log")] * 3  # images to validate and to test


def test_a_run_predicts_and_is_calibrated(run, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number, sample in enumerate(drawn(2, size=70)):
        write_image(tmp_path / "in" / f"{number}.png", sample["image"])
    line = ["predict", str(run), str(tmp_path / "in"), "--focal", "70", "--flip", "--draw", "--formats", "npy"]
    assert main([*line, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    depth = np.load(tmp_path / "out" / "npy" / "0.png.npy")
    assert depth.shape == (70, 70) and 0.5 <= depth.min() <= depth.max() <= 60
    for name in ("depth/0.png.png", "depth_scale.txt", "depth.json", "normals/0.png.png", "ply/0.png.ply"):
        assert (tmp_path / "out" / name).is_file()
    near, far = (np.unravel_index(place, depth.shape) for place in (depth.argmin(), depth.argmax()))
    rows = [f"in/0.png,{x},{y},{2 * depth[y, x]}" for y, x in (near, far)]
    (tmp_path / "known.csv").write_text("\n".join(["path,x,y,metres", *rows]) + "\n")
    other = tmp_path / "calibrated.ckpt"
    assert main(["calibrate", str(run), "--points", str(tmp_path / "known.csv"), "--out", str(other)]) == 0
    line = ["predict", str(other), str(tmp_path / "in"), "--formats", "npy", "--device", "cpu"]
    assert main([*line, "--out", str(tmp_path / "again")]) == 0
    assert np.load(tmp_path / "again" / "npy" / "0.png.npy").max() > 1.5 * depth.max()
    capsys.readouterr()
