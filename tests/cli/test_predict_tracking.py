"""`foveal predict` with a tracker: videos and folders of frames, from the command line to files."""

import json
import shutil

import numpy as np
import pytest

from foveal.cli.main import main
from foveal.core.images import write_image
from foveal.core.videos import VideoFile, read_header
from foveal.datasets import open_dataset
from foveal.datasets.frame_folder import write_split
from foveal.datasets.shapes import ShapesWorld

FRAMES = 6


@pytest.fixture(scope="session")
def tracking_run(tmp_path_factory):
    """A tracker that has seen next to nothing: what it says matters to no test here."""
    folder = tmp_path_factory.mktemp("tracking") / "run"
    line = ["train", "tracking/siamfc_resnet18_shapes", "--out", str(folder), "--data.images", "192"]
    line += ["--data.splits", "[0.5, 0.25, 0.25]", "--model.pairs_per_sequence", "4", "--data.num_workers", "0"]
    assert main([*line, "--model.baselines", "[]"]) == 0
    return folder


@pytest.fixture
def clips(tmp_path):
    """clips/one and clips/two of six frames with their boxes, and the first as a video beside them."""
    world = ShapesWorld("tracking", "test", images=96, size=96)
    samples = [world[48 * video + frame] for video in range(2) for frame in range(FRAMES)]
    write_split(samples, tmp_path, split="clips", class_names=["one", "two"])
    with VideoFile(tmp_path / "film.mp4", 10.0) as video:
        for sample in samples[:FRAMES]:
            video.write(sample["image"])
    shutil.copy(tmp_path / "clips" / "one" / "groundtruth.txt", tmp_path / "film.txt")
    return tmp_path / "clips"


def lines(out):
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def test_folders_of_frames_begin_with_their_boxes(tracking_run, clips, tmp_path):
    out = tmp_path / "out"
    assert main(["predict", str(tracking_run), str(clips), "--out", str(out), "--draw"]) == 0
    found = lines(out)
    assert [line["frame"] for line in found] == [*range(FRAMES)] * 2
    first = (clips / "one" / "groundtruth.txt").read_text().splitlines()[0]
    x, y, width, height = map(float, first.split(","))
    assert found[0]["boxes"] == [[x, y, x + width, y + height]] and found[0]["scores"] == [1.0]
    assert found[0]["lost"] == [False] and found[0]["names"] == ["target"]
    for name in ("one", "two"):
        assert len((out / "tracks" / f"{name}.txt").read_text().splitlines()) == FRAMES
        assert read_header(str(out / "pictures" / f"{name}.mp4")).frames == FRAMES
    assert (out / "tracks" / "one.txt").read_text().splitlines()[0] == ",".join(
        f"{value:g}" for value in (x, y, width, height)
    )
    head, row = (out / "predictions.csv").read_text().splitlines()[:2]
    assert head.endswith("x1,y1,x2,y2,lost") and row.endswith(",0")


def test_the_files_of_boxes_are_a_data_set(tracking_run, clips, tmp_path):
    assert main(["predict", str(tracking_run), str(clips), "--out", str(tmp_path / "out"), "--score", "0"]) == 0
    for name in ("one", "two"):
        shutil.copy(tmp_path / "out" / "tracks" / f"{name}.txt", clips / name / "groundtruth.txt")
    again = open_dataset("frame_folder", str(clips), split="test", fractions=[0, 0, 1])
    found = [np.array(line["boxes"][0]) for line in lines(tmp_path / "out")]
    assert len(again) == 2 * FRAMES
    for index, box in enumerate(found):
        assert np.allclose(again[index]["boxes"][0], box, atol=0.011)


def test_a_video_with_two_boxes(tracking_run, clips, tmp_path):
    out = tmp_path / "out"
    line = ["predict", str(tracking_run), str(tmp_path / "film.mp4"), "--out", str(out)]
    assert main([*line, "--box", "10,10,20,20", "--box=40,30,24,12"]) == 0
    assert [line["names"] for line in lines(out)] == [["target 1", "target 2"]] * FRAMES
    assert sorted(path.name for path in (out / "tracks").iterdir()) == ["film.mp4_1.txt", "film.mp4_2.txt"]


