"""One pass evaluation (Wu et al. 2013, section 4.1): a tracker gets the first box of each sequence, and no other."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .attributes import box_attributes
from .metrics import Curves, bounded_overlaps, has_area, mean_curves, measure_curves, overlaps

SUCCESS_OVERLAP = 0.5
_UNKNOWN = -1.0  # of a number that nothing was counted for


class Followed(NamedTuple):
    """What a tracker found in one sequence of T frames."""

    name: str
    found: np.ndarray  # float (T, 4), xyxy in continuous pixels; NaN for none
    truth: np.ndarray  # float (T, 4), the same
    visible: np.ndarray  # bool (T,): whether the target is there
    size: tuple[int, int]  # (H, W) of the frames
    scores: np.ndarray | None = None  # float (T,), how sure the tracker was
    seconds: np.ndarray | None = None  # float (T,), what the tracker took for each frame; NaN where it was not asked
    decoding: np.ndarray | None = None  # float (T,), what reading the frame took
    attributes: tuple[str, ...] = ()  # of the sequence, as its data set says; those of boxes are added

    def start(self) -> int | None:
        """The frame whose box the tracker gets: the first in which the target has one; None where there is none."""
        there = np.flatnonzero(self.counted())
        return int(there[0]) if len(there) else None

    def counted(self) -> np.ndarray:
        """In which frames the target is visible and has a true box, bool (T,)."""
        return np.asarray(self.visible, bool) & has_area(self.truth)


class OnePass:
    """Sequences one after another, and the numbers of all.

    OTB's and TrackingNet's are means over sequences of shares of frames, that of the given box among them, as in the
    toolkits; GOT-10k's are means over the frames behind it of all sequences. Frames in which the target is absent or
    has no box never count, nor do those before it is first there, nor sequences with no frame behind that one.
    """

    def __init__(self) -> None:
        self._sequences: list[_Measured] = []

    def add(self, sequence: Followed) -> None:
        """Take a sequence."""
        self._sequences.append(_measure(sequence))

    def __len__(self) -> int:
        """Number of sequences, also of those that hold nothing to count."""
        return len(self._sequences)

    def summary(self) -> dict[str, float]:
        """`success`, `precision`, `normalised_precision`, `normalised_precision_at_0.2` (see `Curves.numbers`), `ao`,
        `sr50`, `sr75` (see `bounded_overlaps`); `fps` of the tracker alone and `fps_with_decoding`, frames by seconds.

        -1 in place of a number that nothing was counted for, or no time measured for.
        """
        return _numbers(self._sequences)

    def curves(self) -> Curves | None:
        """Means over the sequences; None without any to count."""
        counted = [sequence.curves for sequence in self._sequences if sequence.curves is not None]
        return mean_curves(counted) if counted else None

    def rows(self) -> list[dict[str, str | float]]:
        """Of each sequence `name`, `frames` that count behind the first, and what is in the summary."""
        return [{"name": each.name, "frames": float(len(each.bounded)), **_numbers([each])} for each in self._sequences]

    def attribute_rows(self) -> list[dict[str, str | float]]:
        """Of each attribute that a sequence has `name`, number of `sequences` and what is in the summary of them."""
        names = sorted({name for each in self._sequences for name in each.attributes})
        having = {name: [each for each in self._sequences if name in each.attributes] for name in names}
        return [{"name": name, "sequences": float(len(those)), **_numbers(those)} for name, those in having.items()]

    def lost_threshold(self) -> float | None:
        """The score below which a result is best called lost, see `best_threshold`."""
        parts = [each.judged for each in self._sequences if each.judged is not None]
        if not parts:
            return None
        scores, overlap, visible = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return best_threshold(scores, overlap, visible)


def best_threshold(scores: np.ndarray, overlap: np.ndarray, visible: np.ndarray) -> float | None:
    """The score that best tells frames that overlap by more than 0.5 from those where the target is absent or missed.

    That is where the share of found frames at or above it, less the share of all others there, is largest (Youden
    1950); of several such scores the lowest, and half way to the next score below it. A NaN score lies below all.
    `scores`, `overlap` and `visible` (F,). None where all frames are of one kind, or no score tells them apart.
    """
    scores = np.where(np.isnan(scores), -np.inf, np.asarray(scores, np.float64))
    good = np.asarray(visible, bool) & (np.asarray(overlap) > SUCCESS_OVERLAP)
    if good.all() or not good.any():
        return None
    steps = np.unique(scores)
    above_good = _share_above(scores[good], steps)
    gain = above_good - _share_above(scores[~good], steps)
    best = int(np.argmax(np.round(gain, 12)))  # what differs by its last binary digits is the same
    if gain[best] <= 0:
        return None
    below = float(steps[best - 1])  # at the lowest of all steps nothing is gained
    return (float(steps[best]) + below) / 2 if np.isfinite(below) else float(steps[best])


def _share_above(scores: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return 1 - np.searchsorted(np.sort(scores), steps, side="left") / len(scores)


class _Measured(NamedTuple):
    name: str
    attributes: frozenset[str]
    curves: Curves | None
    bounded: np.ndarray  # overlaps of GOT-10k
    judged: tuple[np.ndarray, np.ndarray, np.ndarray] | None  # scores, overlaps, visible
    times: np.ndarray  # frames and seconds, without decoding and with


def _measure(sequence: Followed) -> _Measured:
    start, counted = sequence.start(), sequence.counted()
    attributes = frozenset(sequence.attributes) | box_attributes(sequence.truth, sequence.visible, sequence.size)
    times = np.zeros((2, 2)) if start is None else _times(sequence, start)
    if start is None:
        return _Measured(sequence.name, attributes, None, np.zeros(0), None, times)
    truth, behind = np.asarray(sequence.truth, np.float64), np.arange(len(counted)) > start
    found = np.array(sequence.found, np.float64)
    found[start] = truth[start]  # the tracker's answer to the first frame is the box that it was given
    used = counted & behind
    curves = measure_curves(found[counted], truth[counted]) if used.any() else None
    bounded = bounded_overlaps(found[used], truth[used], sequence.size)
    judged = None
    if sequence.scores is not None:
        known = behind & (counted | ~np.asarray(sequence.visible, bool))  # visible without a box: it may be right
        scores = np.asarray(sequence.scores, np.float64)
        judged = scores[known], overlaps(found[known], truth[known]), counted[known]
    return _Measured(sequence.name, attributes, curves, bounded, judged, times)


def _times(sequence: Followed, start: int) -> np.ndarray:
    """Frames behind the first and their seconds, and the same of those whose decoding was measured too."""
    times = np.zeros((2, 2))
    if sequence.seconds is None:
        return times
    seconds = np.asarray(sequence.seconds, np.float64)[start + 1 :]
    known = seconds > 0
    times[0] = np.count_nonzero(known), seconds[known].sum()
    if sequence.decoding is not None:
        both = seconds + np.asarray(sequence.decoding, np.float64)[start + 1 :]
        known &= np.isfinite(both)
        times[1] = np.count_nonzero(known), both[known].sum()
    return times


def _numbers(sequences: Iterable[_Measured]) -> dict[str, float]:
    sequences = list(sequences)
    counted = [each.curves for each in sequences if each.curves is not None]
    if counted:
        numbers = mean_curves(counted).numbers()
    else:
        numbers = dict.fromkeys(Curves(np.zeros(21), np.zeros(51), np.zeros(51)).numbers(), _UNKNOWN)
    bounded = np.concatenate([each.bounded for each in sequences] or [np.zeros(0)])
    for name, values in (("ao", bounded), ("sr50", bounded > 0.5), ("sr75", bounded > 0.75)):
        numbers[name] = float(values.mean()) if len(bounded) else _UNKNOWN
    times = sum((each.times for each in sequences), np.zeros((2, 2)))
    for name, (frames, seconds) in zip(("fps", "fps_with_decoding"), times.tolist(), strict=True):
        numbers[name] = frames / seconds if seconds > 0 else _UNKNOWN
    return numbers
