"""otb, got10k, frame_folder and video: boxes by hand, splits over sequences, faults by line, and mended copies."""

import os
import pickle
import shutil
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest

from foveal.core.errors import DataError, MissingSplit, UsageError
from foveal.core.images import ImageError, write_image
from foveal.core.options import SPLITS
from foveal.datasets import open_dataset, reader
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld

FORMATS = ("otb", "got10k", "frame_folder", "video")
HEIGHT, WIDTH = 40, 60


def frames(folder: Path, numbers, digits: int = 4) -> Path:
    """Frames whose brightness is their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        write_image(folder / f"{number:0{digits}d}.png", np.full((HEIGHT, WIDTH, 3), number % 256, np.uint8))
    return folder


def otb(root: Path, name: str, boxes: str | bytes, numbers=range(1, 4), file: str = "groundtruth_rect.txt") -> Path:
    frames(root / name / "img", numbers)
    (root / name / file).write_bytes(boxes if isinstance(boxes, bytes) else boxes.encode())
    return root


def video(path: Path, count: int, codec: str = "MJPG") -> Path:
    """A video whose frames have the brightness 4 x number + 4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
    for number in range(count):
        writer.write(np.full((48, 64, 3), 4 * number + 4, np.uint8))
    writer.release()
    return path


def number_of(sample: dict) -> int:
    """Which frame of such a video it is, by its brightness; codecs take away up to 3.7 of it."""
    return int((float(sample["image"].mean()) - 0.1) // 4)


def everything(format: str, root: Path) -> tuple:
    """All of a set without splits of its own: the data set and its findings."""
    findings = Findings()
    dataset = open_dataset(format, root, split="train", fractions=(1, 0, 0), findings=findings)
    return dataset, findings


def said(findings) -> list[tuple]:
    return [(finding.code, finding.file, finding.place, finding.action) for finding in findings]


def mended(format: str, root: Path, dropped=None) -> tuple[Path, list]:
    """The root with the mended files in place of its own, and the log."""
    _, findings = everything(format, root)
    out = root.parent / "mended"
    log = reader(format).mend(root, out, findings, dropped or {})
    clean = root.parent / "clean"
    shutil.copytree(root, clean)
    shutil.copytree(out, clean, dirs_exist_ok=True)
    return clean, log


# --- lines of boxes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "11,21,10,5\n12,22,10,5\n13,23,10,5\n",
        "11\t21\t10\t5\r\n12\t22\t10\t5\r\n13\t23\t10\t5\r\n",
        "11 21 10 5\n12  22 10 5\n 13 23 10 5 \n\n\n",
        "11;21;10;5\n12; 22; 10; 5\n13;23;10;5",
        "11,21\t10 5\n12.0\t22.0\t10\t5\n1.3e1, 23, 10.0, 5,\n",
        "\ufeff11,21,10,5\r12,22,10,5\r13,23,10,5\r",
        "11,21,21,21,21,26,11,26\n12,22,10,5\n18,23,23,25.5,18,28,13,25.5\n",  # a square, and one on its corner
    ],
    ids=["comma", "tab and CRLF", "spaces", "semicolon", "mixed", "BOM and CR", "polygons"],
)
def test_every_delimiter_and_ending_gives_the_same_boxes(tmp_path, text):
    dataset, findings = everything("otb", otb(tmp_path, "Car", text))
    assert dataset.boxes.tolist() == [[10, 20, 20, 25], [11, 21, 21, 26], [12, 22, 22, 27]]
    assert dataset.boxes.dtype == np.float32
    assert dataset.visible.all()
    assert not findings


def test_a_frame_is_a_sample(tmp_path):
    dataset, _ = everything("otb", otb(tmp_path, "Car", "11,21,10,5\nNaN,NaN,NaN,NaN\n13.5,23,10,5\n"))
    first, second, third = dataset
    assert set(first) == {"image", "path", "size", "boxes", "sequence", "frame"}
    assert (first["path"], first["size"]) == (f"{tmp_path}/Car/img/0001.png", (HEIGHT, WIDTH))
    assert first["image"][0, 0].tolist() == [1, 1, 1]
    assert [sample["frame"] for sample in dataset] == [0, 1, 2]
    assert (first["sequence"], dataset.class_names) == (0, ["Car"])
    assert (second["boxes"].shape, second["boxes"].dtype) == ((0, 4), np.float32)
    assert third["boxes"].tolist() == [[12.5, 22, 22.5, 27]]
    assert dataset.labels.tolist() == [0, 0, 0]


