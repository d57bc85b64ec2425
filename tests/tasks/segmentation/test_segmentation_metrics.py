"""mIoU of a data set and its kin on matrices that are counted by hand, beside torchmetrics', and over processes."""

import json

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from foveal.core.errors import UsageError
from foveal.tasks.segmentation.metrics import SegmentationMetrics


def summary(*pairs, names=("ground", "object"), shapes=None, **options):
    metrics = SegmentationMetrics(names, **options)
    for predicted, truth in pairs:
        metrics.update(torch.as_tensor(predicted)[None], torch.as_tensor(truth)[None], shapes)
    return metrics.compute()


def plane(pixels: int) -> torch.Tensor:
    """100 pixels, the first of which are the object's."""
    mask = torch.zeros(100, dtype=torch.int64)
    mask[:pixels] = 1
    return mask.reshape(10, 10)


def test_miou_is_that_of_the_data_set_and_not_the_mean_over_images():
    # 47 object pixels of 100 are all found; in another image, the 3 object pixels of 100 are all missed.
    good, bad = (plane(47), plane(47)), (plane(0), plane(3))
    whole = summary(good, bad)
    # Object 47 / (47 + 3) = 0.94; ground (53 + 97) / (53 + 100) = 0.980.
    assert whole.per_class == {"ground": pytest.approx(150 / 153), "object": pytest.approx(0.94)}
    assert whole.numbers["miou"] == pytest.approx((0.94 + 150 / 153) / 2) and round(whole.numbers["miou"], 3) == 0.960
    # Image by image: 1, and (0 + 97 / 100) / 2 = 0.485.
    alone = [summary(pair).numbers["miou"] for pair in (good, bad)]
    assert alone == pytest.approx([1, 0.485]) and sum(alone) / 2 == pytest.approx(0.742, abs=0.001)


def test_every_number_of_eight_pixels_by_hand():
    truth = [[0, 0, 0, 1], [1, 1, 2, 255]]
    predicted = [[0, 0, 1, 1], [1, 2, 2, 0]]
    result = summary((predicted, truth), names="abc")
    assert result.confusion.tolist() == [[2, 1, 0], [0, 2, 1], [0, 0, 1]]
    assert result.per_class == {"a": pytest.approx(2 / 3), "b": pytest.approx(2 / 4), "c": pytest.approx(1 / 2)}
    assert result.numbers == {
        "miou": pytest.approx((2 / 3 + 1 / 2 + 1 / 2) / 3),
        "pixel_accuracy": pytest.approx(5 / 7),
        "mean_class_accuracy": pytest.approx((2 / 3 + 2 / 3 + 1) / 3),
        "mean_dice": pytest.approx((4 / 5 + 4 / 6 + 2 / 3) / 3),  # 2 TP / (2 TP + FP + FN)
    }


def test_a_perfect_map_has_ones_everywhere():
    truth = torch.arange(12).reshape(3, 4) % 4
    result = summary((truth, truth), names="abcd", boundary_tolerance=0.01, trimap_width=1)
    assert set(result.numbers.values()) == {1.0} and set(result.per_class.values()) == {1.0}


def test_a_class_in_neither_mask_nor_prediction_is_none_and_counts_in_no_mean():
    result = summary(([[0, 0, 1, 1]], [[0, 0, 1, 1]]), names="abc")
    assert result.per_class == {"a": 1, "b": 1, "c": None} and result.numbers["miou"] == 1


def test_a_class_that_is_only_predicted_has_an_iou_of_0_and_no_accuracy():
    result = summary(([[0, 0, 2, 1]], [[0, 0, 1, 1]]), names="abc")
    assert result.per_class == {"a": 1, "b": 0.5, "c": 0}
    assert result.numbers["miou"] == 0.5 and result.numbers["mean_class_accuracy"] == 0.75


def test_what_was_predicted_on_ignored_pixels_changes_nothing():
    # A class that is predicted there alone is absent all the same.
    result = summary(([[0, 2, 2, 255]], [[0, 255, 255, 255]]), names="abc")
    assert result.per_class == {"a": 1, "b": None, "c": None}


def test_one_class():
    result = summary(([[0, 0]], [[0, 255]]), names=["all"])
    assert result.numbers["miou"] == 1 and result.confusion.tolist() == [[1]]


def test_masks_that_are_ignored_whole_have_no_numbers_and_the_remark_says_why():
    ignored = torch.full((4, 4), 255)
    result = summary((plane(3)[:4, :4], ignored), boundary_tolerance=0.01, trimap_width=2)
    assert set(result.numbers.values()) == {-1.0} and set(result.per_class.values()) == {None}
    assert result.remark is not None and "255" in result.remark
    assert json.dumps(result.numbers)


def test_an_ignored_image_among_others_changes_nothing():
    pair = (plane(40), plane(50))
    assert summary(pair, (plane(3), torch.full((10, 10), 255))).numbers == summary(pair).numbers
    assert summary(pair).remark is None


