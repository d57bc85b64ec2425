"""coco: layouts, numbers, every trap of such a file, and what `mend` makes of it."""

import copy
import json
import pickle

import numpy as np
import pytest

from foveal.core.errors import DataError, MissingSplit, UsageError
from foveal.core.images import write_image
from foveal.datasets import coco, open_dataset
from foveal.datasets.coco_entries import read_contents
from foveal.datasets.coco_masks import read_masks
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld

WHOLE = (1.0, 0.0, 0.0)
GOOD = {
    "info": {"year": 2026},
    "images": [
        {"id": 5, "file_name": "a.png", "width": 20, "height": 10, "licence": 1},
        {"id": 9, "file_name": "b.png", "width": 20, "height": 10},
    ],
    "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 0, "area": 12},
        {"id": 2, "image_id": 5, "category_id": 3, "bbox": [0, 0, 20, 10], "iscrowd": 1},
        {"id": 3, "image_id": 9, "category_id": 3, "bbox": [10.5, 2.25, 4, 5]},
    ],
}


def image(path, width=20, height=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.zeros((height, width, 3), np.uint8))


def write(root, document=GOOD, name="x.json", images=("a.png", "b.png")):
    for at in images:
        image(root / at)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(document if isinstance(document, str) else json.dumps(document))
    return root


def opened(root, split="train", fractions=WHOLE):
    findings = Findings()
    return open_dataset("coco", root, split=split, fractions=fractions, findings=findings), findings


def changed(section, index, **fields):
    """GOOD with some fields of an entry changed, or taken out where they are None."""
    document = copy.deepcopy(GOOD)
    entry = document[section][index]
    entry.update(fields)
    for field in [name for name, value in entry.items() if value is None]:
        del entry[field]
    return document


def added(section, *entries):
    document = copy.deepcopy(GOOD)
    document[section] += entries
    return document


def test_boxes_classes_and_flags(tmp_path):
    dataset, findings = opened(write(tmp_path))
    assert not findings
    assert dataset.class_names == ["cat", "dog"]  # ids 3 and 7
    assert [dataset.path(index) for index in (0, 1)] == [f"{tmp_path}/a.png", f"{tmp_path}/b.png"]
    first, second = dataset[0], dataset.truth(1)
    assert (first["size"], first["boxes"].tolist()) == ((10, 20), [[0, 0, 20, 10]])
    assert first["crowd"].tolist() == [True]
    assert second["boxes"].tolist() == [[1, 2, 4, 6], [10.5, 2.25, 14.5, 7.25]]
    assert second["labels"].tolist() == [1, 0]
    assert second["crowd"].tolist() == second["difficult"].tolist() == [False, False]
    assert (second["boxes"].dtype, second["labels"].dtype, second["crowd"].dtype) == (np.float32, np.int64, bool)
    assert dataset.labels.tolist() == [0, 1, 0]


def test_images_without_objects_stay_in(tmp_path):
    dataset, findings = opened(write(tmp_path, {**GOOD, "annotations": []}))
    assert (len(dataset), dataset.truth(1)["boxes"].shape, list(findings)) == (2, (0, 4), [])


