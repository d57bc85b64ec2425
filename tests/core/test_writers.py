"""Predictions in files: JSON lines, CSV, COCO, YOLO, crops, and names that do not get into each other's way."""

import csv
import json
import os
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from foveal.core import formats, writers
from foveal.core.errors import DataWarning, UsageError
from foveal.core.formats import Formats
from foveal.core.images import read_image, write_image
from foveal.core.types import Prediction

NAMES = ["cell", "nucleus"]


def found(path: str, boxes=((10, 20, 30, 60), (0, 0, 100, 80)), labels=(1, 0), scores=(0.875, 0.25)) -> Prediction:
    """Two objects in an image of 100 x 80 pixels."""
    return Prediction(
        path=path,
        size=(80, 100),
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        scores=torch.tensor(scores, dtype=torch.float32),
        names=[NAMES[label] for label in labels],
    )


def nothing(path: str) -> Prediction:
    return found(path, (), (), ())


@pytest.fixture
def write(writing):
    """The predictions, by name, in a new folder of results."""

    def in_folder(
        folder: Path, predictions: dict[str, Prediction], *formats: str, margin: float = 0.0, **options
    ) -> Path:
        files = {name: prediction["path"] for name, prediction in predictions.items()}
        wanted = Formats(formats, NAMES, margin)
        with writing(folder / "out", files, formats=wanted, **options) as writer:
            for name, prediction in predictions.items():
                writer.write(prediction, name)
        return folder / "out"

    return in_folder


def image(folder: Path, name: str) -> str:
    """An image of 100 x 80 pixels: red, with green from (10, 20) to (30, 60)."""
    pixels = np.full((80, 100, 3), (250, 0, 0), np.uint8)
    pixels[20:60, 10:30] = (0, 250, 0)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, pixels)
    return str(path)


def paths_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_line_of_json_holds_boxes_in_hundredths_of_a_pixel(write, tmp_path):
    out = write(tmp_path, {"a.jpg": found("a.jpg", [(10.123, 20, 30.456, 60)], [1], [0.87654321])})
    assert json.loads((out / "predictions.jsonl").read_text()) == {
        "path": "a.jpg",
        "size": [80, 100],
        "boxes": [[10.12, 20.0, 30.46, 60.0]],
        "labels": [1],
        "scores": [0.876543],
        "names": ["nucleus"],
    }


def test_the_table_has_a_row_a_box_and_none_for_an_image_without(write, tmp_path):
    out = write(tmp_path, {"a.jpg": nothing("a.jpg"), "b,c.jpg": found("b,c.jpg")})
    with (out / "predictions.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "height", "width", "name", "score", "x1", "y1", "x2", "y2"],
            ["b,c.jpg", "80", "100", "nucleus", "0.875000", "10.00", "20.00", "30.00", "60.00"],
            ["b,c.jpg", "80", "100", "cell", "0.250000", "0.00", "0.00", "100.00", "80.00"],
        ]
    assert len((out / "predictions.jsonl").read_text().splitlines()) == 2


def test_coco_has_a_box_as_corner_and_sides_and_classes_from_one(write, tmp_path):
    out = write(tmp_path, {"sub/a.jpg": nothing("a.jpg"), "b.jpg": found("b.jpg")}, "coco")
    assert json.loads((out / "coco_results.json").read_text()) == [
        {"image_id": 2, "category_id": 2, "bbox": [10.0, 20.0, 20.0, 40.0], "score": 0.875},
        {"image_id": 2, "category_id": 1, "bbox": [0.0, 0.0, 100.0, 80.0], "score": 0.25},
    ]
    assert json.loads((out / "coco_images.json").read_text()) == {
        "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "nucleus"}],
        "images": [
            {"id": 1, "file_name": "sub/a.jpg", "height": 80, "width": 100},
            {"id": 2, "file_name": "b.jpg", "height": 80, "width": 100},
        ],
    }


def test_coco_without_any_box_is_an_empty_list(write, tmp_path):
    out = write(tmp_path, {"a.jpg": nothing("a.jpg")}, "coco")
    assert json.loads((out / "coco_results.json").read_text()) == []


def test_pycocotools_reads_coco(write, tmp_path):
    from pycocotools.coco import COCO

    out = write(tmp_path, {"a.jpg": found("a.jpg"), "b.jpg": found("b.jpg")}, "coco")
    truth = json.loads((out / "coco_images.json").read_text()) | {"annotations": []}
    (out / "truth.json").write_text(json.dumps(truth))
    results = COCO(out / "truth.json").loadRes(str(out / "coco_results.json"))
    assert [entry["area"] for entry in results.anns.values()] == [800, 8000] * 2


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["000000123.jpg", "000000007.jpg"], [123, 7]),
        (["val/COCO_val2014_000000123.jpg", "12.png"], [123, 12]),
        (["000000123.jpg", "b.jpg"], [1, 2]),
        (["x/7.jpg", "y/007.jpg"], [1, 2]),  # one number twice
        (["IMG_123.jpg", "IMG_124.jpg"], [1, 2]),
    ],
)
def test_numbers_of_images_are_those_in_names_like_cocos(write, tmp_path, names, numbers):
    out = write(tmp_path, {name: found(name) for name in names}, "coco")
    images = json.loads((out / "coco_images.json").read_text())["images"]
    assert [entry["id"] for entry in images] == numbers
    results = json.loads((out / "coco_results.json").read_text())
    assert [entry["image_id"] for entry in results] == [number for number in numbers for _ in range(2)]


