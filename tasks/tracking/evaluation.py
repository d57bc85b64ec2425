"""One pass over the sequences of a data set, whose frames come in their order."""

import csv
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...core.errors import DataError
from .attributes import read_attributes
from .curves import plot_precision, plot_success
from .got10k_archive import Got10kArchive
from .one_pass import Followed, OnePass
from .restarts import Follows, Restarting, Restarts

_FRAME_OF_VIDEO = re.compile(r"(.+\.\w+)#\d+")
_NOWHERE = np.full(4, np.nan)


class FrameSet(Protocol):
    """A data set whose samples are frames, those of a sequence one behind another, as `datasets.frames.Frames`."""

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`image` uint8 RGB (H, W, 3), `path`, `boxes` (1, 4) or (0, 4), and `sequence` int."""
        ...


def evaluate_tracker(tracker: Follows, dataset: FrameSet) -> OnePass:
    """A tracker, whoever made it, over all sequences of a data set, one frame after another, in this process."""
    evaluation = Evaluation({"": lambda: tracker})
    for index in range(len(dataset)):
        evaluation.wait()
        sample = dataset[index]
        evaluation.wait_over(1)
        evaluation.follow(sample["image"], sample["path"], sample["sequence"], sample["boxes"])
    evaluation.finish()
    return evaluation.measured[""]


class Evaluation:
    """Follows the target of each sequence by one tracker or several, side by side.

    Each starts at the first frame that shows the target, with its true box there. A sequence ends where another begins,
    and the last one with `finish`. `start` makes the trackers, by their names; the first is the one that counts. With
    `restarts` each also runs by VOT's protocol, which takes twice as long.
    """

    def __init__(self, start: Mapping[str, Callable[[], Follows]], *, restarts: bool = False) -> None:
        self.restarts: dict[str, list[Restarts]] = {name: [] for name in start} if restarts else {}
        self._restarting: dict[str, Restarting] = {}
        self.measured = {name: OnePass() for name in start}
        self.sequences: list[Followed] = []  # by the first tracker
        self._start = start
        self._trackers: dict[str, Follows] = {}
        self._number = -1  # of the sequence that is followed
        self._size = (0, 0)  # of its frames
        self._paths: list[str] = []
        self._truth: list[np.ndarray] = []
        self._rows: dict[str, list[tuple[np.ndarray, float, float]]] = {}  # found, score, seconds
        self._names: set[str] = set()
        self._since = 0.0  # when the waiting began; 0 before the first frame
        self._waited = np.nan  # seconds, for each of the frames that came last
        self._waits: list[float] = []  # of the sequence

    def wait(self) -> None:
        """From now on frames are waited for."""
        self._since = time.perf_counter()

    def wait_over(self, frames: int) -> None:
        """So many frames are there."""
        self._waited = (time.perf_counter() - self._since) / max(1, frames) if self._since else np.nan

    def follow(self, image: np.ndarray, path: str, number: int, truth: np.ndarray) -> None:
        """Take the next frame, uint8 (H, W, 3), of sequence `number`; `truth` float32 (1, 4) xyxy, or (0, 4)."""
        if number != self._number:
            self.finish()
            self._number, self._size = number, (image.shape[0], image.shape[1])
            self._rows = {name: [] for name in self._start}
            self._restarting = {name: Restarting(self._start[name]()) for name in self.restarts}
        box = truth[0].astype(np.float64) if len(truth) else _NOWHERE
        begins = not self._trackers and len(truth) > 0
        for name, rows in self._rows.items():
            began = time.perf_counter()
            found, score = self._begin(name, image, box) if begins else self._go_on(name, image)
            rows.append((found, score, time.perf_counter() - began))
        for run in self._restarting.values():
            run.follow(image, box)
        self._paths.append(path)
        self._truth.append(box)
        self._waits.append(self._waited)

    def finish(self) -> None:
        """End the sequence."""
        if self._paths:
            name, truth = self._name(), np.array(self._truth)
            visible = np.asarray(np.isfinite(truth).all(axis=1))
            attributes = read_attributes(_folder(self._paths[0]))
            for tracker, rows in self._rows.items():
                found, scores, seconds = (np.array(column) for column in zip(*rows, strict=True))
                waits = np.array(self._waits)
                followed = Followed(name, found, truth, visible, self._size, scores, seconds, waits, attributes)
                self.measured[tracker].add(followed)
                if tracker in self._restarting:
                    self.restarts[tracker].append(self._restarting[tracker].result())
                if tracker == next(iter(self._start)):
                    self.sequences.append(followed)
        self._number, self._paths, self._truth, self._waits, self._trackers = -1, [], [], [], {}

    def plots(self) -> dict[str, Callable[[str], None]]:
        """What writes curves, a table of the sequences and, where their names allow it, GOT-10k's archive, by names."""
        return {
            "success.png": partial(self._plot, plot_success),
            "precision.png": partial(self._plot, plot_precision),
            "sequences.csv": self._write_table,
            "got10k.zip": self._write_archive,
        }

    def _begin(self, name: str, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, float]:
        self._trackers[name] = self._start[name]()
        self._trackers[name].init(image, box)
        return box, 1.0

    def _go_on(self, name: str, image: np.ndarray) -> tuple[np.ndarray, float]:
        if name not in self._trackers:
            return _NOWHERE, np.nan
        box, score = self._trackers[name].update(image)
        return np.asarray(box, np.float64), float(score)

    def _name(self) -> str:
        """Of a video its own, of frames that of their folder; with the number of the sequence where that is taken."""
        first = self._paths[0]
        video = _FRAME_OF_VIDEO.fullmatch(first)
        name = os.path.basename(video[1] if video else os.path.dirname(first).removesuffix("/img"))
        if name in self._names:
            name = f"{name}-{self._number + 1}"
        self._names.add(name)
        return name

    def _plot(self, plot: Callable[..., None], path: str) -> None:
        curves = {name: measured.curves() for name, measured in self.measured.items()}
        there = {name: curve for name, curve in curves.items() if curve is not None}
        if there:
            plot(there, path)

    def _write_table(self, path: str) -> None:
        rows = next(iter(self.measured.values())).rows()
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else ["name"])
            writer.writeheader()
            writer.writerows(rows)

    def _write_archive(self, path: str) -> None:
        with suppress(DataError), Got10kArchive(path) as archive:
            for each in self.sequences:
                start = each.start()
                if start == 0 and each.seconds is not None:  # there as here, the first frame's box is given
                    archive.add(each.name, each.found, each.seconds)


def _folder(path: str) -> Path:
    """The folder of a sequence, one of whose frames is `path`."""
    parent = Path(path).parent
    return parent.parent if parent.name == "img" else parent