def test_only_otb_and_got10k_count_from_one(tmp_path):
    otb(tmp_path / "otb", "a", "1,1,60,40\n", [1])
    for name in ("got10k", "frame_folder"):
        frames(tmp_path / name / "a", [1])
        (tmp_path / name / "a" / "groundtruth.txt").write_text("1,1,59,39\n")
    video(tmp_path / "video" / "a.avi", 1)
    (tmp_path / "video" / "a.txt").write_text("1,1,60,40\n")
    boxes = {name: everything(name, tmp_path / name)[0].boxes.tolist() for name in FORMATS}
    assert boxes["otb"] == [[0, 0, 60, 40]]  # the whole frame
    assert boxes["got10k"] == [[0, 0, 59, 39]]
    assert boxes["frame_folder"] == [[1, 1, 60, 40]]
    assert boxes["video"] == [[1, 1, 61, 41]]


ABSENT = "nan,NaN,NAN,nan\n0,0,0,0\n-1,-1,-1,-1\n5,5,9,9\n"
FAULTY = "5,5,9,9\n5,5,0,9\n5,5,9,-9\nNaN,5,9,9\n61,5,9,9\n5,5,inf,9\n5,5,9\n\nfive,5,9,9\n55,5,9,9\n-1e9,5,9,9\n"


def test_marks_of_absence_are_no_faults(tmp_path):
    dataset, findings = everything("otb", otb(tmp_path, "a", ABSENT, range(4)))
    assert dataset.visible.tolist() == [False, False, False, True]
    assert not findings


def test_faults_of_lines_are_noted_by_number_and_mended(tmp_path):
    root = otb(tmp_path / "set", "a", FAULTY, range(11))
    dataset, findings = everything("otb", root)
    file = "a/groundtruth_rect.txt"
    assert sorted(said(findings), key=lambda row: int(row[2].split()[1])) == [
        ("NO_AREA", file, "line 2", "left out"),
        ("INVERTED", file, "line 3", "left out"),
        ("NOT_FINITE", file, "line 4", "left out"),
        ("OUTSIDE", file, "line 5", "left out"),  # begins at 60, where a frame of 60 pixels ends
        ("NOT_FINITE", file, "line 6", "left out"),
        ("NOT_A_BOX", file, "line 7", "left out"),
        ("NOT_A_BOX", file, "line 8", "left out"),
        ("NOT_A_BOX", file, "line 9", "left out"),
        ("STICKS_OUT", file, "line 10", "noted"),
        ("OUTSIDE", file, "line 11", "left out"),
    ]
    assert np.flatnonzero(dataset.visible).tolist() == [0, 9]
    assert dataset.boxes[9].tolist() == [54, 4, 63, 13]  # as it is: cut by the border, not by us
    texts = {finding.place: finding.text for finding in findings}
    assert texts["line 5"] == (
        "'61,5,9,9': the box (60, 4, 69, 13) lies outside of its image of 60 x 40 pixels (its first frame)"
    )
    assert texts["line 7"].startswith("the line is '5,5,9'; expected x, y, width and height, or the 8 numbers")
    assert texts["line 8"].startswith("the line is blank; expected")

    clean, log = mended("otb", root)
    lines = (clean / file).read_text().split("\n")
    assert (lines[0], lines[9]) == ("5,5,9,9", "55,5,9,9")
    assert lines[1:9] + lines[10:] == ["NaN,NaN,NaN,NaN"] * 9 + [""]
    assert len(log) == 9
    assert log[0][:2] == (file, "line 2")
    assert log[0][2].startswith("set to NaN,NaN,NaN,NaN: NO_AREA, '5,5,0,9'")
    again, findings = everything("otb", clean)
    assert [finding.code for finding in findings] == ["STICKS_OUT"]
    assert (again.boxes == dataset.boxes).all()


def test_a_mended_line_keeps_delimiter_and_ending(tmp_path):
    clean, _ = mended("otb", otb(tmp_path / "set", "a", "5\t5\t9\t9\r\n5\t5\t0\t9\r\n5\t5\t9\t9\r\n"))
    assert (clean / "a/groundtruth_rect.txt").read_bytes() == b"5\t5\t9\t9\r\nNaN\tNaN\tNaN\tNaN\r\n5\t5\t9\t9\r\n"


