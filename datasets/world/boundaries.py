"""Visible boundaries as several people would mark them: none draws quite the same line, and none marks everything."""

import cv2
import numpy as np

from .dice import Dice

ANNOTATORS = 5
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def annotate(ids: np.ndarray, boxes: np.ndarray, dice: Dice, annotators: int = ANNOTATORS) -> np.ndarray:
    """Where each of several annotators marks a boundary, bool (annotators, H, W); their mean is the share.

    `ids`: uint8 (H, W), 0 for the background, numbered from far to near; `boxes`: (N, 4), xyxy around the pixels of 1,
    2, ..., N. A boundary is one pixel thin and lies on the nearer object: its pixels beside, above or below a farther
    one. An annotator leaves out some objects, small ones more often; shifts an object's line by a pixel at most; and
    may be one who does not mark where two objects meet.
    """
    marks = np.zeros((annotators, *ids.shape), bool)
    farthest = cv2.erode(ids, _CROSS)  # the lowest number beside each pixel; beyond the image there is none
    tastes = [dice.chance(0.8) for _ in range(annotators)]
    for number, box in enumerate(boxes.astype(int).tolist(), 1):
        left, top, right, bottom = box
        part = np.s_[top:bottom, left:right]
        around = (ids[part] == number) & (farthest[part] < number)
        alone = around & (farthest[part] == 0)
        forgotten = 0.04 + 1.6 / (4 + min(right - left, bottom - top))
        for annotator, marks_meetings in enumerate(tastes):
            if dice.chance(forgotten):
                continue
            shift = (dice.below(8), dice.below(8))  # one in four throws moves the line, to either side alike
            down, across = ((-1, 1, 0, 0, 0, 0, 0, 0)[throw] for throw in shift)
            _mark(marks[annotator], around if marks_meetings else alone, top + down, left + across)
    return marks


def _mark(marks: np.ndarray, line: np.ndarray, top: int, left: int) -> None:
    """Add `line` to `marks`, its first pixel at (`top`, `left`), which may lie a pixel outside."""
    height, width = marks.shape
    rows = slice(max(top, 0), min(top + line.shape[0], height))
    columns = slice(max(left, 0), min(left + line.shape[1], width))
    marks[rows, columns] |= line[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
