"""The losses that compare the region of a class with the predicted one as a whole: by overlap, or by the distance to
its boundary.

The losses of single pixels, and the registry of all, are in losses.py. Everywhere `logits` is float (N, C, H, W) and
`mask` int64 (N, H, W), with classes 0 to C-1, or `ignore_index` where a pixel doesn't count. The result is a scalar of
float32, of float64 for such logits: float16 and bfloat16 end before the softmax. Where every pixel is ignored, a loss
is 0 with a gradient of 0. A value of the mask beyond the classes raises torch's IndexError or RuntimeError: the data
set checks its masks before, and names the file.
"""

import cv2
import numpy as np
import torch

from ...core.errors import UsageError


def dice_loss(logits: torch.Tensor, mask: torch.Tensor, *, ignore_index: int = 255) -> torch.Tensor:
    """One minus the mean over classes of the soft Dice, 2 sum(p g) / (sum(p) + sum(g)), between 0 and 1.

    For each class p is its probability, g 1 where it is and 0 elsewhere; the sums run over all known pixels of the
    batch. Milletari et al. 2016, section 3, have squares in the denominator; the plain sums of today's usage are those
    of the Dice coefficient. Absent classes are left out of the mean, see `tversky_loss`.
    """
    return tversky_loss(logits, mask, alpha=0.5, beta=0.5, ignore_index=ignore_index)


def jaccard_loss(logits: torch.Tensor, mask: torch.Tensor, *, ignore_index: int = 255) -> torch.Tensor:
    """One minus the mean over classes of the soft IoU, sum(p g) / (sum(p) + sum(g) - sum(p g)), between 0 and 1.

    Rahman & Wang 2016. The sums run over all known pixels of the batch; absent classes are left out of the mean, see
    `tversky_loss`.
    """
    return tversky_loss(logits, mask, alpha=1.0, beta=1.0, ignore_index=ignore_index)


def tversky_loss(
    logits: torch.Tensor, mask: torch.Tensor, *, alpha: float = 0.3, beta: float = 0.7, ignore_index: int = 255
) -> torch.Tensor:
    """One minus the mean over classes of TP / (TP + alpha FP + beta FN), between 0 and 1: Salehi et al. 2017.

    TP, FP and FN are sums of probabilities over all known pixels of the batch. A `beta` above `alpha`, as here, asks
    for recall. The mean is over the classes that the batch's masks have. An absent class has no TP whatever is
    predicted, so a term of its own would be constant; probability that goes to it is missing in the class that is
    there, and counts as FN of that one. Nothing is added to numerator or denominator: that of a class that is there is
    at least min(1, beta).

    Raises UsageError unless alpha >= 0 and beta > 0.
    """
    if not (alpha >= 0 and beta > 0):
        sentence = f"The Tversky loss got alpha {alpha} and beta {beta}; it needs alpha >= 0 and beta > 0."
        raise UsageError(f"{sentence} Set beta above 0, or dice (0.5 and 0.5) or jaccard (1 and 1) in its place.")
    probabilities, truth, known = _regions(logits, mask, ignore_index)
    hit = torch.where(truth, probabilities, 0).sum(dim=(0, 2, 3))
    predicted = torch.where(known, probabilities, 0).sum(dim=(0, 2, 3))
    actual = truth.sum(dim=(0, 2, 3))
    denominator = hit + alpha * (predicted - hit) + beta * (actual - hit)
    present = actual > 0
    lost = torch.where(present, 1 - hit / torch.where(present, denominator, 1), 0)
    return lost.sum() / present.sum().clamp(min=1)


def lovasz_loss(logits: torch.Tensor, mask: torch.Tensor, *, ignore_index: int = 255) -> torch.Tensor:
    """The Lovász-Softmax loss: the Jaccard loss of hard predictions, continued to probabilities, between 0 and 1.

    Berman et al. 2018, equations 8, 9 and 11. A pixel's error is 1 - p where it is of the class, p where not. All known
    pixels of the batch form one set; the mean is over the classes that the set has.
    """
    probabilities, truth, known = _regions(logits, mask, ignore_index)
    # An ignored pixel is of no class and has the error 0, so it comes last in the order and weighs nothing.
    errors = torch.where(known, torch.where(truth, 1 - probabilities, probabilities), 0)
    of_class = truth.transpose(0, 1).flatten(1)
    present = of_class.any(dim=1).nonzero().squeeze(1).tolist()
    if not present:
        return errors.sum()  # 0, and still a part of the graph
    # Unbound, the rows' gradients are stacked once; indexing each would fill one full tensor a class.
    rows = errors.transpose(0, 1).flatten(1).unbind()
    return torch.stack([_lovasz_extension(rows[number], of_class[number]) for number in present]).mean()


