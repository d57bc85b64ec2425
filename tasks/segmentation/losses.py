"""The losses of segmentation, as pure functions: those of single pixels, and the registry of all, from which a recipe
takes a weighted sum.

Those of whole regions are in region_losses.py, with the conventions that hold for all: `logits` float (N, C, H, W),
`mask` int64 (N, H, W) with `ignore_index`, computed in float32 at least, and 0 with a gradient of 0 where every pixel
is ignored.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F

from ...core.errors import DataError, UsageError
from ..weights_of_losses import check_weights
from .region_losses import at_least_float32, boundary_loss, dice_loss, jaccard_loss, lovasz_loss, tversky_loss


def cross_entropy(
    logits: torch.Tensor,
    mask: torch.Tensor,
    *,
    class_weights: torch.Tensor | None = None,
    ignore_index: int = 255,
) -> torch.Tensor:
    """The mean negative log-probability of the true classes over the known pixels, in nats.

    With `class_weights` (C,) it is a weighted mean, divided by the sum of the pixels' weights, as
    `torch.nn.functional.cross_entropy` does; but 0, not NaN, where that sum is 0.
    """
    values = _negative_log(logits, mask, ignore_index)
    weights = _pixel_weights(values, mask, class_weights, ignore_index)
    return _ratio((weights * values).sum(), weights.sum())


def focal_loss(
    logits: torch.Tensor,
    mask: torch.Tensor,
    *,
    gamma: float = 2.0,
    class_weights: torch.Tensor | None = None,
    ignore_index: int = 255,
) -> torch.Tensor:
    """The mean over known pixels of -(1 - p)^gamma log p, p the softmax probability of the true class.

    Lin et al. 2017, equation 4, with the softmax in place of their sigmoid; gamma 2 is theirs, 0 gives cross-entropy.
    `class_weights` (C,) are the alpha of equation 5, and the divisor stays the number of known pixels.

    Raises UsageError for a negative gamma.
    """
    if not gamma >= 0:
        raise UsageError(
            f"The focal loss got gamma {gamma}; it needs gamma >= 0. Set 2, as in the paper, or 0 for none."
        )
    values = _negative_log(logits, mask, ignore_index)
    # Below gamma 1 the power has no derivative at 0: where p rounds to 1, the smallest number stands for 1 - p.
    missing = -torch.expm1(-values)
    modulated = missing.clamp(min=torch.finfo(values.dtype).tiny) ** gamma * values
    weights = _pixel_weights(values, mask, class_weights, ignore_index)
    return _ratio((weights * modulated).sum(), (mask != ignore_index).sum())


def ohem_cross_entropy(
    logits: torch.Tensor,
    mask: torch.Tensor,
    *,
    threshold: float = 0.7,
    min_share: float = 1 / 16,
    class_weights: torch.Tensor | None = None,
    ignore_index: int = 255,
) -> torch.Tensor:
    """Cross-entropy of the hard pixels alone: online hard example mining (Shrivastava et al. 2016), pixel by pixel.

    A pixel is hard if its true class has a probability below `threshold`. If fewer than `min_share` of the batch's
    known pixels are (rounded up), that share of the least probable ones is taken: Wu et al. 2016 ("High-performance
    semantic segmentation using very deep fully convolutional networks", online bootstrapping). It is a share because a
    number of pixels suits one size of batch and image only. `class_weights` (C,) weigh the mean, not the choice.

    Raises UsageError unless threshold is in (0, 1] and min_share in [0, 1].
    """
    if not (0 < threshold <= 1 and 0 <= min_share <= 1):
        sentence = f"Hard pixels got threshold {threshold} and min_share {min_share}"
        raise UsageError(f"{sentence}; set a threshold above 0 and up to 1, and a min_share from 0 to 1.")
    known = mask != ignore_index
    values = _negative_log(logits, mask, ignore_index)
    weights = _pixel_weights(values, mask, class_weights, ignore_index)[known]
    values = values[known]
    kept = (values > -math.log(threshold)).nonzero().squeeze(1)
    least = math.ceil(min_share * len(values))
    if len(kept) < least:
        kept = values.topk(least).indices
    return _ratio((weights[kept] * values[kept]).sum(), weights[kept].sum())


def _negative_log(logits: torch.Tensor, mask: torch.Tensor, ignore_index: int) -> torch.Tensor:
    """-log p of the true class, (N, H, W); 0 where ignored."""
    # Unreduced: torch's own sum over (N, H, W) has no deterministic implementation on a GPU.
    return F.cross_entropy(at_least_float32(logits), mask, ignore_index=ignore_index, reduction="none")


def _pixel_weights(
    values: torch.Tensor, mask: torch.Tensor, class_weights: torch.Tensor | None, ignore_index: int
) -> torch.Tensor:
    """The weight of each pixel's class in the type of `values`, (N, H, W); 0 where ignored, 1 without class weights."""
    known = mask != ignore_index
    if class_weights is None:
        return known.to(values.dtype)
    return torch.where(known, class_weights.to(values)[torch.where(known, mask, 0)], 0)


def _ratio(total: torch.Tensor, divisor: torch.Tensor) -> torch.Tensor:
    """Their quotient; `total`, which is then 0, where the divisor is 0."""
    return total / torch.where(divisor > 0, divisor, 1)


def median_frequency_weights(pixels: Sequence[int], pixels_of_images: Sequence[int]) -> torch.Tensor:
    """float32 (C,): the median of the classes' frequencies over the frequency of the class (Eigen & Fergus 2015).

    The frequency of a class is its number of `pixels` over `pixels_of_images`, the number of all known pixels of those
    images that have the class. A class without pixels gets 0 and has no say in the median, which is the mean of the
    middle two where the number of classes is even.

    Raises DataError if no class has a pixel.
    """
    counts = torch.as_tensor(pixels, dtype=torch.float64)
    totals = torch.as_tensor(pixels_of_images, dtype=torch.float64)
    assert counts.shape == totals.shape and bool((counts <= totals).all()), "a class can't fill more than its images"
    present = counts > 0
    if not present.any():
        found = f"The {len(counts)} classes have no pixel in the training masks, so their frequencies have no median"
        raise DataError(f"{found}; check that the masks belong to these classes, or set class_weights to none.")
    frequencies = counts / totals.clamp(min=1)
    return torch.where(present, frequencies[present].quantile(0.5) / frequencies, 0).float()


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal_loss,
    "ohem": ohem_cross_entropy,
    "dice": dice_loss,
    "jaccard": jaccard_loss,
    "tversky": tversky_loss,
    "lovasz": lovasz_loss,
    "boundary": boundary_loss,
}
TAKE_CLASS_WEIGHTS = ("cross_entropy", "focal", "ohem")