def test_coco_is_whole_after_every_flush(writing, tmp_path):
    with writing(tmp_path / "out", formats=Formats(("coco",), NAMES)) as writer:
        for count in range(4):
            writer.commit()
            assert len(json.loads((tmp_path / "out/coco_results.json").read_text())) == 2 * count
            assert len(json.loads((tmp_path / "out/coco_images.json").read_text())["images"]) == count
            writer.write(found(f"{count}.jpg"), f"{count}.jpg")


def test_yolo_has_middles_and_sides_as_shares(write, tmp_path):
    out = write(tmp_path, {"sub/a.jpg": found("a.jpg"), "b.jpg": nothing("b.jpg")}, "yolo")
    # (10 + 30) / 2 / 100, (20 + 60) / 2 / 80, 20 / 100, 40 / 80
    assert (out / "yolo/sub/a.txt").read_text() == (
        "1 0.200000 0.500000 0.200000 0.500000 0.875000\n0 0.500000 0.500000 1.000000 1.000000 0.250000\n"
    )
    assert (out / "yolo/b.txt").read_text() == ""
    assert (out / "yolo/classes.txt").read_text() == "cell\nnucleus\n"


def test_files_of_images_that_differ_by_suffix_alone_are_kept_apart(write, tmp_path):
    names = ["a.jpg.png", "a.jpg", "a.png", "classes.jpg"]
    out = write(tmp_path, {name: found(image(tmp_path, name)) for name in names}, "yolo", "crops")
    expected = ["a.jpg.txt", "a.png.txt", "a.txt", "classes.jpg.txt", "classes.txt"]
    assert paths_below(out / "yolo") == expected
    assert len(paths_below(out / "crops" / "cell")) == 4


def test_a_crop_is_what_is_in_the_box(write, tmp_path):
    out = write(tmp_path, {"sub/a.png": found(image(tmp_path, "a.png"))}, "crops")
    assert paths_below(out / "crops") == ["cell/sub/a_1.jpg", "nucleus/sub/a_0.jpg"]
    crop = read_image(out / "crops/nucleus/sub/a_0.jpg")
    assert crop.shape == (40, 20, 3) and (crop[..., 1] > 200).all()
    assert read_image(out / "crops/cell/sub/a_1.jpg").shape == (80, 100, 3)


def test_a_margin_is_a_share_of_the_box_and_ends_with_the_image(write, tmp_path):
    out = write(tmp_path, {"a.png": found(image(tmp_path, "a.png"))}, "crops", margin=0.6)
    # 40 + 2 * 24 pixels of height, but 80 in the image; 20 + 12 of width, of which two to the left are not there.
    assert read_image(out / "crops/nucleus/a_0.jpg").shape == (80, 42, 3)


def test_a_box_without_area_is_a_crop_of_one_pixel(write, tmp_path):
    boxes = [(100.0, 80, 100, 80), (5, 5, 5, 5)]
    out = write(tmp_path, {"a.png": found(image(tmp_path, "a.png"), boxes)}, "crops")
    assert read_image(out / "crops/nucleus/a_0.jpg").shape == (1, 1, 3)
    assert read_image(out / "crops/cell/a_1.jpg").shape == (1, 1, 3)


def test_names_of_classes_become_safe_folders(writing, tmp_path):
    names = ["../up", "a/b", "a:b", "CON.", "", "Cat", "cat", "n\nl"]
    predicted = found(image(tmp_path, "a.png"), [(0, 0, 9, 9)] * 8, [0] * 8, [0.5] * 8)
    predicted["labels"], predicted["names"] = torch.arange(8), names
    with writing(tmp_path / "out", formats=Formats(("crops",), names)) as writer:
        writer.write(predicted, "a.png")
    folders = sorted(path.name for path in (tmp_path / "out" / "crops").iterdir())
    assert folders == sorted(["_up", "a_b", "a_b_2", "CON", "_", "Cat", "cat_6", "n_l"])


