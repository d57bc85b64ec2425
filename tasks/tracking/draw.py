"""Targets that are followed, on the frames, for people."""

import numpy as np

from ...core.types import Prediction
from ..detection.draw import Colour, Mark, class_colour, draw_marks

_LOST: Colour = (168, 174, 180)


def draw_tracks(image: np.ndarray, prediction: Prediction) -> np.ndarray:
    """`image` uint8 RGB (H, W, 3) with the box of each target in a colour of its own, its name and score; uint8
    (H', W', 3), the frame at a size to look at (see `sized_to_see`).

    The box of a target that is lost is dashed and grey, and called lost. Where all scores are 1, as in a truth, in the
    first frame and of a method without scores, tags have names alone. Targets given first lie above the others.
    """
    boxes = np.asarray(prediction["boxes"], np.float64).reshape(-1, 4)
    rows = np.flatnonzero(np.isfinite(boxes).all(axis=1)).tolist()
    marks = [_mark(prediction, row, boxes[row]) for row in rows]
    return draw_marks(image, marks, range(len(marks)))


def _mark(prediction: Prediction, row: int, box: np.ndarray) -> Mark:
    name = " ".join(prediction["names"][row].split())
    if bool(prediction["lost"][row]):
        return Mark(box, f"{name} lost", _LOST, dashed=True)
    scored = bool((prediction["scores"] != 1).any())
    text = f"{name} {float(prediction['scores'][row]):.2f}" if scored else name
    return Mark(box, text, class_colour(int(prediction["labels"][row])))
