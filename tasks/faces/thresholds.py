"""The distances below which two faces are one person's, as validation finds them and a checkpoint keeps them."""

from collections.abc import Sequence
from typing import NamedTuple

from ...core.errors import UsageError
from .options import FacesOptions

MISSING = -1.0  # in place of a distance, which validation had too few pairs to find


class Threshold(NamedTuple):
    """Two faces are one person's where their distance, 0 to 2, is below `distance`."""

    distance: float
    far: float  # the share of pairs of two people, of those of the validation, that were below it


def rates_of(options: FacesOptions) -> list[float]:
    """The shares of false matches that thresholds are found for, in the order in which they are kept.

    Raises UsageError for one that is no share.
    """
    rates = list(dict.fromkeys((options.far, *options.fars)))
    for rate in rates:
        if not 0 < rate <= 0.5:
            raise UsageError(f"model.fars holds {rate}; each must be above 0 and at most 0.5.")
    return rates


def known_thresholds(thresholds: Sequence[float], options: FacesOptions) -> dict[float, float]:
    """For each share of false matches that there is one for the distance, of `thresholds` as a checkpoint has them."""
    pairs = zip(rates_of(options), thresholds, strict=False)
    return {rate: distance for rate, distance in pairs if distance != MISSING}


def chosen_threshold(thresholds: Sequence[float], options: FacesOptions, far: float | None = None) -> Threshold | None:
    """The one of `thresholds`, see `rates_of`, for `far`; without such for the recipe's, or else for the smallest share
    above it that there is one for; None where there is none at all. Raises UsageError for a `far` that has none.
    """
    known = known_thresholds(thresholds, options)
    if far is not None and far not in known:
        held = ", ".join(f"{rate:g}" for rate in sorted(known)) or "none"
        raise UsageError(
            f"--far is {far:g}, for which this checkpoint has no threshold; it has some for {held}. Validation on more "
            "people finds those of smaller shares (10 / FAR pairs of two people), and model.fars names them."
        )
    usable = [rate for rate in known if rate >= (options.far if far is None else far)]
    return Threshold(known[min(usable)], min(usable)) if usable else None
