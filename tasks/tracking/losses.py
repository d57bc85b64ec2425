"""What a map of responses is to say of a pair of crops, and how far it is from that (Bertinetto et al., 2016)."""

import torch
import torch.nn.functional as F


def score_labels(size: int, stride: int, centres: torch.Tensor, radius: float) -> torch.Tensor:
    """Labels (N, 1, size, size) of responses: 1 within `radius` pixels of the target, else 0 (section 2.2, equation 4;
    the paper's -1).

    `centres` (N, 2): x and y of the targets' middles from that of the search crop, in its pixels, at any fraction; the
    middle response stands for 0, and from each to the next it is `stride` pixels.
    """
    places = (torch.arange(size, device=centres.device, dtype=centres.dtype) - (size - 1) / 2) * stride
    across = (places - centres[:, :1]).square()  # (N, size)
    down = (places - centres[:, 1:]).square()
    return (down[:, :, None] + across[:, None, :] <= radius**2).to(centres.dtype).unsqueeze(1)


def balanced_logistic(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The logistic loss (equation 1) of responses (N, 1, R, R): of each map the mean over the positives and that over
    the negatives, each with weight 1/2 (section 2.2), and of these the mean over the maps.

    A map without positives, whose target is elsewhere, has the half of its negatives alone.
    """
    positives = labels.to(outputs.dtype)
    negatives = 1 - positives
    shares = [0.5 * each / each.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1) for each in (positives, negatives)]
    losses = F.binary_cross_entropy_with_logits(outputs, positives, reduction="none")
    return (losses * (shares[0] + shares[1])).sum() / len(outputs)
