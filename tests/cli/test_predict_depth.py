"""`foveal predict` and `foveal calibrate` where there is depth: maps, formats, options, runs that are killed or merged,
and distances that are known.

The network is one that makes no mistakes: what is redder is farther, a metre for every 10 of 255.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from foveal import tasks
from foveal.cli.main import main
from foveal.core.checkpoint import AtomicCheckpointIO, read_checkpoint
from foveal.core.data import DataOptions, preprocessing
from foveal.core.images import write_image
from foveal.core.task import Task
from foveal.core.transforms import Transform, resize_steps
from foveal.core.types import Batch, Prediction
from foveal.tasks.depth.calibration import Calibration, read_calibration
from foveal.tasks.depth.draw import draw_depth
from foveal.tasks.depth.prediction import about_depth, depth_prediction

EVERYTHING = ("--formats", "npy,ply", "--focal", "60")


class Reds(Task):
    """Sees how far away things are by how red they are."""

    name = "depth"
    metric = "delta1"
    OPTIONS = DataOptions
    PREDICTION_OPTIONS = ("depth_scale", "focal", "intrinsics")
    FORMATS = ("npy", "ply")

    def __init__(self) -> None:
        prepared = preprocessing(DataOptions(size=40))
        super().__init__(None, backbone=nn.Identity(), head=nn.Identity(), class_names=[], preprocessing=prepared)
        self.calibration: Calibration | None = None

    def transform(self, augment: str | list[str] = "none") -> Transform:
        return Transform(resize_steps(self.preprocessing))

    def about(self) -> dict:
        return dict(about_depth(0.5, 25.5, self.calibration))

    def predict(self, batch: Batch) -> list[Prediction]:
        return [self._found(*each) for each in zip(batch["image"], batch["path"], batch["size"], strict=True)]

    def _found(self, image: torch.Tensor, path: str, size: tuple[int, int]) -> Prediction:
        red = cv2.resize(image[0].numpy(), size[::-1], interpolation=cv2.INTER_NEAREST)
        return depth_prediction(torch.from_numpy(red) / 10, path, calibration=self.calibration)

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        return draw_depth(image, prediction)


@pytest.fixture
def predict(predict_with):
    """`foveal predict` with the network of reds, whose results are in `out`."""
    return predict_with(Reds())


@pytest.fixture
def folder(tmp_path) -> Path:
    """Eight images with something near before something far, of which 3 is no image."""
    for number in range(8):
        image = np.zeros((40, 40, 3), np.uint8)
        image[:, :, 0], image[10:30, 10:30, 0] = 200, 20 + 10 * number
        (tmp_path / "in" / "sub").mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "in" / ("sub" if number % 2 else "") / f"{number}.png", image)
    (tmp_path / "in" / "sub" / "3.png").write_text("<html>")
    return tmp_path / "in"


def lines(out: Path) -> dict[str, dict]:
    read = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    return {Path(line["path"]).stem: line for line in read}


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run by their names, but its summary."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in files.items() if not name.endswith("summary.json")}


# --- results ----------------------------------------------------------------------------------------------------------


def test_depth_comes_in_every_form(predict, folder, tmp_path):
    assert predict(folder, "--draw", "--report", *EVERYTHING, "--max-bad", "1") == 0
    out = tmp_path / "out"
    names = ["0.png", "2.png", "4.png", "6.png", "sub/1.png", "sub/5.png", "sub/7.png"]
    for kind, ending in {"depth": ".png", "npy": ".npy", "ply": ".ply", "pictures": ".jpg"}.items():
        files = sorted(path.relative_to(out / kind).as_posix() for path in (out / kind).rglob("*") if path.is_file())
        assert files == [name + ending for name in names]
    found = lines(out)["4"]
    assert [found[key] for key in ("nearest", "median", "farthest", "known")] == [6.0, 20.0, 20.0, 1.0]
    stored = cv2.imread(str(out / found["depth"]), cv2.IMREAD_UNCHANGED)
    assert stored[0, 0] == 20 * 256 and stored[20, 20] == 6 * 256 and (out / "depth_scale.txt").read_text() == "256\n"
    assert np.load(out / "npy/4.png.npy")[20, 20] == 6.0
    about = json.loads((out / "depth.json").read_text())
    assert [about[key] for key in ("alignment", "range", "model")] == ["none", [0.5, 25.5], str(tmp_path / "run")]
    assert about["camera"] == {"fx": 60.0, "fy": 60.0, "cx": None, "cy": None, "unit": "pixels of the file"}
    page = (out / "report.html").read_text()
    assert "6.00 to 20.00 m" in page and "farthest, metres" in page


def test_a_focal_length_alone_asks_for_clouds_and_depth_scale_changes_the_maps(predict, folder, tmp_path):
    assert predict(folder / "4.png", "--intrinsics", "40,20,0,0", "--depth-scale", "1000") == 0
    (cloud,) = (tmp_path / "out" / "ply").rglob("*.ply")
    data = cloud.read_bytes()
    point = np.frombuffer(data[data.index(b"end_header\n") + 11 :], "<f4", 3, 15 * (40 * 20 + 30))  # row 20, column 30
    assert point.tolist() == [15.0, 20.0, 20.0]
    stored = cv2.imread(str(tmp_path / "out" / lines(tmp_path / "out")["4"]["depth"]), cv2.IMREAD_UNCHANGED)
    assert stored[20, 20] == 6000 and (tmp_path / "out" / "depth_scale.txt").read_text() == "1000\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--formats", "ply"], "--formats ply needs the camera: give --focal PIXELS"),
        (
            ["--formats", "coco"],
            "--formats coco is of boxes or masks, and depth finds none; it takes --formats npy,ply",
        ),
        (["--focal", "0"], "--focal is 0.0; it must be above 0."),
        (["--focal", "nan"], "--focal is nan; it must be above 0."),
        (["--depth-scale", "-1"], "--depth-scale is -1.0; it must be above 0."),
        (["--intrinsics", "1,2,3"], "--intrinsics takes FX,FY,CX,CY, four numbers in pixels of the files"),
        (["--intrinsics", "1,-2,3,4"], "the first two above 0, not '1,-2,3,4'."),
        (["--intrinsics", "1,1,3,4", "--focal", "5"], "--focal and --intrinsics are both given"),
        (["--thin"], "--thin means nothing to depth; it takes --depth-scale, --focal, --intrinsics."),
    ],
)
def test_what_means_nothing_is_refused_in_one_sentence(predict, folder, tmp_path, capsys, options, words):
    assert predict(folder, *options) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error and not (tmp_path / "out").exists()


def test_a_camera_means_nothing_to_other_tasks(predict_with, folder, tmp_path, capsys):
    task = Reds()
    task.name, task.PREDICTION_OPTIONS, task.FORMATS = "edges", ("score",), ("svg",)
    assert predict_with(task)(folder, "--focal", "50") == 2
    assert "--focal means nothing to edges; it takes --score." in capsys.readouterr().err


def test_overwriting_leaves_nothing_of_an_earlier_run(predict, predict_with, folder, tmp_path):
    assert predict(folder, *EVERYTHING, "--max-bad", "1") == 0
    assert predict(folder / "sub", "--max-bad", "1") == 0
    assert sorted(contents(tmp_path / "out")) == [
        "depth.json",
        *(f"depth/{number}.png.png" for number in (1, 5, 7)),
        "depth_scale.txt",
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
        return [*given, "--batch-size", "2", "--num-workers", "0", *EVERYTHING, *options]

    return make


def test_killed_again_and_again_a_run_ends_with_the_same_bytes(line, tmp_path, kill_again_and_again):
    assert main(line("straight")) == 0
    expected = contents(tmp_path / "straight")
    assert len(expected) == 3 * 7 + 5
    assert kill_again_and_again(line("out"), times=8, seconds=0.15) > 0
    assert main(line("out")) == 0
    assert contents(tmp_path / "out") == expected


def test_parts_merge_to_the_same_bytes(line, folder, tmp_path):
    for number in (0, 2, 4, 6):  # the first part holds nothing that can be read
        (folder / f"{number}.png").write_text("<html>")
    assert main(line("straight", "--max-bad", "9")) == 0
    for number in (1, 2, 3):
        assert main(line("out", "--max-bad", "9", "--shard", f"{number}/3")) == 0
    assert not (tmp_path / "out" / "shard-1-of-3" / "depth.json").exists()
    assert main(["merge", str(tmp_path / "out"), "--max-bad", "9"]) == 0
    merged = {name: data for name, data in contents(tmp_path / "out").items() if not name.startswith("shard-")}
    assert merged == contents(tmp_path / "straight")


# --- calibrate --------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path, monkeypatch) -> Path:
    """A checkpoint that holds the network of reds."""
    entry = {"format": 1, "task": "depth", "model": {"backbone": "red", "head": "reds"}, "class_names": []}
    entry |= {"preprocessing": {"size": 40}, "recipe": {}, "metrics": {}, "epoch": 0, "versions": {}}
    AtomicCheckpointIO().save_checkpoint({"state_dict": {}, "foveal": entry}, tmp_path / "reds.ckpt")

    def load(path, weights=None) -> Task:
        task = Reds()
        task.calibration = read_calibration(read_checkpoint(path)["foveal"])
        return task

    monkeypatch.setattr(tasks, "load", load)
    return tmp_path / "reds.ckpt"


@pytest.fixture
def calibrate(checkpoint, folder, capsys):
    """`foveal calibrate` with a table of points beside the images: exit code, standard output, standard error."""

    def run(table: str | bytes, *options: str) -> tuple[int, str, str]:
        (folder / "points.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
        capsys.readouterr()
        code = main(["calibrate", str(checkpoint), "--points", str(folder / "points.csv"), *options])
        return code, *capsys.readouterr()

    return run


# What is 6 m and 20 m far for the network, is 4 m and 11 m: half, and a metre.
POINTS = "path,x,y,metres\n4.png,20,20,4\n4.png,5.5,39.9,11\n"


def test_points_become_a_calibration_by_which_predict_goes(calibrate, checkpoint, folder, tmp_path, capsys):
    code, out, _ = calibrate(POINTS)
    assert code == 0 and "scale 0.5, shift 1 m" in out and "65.9 % before, 0.0 % after" in out
    assert read_checkpoint(checkpoint)["foveal"]["calibration"] == {"scale": 0.5, "shift": 1.0}
    assert main(["info", str(checkpoint)]) == 0
    assert "metres = 0.5 x predicted + 1" in capsys.readouterr().out
    assert main(["predict", str(checkpoint), str(folder / "4.png"), "--out", str(tmp_path / "out")]) == 0
    found = lines(tmp_path / "out")["4"]
    assert [found["nearest"], found["farthest"]] == [4.0, 11.0]
    about = json.loads((tmp_path / "out" / "depth.json").read_text())
    assert about["calibration"] == {"scale": 0.5, "shift": 1.0} and about["range"] == [1.25, 13.75]


def test_a_second_calibration_starts_from_the_network_again(calibrate, checkpoint):
    assert calibrate(POINTS)[0] == calibrate(POINTS)[0] == 0
    assert read_checkpoint(checkpoint)["foveal"]["calibration"] == {"scale": 0.5, "shift": 1.0}


def test_points_may_lie_in_several_images_and_columns_in_any_order(calibrate, checkpoint, folder):
    table = f"note, metres, y, x, path\nbox, 2, 20, 20, 0.png\n, 5.5, 20, 20, {folder / 'sub/7.png'}\n,11,40,40,2.png\n"
    code, out, error = calibrate(table)  # 2, 9 and 20 m
    assert (code, error) == (0, "") and "scale 0.5, shift 1 m" in out


def test_another_file_may_take_it_and_clear_takes_it_away(calibrate, checkpoint, tmp_path, capsys):
    before = checkpoint.read_bytes()
    assert calibrate(POINTS, "--out", str(tmp_path / "other.ckpt"))[0] == 0
    assert checkpoint.read_bytes() == before
    assert read_checkpoint(tmp_path / "other.ckpt")["foveal"]["calibration"]["scale"] == 0.5
    assert main(["calibrate", str(tmp_path / "other.ckpt"), "--clear"]) == 0
    assert "calibration" not in read_checkpoint(tmp_path / "other.ckpt")["foveal"]


HEAD = "path,x,y,metres\n"


@pytest.mark.parametrize(
    ("table", "code", "words"),
    [
        ("", 3, "has no column path: its first line must be path,x,y,metres."),
        ("path,x,y,meters\n", 3, "has no column metres"),
        (HEAD, 3, "holds no points: scale and shift need two."),
        (HEAD + "4.png,20,20,4\n", 3, "holds 1 point: scale and shift need two."),
        (HEAD + "4.png,20,20,4\n4.png,1,1\n", 3, "line 3: metres is missing; it must be a number."),
        (HEAD + "4.png,20,20,4\n4.png,1,1,5,5\n", 3, "line 3: there are more values than the first line has columns."),
        (HEAD + "4.png,20,20,4\n4.png,1,one,5\n", 3, "line 3: y is 'one'; it must be a number."),
        (HEAD + "4.png,20,20,0\n4.png,1,1,5\n", 3, "line 2: metres is 0; a distance is above 0."),
        (HEAD + "4.png,20,20,inf\n4.png,1,1,5\n", 3, "line 2: metres is 'inf'; it must be a number."),
        (HEAD + ",20,20,4\n4.png,1,1,5\n", 3, "line 2: the path is empty"),
        (HEAD + "4.png,20,20,4\n4.png,41,1,5\n", 3, "line 3: x 41 and y 1 lie beside"),
        (HEAD + "4.png,20,20,4\nnone.png,1,1,5\n", 3, "none.png' does not exist"),
        (HEAD + "4.png,20,20,4\nsub/3.png,1,1,5\n", 3, "sub/3.png' is"),
        (HEAD + "4.png,20,20,4\n4.png,21,21,5\n", 3, "The 2 points lie at nearly one distance for the network"),
        (HEAD + "4.png,20,20,9\n4.png,1,1,5\n", 3, "what was measured as farther is nearer for the network"),
        (HEAD + '"4.png,20,20,9\n', 3, "not CSV"),
        (b"\xff\xfe\x00", 3, "cannot be read as text in UTF-8"),
    ],
)
def test_points_that_cannot_be_used_are_one_sentence(calibrate, checkpoint, table, code, words):
    before = checkpoint.read_bytes()
    ended, _, error = calibrate(table)
    assert ended == code and words in error and error.count("\n") == 1 and "Traceback" not in error
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "Give --points FILE, with distances that are known, or --clear, and not both."),
        (["--points", "a.csv", "--clear"], "and not both."),
        (["--points", "nowhere.csv"], "nowhere.csv: there is no such file"),
    ],
)
def test_wrong_commands_are_one_sentence(checkpoint, capsys, options, words):
    assert main(["calibrate", str(checkpoint), *options]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_only_depth_has_a_calibration(checkpoint, folder, monkeypatch, capsys):
    task = Reds()
    task.name = "edges"
    monkeypatch.setattr(tasks, "load", lambda path, weights=None: task)
    assert main(["calibrate", str(checkpoint), "--clear"]) == 2
    assert "it is of edges, and a calibration is for depth." in capsys.readouterr().err
    assert main(["calibrate", "imagenet/resnet18", "--clear"]) == 2
    assert "is a ready-made model" in capsys.readouterr().err
