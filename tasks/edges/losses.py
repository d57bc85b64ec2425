"""The losses of edge detection, as pure functions: class-balanced cross-entropy (Xie and Tu, Holistically-nested edge
detection, 2015, equation 2), and as RCF has it (Liu et al. 2017, equation 1).

Everywhere `logits` is float (N, 1, H, W) and `edges` float (N, H, W), the share of annotators who marked each pixel, 0
to 1, or below 0 where a pixel doesn't count, as beside an image that is smaller than its batch. The result is a scalar
of float32, of float64 for such logits.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F

from ...core.errors import UsageError

Disputed = Literal["negative", "ignored"]
Reduction = Literal["mean", "sum"]


def edge_labels(
    edges: torch.Tensor, *, consensus: float = 0.5, disputed: Disputed = "negative"
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is an edge and what is none, both bool, shaped as `edges`.

    An edge was marked by more than the share `consensus` of annotators: with 0.5 by three of five, as in HED (section
    4.1) and RCF (section 3.2, their eta). What only some marked is `disputed`: HED's negatives, ignored in RCF.

    Raises UsageError unless consensus is from 0 to below 1.
    """
    if not 0 <= consensus < 1:
        raise UsageError(f"The consensus is {consensus}; set a share of the annotators from 0 to below 1, as 0.5.")
    positive = edges > consensus
    negative = edges == 0 if disputed == "ignored" else (edges >= 0) & ~positive
    return positive, negative


def balanced_cross_entropy(
    logits: torch.Tensor,
    edges: torch.Tensor,
    *,
    consensus: float = 0.5,
    disputed: Disputed = "negative",
    negative_weight: float = 1.0,
    reduction: Reduction = "mean",
) -> torch.Tensor:
    """The mean over images of -beta sum over edges of log p - lambda (1 - beta) sum over the others of log(1 - p), with
    beta the share of an image's pixels that are no edges: both classes have the same weight in total.

    `reduction` "sum" is the papers' sum over pixels, for which their learning rate is 1e-6; "mean" divides each image's
    by the number of its pixels that count, so that a learning rate suits images of any size (theirs becomes 0.15 at 321
    x 481), and images with few edges count for less, as in the papers. `negative_weight` is lambda: 1 in HED, 1.1 in
    RCF. An image without an edge, or all edge, costs 0 with a gradient of 0, as the formula says; so does one of which
    no pixel counts. For the labels, and for what is raised, see `edge_labels`.
    """
    positive, negative = edge_labels(edges, consensus=consensus, disputed=disputed)
    values = logits.squeeze(1).to(torch.promote_types(logits.dtype, torch.float32))
    edge, none = positive.sum(dim=(1, 2)).to(values.dtype), negative.sum(dim=(1, 2)).to(values.dtype)
    counted = (edge + none).clamp(min=1)
    # -log p is softplus(-x), -log(1 - p) is softplus(x), with x the logit.
    wrong = torch.where(positive, F.softplus(-values), 0).sum(dim=(1, 2))
    false = torch.where(negative, F.softplus(values), 0).sum(dim=(1, 2))
    total = (none * wrong + negative_weight * edge * false) / counted
    return (total / counted if reduction == "mean" else total).mean()


def edge_losses(
    outputs: Sequence[torch.Tensor],
    edges: torch.Tensor,
    *,
    weights: Sequence[float] | None = None,
    consensus: float = 0.5,
    disputed: Disputed = "negative",
    negative_weight: float = 1.0,
    reduction: Reduction = "mean",
) -> dict[str, torch.Tensor]:
    """The loss of each of a head's outputs, `side1`, ..., `fuse`, times its weight: their sum is the papers' loss.

    `weights`: one an output, 1 each by default, as in both papers. Raises UsageError for another number of them, for
    a negative one or if all are 0, and as `edge_labels` does.
    """
    weights = [1.0] * len(outputs) if weights is None else weights
    if len(weights) != len(outputs) or min(weights) < 0 or not any(weights):
        raise UsageError(
            f"The weights of the side outputs are {list(weights)}, but this network has {len(outputs)} outputs, "
            f"{len(outputs) - 1} sides and their fusion; give a number from 0 up for each, not all 0."
        )
    names = [*(f"side{number}" for number in range(1, len(outputs))), "fuse"]
    return {
        name: weight
        * balanced_cross_entropy(
            logits,
            edges,
            consensus=consensus,
            disputed=disputed,
            negative_weight=negative_weight,
            reduction=reduction,
        )
        for name, weight, logits in zip(names, weights, outputs, strict=True)
    }
