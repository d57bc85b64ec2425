"""The Berkeley benchmark over the batches of an evaluation."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from .berkeley import Counts, Scores, count_matches, summarise, thresholds
from .thin import suppress_non_maxima

_WAITING = 32  # images whose counts may be outstanding: each holds its maps


class EdgeMetrics:
    """Counts of one image after another, in threads beside the network, and the scores of all.

    `max_distance` is in diagonals of the image. With `suppress`, soft maps are made thin first, as those of networks
    are.
    """

    def __init__(self, *, max_distance: float, suppress: bool) -> None:
        self._max_distance = max_distance
        self._suppress = suppress
        self._thresholds = thresholds()
        self._threads = ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0))), "foveal-edges")
        self._counts: list[Future[Counts]] = []

    def update(self, edges: np.ndarray, annotators: np.ndarray, *, number: int, name: str) -> None:
        """Take an image's probabilities, float32 (H, W), and what was drawn on it, bool (A, H, W), to be looked at with
        `number` thresholds, the same for all images; `name` is the image's for an error.

        Raises DataError, now or later, where the two differ in size.
        """
        self._thresholds = thresholds(number)
        if len(self._counts) >= _WAITING:
            self._counts[-_WAITING].result()
        self._counts.append(self._threads.submit(self._count, edges, annotators, name))

    def compute(self) -> Scores | None:
        """The scores of all images so far; None without any."""
        counts = [future.result() for future in self._counts]
        return summarise(counts, self._thresholds) if counts else None

    def reset(self) -> None:
        """Forget all images."""
        for future in self._counts:
            future.cancel()
        self._counts = []

    def _count(self, edges: np.ndarray, annotators: np.ndarray, name: str) -> Counts:
        look: Callable[[np.ndarray], np.ndarray] = suppress_non_maxima if self._suppress else np.asarray
        wanted = {"thresholds": self._thresholds, "max_distance": self._max_distance, "name": name}
        return count_matches(look(edges), annotators, **wanted)