def test_no_python_object_is_kept_for_an_image_or_an_object(tmp_path):
    images = [{"id": number, "file_name": f"{number:05d}.png", "width": 20, "height": 10} for number in range(2000)]
    annotations = [
        {"id": number, "image_id": number // 2, "category_id": 3, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2] * 4]}
        for number in range(1, 4000)
    ]
    for entry in images:
        (tmp_path / entry["file_name"]).touch()
    write(tmp_path, {**GOOD, "images": images, "annotations": annotations}, images=())
    dataset, _ = opened(tmp_path)
    kept = [value for value in vars(dataset).values() if not isinstance(value, np.ndarray)]
    assert len(pickle.dumps(kept)) < 1000
    assert len(pickle.dumps(dataset)) < 2000 * (9 + 8 + 8 + 16) + 4000 * (16 + 8 + 2 + 4) + 3000


def test_a_file_in_which_pycocotools_finds_the_same(tmp_path):
    from pycocotools.coco import COCO

    world = ShapesWorld("detection", "train", images=12)
    coco.write_split((world[index] for index in range(12)), tmp_path, split="train", class_names=world.class_names)
    theirs = COCO(str(tmp_path / "annotations" / "instances_train.json"))
    dataset, _ = opened(tmp_path)
    for index, number in enumerate(theirs.getImgIds()):
        boxes = np.array([entry["bbox"] for entry in theirs.loadAnns(theirs.getAnnIds(number))]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        assert dataset.truth(index)["boxes"].tolist() == boxes.tolist()


def test_the_drawn_world_comes_back(tmp_path):
    for split in ("train", "val", "test"):
        world = ShapesWorld("detection", split, images=20)
        coco.write_split((world[index] for index in range(20)), tmp_path, split=split, class_names=world.class_names)
        dataset, findings = opened(tmp_path, split)
        assert (dataset.class_names, len(dataset), list(findings)) == (world.class_names, 20, [])
        for index in range(20):
            for key, value in world.truth(index).items():
                np.testing.assert_array_equal(dataset.truth(index)[key], value)
            assert dataset[index]["image"].shape == (256, 256, 3)


# --- layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jsons", "folders"),
    [
        ("annotations/instances_{}2017.json", "{}2017"),
        ("annotations/instances_{}2017.json", "images/{}2017"),
        ("annotations/instances_{}.json", "{}"),
        ("annotations/{}.json", "images/{}"),
        ("annotations/instances_{}.json", "images"),
        ("{}.json", "images"),
        ("{}/_annotations.coco.json", "{}"),
        ("{}/labels.json", "{}/images"),
    ],
)
def test_layouts_with_splits(tmp_path, jsons, folders):
    for split, letter in zip(("train", "val", "test"), "abc", strict=True):
        document = {
            **GOOD,
            "images": [{"id": 5, "file_name": f"{letter}.png", "width": 20, "height": 10}],
            "annotations": GOOD["annotations"][1:2],
        }
        name = f"{folders.format(split)}/{letter}.png"
        write(tmp_path, document, jsons.format(split), [name])
        if "instances" in jsons:
            write(tmp_path, "no file of boxes", f"annotations/captions_{split}2017.json", ())
    for split, letter in zip(("train", "val", "test"), "abc", strict=True):
        dataset, findings = opened(tmp_path, split)
        assert dataset.path(0) == f"{tmp_path}/{folders.format(split)}/{letter}.png"
        assert not findings


def test_roboflow_calls_val_valid(tmp_path):
    for split in ("train", "valid"):
        write(tmp_path / split, name="_annotations.coco.json")
    assert opened(tmp_path, "val")[0].path(1) == f"{tmp_path}/valid/b.png"
    with pytest.raises(MissingSplit, match="has images for train and val and none for test"):
        opened(tmp_path, "test")


@pytest.mark.parametrize("place", ["", "images", "data", "images/default"])
def test_one_file_is_drawn_from(tmp_path, place):
    names = [f"{number}.png" for number in range(8)]
    images = [{"id": number, "file_name": name, "width": 20, "height": 10} for number, name in enumerate(names)]
    document = {**GOOD, "images": images, "annotations": []}
    write(tmp_path, document, "annotations/instances_default.json", [f"{place}/{name}".lstrip("/") for name in names])
    parts = [opened(tmp_path, split, (0.5, 0.25, 0.25))[0] for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [4, 2, 2]
    paths = {part.path(index) for part in parts for index in range(len(part))}
    assert paths == {str(tmp_path / place / name) for name in names}
    alone, _ = opened(tmp_path / "annotations/instances_default.json")
    assert alone.path(3) == str(tmp_path / place / "3.png")


def test_val_comes_from_train_where_there_is_none(tmp_path):
    write(tmp_path, name="annotations/instances_train2017.json", images=("train2017/a.png", "train2017/b.png"))
    parts = [opened(tmp_path, split, (0.5, 0.5, 0.0))[0] for split in ("train", "val")]
    assert [len(part) for part in parts] == [1, 1]
    assert parts[0].path(0) != parts[1].path(0)


def test_val_has_the_class_numbers_of_train(tmp_path):
    write(tmp_path, name="train.json")
    names = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 4, "name": "unused"}]
    annotation = {"id": 1, "image_id": 5, "category_id": 2, "bbox": [1, 2, 3, 4]}
    write(tmp_path, {**GOOD, "categories": names, "annotations": [annotation]}, "val.json")
    dataset, _ = opened(tmp_path, "val")
    assert (dataset.class_names, dataset.labels.tolist()) == (["cat", "dog"], [0])
    names[1]["name"] = "cow"
    write(tmp_path, {**GOOD, "categories": names, "annotations": [annotation]}, "val.json")
    with pytest.raises(DataError, match=r"val.json' has objects of the category 'cow', which train does not have"):
        opened(tmp_path, "val")


