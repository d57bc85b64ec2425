"""The losses of face embeddings by name, and what each needs of a training set."""

import math
import warnings
from collections.abc import Callable

import numpy as np

from ...core.errors import DataError, DataWarning, UsageError
from .embedding_loss import EmbeddingLoss
from .loss_options import LossName, LossOptions
from .margin_losses import ArcFace, ASoftmax, CentreLoss, CosFace, LSoftmax, Softmax
from .pair_losses import ContrastiveLoss, TripletLoss

# Of each loss with one: its usual margin, and the lowest and highest that mean something.
MARGINS: dict[LossName, tuple[float, float, float]] = {
    "l_softmax": (4, 1, 16),
    "a_softmax": (4, 1, 16),
    "cosface": (0.35, 0, 1),
    "arcface": (0.5, 0, math.pi / 2),
    "contrastive": (1.0, 0.001, 100),
    "triplet": (0.2, 0.001, 100),
}
MULTIPLE_ANGLES = ("l_softmax", "a_softmax")
COMPARE_IMAGES = ("contrastive", "triplet")


def build_loss(options: LossOptions, *, people: int, width: int) -> EmbeddingLoss:
    """The loss that `options` name, for embeddings of `width` numbers of so many people.

    Raises UsageError for a margin that the loss can't have.
    """
    return _BUILDERS[options.name](options, people, width)


def least_images(options: LossOptions) -> int:
    """How many images a person must have to be learnt from: 2 where images of a person are compared, else 1."""
    return 2 if options.name in COMPARE_IMAGES else 1


def check_people(labels: np.ndarray, options: LossOptions) -> None:
    """Raise DataError if the loss can't learn from images of the people `labels`, int (N,): with fewer than two people,
    or where it compares images, with fewer than two people of two images.

    Warns with a DataWarning of how many people have too few images and are left out.
    """
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2:
        found = f"The training images show {'one person' if len(counts) else 'nobody'}"
        raise DataError(f"{found}; a network learns to tell people apart, so give it two or more.")
    left_out = int((counts < least_images(options)).sum())
    if len(counts) - left_out < 2:
        having = "one" if len(counts) > left_out else "none"
        raise DataError(
            f"Of the {len(counts)} people in the training images, {having} has two images or more, but the loss "
            f"'{options.name}' compares images of a person, and of two people at least; give more images, or set "
            "model.loss.name to arcface, which can do with one each."
        )
    if left_out:
        sentence = f"{left_out} of {len(counts)} people have one image in training and are left out"
        warnings.warn(f"{sentence}: the loss '{options.name}' compares two of a person.", DataWarning, stacklevel=2)


def _margin(options: LossOptions) -> float:
    usual, low, high = MARGINS[options.name]
    margin = usual if options.margin is None else options.margin
    whole = options.name in MULTIPLE_ANGLES
    if not low <= margin <= high or (whole and margin != int(margin)):
        kind = "a whole number" if whole else "a number"
        raise UsageError(
            f"model.loss.margin is {margin}, but that of {options.name} must be {kind} from {low} to {high:.4g}; "
            f"{usual} is usual."
        )
    return margin


def _annealed(kind: type[LSoftmax], options: LossOptions, people: int, width: int) -> EmbeddingLoss:
    start, decay, end = options.annealing_start, options.annealing_decay, options.annealing_end
    return kind(people, width, margin=int(_margin(options)), start=start, decay=decay, end=end)


def _centre(options: LossOptions, people: int, width: int) -> EmbeddingLoss:
    return CentreLoss(people, width, centre_weight=options.centre_weight, rate=options.centre_rate)


def _triplet(options: LossOptions, people: int, width: int) -> EmbeddingLoss:
    return TripletLoss(
        margin=_margin(options),
        mining=options.mining,
        distance=options.distance,
        of_unit_length=options.unit_length,
    )


_BUILDERS: dict[LossName, Callable[[LossOptions, int, int], EmbeddingLoss]] = {
    "softmax": lambda options, people, width: Softmax(people, width),
    "centre": _centre,
    "l_softmax": lambda options, people, width: _annealed(LSoftmax, options, people, width),
    "a_softmax": lambda options, people, width: _annealed(ASoftmax, options, people, width),
    "cosface": lambda options, people, width: CosFace(people, width, margin=_margin(options), scale=options.scale),
    "arcface": lambda options, people, width: ArcFace(people, width, margin=_margin(options), scale=options.scale),
    "contrastive": lambda options, people, width: ContrastiveLoss(
        margin=_margin(options), of_unit_length=options.unit_length
    ),
    "triplet": _triplet,
}
