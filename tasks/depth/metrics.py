"""The numbers of depth estimation over a data set, for all ways of alignment side by side."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torchmetrics import Metric

from ...core.errors import NumericalError, UsageError, unknown
from .align import ALIGNMENTS
from .crops import CropName, crop_box

NUMBERS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "delta1", "delta2", "delta3")
ERRORS = NUMBERS[:6]  # the lower the better; of the others, shares of 1, the higher
_STEP = 1.25  # of the deltas


class DepthMetrics(Metric):
    """The nine numbers that papers print, each the mean over images, as in Monodepth2's and BTS's evaluation.

    Those who count all pixels of a data set together, as Eigen et al. 2014 write it, get the same where each image has
    as many known pixels. Sums are in float64 and hold nothing of an image; over several processes too.

    Args:
        crop: the part of each image that counts, see `crops.py`.
        min_depth: truths of up to so many metres do not count, and predictions below are raised to it.
        max_depth: truths from so many metres on do not count, and predictions beyond are lowered to it, after they are
            aligned; None for no cap. KITTI's figures have 80 or 50, NYU's 10.
        alignments: of `ALIGNMENTS`.

    Raises UsageError for depths that are no range, and for an unknown crop or alignment.
    """

    full_state_update = False

    sums: torch.Tensor
    images: torch.Tensor
    empty: torch.Tensor

    def __init__(
        self,
        *,
        crop: CropName = "none",
        min_depth: float = 1e-3,
        max_depth: float | None = None,
        alignments: Sequence[str] = tuple(ALIGNMENTS),
    ) -> None:
        super().__init__()
        if not 0 < min_depth < (np.inf if max_depth is None else max_depth):
            raise UsageError(
                f"Depths from {min_depth:g} to {max_depth} metres were to be counted; give a least depth above 0, and "
                "a cap beyond it, or null for none."
            )
        crop_box(crop, 1, 1)
        for alignment in alignments:
            if alignment not in ALIGNMENTS:
                raise unknown("alignment", alignment, ALIGNMENTS)
        self.crop, self.min_depth, self.max_depth = crop, min_depth, max_depth
        self.alignments = tuple(alignments)
        zeros = torch.zeros((len(self.alignments), len(NUMBERS)), dtype=torch.float64)
        self.add_state("sums", default=zeros, dist_reduce_fx="sum")
        self.add_state("images", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("empty", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: np.ndarray, truth: np.ndarray, *, name: str = "") -> None:
        """Add an image: both float (H, W), in metres, at the size of the file; `name` is the image's, for an error.

        A truth that is 0, negative, NaN or infinite does not count. Raises NumericalError for a prediction that is NaN
        or infinite where the truth is known: it would have to be worse than any number.
        """
        assert prediction.shape == truth.shape, (prediction.shape, truth.shape)
        inside = crop_box(self.crop, *truth.shape)
        truth, prediction = truth[inside], prediction[inside]
        known = self.counts(truth)
        if not known.any():
            self.empty += 1
            return
        asked, found = truth[known].astype(np.float64), prediction[known].astype(np.float64)
        if not np.isfinite(found).all():
            bad = int((~np.isfinite(found)).sum())
            raise NumericalError(f"{bad} depths predicted for '{name}' are NaN or infinite; the network has diverged.")
        rows = [self._errors(ALIGNMENTS[alignment](found, asked), asked) for alignment in self.alignments]
        self.sums += torch.tensor(rows, dtype=torch.float64).to(self.sums.device)
        self.images += 1

    def counts(self, truth: np.ndarray) -> np.ndarray:
        """Which depths (H, W) are known and within the range, bool."""
        return (truth > self.min_depth) & (truth < (np.inf if self.max_depth is None else self.max_depth))

    def compute(self) -> dict[str, dict[str, float]]:
        """Of each alignment the nine numbers, under the names in NUMBERS; -1 where no image has a known depth.

        `silog` is 100 times the square root of the variance of the logarithmic error, as KITTI's benchmark has it.
        """
        images = int(self.images)
        means = (self.sums.cpu() / images).tolist() if images else [[-1.0] * len(NUMBERS)] * len(self.alignments)
        return {name: dict(zip(NUMBERS, row, strict=True)) for name, row in zip(self.alignments, means, strict=True)}

    def protocol(self) -> str:
        """What the numbers are of, to be printed beside them."""
        cap = "no cap" if self.max_depth is None else f"cap {self.max_depth:g} m"
        left = f", {int(self.empty)} images without a known depth left out" if int(self.empty) else ""
        return f"crop {self.crop}, depths from {self.min_depth:g} m, {cap}, mean over {int(self.images)} images{left}"

    def _errors(self, found: np.ndarray, asked: np.ndarray) -> list[float]:
        return depth_errors(np.clip(found, self.min_depth, self.max_depth), asked)

    def _apply(self, fn: Callable, *arguments: object) -> "DepthMetrics":
        """Apple's GPUs know no float64: there the sums stay on the CPU."""
        if fn(torch.zeros(1)).device.type == "mps":
            return self
        return super()._apply(fn, *arguments)  # type: ignore[return-value]


def depth_errors(found: np.ndarray, asked: np.ndarray) -> list[float]:
    """The nine numbers, in the order of NUMBERS, of predictions and truths float64 (P,), P > 0, in metres above 0."""
    error, logarithmic = found - asked, np.log(found) - np.log(asked)
    squared, mean = float(np.mean(logarithmic**2)), float(np.mean(logarithmic))
    factor = np.maximum(found / asked, asked / found)
    return [
        float(np.mean(np.abs(error) / asked)),
        float(np.mean(error**2 / asked)),
        float(np.sqrt(np.mean(error**2))),
        squared**0.5,
        float(np.mean(np.abs(logarithmic)) / np.log(10)),
        100 * float(np.mean((logarithmic - mean) ** 2)) ** 0.5,
        *(float(np.mean(factor < _STEP**power)) for power in (1, 2, 3)),
    ]