def test_roots_that_are_none(tmp_path):
    with pytest.raises(UsageError, match=r"There is no file or folder '.*absent'"):
        opened(tmp_path / "absent")
    (tmp_path / "x.txt").touch()
    with pytest.raises(DataError, match="holds no COCO file: expected annotations/instances_train"):
        opened(tmp_path)
    for name in ("one.json", "two.json"):
        write(tmp_path, name=name)
    with pytest.raises(DataError, match=r"holds 2 COCO files \(one.json, two.json\): pass the one"):
        opened(tmp_path)
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataError, match=r"None of the images of '.*one.json' is there: 'a.png' lies"):
        opened(tmp_path / "one.json")


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ('{"images": [\n{"id": 1},\n', "ends in the middle of line 3, after 24 bytes: copy it again"),
        ('{"images": [\n{"id": 1, "file_na', "ends in the middle of line 2, after 31 bytes"),
        ('{"ä": 1,\n "b" 2}', r"is not JSON: Expecting ':' delimiter at line 2, byte 15 of the file"),
        ("[1, 2]", "is a list, as files of results are: expected an object with images"),
        ("17", "is only 17: expected an object"),
        ('{"images": [], "licenses": []}', "has no section 'annotations', only images, licenses"),
        (
            '{"images": {"a": 1}, "annotations": [], "categories": []}',
            "the section 'images' is {\"a\": 1}: expected a li",
        ),
        ("[" * 100_000, "holds lists within lists too deep to read"),
        ('{"a": ' + "1" * 5000 + "}", "holds a number of too many digits"),
    ],
)
def test_files_that_are_no_coco(tmp_path, text, message):
    write(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path)
    assert str(caught.value).startswith(f"'{tmp_path}/x.json'")
    assert "\n" not in str(caught.value)


def test_text_in_other_codes(tmp_path):
    write(tmp_path)
    text = (tmp_path / "x.json").read_text()
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(opened(tmp_path)[0]) == 2
    (tmp_path / "x.json").write_bytes(text.encode("utf-16"))
    with pytest.raises(DataError, match=r"x.json' is not UTF-8 text \(byte 0\): save it as JSON in UTF-8"):
        opened(tmp_path)


def test_nan_is_no_json(tmp_path):
    document = changed("annotations", 0, area=float("nan"), name=["NaN"])
    dataset, findings = opened(write(tmp_path, json.dumps(document, indent=1)))
    line = json.dumps(document, indent=1).split("\n").index('   "area": NaN,') + 1
    assert [(finding.code, finding.place, finding.action) for finding in findings] == [
        ("NOT_JSON", f"line {line}", "noted")
    ]
    assert len(dataset.labels) == 3