def weighted_losses(
    logits: torch.Tensor,
    mask: torch.Tensor,
    weights: Mapping[str, float],
    *,
    class_weights: torch.Tensor | None = None,
    ignore_index: int = 255,
) -> dict[str, torch.Tensor]:
    """The parts of a weighted sum of losses by name, each already times its weight, so that their sum is the loss.

    `weights` are of names in LOSSES, such as {"cross_entropy": 1.0, "dice": 1.0}; `class_weights` (C,) go to those in
    TAKE_CLASS_WEIGHTS. Raises UsageError as `check_loss_weights` does.
    """
    check_loss_weights(weights, class_weights=class_weights is not None)
    parts = {}
    for name, weight in weights.items():
        own = {"class_weights": class_weights} if name in TAKE_CLASS_WEIGHTS else {}
        parts[name] = weight * LOSSES[name](logits, mask, ignore_index=ignore_index, **own)
    return parts


def check_loss_weights(weights: Mapping[str, float], *, class_weights: bool = False) -> None:
    """Raise UsageError for a name that LOSSES lacks, for a negative, infinite or NaN weight, if no weight is above 0,
    or for class weights that none of the losses takes: a recipe's mistakes, said before the first step.
    """
    check_weights(weights, LOSSES)
    if class_weights and not set(weights) & set(TAKE_CLASS_WEIGHTS):
        takers = ", ".join(TAKE_CLASS_WEIGHTS)
        raise UsageError(f"None of {', '.join(weights)} takes class weights; add one of {takers}, or set them to none.")
