"""yolo: data.yaml and folders, shares of the image, every way a line can be wrong, and what `mend` makes of it."""

import pickle

import numpy as np
import pytest

from foveal.core.errors import DataError, MissingSplit, UsageError
from foveal.core.images import write_image
from foveal.datasets import open_dataset, yolo
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld

WHOLE = (1.0, 0.0, 0.0)
GOOD = "1 0.5 0.5 0.25 0.5\n0 0.125 0.25 0.25 0.5\n"
NAMES = "names: [cat, dog]\n"


def write(root, name="images/train/a.png", text: str | bytes | None = GOOD, width=40, height=20):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.zeros((height, width, 3), np.uint8))
    if text is not None:
        label = root / name.replace("images/", "labels/")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.with_suffix(".txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def config(root, text):
    root.mkdir(parents=True, exist_ok=True)
    (root / "data.yaml").write_text(text)
    return root


def opened(root, split="train", fractions=WHOLE):
    findings = Findings()
    return open_dataset("yolo", root, split=split, fractions=fractions, findings=findings), findings


def paths(root, split="train", fractions=WHOLE):
    dataset, findings = opened(root, split, fractions)
    assert not findings
    return [dataset.path(index).removeprefix(f"{root}/") for index in range(len(dataset))]


def test_boxes_are_shares_of_the_image(tmp_path):
    dataset, findings = opened(config(write(tmp_path), "train: images/train\n" + NAMES))
    assert not findings
    assert dataset.class_names == ["cat", "dog"]
    sample = dataset[0]
    assert sample["boxes"].tolist() == [[15, 5, 25, 15], [0, 0, 10, 10]]  # of 40 x 20
    assert sample["labels"].tolist() == [1, 0]
    assert sample["crowd"].tolist() == sample["difficult"].tolist() == [False, False]
    assert dataset.truth(0)["boxes"].tolist() == sample["boxes"].tolist()
    assert (sample["boxes"].dtype, sample["labels"].dtype) == (np.float32, np.int64)


def test_outlines_give_their_boxes(tmp_path):
    text = "1 0.25 0.1 0.5 0.2 0.375 0.9\n0 0.5 0.5 1 0.5 1 1 0.5 1\n"
    dataset, findings = opened(config(write(tmp_path, text=text), "train: images/train\n" + NAMES))
    assert not findings
    np.testing.assert_allclose(dataset.truth(0)["boxes"], [[10, 2, 20, 18], [20, 10, 40, 20]], rtol=1e-6)


@pytest.mark.parametrize("text", [None, "", "\n  \n"])
def test_images_without_objects_stay_in(tmp_path, text):
    write(tmp_path, "images/train/b.png", text)
    dataset, findings = opened(config(write(tmp_path), "train: images/train\n" + NAMES))
    assert [len(dataset.truth(index)["boxes"]) for index in (0, 1)] == [2, 0]
    assert not findings


def test_what_other_systems_write(tmp_path):
    text = b"\xef\xbb\xbf1 0.5 0.5 0.25 0.5  \r\n\r\n0.0\t0.125 0.25 2.5e-1 .5"
    dataset, findings = opened(config(write(tmp_path, text=text), "train: images/train\n" + NAMES))
    assert not findings
    assert dataset.truth(0)["boxes"].tolist() == [[15, 5, 25, 15], [0, 0, 10, 10]]
    assert dataset.labels.tolist() == [1, 0]


def test_the_drawn_world_comes_back(tmp_path):
    for split in ("train", "val", "test"):
        world = ShapesWorld("detection", split, images=20, size=(200, 300))
        yolo.write_split((world[index] for index in range(20)), tmp_path, split=split, class_names=world.class_names)
    for split in ("train", "val", "test"):
        world = ShapesWorld("detection", split, images=20, size=(200, 300))
        dataset, findings = opened(tmp_path, split)
        assert (dataset.class_names, len(dataset), list(findings)) == (world.class_names, 20, [])
        for index in range(20):
            np.testing.assert_allclose(dataset.truth(index)["boxes"], world.truth(index)["boxes"], atol=1e-4)
            np.testing.assert_array_equal(dataset.truth(index)["labels"], world.truth(index)["labels"])
            assert dataset[index]["image"].shape == (200, 300, 3)


def test_no_python_object_is_kept_for_an_image_or_an_object(tmp_path):
    for number in range(300):
        write(tmp_path, f"images/{number:05d}.png")
    dataset, _ = opened(tmp_path)
    kept = [value for value in vars(dataset).values() if not isinstance(value, np.ndarray)]
    assert len(pickle.dumps(kept)) < 1000


# --- layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "train: images/train\nval: images/val\ntest: images/test\n",
        "path: .\ntrain: ./images/train/\nval: [images/val]\ntest:\n  - images/test\n",
        "path: /content/data\ntrain: images/train\nval: images/val\ntest: images/test\n",
        "path: ../datasets/mine\ntrain: images/train\nvalid: images/val\ntest: images/test\n",
        "train: ../images/train\nval: ../images/val\ntest: ../images/test\n",
        "path: images\ntrain: train\nval: val\ntest: test\n",
        "train: train.txt\nval: images\\val\ntest: images/test\n",
    ],
)
def test_what_a_data_yaml_may_say(tmp_path, text):
    root = tmp_path / "set"
    for split in ("train", "val", "test"):
        write(root, f"images/{split}/{split}.png")
    (root / "train.txt").write_text("./images/train/train.png\n\n")
    config(root, text + NAMES)
    for place in (root, root / "data.yaml"):
        found = [opened(place, split)[0].path(0) for split in ("train", "val", "test")]
        assert found == [f"{root}/images/{split}/{split}.png" for split in ("train", "val", "test")]