def test_a_name_that_is_no_text_is_written_as_far_as_it_is(write, tmp_path):
    path = "caf\udce9.png"  # of bytes that are not UTF-8
    out = write(tmp_path, {"a.png": Prediction(**{**found(path), "names": ["half \ud83d", "\U0001f600"]})})
    first, second = (out / "predictions.csv").read_bytes().splitlines()[1:]
    assert first.startswith(b"caf\xe9.png,80,100,half \xef\xbf\xbd,0.875")
    assert second.startswith("caf\udce9.png,80,100,\U0001f600,0.25".encode(errors="surrogateescape"))


def test_a_file_gone_since_keeps_its_results_and_has_no_crops(write, tmp_path):
    out = write(tmp_path, {"a.png": found("/nowhere/a.png"), "b.png": found(image(tmp_path, "b.png"))}, "crops", "coco")
    assert len(json.loads((out / "coco_results.json").read_text())) == 4
    assert paths_below(out / "crops") == ["cell/b_1.jpg", "nucleus/b_0.jpg"]


def test_a_file_too_large_to_be_drawn_or_cut_keeps_its_results_and_says_so(write, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "read_image", partial(read_image, max_pixels=100 * 80 - 1))
    path = image(tmp_path, "a.png")
    with pytest.warns(DataWarning) as said:
        out = write(tmp_path / "out", {"a.png": found(path)}, "crops", draw=lambda image, _: image)
    assert paths_below(out) == ["failures.jsonl", "predictions.csv", "predictions.jsonl", "summary.json"]
    sentence = (
        f"'{path}' is predicted, but neither drawn nor cut into crops: it has 100 x 80 pixels, 0 million; the limit"
    )
    assert all(str(each.message).startswith(sentence) for each in said)


@pytest.mark.parametrize(("limit", "most"), [(100 * 80, 4), (100 * 80 - 1, 1)])
def test_of_large_images_one_at_a_time_is_drawn(write, tmp_path, monkeypatch, limit, most):
    monkeypatch.setattr(writers, "_LARGE", limit)
    lock, at_work, seen, others = threading.Lock(), [0], [], threading.Event()

    def draw(image, _):
        with lock:
            at_work[0] += 1
            seen.append(at_work[0])
            if at_work[0] == max(most, 2):
                others.set()
        others.wait(20 if most > 1 else 0.1)  # for those that should be there, or that should not
        with lock:
            at_work[0] -= 1
        return image

    write(tmp_path, {f"{number}.png": found(image(tmp_path, f"{number}.png")) for number in range(4)}, draw=draw)
    assert max(seen) == most


def test_an_image_longer_than_a_jpeg_can_be_is_not_drawn(write, tmp_path):
    path = str(tmp_path / "long.png")
    write_image(path, np.zeros((1, 65_600, 3), np.uint8))
    long = Prediction(**{**found(path), "size": (1, 65_600)})
    with pytest.warns(
        DataWarning, match="is predicted, but neither drawn .*: it is longer than the 65,000 pixels of a"
    ):
        out = write(tmp_path, {"long.png": long}, draw=lambda image, _: image)
    assert paths_below(out) == ["failures.jsonl", "predictions.csv", "predictions.jsonl", "summary.json"]


def test_a_name_in_any_bytes_or_of_any_length_comes_through(write, tmp_path):
    name, long = os.fsdecode(b"caf\xe9.png"), f"{'x' * 251}.png"
    predictions = {each: found(image(tmp_path, "a.png")) for each in (name, long)}
    out = write(tmp_path, predictions, "coco", "yolo", "crops", draw=lambda picture, _: picture)
    assert (out / "yolo" / os.fsdecode(b"caf\xe9.txt")).is_file()
    assert json.loads((out / "coco_images.json").read_text())["images"][0]["file_name"] == name
    for folder in ("crops", "yolo", "pictures"):
        assert len([path for path in paths_below(out / folder) if "x" * 200 in path]) == (2 if folder == "crops" else 1)


def test_an_unknown_format_is_refused_with_the_nearest(write, tmp_path):
    with pytest.raises(UsageError, match="no format of results 'yol'; the nearest are yolo"):
        write(tmp_path, {}, "yol")
    assert paths_below(tmp_path / "out") == []


def test_boxes_are_asked_for_where_there_are_none(write, tmp_path):
    predicted = found("a.jpg")
    del predicted["boxes"]
    with pytest.raises(UsageError, match="The format coco is of boxes or masks, and this task finds none"):
        write(tmp_path, {"a.jpg": predicted}, "coco")


def test_what_an_earlier_run_wrote_goes_when_it_is_overwritten(write, tmp_path):
    write(
        tmp_path, {"a.png": found(image(tmp_path, "a.png"))}, "coco", "yolo", "crops", draw=lambda picture, _: picture
    )
    out = write(tmp_path, {"b.png": found(image(tmp_path, "b.png"))}, "yolo", overwrite=True)
    assert paths_below(out) == [
        "failures.jsonl",
        "predictions.csv",
        "predictions.jsonl",
        "summary.json",
        "yolo/b.txt",
        "yolo/classes.txt",
    ]
