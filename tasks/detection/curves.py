"""Precision and recall at one IoU: Pascal VOC's average precision (Everingham et al. 2010, section 4.2), the score at
which F1 is best, and who is taken for whom.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .average_precision import Found, Truth

IOU = 0.5
_WITHOUT_ANY = 0.5  # the threshold of a class that nothing is known of
_HIT, _MISS, _IGNORED = 1, 0, -1


class Curve(NamedTuple):
    """Of one class, over its detections by falling score."""

    scores: np.ndarray  # float64 (D,)
    precision: np.ndarray  # float64 (D,), of this detection and all surer ones
    recall: np.ndarray  # float64 (D,)
    objects: int  # that were asked for

    def average_precision(self) -> float | None:
        """The area under the curve, its precision made to fall only (VOC from 2010 on); None without objects."""
        if not self.objects:
            return None
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float(np.sum(np.diff(self.recall, prepend=0.0) * envelope))

    def average_precision_11(self) -> float | None:
        """The mean of the best precision at recalls of 0, 0.1, ..., 1 and more (VOC 2007); None without objects."""
        if not self.objects:
            return None
        # A recall of 3 of 10 is to count as 0.3, whatever its last binary digit.
        best = [self.precision[self.recall >= tenth / 10 - 1e-9].max(initial=0.0) for tenth in range(11)]
        return float(np.mean(best))

    def drawn(self) -> tuple[np.ndarray, np.ndarray, float | None]:
        """Recall and precision, and the area under them."""
        return self.recall, self.precision, self.average_precision()

    def best_threshold(self) -> float:
        """The score from which on F1 is best; of several, the highest. 0.5 where nothing was to be found, or was."""
        total = self.precision + self.recall
        if not self.objects or not len(total) or total.max() == 0:
            return _WITHOUT_ANY
        f1 = 2 * self.precision * self.recall / np.where(total > 0, total, 1.0)
        last = np.append(self.scores[1:] < self.scores[:-1], True)  # a threshold takes all detections of its score
        return float(self.scores[np.argmax(np.where(last, f1, -1.0))])


def curves(found: Sequence[Found], truths: Sequence[Truth], num_classes: int) -> list[Curve]:
    """Of each class. An object is found by the surest of its detections, any other is wrong; what finds a difficult
    object, or nothing but a crowd, is neither right nor wrong.

    Boxes are in continuous pixels: VOC's own tool adds a pixel to their widths, for corners that both belong to a box.
    """
    scores = np.concatenate([image.scores for image in found] or [np.zeros(0)])
    labels = np.concatenate([image.labels for image in found] or [np.zeros(0, np.int64)])
    verdicts = [_judge(image, truth) for image, truth in zip(found, truths, strict=True)]
    verdict = np.concatenate(verdicts or [np.zeros(0, np.int64)])
    asked = [truth.labels[~(truth.crowd | truth.difficult)] for truth in truths]
    objects = np.bincount(np.concatenate(asked or [np.zeros(0, np.int64)]), minlength=num_classes)
    order = np.argsort(-scores, kind="stable")
    order = order[verdict[order] != _IGNORED]
    result = []
    for label in range(num_classes):
        own = order[labels[order] == label]
        hits = np.cumsum(verdict[own] == _HIT)
        precision, recall = hits / np.arange(1, len(own) + 1), hits / max(1, objects[label])
        result.append(Curve(scores[own], precision, recall, int(objects[label])))
    return result


def confusion_matrix(found: Sequence[Found], truths: Sequence[Truth], thresholds: Sequence[float]) -> np.ndarray:
    """int64 (C + 1, C + 1): objects of the row's class that were found as the column's; the last row counts what was
    found where nothing is, the last column what was not found.

    Detections that reach the threshold of their class choose, the surest first, the object that they overlap most, of
    whatever class, by an IoU of 0.5 at least; what finds a difficult object, or nothing but a crowd, does not count.
    """
    classes = len(thresholds)
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for image, truth in zip(found, truths, strict=True):
        sure = np.flatnonzero(image.scores >= np.asarray(thresholds)[image.labels])
        sure = sure[np.argsort(-image.scores[sure], kind="stable")]
        overlap = _overlap(image.boxes[sure], truth)
        in_crowd = np.asarray((overlap[:, truth.crowd] >= IOU).any(axis=1))
        free = ~truth.crowd
        for row, label in enumerate(image.labels[sure].tolist()):
            best = int(np.argmax(np.where(free, overlap[row], -1.0))) if len(free) else -1
            if best < 0 or not free[best] or overlap[row, best] < IOU:
                matrix[classes, label] += not in_crowd[row]
            elif not truth.difficult[best]:
                matrix[truth.labels[best], label] += 1
                free[best] = False
        np.add.at(matrix[:, classes], truth.labels[free & ~truth.difficult], 1)
    return matrix


def _judge(found: Found, truth: Truth) -> np.ndarray:
    """Of each detection _HIT, _MISS or _IGNORED: int64 (K,)."""
    if not len(truth.labels):
        return np.full(len(found.scores), _MISS)
    overlap = np.where(found.labels[:, None] == truth.labels, _overlap(found.boxes, truth), 0.0)
    verdict = np.where((overlap[:, truth.crowd] >= IOU).any(axis=1), _IGNORED, _MISS)
    singles = np.where(truth.crowd, 0.0, overlap)
    nearest = singles.argmax(axis=1)
    order = np.argsort(-found.scores, kind="stable")
    near = order[singles.max(axis=1)[order] >= IOU]
    verdict[near[np.unique(nearest[near], return_index=True)[1]]] = _HIT
    verdict[near[truth.difficult[nearest[near]]]] = _IGNORED
    return verdict


def _overlap(boxes: np.ndarray, truth: Truth) -> np.ndarray:
    """IoU of each box with each object, and of a crowd the share of the box that lies in it: float64 (D, K)."""
    shared, areas, others = np.ones((len(boxes), len(truth.boxes))), np.ones(len(boxes)), np.ones(len(truth.boxes))
    for low, high in ((0, 2), (1, 3)):
        ends = np.minimum.outer(boxes[:, high], truth.boxes[:, high])
        shared *= (ends - np.maximum.outer(boxes[:, low], truth.boxes[:, low])).clip(0)
        areas *= boxes[:, high] - boxes[:, low]
        others *= truth.boxes[:, high] - truth.boxes[:, low]
    whole = np.where(truth.crowd, areas[:, None], areas[:, None] + others - shared)
    return shared / np.maximum(whole, 1e-12)
