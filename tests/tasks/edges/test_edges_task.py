"""The task: losses, the benchmark's numbers at the size of the files, probabilities of any image, what is kept."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.cli.main import main
from foveal.core.data import DataOptions, collate, preprocessing, to_tensor
from foveal.core.errors import UsageError
from foveal.core.images import write_image
from foveal.core.optim import build_optimizer
from foveal.core.options import OptimizerOptions, PredictionOptions
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks import load
from foveal.tasks.edges.options import EdgesOptions
from foveal.tasks.edges.task import EdgesTask

SMALL = ["--data.images", "12", "--data.splits", "[0.5,0.25,0.25]", "--data.size", "48", "--data.num_workers", "0"]
SMALL += ["--data.batch_size", "2", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]


def make_task(**options) -> EdgesTask:
    torch.manual_seed(0)
    return EdgesTask(EdgesOptions(**{"backbone": "resnet18", **options}), preprocessing=preprocessing(DataOptions()))


def drawn(number: int, size: int = 64) -> list[dict]:
    world = ShapesWorld("edges", "train", images=max(20, 2 * number), size=size)
    return [world[index] for index in range(number)]


def make_batch(samples, *, truth: bool = False) -> dict:
    rows = []
    for sample in samples:
        row = {"image": to_tensor(sample["image"]), "path": sample["path"], "size": sample["image"].shape[:2]}
        row["edges"] = torch.from_numpy(sample["edges"])
        if truth:
            row["truth"] = {key: torch.from_numpy(sample[key]) for key in ("edges", "annotators") if key in sample}
        rows.append(row)
    return collate(rows)


class Told(EdgesTask):
    """Says of each image what `answers` holds for it, by the number in its first pixel."""

    answers: list[np.ndarray]

    def _outputs(self, images):
        maps = [torch.from_numpy(self.answers[int(image[0, 0, 0])]) for image in images]
        return [torch.logit(torch.stack(maps)[:, None].float(), eps=1e-6)]


def told(*answers: np.ndarray, head: str = "canny", **options) -> Told:
    task = Told(EdgesOptions(head=head, **options), preprocessing=preprocessing(DataOptions()))
    task.answers = list(answers)
    return task.eval()


def line_at(column: int, height: int = 40, width: int = 60) -> np.ndarray:
    edges = np.zeros((height, width), np.float32)
    edges[:, column] = 1
    return edges


def sample_of(number: int, edges: np.ndarray, annotators: np.ndarray | None = None) -> dict:
    image = np.zeros((*edges.shape, 3), np.uint8)
    image[0, 0, 0] = number
    rest = {"annotators": annotators} if annotators is not None else {}
    return {"image": image, "path": f"{number}.png", "edges": edges, **rest}


# --- what it says -----------------------------------------------------------------------------------------------------


def test_numbers_by_hand():
    # Of the first image all is found and nothing else; of the second a line 20 pixels off, where 0.0075 of the
    # diagonal of 72 pixels is half a pixel: 40 of 80 pixels are found, and 40 of 80 that are said are true.
    first, second = line_at(20), line_at(20)
    task = told(line_at(20), line_at(40))
    task.evaluate(make_batch([sample_of(0, first), sample_of(1, second)], truth=True))
    found = task.compute_metrics()
    assert (found["ods"], found["ods_recall"], found["ods_precision"]) == pytest.approx((0.5, 0.5, 0.5))
    assert found["ois"] == pytest.approx(0.5)
    assert task.thresholds == [pytest.approx(1 / 6)]  # the first of five that is as good as any
    assert task.compute_metrics()["ods"] == 0  # all is forgotten


def test_annotators_count_one_by_one():
    # Two of three people drew a line; the third drew none: 80 pixels of theirs, all found, by 40 that are all true.
    annotators = np.stack([line_at(20) > 0, line_at(20) > 0, line_at(20) < 0])
    task = told(line_at(20))
    task.evaluate(make_batch([sample_of(0, annotators.mean(axis=0, dtype=np.float32), annotators)], truth=True))
    assert task.compute_metrics()["ods"] == 1
    assert task.evaluated.curve[0].recall == 1


def test_an_image_without_edges_and_an_empty_map_are_defined():
    nothing = np.zeros((40, 60), np.float32)
    task = told(nothing)
    task.evaluate(make_batch([sample_of(0, nothing)], truth=True))
    found = task.compute_metrics()
    assert all(np.isfinite(value) for value in found.values()) and found["ods"] == 0
    assert task.thresholds == []  # none is better than another: a prediction goes by 0.5


@pytest.mark.parametrize(("consensus", "ods"), [(0.5, 0.0), (0.1, 1.0)])
def test_of_shares_the_truth_is_what_training_takes_for_an_edge(consensus, ods):
    # A grey map of a third says no more of its annotators; with a consensus of a tenth the network learns it.
    task = told(line_at(20), consensus=consensus)
    task.evaluate(make_batch([sample_of(0, line_at(20) / 3)], truth=True))
    assert task.compute_metrics()["ods"] == ods


def test_images_of_all_sizes_have_maps_of_their_size_whatever_else_is_in_their_batch():
    task = make_task().eval()
    samples = [sample_of(0, np.zeros(size, np.float32)) for size in ((48, 64), (33, 70), (1, 1))]
    with torch.no_grad():
        together = task.predict(make_batch(samples))
        for sample, found in zip(samples, together, strict=True):
            (alone,) = task.predict(make_batch([sample]))
            assert found["edges"].shape == sample["edges"].shape
            torch.testing.assert_close(alone["edges"], found["edges"])


def test_a_prediction_counts_what_the_threshold_finds():
    edges = np.zeros((40, 60), np.float32)
    edges[10, :30], edges[20, :10] = 0.75, 0.25
    task = told(edges)
    (found,) = task.predict(make_batch([sample_of(0, edges)]))
    assert found["threshold"] == 0.5 and found["pixels"].tolist() == [30] and found["names"] == ["edge"]
    assert found["scores"].tolist() == [pytest.approx(0.75, abs=1e-5)]
    task.thresholds = [0.2]
    (found,) = task.predict(make_batch([sample_of(0, edges)]))
    assert found["pixels"].tolist() == [40] and found["scores"][0] == pytest.approx(0.625, abs=1e-5)
    task.prediction_options = PredictionOptions(score=0.9)
    (found,) = task.predict(make_batch([sample_of(0, edges)]))
    assert found["pixels"].tolist() == [0] and found["scores"].tolist() == [0]


def test_thin_leaves_lines_one_pixel_wide():
    edges = np.zeros((40, 60), np.float32)
    for column, value in ((28, 0.4), (29, 0.7), (30, 0.9), (31, 0.7), (32, 0.4)):
        edges[:, column] = value
    task = told(edges, head="sobel")
    task.prediction_options = PredictionOptions(thin=True)
    (found,) = task.predict(make_batch([sample_of(0, edges)]))
    assert (found["edges"][10:30] > 0.01).sum(dim=1).tolist() == [1] * 20
    assert (found["edges"][10:30, 30] > 0.89).all()


@pytest.mark.parametrize("head", ["canny", "laplacian"])
def test_thin_leaves_the_lines_of_filters_as_they_are_and_as_they_are_evaluated(head):
    task = told(line_at(1) * 0.75, head=head)  # at the border, where suppression would make it fade
    task.prediction_options = PredictionOptions(thin=True)
    (found,) = task.predict(make_batch([sample_of(0, line_at(1))]))
    assert found["pixels"].tolist() == [40] and found["scores"].tolist() == [pytest.approx(0.75)]


def test_tiles_give_what_the_whole_image_does():
    task = make_task(head="hed").eval()
    (sample,) = drawn(1, size=160)
    batch = make_batch([sample])
    with torch.no_grad():
        (whole,) = task.predict(batch)
        task.prediction_options = PredictionOptions(tile=96, overlap=0.5)
        tiling, joiner = task.tiling(), task.joiner((160, 160))
        for tile in tiling.tiles((160, 160)):
            part = {**sample, "image": sample["image"][tile.top :, tile.left :][: tile.height, : tile.width]}
            part["edges"] = np.zeros(part["image"].shape[:2], np.float32)
            joiner.add(task.predict(make_batch([part]))[0], tile)
    found = joiner.result()
    assert found["edges"].shape == (160, 160)
    # A tile's border is padding to the network: the deepest side output sees it from far away.
    assert (found["edges"] - whole["edges"]).abs().mean() < 0.05


def test_a_mirrored_look_is_turned_back():
    task = told(line_at(10))
    task.prediction_options = PredictionOptions(flip=True)
    sample = sample_of(0, line_at(10))
    (found,) = task.predict(make_batch([sample]))
    # `Told` says the same of the mirrored image, so that the other line is the mirrored answer.
    assert found["edges"][5, 10] == pytest.approx(0.5, abs=1e-4) and found["edges"][5, 49] == pytest.approx(
        0.5, abs=1e-4
    )


def test_a_wrong_word_is_a_sentence():
    with pytest.raises(UsageError, match="The weights of the side outputs are"):
        make_task(output_weights=[1.0]).losses(make_batch(drawn(1)))
    with pytest.raises(UsageError, match="The consensus is 1"):
        make_task(consensus=1.0).losses(make_batch(drawn(1)))


def test_the_documented_multipliers_give_each_layer_of_hed_its_published_rate():
    (text,) = re.findall(
        r"--optimizer.multipliers '(\{.*?\})'", Path(__file__, "../../../../docs/edges.md").resolve().read_text()
    )
    task = make_task(backbone="vgg16")
    options = OptimizerOptions(name="sgd", lr=1e-6, weight_decay=2e-4, multipliers=json.loads(text))
    names = {id(parameter): name for name, parameter in task.named_parameters()}
    rates = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in build_optimizer(task, options).param_groups
        for parameter in group["params"]
    }
    for name, rate, decay in (
        ("backbone.features.0.weight", 1e-6, 2e-4),  # conv1_1
        ("backbone.features.21.bias", 2e-6, 0),  # conv4_3
        ("backbone.features.24.weight", 1e-4, 2e-4),  # conv5_1
        ("backbone.features.28.bias", 2e-4, 0),  # conv5_3
        ("head.sides.4.weight", 1e-8, 2e-4),  # score-dsn5
        ("head.sides.0.bias", 2e-8, 0),
        ("head.fuse.weight", 1e-9, 2e-4),  # new-score-weighting
    ):
        assert rates[name] == pytest.approx((rate, decay)), name


# --- it learns --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("head", ["hed", "rcf"])
def test_two_images_are_learnt_by_heart(head):
    # Canny's filter has an ODS of 0.59 on such scenes, and the annotators' own marks, thinned, one of 0.97.
    task, samples = make_task(head=head, consensus=0.1), drawn(2, size=128)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-3, fused=True)
    task.train()
    for _ in range(100):
        optimizer.zero_grad()
        torch.stack(list(task.losses(make_batch(samples)).values())).sum().backward()
        optimizer.step()
    task.eval()
    with torch.no_grad():
        task.evaluate(make_batch(samples, truth=True))
    assert task.compute_metrics()["ods"] > 0.75


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edges") / "run"
    assert main(["train", "edges/hed_resnet18_shapes", *SMALL, "--out", str(folder)]) == 0
    return folder


def test_a_run_is_trained_evaluated_and_predicts(run, tmp_path, capsys):
    assert {"best.ckpt", "precision_recall.png", "eval_bdry.txt", "eval_bdry_img.txt", "eval_bdry_thr.txt"} <= {
        path.name for path in run.iterdir()
    }
    assert len((run / "eval_bdry_thr.txt").read_text().splitlines()) == 99
    assert len((run / "eval_bdry_img.txt").read_text().splitlines()) == 3
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"ods", "ois", "ap", "r50", "loss", "side1", "fuse"} <= set(found)
    (tmp_path / "in").mkdir()
    for number, sample in enumerate(drawn(2, size=70)):
        write_image(tmp_path / "in" / f"{number}.png", sample["image"])
    line = ["predict", str(run), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--thin", "--bits", "16"]
    assert main([*line, "--draw", "--formats", "binary,svg,geojson", "--device", "cpu"]) == 0
    (first, _) = [json.loads(row) for row in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    kept = np.asarray(Image.open(tmp_path / "out" / first["edges"]))
    assert kept.shape == (70, 70) and kept.dtype == np.uint16
    assert first["threshold"] == pytest.approx(load(run).thresholds[0], abs=1e-6)
    for name in ("binary/0.png.png", "svg/0.png.svg", "geojson/0.png.geojson", "pictures/0.png.jpg"):
        assert (tmp_path / "out" / name).is_file()


@pytest.mark.parametrize("head", ["sobel", "laplacian", "canny"])
def test_a_filter_learns_its_threshold_alone(head, tmp_path):
    out = tmp_path / "run"
    assert main(["train", "edges/canny_shapes", *SMALL, "--model.head", head, "--out", str(out)]) == 0
    task = load(out)
    assert not list(task.parameters()) and 0 < task.thresholds[0] < 1
    assert main(["predict", str(out), str(_one(tmp_path)), "--out", str(tmp_path / "out"), "--tile", "32"]) == 0


def _one(folder):
    (folder / "in").mkdir()
    write_image(folder / "in" / "a.png", drawn(1)[0]["image"])
    return folder / "in"


def test_a_filter_takes_no_weights(tmp_path, capsys):
    from safetensors.torch import save_file

    save_file({"score-dsn1.weight": torch.zeros(1, 64, 1, 1)}, tmp_path / "hed.safetensors")
    line = ["train", "edges/canny_shapes", *SMALL, "--model.weights", str(tmp_path / "hed.safetensors")]
    assert main([*line, "--out", str(tmp_path / "run")]) == 2
    assert "but canny is a filter; leave it out" in capsys.readouterr().err
