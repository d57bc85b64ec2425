"""COCO's twelve numbers, by pycocotools, by hotcoco and by ours."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.detection.average_precision import NUMBERS, Found, Truth, average_precision
from foveal.tasks.detection.metrics import DetectionMetrics

CLASSES = 8


@pytest.fixture(scope="module")
def scenes():
    """What 200 drawn images hold, some of it crowds, and what a middling detector finds in them."""
    rng = np.random.default_rng(0)
    world = ShapesWorld("detection", "val", images=200, size=400)
    found, truths = [], []
    for index in range(len(world)):
        truth = world.truth(index)
        boxes, labels = truth["boxes"].astype(np.float64), truth["labels"]
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * rng.uniform(0.4, 1, len(boxes))  # as of masks
        crowd = rng.random(len(boxes)) < 0.1
        truths.append(Truth(boxes, labels, crowd, np.zeros(len(boxes), bool), area.astype(np.float32).astype(float)))
        seen = rng.random(len(boxes)) < 0.8
        corners = rng.uniform(0, 300, (8, 2))
        strays = np.concatenate([corners, corners + rng.uniform(5, 150, (8, 2))], axis=1)
        moved = np.concatenate([(boxes + rng.normal(0, 3, boxes.shape))[seen], strays])
        named = np.where(rng.random(seen.sum()) < 0.8, labels[seen], 0)
        found.append(
            Found(
                moved.astype(np.float32).astype(float),
                rng.random(len(moved)).astype(np.float32).astype(float),
                np.concatenate([named, rng.integers(0, CLASSES, 8)]),
            )
        )
    return found, truths


@pytest.fixture(scope="module")
def by_files(scenes, tmp_path_factory):
    """The numbers of pycocotools for the same images in files."""
    folder = tmp_path_factory.mktemp("coco")
    annotations, results = [], []
    for image, (found, truth) in enumerate(zip(*scenes, strict=True)):
        for box, label, crowd, _, area in zip(*truth, strict=True):
            x, y, right, bottom = map(float, box)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": int(label), "iscrowd": int(crowd)}
                | {"bbox": [x, y, right - x, bottom - y], "area": float(area)}
            )
        for box, score, label in zip(*found, strict=True):
            x, y, right, bottom = map(float, box)
            result = {"image_id": image, "category_id": int(label), "score": float(score)}
            results.append(result | {"bbox": [x, y, right - x, bottom - y]})
    images = [{"id": image} for image in range(len(scenes[0]))]
    categories = [{"id": label, "name": str(label)} for label in range(CLASSES)]
    document = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(document))
    (folder / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(folder / "truth.json")
        evaluation = COCOeval(truth, truth.loadRes(str(folder / "found.json")), "bbox")
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    return dict(zip(NUMBERS, evaluation.stats, strict=True))


@pytest.mark.parametrize("fast", [False, True], ids=["pycocotools", "hotcoco"])
def test_the_twelve_numbers_are_those_of_pycocotools(scenes, by_files, fast):
    ours = average_precision(*scenes, CLASSES, fast=fast)
    assert len(set(by_files.values())) > 10 and min(by_files.values()) > 0.05  # each says something
    assert ours.numbers == pytest.approx(by_files, abs=1e-6)
    assert np.mean(ours.per_class) == pytest.approx(ours.numbers["ap"], abs=1e-6)


def test_the_metric_gives_the_same_from_tensors(scenes, by_files):
    metrics = DetectionMetrics([str(label) for label in range(CLASSES)])
    for found, truth in zip(*scenes, strict=True):
        columns = {name: torch.as_tensor(value) for name, value in truth._asdict().items()}
        columns["boxes"] = columns["boxes"].float()
        metrics.update([{name: torch.as_tensor(value) for name, value in found._asdict().items()}], [columns])
    numbers = metrics.compute().numbers
    assert {name: numbers[name] for name in NUMBERS} == pytest.approx(by_files, abs=1e-6)


def image(*objects, scores=None):
    boxes = np.array([box for box, _ in objects], float).reshape(-1, 4)
    labels = np.array([label for _, label in objects], np.int64)
    if scores is not None:
        return Found(boxes, np.array(scores, float), labels)
    none = np.zeros(len(labels), bool)
    return Truth(boxes, labels, none, none, (boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


@pytest.mark.parametrize("fast", [False, True])
def test_perfect_detections_have_1(fast):
    objects = ((0, 0, 40, 40), 0), ((50, 50, 60, 60), 1)
    result = average_precision([image(*objects, scores=[0.9, 0.8])], [image(*objects)], 3, fast=fast)
    assert result.numbers["ap"] == pytest.approx(1)
    assert result.per_class == [pytest.approx(1), pytest.approx(1), None]
    assert result.numbers["ap_large"] == -1  # there is none


@pytest.mark.parametrize("fast", [False, True])
def test_three_detections_by_hand(fast):
    # Two objects; right, wrong, right. Precision is 1 up to a recall of 1/2 and 2/3 up to 1: of the 101 points of
    # recall 51 (0, 0.01, ..., 0.50) have 1, and 50 have 2/3.
    truth = image(((0, 0, 10, 10), 0), ((20, 20, 30, 30), 0))
    boxes = ((0, 0, 10, 10), 0), ((50, 50, 60, 60), 0), ((20, 20, 30, 30), 0)
    result = average_precision([image(*boxes, scores=[0.9, 0.8, 0.7])], [truth], 1, fast=fast)
    assert result.numbers["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


@pytest.mark.parametrize("fast", [False, True])
def test_a_second_detection_of_an_object_is_wrong(fast):
    # Precision is 1/2 once the object is found, by the surer one, and 1 before: the copy costs nothing behind it, ...
    truth = [image(((0, 0, 10, 10), 0), ((20, 20, 30, 30), 0))]
    twice = ((0, 0, 10, 10), 0), ((0, 0, 10, 10), 0), ((20, 20, 30, 30), 0)
    behind = average_precision([image(*twice, scores=[0.9, 0.1, 0.8])], truth, 1, fast=fast)
    before = average_precision([image(*twice, scores=[0.9, 0.8, 0.1])], truth, 1, fast=fast)
    assert behind.numbers["ap50"] == pytest.approx(1)
    assert before.numbers["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)  # ... and a third in front of an object


@pytest.mark.parametrize("fast", [False, True])
def test_a_crowd_is_neither_asked_for_nor_wrong_to_find(fast):
    truth = image(((0, 0, 10, 10), 0), ((20, 20, 60, 60), 0))._replace(crowd=np.array([False, True]))
    boxes = ((22, 22, 30, 30), 0), ((40, 40, 50, 50), 0), ((0, 0, 10, 10), 0)
    result = average_precision([image(*boxes, scores=[0.9, 0.8, 0.7])], [truth], 1, fast=fast)
    assert result.numbers["ap"] == pytest.approx(1)


@pytest.mark.parametrize("fast", [False, True])
def test_nothing_found_and_nothing_there(fast):
    some, none, empty = image(((0, 0, 40, 40), 0)), image(), image(scores=[])
    assert average_precision([empty], [some], 2, fast=fast).numbers["ap"] == 0
    assert average_precision([empty], [some], 2, fast=fast).per_class == [0.0, None]
    assert average_precision([empty], [some], 2, fast=fast).numbers["ap_large"] == -1
    assert average_precision([empty], [none], 2, fast=fast).numbers["ap"] == -1
    assert average_precision([image(((0, 0, 5, 5), 0), scores=[1])], [none], 2, fast=fast).numbers["ap"] == -1


@pytest.mark.parametrize("fast", [False, True])
def test_what_is_found_where_nothing_was_found_at_all_has_the_numbers_of_the_tool(fast, scenes):
    truths = scenes[1]
    stray = [image(((1e4, 1e4, 1e4 + 1, 1e4 + 1), 0), scores=[0.5])] + [image(scores=[])] * (len(truths) - 1)
    nothing = average_precision([image(scores=[])] * len(truths), truths, CLASSES, fast=fast)
    wrong = average_precision(stray, truths, CLASSES, fast=fast)
    assert nothing == wrong
