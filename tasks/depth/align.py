"""Taking out of a prediction what a single image cannot say, before it is measured: its scale, or scale and shift.

Everywhere `prediction` and `truth` are float64 (P,): the known pixels of one image, in the same order, in metres. All
that follows is fitted to the truth of the very image that is then measured: such figures say how well the shape of a
scene is seen, and not how many metres away it is.
"""

from collections.abc import Callable

import numpy as np

LEAST = 1e-6  # metres: what a prediction of 0 or less counts as where its logarithm is taken


def unaligned(prediction: np.ndarray, _truth: np.ndarray) -> np.ndarray:
    """As it is."""
    return prediction


def by_median(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Times median(truth) / median(prediction): Zhou et al. 2017, and every figure of Monodepth2's kind."""
    middle = np.median(prediction)
    return prediction * (np.median(truth) / middle) if middle > 0 else prediction


def by_scale_and_shift(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Scale times it plus shift, of least squares: Ranftl et al. 2020 (MiDaS), equation 4, but for depths and not
    their inverse.
    """
    scale, shift = fit_line(prediction, truth)
    return scale * prediction + shift


def by_logarithm(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The same of the logarithms: factor times it to a power."""
    logarithm = np.log(np.maximum(prediction, LEAST))
    power, factor = fit_line(logarithm, np.log(truth))
    return np.exp(power * logarithm + factor)


def fit_line(prediction: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Scale and shift for which the sum of (scale prediction + shift - truth)² is least; a prediction that is the same
    everywhere gets the scale 0.
    """
    middle, centre = prediction.mean(), truth.mean()
    away = prediction - middle
    spread = np.dot(away, away)
    flat = spread <= (1e-12 * middle) ** 2 * len(prediction)  # rounding is no shape
    scale = 0.0 if flat else float(np.dot(away, truth - centre) / spread)
    return scale, float(centre - scale * middle)


ALIGNMENTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "none": unaligned,
    "median": by_median,
    "scale_shift": by_scale_and_shift,
    "log": by_logarithm,
}
