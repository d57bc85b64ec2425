"""Anchors that fit the boxes of a data set.

K-means with 1 - IoU for a distance (Redmon and Farhadi, YOLO9000: better, faster, stronger, 2017, section 2), held to
the form that a head's anchors have: each size is met by every ratio, so boxes move sizes and ratios, no single anchor.
An anchor is compared with a box where it would lie, on the place of its map that is nearest to the box's middle. So a
coarse map is not given the sizes of boxes that only a fine one can find.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ...core.errors import DataError, UsageError
from ...core.options import DataOptions
from ...core.transforms import LONGEST
from .anchors import Anchors

_RESTARTS, _STEPS = 8, 40
_SAMPLE = 4_000  # boxes to fit on; all are judged
_PAIRS_AT_ONCE = 2**22  # of boxes and anchors
_LEAST_SIDE = 2.0  # pixels of an anchor: torchvision rounds half of a side to whole ones
_ENOUGH = 0.5  # IoU from which an anchor is said to fit a box


class Quality(NamedTuple):
    """How well anchors fit boxes."""

    mean_iou: float  # of each box with its best anchor
    share: float  # of boxes whose best anchor has an IoU of 0.5 or more


class Fit(NamedTuple):
    """Fitted anchors beside a head's own."""

    anchors: Anchors
    default: Quality
    fitted: Quality


class _Form(NamedTuple):
    """How a head makes anchors of a few numbers: logarithms of size and ratio are these matrices by the numbers'."""

    sizes: np.ndarray  # float64 (A, S)
    ratios: np.ndarray  # float64 (A, R)
    maps: np.ndarray  # int64 (A,), the map of each anchor


class _Boxes(NamedTuple):
    """Boxes as anchors meet them."""

    sides: np.ndarray  # float64 (M, 2), width and height
    offsets: np.ndarray  # float64 (M, L, 2), x and y from the middle to the nearest place of each of L maps


def boxes_at_input(boxes: np.ndarray, size: tuple[int, int], data: DataOptions) -> np.ndarray:
    """Boxes (K, 4), xyxy in pixels of an image of (H, W) `size`, in those of the network's input, float64 (K, 4).

    What lies outside of the image is cut off. Raises UsageError for a `data.resize` that cuts images.
    """
    height, width = size
    if data.resize == "squash":
        factors = [data.size / width, data.size / height]
    elif data.resize == "fit":
        factors = [data.size / max(size)] * 2
    elif data.resize == "shorter":
        factors = [min(data.size / min(size), int(LONGEST * data.size) / max(size))] * 2
    else:
        raise UsageError(f"data.resize is {data.resize}, which cuts objects; give squash, fit or shorter.")
    inside = np.clip(np.asarray(boxes, np.float64).reshape(-1, 4), 0, [width, height, width, height])
    return inside * (factors * 2)


def fit_anchors(boxes: np.ndarray, default: Anchors, *, pairs: bool = False, seed: int = 0) -> Fit:
    """Anchors in the form of `default` that fit `boxes` (M, 4), xyxy in pixels of the network's input.

    `pairs`: the anchors are SSD's. Their sizes are a least and a largest for each map, the largest being the next map's
    least; a ratio stands for its reciprocal too; and places are the middles of a map's cells, not their corners. The
    same boxes and `seed` give the same anchors. The sum of their two qualities is never below that of `default`. Raises
    DataError where there is no box.
    """
    if not len(boxes):
        raise DataError("The training split has no box to fit anchors to; see data.root and data.classes.")
    form, start = _form_of(default, pairs)
    rng = np.random.default_rng(seed)
    met = _met(boxes, default.strides, 0.5 if pairs else 0.0)
    some = met
    if len(boxes) > _SAMPLE:
        rows = rng.choice(len(boxes), _SAMPLE, replace=False)
        some = _Boxes(met.sides[rows], met.offsets[rows])
    starts = [start, *(_drawn_start(some.sides, form, start[0], rng) for _ in range(_RESTARTS))]
    runs = [_cluster(some, form, *numbers) for numbers in starts]
    best = max(range(len(runs)), key=lambda run: runs[run][0])  # of equals the first
    numbers = _rounded(*runs[best][1], pairs)
    before, after = (_quality(met, form, *numbers) for numbers in (start, numbers))
    if sum(after) < sum(before):
        return Fit(default, before, before)
    return Fit(_anchors_of(*numbers, default, pairs), before, after)


