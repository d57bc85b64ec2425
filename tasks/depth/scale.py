"""Whether depths are metres: files whose steps were taken for others train, and score, without a word."""

import warnings
from collections.abc import Sequence

import numpy as np

from ...core.data import Dataset
from ...core.errors import DataError, DataWarning
from ...datasets.depths import KNOWN_SCALES, SCALES_APART

_LOOKED_AT = 16  # depth maps


def median_depth(dataset: Dataset, most: int = _LOOKED_AT) -> float | None:
    """The median, in metres, of the medians of up to `most` depth maps, spread evenly over a data set; None where none
    of them has a depth. Maps that cannot be used are left out: their error is said where they are read.
    """
    medians = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().astype(int)):
        try:
            depth = dataset.truth(int(index))["depth"]
        except DataError:
            continue
        if (known := depth[depth > 0]).size:
            medians.append(float(np.median(known)))
    return float(np.median(medians)) if medians else None


def warn_of_nothing(found: float | None, images: int) -> bool:
    """Warn with a DataWarning, and say so, if `median_depth` has `found` none in a training set of so many images: a
    loss of 0 would look like a network that has learnt all there is.
    """
    if found is not None or not images:
        return False
    sentence = (
        f"No pixel of the {min(images, _LOOKED_AT)} depth maps looked at, of {images} to train on, has a depth: all "
        "are 0, negative, NaN, infinite or unreadable, and nothing can be learnt; `foveal check-data` names them."
    )
    warnings.warn(sentence, DataWarning, stacklevel=2)
    return True


def warn_of_scale(found: float | None, usual: Sequence[float | None], *, what: str, than: str) -> bool:
    """Warn with a DataWarning, and say so, if the median depth `found` is `SCALES_APART` times beyond or below `usual`:
    one depth or a range, in metres, of which None is no bound.

    `what` is the subject of the sentence ("The test images"), `than` what they are compared with ("those trained on").
    """
    bounds = [bound for bound in usual if bound is not None]
    if not found or not bounds:
        return False
    above = found / max(bounds) if usual[-1] is not None else 0.0
    below = min(bounds) / found if usual[0] is not None else 0.0
    if max(above, below) < SCALES_APART:
        return False
    much = f"{above:,.0f} times farther" if above > below else f"{below:,.0f} times nearer"
    sentence = (
        f"{what} are {much} away than {than}: their median depth is {found:,.4g} m. Is data.depth_scale, the steps of "
        f"a 16-bit file to the metre, right ({KNOWN_SCALES})?"
    )
    warnings.warn(sentence, DataWarning, stacklevel=2)
    return True