@pytest.mark.parametrize(("lines", "used"), [(5, 3), (2, 2)])
def test_as_many_lines_as_frames(tmp_path, lines, used):
    root = otb(tmp_path / "set", "a", "5,5,9,9\n" * lines)
    dataset, findings = everything("otb", root)
    assert said(findings) == [("BOX_COUNT", "a/groundtruth_rect.txt", "", "left out")]
    assert findings[0].text == f"{lines} lines for 3 frames: expected one a frame; the first {used} are used"
    assert len(dataset) == used
    clean, log = mended("otb", root)
    again, findings = everything("otb", clean)
    assert (len(again), again.visible.sum(), len(findings), len(log)) == (3, used, 0, 1)


def test_a_missing_frame_takes_its_line_with_it(tmp_path):
    root = otb(tmp_path / "set", "a", "5,5,9,9\n6,6,9,9\n7,7,9,9\n8,8,9,9\n", [10, 11, 13])
    dataset, findings = everything("otb", root)
    assert said(findings) == [("MISSING_FRAME", "a/groundtruth_rect.txt", "line 3", "left out")]
    assert findings[0].text.startswith("frame 12 is not there")
    assert [(int(s["image"][0, 0, 0]), s["boxes"][0, 0]) for s in dataset] == [(10, 4), (11, 5), (13, 7)]
    clean, log = mended("otb", root)
    assert (clean / "a/groundtruth_rect.txt").read_text() == "5,5,9,9\n6,6,9,9\n8,8,9,9\n"
    assert log == [("a/groundtruth_rect.txt", "line 3", "removed: its frame is missing")]
    assert not everything("otb", clean)[1]


def test_a_dropped_frame_loses_its_box(tmp_path):
    root = otb(tmp_path / "set", "a", "5,5,9,9\n6,6,9,9\n7,7,9,9\n")
    clean, log = mended("otb", root, {"a/img/0002.png": "unreadable"})
    assert (clean / "a/groundtruth_rect.txt").read_text() == "5,5,9,9\nNaN,NaN,NaN,NaN\n7,7,9,9\n"
    assert log == [
        ("a/groundtruth_rect.txt", "line 2", "set to NaN,NaN,NaN,NaN: the frame was dropped, unreadable"),
    ]


def test_a_target_that_is_never_visible_is_worth_a_word(tmp_path):
    dataset, findings = everything("otb", otb(tmp_path, "a", "0,0,0,0\n" * 3))
    assert said(findings) == [("NEVER_VISIBLE", "a/groundtruth_rect.txt", "", "noted")]
    assert len(dataset) == 3


# --- otb --------------------------------------------------------------------------------------------------------------


def test_two_targets_are_two_sequences_in_one_split(tmp_path):
    for name in "abc":
        otb(tmp_path, name, "5,5,9,9\n" * 3)
    otb(tmp_path, "Jogging", "1,1,9,9\n" * 3, file="groundtruth_rect.1.txt")
    otb(tmp_path, "Jogging", "2,2,9,9\n" * 3, file="groundtruth_rect.2.txt")
    where = {}
    for seed in range(5):
        parts = [open_dataset("otb", tmp_path, split=split, seed=seed) for split in SPLITS]
        names = [part.class_names for part in parts]
        assert sorted(chain(*names)) == ["Jogging.1", "Jogging.2", "a", "b", "c"]
        assert sum(map(len, parts)) == 15
        where[seed] = [{"Jogging.1", "Jogging.2"} & set(part) for part in names]
        assert sorted(map(len, where[seed])) == [0, 0, 2]
    assert len({str(place) for place in where.values()}) > 1