def _met(boxes: np.ndarray, strides: Sequence[int], first: float) -> _Boxes:
    """`first`: the first place of a map, in strides from the image's border."""
    steps = np.array(strides, np.float64)[:, None]
    middles = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None] / steps - first
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], _LEAST_SIDE)
    return _Boxes(sides, np.abs(middles - np.maximum(middles.round(), 0)) * steps)


def _form_of(anchors: Anchors, pairs: bool) -> tuple[_Form, tuple[np.ndarray, np.ndarray]]:
    """The form of a head's anchors, and the logarithms of their numbers: sizes (S,), ratios (R,)."""
    if pairs:
        return _form_of_pairs(anchors)
    sizes = np.array([size for of_map in anchors.sizes for size in of_map])
    ratios = np.array(anchors.ratios[0])
    maps = np.repeat(np.arange(len(anchors.sizes)), [len(of_map) * len(ratios) for of_map in anchors.sizes])
    every_ratio = np.ones((len(ratios), 1))
    form = _Form(np.kron(np.eye(len(sizes)), every_ratio), np.tile(np.eye(len(ratios)), (len(sizes), 1)), maps)
    return form, (np.log(sizes), np.log(ratios))


def _form_of_pairs(anchors: Anchors) -> tuple[_Form, tuple[np.ndarray, np.ndarray]]:
    # Liu et al. 2016, section 2.2: a square of the least size, one of the geometric mean with the largest, and the
    # least size with each ratio and its reciprocal.
    maps = len(anchors.sizes)
    of_maps = anchors.ratios * maps if len(anchors.ratios) == 1 else anchors.ratios
    ratios = max(of_maps, key=len)
    size, ratio = np.eye(maps + 1), np.eye(len(ratios))
    rows = []
    for level, own in enumerate(of_maps):
        rows += [(size[level], 0 * ratio[0]), ((size[level] + size[level + 1]) / 2, 0 * ratio[0])]
        rows += [(size[level], sign * ratio[number]) for number in range(len(own)) for sign in (1, -1)]
    numbers = [*(pair[0] for pair in anchors.sizes), anchors.sizes[-1][1]]
    owners = np.repeat(np.arange(maps), [2 + 2 * len(own) for own in of_maps])
    form = _Form(np.array([row for row, _ in rows]), np.array([row for _, row in rows]), owners)
    return form, (np.log(numbers), np.log(ratios))


