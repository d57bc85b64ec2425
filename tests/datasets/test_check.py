"""check: duplicates, near duplicates and leakage; the numbers and faults of each task's truth."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest

from foveal.core.images import write_image
from foveal.datasets import open_dataset
from foveal.datasets.check import check_dataset
from foveal.datasets.check_tasks import View, check_truth
from foveal.datasets.duplicates import exact_groups, near_partners, thumbnail, thumbnail_of_jpeg
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld


def check(format, root, mode="usual", **options):
    return check_dataset(
        format, root, fractions=(0.65, 0.10, 0.25), seed=0, options=options, mode=mode, watch=lambda *_: None
    )


def found(report):
    """Code, file and action of every finding."""
    return [(finding.code, finding.file, finding.action) for finding in report.findings]


def scene(seed, height=120, width=160):
    """Smooth colours that no other seed gives: uint8 (height, width, 3)."""
    colors = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(colors, (width, height), interpolation=cv2.INTER_CUBIC)


def put(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, image)


def jpeg(image, quality=95):
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def jpeg_thumbnail(image, quality=95):
    return thumbnail_of_jpeg(jpeg(image, quality), image.shape[:2])


@pytest.fixture
def folder(tmp_path):
    """Two classes in three splits of their own: 4, 2 and 2 pictures of each, no two alike."""
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for label in ("cat", "dog"):
            for number in range(count):
                seed = 1000 * ("train", "val", "test").index(split) + 10 * number + (label == "dog")
                put(tmp_path / "set" / split / label / f"{number}.jpg", scene(seed))
    return tmp_path / "set"


# --- duplicates -------------------------------------------------------------------------------------------------------


def test_exact_groups():
    digests = np.array([[1, 1], [2, 2], [1, 1], [1, 2], [2, 2], [1, 1]], np.uint64)
    assert [group.tolist() for group in exact_groups(digests)] == [[0, 2, 5], [1, 4]]
    assert exact_groups(np.zeros((0, 2), np.uint64)) == []
    assert exact_groups(digests[1:4]) == []


def test_a_jpeg_shrinks_to_what_its_pixels_average_to():
    # 323 x 250 is no multiple of the decoder's steps: 2 here, whose last column stands for half a column.
    image = scene(5, 250, 323)
    exact = cv2.resize(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64), (32, 32), interpolation=cv2.INTER_AREA
    )
    assert np.abs(jpeg_thumbnail(image, 100) - exact).max() < 2
    assert np.abs(thumbnail(image) - exact).max() < 2
    assert thumbnail_of_jpeg(b"\xff\xd8\xff not a picture", (100, 100)) is None


def test_near_duplicates_are_found_and_different_scenes_are_not():
    world = ShapesWorld("detection", "train", images=60, seed=3)
    images = [scene(number) for number in range(60)] + [world[number]["image"] for number in range(60)]
    changes = (
        lambda image: jpeg_thumbnail(image, 60),
        lambda image: jpeg_thumbnail(cv2.resize(image, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)),
        lambda image: jpeg_thumbnail(np.clip(image.astype(int) + 8, 0, 255).astype(np.uint8)),
        thumbnail,
    )
    originals = np.stack([jpeg_thumbnail(image) for image in images])
    number = len(images)
    assert (near_partners(originals, np.zeros(number, int), 1) == -1).all()
    for change in changes:
        changed = np.stack([change(image) for image in images])
        partners = near_partners(np.concatenate([originals, changed]), np.repeat([0, 1], number), 2)
        assert partners[:number].tolist() == [[-1, number + row] for row in range(number)]
        assert partners[number:].tolist() == [[row, -1] for row in range(number)]


def test_of_many_alike_only_the_first_has_no_partner():
    base = np.random.default_rng(0).integers(0, 200, (32, 32))
    alike = np.stack([base + step for step in range(40)]).astype(np.uint8)
    partners = near_partners(alike, np.zeros(40, int), 1)[:, 0]
    assert partners[0] == -1
    assert (partners[1:] >= 0).all() and (partners[1:] < np.arange(1, 40)).all()


def test_blank_pictures_are_not_alike():
    pages = np.full((5, 32, 32), 250, np.uint8)
    pages[:, 3, 3] = 240
    assert (near_partners(pages, np.arange(5) % 2, 2) == -1).all()


def test_duplicates_and_leaks_name_both_files(folder):
    shutil.copy(folder / "train/cat/1.jpg", folder / "train/dog/1b.jpg")
    shutil.copy(folder / "test/dog/1.jpg", folder / "train/cat/8.jpg")
    shutil.copy(folder / "test/cat/0.jpg", folder / "val/cat/5.jpg")
    put(folder / "val/dog/9.jpg", np.clip(scene(1).astype(int) + 8, 0, 255).astype(np.uint8))
    put(folder / "test/cat/7.jpg", cv2.resize(scene(2010), None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA))
    report = check("image_folder", folder)
    assert sorted(found(report)) == [
        ("DUPLICATE", "train/dog/1b.jpg", "kept"),
        ("DUPLICATE", "val/cat/5.jpg", "kept"),
        ("LEAK", "train/cat/8.jpg", "kept"),
        ("LEAK", "train/dog/0.jpg", "kept"),
        ("NEAR_DUPLICATE", "test/cat/7.jpg", "noted"),
    ]
    texts = {finding.file: finding.text for finding in report.findings}
    assert texts["train/dog/1b.jpg"] == "the same file as 'train/cat/1.jpg'"
    assert texts["train/cat/8.jpg"].startswith("the same file as 'test/dog/1.jpg', which is for test")
    assert texts["train/dog/0.jpg"].startswith("nearly the same picture as 'val/dog/9.jpg', which is for val")
    assert texts["test/cat/7.jpg"] == "nearly the same picture as 'test/cat/1.jpg'"
    assert set(report.dropped) == {"train/dog/1b.jpg", "val/cat/5.jpg", "train/cat/8.jpg", "train/dog/0.jpg"}
    assert list(report.alike) == ["test/cat/7.jpg"]


def test_digits_of_one_kind_are_no_duplicates():
    digits = open_dataset("digits", None, split="train")
    enlarged = [cv2.resize(digits[number]["image"], (96, 96), interpolation=cv2.INTER_CUBIC) for number in range(400)]
    assert (near_partners(np.stack([thumbnail(image) for image in enlarged]), np.zeros(400, int), 1) == -1).all()


def test_pictures_too_small_to_compare_are_left_alone(tmp_path):
    for number in range(8):
        image = np.full((63, 80, 3), 20, np.uint8)
        image[:, 40:] = 200 + number
        put(tmp_path / "ab"[number % 2] / f"{number}.png", image)
    assert found(check("image_folder", tmp_path)) == []


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["quick", "usual", "full"])
def test_what_is_no_whole_image_is_named_once(folder, mode):
    whole = (folder / "train/cat/0.jpg").read_bytes()
    (folder / "train/cat/0.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "val/dog/text.jpg").write_text("no picture")
    (folder / "test/cat/none.jpg").touch()
    os.symlink(folder / "nowhere.jpg", folder / "test/dog/link.jpg")
    report = check("image_folder", folder, mode)
    assert sorted(found(report)) == [
        ("EMPTY_FILE", "test/cat/none.jpg", "refused"),
        ("MISSING", "test/dog/link.jpg", "refused"),
        ("NOT_AN_IMAGE", "val/dog/text.jpg", "refused"),
        ("TRUNCATED", "train/cat/0.jpg", "refused"),
    ]
    assert report.numbers["train"]["images"] == 8 and report.numbers["train"]["formats"] == {"JPEG": 7}
    assert len(report.wrong()) == 4


def test_damage_that_only_decoding_shows(folder):
    image = cv2.imencode(".bmp", scene(77))[1].tobytes()
    (folder / "train/cat/bad.bmp").write_bytes(image[: len(image) // 3])
    assert found(check("image_folder", folder, "quick")) == []
    assert found(check("image_folder", folder)) == [("TRUNCATED", "train/cat/bad.bmp", "refused")]


def test_numbers_of_splits_and_classes(folder):
    put(folder / "train/cat/large.png", scene(99, 240, 320))
    report = check("image_folder", folder)
    assert report.findings == []
    assert report.class_names == ["cat", "dog"]
    assert report.counts == {"train": [5, 4], "val": [2, 2], "test": [2, 2]}
    train = report.numbers["train"]
    assert (train["smallest_size"], train["median_size"], train["largest_size"]) == ([120, 160], [120, 160], [240, 320])
    assert train["formats"] == {"JPEG": 8, "PNG": 1}
    assert train["images_per_class"] == [4, 4.5, 5] and train["largest_class_to_smallest"] == 1.25


def test_a_class_that_only_the_held_out_images_have(folder):
    (folder / "train/bird").mkdir()
    put(folder / "train/bird/0.jpg", scene(500))
    rows = [f"{split}/{label}/{number}.jpg,{label},{split}" for split in ("train", "val") for label in ("cat", "dog")
            for number in range(2)]  # fmt: skip
    (folder / "t.csv").write_text("path,label,split\n" + "\n".join([*rows, "train/bird/0.jpg,bird,val"]))
    report = check("csv", folder)
    assert found(report) == [("UNKNOWN_LABEL", "t.csv", "refused")]
    assert report.findings[0].place == "line 10"
    assert report.numbers.keys() == {"train", "val"}


def test_a_data_set_that_cannot_be_opened_is_a_finding(tmp_path):
    (tmp_path / "t.csv").write_text("file;class\n")
    report = check("csv", tmp_path)
    assert [finding.code for finding in report.findings] == ["NOT_USABLE"]
    assert "no column called path" in report.findings[0].text
    assert report.numbers == {}


def test_sets_without_files_say_so():
    report = check("digits", None)
    assert report.findings == [] and len(report.remarks) == 1
    assert sum(numbers["images"] for numbers in report.numbers.values()) == 1797


# --- truth ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def coco(tmp_path):
    """Four pictures of 160 x 120 with six boxes, some of them odd; the file says the last picture lies on its side."""
    for number in range(4):
        put(tmp_path / f"train/{number}.jpg", scene(number))
    sizes = [(120, 160), (120, 160), (120, 160), (160, 120)]
    boxes = [(0, 1, [10, 10, 50, 40]), (0, 1, [10, 10, 50, 40]), (0, 2, [10, 10, 50, 40]), (1, 2, [5, 5, 2, 30]),
             (1, 1, [5, 5, 0, 30]), (3, 1, [20, 20, 30, 30])]  # fmt: skip
    document = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": h, "width": w} for n, (h, w) in enumerate(sizes)],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "jug"}, {"id": 3, "name": "pan"}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": kind, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, (image, kind, box) in enumerate(boxes, 1)
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_train.json").write_text(json.dumps(document))
    return tmp_path


def test_boxes(coco):
    report = check("coco", coco)
    kinds = {(finding.code, finding.file, finding.action) for finding in report.findings}
    assert ("NO_AREA", "annotations/instances_train.json", "left out") in kinds
    assert ("SIZE_DIFFERS", "train/3.jpg", "kept") in kinds
    assert ("TINY_BOX", "train/1.jpg", "noted") in kinds
    assert ("DUPLICATE_BOX", "train/0.jpg", "noted") in kinds
    assert [finding.code for finding in report.findings if finding.code == "NO_AREA"] == ["NO_AREA"]
    texts = {finding.code: finding.text for finding in report.findings}
    assert texts["TINY_BOX"] == "1 box has a side below 3 pixels; the smallest is 2.0 x 30.0"
    assert texts["DUPLICATE_BOX"] == "the box (10, 10, 60, 50) of the class cup is there 2 times"
    assert texts["SIZE_DIFFERS"].startswith("has 160 x 120 pixels, but its annotations say 120 x 160")
    assert "'pan' does not occur" in texts["CLASS_EMPTY"]
    total = {name: sum(numbers[name] for numbers in report.numbers.values()) for name in ("images", "objects")}
    assert total == {"images": 4, "objects": 5}
    assert np.sum(list(report.counts.values()), axis=0).tolist() == [3, 2, 0]


@pytest.fixture
def masks(tmp_path):
    """Nine pictures in two classes: mask n is 1 in its first n columns, and one column of each is ignored."""
    for number in range(9):
        put(tmp_path / f"images/{number}.png", scene(number))
        mask = np.zeros((120, 160), np.uint8)
        mask[:, :number] = 1
        mask[:, -1] = 255
        put(tmp_path / f"masks/{number}.png", mask)
    (tmp_path / "classes.txt").write_text("ground\nroad\n")
    return tmp_path


def test_masks(masks):
    report = check("mask_folder", masks)
    assert report.findings == []
    pixels = np.sum([report.counts[split] for split in ("train", "val", "test")], axis=0)
    assert pixels.tolist() == [120 * (9 * 159 - 36), 120 * 36]  # 36 = 0 + 1 + ... + 8
    assert all(numbers["share_ignored"] == 1 / 160 for numbers in report.numbers.values())
    assert check("mask_folder", masks, "quick").counts == {}


def test_masks_with_faults(masks):
    for number, mask in ((2, np.full((120, 160), 7)), (3, np.zeros((60, 80))), (4, np.full((120, 160), 255))):
        put(masks / f"masks/{number}.png", mask.astype(np.uint8))
    whole = (masks / "masks/5.png").read_bytes()
    (masks / "masks/5.png").write_bytes(whole[:-20])
    report = check("mask_folder", masks)
    assert sorted(found(report)) == [
        ("ALL_IGNORED", "masks/4.png", "noted"),
        ("BAD_TRUTH", "masks/2.png", "refused"),
        ("SIZE_DIFFERS", "masks/3.png", "refused"),
        ("TRUNCATED", "masks/5.png", "refused"),
    ]
    texts = {finding.code: finding.text for finding in report.findings}
    assert texts["BAD_TRUTH"].startswith("has values that stand for no class, 7 (19,200 pixels)")
    assert texts["SIZE_DIFFERS"].startswith("has 80 x 60 pixels, but its image 'images/3.png' has 160 x 120")
    assert set(report.dropped) == {f"images/{number}.png" for number in (2, 3, 5)}
    assert report.truths["images/2.png"] == "masks/2.png"


class Listed:
    """A data set out of a list of truths."""

    def __init__(self, truths, labels=()):
        self.truths, self.labels, self.class_names = truths, np.array(labels, np.int64), []

    def path(self, index):
        return f"{index}.png"

    def truth(self, index):
        return self.truths[index]


def look(task, dataset):
    """What is found in its truth: numbers and findings."""
    findings = Findings()
    names = [b"%d.png" % number for number in range(len(dataset.truths))]
    sizes = np.zeros((len(names), 2), np.int32)
    view = View(dataset, names, sizes, False, findings, "usual", lambda *_: None)
    return check_truth(task, view).numbers, [(finding.code, finding.file) for finding in findings]


def test_depth():
    near, half, none = np.full((2, 4), 2.0), np.array([[0, 0, 0, 0], [4, 5, 6, 20.0]]), np.zeros((2, 4))
    numbers, findings = look("depth", Listed([{"depth": depth.astype(np.float32)} for depth in (near, half, none)]))
    assert numbers == {"share_without_depth": 0.5, "maps_without_depth": 1, "depth_in_metres": [2.0, 3.75, 20.0]}
    assert findings == [("NO_DEPTH", "2.png")]


def test_depths_that_are_of_another_scale():
    flat = [{"depth": np.full((2, 4), metres, np.float32)} for metres in (2, 3, 3000, 0.05, 40)]
    assert look("depth", Listed(flat))[1] == [("OTHER_SCALE", "2.png"), ("OTHER_SCALE", "3.png")]
    assert look("depth", Listed(flat[:2]))[1] == []
    nothing = {"depth": np.zeros((2, 4), np.float32)}
    findings = Findings()
    names = [b"0.png", b"1.png"]
    millimetres = Listed([nothing, {"depth": np.full((2, 4), 2500, np.float32)}])
    check_truth(
        "depth", View(millimetres, names, np.zeros((2, 2), np.int32), False, findings, "usual", lambda *_: None)
    )
    assert [str(finding) for finding in findings] == [
        "0.png: no pixel of it has a depth",
        "1.png: the median depth of this set is 2,500 m: is data.depth_scale right (KITTI's maps have 256, TUM's 5000, "
        "those in millimetres 1000)?",
    ]


def test_edges():
    some, none = np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32)
    some[0, :2] = 0.5
    truths = [
        {"edges": some, "annotators": np.zeros((4, 2, 4), bool)},
        {"edges": none, "annotators": np.zeros((6, 2, 4))},
    ]
    numbers, findings = look("edges", Listed(truths))
    assert numbers == {"share_of_edge_pixels": 0.125, "maps_without_edge": 1, "annotators_per_image": [4, 5, 6]}
    assert findings == [("NO_EDGE", "1.png")]


def test_tracking():
    box, nothing = np.array([[1, 1, 5, 5]], np.float32), np.zeros((0, 4), np.float32)
    numbers, findings = look("tracking", Listed([{"boxes": b} for b in (box, nothing, box, nothing)], [0, 0, 0, 1]))
    assert numbers == {
        "sequences": 2,
        "frames_per_sequence": [1, 2, 3],
        "frames_without_box": 2,
        "share_without_box": 0.5,
        "sequences_never_visible": 1,
    }
    assert findings == []


def test_faces():
    people = Listed([{}] * 6, [0, 0, 0, 1, 1, 2])
    people.pairs, people.same, people.folds = np.zeros((4, 2)), np.array([1, 0, 0, 0], bool), np.array([0, 0, 1, 1])
    numbers, _ = look("faces", people)
    assert numbers == {
        "people": 3,
        "images_per_person": [1, 2, 3],
        "people_with_one_image": 1,
        "pairs": 4,
        "share_of_one_person": 0.25,
        "folds": 2,
        "pairs_per_fold": [2, 2, 2],
    }


# --- real data --------------------------------------------------------------------------------------------------------


def test_the_blood_cells_have_two_boxes_without_area(real_data):
    report = check("voc", real_data / "bccd")
    assert [(finding.code, finding.file.split("/")[-1], finding.action) for finding in sorted(report.findings)] == [
        ("NO_AREA", "BloodImage_00338.xml", "left out"),
        ("NO_AREA", "BloodImage_00343.xml", "left out"),
    ]
    assert sum(numbers["objects"] for numbers in report.numbers.values()) == 4886


def test_shots_of_one_person_are_no_duplicates(real_data):
    report = check("image_folder", real_data / "att_faces", "full")
    assert report.findings == []
    assert sum(numbers["images"] for numbers in report.numbers.values()) == 400
