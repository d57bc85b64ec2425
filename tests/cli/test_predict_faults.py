"""Faults in the middle of `foveal predict`: every input gets exactly one row, and nothing is torn, whatever happens."""

import errno
import faulthandler
import io
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from foveal import tasks
from foveal.cli.main import main
from foveal.core import reading, run_folder
from foveal.core.data import IMAGENET_MEAN, IMAGENET_STD
from foveal.core.images import write_image
from foveal.core.task import Task
from foveal.core.transforms import Transform, resize_steps
from foveal.core.types import Prediction, Preprocessing
from foveal.core.videos import VideoFile, read_header

_fork = multiprocessing.get_context("fork")


class Redness(Task):
    """Finds one box, the left half of an image, of a score that is the mean of its red."""

    name = "detection"
    FORMATS = ("coco", "yolo", "crops")
    most = 1000  # images that fit into the memory

    def __init__(self) -> None:
        prepared = Preprocessing(size=16, resize="squash", grey=False, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        names = ["half"]
        super().__init__(
            None, backbone=torch.nn.Identity(), head=torch.nn.Identity(), class_names=names, preprocessing=prepared
        )
        self.batches: list[int] = []

    def transform(self, augment="none") -> Transform:
        return Transform(resize_steps(self.preprocessing))

    def predict(self, batch):
        count = len(batch["path"])
        self.batches.append(count)
        if count > self.most:
            raise torch.OutOfMemoryError("no room")
        scores = batch["image"][:, 0].float().mean(dim=(1, 2)) / 255
        return [
            Prediction(
                path=path,
                size=size,
                boxes=torch.tensor([[0.0, 0, size[1] / 2, size[0]]]),
                labels=torch.tensor([0]),
                scores=score[None],
                names=["half"],
            )
            for path, size, score in zip(batch["path"], batch["size"], scores, strict=True)
        ]

    def draw(self, image, prediction):
        return cv2.resize(image, (64, 64))


@pytest.fixture
def task(monkeypatch, tmp_path) -> Redness:
    """The task that any checkpoint holds; there is one in `run`."""
    made = Redness()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.ckpt").touch()
    monkeypatch.setattr(tasks, "load", lambda path, weights=None: made)
    return made


@pytest.fixture
def folder(tmp_path) -> Path:
    """Thirty images, of which 7 is no image, in two folders."""
    for number in range(30):
        path = tmp_path / "in" / ("a" if number % 2 else "b") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.full((40, 50, 3), [number * 8, 0, 0], np.uint8))
    (tmp_path / "in" / "a" / "07.png").write_text("<html>")
    return tmp_path / "in"


def line(tmp_path: Path, source: object, *options: str, out: str = "out") -> list[str]:
    given = ["predict", str(tmp_path / "run"), str(source), "--out", str(tmp_path / out), "--max-bad", "9"]
    return [*given, "--batch-size", "4", "--num-workers", "2", *options]


def names(tmp_path: Path, file: str = "predictions.jsonl", out: str = "out") -> list[str]:
    lines = (tmp_path / out / file).read_text().splitlines()
    return [Path(json.loads(each)["path"]).stem for each in lines]


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run by their names; of the summary, what does not depend on time."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    summary = json.loads(files.pop("summary.json"))
    return {**files, "counts": json.dumps([summary[key] for key in ("inputs", "predicted", "failed")]).encode()}