@pytest.mark.parametrize(
    ("name", "there", "lines", "first", "used"),
    [
        ("David", range(1, 771), 471, 300, 471),
        ("Football1", range(1, 82), 74, 1, 74),
        ("BlurCar4", range(18, 398), 380, 18, 380),
        ("Tiger1", range(1, 355), 354, 6, 349),
        ("David", range(1, 11), 10, 1, 10),  # somebody else's David
    ],
)
def test_published_ranges_of_frames(tmp_path, name, there, lines, first, used):
    otb(tmp_path, name, "".join(f"{line},1,9,9\n" for line in range(1, lines + 1)), [next(iter(there))])
    picture = (tmp_path / name / "img" / f"{next(iter(there)):04d}.png").read_bytes()
    for number in there:
        (tmp_path / name / "img" / f"{number:04d}.png").write_bytes(picture)
    dataset, findings = everything("otb", tmp_path)
    assert {finding.code for finding in findings} <= {"OUTSIDE", "STICKS_OUT"}  # boxes move on to the right
    assert len(dataset) == used
    assert Path(dataset.path(0)).stem == f"{first:04d}"
    assert dataset.boxes[0, 0] == (5 if name == "Tiger1" else 0)
    assert dataset.truth(0)["frame"] == 0


def test_a_file_of_a_range_chooses_frames(tmp_path):
    root = otb(tmp_path / "set", "a", "5,5,9,9\n6,6,9,9\n", range(1, 6))
    (root / "a/frames.txt").write_text("3,4\n")
    dataset, findings = everything("otb", root)
    assert [int(sample["image"][0, 0, 0]) for sample in dataset] == [3, 4]
    assert not findings
    (root / "a/frames.txt").write_text("three to four\n")
    assert [finding.code for finding in everything("otb", root)[1]] == ["BAD_RANGE", "BOX_COUNT"]
    out = tmp_path / "out"
    assert ("a/frames.txt", "", "left out: it is not used") in reader("otb").mend(
        root, out, everything("otb", root)[1], {}
    )
    assert sorted(path.name for path in out.rglob("*.txt")) == ["groundtruth_rect.txt"]


def test_lasot_folders_are_read_as_otb(tmp_path):
    for number in (2, 10):
        otb(tmp_path / "airplane", f"airplane-{number}", "1,1,9,9\n" * 3, file="groundtruth.txt")
    dataset, findings = everything("otb", tmp_path)
    assert dataset.class_names == ["airplane/airplane-2", "airplane/airplane-10"]
    assert dataset.boxes[0].tolist() == [0, 0, 9, 9]
    assert not findings


def test_sequences_without_frames_or_boxes_are_left_out(tmp_path):
    otb(tmp_path, "a", "5,5,9,9\n" * 3)
    otb(tmp_path, "empty", " \n")
    frames(tmp_path / "alone" / "img", [1])
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "groundtruth_rect.txt").write_text("5,5,9,9\n")
    (tmp_path / "notes").mkdir()
    dataset, findings = everything("otb", tmp_path)
    assert dataset.class_names == ["a"]
    assert said(findings) == [
        ("NO_BOXES", "alone", "", "left out"),
        ("NO_BOXES", "empty/groundtruth_rect.txt", "", "left out"),
        ("NO_FRAMES", "none/groundtruth_rect.txt", "", "left out"),
    ]


# --- got10k -----------------------------------------------------------------------------------------------------------


def got10k(root: Path, name: str, boxes: str, absent: str | None = None) -> Path:
    frames(root / name, range(1, 4), digits=8)
    (root / name / "groundtruth.txt").write_text(boxes)
    if absent is not None:
        (root / name / "absence.label").write_text(absent)
    return root


def test_got10k_absence_list_and_lone_boxes(tmp_path):
    train = got10k(tmp_path / "train", "T_2", "1,1,9,9\n1,1,0,9\n3,3,9,9\n", "0\n1\n0\n")
    got10k(train, "T_1", "1,1,9,9\n" * 3, "0\n0\n0\n")
    got10k(train, "T_3", "1,1,9,9\n" * 3)
    (train / "list.txt").write_text("T_2\nT_1\n")
    got10k(tmp_path / "test", "E_1", "2,2,9,9\n")
    findings = Findings()
    dataset = open_dataset("got10k", tmp_path, split="train", fractions=(0.9, 0.0, 0.1), findings=findings)
    assert dataset.class_names == ["T_2", "T_1"]  # as listed
    assert dataset.visible.tolist() == [True, False, True, True, True, True]
    assert not findings  # a box without area where the label says absent
    test = open_dataset("got10k", tmp_path, split="test", findings=findings)
    assert test.visible.tolist() == [True, False, False]
    assert test.truth(0)["boxes"].tolist() == [[1, 1, 10, 10]]
    assert not findings
    train, val = (open_dataset("got10k", tmp_path, split=split, fractions=(0.5, 0.5, 0)) for split in ("train", "val"))
    assert sorted(train.class_names + val.class_names) == ["T_1", "T_2"]


