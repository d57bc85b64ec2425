"""Sequences of frames, of video files and of folders."""

from pathlib import Path

import numpy as np
import pytest

from foveal.core.errors import DataError, UsageError
from foveal.core.images import write_image
from foveal.core.sequences import in_order, list_sequences
from foveal.core.videos import VideoFile


def write_frame(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, grey(level))


def grey(level: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@pytest.fixture
def clips(tmp_path):
    """walk/ of frames 1, 2 and 10, deep/run/ of one frame, and a video beside them."""
    for number in (1, 2, 10):
        write_frame(tmp_path / "clips" / "walk" / f"{number}.png", number)
    write_frame(tmp_path / "clips" / "deep" / "run" / "a.png", 99)
    with VideoFile(tmp_path / "clips" / "film.mp4", 25.0) as video:
        for level in (50, 60):
            video.write(grey(level))
    return tmp_path / "clips"


def test_frames_come_as_people_count():
    assert in_order(["10.jpg", "9.jpg", "1.jpg"]) == ["1.jpg", "9.jpg", "10.jpg"]
    assert in_order(["0010.jpg", "0009.jpg"]) == ["0009.jpg", "0010.jpg"]


def test_a_folder_is_searched_for_videos_and_folders_of_frames(clips):
    found = list_sequences([str(clips)])
    assert [given.name for given in found] == ["film.mp4", "deep/run", "walk"]
    assert found[2].path == f"{clips}/walk/"


def test_a_folder_of_frames_is_one_sequence_named_after_itself(clips):
    (walk,) = list_sequences([f"{clips}/walk/"])
    assert walk == (f"{clips}/walk/", "walk")


def test_sequences_of_one_name_are_told_apart_and_none_comes_twice(clips):
    write_frame(clips / "other" / "walk" / "1.png", 0)
    arguments = [str(clips / "walk"), str(clips / "other" / "walk"), str(clips / "walk")]
    assert [given.name for given in list_sequences(arguments)] == ["walk", "walk~2"]


def test_hidden_folders_and_that_of_the_results_are_left_out(clips):
    for name in (".cache", "out"):
        write_frame(clips / name / "1.png", 0)
    names = [given.name for given in list_sequences([str(clips)], leave_out=clips / "out")]
    assert names == ["film.mp4", "deep/run", "walk"]


def test_what_is_no_sequence_is_refused(clips, tmp_path):
    with pytest.raises(UsageError, match="give a video"):
        list_sequences([str(clips / "walk" / "1.png")])
    with pytest.raises(UsageError, match="no such video"):
        list_sequences([str(tmp_path / "nothing")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no sequence"):
        list_sequences([str(tmp_path / "empty")])


def test_links_are_followed_once_and_brackets_are_names(clips):
    (clips / "again").symlink_to(clips / "walk")
    (clips / "loop").symlink_to(clips)
    (clips / "film.mp4").rename(clips / "film [1].mp4")
    assert [given.name for given in list_sequences([str(clips)])] == ["film [1].mp4", "again", "deep/run"]
    assert [given.name for given in list_sequences([str(clips / "film [1].mp4")])] == ["film [1].mp4"]


def test_lists_name_sequences(clips, tmp_path):
    (tmp_path / "list.txt").write_text(f"{clips}/walk\n\n{clips}/film.mp4\n")
    assert [given.name for given in list_sequences([f"@{tmp_path}/list.txt"])] == ["walk", "film.mp4"]
    with pytest.raises(UsageError, match="the list of videos cannot be read"):
        list_sequences([f"@{tmp_path}/nothing.txt"])
