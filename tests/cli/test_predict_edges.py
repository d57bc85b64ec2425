"""`foveal predict` where there are edges: maps, formats, options, and runs that are killed, overwritten or in parts.

The detector is one that makes no mistakes: an edge is what is red, and how red it is says how sure that is.
"""

import json
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from foveal.cli.main import main
from foveal.core.data import DataOptions, preprocessing
from foveal.core.images import write_image
from foveal.core.task import Task
from foveal.core.transforms import Transform, resize_steps
from foveal.core.types import Batch, Prediction

FORMATS = ("--formats", "binary,svg,geojson")
FOLDERS = ("edges", "binary", "svg", "geojson")


class Reds(Task):
    """Finds what is red."""

    name = "edges"
    metric = "ods"
    OPTIONS = DataOptions
    PREDICTION_OPTIONS = ("score", "thin", "bits")
    FORMATS = ("binary", "svg", "geojson")

    def __init__(self) -> None:
        prepared = preprocessing(DataOptions(size=60))
        super().__init__(None, backbone=nn.Identity(), head=nn.Identity(), class_names=["edge"], preprocessing=prepared)

    def transform(self, augment: str = "none") -> Transform:
        return Transform(resize_steps(self.preprocessing))

    def predict(self, batch: Batch) -> list[Prediction]:
        return [self._found(*each) for each in zip(batch["image"], batch["path"], batch["size"], strict=True)]

    def _found(self, image: torch.Tensor, path: str, size: tuple[int, int]) -> Prediction:
        edges = cv2.resize(image[0].numpy(), size[::-1], interpolation=cv2.INTER_NEAREST).astype(np.float32) / 255
        threshold = 0.5 if self.prediction_options.score is None else self.prediction_options.score
        if self.prediction_options.thin:
            edges[1::2] = 0
        found = edges[edges >= threshold]
        return Prediction(
            path=path,
            size=size,
            labels=torch.tensor([0]),
            scores=torch.tensor([found.mean() if found.size else 0.0]),
            names=["edge"],
            pixels=torch.tensor([found.size]),
            edges=torch.from_numpy(edges),
            threshold=threshold,
        )

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        return np.repeat((prediction["edges"].numpy() * 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture
def predict(predict_with):
    """`foveal predict` with the detector of reds, whose results are in `out`."""
    return predict_with(Reds())


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve images with a red bar each, of which 3 is no image."""
    for number in range(12):
        image = np.zeros((60, 60, 3), np.uint8)
        image[10:16, 5 : 20 + number] = (100 + 10 * number, 0, 0)
        (tmp_path / "in" / "sub").mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "in" / ("sub" if number % 2 else "") / f"{number:02d}.png", image)
    (tmp_path / "in" / "sub" / "03.png").write_text("<html>")
    return tmp_path / "in"


def lines(out: Path) -> dict[str, dict]:
    read = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    return {Path(line["path"]).stem: line for line in read}


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run by their names, but its summary."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in files.items() if not name.endswith("summary.json")}


def test_edges_come_in_every_form(predict, folder, tmp_path):
    assert predict(folder, "--draw", *FORMATS, "--max-bad", "1") == 0
    out = tmp_path / "out"
    names = ["00.png", *(f"{number:02d}.png" for number in range(2, 12, 2)), "sub/01.png"]
    names += [f"sub/{number:02d}.png" for number in range(5, 12, 2)]
    endings = {"edges": ".png", "binary": ".png", "svg": ".svg", "geojson": ".geojson", "pictures": ".jpg"}
    for kind, ending in endings.items():
        files = sorted(path.relative_to(out / kind).as_posix() for path in (out / kind).rglob("*") if path.is_file())
        assert files == [name + ending for name in names]
    found = lines(out)
    assert [found["02"][key] for key in ("pixels", "threshold", "names")] == [[0], 0.5, ["edge"]]  # 120 of 255
    assert [found["04"][key] for key in ("pixels", "scores")] == [[6 * 19], [0.54902]]  # 140 of 255
    read = {kind: cv2.imread(str(out / kind / "04.png.png"), cv2.IMREAD_UNCHANGED) for kind in ("edges", "binary")}
    assert read["edges"][10:16, 5:24].tolist() == [[140] * 19] * 6 and read["edges"].sum() == 140 * 6 * 19
    assert (read["binary"] == np.where(read["edges"], 255, 0)).all()
    (feature,) = json.loads((out / "geojson/04.png.geojson").read_text())["features"]
    (y,) = {y for _, y in feature["geometry"]["coordinates"]}
    assert y in (12.5, 13.5) and feature["properties"]["mean"] == 0.54902  # the bar's middle
    (path,) = ElementTree.parse(out / "svg/04.png.svg").getroot().iter("{http://www.w3.org/2000/svg}path")
    assert path.get("d", "").count(f",{y}") == 2


def test_score_is_the_threshold_and_bits_and_thin_change_the_files(predict, folder, tmp_path):
    assert predict(folder / "04.png", "--score", "0.6", "--bits", "16", "--thin", *FORMATS) == 0
    found = lines(tmp_path / "out")["04"]
    assert [found[key] for key in ("pixels", "threshold")] == [[0], 0.6]
    stored = cv2.imread(str(tmp_path / "out" / found["edges"]), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16 and set(np.unique(stored)) == {0, 35980}  # 140 / 255 x 65535
    assert (stored > 0).sum() == 3 * 19
    (binary,) = (tmp_path / "out" / "binary").rglob("*.png")
    assert not cv2.imread(str(binary), cv2.IMREAD_UNCHANGED).any()
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["run"]["--bits"] == 16


def test_a_page_shows_them(predict, folder, tmp_path):
    assert predict(folder, "--report", "--max-bad", "1") == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg") == 11 and "without any: 3 of 11 images" in page  # 00, 01 and 02 are too pale


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("segmentation", ["--bits", "16"], "--bits means nothing to segmentation; it takes --score."),
        ("segmentation", ["--thin"], "--thin means nothing to segmentation; it takes --score."),
        ("segmentation", ["--formats", "svg"], "--formats svg is of edges, and segmentation finds none"),
        ("edges", ["--formats", "coco"], "it takes --formats binary,svg,geojson,parquet."),
        ("edges", ["--bits", "12"], "invalid choice: 12"),
    ],
)
def test_what_means_nothing_is_refused_in_one_sentence(predict_with, folder, tmp_path, capsys, name, options, words):
    task = Reds()
    task.name = name
    if name != "edges":
        task.PREDICTION_OPTIONS, task.FORMATS = ("score",), ("coco",)
    assert predict_with(task)(folder, *options) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error and not (tmp_path / "out").exists()


def test_overwriting_leaves_nothing_of_an_earlier_run(predict, folder, tmp_path):
    assert predict(folder, *FORMATS, "--max-bad", "1") == 0
    assert all((tmp_path / "out" / name).is_dir() for name in FOLDERS)
    assert predict(folder / "sub", "--max-bad", "1") == 0
    assert sorted(contents(tmp_path / "out")) == [
        *(f"edges/{number:02d}.png.png" for number in (1, 5, 7, 9, 11)),
        "failures.jsonl",
        "predictions.csv",
        "predictions.jsonl",
    ]


# --- faults and parts -------------------------------------------------------------------------------------------------


@pytest.fixture
def line(predict, folder, tmp_path):
    """The command line with everything, into a folder of a name, without --overwrite."""

    def make(out: str, *options: str) -> list[str]:
        given = ["predict", str(tmp_path / "run"), str(folder), "--out", str(tmp_path / out), "--max-bad", "1"]
        return [*given, "--batch-size", "2", "--num-workers", "0", *FORMATS, *options]

    return make


def test_killed_again_and_again_a_run_ends_with_the_same_bytes(line, tmp_path, kill_again_and_again):
    assert main(line("straight")) == 0
    expected = contents(tmp_path / "straight")
    assert len(expected) == 4 * 11 + 3
    assert kill_again_and_again(line("out"), times=12, seconds=0.2) > 0
    assert main(line("out")) == 0
    assert contents(tmp_path / "out") == expected


def test_parts_merge_to_the_same_bytes(line, tmp_path):
    assert main(line("straight")) == 0
    for number in (1, 2, 3):
        assert main(line("out", "--shard", f"{number}/3")) == 0
    assert main(["merge", str(tmp_path / "out"), "--max-bad", "1"]) == 0
    merged = {name: data for name, data in contents(tmp_path / "out").items() if not name.startswith("shard-")}
    assert merged == contents(tmp_path / "straight")
