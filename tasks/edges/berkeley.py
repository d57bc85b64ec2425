"""The boundary benchmark of the Berkeley segmentation data set: precision and recall of soft edge maps.

Martin, Fowlkes and Malik, "Learning to detect natural image boundaries using local brightness, color, and texture
cues", PAMI 2004; Arbelaez, Maire, Fowlkes and Malik, "Contour detection and hierarchical image segmentation", PAMI
2011, section 3 (ODS and OIS). At each threshold the thinned map is matched with each annotator's boundary, one pixel
with one. Recall is the share of all annotators' pixels that were matched; precision that of the found pixels which were
matched with anybody's.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ...core.errors import DataError
from ...core.images import read_image
from ...core.skeletons import thinned_pixels
from ...datasets.bsds import read_annotators
from .matching import match_lists

MAX_DISTANCE = 0.0075  # of the image's diagonal, for BSDS500; NYUD's scores are at 0.011
_STEPS = np.linspace(0, 1, 101)  # from one threshold to the next, and of recall for the area


class Counts(NamedTuple):
    """What one image adds to the sums, at each threshold: int64 (K,) each."""

    matched_truth: np.ndarray  # annotators' pixels that were found, over all annotators
    truth: np.ndarray  # annotators' pixels
    matched_found: np.ndarray  # found pixels that lie on the boundary of at least one annotator
    found: np.ndarray  # found pixels


class Rates(NamedTuple):
    """0 to 1. Where nothing was found precision is 0, where nothing was to be found recall is."""

    recall: float
    precision: float
    f: float  # their harmonic mean, 0 where both are 0


class Point(NamedTuple):
    """The rates at a threshold."""

    threshold: float
    recall: float
    precision: float
    f: float


class Scores(NamedTuple):
    """The benchmark's numbers, 0 to 1."""

    ods: Point  # the best that one threshold for all images gives, with the curve's straight lines between thresholds
    ois: Rates  # the best threshold for each image
    ap: float  # the area under the curve, for the recalls that it reaches
    r50: float  # the recall at a precision of one half; where precision is always higher, at the lowest; 0 if never
    images: tuple[Point, ...]  # the best of each image alone
    curve: tuple[Point, ...]  # of all images together at each threshold


def thresholds(number: int = 99) -> np.ndarray:
    """Evenly spaced between 0 and 1, without these: float64 (number,); 99 is what scores are published with."""
    return np.linspace(1 / (number + 1), 1 - 1 / (number + 1), number)


def count_matches(
    edges: np.ndarray,
    annotators: np.ndarray,
    *,
    thresholds: np.ndarray,
    max_distance: float = MAX_DISTANCE,
    thin: bool = True,
    name: str = "an edge map",
) -> Counts:
    """What one image adds: `edges` (H, W), floating point of 0 to 1 or uint8 of 0 to 255; `annotators` bool (A, H, W).

    A pixel is found at the `thresholds` up to its value; they rise. `max_distance` is in diagonals of the image; `thin`
    False takes the map's pixels as they are. Maps from 8-bit files are best given as they are: 85 / 255 is below the
    threshold of 1 / 3 in float64, as in the benchmark's own program, and above it in float32. Raises DataError, which
    calls the map `name`, for one of another size or with values outside 0 to 1.
    """
    edges = edges / 255 if edges.dtype == np.uint8 else edges
    _check(name, edges, annotators)
    falling = [edges >= threshold for threshold in np.asarray(thresholds, np.float64)[::-1]]
    lists = [thinned_pixels(mask) if thin else np.flatnonzero(mask).astype(np.int32) for mask in falling]
    radius = max_distance * float(np.hypot(*edges.shape))
    anybody, pairs = np.zeros(sum(map(len, lists)), bool), np.zeros(len(lists), np.int64)
    for boundary in annotators:
        matched, matched_pairs = match_lists(lists, boundary, radius=radius)
        anybody |= matched
        pairs += matched_pairs
    lengths = np.array([len(pixels) for pixels in lists], np.int64)
    matched_found = np.diff(np.append(0, np.cumsum(anybody))[np.cumsum(lengths)], prepend=0)
    truth = np.full(len(lists), np.count_nonzero(annotators), np.int64)
    return Counts(pairs[::-1], truth, matched_found[::-1], lengths[::-1])