def test_a_video_begins_with_the_box_beside_it_and_a_lost_target_has_no_line(tracking_run, clips, tmp_path):
    out = tmp_path / "out"
    assert main(["predict", str(tracking_run), str(tmp_path / "film.mp4"), "--out", str(out), "--score", "1"]) == 0
    tracks = (out / "tracks" / "film.mp4.txt").read_text().splitlines()
    assert tracks[0] == (tmp_path / "film.txt").read_text().splitlines()[0]
    assert tracks[1:] == ["NaN,NaN,NaN,NaN"] * (FRAMES - 1)
    assert all(line["lost"] == [True] for line in lines(out)[1:])


def test_every_second_frame(tracking_run, clips, tmp_path):
    out = tmp_path / "out"
    assert (
        main(["predict", str(tracking_run), str(clips / "one"), "--out", str(out), "--every", "2", "--score", "0"]) == 0
    )
    assert [line["frame"] for line in lines(out)] == [0, 2, 4]
    tracks = (out / "tracks" / "one.txt").read_text().splitlines()
    assert [line == "NaN,NaN,NaN,NaN" for line in tracks] == [False, True, False, True, False, True]


def test_batches_and_workers_change_nothing(tracking_run, clips, tmp_path):
    for name, extra in (("a", ["--batch-size", "1", "--num-workers", "0"]), ("b", ["--num-workers", "2"])):
        assert main(["predict", str(tracking_run), str(clips), "--out", str(tmp_path / name), *extra]) == 0
    assert (tmp_path / "a" / "predictions.jsonl").read_bytes() == (tmp_path / "b" / "predictions.jsonl").read_bytes()


def test_a_broken_frame_is_named_and_the_others_are_followed(tracking_run, clips, tmp_path):
    (clips / "one" / "000003.jpg").write_bytes(b"broken")
    assert main(["predict", str(tracking_run), str(clips / "one"), "--out", str(tmp_path / "out")]) == 3
    assert [line["frame"] for line in lines(tmp_path / "out")] == [0, 1, 3, 4, 5]
    (failure,) = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert failure["path"].endswith("one/000003.jpg")


def test_a_sequence_without_its_first_frame_is_a_failure_and_the_others_are_followed(tracking_run, clips, tmp_path):
    (clips / "one" / "000001.jpg").write_bytes(b"broken")
    out = tmp_path / "out"
    assert main(["predict", str(tracking_run), str(clips), "--out", str(out)]) == 3
    assert {line["path"].rstrip("/").rpartition("/")[2] for line in lines(out)} == {"two"}  # not begun in the middle
    said = (out / "failures.jsonl").read_text()
    assert "000001.jpg" in said and "the first frame, which shows the target, is missing" in said
    assert (out / "tracks" / "two.txt").is_file() and not (out / "tracks" / "one.txt").exists()


