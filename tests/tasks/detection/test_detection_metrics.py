"""Pascal VOC's average precision, thresholds, confusion, and why a detector does nothing, by hand."""

import numpy as np
import pytest
import torch

from foveal.core.plots import plot_precision_recall
from foveal.tasks.detection.curves import Curve
from foveal.tasks.detection.metrics import DetectionMetrics

NAMES = ["cat", "dog"]


def found(*rows):
    """(left, top, right, bottom, score, label), ..."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    return {"boxes": table[:, :4].float(), "scores": table[:, 4].float(), "labels": table[:, 5].long()}


def truth(*rows, crowd=(), difficult=()):
    """(left, top, right, bottom, label), ...; the numbers of those that are crowds or difficult."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 5)
    flags = {name: torch.zeros(len(table), dtype=torch.bool) for name in ("crowd", "difficult")}
    flags["crowd"][list(crowd)] = True
    flags["difficult"][list(difficult)] = True
    return {"boxes": table[:, :4].float(), "labels": table[:, 4].long(), **flags}


def summary(*pairs):
    metrics = DetectionMetrics(NAMES)
    for prediction, objects in pairs:
        metrics.update([prediction], [objects])
    return metrics.compute()


A, B, C = (0, 0, 10, 10), (20, 20, 30, 30), (50, 50, 60, 60)


def test_three_detections_by_hand():
    # Right, wrong, right of two objects: recall 1/2 at precision 1, recall 1 at precision 2/3.
    result = summary((found((*A, 0.9, 0), (*C, 0.8, 0), (*B, 0.7, 0)), truth((*A, 0), (*B, 0))))
    assert result.numbers["voc_ap"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert result.numbers["voc_ap_11"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)  # 0, 0.1, ..., 0.5; 0.6, ..., 1
    curve = result.curves["cat"]
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3])
    assert curve.recall.tolist() == pytest.approx([1 / 2, 1 / 2, 1])


def test_a_class_without_objects_counts_in_no_mean():
    result = summary((found((*A, 0.9, 0)), truth((*A, 0))))
    assert result.numbers["voc_ap"] == 1 and result.per_class == {"cat": pytest.approx(1), "dog": None}


def test_the_second_detection_of_an_object_is_wrong_even_where_another_is_near():
    # VOC gives a detection to the object that it overlaps most, taken or not.
    result = summary((found((*A, 0.9, 0), (*A, 0.8, 0)), truth((*A, 0), (0, 0, 10, 11, 0))))
    assert result.curves["cat"].precision.tolist() == [1, 0.5]


def test_difficult_objects_are_neither_asked_for_nor_wrong_to_find():
    result = summary((found((*B, 0.9, 0), (*A, 0.8, 0)), truth((*A, 0), (*B, 0), difficult=[1])))
    assert result.curves["cat"].objects == 1
    assert result.numbers["voc_ap"] == 1
    assert result.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_crowd_holds_whatever_lies_in_it():
    result = summary((found((2, 2, 4, 4, 0.9, 0), (5, 5, 8, 8, 0.8, 0)), truth((*A, 0), (*B, 0), crowd=[0])))
    assert len(result.curves["cat"].scores) == 0  # both are ignored


def test_an_object_in_front_of_a_crowd_is_found():
    # The box lies wholly in the crowd, and more of it than in the object: what finds it twice is as good as none.
    one, crowd = (2, 2, 8, 8, 0), (0, 0, 40, 40, 0)
    rows = found((2, 2, 8, 9, 0.9, 0), (2, 3, 8, 8, 0.8, 0), (20, 20, 24, 24, 0.7, 0))
    result = summary((rows, truth(crowd, one, crowd=[0])))
    assert result.curves["cat"].scores.tolist() == [pytest.approx(0.9)]
    assert result.numbers["voc_ap"] == 1
    assert result.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_what_lies_in_a_crowd_is_no_stray_in_the_confusion():
    # Two strays of three are in the crowd, and below their class's threshold, 0.5, there are none.
    rows = found((1, 1, 5, 5, 0.9, 1), (5, 5, 9, 9, 0.8, 1), (*C, 0.7, 1), (*B, 0.4, 1))
    result = summary((rows, truth((*A, 0), crowd=[0])))
    assert result.confusion.tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_the_threshold_is_the_score_with_the_best_f1():
    # Of two objects: F1 is 2/3 from 0.9 on, 1/2 from 0.8 on, 0.8 from 0.7 on, 2/3 from 0.6 on.
    rows = found((*A, 0.9, 0), (*C, 0.8, 0), (*B, 0.7, 0), (*C, 0.6, 0))
    result = summary((rows, truth((*A, 0), (*B, 0))))
    assert result.thresholds[0] == pytest.approx(0.7)


