"""Predictions with masks in files: PNG, probabilities, lines, the table of areas, and COCO's polygons."""

import csv
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from foveal.core.errors import MachineError, UsageError
from foveal.core.formats import Formats, Item
from foveal.core.mask_formats import Masks, Probabilities
from foveal.core.masks import voc_colors
from foveal.core.types import Prediction

NAMES = ["background", "cell", "nucleus"]
# 24 pixels: two cells of 6 and 1 pixels, a nucleus of 2, one of which nothing is known, 14 of background.
MASK = np.array(
    [
        [1, 1, 0, 0, 0, 0],
        [1, 2, 0, 0, 0, 255],
        [1, 2, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 1],
    ],
    np.uint8,
)


def found(path: str, mask: np.ndarray = MASK, **entries) -> Prediction:
    values, counts = np.unique(mask[mask != 255], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return Prediction(
        path=path,
        size=mask.shape,
        labels=torch.from_numpy(values[order].astype(np.int64)),
        scores=torch.tensor([0.75, 0.5, 0.25])[: len(order)],
        names=[NAMES[value] for value in values[order]],
        mask=torch.from_numpy(mask),
        pixels=torch.from_numpy(counts[order]),
        **entries,
    )


@pytest.fixture
def write(writing):
    """The predictions of each file, by the file's name, in a new folder of results."""

    def in_folder(folder: Path, predictions: dict[str, list[Prediction]], *formats: str, **options) -> Path:
        files = {name: each[0]["path"] for name, each in predictions.items()}
        with writing(folder / "out", files, formats=Formats(formats, NAMES), **options) as writer:
            for name, each in predictions.items():
                for prediction in each:
                    writer.write(prediction, name)
        return folder / "out"

    return in_folder


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def paths_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_line_names_the_mask_and_counts_its_pixels(write, tmp_path):
    out = write(tmp_path, {"sub/a.jpg": [found("in/sub/a.jpg")]})
    assert lines(out) == [
        {
            "path": "in/sub/a.jpg",
            "size": [4, 6],
            "labels": [0, 1, 2],
            "scores": [0.75, 0.5, 0.25],
            "names": ["background", "cell", "nucleus"],
            "mask": "masks/sub/a.jpg.png",
            "pixels": [14, 7, 2],
        }
    ]
    with Image.open(out / "masks/sub/a.jpg.png") as picture:
        assert picture.mode == "P" and (np.asarray(picture) == MASK).all()
        assert (np.asarray(picture.convert("RGB")) == voc_colors()[MASK]).all()


def test_the_table_has_the_area_of_each_class_of_each_image(write, tmp_path):
    nothing = found("b.jpg", np.full((4, 6), 255, np.uint8))
    out = write(tmp_path, {"a.jpg": [found("a.jpg")], "b.jpg": [nothing], "c.jpg": [found("c.jpg", MASK[:1, :2])]})
    with (out / "predictions.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "height", "width", "name", "score", "pixels", "share"],
            ["a.jpg", "4", "6", "background", "0.750000", "14", "0.583333"],
            ["a.jpg", "4", "6", "cell", "0.500000", "7", "0.291667"],
            ["a.jpg", "4", "6", "nucleus", "0.250000", "2", "0.083333"],
            ["c.jpg", "1", "2", "cell", "0.750000", "2", "1.000000"],
        ]
    assert [line["pixels"] for line in lines(out)] == [[14, 7, 2], [], [2]]


def test_masks_of_frames_have_their_numbers(write, tmp_path):
    frames = [found("clip.mp4", MASK * (number == 3), frame=number) for number in (0, 3)]
    out = write(tmp_path, {"clip.mp4": frames})
    assert [line["mask"] for line in lines(out)] == ["masks/clip.mp4_000000.png", "masks/clip.mp4_000003.png"]
    assert [line["frame"] for line in lines(out)] == [0, 3]
    assert not np.asarray(Image.open(out / "masks/clip.mp4_000000.png")).any()
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["name"]) for row in rows] == [
        ("0", "background"),
        ("3", "background"),
        ("3", "cell"),
        ("3", "nucleus"),
    ]


def test_no_two_masks_are_in_one_file(write, tmp_path):
    names = ["a.jpg", "a.png", "a.jpg.png", "clip.mp4_000001", "clip.mp4"]
    predictions = {name: [found(name)] for name in names}
    predictions["clip.mp4"] = [found("clip.mp4", MASK[:2], frame=1)]
    out = write(tmp_path, predictions)
    assert [line["mask"] for line in lines(out)] == [
        "masks/a.jpg.png", "masks/a.png.png", "masks/a.jpg.png.png", "masks/clip.mp4_000001.png",
        "masks/clip.mp4_000001~2.png",
    ]  # fmt: skip
    for line in lines(out):
        assert np.asarray(Image.open(out / line["mask"])).shape == tuple(line["size"])


def test_a_name_in_any_bytes_or_of_any_length_leads_to_its_mask(write, tmp_path):
    names = [os.fsdecode(b"caf\xe9.png"), f"{'x' * 251}.png", f"{'x' * 250}y.png"]
    out = write(tmp_path, {name: [found(name)] for name in names})
    assert len({line["mask"] for line in lines(out)}) == 3
    assert all((np.asarray(Image.open(out / line["mask"])) == MASK).all() for line in lines(out))


# --- probabilities ----------------------------------------------------------------------------------------------------