# --- entries ----------------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
OBJECT = GOOD["annotations"][0]
LEFT_OUT = [
    (changed("annotations", 0, bbox=[NAN, 2, 3, 4]), "annotation 1", "NOT_FINITE", "NaN or infinite"),
    (changed("annotations", 0, bbox=[1, 2, INF, 4]), "annotation 1", "NOT_FINITE", "(1, 2, inf, 6)"),
    (changed("annotations", 0, bbox=[1, 2, -3, 4]), "annotation 1", "INVERTED", "ends before it begins"),
    (changed("annotations", 0, bbox=[1, 2, 0, 4]), "annotation 1", "NO_AREA", "(1, 2, 1, 6) has no area"),
    (changed("annotations", 0, bbox=[20, 2, 3, 4]), "annotation 1", "OUTSIDE", "outside of its image of 20 x 10"),
    (changed("annotations", 0, bbox=[1, 2, 3]), "annotation 1", "BAD_BOX", "has the bbox [1, 2, 3]: expected [x,"),
    (changed("annotations", 0, bbox=["1", "2", "3", "4"]), "annotation 1", "BAD_BOX", '["1", "2", "3", "4"]'),
    (changed("annotations", 0, bbox="1234"), "annotation 1", "BAD_BOX", '"1234"'),
    (changed("annotations", 0, bbox=None), "annotation 1", "BAD_BOX", "has the bbox null"),
    (changed("annotations", 0, bbox=[1, 2, 3, 10**400]), "annotation 1", "BAD_BOX", "has the bbox [1, 2, 3, 1000"),
    (changed("annotations", 0, image_id=77), "annotation 1", "UNKNOWN_IMAGE", "belongs to the image 77, which"),
    (changed("annotations", 0, image_id=None), "annotation 1", "UNKNOWN_IMAGE", "image null"),
    (changed("annotations", 0, image_id=[9]), "annotation 1", "UNKNOWN_IMAGE", "image [9]"),
    (changed("annotations", 0, category_id=1), "annotation 1", "UNKNOWN_CATEGORY", "belongs to the category 1, which"),
    (added("annotations", OBJECT), "annotation 1", "DUPLICATE_ENTRY", "word for word"),
    (added("annotations", 17), "annotation at position 3", "BAD_ENTRY", "is 17: expected an object"),
    (added("images", None), "image at position 2", "BAD_ENTRY", "is null: expected an object with id and file_name"),
    (added("images", {"file_name": "c.png"}), "image at position 2", "BAD_ID", "has the id null"),
    (added("images", {"id": 6}), "image 6", "NO_NAME", "has the file_name null: expected a text"),
    (added("images", {"id": 6, "file_name": "c.png"}), "image 6", "MISSING_IMAGE", "there is no file 'c.png' in"),
    (added("images", {"id": 6, "file_name": "\0"}), "image 6", "MISSING_IMAGE", "there is no file '\\x00' in"),
    (added("images", {"id": 6, "file_name": "\ud800"}), "image 6", "MISSING_IMAGE", "there is no file '\\ud800' in"),
    (added("images", GOOD["images"][0]), "image 5", "DUPLICATE_ENTRY", "with the same id and name"),
    (added("categories", GOOD["categories"][0]), "category 7", "DUPLICATE_ENTRY", "with the same id and name"),
]


@pytest.mark.parametrize(("document", "place", "code", "text"), LEFT_OUT)
def test_entries_that_are_left_out(tmp_path, document, place, code, text):
    dataset, findings = opened(write(tmp_path, document))
    found = [finding for finding in findings if finding.action != "noted"]
    assert [(finding.file, finding.place, finding.code, finding.action) for finding in found] == [
        ("x.json", place, code, "left out")
    ]
    assert text in found[0].text
    lost = "annotation 1" in place and code != "DUPLICATE_ENTRY"
    assert (len(dataset), len(dataset.labels)) == (2, 2 if lost else 3)
    assert_mended(tmp_path, findings)


def assert_mended(root, findings, dropped=None):
    """`mend` writes a file of which nothing more is to be said, and which holds the same objects."""
    before, _ = opened(root)
    log = coco.mend(root, root / "out", findings, dropped or {})
    write(root / "out", (root / "out/x.json").read_text())
    after, left = opened(root / "out")
    assert [finding for finding in left if finding.action != "noted"] == []
    if not dropped:
        assert after.fingerprint() == before.fingerprint()
    assert {name for name, _, _ in log} == {"x.json"}
    return log