def assert_alike(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []


def failures(tmp_path: Path) -> dict[str, str]:
    lines = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    return {Path(each["path"]).stem: each["code"] for each in map(json.loads, lines)}


ALL = [f"{number:02d}" for number in (*range(1, 30, 2), *range(0, 30, 2))]  # folder a, then b
GOOD = [name for name in ALL if name != "07"]
EVERYTHING = ("--draw", "--formats", "coco,yolo,crops")


def run_apart(arguments: list[str]) -> multiprocessing.Process:
    """The command in a process of its own, with all that is imported here, and without its output."""

    def work() -> None:
        sys.stdout = sys.stderr = io.StringIO()
        os._exit(main(arguments))

    process = _fork.Process(target=work)
    process.start()
    return process


def slowly(monkeypatch, seconds: float) -> None:
    """Reading a file takes so long."""
    read = reading.read_reduced

    def slow(path, *rest):
        time.sleep(seconds)  # what a slow disk does
        return read(path, *rest)

    monkeypatch.setattr(reading, "read_reduced", slow)


def test_killed_twenty_times_the_run_ends_as_if_nothing_had_happened(task, folder, tmp_path, monkeypatch):
    slowly(monkeypatch, 0.02)
    monkeypatch.setattr("foveal.core.writers._COMMIT_INPUTS", 5)
    assert main(line(tmp_path, folder, *EVERYTHING, out="straight")) == 0
    expected = contents(tmp_path / "straight")
    assert len(expected) == 1 + 29 * 3 + 6  # counts; crops, YOLO, pictures; lines, tables, COCO, classes
    draw, kills, rounds = random.Random(0), 0, 0
    while kills < 20:
        rounds += 1
        process = run_apart(line(tmp_path, folder, *EVERYTHING))
        process.join(draw.uniform(0.02, 0.4))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
        assert process.exitcode in (-signal.SIGKILL, 0)
        if process.exitcode == 0:  # once more from the beginning
            assert_alike(contents(tmp_path / "out"), expected)
            (tmp_path / "out").rename(tmp_path / f"whole{rounds}")
    assert main(line(tmp_path, folder, *EVERYTHING)) == 0
    assert_alike(contents(tmp_path / "out"), expected)
    assert names(tmp_path) == GOOD and failures(tmp_path) == {"07": "NOT_AN_IMAGE"}


def test_a_stopped_run_exits_with_75_and_goes_on(task, folder, tmp_path, monkeypatch):
    assert main(line(tmp_path, folder, *EVERYTHING, out="straight")) == 0
    slowly(monkeypatch, 0.05)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        process = run_apart(line(tmp_path, folder, *EVERYTHING))
        process.join(0.4)
        os.kill(process.pid, number)
        process.join(10)
        assert process.exitcode == 75
        assert "summary.json" not in os.listdir(tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(tasks, "load", lambda path, weights=None: task)
    assert main(line(tmp_path, folder, *EVERYTHING)) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_at_any_write_stops_with_4_and_tears_nothing(task, folder, tmp_path, monkeypatch, code):
    options = ("--formats", "coco", "--num-workers", "0")
    monkeypatch.setattr("foveal.core.writers._COMMIT_INPUTS", 8)
    assert main(line(tmp_path, folder, *options, out="straight")) == 0
    write, counts = os.pwrite, {"left": 0}

    def failing(file, data, position):
        counts["left"] -= 1
        if counts["left"] < 0:
            written = write(file, data[: len(data) // 2], position)
            if counts["left"] == -1 and written:
                return written  # half of it fits
            raise OSError(code, os.strerror(code))
        return write(file, data, position)

    monkeypatch.setattr(run_folder.os, "pwrite", failing)
    for number in range(1, 200):
        counts["left"] = number
        ended = main(line(tmp_path, folder, *options))
        for file in ("predictions.jsonl", "failures.jsonl"):
            if (tmp_path / "out" / file).exists():
                assert all(json.loads(each) for each in (tmp_path / "out" / file).read_text().splitlines())
        if ended == 0:
            break
        assert ended == 4
    assert number > 3
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_a_disk_that_is_full_of_a_drawn_video_stops_with_4(task, tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    with VideoFile(tmp_path / "clip.mp4", 25) as video:
        for _ in range(25):
            video.write(np.zeros((40, 50, 3), np.uint8))
    noise = np.random.default_rng(0)
    monkeypatch.setattr(task, "draw", lambda *_: noise.integers(0, 256, (64, 64, 3), np.uint8))
    arguments = line(tmp_path, tmp_path / "clip.mp4", "--draw", "--num-workers", "0")

    def work() -> None:
        sys.stdout = sys.stderr = io.StringIO()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))  # of one file, bytes: less than the video has
        code = main(arguments)
        (tmp_path / "said").write_text(sys.stderr.getvalue())
        os._exit(code)

    process = _fork.Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == 4
    assert "' cannot be written: it holds 0 of 25 frames; is the disk full?" in (tmp_path / "said").read_text()
    assert main(arguments) == 0  # on a disk with room
    (made,) = (tmp_path / "out" / "pictures").rglob("*.mp4")
    assert read_header(str(made)).frames == 25


def test_a_decoder_that_crashes_costs_its_file(task, folder, tmp_path, monkeypatch, capsys):
    read = reading.read_reduced

    def crashing(path, *rest):
        if Path(path).stem in ("01", "12", "29"):
            faulthandler.disable()  # pytest's would say it at length
            os.kill(os.getpid(), signal.SIGSEGV)
        if Path(path).stem == "13":
            sys.exit(3)
        return read(path, *rest)

    monkeypatch.setattr(reading, "read_reduced", crashing)
    assert main(line(tmp_path, folder)) == 0
    lost = ["01", "12", "13", "29"]
    assert names(tmp_path) == [name for name in GOOD if name not in lost]
    expected = {"07": "NOT_AN_IMAGE", **dict.fromkeys(lost, "CRASHED"), "13": "DAMAGED"}
    assert failures(tmp_path) == expected
    assert "SIGSEGV" in (tmp_path / "out" / "failures.jsonl").read_text()


def test_a_decoder_that_crashes_among_few_files_costs_no_more(task, folder, tmp_path, monkeypatch):
    """Fewer than a batch, and nothing said about processes."""
    read = reading.read_reduced

    def crashing(path, *rest):
        if Path(path).stem == "01":
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGSEGV)
        return read(path, *rest)

    monkeypatch.setattr(reading, "read_reduced", crashing)
    given = ["predict", str(tmp_path / "run"), str(folder), "--out", str(tmp_path / "out"), "--max-bad", "2"]
    process = run_apart(given)
    process.join(60)
    assert process.exitcode == 0
    assert failures(tmp_path) == {"01": "CRASHED", "07": "NOT_AN_IMAGE"}


def test_a_process_that_is_killed_once_loses_nothing(task, folder, tmp_path, monkeypatch):
    read = reading.read_reduced

    def killed(path, *rest):
        mark = tmp_path / f"killed{Path(path).stem}"
        if Path(path).stem in ("05", "08") and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)  # as by a system that wants memory
        return read(path, *rest)

    monkeypatch.setattr(reading, "read_reduced", killed)
    assert main(line(tmp_path, folder)) == 0
    assert names(tmp_path) == GOOD and failures(tmp_path) == {"07": "NOT_AN_IMAGE"}


def test_a_read_that_hangs_ends(task, folder, tmp_path, monkeypatch):
    read = reading.read_reduced
    monkeypatch.setattr(
        reading, "read_reduced", lambda path, *rest: time.sleep(100) if Path(path).stem == "10" else read(path, *rest)
    )
    assert main(line(tmp_path, folder, "--timeout", "0.3")) == 0
    assert names(tmp_path) == [name for name in GOOD if name != "10"]
    assert failures(tmp_path) == {"07": "NOT_AN_IMAGE", "10": "TIMEOUT"}


@pytest.mark.parametrize(("most", "batches"), [(3, [3, 4, 2, 2]), (1, [3, 2, 1, 1])])
def test_without_room_for_a_batch_halves_go_on(task, folder, tmp_path, most, batches):
    assert main(line(tmp_path, folder, out="straight")) == 0
    task.batches.clear()
    task.most = most
    assert main(line(tmp_path, folder)) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")
    assert task.batches[:4] == batches and task.batches.count(4) == (most == 3)  # what is too much is tried once


def test_an_image_that_alone_is_too_much_is_a_failure(task, folder, tmp_path):
    task.most = 0
    assert main([*line(tmp_path, folder / "a" / "01.png"), "--num-workers", "0"]) == 0
    assert failures(tmp_path) == {"01": "TOO_LARGE"}


def test_of_two_runs_into_one_folder_the_second_is_refused(task, folder, tmp_path, monkeypatch, capsys):
    slowly(monkeypatch, 0.2)
    process = run_apart(line(tmp_path, folder))
    while not (tmp_path / "out" / ".run" / "state.json").exists():
        process.join(0.01)
        assert process.exitcode is None
    assert main(line(tmp_path, folder)) == 4
    assert f"another run writes here (process {process.pid} on " in capsys.readouterr().err
    process.kill()
    process.join()
    monkeypatch.undo()
    monkeypatch.setattr(tasks, "load", lambda path, weights=None: task)
    assert main(line(tmp_path, folder)) == 0  # the lock died with its owner
    assert names(tmp_path) == GOOD


def test_a_run_outlives_its_terminal_where_that_is_wanted(task, folder, tmp_path, monkeypatch):
    slowly(monkeypatch, 0.05)
    monkeypatch.setattr("foveal.core.writers._COMMIT_INPUTS", 1)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = run_apart(line(tmp_path, folder))
    finally:
        signal.signal(signal.SIGHUP, before)
    while not (tmp_path / "out" / ".run" / "state.json").exists():
        process.join(0.01)
        assert process.exitcode is None
    os.kill(process.pid, signal.SIGHUP)
    process.join(60)
    assert process.exitcode == 0 and names(tmp_path) == GOOD


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_processes_that_read_end_with_their_parent(task, folder, tmp_path, monkeypatch):
    slowly(monkeypatch, 0.2)
    process = run_apart(line(tmp_path, folder))
    while len(found := children(process.pid)) < 2:
        process.join(0.01)
        assert process.exitcode is None
    process.kill()
    process.join()
    for _ in range(1000):
        there = [pid for pid in found if Path(f"/proc/{pid}").exists()]
        if not there:
            break
        _fork.Event().wait(0.01)
    assert not there


def test_a_reader_of_the_output_that_goes_away_ends_nothing(task, folder, tmp_path, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    assert main(line(tmp_path, folder)) == 0
    assert names(tmp_path) == GOOD


def test_files_that_go_while_a_run_goes_on_are_failures(task, folder, tmp_path, monkeypatch):
    predict = task.predict

    def removing(batch):
        (folder / "b" / "28.png").unlink(missing_ok=True)
        return predict(batch)

    monkeypatch.setattr(task, "predict", removing)
    assert main(line(tmp_path, folder)) == 0
    assert failures(tmp_path) == {"07": "NOT_AN_IMAGE", "28": "MISSING"}


def test_a_run_that_goes_on_finds_the_inputs_that_it_had(task, folder, tmp_path, monkeypatch):
    slowly(monkeypatch, 0.05)
    process = run_apart(line(tmp_path, folder))
    while not (tmp_path / "out" / "predictions.jsonl").exists():
        process.join(0.01)
        assert process.exitcode is None
    process.kill()
    process.join()
    write_image(folder / "a" / "00.png", np.zeros((40, 50, 3), np.uint8))  # new, at the beginning
    monkeypatch.undo()
    monkeypatch.setattr(tasks, "load", lambda path, weights=None: task)
    assert main(line(tmp_path, folder)) == 0
    assert names(tmp_path) == GOOD


# --- shards -----------------------------------------------------------------------------------------------------------


def test_shards_merge_to_what_one_run_gives(task, folder, tmp_path, monkeypatch, capsys):
    assert main(line(tmp_path, folder, *EVERYTHING, out="straight")) == 0
    assert main(["merge", str(tmp_path)]) == 2
    assert "there is no folder shard-I-of-N in it" in capsys.readouterr().err
    for number in (3, 1):
        assert main(line(tmp_path, folder, *EVERYTHING, "--shard", f"{number}/3")) == 0
    assert main(["merge", str(tmp_path / "out")]) == 2
    assert "of 3 shards, 2 missing" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        slowly(patch, 0.1)
        process = run_apart(line(tmp_path, folder, *EVERYTHING, "--shard", "2/3"))
        process.join(0.5)
        process.kill()
        process.join()
    assert main(["merge", str(tmp_path / "out")]) == 2
    assert "shard-2-of-3: this shard is not done" in capsys.readouterr().err
    assert main(line(tmp_path, folder, *EVERYTHING, "--shard", "2/3")) == 0
    assert main(["merge", str(tmp_path / "out"), "--max-bad", "1"]) == 0
    merged = {name: data for name, data in contents(tmp_path / "out").items() if not name.startswith("shard-")}
    assert_alike(merged, contents(tmp_path / "straight"))
    assert main(["merge", str(tmp_path / "out")]) == 3  # there already, with one file that could not be read


def test_a_merge_that_was_stopped_at_its_end_begins_anew(task, folder, tmp_path, monkeypatch):
    assert main(line(tmp_path, folder, *EVERYTHING, out="straight")) == 0
    for number in (1, 2):
        assert main(line(tmp_path, folder, *EVERYTHING, "--shard", f"{number}/2")) == 0
    with monkeypatch.context() as patch:
        patch.setattr(run_folder.RunFolder, "finish", lambda *_: os._exit(9))
        assert stopped(["merge", str(tmp_path / "out"), "--max-bad", "1"]) == 9
    assert main(["merge", str(tmp_path / "out"), "--max-bad", "1"]) == 0
    merged = {name: data for name, data in contents(tmp_path / "out").items() if not name.startswith("shard-")}
    assert_alike(merged, contents(tmp_path / "straight"))


def stopped(arguments: list[str]) -> int | None:
    process = run_apart(arguments)
    process.join(60)
    return process.exitcode


def test_shards_of_other_commands_are_not_merged(task, folder, tmp_path, capsys):
    assert main(line(tmp_path, folder, "--shard", "1/2")) == 0
    assert main([*line(tmp_path, folder, "--shard", "2/2"), "--batch-size", "5"]) == 0
    assert main(["merge", str(tmp_path / "out")]) == 2
    assert "shard-2-of-2: it was predicted with another batch_size than " in capsys.readouterr().err
    assert main(line(tmp_path, folder, "--shard", "2/5")) == 0
    assert main(["merge", str(tmp_path / "out")]) == 2
    assert "there is shards of 2 and of 5 in it" in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b"])
def test_a_shard_is_one_of_several(task, folder, tmp_path, shard, capsys):
    assert main(line(tmp_path, folder, "--shard", shard)) == 2
    assert f"--shard is {shard}; it must be I/N, as 2/8 for the second of eight parts." in capsys.readouterr().err


def test_shards_call_files_as_one_run_does(task, tmp_path):
    for name in ("a.jpg", "a.png", "b.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_image(tmp_path / "in" / name, np.full((40, 50, 3), [len(name) * 8, 0, 0], np.uint8))
    options = ("--formats", "yolo,crops")
    assert main(line(tmp_path, tmp_path / "in", *options, out="straight")) == 0
    for number in (1, 2, 3):
        assert main(line(tmp_path, tmp_path / "in", *options, "--shard", f"{number}/3")) == 0
    assert main(["merge", str(tmp_path / "out")]) == 0
    merged = {name: data for name, data in contents(tmp_path / "out").items() if not name.startswith("shard-")}
    assert_alike(merged, contents(tmp_path / "straight"))
    assert {"yolo/a.txt", "yolo/a.png.txt", "crops/half/a.png_0.jpg", "yolo/b.txt"} < set(merged)


def test_shards_that_saw_other_files_are_not_merged(task, folder, tmp_path, capsys):
    assert main(line(tmp_path, folder, "--shard", "1/2")) == 0
    (folder / "b" / "28.png").unlink()
    assert main(line(tmp_path, folder, "--shard", "2/2")) == 0
    assert main(["merge", str(tmp_path / "out")]) == 2
    assert "shard-2-of-2: there were other files when it began than when " in capsys.readouterr().err


def test_shards_with_and_without_videos_have_one_table(task, folder, tmp_path):
    video = tmp_path / "clip.mp4"
    with VideoFile(video, 10) as file:
        for _ in range(3):
            file.write(np.full((40, 50, 3), [200, 0, 0], np.uint8))
    (tmp_path / "list.txt").write_text(f"{folder}\n{video}\n")
    assert main(line(tmp_path, f"@{tmp_path}/list.txt", out="straight")) == 0
    for number in (1, 2):
        assert main(line(tmp_path, f"@{tmp_path}/list.txt", "--shard", f"{number}/2")) == 0
    assert main(["merge", str(tmp_path / "out"), "--max-bad", "1"]) == 0
    for name in ("predictions.csv", "predictions.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
