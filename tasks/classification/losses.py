"""The loss of classification, as pure functions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """The mean negative log-probability of the true classes.

    `logits` (N, C); `labels` int64 (N,) or, for mixed images, float (N, C) with rows of sum 1; `class_weights` (C,) or
    None. With weights, the mean over int64 labels is a weighted one (divided by the sum of the weights), and that over
    float labels is divided by N, as `torch.nn.functional.cross_entropy` does. Label smoothing: Szegedy et al. 2016,
    section 7.
    """
    return F.cross_entropy(logits, labels, weight=class_weights, label_smoothing=label_smoothing)


def balanced_class_weights(counts: Sequence[int]) -> torch.Tensor:
    """float32 (C,): images / (C * images of the class), so that each class adds the same total weight,
    and the mean over all images is 1.

    A class without images gets 0: nothing can be learnt about it.
    """
    counts_ = torch.as_tensor(counts, dtype=torch.float64)
    weights = counts_.sum() / (len(counts_) * counts_.clamp(min=1))
    return torch.where(counts_ > 0, weights, 0.0).float()