def test_an_absolute_path_within_the_folder(tmp_path):
    config(write(tmp_path), f"path: {tmp_path}\ntrain: {tmp_path}/images/train\n{NAMES}")
    assert paths(tmp_path) == ["images/train/a.png"]


def test_lists_of_images(tmp_path):
    for name in "abc":
        write(tmp_path, f"images/{name}.png")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/one.txt").write_text(f"../images/b.png\r\n{tmp_path}/images/a.png\n")
    (tmp_path / "two.txt").write_text("images/c.png\nimages/b.png\n")
    config(tmp_path, f"train: [lists/one.txt, two.txt]\n{NAMES}")
    assert paths(tmp_path) == ["images/b.png", "images/a.png", "images/c.png"]


def test_names_of_classes(tmp_path):
    write(tmp_path)
    assert opened(config(tmp_path, "train: images/train\nnames: {0: no, 1: 'yes', 3: 7}\n"))[0].class_names == [
        "no", "yes", "2", "7",
    ]  # fmt: skip
    assert opened(config(tmp_path, "train: images/train\nnc: 2\nnames:\n- cat\n- dog\n"))[0].class_names == [
        "cat",
        "dog",
    ]
    assert opened(config(tmp_path, "train: images/train\n"))[0].class_names == ["0", "1"]
    (tmp_path / "classes.txt").write_text("\ufeffcow\nhen\n\n")
    assert opened(tmp_path)[0].class_names == ["cow", "hen"]
    (tmp_path / "data.yaml").unlink()
    assert opened(tmp_path)[0].class_names == ["cow", "hen"]


def test_numbers_are_those_of_train(tmp_path):
    write(write(tmp_path), "images/val/b.png", "2 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5")
    dataset, findings = opened(tmp_path, "val")
    assert (dataset.class_names, dataset.labels.tolist()) == (["0", "1"], [0])
    assert [(finding.code, finding.text) for finding in findings] == [
        ("UNKNOWN_CATEGORY", "has the class 2: expected a whole number from 0 to 1")
    ]


@pytest.mark.parametrize("place", ["images/{}", "{}/images", "{}"])
def test_folders_of_splits(tmp_path, place):
    for split in ("train", "valid", "test"):
        write(tmp_path, f"{place.format(split)}/{split}.png")
    assert [paths(tmp_path, split) for split in ("train", "val", "test")] == [
        [f"{place.format(split)}/{split}.png"] for split in ("train", "valid", "test")
    ]