def test_a_threshold_takes_all_detections_of_its_score():
    # The right one alone would have an F1 of 1, but the wrong one has the same score.
    rows = found((*A, 0.9, 0), (*C, 0.9, 0), (*C, 0.9, 0))
    assert summary((rows, truth((*A, 0)))).thresholds[0] == pytest.approx(0.9)
    curve = Curve(np.array([0.9, 0.5, 0.5, 0.5]), np.array([1, 1, 2 / 3, 1 / 2]), np.array([0.5, 1, 1, 1]), 2)
    assert curve.best_threshold() == 0.9  # at 0.5 F1 is 2/3 as well, with all four


@pytest.mark.parametrize(
    ("prediction", "objects"),
    [(found(), truth((*A, 0))), (found((*A, 0.9, 0)), truth()), (found((*C, 0.9, 0)), truth((*A, 0)))],
)
def test_a_class_of_which_nothing_is_known_has_a_half(prediction, objects):
    assert summary((prediction, objects)).thresholds == [0.5, 0.5]


def test_confusion_by_hand():
    # A is found as itself, B as a dog, C not at all; a dog is seen where nothing is. What is less sure than the best
    # threshold of its class does not count.
    rows = found((*A, 0.9, 0), (*B, 0.8, 1), (70, 70, 90, 90, 0.7, 1), (*C, 0.1, 0))
    result = summary((rows, truth((*A, 0), (*B, 0), (*C, 1))))
    assert result.thresholds == [pytest.approx(0.9), 0.5]
    assert result.confusion.tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    ("prediction", "objects", "sentence"),
    [
        (found((*A, 0.9, 0)), truth(), "AP is -1: these images have no object to find"),
        (found(), truth((*A, 0)), "AP is 0: nothing was found at all"),
        (found((*A, 0.9, 1)), truth((*A, 0)), "boxes lie on objects, but never with their class"),
        (found((0, 0, 1, 1, 0.9, 0)), truth((0, 0, 100, 100, 0)), "boxes found are 1 pixels large, objects 100"),
        (found((*C, 0.9, 0)), truth((*A, 0)), "no box that was found overlaps an object by half"),
        (found((*A, 0.9, 0)), truth((*A, 0)), None),
    ],
)
def test_why_there_is_no_average_precision(prediction, objects, sentence):
    remark = summary((prediction, objects)).remark
    assert remark is None if sentence is None else sentence in remark


def test_boxes_of_nan_are_no_detections():
    # pycocotools would take them for perfect ones.
    result = summary((found((*(float("nan"),) * 4, 0.9, 0), (*A, float("nan"), 0)), truth((*A, 0))))
    assert result.numbers["ap"] == 0 and "nothing was found" in result.remark


@pytest.mark.parametrize(("label", "average"), [(0, 0), (1, 1)])
def test_of_more_than_a_hundred_detections_of_a_class_the_surest_count(label, average):
    # As pycocotools cuts: a hundred surer boxes of another class take nobody's place.
    strays = [(100 + 5 * i, 100, 104 + 5 * i, 104, 0.5, label) for i in range(100)]
    assert summary((found(*strays, (*A, 0.4, 0)), truth((*A, 0)))).numbers["ap"] == pytest.approx(average)
    assert summary((found(*strays, (*A, 0.6, 0)), truth((*A, 0)))).numbers["ap"] == pytest.approx(1)


def test_an_image_with_ten_thousand_objects():
    rows = [(7 * (i % 100), 7 * (i // 100), 7 * (i % 100) + 6, 7 * (i // 100) + 6, i % 2) for i in range(10_000)]
    result = summary((found(*((*row[:4], 0.9, row[4]) for row in rows)), truth(*rows)))
    assert result.curves["cat"].recall[-1] == pytest.approx(100 / 5000)  # a hundred detections of each class


def test_curves_are_drawn(tmp_path):
    shown = {f"class {i}": (np.array([0.5, 1]), np.array([1, 1 - i / 20]), i / 20) for i in range(15)}
    plot_precision_recall({**shown, "absent": (np.zeros(0), np.zeros(0), None)}, tmp_path / "curves.png")
    plot_precision_recall({"none found": (np.zeros(0), np.zeros(0), 0.0)}, tmp_path / "empty.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000 and (tmp_path / "empty.png").exists()
