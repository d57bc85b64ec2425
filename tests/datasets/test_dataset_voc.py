"""voc: layouts, pixels counted from 1, every way an XML file can be wrong, and what `mend` makes of it."""

import pickle

import numpy as np
import pytest

from foveal.core.errors import DataError, MissingSplit, UsageError
from foveal.core.images import write_image
from foveal.datasets import open_dataset, voc
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld

WHOLE = (1.0, 0.0, 0.0)
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
SIZE = "<size><width>20</width><height>10</height><depth>3</depth></size>"


def cat(*box, more=""):
    return f"<object>\n\t\t<name>cat</name>\n\t\t{BOX.format(*box)}{more}\n\t</object>"


def xml(*objects, size=SIZE):
    return (
        f"<?xml version='1.0'?>\n<!-- kept -->\n<annotation verified=\"yes\">\n\t{size}\n\t"
        + "\n\t".join(objects)
        + "\n</annotation>\n"
    )


GOOD = xml(cat(3, 4, 7, 8), cat(1, 1, 20, 10).replace("cat", "dog"))


def image(path, width=20, height=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.zeros((height, width, 3), np.uint8))


def write(root, text=GOOD, name="a", images="JPEGImages", annotations="Annotations"):
    image(root / images / f"{name}.png")
    (root / annotations).mkdir(parents=True, exist_ok=True)
    (root / annotations / f"{name}.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def lists(root, **names):
    folder = root / "ImageSets" / "Main"
    folder.mkdir(parents=True, exist_ok=True)
    for split, text in names.items():
        (folder / f"{split}.txt").write_text(text)
    return root


def opened(root, split="train", fractions=WHOLE):
    findings = Findings()
    return open_dataset("voc", root, split=split, fractions=fractions, findings=findings), findings


def test_pixels_are_counted_from_one(tmp_path):
    dataset, findings = opened(write(tmp_path))
    assert not findings
    assert dataset.class_names == ["cat", "dog"]
    sample = dataset[0]
    assert sample["boxes"].tolist() == [[2, 3, 7, 8], [0, 0, 20, 10]]
    assert sample["labels"].tolist() == [0, 1]
    assert sample["difficult"].tolist() == sample["crowd"].tolist() == [False, False]
    assert (sample["size"], sample["path"]) == ((10, 20), f"{tmp_path}/JPEGImages/a.png")
    assert (sample["boxes"].dtype, sample["labels"].dtype) == (np.float32, np.int64)


def test_what_is_difficult_and_what_is_not_whole(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    text = xml(cat(3.5, 4, 7.25, 8, more=f"<difficult>1</difficult>{part}"), size="<size><width>0</width></size>")
    dataset, findings = opened(write(tmp_path, text))
    assert not findings
    assert dataset.truth(0)["boxes"].tolist() == [[2.5, 3, 7.25, 8]]
    assert dataset.truth(0)["difficult"].tolist() == [True]
    assert dataset.size(0) == (10, 20)


def test_images_without_objects_stay_in(tmp_path):
    write(tmp_path, xml(), "b")
    dataset, findings = opened(write(tmp_path))
    assert [len(dataset.truth(index)["boxes"]) for index in (0, 1)] == [2, 0]
    assert not findings


def test_the_drawn_world_comes_back(tmp_path):
    for split in ("train", "val", "test"):
        world = ShapesWorld("detection", split, images=20)
        voc.write_split((world[index] for index in range(20)), tmp_path, split=split, class_names=world.class_names)
    for split in ("train", "val", "test"):
        world = ShapesWorld("detection", split, images=20)
        dataset, findings = opened(tmp_path, split)
        assert set(dataset.class_names) <= set(world.class_names)
        assert (len(dataset), [finding for finding in findings if finding.code != "UNKNOWN_CATEGORY"]) == (20, [])
        for index in range(20):
            truth, found = world.truth(index), dataset.truth(index)
            names = [world.class_names[label] for label in truth["labels"]]
            wide = (truth["boxes"][:, 2:] - truth["boxes"][:, :2] > 1).all(axis=1)  # VOC has no box of one pixel
            known = wide & np.array([name in dataset.class_names for name in names], bool)
            np.testing.assert_array_equal(found["boxes"], truth["boxes"][known])
            np.testing.assert_array_equal(found["difficult"], truth["difficult"][known])
            assert [dataset.class_names[label] for label in found["labels"]] == [
                name for name, kept in zip(names, known, strict=True) if kept
            ]
            assert dataset[index]["image"].shape == (256, 256, 3)


def test_blood_cells_have_exactly_two_boxes_without_area(real_data):
    parts = [opened(real_data / "bccd", split) for split in ("train", "val", "test")]
    assert [len(dataset) for dataset, _ in parts] == [205, 87, 72]
    assert sum(len(dataset.labels) for dataset, _ in parts) == 4888 - 2
    assert parts[1][0].class_names == ["Platelets", "RBC", "WBC"]
    assert [(finding.code, finding.file) for _, findings in parts for finding in findings] == [
        ("NO_AREA", "Annotations/BloodImage_00343.xml"),
        ("NO_AREA", "Annotations/BloodImage_00338.xml"),
    ]
    sample = next(
        part[index] for part, _ in parts for index in range(len(part)) if part.path(index).endswith("338.jpg")
    )
    assert sample["boxes"][0].tolist() == [452, 80, 555, 182]
    assert sample["size"] == (480, 640)


def test_no_python_object_is_kept_for_an_image_or_an_object(tmp_path):
    for number in range(300):
        write(tmp_path, name=f"{number:05d}")
    dataset, _ = opened(tmp_path)
    kept = [value for value in vars(dataset).values() if not isinstance(value, np.ndarray)]
    assert len(pickle.dumps(kept)) < 1000


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_lists_of_splits(tmp_path):
    for name in "abcd":
        write(tmp_path, name=name)
    lists(tmp_path, train="a  1\nb -1\n", val="\ufeffc\r\n", test="d.png\n", cat_train="a 1\n")
    assert {split: names(tmp_path, split) for split in ("train", "val", "test")} == {
        "train": ["a", "b"],
        "val": ["c"],
        "test": ["d"],
    }


def names(root, split, fractions=WHOLE):
    dataset, findings = opened(root, split, fractions)
    assert not findings
    return [dataset.path(index).rpartition("/")[2][:-4] for index in range(len(dataset))]


def test_trainval_gives_what_is_missing(tmp_path):
    for name in "abcd":
        write(tmp_path, name=name)
    lists(tmp_path, trainval="a\nb\nc\nd\n", val="c\n")
    assert names(tmp_path, "train") == ["a", "b", "d"]
    lists(tmp_path, train="a\nb\n")
    (tmp_path / "ImageSets/Main/val.txt").unlink()
    assert names(tmp_path, "val") == ["c", "d"]
    (tmp_path / "ImageSets/Main/train.txt").unlink()
    parts = [names(tmp_path, split, (0.5, 0.5, 0.0)) for split in ("train", "val")]
    assert sorted(parts[0] + parts[1]) == ["a", "b", "c", "d"]
    with pytest.raises(MissingSplit, match="has images for train and none for test"):
        opened(tmp_path, "test")


@pytest.mark.parametrize(
    ("images", "annotations"),
    [("JPEGImages", "Annotations"), ("images", "annotations"), ("Images", "Labels"), ("", ""), ("all", "all")],
)
def test_layouts_to_draw_from(tmp_path, images, annotations):
    for name in "abcdefgh":
        write(tmp_path, name=name, images=images, annotations=annotations)
    parts = [names(tmp_path, split, (0.5, 0.25, 0.25)) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [4, 2, 2]
    assert sorted(parts[0] + parts[1] + parts[2]) == list("abcdefgh")


@pytest.mark.parametrize(("images", "annotations"), [("{}", "{}"), ("{}/images", "{}/annotations")])
def test_folders_of_splits(tmp_path, images, annotations):
    for name, split in zip("abc", ("train", "valid", "test"), strict=True):
        write(tmp_path, name=name, images=images.format(split), annotations=annotations.format(split))
    assert [names(tmp_path, split) for split in ("train", "val", "test")] == [["a"], ["b"], ["c"]]


def test_images_and_files_that_are_alone(tmp_path):
    write(tmp_path)
    image(tmp_path / "JPEGImages" / "b.png")
    (tmp_path / "Annotations" / "c.xml").write_text(GOOD)
    dataset, findings = opened(tmp_path)
    assert len(dataset) == 1
    assert [(finding.code, finding.file, finding.action) for finding in findings] == [
        ("NO_TRUTH", "JPEGImages/b.png", "left out"),
        ("NO_IMAGE", "Annotations/c.xml", "noted"),
    ]


def test_folders_that_are_not_in_vocs_manner(tmp_path):
    with pytest.raises(UsageError, match="There is no folder"):
        opened(tmp_path / "absent")
    image(tmp_path / "a.png")
    with pytest.raises(
        DataError, match=r"holds 1 file \(1 .png\) and no .xml file: expected Annotations/ and JPEGImage"
    ):
        opened(tmp_path)
    (tmp_path / "b.xml").write_text(GOOD)
    with pytest.raises(DataError, match=r"No image in '.*' is one that has an XML file of its name"):
        opened(tmp_path)


def test_links_out_of_the_root_are_noted(tmp_path):
    write(tmp_path / "in")
    image(tmp_path / "far.png")
    (tmp_path / "in/JPEGImages/a.png").unlink()
    (tmp_path / "in/JPEGImages/a.png").symlink_to(tmp_path / "far.png")
    dataset, findings = opened(tmp_path / "in")
    assert (len(dataset), [(finding.code, finding.file) for finding in findings]) == (
        1,
        [("LINK_OUTSIDE", "JPEGImages/a.png")],
    )


# --- faults -----------------------------------------------------------------------------------------------------------

LINES = [
    ("zzz\n", "MISSING_IMAGE", "left out", "there is no image of the name 'zzz'"),
    ("b\n", "NO_TRUTH", "left out", "there is no XML file of the name 'b'"),
    ("a\n", "DUPLICATE_ENTRY", "left out", "'a' stands in the list already"),
    ("../a\n", "LEAVES_ROOT", "refused", "'../a' leaves the data set's folder"),
    ("/a\n", "LEAVES_ROOT", "refused", "'/a' leaves the data set's folder"),
]


@pytest.mark.parametrize(("line", "code", "action", "text"), LINES)
def test_lines_of_lists_that_are_wrong(tmp_path, line, code, action, text):
    image(tmp_path / "JPEGImages" / "b.png")
    lists(write(tmp_path), train="a\n\n" + line, val="a\n")
    dataset, findings = opened(tmp_path)
    assert len(dataset) == 1
    assert [(finding.code, finding.file, finding.place, finding.action) for finding in findings] == [
        (code, "ImageSets/Main/train.txt", "line 3", action)
    ]
    assert text in findings[0].text
    log = voc.mend(tmp_path, tmp_path / "out", findings, {})
    assert log == [("ImageSets/Main/train.txt", "line 3", f"removed: {findings[0].text}")]
    assert (tmp_path / "out/ImageSets/Main/train.txt").read_text() == "a\n\n"
    assert (tmp_path / "out/ImageSets/Main/val.txt").read_text() == "a\n"


OBJECTS = [
    (cat(5, 5, 5, 8), "NO_AREA", "the box (5, 5, 5, 8) has no area"),
    (cat(7, 5, 6, 8), "INVERTED", "the box (7, 5, 6, 8) ends before it begins"),
    (cat("nan", 5, 6, 8), "NOT_FINITE", "NaN"),
    (cat(21, 5, 26, 8), "OUTSIDE", "lies outside of its image of 20 x 10 pixels"),
    (cat(1, 2, 3, "x"), "BAD_BOX", "has the box xmin 1, ymin 2, xmax 3, ymax x: expected four numbers"),
    (cat(1, 2, 3, ""), "BAD_BOX", "expected four numbers"),
    ("<object><name>cat</name></object>", "BAD_BOX", "has the box xmin None"),
    (cat(1, 2, 3, 4).replace("cat", " "), "NO_NAME", "has no <name>"),
]


@pytest.mark.parametrize(("entry", "code", "text"), OBJECTS)
def test_objects_that_are_left_out(tmp_path, entry, code, text):
    write(tmp_path, xml(cat(3, 4, 7, 8), entry, cat(1, 1, 20, 10)))
    dataset, findings = opened(tmp_path)
    assert dataset.truth(0)["boxes"].tolist() == [[2, 3, 7, 8], [0, 0, 20, 10]]
    assert [(finding.code, finding.file, finding.place, finding.action, finding.index) for finding in findings] == [
        (code, "Annotations/a.xml", "object 2", "left out", 1)
    ]
    assert text in findings[0].text
    log = voc.mend(tmp_path, tmp_path / "out", findings, {})
    assert log == [("Annotations/a.xml", "object 2", f"removed: {findings[0].text}")]
    assert (tmp_path / "out/Annotations/a.xml").read_text() == xml(cat(3, 4, 7, 8), cat(1, 1, 20, 10))


MENDED = [
    (cat(0, -3, 7, 8), "STICKS_OUT", cat(1, 1, 7, 8), [[0, 0, 7, 8]]),
    (cat(3, 4.5, 27, 18), "STICKS_OUT", cat(3, 4.5, 20, 10), [[2, 3.5, 20, 10]]),
    (
        cat(3, 4, 7, 8, more="<difficult>True</difficult>"),
        "BAD_DIFFICULT",
        cat(3, 4, 7, 8, more="<difficult>1</difficult>"),
        [[2, 3, 7, 8]],
    ),
]


@pytest.mark.parametrize(("entry", "code", "expected", "boxes"), MENDED)
def test_objects_that_are_mended(tmp_path, entry, code, expected, boxes):
    dataset, findings = opened(write(tmp_path, xml(entry)))
    assert dataset.truth(0)["boxes"].tolist() == boxes
    assert [(finding.code, finding.place, finding.action) for finding in findings] == [(code, "object 1", "mended")]
    log = voc.mend(tmp_path, tmp_path / "out", findings, {})
    assert len(log) == 1
    assert (tmp_path / "out/Annotations/a.xml").read_text() == xml(expected)
    again, findings = opened(write(tmp_path, xml(expected)))
    assert again.fingerprint() == dataset.fingerprint()
    assert not findings


BOMB = '<!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>\n' + GOOD.split("\n", 2)[2]
FILES = [
    (GOOD[:-30], "DAMAGED", "left out", "line 11", "is not XML (unclosed token: line 11"),
    ("", "DAMAGED", "left out", "line 1", "is not XML"),
    ("<html></html>", "DAMAGED", "left out", "line 1", "begins with <html>: expected <annotation>"),
    (b"<annotation>\n\xff\xff</annotation>", "DAMAGED", "left out", "line 2", "is not XML (not well-formed"),
    ("<?xml version='1.0' encoding='klingon'?><annotation/>", "DAMAGED", "left out", "line 1", "unknown encoding"),
    (BOMB, "UNSAFE_XML", "refused", "", "declares a document type, which may hold entities"),
    (BOMB.encode("utf-16"), "UNSAFE_XML", "refused", "", "is not UTF-8 text"),
]


@pytest.mark.parametrize(("text", "code", "action", "place", "said"), FILES)
def test_files_that_are_wrong(tmp_path, text, code, action, place, said):
    lists(write(write(tmp_path, text, "b")), train="a\nb\n", cat_train="b -1\na 1\n")
    dataset, findings = opened(tmp_path)
    assert len(dataset) == 1
    assert [(finding.code, finding.file, finding.action) for finding in findings] == [
        (code, "Annotations/b.xml", action)
    ]
    assert findings[0].place[:4] == place[:4]
    assert said in findings[0].text
    log = voc.mend(tmp_path, tmp_path / "out", findings, {})
    assert [entry[:2] for entry in log] == [
        ("Annotations/b.xml", ""),
        ("JPEGImages/b.png", ""),
        ("ImageSets/Main/cat_train.txt", "line 1"),
        ("ImageSets/Main/train.txt", "line 2"),
    ]
    assert not (tmp_path / "out/Annotations/b.xml").exists()
    assert (tmp_path / "out/ImageSets/Main/cat_train.txt").read_text() == "a 1\n"


def test_a_class_that_train_does_not_have(tmp_path):
    lists(write(write(tmp_path), GOOD.replace("dog", "cow"), "b"), train="a\n", val="b\n")
    dataset, findings = opened(tmp_path, "val")
    assert (dataset.class_names, dataset.truth(0)["labels"].tolist()) == (["cat", "dog"], [0])
    assert [(finding.code, finding.place, finding.text) for finding in findings] == [
        ("UNKNOWN_CATEGORY", "object 2", "is a 'cow', which no training image has")
    ]


def test_mend_copies_what_is_good_and_takes_images_out(tmp_path):
    lists(write(write(tmp_path), name="b"), train="a\nb\n")
    log = voc.mend(tmp_path, tmp_path / "out", [], {"JPEGImages/b.png": "is cut off"})
    assert log == [
        ("Annotations/b.xml", "", "removed: is cut off"),
        ("JPEGImages/b.png", "", "left out: its XML file is"),
        ("ImageSets/Main/train.txt", "line 2", "removed: is cut off"),
    ]
    assert (tmp_path / "out/Annotations/a.xml").read_text() == GOOD
