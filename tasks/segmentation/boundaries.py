"""How well the outlines of regions were met: numbers that IoU, which counts areas, hardly moves for.

A border is where two neighbours have different class numbers, 255 (ignore) among them, for data sets such as Pascal VOC
part all their objects by a band of ignored pixels. The edge of an image is none. Padding is 255 too: cut it off first.
"""

import math

import cv2
import numpy as np
from scipy.spatial import KDTree

from ...datasets.masks import IGNORE

_NONE = np.zeros((0, 2), np.int64)


def boundary_f1(predicted: np.ndarray, truth: np.ndarray, *, num_classes: int, tolerance: float = 0.0075) -> np.ndarray:
    """How many of the pixels along each class's outline lie near its true outline, and the other way round.

    The BF measure (Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013): of each
    class the F1 of precision, the share of its predicted border pixels that have a true one at a distance of
    `tolerance` times the image's diagonal or less, and of recall, which is the same the other way round. The default
    is theirs. The border pixels of a class are those with a neighbour, of four, of another class.

    `predicted` and `truth` uint8 (H, W): class numbers, 255 in `truth` is ignored: border pixels that were predicted
    there may be what a true one looks for, but are not asked to be right.

    Returns float64 (C,): F1 of 0 to 1; NaN for a class of which neither has a border.
    """
    reach = tolerance * math.hypot(*truth.shape)
    true_points, own_points = _outlines(truth), _outlines(predicted)
    scores = np.full(num_classes, np.nan)
    for number in range(num_classes):
        wanted, own = true_points.get(number, _NONE), own_points.get(number, _NONE)
        judged = own[truth[own[:, 0], own[:, 1]] != IGNORE]
        if len(wanted) or len(judged):
            precision = _share_near(judged, others=wanted, reach=reach)
            recall = _share_near(wanted, others=own, reach=reach)
            scores[number] = 2 * precision * recall / max(precision + recall, 1e-12)
    return scores


def trimap(truth: np.ndarray, width: int) -> np.ndarray:
    """The band along the true borders in which trimap IoU is taken: bool (H, W).

    Kohli et al., "Robust higher order potentials for enforcing label consistency", IJCV 2009; Chen et al. (DeepLab,
    ICLR 2015) take it around the ignored pixels of Pascal VOC, which is the same band there. `truth` uint8 (H, W);
    `width` in pixels on either side of the border, 1 for the pixels that touch it alone. Ignored pixels may lie in it.
    """
    border = borders(truth)
    if not border.any():
        return border
    distances = cv2.distanceTransform((~border).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distances <= width - 1


def borders(labels: np.ndarray) -> np.ndarray:
    """Pixels of `labels`, uint8 (H, W), with a neighbour, of four, of another number: bool (H, W)."""
    found = np.zeros(labels.shape, bool)
    changes = labels[1:] != labels[:-1]
    found[1:] |= changes
    found[:-1] |= changes
    changes = labels[:, 1:] != labels[:, :-1]
    found[:, 1:] |= changes
    found[:, :-1] |= changes
    return found


def _outlines(labels: np.ndarray) -> dict[int, np.ndarray]:
    """Of each number in uint8 (H, W) its border pixels: int64 (K, 2), row and column."""
    points = np.argwhere(borders(labels))
    numbers = labels[points[:, 0], points[:, 1]]
    return {number: points[numbers == number] for number in np.unique(numbers).tolist()}


def _share_near(points: np.ndarray, others: np.ndarray, reach: float) -> float:
    """The share of `points` with one of `others` within `reach` pixels; of no points, all."""
    if not len(points):
        return 1.0
    if not len(others):
        return 0.0
    # Not by a map of distances, which takes the time of the whole image for each class. The bound itself is excluded.
    distances, _ = KDTree(others).query(points, distance_upper_bound=reach + 1e-9)
    return float(np.isfinite(distances).mean())
