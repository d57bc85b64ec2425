"""The frames of sequences, of video files and of folders."""

import numpy as np
import pytest

from foveal.core.frames import read_frame, read_frames, read_header
from foveal.core.images import ImageError, write_image
from foveal.core.videos import VideoFile


@pytest.fixture
def clips(tmp_path):
    """walk/ of frames 1, 2 and 10, each as bright as its number, and a video of two frames beside it."""
    (tmp_path / "walk").mkdir()
    for number in (1, 2, 10):
        write_image(tmp_path / "walk" / f"{number}.png", np.full((24, 32, 3), number, np.uint8))
    with VideoFile(tmp_path / "film.mp4", 25.0) as video:
        for level in (50, 60):
            video.write(np.full((24, 32, 3), level, np.uint8))
    return tmp_path


def test_frames_of_a_folder(clips):
    path = f"{clips}/walk/"
    assert [(number, int(image.mean())) for number, image in read_frames(path)] == [(0, 1), (1, 2), (2, 10)]
    assert [number for number, _ in read_frames(path, every=2)] == [0, 2]
    assert read_frame(path, 2).mean() == 10
    assert read_header(path) == (3, (24, 32), 25.0)


def test_frames_of_a_video_come_as_they_always_did(clips):
    path = str(clips / "film.mp4")
    assert [number for number, _ in read_frames(path)] == [0, 1]
    assert read_header(path).frames == 2


def test_a_broken_frame_of_a_folder_is_an_error_in_its_place(clips):
    (clips / "walk" / "2.png").write_bytes(b"\x89PNG broken")
    frames = list(read_frames(f"{clips}/walk/"))
    assert [number for number, _ in frames] == [0, 1, 2]
    assert isinstance(frames[1][1], ImageError)
    assert frames[2][1].mean() == 10


def test_a_folder_that_is_gone_is_an_error_of_its_own(clips):
    with pytest.raises(ImageError, match="cannot be searched"):
        list(read_frames(f"{clips}/gone/"))