def test_a_video_that_ends_early_keeps_its_frames(tracking_run, clips, tmp_path):
    with VideoFile(tmp_path / "long.avi", 25.0) as video:
        for number in range(100):
            video.write(np.random.default_rng(number).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    data = (tmp_path / "long.avi").read_bytes()
    (tmp_path / "long.avi").write_bytes(data[: len(data) * 2 // 3])
    out = tmp_path / "out"
    code = main(["predict", str(tracking_run), str(tmp_path / "long.avi"), "--box", "10,10,20,20", "--out", str(out)])
    assert code == 3 and len(lines(out)) > 20
    assert "only its first" in (out / "failures.jsonl").read_text()


def test_a_bad_video_or_box_among_others_costs_them_nothing(tracking_run, clips, tmp_path, capsys):
    (clips / "bad.mp4").write_bytes(b"no video")
    (clips / "bad.txt").write_text("1,2,9,9\n")
    (clips / "two" / "groundtruth.txt").write_text("500,2,9,9\n")
    out = tmp_path / "out"
    assert main(["predict", str(tracking_run), str(clips), "--out", str(out)]) == 3
    assert [line["frame"] for line in lines(out)] == [*range(FRAMES)]
    said = (out / "failures.jsonl").read_text()
    assert said.count("\n") == 2 and "is no video" in said and "lie in the frame" in said
    assert "2 of 3 files could not be read" in capsys.readouterr().err


def test_another_box_into_the_same_folder_is_refused_as_it_was_typed(tracking_run, clips, tmp_path, capsys):
    line = ["predict", str(tracking_run), str(clips / "one"), "--out", str(tmp_path / "out")]
    assert main([*line, "--box", "10,10,20,20"]) == 0
    assert main([*line, "--box", "-5,10,20,20"]) == 2
    assert "10,10,20,20" in capsys.readouterr().err


def test_gpu_memory_that_is_too_small_starts_no_tracker_anew(tracking_run, clips, tmp_path, monkeypatch):
    import torch

    from foveal.tasks.tracking.tracker import Tracker

    line = ["predict", str(tracking_run), str(clips / "one"), "--num-workers", "0"]
    assert main([*line, "--out", str(tmp_path / "whole")]) == 0
    update, calls = Tracker.update, []

    def fails_once(tracker, image):
        calls.append(1)
        if len(calls) == 3:
            raise torch.OutOfMemoryError
        return update(tracker, image)

    monkeypatch.setattr(Tracker, "update", fails_once)
    assert main([*line, "--out", str(tmp_path / "out")]) == 3
    whole, found = lines(tmp_path / "whole"), lines(tmp_path / "out")
    assert found[:3] == whole[:3] and [each["frame"] for each in found[3:]] == [4, 5]
    assert found[3]["boxes"] != whole[0]["boxes"]


def test_frames_that_change_size_and_a_grey_or_single_frame(tracking_run, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    for number, (height, width) in enumerate([(64, 64), (80, 48), (64, 64)]):
        write_image(folder / f"{number}.png", np.full((height, width), 90, np.uint8))
    assert main(["predict", str(tracking_run), str(folder), "--box", "10,10,20,20", "--out", str(tmp_path / "a")]) == 0
    assert [line["size"] for line in lines(tmp_path / "a")] == [[64, 64], [80, 48], [64, 64]]
    (folder / "1.png").unlink()
    (folder / "2.png").unlink()
    assert main(["predict", str(tracking_run), str(folder), "--box", "10,10,20,20", "--out", str(tmp_path / "b")]) == 0
    assert [line["boxes"] for line in lines(tmp_path / "b")] == [[[10, 10, 30, 30]]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{clips}/one", "--box", "200,0,9,9"], "96 pixels wide and 96 high"),
        (["{clips}/one", "--box", "1,2,0,9"], "it takes X,Y,W,H"),
        (["{clips}", "--box", "1,2,9,9"], "here are 2"),
        (["{clips}/one/000001.jpg", "--box", "1,2,9,9"], "give a video"),
        (["{clips}/one", "--select", "--box", "1,2,9,9"], "leave one of them out"),
        (["{clips}/one", "--select"], "Give --box X,Y,W,H instead"),
        (["{clips}/one", "--flip"], "--flip means nothing to tracking"),
    ],
)
def test_what_cannot_be_followed_is_one_sentence(arguments, said, tracking_run, clips, capsys, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    words = [word.format(clips=clips) for word in arguments]
    assert main(["predict", str(tracking_run), *words, "--out", str(clips.parent / "out")]) == 2
    said_so = capsys.readouterr().err
    assert said in said_so and "Traceback" not in said_so
    assert not (clips.parent / "out").exists()


def test_boxes_are_for_trackers(digits_run, clips, capsys):
    assert main(["predict", str(digits_run), str(clips), "--box", "1,2,9,9", "--out", str(clips.parent / "out")]) == 2
    assert "--box is for trackers" in capsys.readouterr().err


def test_a_video_of_which_nothing_can_be_read(tracking_run, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    line = ["predict", str(tracking_run), str(tmp_path / "a.mp4"), "--box", "1,2,9,9", "--out", str(tmp_path / "out")]
    assert main(line) == 3
    assert "is no video that can be decoded" in capsys.readouterr().err


def test_killed_again_and_again_a_run_ends_with_the_same_bytes(tracking_run, clips, tmp_path, kill_again_and_again):
    for name in ("three", "four", "five"):
        shutil.copytree(clips / "one", clips / name)

    def line(out):
        return ["predict", str(tracking_run), str(clips), "--out", str(tmp_path / out), "--num-workers", "0"]

    assert main(line("straight")) == 0
    assert kill_again_and_again(line("out"), times=8, seconds=0.5) > 0
    assert main(line("out")) == 0
    for path in sorted((tmp_path / "straight").rglob("*")):
        if path.is_file() and path.name != "summary.json":
            assert (tmp_path / "out" / path.relative_to(tmp_path / "straight")).read_bytes() == path.read_bytes(), path