def _drawn_start(
    sides: np.ndarray, form: _Form, default: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    sizes, ratios = _size_and_ratio(sides)
    ratios = np.abs(ratios) if (form.ratios < 0).any() else ratios
    drawn = _spread(sizes, int(rng.integers(1, len(default) + 1)), rng)
    beyond = np.maximum(default[len(drawn) :], drawn[-1])  # of maps that may be too coarse for all boxes
    return np.concatenate([drawn, beyond]), _spread(ratios, form.ratios.shape[1], rng)


def _spread(values: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """So many of `values`, in order, far from each other (Arthur and Vassilvitskii, k-means++, 2007)."""
    chosen = [rng.choice(values)]
    while len(chosen) < number:
        distances = np.min([(values - other) ** 2 for other in chosen], axis=0)
        total = distances.sum()
        chosen.append(rng.choice(values, p=distances / total if total > 0 else None))
    return np.sort(chosen)


def _cluster(
    boxes: _Boxes, form: _Form, sizes: np.ndarray, ratios: np.ndarray
) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    """The best sum of both qualities on the way from a start, and the numbers that gave it."""
    found = (-1.0, (sizes, ratios))
    log_sizes, log_ratios = _size_and_ratio(boxes.sides)
    before = None
    for _ in range(_STEPS):
        overlaps, nearest = _best_iou(boxes, form, sizes, ratios)
        score = float(overlaps.mean() + (overlaps >= _ENOUGH).mean())  # the mean alone gives up what is rare
        if score > found[0]:
            found = (score, (sizes, ratios))
        if before is not None and (nearest == before).all():
            break
        before = nearest
        sizes = np.sort(_moved(form.sizes, log_sizes, nearest, sizes))
        ratios = np.sort(_moved(form.ratios, log_ratios, nearest, ratios))
    return found


def _moved(matrix: np.ndarray, values: np.ndarray, nearest: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Least squares: the numbers whose anchors lie in the middle of their boxes; one without boxes stays."""
    counts = np.bincount(nearest, minlength=len(matrix)).astype(float)
    sums = np.bincount(nearest, weights=values, minlength=len(matrix))
    hold = 1e-6 * len(values)
    squares = matrix.T @ (counts[:, None] * matrix) + hold * np.eye(len(numbers))
    return np.linalg.solve(squares, matrix.T @ sums + hold * numbers)


def _best_iou(boxes: _Boxes, form: _Form, sizes: np.ndarray, ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best IoU of each box, (M,), and the anchor that has it, (M,)."""
    size, half = form.sizes @ sizes, form.ratios @ ratios / 2
    shapes = np.exp(np.stack([size - half, size + half], axis=1))
    parts = []
    step = max(1, _PAIRS_AT_ONCE // len(shapes))
    for start in range(0, len(boxes.sides), step):
        sides, offsets = (column[start : start + step] for column in boxes)
        sides = sides[:, None]  # (m, 1, 2), beside offsets (m, L, 2) and shapes (A, 2)
        shared = np.minimum((sides + shapes) / 2 - offsets[:, form.maps], np.minimum(sides, shapes))
        common = np.maximum(shared, 0).prod(axis=2)
        overlaps = common / (sides.prod(axis=2) + shapes.prod(axis=1) - common)
        nearest = overlaps.argmax(axis=1)
        parts.append((np.take_along_axis(overlaps, nearest[:, None], axis=1)[:, 0], nearest))
    best, nearest = (np.concatenate(column) for column in zip(*parts, strict=True))
    return best, nearest


def _size_and_ratio(sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logarithms = np.log(sides)
    return logarithms.mean(axis=1), logarithms[:, 1] - logarithms[:, 0]


def _quality(boxes: _Boxes, form: _Form, sizes: np.ndarray, ratios: np.ndarray) -> Quality:
    overlaps, _ = _best_iou(boxes, form, sizes, ratios)
    return Quality(float(overlaps.mean()), float((overlaps >= _ENOUGH).mean()))


def _rounded(sizes: np.ndarray, ratios: np.ndarray, pairs: bool) -> tuple[np.ndarray, np.ndarray]:
    """The same with few digits, and no anchor thinner than torchvision can draw it."""
    ratios = np.maximum(np.exp(ratios).round(2), 0.01)
    thinnest = np.sqrt(np.maximum(ratios, 1 / ratios)).max()
    sizes = np.maximum(np.exp(sizes), _LEAST_SIDE * thinnest).round(1)
    if pairs:  # each pair rises
        sizes = np.maximum.accumulate(sizes - 0.1 * np.arange(len(sizes))) + 0.1 * np.arange(len(sizes))
    return np.log(sizes), np.log(ratios)


def _anchors_of(sizes: np.ndarray, ratios: np.ndarray, default: Anchors, pairs: bool) -> Anchors:
    """The numbers, given as logarithms, as a recipe has them."""
    plain = np.exp(sizes).round(1).tolist()
    shared = np.exp(ratios).round(2).tolist()
    if pairs:
        of_maps = [shared[: len(own)] for own in default.ratios]
        return Anchors([list(pair) for pair in pairwise(plain)], of_maps, default.strides)
    counts: Sequence[int] = [len(own) for own in default.sizes]
    ends = np.cumsum(counts).tolist()
    return Anchors([plain[end - n : end] for n, end in zip(counts, ends, strict=True)], [shared], default.strides)