REFUSED = [
    (added("images", {"id": 6, "file_name": "../c.png"}), "image 6", "LEAVES_ROOT"),
    (added("images", {"id": 6, "file_name": "/etc/c.png"}), "image 6", "LEAVES_ROOT"),
    (added("images", {"id": 6, "file_name": "..\\c.png"}), "image 6", "LEAVES_ROOT"),
    (added("images", {"id": 6, "file_name": "C:c.png"}), "image 6", "LEAVES_ROOT"),
    (added("images", {"id": 6, "file_name": "x/../../c.png"}), "image 6", "LEAVES_ROOT"),
]


@pytest.mark.parametrize(("document", "place", "code"), REFUSED)
def test_names_that_leave_the_root(tmp_path, document, place, code):
    document["annotations"].append({**OBJECT, "id": 50, "image_id": 6})
    dataset, findings = opened(write(tmp_path / "inside", document))
    assert [(finding.place, finding.code, finding.action) for finding in findings] == [(place, code, "refused")]
    assert len(dataset) == 2
    with pytest.raises(DataError, match=r"^x.json, image 6: .* leaves the data set's folder: expected a path below it"):
        open_dataset("coco", tmp_path / "inside", split="train", fractions=WHOLE)
    log = assert_mended(tmp_path / "inside", findings)
    assert [entry[1:] for entry in log[1:]] == [("annotation 50", "removed: so was its image")]