@pytest.mark.parametrize("place", ["images/", ""])
def test_folders_to_draw_from(tmp_path, place):
    for name in "abcdefgh":
        write(tmp_path, f"{place}{name}.png")
    parts = [paths(tmp_path, split, (0.5, 0.25, 0.25)) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [4, 2, 2]
    assert sorted(parts[0] + parts[1] + parts[2]) == [f"{place}{name}.png" for name in "abcdefgh"]


def test_val_comes_from_train_where_there_is_none(tmp_path):
    for name in "ab":
        write(tmp_path, f"images/train/{name}.png")
    config(tmp_path, "train: images/train\nval:\n" + NAMES)
    parts = [paths(tmp_path, split, (0.5, 0.5, 0.0)) for split in ("train", "val")]
    assert sorted(parts[0] + parts[1]) == ["images/train/a.png", "images/train/b.png"]
    with pytest.raises(MissingSplit, match="has images for train and none for test"):
        opened(tmp_path, "test")


YAML = [
    ("names: [a, b\ntrain: x\n", "data.yaml', line 2: not YAML"),
    ("just text", "is no data.yaml: expected entries like names: and train:"),
    ("train: {a: b}\n", "train must be a folder, a list of images, or several of these"),
    ("train: images/train\nnames: 7\n", "names must be a list of the names of all classes"),
    ("train: images/train\nnames: {a: cat}\n", "names must be a list, or have the numbers 0, 1"),
    ("train: images/train\nnames: [cat, cat]\n", "calls two classes 'cat'"),
    ("train: images/train\nnc: 3\nnames: [cat, dog]\n", "nc is 3, but there are 2 names"),
    (
        "train: images/nowhere\nnames: [cat]\n",
        "says that train is 'images/nowhere', and there is no such folder or list",
    ),
    ("train: empty\nnames: [cat]\n", "There is no image in '.*empty'"),
    ("x: " + "a" * 2**20, "expected a data.yaml of some lines"),
    (
        "a: &a [x]\n" + "".join(f"b{n}: !!python/object:os.system [*a]\n" for n in range(3)) + "names: 1",
        "names must be",
    ),
]


@pytest.mark.parametrize(("text", "message"), YAML)
def test_files_that_are_no_data_yaml(tmp_path, text, message):
    (tmp_path / "empty").mkdir()
    config(write(tmp_path), text)
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)


def test_roots_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="There is no file or folder"):
        opened(tmp_path / "absent")
    write(tmp_path, "images/a.png", None)
    with pytest.raises(
        DataError, match=r"No image in '.*' has a file of labels: 'images/a\.png' would have 'labels/a\.txt'"
    ):
        opened(tmp_path)
    (tmp_path / "x.yaml").write_text(NAMES)
    (tmp_path / "y.yml").write_text(NAMES)
    with pytest.raises(DataError, match=r"holds 2 YAML files \(x.yaml, y.yml\): pass the one"):
        opened(tmp_path)


# --- faults -----------------------------------------------------------------------------------------------------------

