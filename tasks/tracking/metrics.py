"""How well the boxes of a tracker fit the true ones: the numbers of OTB, TrackingNet and GOT-10k, of one sequence.

Boxes are float (T, 4), xyxy in continuous pixels. The toolkits of the benchmarks count in MATLAB's inclusive pixels in
places: OTB's takes (x + (w - 1) / 2, y + (h - 1) / 2) as the middle of a box, of the found and of the true one alike,
so that their distance is off by half of what their sizes differ by. Overlaps are the same in both: areas are w * h.

A box that is NaN or infinite is none: its overlap is 0 and its error infinite, never the other way round.
"""

from typing import NamedTuple

import numpy as np

OVERLAP_THRESHOLDS = np.arange(21) / 20  # 0, 0.05, ... 1
PIXEL_THRESHOLDS = np.arange(51.0)  # 0, 1, ... 50
SHARE_THRESHOLDS = np.arange(51) / 100  # 0, 0.01, ... 0.5
_HEADLINE_PIXELS = 20
_HEADLINE_SHARE = 20  # the place of 0.2 in SHARE_THRESHOLDS


class Curves(NamedTuple):
    """What is drawn of one sequence, or as a mean of several; shares of frames, 0 to 1."""

    success: np.ndarray  # float64 (21,), by OVERLAP_THRESHOLDS
    precision: np.ndarray  # float64 (51,), by PIXEL_THRESHOLDS
    normalised_precision: np.ndarray  # float64 (51,), by SHARE_THRESHOLDS

    def numbers(self) -> dict[str, float]:
        """Those that papers print: `success` is the area under its curve, `precision` that at 20 pixels,
        `normalised_precision` the area under its curve from 0 to 0.5, and `normalised_precision_at_0.2`.
        """
        return {
            "success": float(self.success.mean()),
            "precision": float(self.precision[_HEADLINE_PIXELS]),
            "normalised_precision": float(self.normalised_precision.mean()),
            "normalised_precision_at_0.2": float(self.normalised_precision[_HEADLINE_SHARE]),
        }


def measure_curves(found: np.ndarray, truth: np.ndarray) -> Curves:
    """The three curves over T frames, at least one, all of which have a true box."""
    return Curves(
        success_curve(overlaps(found, truth)),
        precision_curve(centre_errors(found, truth)),
        normalised_precision_curve(normalised_errors(found, truth)),
    )


def mean_curves(sequences: list[Curves]) -> Curves:
    """Their means: each sequence counts the same, however long it is, as in the toolkit of OTB."""
    return Curves(*(np.mean(parts, axis=0) for parts in zip(*sequences, strict=True)))


def overlaps(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each found box with the true one, float64 (T,); 0 where either is empty or none."""
    found, truth = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    fit = has_area(found) & has_area(truth)
    found, truth = np.where(fit[:, None], found, 0.0), np.where(fit[:, None], truth, 0.0)
    low, high = np.maximum(found[:, :2], truth[:, :2]), np.minimum(found[:, 2:], truth[:, 2:])
    shared = (high - low).clip(0).prod(axis=1)
    united = _areas(found) + _areas(truth) - shared
    return np.where(united > 0, shared / np.where(united > 0, united, 1.0), 0.0)


def centre_errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance of the middles of both boxes in pixels, float64 (T,); infinite where either is none."""
    return _lengths(_middles(found) - _middles(truth))


def normalised_errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The same, x in shares of the true box's width and y of its height (Müller et al. 2018, TrackingNet).

    float64 (T,); infinite where the true box is empty.
    """
    truth = np.asarray(truth, np.float64)
    sizes = truth[:, 2:] - truth[:, :2]
    return _lengths((_middles(found) - _middles(truth)) / np.where(sizes > 0, sizes, np.nan))


def success_curve(overlap: np.ndarray) -> np.ndarray:
    """Share of frames that overlap by more than each threshold, float64 (21,) (Wu et al. 2013, section 4).

    More, not as much: a box that misses has no success at 0, and one that is the true one none at 1, so that the mean
    of the curve, the area under it, reaches 20/21 at most.
    """
    return (overlap[:, None] > OVERLAP_THRESHOLDS).mean(axis=0)


def precision_curve(errors: np.ndarray) -> np.ndarray:
    """Share of frames whose error is no more than each threshold, float64 (51,) (Wu et al. 2013, section 4)."""
    return (errors[:, None] <= PIXEL_THRESHOLDS).mean(axis=0)


def normalised_precision_curve(errors: np.ndarray) -> np.ndarray:
    """Share of frames whose normalised error is no more than each threshold, float64 (51,) (Müller et al. 2018)."""
    return (errors[:, None] <= SHARE_THRESHOLDS).mean(axis=0)


def cut(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (T, 4) cut off at the border of frames of `size` (H, W), float64; what lies outside has no area left."""
    height, width = size
    return np.clip(np.asarray(boxes, np.float64), 0.0, np.array([width, height, width, height], np.float64))


def bounded_overlaps(found: np.ndarray, truth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Overlaps of both boxes cut at the border of the frames, as GOT-10k has them: float64 (T,).

    Huang et al. 2019: its AO is the mean of these, SR at 0.5 and 0.75 the share of frames above. Their
    toolkit (got10k 0.1.3) leaves out the first frame and those whose `cover.label` is 0, and takes the mean over all
    frames of all sequences thrown together, so that long sequences weigh more; the server's ranking of the test set is
    said to weigh classes of objects alike (mAO), for which one needs the labels that it keeps. The toolkit moves a box
    that begins left of the frame into it, at its full width, where we cut it off.
    """
    return overlaps(cut(found, size), cut(truth, size))


def has_area(boxes: np.ndarray) -> np.ndarray:
    """Which boxes (T, 4) are finite and wider and higher than 0, bool (T,)."""
    boxes = np.asarray(boxes, np.float64)
    finite: np.ndarray = np.asarray(np.isfinite(boxes).all(axis=1))
    known = np.where(finite[:, None], boxes, 0.0)
    return finite & (known[:, 2] > known[:, 0]) & (known[:, 3] > known[:, 1])


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def _middles(boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, np.float64)
    finite: np.ndarray = np.asarray(np.isfinite(boxes).all(axis=1))
    boxes = np.where(finite[:, None], boxes, np.nan)
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _lengths(steps: np.ndarray) -> np.ndarray:
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    return np.where(np.isnan(lengths), np.inf, lengths)