def test_links_out_of_the_root_are_noted(tmp_path):
    image(tmp_path / "elsewhere" / "b.png")
    write(tmp_path / "inside", images=["a.png"])
    (tmp_path / "inside" / "b.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    dataset, findings = opened(tmp_path / "inside")
    assert len(dataset) == 2
    assert [(finding.code, finding.file, finding.action) for finding in findings] == [
        ("LINK_OUTSIDE", "b.png", "noted")
    ]
    document = changed("images", 0, file_name="far/b.png")
    (tmp_path / "inside" / "far").symlink_to(tmp_path / "elsewhere")
    _, findings = opened(write(tmp_path / "inside", document, images=()))
    assert [(finding.code, finding.file) for finding in findings] == [
        ("LINK_OUTSIDE", "far"),
        ("LINK_OUTSIDE", "b.png"),
    ]


def test_an_id_that_means_two_things_is_refused(tmp_path):
    document = added("images", {"id": 9, "file_name": "a2.png", "width": 20, "height": 10})
    document["categories"].append({"id": 3, "name": "cow"})
    dataset, findings = opened(write(tmp_path, document, images=("a.png", "b.png", "a2.png")))
    assert [(finding.place, finding.code, finding.action, finding.index) for finding in findings] == [
        ("image 9", "DUPLICATE_ID", "refused", 1),
        ("image 9", "DUPLICATE_ID", "refused", 2),
        ("category 3", "DUPLICATE_ID", "refused", 1),
        ("category 3", "DUPLICATE_ID", "refused", 2),
    ]
    assert (len(dataset), dataset.class_names, dataset.labels.tolist()) == (1, ["dog"], [])
    assert_mended(tmp_path, findings)
    assert json.loads((tmp_path / "out/x.json").read_text())["annotations"] == []


def test_a_category_without_a_name_is_refused(tmp_path):
    _, findings = opened(write(tmp_path, changed("categories", 1, name=None)))
    assert [(finding.place, finding.code, finding.action) for finding in findings] == [
        ("category 3", "NO_NAME", "refused")
    ]


def test_a_file_that_two_images_name_is_one_image(tmp_path):
    document = added("images", {"id": 10, "file_name": "./b.png", "width": 20, "height": 10})
    document["annotations"] += [
        {"id": 8, "image_id": 10, "category_id": 7, "bbox": [1, 2, 3, 4]},  # as annotation 1
        {"id": 9, "image_id": 10, "category_id": 7, "bbox": [5, 5, 5, 5]},
    ]
    dataset, findings = opened(write(tmp_path, document))
    assert [(finding.place, finding.code, finding.action, finding.value) for finding in findings] == [
        ("image 10", "DUPLICATE_FILE", "mended", [1]),
        ("annotation 8", "DUPLICATE_OBJECT", "left out", None),
    ]
    assert dataset.truth(1)["boxes"].tolist() == [[1, 2, 4, 6], [10.5, 2.25, 14.5, 7.25], [5, 5, 10, 10]]
    assert_mended(tmp_path, findings)
    mended = json.loads((tmp_path / "out/x.json").read_text())
    assert [entry["image_id"] for entry in mended["annotations"]] == [9, 5, 9, 9]


def test_boxes_that_stick_out_are_cut(tmp_path):
    dataset, findings = opened(write(tmp_path, changed("annotations", 0, bbox=[-2, 4, 30, 5.5])))
    assert dataset.truth(1)["boxes"][0].tolist() == [0, 4, 20, 9.5]
    assert [(finding.code, finding.action, finding.value) for finding in findings] == [
        ("STICKS_OUT", "mended", [0, 4, 20, 5.5])
    ]
    log = assert_mended(tmp_path, findings)
    assert log == [
        (
            "x.json",
            "annotation 1",
            "bbox became [0, 4, 20, 5.5]: the box (-2, 4, 28, 9.5) sticks out of its image of 20 x 10 pixels",
        )
    ]


def test_ids_of_other_kinds_are_read_as_numbers(tmp_path):
    document = copy.deepcopy(GOOD)
    for entry in document["annotations"]:
        entry.update(image_id=str(entry["image_id"]), category_id=float(entry["category_id"]), id=f"x{entry['id']}")
    dataset, findings = opened(write(tmp_path, document))
    assert dataset.fingerprint() == opened(write(tmp_path / "good"))[0].fingerprint()
    assert [(finding.code, finding.place, finding.text, finding.action) for finding in findings] == [
        ("TEXT_ID", 'annotation "x1"', 'has the image_id "9", which is read as 9, as do 2 more', "noted"),
        ("TEXT_ID", 'annotation "x1"', "has the category_id 7.0, which is read as 7, as do 2 more", "noted"),
    ]


def test_ids_of_annotations_do_not_matter(tmp_path):
    document = copy.deepcopy(GOOD)
    for entry, number in zip(document["annotations"], (0, 0, None), strict=True):
        entry["id"] = number
    dataset, findings = opened(write(tmp_path, document))
    assert dataset.fingerprint() == opened(write(tmp_path / "good"))[0].fingerprint()
    assert [(finding.code, finding.place, finding.action) for finding in findings] == [
        ("ZERO_ID", "annotation 0", "noted"),
        ("NO_ID", "annotation at position 2", "noted"),
        ("DUPLICATE_ID", "annotation 0", "noted"),
    ]


def test_flags_that_are_no_flags(tmp_path):
    document = changed("annotations", 0, iscrowd="1", ignore=1)
    document["annotations"][2]["iscrowd"] = False
    dataset, findings = opened(write(tmp_path, document))
    assert dataset.truth(1)["crowd"].tolist() == dataset.truth(1)["difficult"].tolist() == [True, False]
    assert [(finding.code, finding.place, finding.action) for finding in findings] == [
        ("BAD_ISCROWD", "annotation 1", "mended")
    ]
    assert_mended(tmp_path, findings)
    assert json.loads((tmp_path / "out/x.json").read_text())["annotations"][0]["iscrowd"] == 1


def test_sizes_that_are_not_known_are_read_from_the_file(tmp_path):
    document = changed("images", 0, width="20")
    document["images"][1].update(width=0)
    dataset, findings = opened(write(tmp_path, document))
    assert [(finding.code, finding.place, finding.action) for finding in findings] == [("NO_SIZE", "image 5", "noted")]
    assert dataset.size(1) == (10, 20)


def test_categories_of_one_name_are_one_class(tmp_path):
    dataset, findings = opened(write(tmp_path, changed("categories", 0, name="cat")))
    assert (dataset.class_names, dataset.labels.tolist()) == (["cat"], [0, 0, 0])
    assert [(finding.code, finding.place, finding.action) for finding in findings] == [
        ("DUPLICATE_NAME", "category 3", "noted")
    ]


# --- masks ------------------------------------------------------------------------------------------------------------

INVALID = [
    [[1, 2, NAN, 4, 5, 6]],
    [[1, 2, INF, 4, 5, 6]],
    [[1, 2, 1e12, 4, 5, 6]],
    [[1, 2, 3, 4]],
    [[1, 2, 3, 4, 5, 6, 7]],
    [[]],
    [["1", "2", "3", "4", "5", "6"]],
    [[1, 2, 3, 4, 5, 10**400]],
    [1, 2, 3, 4, 5, 6],
    "polygon",
    {"size": [10, 20], "counts": [199]},
    {"size": [10, 20], "counts": [201]},
    {"size": [10, 20], "counts": [-1, 201]},
    {"size": [10, 20], "counts": [2**63 - 1, 2**63 - 1, 202]},
    {"size": [10, 20], "counts": [100.0, 100.0]},
    {"size": [10, 20], "counts": []},
    {"size": [10, 20], "counts": ""},
    {"size": [10, 20], "counts": "garbage!"},
    {"size": [10, 20], "counts": "ooooooooooooo0"},
    {"size": [10, 20], "counts": "o"},
    {"size": [10, 20], "counts": "é"},
    {"size": [10, 20]},
    {"size": [20, 10], "counts": [200]},
    {"size": [0, 0], "counts": []},
    {"counts": [200]},
]


@pytest.mark.parametrize("segmentation", INVALID)
def test_masks_of_no_use_are_noted_and_their_boxes_count(tmp_path, segmentation):
    dataset, findings = opened(write(tmp_path, changed("annotations", 0, segmentation=segmentation)))
    code = "INVALID_RLE" if isinstance(segmentation, dict) else "INVALID_POLYGON"
    assert [(finding.code, finding.place, finding.action) for finding in findings if finding.code != "NOT_JSON"] == [
        (code, "annotation 1", "noted")
    ]
    assert len(dataset.labels) == 3
    contents = read_contents(tmp_path / "x.json", "x.json", findings := Findings(), masks=True)
    found = {finding.place: (finding.code, finding.action) for finding in findings if finding.code != "NOT_JSON"}
    assert found == {
        "annotation 1": (code, "left out"),
        "annotation 2": ("NO_MASK", "left out"),
        "annotation 3": ("NO_MASK", "left out"),
    }
    assert contents.objects.counts.tolist() == [0, 0]


def test_masks_in_the_order_of_the_images(tmp_path):
    document = copy.deepcopy(GOOD)
    triangle, square = [1, 2, 5, 2, 5, 6], [10, 1, 12, 1, 12, 3, 10, 3]
    document["annotations"][0]["segmentation"] = [triangle, square]
    document["annotations"][1]["segmentation"] = {"size": [10, 20], "counts": [150, 50]}
    document["annotations"][2]["segmentation"] = [square]
    document["annotations"][2]["bbox"] = [0, 0, 0, 0]  # whoever asks for masks asks for no box
    contents = read_contents(write(tmp_path, document) / "x.json", "x.json", findings := Findings(), masks=True)
    assert not findings
    assert contents.objects.counts.tolist() == [1, 2]
    masks = contents.masks
    mask = masks.mask_of(0)
    assert (mask.shape, mask.sum(), mask[:, 15:].all()) == ((10, 20), 50, True)  # column by column
    assert masks.polygons_of(0) == []
    assert masks.mask_of(1) is None
    assert [polygon.tolist() for polygon in masks.polygons_of(1)] == [
        [[1, 2], [5, 2], [5, 6]],
        [[10, 1], [12, 1], [12, 3], [10, 3]],
    ]
    second = contents.subset(np.array([1]))
    assert (second.names, second.objects.counts.tolist()) == (["b.png"], [2])
    assert second.masks.polygons_of(1)[0].tolist() == [[10, 1], [12, 1], [12, 3], [10, 3]]


def test_run_lengths_are_those_of_pycocotools():
    from pycocotools import mask as theirs

    rng = np.random.default_rng(0)
    truths = [
        (rng.random(rng.integers(1, 60, 2)) < share).astype(np.uint8)
        for share in [0, 0.02, 0.5, 0.98, 1]
        for _ in range(20)
    ]
    packed = [theirs.encode(np.asfortranarray(truth)) for truth in truths]
    parsed = [{"size": list(one["size"]), "counts": one["counts"].decode()} for one in packed]
    said = {}
    masks, usable = read_masks(
        parsed, np.array([truth.shape for truth in truths]), lambda row, *why: said.update({row: why[0]})
    )
    assert said == {row: "NO_AREA" for row, truth in enumerate(truths) if not truth.any()}
    assert usable.tolist() == [bool(truth.any()) for truth in truths]
    for row, truth in enumerate(truths):
        np.testing.assert_array_equal(masks.mask_of(row), truth)


# --- mending ----------------------------------------------------------------------------------------------------------


def test_mend_keeps_all_else_to_the_letter(tmp_path):
    document = changed("annotations", 0, bbox=[1, 2, 0, 4])
    for indent in (None, 2, "\t"):
        write(tmp_path, json.dumps(document, indent=indent))
        _, findings = opened(tmp_path)
        log = coco.mend(tmp_path, tmp_path / "out", findings, {})
        assert log == [("x.json", "annotation 1", "removed: the box (1, 2, 1, 6) has no area")]
        expected = {**document, "annotations": document["annotations"][1:]}
        assert (tmp_path / "out/x.json").read_text() == json.dumps(expected, indent=indent)


def test_mend_copies_what_is_good(tmp_path):
    write(tmp_path, json.dumps(GOOD).replace("1,", "1 ,"))
    assert coco.mend(tmp_path, tmp_path / "out", [], {}) == []
    assert (tmp_path / "out/x.json").read_bytes() == (tmp_path / "x.json").read_bytes()


def test_mend_takes_images_out(tmp_path):
    write(tmp_path, name="annotations/instances_train.json", images=["train/a.png", "train/b.png"])
    log = coco.mend(tmp_path, tmp_path / "out", [], {"train/b.png": "is cut off", "a.png": "no such path"})
    assert log == [
        ("annotations/instances_train.json", "image 9", "removed: is cut off"),
        ("annotations/instances_train.json", "annotation 1", "removed: so was its image"),
        ("annotations/instances_train.json", "annotation 3", "removed: so was its image"),
    ]
    mended = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert mended == {**GOOD, "images": GOOD["images"][:1], "annotations": GOOD["annotations"][1:2]}


@pytest.mark.parametrize(
    ("area", "read"), [(7.5, 7.5), (None, 12), (0, 12), (-3, 12), ("7", 12), (float("nan"), 12), (10**400, 12)]
)
def test_the_area_is_that_of_the_file_or_else_of_the_box(tmp_path, area, read):
    dataset, _ = opened(write(tmp_path, changed("annotations", 0, area=area)))
    assert dataset.truth(1)["area"].tolist() == [read, 20]
    assert dataset[1]["area"].tolist() == [read, 20]
    cats = dataset.with_classes({"cat": "cat"})
    assert [cats.truth(index)["area"].tolist() for index in (0, 1)] == [[200], [20]]


def test_areas_are_written_as_they_were_read(tmp_path):
    (tmp_path / "out").mkdir()
    dataset, _ = opened(write(tmp_path / "in", changed("annotations", 0, area=7.5)))
    coco.write_split((dataset[index] for index in range(2)), tmp_path / "out", split="train", class_names=["a", "b"])
    written = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())["annotations"]
    assert [entry["area"] for entry in written] == [200, 7.5, 20]
