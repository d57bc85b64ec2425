"""What the boxes of a sequence say of it, and what the files of GOT-10k and LaSOT do."""

import numpy as np
import pytest

from foveal.tasks.tracking.attributes import NAMES, box_attributes, read_attributes

SIZE = (480, 640)
BOX = [100.0, 100, 120, 140]  # 20 x 40 = 800 pixels, its middle (110, 120), square root of its area 28.3


def told(*boxes, visible=None, size=SIZE):
    return set(box_attributes(np.array(boxes), np.ones(len(boxes), bool) if visible is None else visible, size))


def moved(x: float, y: float = 0) -> list[float]:
    return [BOX[0] + x, BOX[1] + y, BOX[2] + x, BOX[3] + y]


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([BOX, BOX], set()),
        ([BOX, moved(12, 16)], set()),  # exactly 20 pixels
        ([BOX, moved(12, 16.1)], {"FM"}),
        ([BOX, moved(28)], {"FM"}),
        ([BOX, moved(29)], {"FM", "RM"}),
        ([BOX, moved(15), moved(30)], set()),  # from frame to frame, not from the first
        ([BOX, [100, 100, 140, 140]], set()),  # twice the area, twice as wide: the borders are within
        ([BOX, [100, 100, 141, 140]], {"SV", "ARC"}),
        ([BOX, [100, 100, 129, 158]], {"SV"}),  # 29 x 58 = 1682
        ([[100, 100, 160, 160], [110, 110, 150, 150]], {"SV"}),  # 1600 of 3600
        ([BOX, [100, 100, 114, 129]], set()),  # 14 x 29 = 406
        ([BOX, [100, 100, 114, 128]], {"SV", "LR"}),  # 392
        ([BOX, [90, 110, 130, 130]], {"ARC"}),  # 40 x 20: from 0.5 to 2
        ([[0, 440, 20, 480]], set()),  # touches two borders
        ([[0, 440.5, 20, 480.5]], {"OV"}),
        ([[-1, 100, 20, 140]], {"OV"}),
        ([[630, 100, 650, 140]], {"OV"}),
    ],
)
def test_attributes_by_hand(boxes, expected):
    assert told(*boxes) == expected


def test_a_small_target_is_fast_by_its_own_size():
    small = [[10.0, 10, 14, 14], [15.0, 10, 19, 14]]  # 5 pixels, and its side is 4
    assert told(*small) == {"LR", "RM"}


def test_frames_without_a_box_say_nothing_but_that_it_is_absent():
    nothing = [np.nan] * 4
    assert told(BOX, nothing, moved(30), visible=np.array([True, True, True])) == set()
    assert told(BOX, moved(300), BOX, visible=np.array([True, False, True])) == {"ABS"}
    assert told(nothing, BOX, visible=np.array([False, True])) == set()  # it begins at the second
    assert told(nothing, nothing) == set()


def test_all_have_a_name_for_people():
    of_otb = {"IV", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OPR", "OV", "BC", "LR"}  # Wu et al. 2015, table 2
    assert of_otb <= NAMES.keys()
    everything = told([-1.0, 0, 3, 40], [200.0, 0, 201, 2], [0.0, 0, 1, 1], visible=np.array([True, True, False]))
    assert everything == {"SV", "FM", "LR", "OV", "ARC", "RM", "ABS"} and everything <= NAMES.keys()


def test_files_of_got10k(tmp_path):
    (tmp_path / "cover.label").write_text("8\n8\n0\n")
    (tmp_path / "cut_by_image.label").write_text("0\n1\n0\n")
    (tmp_path / "meta_info.ini").write_text(
        "[METAINFO]\nurl: https://a.example/b\nmotion_class: walking\nmajor_class: bird\nresolution: (1920, 1080)\n"
    )
    assert read_attributes(tmp_path) == ("OV", "class: bird", "motion: walking")  # of 0 nothing is seen: absent
    (tmp_path / "cover.label").write_text("8\n7\n")
    assert read_attributes(tmp_path)[0] == "OCC"


def test_files_of_lasot(tmp_path):
    (tmp_path / "full_occlusion.txt").write_text("0,0,1")
    (tmp_path / "out_of_view.txt").write_text("0,0,0")
    assert read_attributes(tmp_path) == ("OCC",)


def test_without_files_or_with_damaged_ones_nothing_is_said(tmp_path):
    assert read_attributes(tmp_path) == () == read_attributes(tmp_path / "missing")
    (tmp_path / "cover.label").write_bytes(b"\xff7\n")
    (tmp_path / "cut_by_image.label").write_text("yes\n")
    (tmp_path / "meta_info.ini").write_text("motion_class:\n")
    assert read_attributes(tmp_path) == ()
