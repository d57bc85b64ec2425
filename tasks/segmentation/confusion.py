"""Who is taken for whom, pixel by pixel: one histogram over the planes of predicted and true classes."""

import cv2
import numpy as np
import torch

from ...core.errors import DataError, UsageError
from ...datasets.masks import IGNORE

_MOST = 2**24  # pixels at once: OpenCV hands counts over as float32, which is exact up to here
_CACHED = 2**16  # pixels whose numbers stay in a processor's cache from one step to the next


def confusion_matrix(predicted: torch.Tensor, truth: torch.Tensor, num_classes: int) -> torch.Tensor:
    """int64 (C, C), on the device of `truth`: pixels of the row's class that were given the column's.

    `predicted` and `truth` are class numbers of the same shape, such as (N, H, W), int64 or any other whole numbers
    (uint8 is fastest on a CPU). Pixels whose truth is 255 count for nothing, whatever was predicted there.

    Raises UsageError for tensors of two shapes or of fractions, DataError for a true class that is not one of
    0 to C - 1, and UsageError for such a prediction.
    """
    if predicted.shape != truth.shape or predicted.is_floating_point() or truth.is_floating_point():
        raise UsageError(
            f"Predictions of shape {tuple(predicted.shape)} and type {predicted.dtype} came with masks of shape "
            f"{tuple(truth.shape)} and type {truth.dtype}; both have to be class numbers (N, H, W): take the argmax of "
            "logits over their classes first."
        )
    pairs = _pairs(predicted, truth) if predicted.device.type == truth.device.type == "cpu" else None
    if pairs is None:
        return _by_bincount(predicted, truth, num_classes)
    counts = _by_histogram(pairs)
    inside = counts[:num_classes, :num_classes]
    if counts[:IGNORE].sum() != inside.sum():
        _refuse(predicted, truth, num_classes)
    return torch.from_numpy(inside.copy())


def _pairs(predicted: torch.Tensor, truth: torch.Tensor) -> np.ndarray | None:
    """uint16 (1, K): 256 times each pixel's true class plus the predicted one; None if one needs more than a byte."""
    columns, rows = (x.numpy().reshape(1, -1) for x in (predicted, truth))
    pairs = np.empty((1, rows.size, 2), np.uint8)  # the lower byte first: torch runs on no other machines
    for start in range(0, rows.size, _CACHED):
        part = slice(start, start + _CACHED)
        planes = (columns[:, part], rows[:, part])
        if not all(x.dtype == np.uint8 or _fits_bytes(x) for x in planes):
            return None
        cv2.merge([x.astype(np.uint8, copy=False) for x in planes], pairs[:, part])
    return pairs.view(np.uint16)[..., 0]


def _fits_bytes(values: np.ndarray) -> bool:
    # One pass where the least and the greatest would be two: a bit above the eighth, or the sign, is in some value.
    return bool(0 <= np.bitwise_or.reduce(values, axis=None) < 256)


def _by_histogram(pairs: np.ndarray) -> np.ndarray:
    """int64 (256, 256): how often each pair is there.

    One histogram of 16 bits: OpenCV takes it up to five times sooner than one over two planes of 8 bits, two to five
    times sooner than numpy.bincount, and up to eight times sooner than torch.bincount.
    """
    counts = np.zeros(65536, np.int64)
    for start in range(0, pairs.size, _MOST):
        part = pairs[:, start : start + _MOST]
        counts += cv2.calcHist([part], [0], None, [65536], [0, 65536]).ravel().astype(np.int64)
    return counts.reshape(256, 256)


def _by_bincount(predicted: torch.Tensor, truth: torch.Tensor, num_classes: int) -> torch.Tensor:
    """The same on any device, for any whole numbers.

    As few bins as there can be, since a GPU counts in its shared memory while they fit: a column for predictions
    outside of the classes, a row for such truths, and one for what is ignored.
    """
    columns, rows = (torch.where((x >= 0) & (x < num_classes), x.long(), num_classes) for x in (predicted, truth))
    rows = torch.where(truth == IGNORE, num_classes + 1, rows)
    shape = (num_classes + 2, num_classes + 1)
    counts = torch.bincount((rows * shape[1] + columns).flatten(), minlength=shape[0] * shape[1]).view(shape)
    inside = counts[:num_classes, :num_classes]
    if counts[:-1].sum() != inside.sum():
        _refuse(predicted, truth, num_classes)
    return inside


def _refuse(predicted: torch.Tensor, truth: torch.Tensor, num_classes: int) -> None:
    counted = truth != IGNORE
    wrong = truth[counted & ((truth < 0) | (truth >= num_classes))]
    classes = f"there are {num_classes} classes, 0 to {num_classes - 1}"
    if len(wrong):
        raise DataError(
            f"{len(wrong)} pixels of masks have no class: the first of them is {int(wrong[0])}, but {classes}, and 255 "
            "is ignored; run `foveal check-data` to see which files have such values."
        )
    wrong = predicted[counted & ((predicted < 0) | (predicted >= num_classes))]
    raise UsageError(
        f"{len(wrong)} pixels were predicted to be no class: the first of them is {int(wrong[0])}, but {classes}; "
        "give the metrics as many class names as the logits have channels."
    )
