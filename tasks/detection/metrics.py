"""How well a detector does: COCO's twelve numbers, Pascal VOC's two, each class, and why where it does nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torchmetrics import Metric

from .average_precision import Found, Truth, average_precision
from .curves import Curve, confusion_matrix, curves

_MOST = 100  # detections of a class in an image, as in pycocotools
_SCALE = 4  # boxes that are so many times larger or smaller than the objects are in other pixels


@dataclass
class Summary:
    """All that one evaluation says, by class."""

    numbers: dict[str, float]
    per_class: dict[str, float | None]  # COCO's AP; None for a class without objects
    curves: dict[str, Curve]  # at IoU 0.5
    thresholds: list[float]  # the score with the best F1 at IoU 0.5
    confusion: torch.Tensor  # int64 (C + 1, C + 1), at these scores; the background last
    remark: str | None  # why AP is 0 or there is none


class DetectionMetrics(Metric):
    """Gathers what was found and what is there, over several processes too."""

    full_state_update = False

    found: list[torch.Tensor]
    counts_found: list[torch.Tensor]
    truth: list[torch.Tensor]
    counts_truth: list[torch.Tensor]

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names = list(class_names)
        for name in ("found", "counts_found", "truth", "counts_truth"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(
        self, predictions: Sequence[Mapping[str, torch.Tensor]], truths: Sequence[Mapping[str, torch.Tensor]]
    ) -> None:
        """Add N images.

        `predictions`: `boxes` float (K, 4), xyxy, in pixels of the file, `scores` (K,), `labels` int64 (K,); of more
        than 100 of a class those of the highest scores count, and none with a number that is not finite. `truths`:
        `boxes`, `labels`, `crowd` and `difficult` bool (K,), and `area` where it is not the box's.
        """
        for prediction, truth in zip(predictions, truths, strict=True):
            rows = _found_rows(prediction)
            self.found.append(rows)
            self.counts_found.append(torch.tensor([len(rows)], device=rows.device))
            objects = _truth_rows(truth).to(rows.device)
            self.truth.append(objects)
            self.counts_truth.append(torch.tensor([len(objects)], device=rows.device))

    def compute(self) -> Summary:
        """Everything; raises ValueError where nothing was added."""
        found, truths = self._images()
        classes = len(self.class_names)
        coco = average_precision(found, truths, classes)
        of_classes = curves(found, truths, classes)
        thresholds = [curve.best_threshold() for curve in of_classes]
        numbers = coco.numbers | {
            "voc_ap": _mean([curve.average_precision() for curve in of_classes]),
            "voc_ap_11": _mean([curve.average_precision_11() for curve in of_classes]),
        }
        return Summary(
            numbers=numbers,
            per_class=dict(zip(self.class_names, coco.per_class, strict=True)),
            curves=dict(zip(self.class_names, of_classes, strict=True)),
            thresholds=thresholds,
            confusion=torch.from_numpy(confusion_matrix(found, truths, thresholds)),
            remark=_remark(found, truths) if numbers["ap"] <= 0 else None,
        )

    def _images(self) -> tuple[list[Found], list[Truth]]:
        found, truth = (_rows(state) for state in (self.found, self.truth))
        ends = [np.cumsum(_rows(state))[:-1] for state in (self.counts_found, self.counts_truth)]
        images = [Found(x[:, :4], x[:, 4], x[:, 5].astype(np.int64)) for x in np.split(found, ends[0])]
        truths = [
            Truth(x[:, :4], x[:, 4].astype(np.int64), x[:, 5] > 0, x[:, 6] > 0, x[:, 7])
            for x in np.split(truth, ends[1])
        ]
        return images, truths


def _found_rows(prediction: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """float64 (K, 6): box, score, label."""
    boxes, scores, labels = (prediction[key].detach().double() for key in ("boxes", "scores", "labels"))
    # pycocotools takes a box of NaN for one that overlaps whatever it is compared with.
    finite = boxes.isfinite().all(dim=1) & scores.isfinite()
    rows = torch.cat([boxes, scores[:, None], labels[:, None]], dim=1)[finite]
    rows = rows[rows[:, 4].argsort(descending=True, stable=True)]
    if len(rows) <= _MOST:
        return rows
    # pycocotools cuts each class by itself, so that an image may keep more of them in all.
    groups = rows[:, 5].argsort(stable=True)
    _, counts = rows[groups, 5].unique_consecutive(return_counts=True)
    ranks = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return rows[groups[ranks < _MOST].sort().values]


def _truth_rows(truth: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """float64 (K, 8): box, label, crowd, difficult, area."""
    boxes = truth["boxes"].double()
    area = truth["area"].double() if "area" in truth else (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    columns = [*(truth[key].double() for key in ("labels", "crowd", "difficult")), area]
    return torch.cat([boxes, torch.stack(columns, dim=1)], dim=1)


def _rows(state: list[torch.Tensor] | torch.Tensor) -> np.ndarray:
    # torchmetrics hands over one tensor where several processes were put together.
    return (state if isinstance(state, torch.Tensor) else torch.cat(state)).cpu().numpy()


def _mean(values: Sequence[float | None]) -> float:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else -1.0


def _remark(found: Sequence[Found], truths: Sequence[Truth]) -> str:
    """Why nothing was found."""
    asked = [truth.boxes[~(truth.crowd | truth.difficult)] for truth in truths]
    if not sum(map(len, asked)):
        return "AP is -1: these images have no object to find; look at their annotations with `foveal check-data`."
    if not sum(len(image.scores) for image in found):
        return "AP is 0: nothing was found at all; train for longer, or lower model.score."
    if not any(_meet(image.boxes, truth.boxes) for image, truth in zip(found, truths, strict=True)):
        own, wanted = _median_side([image.boxes for image in found]), _median_side(asked)
        if not 1 / _SCALE < own / max(wanted, 1e-9) < _SCALE:
            return (
                f"AP is 0: boxes found are {own:.3g} pixels large, objects {wanted:.3g} (medians); one of them is in "
                "other pixels, or in shares of the image."
            )
        return "AP is 0: no box that was found overlaps an object by half; train for longer, or look at the pictures."
    return (
        "AP is 0: boxes lie on objects, but never with their class; train for longer, or compare the classes of the "
        "data with those of the model."
    )


def _median_side(boxes: Sequence[np.ndarray]) -> float:
    corners = np.concatenate(boxes)
    return float(np.median(np.sqrt((corners[:, 2:] - corners[:, :2]).prod(axis=1))))


def _meet(boxes: np.ndarray, objects: np.ndarray) -> bool:
    if not (len(boxes) and len(objects)):
        return False
    low = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], objects[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas, others = ((x[:, 2:] - x[:, :2]).prod(axis=1) for x in (boxes, objects))
    return bool((shared > 0.5 * (areas[:, None] + others - shared)).any())
