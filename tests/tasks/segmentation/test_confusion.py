"""The confusion matrix is the same by every way of counting, and refuses what is no class."""

import numpy as np
import pytest
import torch

from foveal.core.errors import DataError, UsageError
from foveal.tasks.segmentation import confusion
from foveal.tasks.segmentation.confusion import confusion_matrix


@pytest.fixture(params=["histogram", "bincount"])
def way(request, monkeypatch):
    """The histogram of the CPU, and what every other device does."""
    if request.param == "bincount":
        monkeypatch.setattr(confusion, "_pairs", lambda predicted, truth: None)
    return request.param


def pair(classes: int, shape=(2, 30, 40), dtype=torch.int64):
    generator = torch.Generator().manual_seed(0)
    truth, predicted = (torch.randint(classes, shape, generator=generator) for _ in range(2))
    truth[:, 5:9] = 255
    return predicted.to(dtype), truth.to(dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize("classes", [1, 2, 21, 255])
def test_each_pair_is_counted(way, classes, dtype):
    predicted, truth = pair(classes, dtype=dtype)
    expected = np.zeros((classes, classes), np.int64)
    for row, column in zip(truth.flatten().tolist(), predicted.flatten().tolist(), strict=True):
        if row != 255:
            expected[row, column] += 1
    matrix = confusion_matrix(predicted, truth, classes)
    assert matrix.dtype == torch.int64 and np.array_equal(matrix.numpy(), expected)


def test_rows_are_the_truth(way):
    assert confusion_matrix(torch.tensor([1, 1, 0]), torch.tensor([0, 0, 0]), 2).tolist() == [[1, 2], [0, 0]]


def test_tensors_that_lie_apart_in_memory_are_counted_in_order(way):
    predicted, truth = pair(5, shape=(30, 40, 2))
    turned = confusion_matrix(predicted.permute(2, 0, 1), truth.permute(2, 0, 1), 5)
    assert torch.equal(turned, confusion_matrix(predicted, truth, 5))


def test_pixels_by_the_hundred_thousand_are_each_counted_once(way):
    predicted, truth = pair(5, shape=(2, 301, 307))
    counted = truth != 255
    expected = torch.bincount(5 * truth[counted] + predicted[counted], minlength=25).view(5, 5)
    assert torch.equal(confusion_matrix(predicted, truth, 5), expected)


def test_more_pixels_than_a_float_can_count_are_counted(way):
    # 2 ** 24 + 1 is no float32.
    pixels = torch.zeros(1, 4097, 4097, dtype=torch.uint8)
    assert confusion_matrix(pixels, pixels, 2).tolist() == [[4097 * 4097, 0], [0, 0]]


def test_no_image_counts_nothing(way):
    none = torch.zeros(0, 4, 4, dtype=torch.int64)
    assert confusion_matrix(none, none, 2).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("value", [3, 254, 256, 1000, -1, -253])
def test_a_mask_with_another_value_is_refused(way, value):
    truth = torch.tensor([[0, 1, 2, value, value]])
    with pytest.raises(DataError, match=f"2 pixels of masks have no class: the first of them is {value}, .* 0 to 2"):
        confusion_matrix(torch.zeros_like(truth), truth, 3)


@pytest.mark.parametrize("value", [3, 255, 256, -1])
def test_a_prediction_of_no_class_is_refused_where_it_counts(way, value):
    predicted, truth = torch.tensor([[0, value, 0]]), torch.tensor([[0, 0, 0]])
    with pytest.raises(UsageError, match=f"1 pixels were predicted to be no class: the first of them is {value}"):
        confusion_matrix(predicted, truth, 3)
    truth[0, 1] = 255
    assert confusion_matrix(predicted, truth, 3).sum() == 2


@pytest.mark.parametrize(
    "predicted", [torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 5, dtype=torch.int64), torch.zeros(2, 4, 4)]
)
def test_what_is_no_plane_of_classes_of_the_same_size_is_refused(predicted):
    with pytest.raises(UsageError, match="class numbers"):
        confusion_matrix(predicted, torch.zeros(2, 4, 4, dtype=torch.int64), 3)
