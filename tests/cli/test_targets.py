"""What `foveal predict` of a tracker is to follow."""

from pathlib import Path

import numpy as np
import pytest

from foveal.cli.targets import find_targets, parse_box
from foveal.core.errors import DataError, UsageError
from foveal.core.images import write_image
from foveal.core.inputs import Input


@pytest.fixture
def walk(tmp_path) -> Input:
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in (1, 2):
        write_image(folder / f"{number}.png", np.zeros((40, 60, 3), np.uint8))
    return Input(f"{folder}/", "walk")


def test_a_box_is_left_top_width_and_height():
    assert parse_box("10,20,30.5,40") == (10, 20, 40.5, 60)
    assert parse_box("10 20\t30 40") == (10, 20, 40, 60)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,0,4", "1,2,3,-4", "1,2,nan,4", "1,2,inf,4"])
def test_what_is_no_box_is_refused(text):
    with pytest.raises(UsageError, match="it takes X,Y,W,H"):
        parse_box(text)


def test_several_boxes_are_followed_in_one_sequence(walk):
    boxes = [(0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 30.0, 30.0)]
    assert find_targets([walk], boxes, select=False) == {walk.path: [list(box) for box in boxes]}


@pytest.mark.parametrize("name", ["walk/groundtruth.txt", "walk/groundtruth_rect.txt", "walk/boxes.txt", "walk.txt"])
def test_without_a_box_the_first_line_of_the_file_of_boxes_counts(walk, name, tmp_path):
    (tmp_path / name).write_text("1,2,3,4\n5,6,7,8\n")
    assert find_targets([walk], [], select=False) == {walk.path: [[1, 2, 4, 6]]}


def test_a_sequence_without_any_box_is_refused_with_what_to_do(walk):
    with pytest.raises(UsageError, match=r"Give --box X,Y,W,H .*--select .*groundtruth.txt"):
        find_targets([walk], [], select=False)


def test_a_file_that_does_not_begin_with_a_box_is_named(walk, tmp_path):
    (tmp_path / "walk.txt").write_text("NaN,NaN,NaN,NaN\n1,2,3,4\n")
    with pytest.raises(DataError, match=r"walk.txt: its first line is NaN"):
        find_targets([walk], [], select=False)


def test_one_box_is_not_for_several_sequences(walk):
    with pytest.raises(UsageError, match="here are 2"):
        find_targets([walk, walk._replace(name="other")], [(0.0, 0.0, 9.0, 9.0)], select=False)


@pytest.mark.parametrize("box", [(60, 0, 70, 10), (0, 40, 10, 50), (-10, 0, 0, 10), (0, -9, 10, 0)])
def test_a_box_outside_of_the_frame_is_refused_with_the_size_of_the_frame(walk, box):
    with pytest.raises(UsageError, match="60 pixels wide and 40 high"):
        find_targets([walk], [box], select=False)


def test_a_box_that_is_partly_inside_is_followed(walk):
    assert find_targets([walk], [(-5.0, -5.0, 5.0, 5.0)], select=False)


def test_box_and_select_are_not_given_together(walk):
    with pytest.raises(UsageError, match="leave one of them out"):
        find_targets([walk], [(0.0, 0.0, 9.0, 9.0)], select=True)


def test_a_first_frame_that_cannot_be_read_is_named(walk):
    (Path(walk.path) / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="its first frame cannot be read"):
        find_targets([walk], [(0.0, 0.0, 9.0, 9.0)], select=False)


def test_boxes_of_got10k_and_otb_count_pixels_from_one(walk, tmp_path):
    (tmp_path / "walk" / "groundtruth.txt").write_text("11,21,30,40\n")
    assert find_targets([walk], [], select=False) == {walk.path: [[11, 21, 41, 61]]}
    (tmp_path / "walk" / "absence.label").write_text("0\n0\n")
    assert find_targets([walk], [], select=False) == {walk.path: [[10, 20, 40, 60]]}
    (tmp_path / "dog" / "img").mkdir(parents=True)
    (tmp_path / "dog" / "groundtruth_rect.txt").write_text("\ufeff11,21,30,40\n")
    path = f"{tmp_path}/dog/img/"
    assert find_targets([Input(path, "dog")], [], select=False) == {path: [[10, 20, 40, 60]]}


def test_a_box_of_many_frames_is_refused(walk):
    with pytest.raises(UsageError, match="more than 4 times as large"):
        find_targets([walk], [(0.0, 0.0, 1e7, 1e7)], select=False)
