"""The losses of depth and of surface normals, as pure functions, and the registry from which a recipe takes a sum.

Everywhere `depth` is float (N, H, W) above 0 and `truth` float (N, H, W), in metres. A pixel whose truth is 0, below 0,
NaN or infinite is not known: it counts for nothing, and its prediction gets a gradient of 0. A batch without a known
pixel costs 0. The result is a scalar of float32, of float64 for such depths, under autocast too.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F

from ..weights_of_losses import check_weights

LEAST = 1e-6  # metres: what a depth of 0 or less counts as where its logarithm is taken


def scale_invariant(
    depth: torch.Tensor, truth: torch.Tensor, lam: float = 0.5, *, root: bool = False, factor: float = 1.0
) -> torch.Tensor:
    """The mean over images of (1/n) sum d² - (lambda/n²) (sum d)², d = log depth - log truth: Eigen, Puhrsch and Fergus
    2014, equation 4.

    With `lam` 1 it is the variance of d, which no common factor of an image's depths changes; with 0 it is the squared
    logarithmic error; the paper trains with 0.5. `root` takes the square root of each image's, and `factor` multiplies
    it: with lambda 0.85 and factor 10 it is the loss of BTS (Lee et al. 2019, equation 2), there over a whole batch.
    """
    difference, known = _log_difference(depth, truth)
    mean = _per_image(difference, known)
    # As the variance and what is left of the squared mean: no difference of large numbers, and so never below 0.
    variance = _per_image((difference - mean[:, None, None]) ** 2, known)
    values = variance + (1 - lam) * mean**2
    return factor * _over_images(_root(values) if root else values, known)


def l1(depth: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The mean absolute error over the known pixels of the batch, in metres."""
    error, known = _difference(depth, truth)
    return error.abs().sum() / _number(known)


def l2(depth: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The mean squared error over the known pixels of the batch, in square metres."""
    error, known = _difference(depth, truth)
    return (error**2).sum() / _number(known)


def log_l1(depth: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The mean absolute error of the natural logarithms over the known pixels of the batch."""
    error, known = _log_difference(depth, truth)
    return error.abs().sum() / _number(known)


def berhu(depth: torch.Tensor, truth: torch.Tensor, share: float = 0.2) -> torch.Tensor:
    """The mean of the reverse Huber loss over the known pixels of the batch: |e| up to c, and (e² + c²) / 2c beyond, c
    being `share` of the largest |e| in the batch (Laina et al. 2016, equation 2). No gradient flows through c.
    """
    error, known = _difference(depth, truth)
    error = error.abs()
    threshold = (share * error.detach().max()).clamp(min=torch.finfo(error.dtype).tiny) if error.numel() else 1.0
    beyond = (error**2 + threshold**2) / (2 * threshold)
    return torch.where(error <= threshold, error, beyond).sum() / _number(known)


def gradient_matching(
    depth: torch.Tensor, truth: torch.Tensor, scales: int = 4, *, squared: bool = False
) -> torch.Tensor:
    """The mean over images of how much the slopes of log depth differ from those of log truth: at each scale the sum of
    |dx d| + |dy d|, over the number of known pixels there; and the sum over scales.

    Li and Snavely 2018 (MegaDepth), equation 4: d = log depth - log truth, and scale k takes every 2^k-th pixel of it.
    A difference counts where both its pixels are known. With `squared`, and one scale, it is the second part of the
    loss of Eigen and Fergus 2015, equation 1.
    """
    difference, known = _log_difference(depth, truth)
    total = difference.sum() * 0
    for scale in range(scales):
        step = 2**scale
        part, there = difference[:, ::step, ::step], known[:, ::step, ::step]
        right, down = part[:, :, 1:] - part[:, :, :-1], part[:, 1:] - part[:, :-1]
        right = torch.where(there[:, :, 1:] & there[:, :, :-1], right, 0)
        down = torch.where(there[:, 1:] & there[:, :-1], down, 0)
        slopes = [(x**2 if squared else x.abs()).sum(dim=(1, 2)) for x in (right, down)]
        count = there.sum(dim=(1, 2)).clamp(min=1)
        total = total + _over_images((slopes[0] + slopes[1]) / count, known)
    return total


def normals_cosine(normals: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The mean over the known pixels of the batch of 1 - cos, of the angle between both vectors: 0 to 2.

    `normals` float (N, 3, H, W) of any length, `truth` float (N, 3, H, W) of unit length, or 0 where not known. Eigen
    and Fergus 2015, equation 2, plus 1.
    """
    normals, truth = _at_least_float32(normals), truth.to(_at_least_float32(normals).dtype)
    length = (truth**2).sum(dim=1)
    known = torch.isfinite(length) & (length > 0.25)
    truth = torch.where(known[:, None], truth, 0)
    cosine = (F.normalize(torch.where(known[:, None], normals, 1), dim=1) * truth).sum(dim=1)
    return torch.where(known, 1 - cosine, 0).sum() / _number(known)


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "scale_invariant": scale_invariant,
    "l1": l1,
    "l2": l2,
    "log_l1": log_l1,
    "berhu": berhu,
    "gradient": gradient_matching,
    "gradient_squared": partial(gradient_matching, scales=1, squared=True),
}


def weighted_losses(
    depth: torch.Tensor,
    truth: torch.Tensor,
    weights: Mapping[str, float],
    *,
    lam: float = 0.5,
    root: bool = False,
    factor: float = 1.0,
) -> dict[str, torch.Tensor]:
    """The parts of a weighted sum of losses by name, each already times its weight, so that their sum is the loss.

    `weights` are of names in LOSSES, such as {"scale_invariant": 1.0, "gradient": 0.5}; `lam`, `root` and `factor` are
    for the scale-invariant one. Raises UsageError for a wrong name or weight, or if all weights are 0.
    """
    check_weights(weights, LOSSES)
    own = {"scale_invariant": {"lam": lam, "root": root, "factor": factor}}
    return {name: weight * LOSSES[name](depth, truth, **own.get(name, {})) for name, weight in weights.items()}


def known_pixels(truth: torch.Tensor) -> torch.Tensor:
    """Where a depth is one, bool."""
    return torch.isfinite(truth) & (truth > 0)


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _two(depth: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Both, with 1 where the truth is not known, and where it is."""
    known, depth = known_pixels(truth), _at_least_float32(depth)
    return torch.where(known, depth, 1), torch.where(known, truth, 1).to(depth.dtype), known


def _difference(depth: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    depth, truth, known = _two(depth, truth)
    return depth - truth, known


def _log_difference(depth: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    depth, truth, known = _two(depth, truth)
    return depth.clamp(min=LEAST).log() - truth.log(), known


def _number(known: torch.Tensor) -> torch.Tensor:
    return known.sum().clamp(min=1)


def _per_image(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The mean over the known pixels of each image, (N,); 0 of none."""
    return torch.where(known, values, 0).sum(dim=(1, 2)) / known.sum(dim=(1, 2)).clamp(min=1)


def _over_images(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The mean of (N,) over the images that have a known pixel."""
    there = known.flatten(1).any(dim=1)
    return torch.where(there, values, 0).sum() / there.sum().clamp(min=1)


def _root(values: torch.Tensor) -> torch.Tensor:
    """The square root, whose derivative at 0 is 0 here and not infinite."""
    above = values > 0
    return torch.where(above, torch.where(above, values, 1).sqrt(), 0)
