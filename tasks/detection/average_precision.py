"""COCO's average precision and recall (Lin et al., Microsoft COCO, 2014; cocodataset.org/#detection-eval), by its own
tool, pycocotools, or by hotcoco, which gives the same numbers many times faster.
"""

import contextlib
import io
from collections.abc import Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import numpy as np

# The twelve numbers in the order of the tool's `stats`.
NUMBERS: tuple[str, ...] = (
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar1",
    "ar10",
    "ar100",
    "ar_small",
    "ar_medium",
    "ar_large",
)


class Found(NamedTuple):
    """What a detector found in one image."""

    boxes: np.ndarray  # float64 (K, 4), xyxy
    scores: np.ndarray  # float64 (K,)
    labels: np.ndarray  # int64 (K,)


class Truth(NamedTuple):
    """The objects of one image."""

    boxes: np.ndarray  # float64 (K, 4), xyxy
    labels: np.ndarray  # int64 (K,)
    crowd: np.ndarray  # bool (K,), many objects under one box
    difficult: np.ndarray  # bool (K,), there, but not to be asked for
    area: np.ndarray  # float64 (K,), square pixels: small, medium or large


class AveragePrecision(NamedTuple):
    """What COCO's tool says."""

    numbers: dict[str, float]  # by NUMBERS; -1 where there is nothing to find
    per_class: list[float | None]  # AP of each class; None for one without objects


def average_precision(
    found: Sequence[Found], truths: Sequence[Truth], num_classes: int, *, fast: bool = True
) -> AveragePrecision:
    """COCO's numbers for N images; with `fast` by hotcoco where it is installed.

    As in COCO's tool, 100 detections of a class count in an image, those of the highest scores. The tool knows crowds
    alone: a difficult object, which training leaves out too, is handed to it as one, so that it is neither asked for
    nor wrong to find.
    """
    tools = _tools(fast)
    with contextlib.redirect_stdout(io.StringIO()):  # the tools talk of each step
        truth = _data_set(tools, truths, num_classes)
        results = _results(found)
        if not results:
            return _nothing_found(truths, num_classes)
        evaluation = tools.COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    numbers: dict[str, float] = dict(zip(NUMBERS, map(float, evaluation.stats), strict=True))
    precision = np.asarray(evaluation.eval["precision"])  # by IoU, recall, class, area, most detections
    precision = precision[:, :, :, 0, -1]  # of all areas, 100 detections
    asked = precision.max(axis=(0, 1)) > -1
    per_class = [float(precision[:, :, label].mean()) if asked[label] else None for label in range(num_classes)]
    return AveragePrecision(numbers, per_class)


def _tools(fast: bool) -> ModuleType:
    if fast and find_spec("hotcoco"):
        import hotcoco

        return hotcoco
    import pycocotools.coco
    import pycocotools.cocoeval

    both = ModuleType("pycocotools")
    both.COCO, both.COCOeval = pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval  # type: ignore[attr-defined]
    return both


def _data_set(tools: ModuleType, truths: Sequence[Truth], num_classes: int):
    """A COCO object; its ids begin at 1, for an annotation of id 0 is never found."""
    annotations = []
    for image, truth in enumerate(truths, 1):
        ignored = truth.crowd | truth.difficult
        columns = (_xywh(truth.boxes), truth.labels.tolist(), ignored.tolist(), truth.area.tolist())
        for box, label, crowd, area in zip(*columns, strict=True):
            entry = {"id": len(annotations) + 1, "image_id": image, "category_id": label + 1}
            annotations.append({**entry, "bbox": box, "area": area, "iscrowd": int(crowd)})
    images = [{"id": image, "file_name": "", "width": 0, "height": 0} for image in range(1, len(truths) + 1)]
    categories = [{"id": label + 1, "name": str(label)} for label in range(num_classes)]
    document = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    if tools.__name__ == "hotcoco":
        return tools.COCO(document)
    coco = tools.COCO()
    coco.dataset = document
    coco.createIndex()
    return coco


def _results(found: Sequence[Found]) -> list[dict]:
    return [
        {"image_id": image, "category_id": label + 1, "bbox": box, "score": score}
        for image, (boxes, scores, labels) in enumerate(found, 1)
        for box, score, label in zip(_xywh(boxes), scores.tolist(), labels.tolist(), strict=True)
    ]


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()


def _nothing_found(truths: Sequence[Truth], num_classes: int) -> AveragePrecision:
    # The tools fail on an empty list of results. COCO's limits, 32 and 96 pixels squared, belong to both sides.
    kept = [~(truth.crowd | truth.difficult) for truth in truths]
    asked = [(truth.labels[rows], truth.area[rows]) for truth, rows in zip(truths, kept, strict=True)]
    labels, areas = (np.concatenate([pair[column] for pair in asked] or [np.zeros(0)]) for column in (0, 1))
    there = {
        "small": (areas <= 32**2).any(),
        "medium": ((areas >= 32**2) & (areas <= 96**2)).any(),
        "large": (areas >= 96**2).any(),
    }
    numbers = {name: 0.0 if there.get(name[3:], len(labels) > 0) else -1.0 for name in NUMBERS}
    per_class = [0.0 if (labels == label).any() else None for label in range(num_classes)]
    return AveragePrecision(numbers, per_class)
