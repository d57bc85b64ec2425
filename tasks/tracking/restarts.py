"""VOT's supervised protocol: a tracker that has lost its target gets it again, and how often it needs to is counted.

M. Kristan et al.: A Novel Performance Evaluation Methodology for Single-Target Trackers, IEEE TPAMI 2016, and The
Visual Object Tracking VOT2015 to VOT2019 Challenge Results.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from .metrics import cut, has_area, overlaps

PAUSE = 5  # frames from a failure to the restart
BURN_IN = 10  # frames from a start on, its own among them, that do not count for accuracy
SENSITIVITY = 30.0  # S of the reliability; VOT's plots have 30, later ones 100


class Follows(Protocol):
    """What a tracker does, whoever made it."""

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        """Begin with the target in `box`, xyxy (4,) in pixels of `image`, uint8 RGB (H, W, 3)."""

    def update(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Its box, xyxy (4,), in the next frame, and how sure it is, 0 to 1."""
        ...


class Restarts(NamedTuple):
    """One sequence, or several thrown together by `combine`."""

    accuracy: float  # mean overlap of the frames that count; -1 where none does
    failures: float  # number of times that no overlap was left; of several sequences their mean by length
    frames: int  # of the sequence, from the first start on
    counted: int  # frames of the accuracy
    starts: tuple[int, ...] = ()  # frames in which the tracker was given the box
    failed: tuple[int, ...] = ()  # frames in which it had lost it

    def reliability(self, sensitivity: float = SENSITIVITY) -> float:
        """How likely it is that the tracker goes on for `sensitivity` frames without a failure: exp(-S failures /
        frames) (Kristan et al. 2016); 1 where there were no frames.
        """
        return math.exp(-sensitivity * self.failures / self.frames) if self.frames else 1.0


class Restarting:
    """A tracker on its way through the frames of a sequence, which gets the true box anew when it has lost its target.

    Where found and true box, both cut at the border, share nothing, that is a failure, and five frames later the
    tracker begins anew with the true box. Frames from a failure to the restart do not count for accuracy, nor do the
    first ten from a start on, its own among them (as VOT's toolkit has it, `burnin`): they are near the truth because
    it was given.
    Of frames without a true box nothing is asked; the tracker sees them, and a restart waits until one has a box.
    """

    def __init__(self, tracker: Follows) -> None:
        self._tracker = tracker
        self._shared: list[float] = []  # overlaps, NaN where nothing was asked
        self._starts: list[int] = []
        self._failed: list[int] = []
        self._due: int | None = 0  # the tracker stands still until this frame

    def follow(self, image: np.ndarray, truth: np.ndarray) -> None:
        """Take the next frame, uint8 RGB (H, W, 3), and its true box (4,), xyxy; NaN or empty: none."""
        number, there = len(self._shared), bool(has_area(truth[None])[0])
        self._shared.append(np.nan)
        if self._due is not None:
            if number >= self._due and there:
                self._tracker.init(image, truth)
                self._starts.append(number)
                self._due = None
            return
        found, _ = self._tracker.update(image)
        if there:
            pair = cut(np.stack([found, truth]), image.shape[:2])
            self._shared[number] = overlaps(pair[:1], pair[1:])[0]
            if self._shared[number] <= 0:
                self._failed.append(number)
                self._due = number + PAUSE

    def result(self) -> Restarts:
        """The numbers of the frames so far."""
        return _summed(np.array(self._shared), self._starts, self._failed)


def run_with_restarts(tracker: Follows, frames: Iterable[np.ndarray], boxes: np.ndarray) -> Restarts:
    """`Restarting` over frames whose true boxes are float (T, 4)."""
    run = Restarting(tracker)
    for image, truth in zip(frames, np.asarray(boxes, np.float64), strict=True):
        run.follow(image, truth)
    return run.result()


def _summed(shared: np.ndarray, starts: Sequence[int], failed: Sequence[int]) -> Restarts:
    counts = np.isfinite(shared)
    counts[list(failed)] = False
    for start in starts:
        counts[start : start + BURN_IN] = False
    accuracy = float(shared[counts].mean()) if counts.any() else -1.0
    frames = len(shared) - starts[0] if starts else 0
    return Restarts(accuracy, float(len(failed)), frames, int(counts.sum()), tuple(starts), tuple(failed))


def combine(sequences: Iterable[Restarts]) -> Restarts:
    """Several sequences as VOT's toolkit reports them: accuracy and failures are means weighted by frames.

    `frames` is the mean length then, so that the reliability is that of a sequence of it.
    """
    known = [each for each in sequences if each.frames]
    total = sum(each.frames for each in known)
    if not total:
        return Restarts(-1.0, 0.0, 0, 0)
    accurate = [each for each in known if each.counted]
    weight = sum(each.frames for each in accurate)
    accuracy = sum(each.accuracy * each.frames for each in accurate) / weight if weight else -1.0
    failures = sum(each.failures * each.frames for each in known) / total
    return Restarts(accuracy, failures, round(total / len(known)), sum(each.counted for each in known))