@pytest.mark.parametrize("classes", [1, 2, 21, 150])
def test_iou_is_that_of_torchmetrics(classes):
    generator = torch.Generator().manual_seed(classes)
    ours = SegmentationMetrics([str(number) for number in range(classes)])
    theirs = MulticlassJaccardIndex(max(2, classes), ignore_index=255)  # it knows no single class
    for _ in range(3):
        truth = torch.randint(classes, (2, 40, 50), generator=generator)
        predicted = torch.where(
            torch.rand(truth.shape, generator=generator) < 0.6,
            truth,
            torch.randint(classes, truth.shape, generator=generator),
        )
        truth[:, :, 40:] = 255
        ours.update(predicted, truth)
        theirs.update(predicted, truth)
    assert ours.compute().numbers["miou"] == pytest.approx(float(theirs.compute()), abs=1e-6)


def test_iou_of_rare_classes_is_that_of_torchmetrics():
    # Of 21 classes, some are never there: both leave those out of the mean.
    truth = torch.randint(4, (2, 30, 30), generator=torch.Generator().manual_seed(0)) * 5
    predicted = truth.roll(1, dims=2)
    ours, theirs = SegmentationMetrics([str(number) for number in range(21)]), MulticlassJaccardIndex(21)
    ours.update(predicted, truth)
    assert ours.compute().numbers["miou"] == pytest.approx(float(theirs(predicted, truth)), abs=1e-6)


def test_several_processes_count_together():
    tall, small = (plane(20), plane(30)), (plane(90), plane(70))
    options = {"boundary_tolerance": 0.1, "trimap_width": 1}
    first, second = (SegmentationMetrics(["a", "b"], **options) for _ in range(2))
    first.update(*(x[None] for x in tall))
    second.update(*(x[None] for x in small))
    # What torch.distributed would gather of each state, in the order in which torchmetrics asks for them.
    others = iter(second.metric_state.values())
    first.dist_sync_fn = lambda own, group: [own, next(others)]
    first.distributed_available_fn = lambda: True
    alone, together = summary(tall, small, names="ab", **options), first.compute()
    assert together.numbers == alone.numbers and np.array_equal(together.confusion, alone.confusion)


def test_reset_forgets():
    metrics = SegmentationMetrics(["a", "b"], boundary_tolerance=0.1, trimap_width=1)
    metrics.update(plane(20)[None], plane(80)[None])
    metrics.reset()
    metrics.update(plane(20)[None], plane(20)[None])
    assert set(metrics.compute().numbers.values()) == {1.0}


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        ([], {}, "0 class names"),
        (["a"] * 256, {}, "256 class names"),
        (["a"], {"boundary_tolerance": 1.5}, "boundary_tolerance is 1.5"),
        (["a"], {"boundary_tolerance": 0.0}, "boundary_tolerance is 0.0"),
        (["a"], {"trimap_width": 0}, "trimap_width is 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(names, options, words):
    with pytest.raises(UsageError, match=words):
        SegmentationMetrics(names, **options)


def test_boundary_f1_is_the_mean_over_the_images_that_have_a_border_of_the_class():
    # Of the first image both borders are met, of the second neither, and the third has none.
    halves = torch.zeros(10, 20, dtype=torch.int64)
    halves[:, 10:] = 1
    moved = halves.roll(-5, dims=1)
    moved[:, 10:] = 1
    flat = torch.zeros_like(halves)
    result = summary((halves, halves), (moved, halves), (flat, flat), boundary_tolerance=0.05)  # 1.1 pixels
    assert result.per_class_boundary_f1 == {"ground": 0.5, "object": 0.5}
    assert result.numbers["boundary_f1"] == 0.5


def test_trimap_iou_counts_the_pixels_along_true_borders_alone():
    truth = torch.zeros(4, 10, dtype=torch.int64)
    truth[:, 5:] = 1
    predicted = truth.clone()
    predicted[:, 5] = 0  # beside the border
    predicted[:, 9] = 0  # far from it
    result = summary((predicted, truth), trimap_width=2)  # columns 3 to 6
    assert result.numbers["trimap_miou"] == pytest.approx((8 / 12 + 4 / 8) / 2)
    assert result.numbers["miou"] == pytest.approx((20 / 28 + 12 / 20) / 2)


def test_padding_of_a_batch_makes_no_border():
    truth = torch.zeros(8, 8, dtype=torch.int64)
    truth[:, 4:] = 1
    predicted = truth.clone()
    predicted[:, 7] = 0
    padded = torch.nn.functional.pad(truth, (0, 6, 0, 6), value=255)
    answers = torch.nn.functional.pad(predicted, (0, 6, 0, 6), value=1)
    options = {"boundary_tolerance": 0.1, "trimap_width": 1}
    whole = summary((predicted, truth), **options)
    assert summary((answers, padded), shapes=[(8, 8)], **options).numbers == whole.numbers
    assert whole.numbers["trimap_miou"] == 1  # the wrong column, 7, is not beside the border between 3 and 4


def test_without_being_asked_for_borders_are_not_looked_at():
    result = summary((plane(20), plane(20)))
    assert "boundary_f1" not in result.numbers and "trimap_miou" not in result.numbers
    assert result.per_class_boundary_f1 == {}
