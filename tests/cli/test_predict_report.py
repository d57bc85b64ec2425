"""`foveal predict --report` and `--formats parquet`, for each task, and for runs that are stopped, killed, or done in
shards.
"""

import errno
import io
import json
import multiprocessing
import os
import re
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet
import pytest
import torch
from torch import nn

from foveal import tasks
from foveal.cli.main import main
from foveal.core.data import DataOptions, preprocessing
from foveal.core.images import write_image
from foveal.core.task import Task
from foveal.core.transforms import Transform, resize_steps
from foveal.core.types import Batch, Prediction
from foveal.tasks.detection.draw import draw_boxes
from foveal.tasks.segmentation.draw import draw_mask

_fork = multiprocessing.get_context("fork")
TIMES = re.compile(r"<time>.*?</time>|<dd class=\"time\">.*?</dd>")


class Half(Task):
    """Finds a box, or a class of a mask, in the left half of each image, the surer the redder the image is."""

    metric = "ap"
    OPTIONS = DataOptions

    def __init__(self, name: str) -> None:
        prepared = preprocessing(DataOptions(size=32))
        names = ["background", "half"] if name == "segmentation" else ["half"]
        super().__init__(None, backbone=nn.Identity(), head=nn.Identity(), class_names=names, preprocessing=prepared)
        self.name = name

    def transform(self, augment: str = "none") -> Transform:
        return Transform(resize_steps(self.preprocessing))

    def predict(self, batch: Batch) -> list[Prediction]:
        red = batch["image"][:, 0].float().mean(dim=(1, 2)) / 255
        return [self._found(*each) for each in zip(batch["path"], batch["size"], red.tolist(), strict=True)]

    def _found(self, path: str, size: tuple[int, int], red: float) -> Prediction:
        height, width = size
        if self.name == "detection":
            found = Prediction(
                path=path, size=size, labels=torch.tensor([0]), scores=torch.tensor([red]), names=["half"]
            )
            found["boxes"] = torch.tensor([[0, 0, width / 2, height]])
            return found
        mask = torch.zeros(size, dtype=torch.uint8)
        mask[:, : width // 2] = 1
        labels, scores = torch.tensor([0, 1]), torch.tensor([red, red])
        found = Prediction(path=path, size=size, labels=labels, scores=scores, names=self.class_names)
        found["mask"], found["pixels"] = mask, torch.tensor([mask.numel() - int(mask.sum()), int(mask.sum())])
        return found

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        return (draw_boxes if self.name == "detection" else draw_mask)(image, prediction, self.class_names)


@pytest.fixture
def detector() -> Half:
    return Half("detection")


@pytest.fixture
def predict(detector, predict_with):
    """`foveal predict` of the detector, whose results are in `out`."""
    return predict_with(detector)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten images, ever redder, and one that is none."""
    (tmp_path / "in").mkdir()
    for number in range(10):
        write_image(tmp_path / "in" / f"{number}.png", np.full((40, 60, 3), [25 * number, 0, 0], np.uint8))
    (tmp_path / "in" / "x.png").write_text("<html>")
    return tmp_path / "in"


def page(tmp_path: Path, out: str = "out") -> str:
    return (tmp_path / out / "report.html").read_text("utf-8")


def bins(text: str) -> list[int]:
    return [int(count) for count in re.findall(r"<title>\d.\d\d to \d.\d\d: (\d+)</title>", text)]


def lines(tmp_path: Path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]


def rows(tmp_path: Path, out: str = "out") -> list[dict]:
    return pyarrow.parquet.read_table(tmp_path / out / "predictions.parquet").to_pylist()


# --- each task --------------------------------------------------------------------------------------------------------


def test_of_classification(digits_run, digit_files, tmp_path):
    line = ["predict", str(digits_run), str(digit_files), "--out", str(tmp_path / "out"), "--num-workers", "0"]
    assert main([*line, "--report", "--formats", "parquet"]) == 0
    text = page(tmp_path)
    assert sum(bins(text)) == 12 and text.count("<img ") == 12
    assert f"<h1>Classification: {digit_files}</h1>" in text and "linear, lenet5, 10 classes" in text
    assert "12 images" in text and ">first/" in text  # names below the folder that was searched
    assert rows(tmp_path) == lines(tmp_path)


def test_of_detection(predict, folder, tmp_path):
    assert predict(folder, "--report", "--formats", "parquet", "--max-bad", "1") == 0
    text = page(tmp_path)
    # 25 / 255 = 0.098, 50 / 255 = 0.196, ...
    expected = np.bincount([int(25 * number / 255 * 20) for number in range(10)], minlength=20)
    assert bins(text) == expected.tolist()
    assert "<h1>Detection: " in text and "10 objects by their score" in text and text.count("<img ") == 10
    assert ">half 0.88<" in text and "1 of 11 files: 1 NOT_AN_IMAGE" in text
    assert rows(tmp_path) == lines(tmp_path)


def test_of_segmentation(predict_with, folder, tmp_path):
    assert predict_with(Half("segmentation"))(folder, "--report", "--formats", "parquet", "--max-bad", "1") == 0
    text = page(tmp_path)
    assert "50.0 %, in 10" in text and "background: 50.0 %, in 10" in text and ">half: 50.0 % of pixels<" in text
    assert text.count("<img ") == 10 and sum(bins(text)) == 20
    assert rows(tmp_path) == lines(tmp_path)


def test_of_frames(predict, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (60, 40))
    for number in range(6):
        writer.write(np.full((40, 60, 3), [0, 0, 40 * number], np.uint8))
    writer.release()
    write_image(tmp_path / "a.png", np.zeros((40, 60, 3), np.uint8))
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.png\n{tmp_path}/a.mp4\n")
    assert predict(f"@{tmp_path}/list.txt", "--report", "--formats", "parquet") == 0
    text = page(tmp_path)
    assert text.count("<img ") == 7 and "60 × 40, frame 5<" in text and "1 image and 1 video<" in text
    assert "images and frames predicted" in text
    assert [row["frame"] for row in rows(tmp_path)] == [None, 0, 1, 2, 3, 4, 5]


# --- a run and its page -----------------------------------------------------------------------------------------------


def test_the_page_belongs_to_the_command(predict, folder, tmp_path, capsys):
    assert predict(folder, "--max-bad", "1") == 0 and "report.html" not in os.listdir(tmp_path / "out")
    line = ["predict", str(tmp_path / "run"), str(folder), "--out", str(tmp_path / "out"), "--num-workers", "0"]
    assert main([*line, "--report"]) == 2
    assert "results of another command are already there (report false, now true)" in capsys.readouterr().err
    assert predict(folder, "--report", "--max-bad", "1") == 0 and "report.html" in os.listdir(tmp_path / "out")
    assert predict(folder, "--max-bad", "1") == 0 and "report.html" not in os.listdir(tmp_path / "out")


def test_parquet_without_pyarrow_is_refused_before_the_run(predict, folder, tmp_path, monkeypatch, capsys):
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    assert predict(folder, "--formats", "parquet") == 2
    reason = 'foveal: The format parquet needs pyarrow: install it with pip install "foveal[parquet]".\n'
    assert capsys.readouterr().err == reason and not (tmp_path / "out").exists()


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run, but for the summary, without the times in the report."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    files["report.html"] = TIMES.sub("", files["report.html"].decode()).encode()
    return {name: data for name, data in files.items() if name != "summary.json"}


def killed(arguments: list[str]) -> None:
    """The command in a process of its own, which is killed."""

    def work() -> None:
        sys.stdout = sys.stderr = io.StringIO()
        os._exit(main(arguments))

    process = _fork.Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("method", ["predict", "draw"])  # in the middle of the run, and of the page
def test_a_run_that_was_killed_ends_with_the_same_page_and_table(
    predict, detector, folder, tmp_path, monkeypatch, method
):
    line = ["predict", str(tmp_path / "run"), str(folder), "--max-bad", "1", "--batch-size", "2", "--num-workers", "0"]
    line += ["--report", "--formats", "parquet", "--out"]
    monkeypatch.setattr("foveal.core.writers._COMMIT_INPUTS", 2)
    assert main([*line, str(tmp_path / "straight")]) == 0
    before, calls = getattr(detector, method), []

    def kill(*arguments):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return before(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(detector, method, kill)
        killed([*line, str(tmp_path / "out")])
    assert not {"report.html", "summary.json"} & set(os.listdir(tmp_path / "out"))
    done = json.loads((tmp_path / "out" / ".run" / "state.json").read_text())["done"]
    assert done == {"predict": 6, "draw": 11}[method]
    assert main([*line, str(tmp_path / "out")]) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")
    assert sorted(contents(tmp_path / "out")) == [
        "failures.jsonl", "predictions.csv", "predictions.jsonl", "predictions.parquet", "report.html",
    ]  # fmt: skip


def test_a_disk_that_is_full_for_the_page_loses_nothing_else(predict, folder, tmp_path, monkeypatch, capsys):
    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    line = ["predict", str(tmp_path / "run"), str(folder), "--max-bad", "1", "--num-workers", "0", "--report"]
    line += ["--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr("foveal.core.report_page.foot", full)
        assert main(line) == 4
    assert "report.html: cannot be written (No space left on device)." in capsys.readouterr().err
    assert not {"report.html", "summary.json"} & set(os.listdir(tmp_path / "out"))
    monkeypatch.setattr(tasks.load(tmp_path), "predict", None)  # nothing is predicted again
    assert main(line) == 0 and len(lines(tmp_path)) == 10 and page(tmp_path).endswith("</html>\n")


def test_shards_have_a_page_each_and_one_table(predict, folder, tmp_path):
    line = ["predict", str(tmp_path / "run"), str(folder), "--max-bad", "1", "--num-workers", "0", "--report"]
    line += ["--formats", "parquet", "--out"]
    assert main([*line, str(tmp_path / "straight")]) == 0
    for shard in ("1/2", "2/2"):
        assert main([*line, str(tmp_path / "out"), "--shard", shard]) == 0
    assert main(["merge", str(tmp_path / "out"), "--max-bad", "1"]) == 0
    assert "report.html" not in os.listdir(tmp_path / "out")
    assert page(tmp_path, "out/shard-1-of-2").count("<img ") == 5
    assert rows(tmp_path) == rows(tmp_path, "straight")