def test_probabilities_are_an_array_of_numpys(write, tmp_path):
    probabilities = torch.rand(3, 4, 6).half()
    out = write(tmp_path, {"a.jpg": [found("a.jpg", probabilities=probabilities)], "b.jpg": [found("b.jpg")]})
    first, second = lines(out)
    assert first["probabilities"] == "probabilities/a.jpg.npy" and "probabilities" not in second
    read = np.load(out / first["probabilities"])
    assert read.dtype == np.float16 and (read == probabilities.numpy()).all()


@pytest.mark.parametrize("rows", [slice(None), slice(3, 900)], ids=["whole", "part"])
def test_probabilities_on_the_disk_are_written_without_a_copy(write, tmp_path, rows):
    stored = np.memmap(tmp_path / "stored", np.float16, "w+", shape=(20, 1000, 1000))
    stored[:] = np.linspace(0, 1, 20)[:, None, None]
    probabilities = torch.from_numpy(stored)[:, rows]
    tracemalloc.start()
    try:
        out = write(tmp_path, {"a.jpg": [found("a.jpg", probabilities=probabilities)]})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6  # bytes, of 40e6; numpy's buffer for a part has 17e6
    read = np.load(out / "probabilities/a.jpg.npy", mmap_mode="r")
    assert read.shape == tuple(probabilities.shape) and (read[:, -1, -1] == stored[:, 0, 0]).all()


def at_once(write: Callable[..., None], *arguments) -> None:
    """As the folder of a run does in a thread."""
    write(*arguments)


@pytest.mark.parametrize("kind", [Masks, Probabilities])
def test_a_full_disk_is_one_sentence(tmp_path, kind):
    run = SimpleNamespace(path=tmp_path, place=lambda *_, **__: Path("/dev/full"), later=at_once)
    prediction = found("a.jpg", probabilities=torch.rand(3, 400, 600))
    with pytest.raises(MachineError, match=r"^'/dev/full' cannot be written: "):
        kind(run, Formats()).write(Item(prediction, "a.jpg", 1))


# --- COCO -------------------------------------------------------------------------------------------------------------


def test_coco_has_a_polygon_for_each_part_but_of_background(write, tmp_path):
    out = write(tmp_path, {"a.jpg": [found("a.jpg")]}, "coco")
    entries = json.loads((out / "coco_results.json").read_text())
    outlines = [entry.pop("segmentation") for entry in entries]
    cell, nucleus = {"image_id": 1, "category_id": 2, "score": 0.5}, {"image_id": 1, "category_id": 3, "score": 0.25}
    assert entries == [
        {**cell, "bbox": [0, 0, 2, 4], "area": 6},
        {**cell, "bbox": [5, 3, 1, 1], "area": 1},
        {**nucleus, "bbox": [1, 1, 1, 2], "area": 2},
    ]
    assert [len(polygons) for polygons in outlines] == [1, 1, 1]
    assert set(zip(outlines[2][0][::2], outlines[2][0][1::2], strict=True)) == {(1, 1), (2, 1), (2, 3), (1, 3)}
    assert json.loads((out / "coco_images.json").read_text()) == {
        "categories": [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)],
        "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 6}],
    }


def test_a_format_that_is_named_twice_is_written_once(write, tmp_path):
    out = write(tmp_path, {"a.jpg": [found("a.jpg")]}, "coco", "coco")
    assert len(json.loads((out / "coco_results.json").read_text())) == 3


def test_pycocotools_reads_the_mask_back(write, tmp_path):
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 3, (20, 30)).astype(np.uint8), MASK]
    out = write(tmp_path, {f"{number}.jpg": [found("a", mask)] for number, mask in enumerate(masks, 7)}, "coco")
    truth = json.loads((out / "coco_images.json").read_text()) | {"annotations": []}
    (out / "truth.json").write_text(json.dumps(truth))
    results = COCO(out / "truth.json").loadRes(str(out / "coco_results.json"))
    for number, mask in enumerate(masks, 7):
        drawn = np.zeros_like(mask)
        for entry in results.loadAnns(results.getAnnIds(imgIds=[number])):
            drawn += (results.annToMask(entry) * (entry["category_id"] - 1)).astype(np.uint8)
        assert (drawn == np.where(mask == 255, 0, mask)).all()


@pytest.mark.parametrize("name", ["yolo", "crops"])
def test_formats_of_boxes_are_refused_before_anything_is_written(write, tmp_path, name):
    with pytest.raises(UsageError, match=f"The format {name} is of boxes, and this task finds none; leave it out."):
        write(tmp_path, {"a.jpg": [found("a.jpg")]}, name)
    assert not (tmp_path / "out/masks").exists() and lines(tmp_path / "out") == []


# --- the folder -------------------------------------------------------------------------------------------------------


def test_masks_of_an_earlier_run_go_when_it_is_overwritten(write, tmp_path):
    write(tmp_path, {"a.jpg": [found("a.jpg", probabilities=torch.rand(3, 4, 6).half())]}, "coco")
    out = write(tmp_path, {"b.jpg": [found("b.jpg")]}, overwrite=True)
    assert paths_below(out) == [
        "failures.jsonl",
        "masks/b.jpg.png",
        "predictions.csv",
        "predictions.jsonl",
        "summary.json",
    ]


@pytest.mark.parametrize("overwrite", [False, True])
def test_masks_that_are_not_of_a_run_are_left_alone(write, tmp_path, overwrite):
    truth = tmp_path / "out" / "masks" / "a.jpg.png"
    truth.parent.mkdir(parents=True)
    truth.write_text("made by hand")
    with pytest.raises(UsageError, match=r"out/masks is there already, .*: give another --out."):
        write(tmp_path, {"a.jpg": [found("a.jpg")]}, overwrite=overwrite)
    assert truth.read_text() == "made by hand" and paths_below(tmp_path / "out") == ["masks/a.jpg.png"]