def test_got10k_faults_and_their_mended_copy(tmp_path):
    root = got10k(tmp_path / "set", "a", "1,1,9,9\n" * 3, "0\n0\n")
    got10k(root, "b", "1,1,9,9\n1,1,0,9\n1,1,9,9\n", "0\n0\n0\n")
    (root / "list.txt").write_text("a\nb\nc\n../set/a\nC:\\x\n")
    dataset, findings = everything("got10k", root)
    assert dataset.class_names == ["a", "b"]
    assert said(findings) == [
        ("NO_SEQUENCE", "list.txt", "line 3", "left out"),
        ("LEAVES_ROOT", "list.txt", "line 4", "refused"),
        ("LEAVES_ROOT", "list.txt", "line 5", "refused"),
        ("BAD_LABELS", "a/absence.label", "", "left out"),
        ("NO_AREA", "b/groundtruth.txt", "line 2", "left out"),
    ]
    with pytest.raises(DataError, match=r"list.txt, line 4: '../set/a' leaves the folder of the list"):
        open_dataset("got10k", root, split="train", fractions=(1, 0, 0))
    reader("got10k").mend(root, tmp_path / "out", findings, {})
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")) == [
        "a/groundtruth.txt",
        "b/absence.label",
        "b/groundtruth.txt",
        "list.txt",
    ]
    for name in "ab":
        frames(tmp_path / "out" / name, range(1, 4), digits=8)
    again, findings = everything("got10k", tmp_path / "out")
    assert not findings
    assert again.visible.tolist() == [True, True, True, True, False, True]


# --- frame_folder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["a/groundtruth.txt", "a/groundtruth_rect.txt", "a/boxes.txt", "a.txt"])
def test_frame_folder_files_and_the_order_of_frames(tmp_path, file):
    frames(tmp_path / "a", [0, 9, 10, 100], digits=1)  # names as in TrackingNet: 10.png sorts before 9.png
    (tmp_path / file).write_text("0,1,9,9\n1,1,9,9\n2,1,9,9\n3,1,9,9\n")
    dataset, findings = everything("frame_folder", tmp_path)
    assert [(int(s["image"][0, 0, 0]), s["boxes"][0, 0]) for s in dataset] == [(0, 0), (9, 1), (10, 2), (100, 3)]
    assert dataset.class_names == ["a"]
    assert not findings


