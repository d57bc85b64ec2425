"""How well a segmenter does on a whole data set: mIoU, each class's IoU, accuracy, Dice, and its outlines if asked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torchmetrics import Metric

from ...core.errors import UsageError
from ...datasets.masks import IGNORE
from .boundaries import boundary_f1, trimap
from .confusion import confusion_matrix

_WHOLE = 10**9  # an F1 of 1: sums of whole numbers depend on no order, and every device has them


@dataclass
class Summary:
    """All that one evaluation says."""

    numbers: dict[str, float]  # shares of 1; -1 where nothing counts
    per_class: dict[str, float | None]  # IoU; None for a class that is neither in a mask nor was predicted
    per_class_boundary_f1: dict[str, float | None]  # None for a class without a border; empty where not asked for
    confusion: np.ndarray  # int64 (C, C): pixels of the row's class that were given the column's
    remark: str | None  # why there are no numbers


class SegmentationMetrics(Metric):
    """One confusion matrix of all pixels of all images, over several processes too.

    mIoU is that of the data set, the mean over classes of TP / (TP + FP + FN) with pixels of all images counted
    together, as Pascal VOC has it (Everingham et al. 2015) and Cityscapes (Cordts et al. 2016), and not the mean over
    images: that is another number, in which three pixels of a class in one image weigh as much as thousands elsewhere.

    Args:
        class_names: C of them.
        boundary_tolerance: asks for boundary F1, and says how far a border may be off, as a share of the image's
            diagonal (Csurka et al. 2013: 0.0075). It costs some milliseconds a class and image, on the CPU.
        trimap_width: asks for IoU within so many pixels of the true borders (Kohli et al. 2009); also on the CPU.

    Raises UsageError for a tolerance that is no share, a width below 1, or other than 1 to 255 classes.
    """

    full_state_update = False

    confusion: torch.Tensor
    confusion_near_borders: torch.Tensor
    boundary_f1_sums: torch.Tensor
    boundary_f1_images: torch.Tensor

    def __init__(
        self, class_names: Sequence[str], *, boundary_tolerance: float | None = None, trimap_width: int | None = None
    ) -> None:
        super().__init__()
        classes = len(class_names)
        _check(classes, boundary_tolerance, trimap_width)
        self.class_names = list(class_names)
        self.boundary_tolerance, self.trimap_width = boundary_tolerance, trimap_width
        squares, rows = (torch.zeros(shape, dtype=torch.int64) for shape in ((classes, classes), (classes,)))
        for name, zeros in (
            ("confusion", squares),
            ("confusion_near_borders", squares),
            ("boundary_f1_sums", rows),
            ("boundary_f1_images", rows),
        ):
            self.add_state(name, default=zeros.clone(), dist_reduce_fx="sum")

    def update(
        self, predicted: torch.Tensor, truth: torch.Tensor, shapes: Sequence[tuple[int, int]] | None = None
    ) -> None:
        """Add N images.

        `predicted` and `truth` int64 or uint8 (N, H, W): class numbers; pixels whose truth is 255 count for nothing.
        `shapes`: (H, W) of each image before padding, a batch's `shape`; only what asks for borders looks at it.
        Raises what `confusion_matrix` does.
        """
        self.confusion += confusion_matrix(predicted, truth, len(self.class_names)).to(self.confusion.device)
        if self.boundary_tolerance is None and self.trimap_width is None:
            return
        planes = (x.to(torch.uint8).cpu().numpy() for x in (predicted, truth))
        for own, asked, (height, width) in zip(*planes, shapes or [truth.shape[1:]] * len(truth), strict=True):
            self._add_borders(own[:height, :width], asked[:height, :width])

    def _add_borders(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        classes = len(self.class_names)
        if self.boundary_tolerance is not None:
            scores = boundary_f1(predicted, truth, num_classes=classes, tolerance=self.boundary_tolerance)
            parts = (np.nan_to_num(scores) * _WHOLE).round().astype(np.int64)
            self.boundary_f1_sums += torch.from_numpy(parts).to(self.boundary_f1_sums.device)
            self.boundary_f1_images += torch.from_numpy(~np.isnan(scores)).to(self.boundary_f1_images.device)
        if self.trimap_width is not None:
            near = np.where(trimap(truth, self.trimap_width), truth, np.uint8(IGNORE))
            matrix = confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(near), classes)
            self.confusion_near_borders += matrix.to(self.confusion_near_borders.device)

    def compute(self) -> Summary:
        """`miou`, `pixel_accuracy`, `mean_class_accuracy` (over the classes that masks have), `mean_dice`, and, where
        asked for, `boundary_f1` (of each class the mean over the images that have a border of it, and of these the
        mean) and `trimap_miou`.
        """
        confusion = self.confusion.cpu()
        overlaps = per_class_iou(confusion)
        numbers = {
            "miou": _mean(overlaps),
            "pixel_accuracy": _mean(confusion.diagonal().sum().double() / confusion.sum()),
            "mean_class_accuracy": _mean(per_class_accuracy(confusion)),
            "mean_dice": _mean(per_class_dice(confusion)),
        }
        outlines = {}
        if self.boundary_tolerance is not None:
            scores = self.boundary_f1_sums.cpu().double() / self.boundary_f1_images.cpu() / _WHOLE
            outlines, numbers["boundary_f1"] = self._named(scores), _mean(scores)
        if self.trimap_width is not None:
            numbers["trimap_miou"] = _mean(per_class_iou(self.confusion_near_borders.cpu()))
        nothing = "No pixel counts: all of these masks is 255, ignored; look at them with `foveal check-data`."
        return Summary(
            numbers=numbers,
            per_class=self._named(overlaps),
            per_class_boundary_f1=outlines,
            confusion=confusion.numpy().copy(),
            remark=None if confusion.any() else nothing,
        )

    def _named(self, values: torch.Tensor) -> dict[str, float | None]:
        there = [None if value != value else value for value in values.tolist()]
        return dict(zip(self.class_names, there, strict=True))


def per_class_iou(confusion: torch.Tensor) -> torch.Tensor:
    """Of a confusion matrix int64 (C, C): float64 (C,), TP / (TP + FP + FN); NaN for a class in neither mask nor
    prediction.
    """
    right = confusion.diagonal().double()
    return right / (confusion.sum(dim=0) + confusion.sum(dim=1) - right)


def per_class_dice(confusion: torch.Tensor) -> torch.Tensor:
    """The same for 2 TP / (2 TP + FP + FN), Dice's coefficient."""
    return 2 * confusion.diagonal().double() / (confusion.sum(dim=0) + confusion.sum(dim=1))


def per_class_accuracy(confusion: torch.Tensor) -> torch.Tensor:
    """The same for TP / (TP + FN); NaN for a class that is in no mask."""
    return confusion.diagonal().double() / confusion.sum(dim=1)


def _mean(values: torch.Tensor) -> float:
    there = values[~values.isnan()]
    return float(there.mean()) if there.numel() else -1.0


def _check(classes: int, tolerance: float | None, width: int | None) -> None:
    if not 1 <= classes <= IGNORE:
        raise UsageError(f"There are {classes} class names; masks have 1 to {IGNORE} classes, and 255 is ignored.")
    if tolerance is not None and not 0 < tolerance < 1:
        raise UsageError(f"boundary_tolerance is {tolerance}; give a share of the image's diagonal, such as 0.0075.")
    if width is not None and width < 1:
        raise UsageError(f"trimap_width is {width}; give 1 or more pixels.")
