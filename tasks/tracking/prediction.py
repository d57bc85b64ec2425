"""From frames in their order to predictions: one video after another."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from ...core.errors import UsageError
from ...core.images import ImageError
from ...core.types import Prediction
from .tracker import Tracker


def tracked(
    path: str, size: tuple[int, int], boxes: torch.Tensor, scores: torch.Tensor, lost: torch.Tensor
) -> Prediction:
    """Of a frame with K targets: `boxes` float32 (K, 4) xyxy, `scores` float32 (K,), `lost` bool (K,)."""
    count = len(boxes)
    names = ["target"] if count == 1 else [f"target {number}" for number in range(1, count + 1)]
    return Prediction(
        path=path,
        size=size,
        labels=torch.arange(count),
        scores=scores,
        names=names,
        boxes=boxes,
        lost=lost,
    )


class Following:
    """Follows the targets of videos, whose frames come in their order, video by video.

    `targets` are the boxes xyxy in the first frame of each, by its path; `start` makes a tracker.
    """

    def __init__(self, targets: Mapping[str, Sequence[Sequence[float]]], start: Callable[[], Tracker]) -> None:
        self.targets = targets
        self._start = start
        self._path = ""
        self._tracker: Tracker | None = None

    def next(self, image: np.ndarray, path: str, frame: int | None) -> Prediction:
        """The targets in the next frame, uint8 (H, W, 3) RGB, of the video `path`, or in its first.

        Raises UsageError for an image that is no frame, and for a video without targets; ImageError for one whose first
        box can't be followed.
        """
        if path not in self.targets or frame is None:
            raise UsageError(f"{path}: nothing is given there to follow; a tracker needs the target's box.")
        if self._tracker is None or path != self._path or frame == 0:
            if frame > 0:
                raise ImageError(
                    path, "DAMAGED", "can't be followed: the first frame, which shows the target, is missing"
                )
            boxes = np.array(self.targets[path], np.float64)
            self._tracker, self._path = self._begun(image, path, boxes), path
            scores = np.ones(len(boxes))
        else:
            boxes, scores = self._tracker.update(image)
        return tracked(
            path,
            image.shape[:2],
            torch.from_numpy(np.asarray(boxes)).float(),
            torch.from_numpy(np.asarray(scores)).float(),
            torch.as_tensor(self._tracker.lost),
        )

    def _begun(self, image: np.ndarray, path: str, boxes: np.ndarray) -> Tracker:
        tracker = self._start()
        try:
            tracker.init(image, boxes)
        except UsageError as error:  # of a file of boxes: those of a command line were looked at before
            raise ImageError(path, "UNSUPPORTED", f"can't be followed: {error}") from None
        return tracker
