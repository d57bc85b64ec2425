"""Frames of videos in a row, what a damaged video is, and the videos that are written."""

import multiprocessing
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from foveal.core.errors import MachineError
from foveal.core.images import ImageError
from foveal.core.videos import VideoFile, read_frame, read_frames, read_header

_fork = multiprocessing.get_context("fork")


def make_video(path: Path, count: int, codec: str = "MJPG", rate: float = 25) -> Path:
    """A video of 64 x 48 pixels whose frames have the brightness 4 x number + 4."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), rate, (64, 48))
    for number in range(count):
        writer.write(np.full((48, 64, 3), 4 * number + 4, np.uint8))
    writer.release()
    return path


def number_of(image: np.ndarray) -> int:
    """Which frame of such a video it is, by its brightness; codecs take away up to 3.7 of it."""
    return int((float(image.mean()) - 0.1) // 4)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.mkv", "FFV1"), ("a.mov", "mp4v")]
)
@pytest.mark.parametrize("every", [1, 3, 100])
def test_each_nth_frame_comes_with_its_number(tmp_path, name, codec, every):
    frames = list(read_frames(str(make_video(tmp_path / name, 40, codec)), every))
    assert [number for number, _ in frames] == list(range(0, 40, every))
    assert [number_of(frame) for _, frame in frames] == list(range(0, 40, every))
    assert frames[0][1].shape == (48, 64, 3)


def test_webm_is_read(tmp_path):
    frames = list(read_frames(str(make_video(tmp_path / "a.webm", 12, "VP80"))))
    assert [number for number, _ in frames] == list(range(12))


def test_colours_are_rgb(tmp_path):
    with VideoFile(tmp_path / "red.mp4", 25) as video:
        video.write(np.full((48, 64, 3), (250, 0, 0), np.uint8))
    ((_, frame),) = read_frames(str(tmp_path / "red.mp4"))
    assert frame[20, 20, 0] > 200 and frame[20, 20, 2] < 50
    assert np.array_equal(read_frame(str(tmp_path / "red.mp4"), 0), frame)


def test_a_video_that_ends_early_gives_its_frames_and_then_an_error(tmp_path):
    path = make_video(tmp_path / "clip.avi", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    seen = []
    with pytest.raises(ImageError, match=rf"'{path}' is a damaged video: only its first \d+ frames") as caught:
        for number, frame in read_frames(str(path)):
            seen.append((number, number_of(frame)))
    assert caught.value.code == "TRUNCATED"
    assert 5 < len(seen) < 30 and all(number == bright for number, bright in seen)


@pytest.mark.parametrize(("data", "code"), [(b"no video", "DAMAGED"), (b"", "DAMAGED"), (None, "MISSING")])
def test_what_is_no_video_is_an_error_that_names_it(tmp_path, data, code):
    path = tmp_path / "clip.mp4"
    if data is not None:
        path.write_bytes(data)
    for read in (read_header, lambda name: list(read_frames(name))):
        with pytest.raises(ImageError, match=str(path)) as caught:
            read(str(path))
        assert caught.value.code == code


def test_the_head_says_frames_size_and_rate(tmp_path):
    header = read_header(str(make_video(tmp_path / "a.mp4", 30, "mp4v", rate=29.97)))
    assert header.frames == 30 and header.size == (48, 64) and header.rate == pytest.approx(29.97, abs=0.01)


def test_a_written_video_has_the_rate_and_even_sides(tmp_path):
    with VideoFile(tmp_path / "out.mp4", 12.5) as video:
        for shade in range(10):
            video.write(np.full((47, 63, 3), 20 * shade, np.uint8))
        video.write(np.full((99, 30, 3), 200, np.uint8))  # another size: made the first one's
    assert read_header(str(tmp_path / "out.mp4")) == (11, (48, 64), 12.5)


def test_a_video_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(MachineError, match=r"nowhere/out.mp4' cannot be written"):
        VideoFile(tmp_path / "nowhere" / "out.mp4", 25).write(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(MachineError, match="not UTF-8"):
        VideoFile(tmp_path / os.fsdecode(b"x\xff.mp4"), 25).write(np.zeros((48, 64, 3), np.uint8))


def written(path: Path, room: int, pipe) -> None:
    """Write 25 pictures of noise where a file may have so many bytes; says what came of it."""
    import resource  # not on Windows

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    draw = np.random.default_rng(0)
    try:
        with VideoFile(path, 25) as video:
            for _ in range(25):
                video.write(draw.integers(0, 256, (48, 64, 3), np.uint8))
        pipe.send("whole")
    except MachineError as error:
        pipe.send(str(error))


def test_a_video_that_does_not_fit_on_the_disk_is_said(tmp_path):
    def said(name: str, room: int) -> str:
        here, there = _fork.Pipe()
        process = _fork.Process(target=written, args=(tmp_path / name, room, there))
        process.start()
        process.join()
        return here.recv()

    assert said("whole.mp4", 10**6) == "whole"
    size = (tmp_path / "whole.mp4").stat().st_size
    assert said("just.mp4", size) == "whole"
    for room in (size - 150, size // 2, 1000):  # without the end of the index, or of the frames
        path = tmp_path / f"{room}.mp4"
        assert said(path.name, room) == f"'{path}' cannot be written: it holds 0 of 25 frames; is the disk full?"


def test_an_error_while_a_video_is_written_is_not_hidden(tmp_path):
    with pytest.raises(KeyError), VideoFile(tmp_path / "out.mp4", 25) as video:
        video.write(np.zeros((48, 64, 3), np.uint8))
        (tmp_path / "out.mp4").unlink()
        raise KeyError