def _lovasz_extension(errors: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The Lovász extension of one class's Jaccard loss. `errors` and `truth`, bool with at least one true: (P,).

    Sorted by falling error, a pixel weighs what it adds to 1 - I / U once it and all before it are wrong. One of the
    class takes 1 from I: it adds 1 / U. Any other adds 1 to U: it adds I / (U (U - 1)), of the new U. Differences of
    neighbouring values of I / U (the paper's algorithm 1) drown in float32's rounding from some million pixels on.
    """
    errors, order = errors.sort(descending=True)
    truth = truth[order]
    size = truth.sum()
    intersection = (size - truth.cumsum(0)).to(errors.dtype)
    union = (size + (~truth).cumsum(0)).to(errors.dtype)
    weights = torch.where(truth, 1 / union, intersection / union / (union - 1))
    return (errors * weights).sum()


def boundary_loss(logits: torch.Tensor, mask: torch.Tensor, *, ignore_index: int = 255) -> torch.Tensor:
    """How far from its true boundary probability went astray: the mean over known pixels of the sum over classes of
    phi (p - g), in pixels.

    Kervadec et al. 2019, section 2: phi is the map of `signed_distances`, p the probability, g 1 in the class and 0
    elsewhere. The paper drops the constant phi g from its loss; with it, the gradient is the same, and the loss is
    never negative and 0 for a perfect prediction. It says nothing of a class that an image lacks, nor of an image of
    one class: it goes beside a loss of overlap or cross-entropy, with a small weight (in the paper it rises by 0.01
    an epoch, from 0, while the other's falls from 1). The maps are made on the CPU.
    """
    probabilities, truth, known = _regions(logits, mask, ignore_index)
    distances = signed_distances(mask, logits.shape[1], ignore_index=ignore_index).to(probabilities.dtype)
    return (distances * (probabilities - truth.to(probabilities.dtype))).sum() / known.sum().clamp(min=1)


def signed_distances(mask: torch.Tensor, num_classes: int, *, ignore_index: int = 255) -> torch.Tensor:
    """float32 (N, num_classes, H, W), on the mask's device: each pixel's distance to each class's boundary, in pixels.

    Outside of the class it is the distance of centres to the class's nearest pixel, 1 or more. Inside it is 1 minus the
    distance to the nearest pixel of another class, so that the outermost pixels of the class have 0. An ignored pixel
    has 0 and is no boundary. A class that the image lacks, or that is the only one in it, has none: 0 everywhere.
    """
    distances = np.zeros((len(mask), num_classes, *mask.shape[1:]), dtype=np.float32)
    for labels, maps in zip(mask.cpu().numpy(), distances, strict=True):
        known = labels != ignore_index
        present = np.unique(labels[known])
        for number in present if len(present) > 1 else ():
            maps[number] = _signed_distance(labels == number, known)
    return torch.from_numpy(distances).to(mask.device)


def _signed_distance(inside: np.ndarray, known: np.ndarray) -> np.ndarray:
    # The distance to the nearest zero, exact, and four times faster than SciPy's.
    to_class, to_others = (
        cv2.distanceTransform(far.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for far in (~inside, inside | ~known)
    )
    return np.where(known, np.where(inside, 1 - to_others, to_class), 0)


def _regions(
    logits: torch.Tensor, mask: torch.Tensor, ignore_index: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Probabilities (N, C, H, W), the classes that are true, bool (N, C, H, W), and known pixels, bool (N, 1, H, W)."""
    known = (mask != ignore_index).unsqueeze(1)
    probabilities = at_least_float32(logits).softmax(dim=1)
    truth = torch.zeros_like(probabilities, dtype=torch.bool)
    truth.scatter_(1, torch.where(known, mask.unsqueeze(1), 0), known)
    return probabilities, truth, known


def at_least_float32(logits: torch.Tensor) -> torch.Tensor:
    """Float16 and bfloat16 as float32, others as they are: a sum over pixels needs more than 8 or 11 bits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
