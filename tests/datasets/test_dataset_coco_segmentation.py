"""coco_segmentation: polygons and run lengths on 6 x 8 pixels, worked out by hand, and what is wrong with a file."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as reference

from foveal.core.errors import DataError
from foveal.datasets import open_dataset
from foveal.datasets.coco_masks import read_masks
from foveal.datasets.coco_segmentation import mend, write_split
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]  # by id: cat is 1, dog is 2


def rectangle(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    """A polygon along the edges of pixels: it covers [left, right) x [top, bottom)."""
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(segmentation, category: int = 3, **fields) -> dict:
    return {"image_id": 1, "category_id": category, "segmentation": segmentation, "iscrowd": 0, **fields}


def coco(root: Path, *annotations: dict, size=(6, 8), categories=None, **image) -> Path:
    """One image, 1.png, with these annotations; `image`: more of its entry, in place of height and width."""
    root.mkdir(exist_ok=True)
    Image.new("RGB", (8, 6)).save(root / "1.png")
    entry = {"id": 1, "file_name": "1.png", "height": size[0], "width": size[1], **image}
    numbered = [{"id": number, **entry} for number, entry in enumerate(annotations, 1)]
    document = {"images": [entry], "annotations": numbered, "categories": categories or CATEGORIES}
    (root / "labels.json").write_text(json.dumps(document))
    return root


def opened(root: Path, split: str = "train", findings=None, fractions=(1, 0, 0)):
    return open_dataset("coco_segmentation", root, split=split, fractions=fractions, findings=findings)


def rows(dataset, index: int = 0) -> list[str]:
    """The mask as text, a row a line; 255 is x."""
    return ["".join("x" if value == 255 else str(value) for value in row) for row in dataset[index]["mask"].tolist()]


def test_polygons_and_their_classes(tmp_path):
    dataset = opened(coco(tmp_path, annotation(rectangle(1, 1, 5, 4)), annotation(rectangle(6, 0, 8, 6), 7)))
    assert dataset.class_names == ["background", "cat", "dog"]
    assert set(dataset[0]) == {"image", "path", "size", "mask"}
    assert dataset[0]["mask"].dtype == np.int64
    assert rows(dataset) == [
        "00000022",
        "01111022",
        "01111022",
        "01111022",
        "00000022",
        "00000022",
    ]  # fmt: skip
    assert (dataset.truth(0)["mask"] == dataset[0]["mask"]).all()


def test_several_polygons_and_corners_outside(tmp_path):
    dataset = opened(coco(tmp_path, annotation(rectangle(-2, -3, 2, 2) + rectangle(6, 4, 9, 7))))
    assert rows(dataset) == [
        "11000000",
        "11000000",
        "00000000",
        "00000000",
        "00000011",
        "00000011",
    ]


def test_corners_are_the_decimals_of_the_file(tmp_path):
    # The third corner as the nearest float32, 0.69999999, gives other pixels in rows 3 and 4.
    assert rows(opened(coco(tmp_path, annotation([[0, 0, 8, 0, 0.7, 5.8]])))) == [
        "11111110",
        "11111100",
        "11111000",
        "11110000",
        "01000000",
        "00000000",
    ]


def test_the_smaller_object_lies_on_top_whatever_the_order(tmp_path):
    large, small = annotation(rectangle(0, 0, 8, 4), 3), annotation(rectangle(2, 2, 4, 6), 7)
    expected = [
        "11111111",
        "11111111",
        "11221111",
        "11221111",
        "00220000",
        "00220000",
    ]
    for name, order in (("a", (large, small)), ("b", (small, large))):
        assert rows(opened(coco(tmp_path / name, *order))) == expected


def test_of_two_alike_the_later_lies_on_top(tmp_path):
    same = rectangle(0, 0, 2, 1)
    assert rows(opened(coco(tmp_path / "a", annotation(same, 3), annotation(same, 7))))[0] == "22000000"
    assert rows(opened(coco(tmp_path / "b", annotation(same, 7), annotation(same, 3))))[0] == "11000000"


def test_a_crowd_is_ignored_but_for_objects_on_it(tmp_path):
    # Down the columns of 6 pixels: 12 of nothing, then columns 2 and 3, then the rest.
    crowd = annotation({"size": [6, 8], "counts": [12, 12, 24]}, 3, iscrowd=1)
    dog = annotation(rectangle(0, 0, 8, 2), 7)
    for name, order in (("a", (crowd, dog)), ("b", (dog, crowd))):
        assert rows(opened(coco(tmp_path / name, *order))) == ["22222222"] * 2 + ["00xx0000"] * 4


def test_run_lengths_of_both_kinds(tmp_path):
    lengths = [1, 2, 4, 2, 39]  # column 0: rows 1, 2; column 1: rows 1, 2
    packed = reference.frPyObjects({"size": [6, 8], "counts": lengths}, 6, 8)["counts"].decode()
    expected = ["00000000", "11000000", "11000000"] + ["00000000"] * 3
    for name, counts in (("plain", lengths), ("packed", packed)):
        dataset = opened(coco(tmp_path / name, annotation({"size": [6, 8], "counts": counts})))
        assert rows(dataset) == expected


def test_a_category_called_background_is_class_0(tmp_path):
    names = ["thing", "background", "cat"]
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    objects = [annotation(rectangle(number, 0, number + 1, 1), number) for number in range(3)]
    dataset = opened(coco(tmp_path, *objects, categories=categories))
    assert dataset.class_names == ["background", "thing", "cat"]
    assert rows(dataset)[0] == "10200000"


def test_an_image_of_another_size(tmp_path):
    dataset = opened(coco(tmp_path, annotation(rectangle(0, 0, 2, 2)), size=(8, 6)))
    assert dataset.truth(0)["mask"].shape == (8, 6)
    with pytest.raises(DataError) as caught:
        dataset[0]
    assert str(caught.value) == (
        f"'{tmp_path}/1.png' has 8 x 6 pixels, but the COCO file gives it and its masks 6 x 8: correct the file, or "
        "the image (an EXIF turn has been applied)."
    )


def test_a_size_that_the_file_does_not_say_is_that_of_the_image(tmp_path):
    root = coco(tmp_path, annotation(rectangle(0, 0, 2, 1)), height=None, width=None)
    assert rows(opened(root, findings=Findings())) == ["11000000"] + ["00000000"] * 5
    coco(tmp_path, annotation({"size": [8, 6], "counts": [0, 6, 42]}), height=None, width=None)
    with pytest.raises(DataError, match=r"has a mask of 6 x 8 pixels in the COCO file, but its image has 8 x 6"):
        opened(root, findings=Findings()).truth(0)


def test_what_would_take_all_memory_is_refused(tmp_path):
    coco(tmp_path / "size", annotation(rectangle(0, 0, 2, 1)), size=(100_000, 100_000))
    with pytest.raises(DataError, match="has 100000 x 100000 pixels in the COCO file; the limit is 268,435,456"):
        opened(tmp_path / "size").truth(0)
    zigzag = [[0, 0, 500_000, 1] * 10]
    coco(tmp_path / "outline", annotation(zigzag), size=(200, 1_000_000))
    with pytest.raises(DataError, match=r"has an outline of 10,000,000 pixels in the COCO file, and 4,194,304 are"):
        opened(tmp_path / "outline").truth(0)


BAD = (
    annotation([[0, 0, 2, 0]]),
    annotation([[0, 0, 2, 0, float("nan"), 1]]),
    annotation([[0, 0, 2, 0, 1e12, 1]]),
    annotation({"size": [6, 8], "counts": [12, 12]}),
    annotation({"size": [6, 8], "counts": "garbage!"}),
    annotation({"size": [8, 6], "counts": [24, 24]}),
    annotation([]),
)


def test_bad_masks_are_left_out_and_mended(tmp_path):
    root = coco(tmp_path / "set", *BAD, annotation(rectangle(0, 0, 2, 1)))
    findings = Findings()
    assert rows(opened(root, findings=findings)) == ["11000000"] + ["00000000"] * 5
    left_out = [finding for finding in findings if finding.action == "left out"]
    assert [(finding.code, finding.file, finding.index) for finding in sorted(left_out, key=lambda one: one.index)] == [
        ("INVALID_POLYGON", "labels.json", 0),
        ("INVALID_POLYGON", "labels.json", 1),
        ("INVALID_POLYGON", "labels.json", 2),
        ("INVALID_RLE", "labels.json", 3),
        ("INVALID_RLE", "labels.json", 4),
        ("INVALID_RLE", "labels.json", 5),
        ("NO_MASK", "labels.json", 6),
    ]
    log = mend(root, tmp_path / "mended", findings, {})
    assert len(log) == 7
    (tmp_path / "mended/1.png").write_bytes((root / "1.png").read_bytes())
    again = Findings()
    assert rows(opened(tmp_path / "mended", findings=again)) == ["11000000"] + ["00000000"] * 5
    assert again == []


def test_too_many_categories(tmp_path):
    categories = [{"id": number, "name": f"class {number}"} for number in range(1, 256)]
    root = coco(tmp_path, annotation(rectangle(0, 0, 2, 1), 255), categories=categories)
    with pytest.raises(DataError, match="has 255 categories, and masks have numbers for 254"):
        opened(root)
    coco(tmp_path, annotation(rectangle(0, 0, 2, 1), 254), categories=categories[:-1])
    assert opened(root)[0]["mask"][0, 0] == 254


def many(root: Path) -> Path:
    """Six images, the k-th with its first k columns covered."""
    for number in range(6):
        Image.new("RGB", (8, 6)).save(root / f"{number}.png")
    images = [{"id": number, "file_name": f"{number}.png", "height": 6, "width": 8} for number in range(6)]
    boxes = [annotation(rectangle(0, 0, number, 6)) | {"id": 9 + number, "image_id": number} for number in range(1, 6)]
    document = {"images": images, "annotations": boxes, "categories": CATEGORIES}
    (root / "labels.json").write_text(json.dumps(document))
    return root


def test_subsets_keep_images_and_masks_together(tmp_path):
    many(tmp_path)
    found = {}
    for split in ("train", "val", "test"):
        dataset = opened(tmp_path, split, fractions=(0.5, 0.17, 0.33))
        for index in range(len(dataset)):
            found[Path(dataset.path(index)).stem] = rows(dataset, index)[0].count("1")
    assert found == {"0": 0, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5}
    whole = opened(tmp_path)
    part = whole.subset(np.array([4, 2]))
    assert [rows(part, index)[0] for index in range(2)] == ["11110000", "11000000"]
    copied = pickle.loads(pickle.dumps(part))
    assert rows(copied)[0] == "11110000"
    assert copied.fingerprint() == part.fingerprint() != whole.fingerprint()


def test_another_corner_is_another_fingerprint(tmp_path):
    first = opened(coco(tmp_path, annotation(rectangle(0, 0, 2, 1)))).fingerprint()
    assert opened(coco(tmp_path, annotation(rectangle(0, 0, 2, 1)))).fingerprint() == first
    assert opened(coco(tmp_path, annotation(rectangle(0, 0, 3, 1)))).fingerprint() != first


def test_it_holds_no_python_object_an_image(tmp_path):
    dataset = opened(many(tmp_path))
    kept = [value for value in vars(dataset).values() if type(value) in (list, tuple, dict)]
    assert kept == [dataset.class_names]
    assert all(isinstance(values, np.ndarray) for values in dataset._masks)


def test_the_drawn_world_comes_back_as_it_was(tmp_path):
    drawn = {}
    for split in ("train", "val", "test"):
        world = ShapesWorld("segmentation", split, images=3, size=(48, 64))
        drawn[split] = [world[index] for index in range(3)]
        drawn[split][0]["mask"][:5, :7] = 255
        drawn[split][1]["mask"][-1, -1] = 1
        write_split(drawn[split], tmp_path, split=split, class_names=world.class_names)
    for split, samples in drawn.items():
        findings = Findings()
        dataset = opened(tmp_path, split, findings=findings)
        assert findings == []
        assert dataset.class_names == world.class_names
        assert len(dataset) == 3
        for index, sample in enumerate(samples):
            assert (dataset[index]["mask"] == sample["mask"]).all()


def test_classes_without_a_background_get_one(tmp_path):
    sample = {"image": np.zeros((2, 2, 3), np.uint8), "mask": np.array([[0, 1], [1, 255]])}
    write_split([sample], tmp_path, split="train", class_names=["road", "sky"])
    dataset = opened(tmp_path)
    assert dataset.class_names == ["background", "road", "sky"]
    assert dataset[0]["mask"].tolist() == [[1, 2], [2, 255]]


@pytest.mark.parametrize(
    ("segmentation", "code"),
    [
        ([[60, 60, 70, 60, 70, 70]], "OUTSIDE"),
        ([[-9, 1, 0, 1, 0, 9]], "OUTSIDE"),
        ([[60, 60, 70, 60, 70, 70], [40, 40, 60, 40, 60, 60]], None),
        ({"size": [48, 48], "counts": [2304]}, "NO_AREA"),
        ({"size": [48, 48], "counts": [2303, 1]}, None),
    ],
)
def test_an_object_without_a_pixel_is_left_out(segmentation, code):
    said = []
    _, usable = read_masks([segmentation], np.array([[48, 48]]), lambda row, code, text: said.append(code))
    assert said == ([code] if code else [])
    assert usable.tolist() == [code is None]