LINES = [
    ("1 0.5 0.5 0.2", "BAD_LINE", "has 4 values: expected class, x, y, width, height"),
    ("1 0.5 0.5 0.2 0.2 0.9", "BAD_LINE", "has 6 values"),
    ("1 0.5 0.5 0.2 0.2 0.9 0.1 0.3", "BAD_LINE", "has 8 values"),
    ("1", "BAD_LINE", "has 1 values"),
    ("dog 0.5 0.5 0.2 0.2", "BAD_LINE", "'dog 0.5 0.5 0.2 0.2' has a value that is no number"),
    ("1,0.5,0.5,0.2,0.2", "BAD_LINE", "'1,0.5,0.5,0.2,0.2' has a value that is no number"),
    ("2 0.5 0.5 0.2 0.2", "UNKNOWN_CATEGORY", "has the class 2: expected a whole number from 0 to 1"),
    ("-1 0.5 0.5 0.2 0.2", "UNKNOWN_CATEGORY", "has the class -1"),
    ("0.5 0.5 0.5 0.2 0.2", "UNKNOWN_CATEGORY", "has the class 0.5"),
    ("1 20 10 8 4", "NOT_NORMALISED", "has the value 20: expected shares of the image's width and height, 0 to 1"),
    ("1 0.5 0.5 1.01 0.2", "NOT_NORMALISED", "has the value 1.01"),
    ("1 2 3 20 3 20 10", "NOT_NORMALISED", "has the value 20"),
    ("1 nan 0.5 0.2 0.2", "NOT_FINITE", "NaN or infinite"),
    ("1 0.1 0.1 0.2 nan 0.3 0.3", "NOT_FINITE", "NaN or infinite"),
    ("1 0.5 0.5 -inf 0.2", "NOT_FINITE", "NaN or infinite"),
    ("1 0.5 0.5 0 0.2", "NO_AREA", "has no area"),
    ("1 0.5 0.5 -0.1 0.2", "INVERTED", "ends before it begins"),
    ("1 -0.5 0.5 0.1 0.2", "OUTSIDE", "the box (-0.55, 0.4, -0.45, 0.6) lies outside of its image"),
    ("1 0.5  0.5 0.25 0.5 ", "DUPLICATE_ENTRY", "is line 1 again"),
]


@pytest.mark.parametrize(("line", "code", "text"), LINES)
def test_lines_that_are_left_out(tmp_path, line, code, text):
    first, second = GOOD.splitlines()
    config(write(tmp_path, text=f"{first}\r\n{line}\r\n{second}"), "train: images/train\n" + NAMES)
    dataset, findings = opened(tmp_path)
    assert dataset.truth(0)["boxes"].tolist() == [[15, 5, 25, 15], [0, 0, 10, 10]]
    assert [(finding.code, finding.file, finding.place, finding.action, finding.index) for finding in findings] == [
        (code, "labels/train/a.txt", "line 2", "left out", 1)
    ]
    assert findings[0].text.startswith(text) or text in findings[0].text
    log = yolo.mend(tmp_path, tmp_path / "out", findings, {})
    assert log == [("labels/train/a.txt", "line 2", f"removed: {findings[0].text}")]
    assert (tmp_path / "out/labels/train/a.txt").read_bytes() == f"{first}\r\n{second}".encode()
    assert (tmp_path / "out/data.yaml").read_bytes() == (tmp_path / "data.yaml").read_bytes()


MENDED = [
    ("1 0.875 0.5 0.5 0.5", [[25, 5, 40, 15]], b"1 0.8125 0.5 0.375 0.5"),
    ("0 -0.25 0.25 0.5 0.25 0.5 1.5", [[0, 5, 20, 20]], b"0 0 0.25 0.5 0.25 0.5 1"),
]


@pytest.mark.parametrize(("line", "boxes", "mended"), MENDED)
def test_boxes_that_stick_out_are_cut(tmp_path, line, boxes, mended):
    config(write(tmp_path, text=line + "\n"), "train: images/train\n" + NAMES)
    dataset, findings = opened(tmp_path)
    assert dataset.truth(0)["boxes"].tolist() == boxes
    assert [(finding.code, finding.place, finding.action) for finding in findings] == [
        ("STICKS_OUT", "line 1", "mended")
    ]
    log = yolo.mend(tmp_path, tmp_path / "out", findings, {})
    assert log[0][:2] == ("labels/train/a.txt", "line 1")
    assert (tmp_path / "out/labels/train/a.txt").read_bytes() == mended + b"\n"
    write(tmp_path, text=mended)
    again, findings = opened(tmp_path)
    assert (again.fingerprint(), list(findings)) == (dataset.fingerprint(), [])


def test_rounding_is_no_fault(tmp_path):
    config(write(tmp_path, text="0 0.5 0.5 1.000001 1\n1 0.9 0.5 0.2001 0.5"), "train: images/train\n" + NAMES)
    dataset, findings = opened(tmp_path)
    assert not findings
    assert dataset.truth(0)["boxes"][0].tolist() == [0, 0, 40, 20]