def test_splits_of_sequences(tmp_path):
    for number in range(10):
        frames(tmp_path / f"s{number}", range(3))
        (tmp_path / f"s{number}" / "boxes.txt").write_text("1,1,9,9\n" * 3)
    fractions = (0.6, 0.1, 0.3)
    parts = [open_dataset("frame_folder", tmp_path, split=split, fractions=fractions) for split in SPLITS]
    assert [len(part.class_names) for part in parts] == [6, 1, 3]
    assert sorted(chain(*(part.class_names for part in parts))) == [f"s{number}" for number in range(10)]
    for part in parts:
        assert part.labels.tolist() == np.repeat(np.arange(len(part) // 3), 3).tolist()
    drawn = {open_dataset("frame_folder", tmp_path, split="val", seed=seed).class_names[0] for seed in range(5)}
    assert len(drawn) > 1
    with pytest.raises(DataError, match="no image for the split 'val'"):
        open_dataset("frame_folder", tmp_path, split="val", fractions=(1, 0, 0))


def test_too_few_sequences_and_folders_of_splits(tmp_path):
    for split in ("train", "val"):
        frames(tmp_path / split / "a", range(2))
        (tmp_path / split / "a" / "boxes.txt").write_text("1,1,9,9\n" * 2)
    assert open_dataset("frame_folder", tmp_path, split="val").path(0) == f"{tmp_path}/val/a/0000.png"
    with pytest.raises(MissingSplit, match="has images for train and val and none for test"):
        open_dataset("frame_folder", tmp_path, split="test")
    with pytest.raises(
        DataError, match=r"has too few sequences \(1\) for 3 splits, which need at least one each: add some"
    ):
        open_dataset("frame_folder", tmp_path / "val", split="train")


def test_folders_without_a_sequence(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing here")
    for format in FORMATS:
        with pytest.raises(DataError, match=r"There is no sequence in '.*', only 1 file \(1 .txt\): expected"):
            open_dataset(format, tmp_path, split="train")
        with pytest.raises(UsageError, match="There is no folder '/absent'"):
            open_dataset(format, "/absent", split="train")


def test_links_are_followed_once_and_noted(tmp_path):
    frames(tmp_path / "outside" / "b", range(2))
    (tmp_path / "outside/b/boxes.txt").write_text("1,1,9,9\n" * 2)
    frames(tmp_path / "set" / "a", range(2))
    (tmp_path / "set/a/boxes.txt").write_text("1,1,9,9\n" * 2)
    (tmp_path / "set/b").symlink_to(tmp_path / "outside/b")
    (tmp_path / "set/again").symlink_to(tmp_path / "set/a")
    dataset, findings = everything("frame_folder", tmp_path / "set")
    assert len(dataset) == 4
    assert said(findings) == [("LINK_OUTSIDE", "b", "", "noted")]


# --- video ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "codec"), [("clip.avi", "MJPG"), ("clip.mp4", "mp4v"), ("clip.mkv", "FFV1")])
def test_a_frame_is_the_same_however_it_is_reached(tmp_path, name, codec):
    video(tmp_path / name, 60, codec)
    (tmp_path / "clip.txt").write_text("".join(f"{number},1,4,4\n" for number in range(60)))
    dataset, findings = everything("video", tmp_path)
    assert not findings
    assert dataset.path(12) == f"{tmp_path}/{name}#000012"
    in_a_row = list(dataset)
    assert [number_of(sample) for sample in in_a_row] == list(range(60))
    for number in np.random.default_rng(0).permutation(60).tolist():
        sample = dataset[number]
        assert (sample["image"] == in_a_row[number]["image"]).all()
        assert (sample["boxes"][0, 0], sample["frame"], sample["size"]) == (number, number, (48, 64))
    assert dataset.size(3) == (48, 64)


def test_a_jump_in_a_video_of_uneven_times_is_exact(tmp_path):
    packets = cv2.VideoCapture(str(video(tmp_path / "even.avi", 60)), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    options = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
    uneven = str(tmp_path / "set" / "uneven.mkv")
    (tmp_path / "set").mkdir()
    writer = cv2.VideoWriter(uneven, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48), options)
    time = 0
    for number in range(60):  # as from a phone that slows down: the last half lasts three times as long
        writer.set(cv2.VIDEOWRITER_PROP_PTS, time)
        writer.set(cv2.VIDEOWRITER_PROP_KEY_FLAG, 1)
        writer.write(packets.read()[1])
        time += 1 if number < 30 else 3
    writer.release()
    assert cv2.VideoCapture(uneven).get(cv2.CAP_PROP_FRAME_COUNT) > 100  # by duration
    (tmp_path / "set/uneven.txt").write_text("1,1,9,9\n" * 60)
    dataset, findings = everything("video", tmp_path / "set")
    assert (len(dataset), len(findings)) == (60, 0)
    for number in (55, 31, 2, 40, 59, 0):
        assert number_of(dataset[number]) == number


def test_a_video_that_ends_early_names_frame_and_file(tmp_path):
    data = video(tmp_path / "clip.avi", 40).read_bytes()
    (tmp_path / "clip.avi").write_bytes(data[: len(data) // 2])
    (tmp_path / "clip.txt").write_text("1,1,9,9\n" * 40)
    dataset, _ = everything("video", tmp_path)
    assert number_of(dataset[2]) == 2
    for _ in range(2):
        with pytest.raises(ImageError, match=rf"'{tmp_path}/clip.avi#000039' cannot be read: of its video only \d+ fr"):
            dataset[39]
    assert number_of(dataset[2]) == 2


def test_videos_that_cannot_be_used(tmp_path):
    video(tmp_path / "a.avi", 3)
    (tmp_path / "a.txt").write_text("1,1,9,9\n" * 3)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    (tmp_path / "b.txt").write_text("1,1,9,9\n")
    video(tmp_path / "c.avi", 2)
    dataset, findings = everything("video", tmp_path)
    assert dataset.class_names == ["a"]
    assert said(findings) == [("NOT_A_VIDEO", "b.mp4", "", "left out"), ("NO_BOXES", "c.avi", "", "left out")]
    assert findings[0].text == "is no video that can be decoded; convert it to MP4"
    name = os.fsdecode(b"x\xff")
    os.rename(tmp_path / "a.avi", tmp_path / f"{name}.avi")
    os.rename(tmp_path / "a.txt", tmp_path / f"{name}.txt")
    findings = Findings()
    with pytest.raises(DataError, match="There is no sequence in"):
        open_dataset("video", tmp_path, split="train", fractions=(1, 0, 0), findings=findings)
    assert ("NOT_A_VIDEO", f"{name}.avi", "", "refused") in said(findings)


def test_a_video_crosses_no_process(tmp_path):
    video(tmp_path / "clip.avi", 20)
    (tmp_path / "clip.txt").write_text("1,1,9,9\n" * 20)
    dataset, _ = everything("video", tmp_path)
    assert number_of(dataset[5]) == 5
    assert number_of(pickle.loads(pickle.dumps(dataset))[6]) == 6
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.write(theirs, bytes([number_of(dataset[number]) for number in (12, 3)]))
        os._exit(0)
    seen = [number_of(dataset[number]) for number in (7, 8, 19)]
    os.waitpid(child, 0)
    assert (seen, os.read(ours, 2)) == ([7, 8, 19], bytes([12, 3]))
    os.close(ours)
    os.close(theirs)


def test_video_faults_are_mended_in_the_file_of_boxes(tmp_path):
    video(tmp_path / "set" / "clip.avi", 4)
    (tmp_path / "set/clip.txt").write_text("1,1,9,9\n1,1,9\n1,1,9,9\n1,1,9,9\n2,2,9,9\n")
    clean, log = mended("video", tmp_path / "set", {"clip.avi#000003": "near duplicate"})
    assert (clean / "clip.txt").read_text() == "1,1,9,9\nNaN,NaN,NaN,NaN\n1,1,9,9\nNaN,NaN,NaN,NaN\n"
    assert [change[:2] for change in log] == [("clip.txt", f"line {line}") for line in (2, 4, 5)]
    assert not everything("video", clean)[1]


# --- every format -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_back(tmp_path, format):
    worlds = {split: ShapesWorld("tracking", split, images=50, size=48) for split in SPLITS}
    for split, world in worlds.items():
        reader(format).write_split(world, tmp_path, split=split, class_names=world.class_names)
    for split, world in worlds.items():
        findings = Findings()
        dataset = open_dataset(format, tmp_path, split=split, findings=findings)
        assert not [finding for finding in findings if finding.action != "noted"]
        assert dataset.class_names == world.class_names == ["sequence_0000", "sequence_0001"]
        assert (len(dataset), dataset.labels.tolist()) == (50, world.labels.tolist())
        for index in range(50):
            ours, truth = dataset.truth(index), world.truth(index)
            assert (ours["sequence"], ours["frame"]) == (truth["sequence"], truth["frame"])
            assert ours["boxes"].tolist() == truth["boxes"].tolist()  # to the last bit
        assert np.abs(dataset[49]["image"].astype(int) - world[49]["image"]).mean() < 12  # JPEG
        assert 0 < dataset.visible.sum() < 50 or split != "train"


@pytest.mark.parametrize("format", FORMATS)
def test_data_sets_are_cheap_and_can_be_taken_in_part(tmp_path, format):
    world = ShapesWorld("tracking", "train", images=50, size=32)
    reader(format).write_split(world, tmp_path, split="train", class_names=world.class_names)
    dataset = open_dataset(format, tmp_path, split="train", fractions=(1, 0, 0))
    kept = [value for value in vars(dataset).values() if isinstance(value, list | tuple | dict)]
    assert kept == [dataset.class_names]
    part = dataset.subset(np.array([3, 49]))
    assert [part.truth(index)["frame"] for index in range(2)] == [3, 1]
    assert part.path(1) == dataset.path(49)
    assert part.fingerprint() != dataset.fingerprint() == pickle.loads(pickle.dumps(dataset)).fingerprint()
    second = dataset.with_classes({"sequence_0001": "mine"})
    assert (second.class_names, second.labels.tolist(), second.frames.tolist()) == (["mine"], [0, 0], [0, 1])