def count_files(
    maps: Sequence[str],
    truths: Sequence[str],
    *,
    thresholds: np.ndarray,
    max_distance: float = MAX_DISTANCE,
    thin: bool = True,
    threads: int = 1,
) -> Iterator[Counts]:
    """`count_matches` of soft maps in grey 8-bit files beside BSDS500's .mat files, in their order, by several threads.

    Threads and not processes: nearly all the time goes into compiled loops, which leave the interpreter to others. A
    thread reads the files when their turn comes. Raises DataError for files that cannot be read or do not fit together.
    """

    def count(paths: tuple[str, str]) -> Counts:
        pixels, annotators = read_image(paths[0]), read_annotators(paths[1])["annotators"]
        if not (pixels == pixels[..., :1]).all():
            raise DataError(
                f"'{paths[0]}' is in colour: expected a grey map, white where there is an edge; save it so."
            )
        name = f"'{paths[0]}'"
        return count_matches(
            pixels[..., 0], annotators, thresholds=thresholds, max_distance=max_distance, thin=thin, name=name
        )

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(count, paths) for paths in zip(maps, truths, strict=True)]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def summarise(counts: Sequence[Counts], thresholds: np.ndarray) -> Scores:
    """The scores of all images, one or more, whose `counts` are at the same `thresholds`."""
    assert counts
    sums = Counts(*(np.sum(column, axis=0) for column in zip(*counts, strict=True)))
    recall, precision = _recall_precision(sums)
    curve = (thresholds, recall, precision, _f(recall, precision))
    own_best = Counts(*np.sum([_at_best(each) for each in counts], axis=0)[:, None])
    ois = _recall_precision(own_best)
    return Scores(
        ods=_best(thresholds, recall, precision),
        ois=Rates(*(float(rate[0]) for rate in (*ois, _f(*ois)))),
        ap=_area(recall, precision),
        r50=_r50(recall, precision),
        images=tuple(_best(thresholds, *_recall_precision(each)) for each in counts),
        curve=tuple(Point(*map(float, row)) for row in zip(*curve, strict=True)),
    )


def tables(scores: Scores) -> dict[str, str]:
    """The text of the three files that the benchmark's own program writes, by their names.

    `eval_bdry.txt`: threshold, recall, precision and F at ODS, recall, precision and F at OIS, and the area;
    `eval_bdry_img.txt`: each image's number, from 1, best threshold, recall, precision and F; `eval_bdry_thr.txt`: each
    threshold, recall, precision and F.
    """
    images = [(number, *point) for number, point in enumerate(scores.images, 1)]
    return {
        "eval_bdry.txt": _lines([(*scores.ods, *scores.ois, scores.ap)]),
        "eval_bdry_img.txt": _lines(images),
        "eval_bdry_thr.txt": _lines(scores.curve),
    }


def _check(name: str, edges: np.ndarray, annotators: np.ndarray) -> None:
    if edges.shape != annotators.shape[1:]:
        found, wanted = (" x ".join(map(str, shape[::-1])) for shape in (edges.shape, annotators.shape[1:]))
        raise DataError(
            f"The benchmark got {name} of {found} pixels for annotators' drawings of {wanted}: expected the same size; "
            "predict edges at the size of the image file."
        )
    if not (edges.min() >= 0 and edges.max() <= 1):  # NaN too
        raise DataError(
            f"The benchmark got {name} with values of {edges.min()} to {edges.max()}: expected floating-point numbers "
            "of 0 to 1, or uint8; divide by the highest level that the map can have."
        )


def _recall_precision(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    matched_truth, truth, matched_found, found = counts
    return matched_truth / np.maximum(truth, 1), matched_found / np.maximum(found, 1)


def _f(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    total = recall + precision
    return 2 * recall * precision / np.where(total > 0, total, 1)


def _best(thresholds: np.ndarray, recall: np.ndarray, precision: np.ndarray) -> Point:
    """The first best F on the straight lines between neighbouring thresholds, a hundred steps each."""
    columns = [np.asarray(each, np.float64) for each in (thresholds, recall, precision)]
    lines = [each[:-1, None] * (1 - _STEPS) + each[1:, None] * _STEPS for each in columns]
    columns = [np.append(each[0], line) for each, line in zip(columns, lines, strict=True)]
    f = _f(*columns[1:])
    best = int(np.argmax(f))
    return Point(*(float(each[best]) for each in (*columns, f)))


def _at_best(counts: Counts) -> list[int]:
    """An image's counts where its F is best; of several such thresholds, at the highest."""
    f = _f(*_recall_precision(counts))
    best = len(f) - 1 - int(np.argmax(f[::-1]))
    return [int(each[best]) for each in counts]


def _area(recall: np.ndarray, precision: np.ndarray) -> float:
    """Precision linearly between the recalls that are there, 0 beyond them, summed up in steps of recall of 0.01."""
    recalls, first = np.unique(recall, return_index=True)
    if len(recalls) < 2:
        return 0.0
    return float(np.interp(_STEPS, recalls, precision[first], left=0, right=0).sum() * 0.01)


def _r50(recall: np.ndarray, precision: np.ndarray) -> float:
    precisions, first = np.unique(precision, return_index=True)
    return float(np.interp(max(precisions[0], 0.5), precisions, recall[first], right=0))


def _lines(rows: Iterable[Sequence[float]]) -> str:
    """Columns ten characters wide, of six digits that count, apart by a space."""
    return "".join(" ".join(f"{value:10.6g}" for value in row) + "\n" for row in rows)