@pytest.mark.parametrize("data", [GOOD.encode("utf-16"), GOOD.encode("utf-16-le"), b"\0\1\2"])
def test_labels_that_are_no_text_take_their_image_along(tmp_path, data):
    write(write(tmp_path), "images/train/b.png", data)
    config(tmp_path, "train: images/train\n" + NAMES)
    dataset, findings = opened(tmp_path)
    assert len(dataset) == 1
    assert [(finding.code, finding.file, finding.action) for finding in findings] == [
        ("NOT_TEXT", "labels/train/b.txt", "left out")
    ]
    log = yolo.mend(tmp_path, tmp_path / "out", findings, {})
    assert [entry[0] for entry in log] == ["images/train/b.png", "labels/train/b.txt"]
    assert not (tmp_path / "out/labels/train/b.txt").exists()


@pytest.mark.parametrize("entry", ["../elsewhere", "/etc", "images/../../elsewhere", "..\\elsewhere"])
def test_entries_that_leave_the_folder(tmp_path, entry):
    write(tmp_path / "elsewhere", "a.png", None)
    root = config(write(tmp_path / "set"), f"train: images/train\nval: '{entry}'\n{NAMES}")
    findings = Findings()
    with pytest.raises(DataError, match="There is no image for the split 'val'"):
        open_dataset("yolo", root, split="val", fractions=WHOLE, findings=findings)
    assert [(finding.code, finding.file, finding.place, finding.action) for finding in findings] == [
        ("LEAVES_ROOT", "data.yaml", "val", "refused")
    ]
    with pytest.raises(DataError, match=r"^data\.yaml, val: '.*(elsewhere|etc)' leaves the data set's folder"):
        open_dataset("yolo", root, split="val", fractions=WHOLE)
    log = yolo.mend(root, tmp_path / "out", findings, {})
    assert log == [("data.yaml", "line 2", "removed: leaves the data set's folder")]
    assert (tmp_path / "out/data.yaml").read_text() == f"train: images/train\n{NAMES}"


def test_lines_of_lists_that_are_wrong(tmp_path):
    write(tmp_path, "outside.png", None)
    root = write(write(tmp_path / "set", "images/a.png"), "images/b.png")
    (root / "train.txt").write_text("images/a.png\n../outside.png\nimages/c.png\n/etc/passwd\nimages/b.png\n")
    config(root, "train: train.txt\n" + NAMES)
    dataset, findings = opened(root)
    assert len(dataset) == 2
    assert [(finding.code, finding.place, finding.action) for finding in findings] == [
        ("LEAVES_ROOT", "line 2", "refused"),
        ("MISSING_IMAGE", "line 3", "left out"),
        ("LEAVES_ROOT", "line 4", "refused"),
    ]
    assert {finding.file for finding in findings} == {"train.txt"}
    log = yolo.mend(root, tmp_path / "out", findings, {"images/b.png": "is cut off"})
    assert log == [
        ("labels/b.txt", "", "removed: is cut off"),
        ("train.txt", "line 2", f"removed: {findings[0].text}"),
        ("train.txt", "line 3", "removed: there is no file 'images/c.png'"),
        ("train.txt", "line 4", f"removed: {findings[2].text}"),
        ("train.txt", "line 5", "removed: is cut off"),
    ]
    assert (tmp_path / "out/train.txt").read_text() == "images/a.png\n"
    assert (tmp_path / "out/labels/a.txt").read_text() == GOOD


def test_links_out_of_the_root_are_noted(tmp_path):
    write(tmp_path, "far.png", None)
    root = write(tmp_path / "set", "images/a.png")
    (root / "images/a.png").unlink()
    (root / "images/a.png").symlink_to(tmp_path / "far.png")
    dataset, findings = opened(root)
    assert (len(dataset), [(finding.code, finding.file) for finding in findings]) == (
        1,
        [("LINK_OUTSIDE", "images/a.png")],
    )
