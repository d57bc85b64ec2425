"""The weights by which a recipe sums losses: `loss: {cross_entropy: 1.0, dice: 0.5}`."""

import math
from collections.abc import Collection, Mapping

from ..core.errors import UsageError, unknown


def check_weights(weights: Mapping[str, float], known: Collection[str]) -> None:
    """Raise UsageError for a name that is not among the `known`, for a negative, infinite or NaN weight, or if no
    weight is above 0: a recipe's mistakes, said before the first step.
    """
    for name, weight in weights.items():
        if name not in known:
            raise unknown("loss", name, known, f"Set model.loss to weights of {', '.join(known)}.")
        if not 0 <= weight < math.inf:
            raise UsageError(f"The loss '{name}' got the weight {weight}; set a number from 0 up.")
    if not any(weights.values()):
        raise UsageError(f"The losses are {dict(weights)}, which trains nothing; set one weight above 0 at least.")
