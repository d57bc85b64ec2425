"""Trackers that learn nothing beforehand: what a network has to be better than."""

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np

from ...core.errors import UsageError, unknown
from .region import context_square
from .restarts import Follows

_SEARCH = 255 / 127  # side of SiamFC's search region in sides of its exemplar region (Bertinetto et al. 2016, 3.1)
_LEAST_SIDE = 4  # pixels of a template: fewer are found everywhere
_LEAST_FOR_OPENCV, _MOST_FOR_OPENCV = 6, 0.75  # pixels and share of the frame: MIL does not end beyond either
_FLAT = 1.0  # grey levels: a template of a smaller standard deviation shows nothing
_SAME = 1e-6  # of correlations: what single precision does not tell apart


class StaticBox:
    """Says the first box again and again."""

    _box: np.ndarray

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        """Begin with the target in `box`, xyxy (4,)."""
        self._box = np.array(box, np.float64)

    def update(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The first box, float64 (4,), and 1."""
        return self._box.copy(), 1.0


class TemplateMatching:
    """Finds the patch of the first frame by normalised cross-correlation, in whole pixels and at its first size.

    It looks where SiamFC does: in the square around the last box that has about four times the area of the target with
    its margin. Beyond the border of a frame lies its mean colour. A box with a side of less than four pixels is looked
    for with what is around it. Where the first frame has no such patch, or one of one colour, the box stays and has
    score 0.
    """

    _box: np.ndarray
    _template: np.ndarray | None
    _offset: np.ndarray  # from the template's first pixel to the corner of the box

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        """Begin with the target in `box`, xyxy (4,) in pixels of `image`, uint8 RGB (H, W, 3)."""
        self._box = np.array(box, np.float64)
        x1, y1, x2, y2 = _whole_pixels(self._box, image, _LEAST_SIDE, 1.0)
        patch = image[y1:y2, x1:x2]
        self._offset = self._box[:2] - (x1, y1)
        self._template = patch.copy() if patch.size and patch.std(axis=(0, 1)).max() >= _FLAT else None

    def update(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The box, float64 (4,), where the correlation in the search region is highest, and it, 0 to 1.

        Of equal ones the nearest to the last box, so that a target that stands still does too.
        """
        if self._template is None:
            return self._box.copy(), 0.0
        last = np.round(self._box[:2] - self._offset).astype(int)
        reach = self._reach()
        window = _padded_crop(image, last - reach, np.array(self._template.shape[1::-1]) + 2 * reach)
        response = np.nan_to_num(cv2.matchTemplate(window, self._template, cv2.TM_CCOEFF_NORMED), posinf=0.0)
        rows, columns = np.nonzero(response >= response.max() - _SAME)
        nearest = np.argmin(np.hypot(rows - reach[1], columns - reach[0]))
        row, column = int(rows[nearest]), int(columns[nearest])
        self._box = _kept_inside(self._box + np.tile((column - reach[0], row - reach[1]), 2), image)
        return self._box.copy(), float(np.clip(response[row, column], 0.0, 1.0))

    def _reach(self) -> np.ndarray:
        """How far the template may move to the sides and up and down so that it stays in the region, int (2,)."""
        assert self._template is not None
        height, width = self._template.shape[:2]
        side = context_square(self._box).width * _SEARCH
        return np.maximum(1, np.round((side - np.array([width, height])) / 2)).astype(int)


class OpenCVTracker:
    """One of OpenCV's own trackers that needs no file of weights, see `available`.

    They take boxes in whole pixels within the frame, here of 6 pixels at least and three quarters of the frame at most
    (MIL never comes back from others). What the first box loses by that is added to each that they find.
    A target that they call lost stays where it was last, with score 0; else the score is 1, for they have none. MIL
    draws by a generator of its own, which can't be seeded and goes on from one sequence to the next: what it says
    depends on what it followed before, in this process.

    Raises UsageError for a name that this build of OpenCV lacks.
    """

    def __init__(self, name: str) -> None:
        makers = _makers()
        if name not in makers:
            known = f" {name} comes with another build of it." if name in _NAMES else ""
            raise UsageError(
                f"'{name}' is none of the trackers of this build of OpenCV, which are: {', '.join(makers) or 'none'}."
                f"{known} pip install opencv-contrib-python-headless, in place of opencv-python-headless, brings more."
            )
        self._make = makers[name]

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        """Begin with the target in `box`, xyxy (4,) in pixels of `image`, uint8 RGB (H, W, 3)."""
        self._box = np.array(box, np.float64)
        x1, y1, x2, y2 = _whole_pixels(self._box, image, _LEAST_FOR_OPENCV, _MOST_FOR_OPENCV)
        self._lost_by_rounding = self._box - (x1, y1, x2, y2)
        self._tracker = None
        if x2 > x1 and y2 > y1:
            self._tracker = self._make()
            self._tracker.init(_bgr(image), (x1, y1, x2 - x1, y2 - y1))

    def update(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The box, float64 (4,), and 1, or 0 where the target is lost."""
        if self._tracker is None:
            return self._box.copy(), 0.0
        try:
            found, (x, y, width, height) = self._tracker.update(_bgr(image))
        except cv2.error:  # a target at the border of the frame, in some versions
            return self._box.copy(), 0.0
        if not found or width <= 0 or height <= 0:
            return self._box.copy(), 0.0
        self._box = np.array([x, y, x + width, y + height], np.float64) + self._lost_by_rounding
        return self._box.copy(), 1.0


_NAMES = ("MIL", "KCF", "CSRT", "MOSSE", "MedianFlow", "TLD", "Boosting")


def available() -> tuple[str, ...]:
    """Names of OpenCV's trackers that this build has: MIL in each, KCF, CSRT, MOSSE and more in its contrib builds."""
    return tuple(_makers())


def _makers() -> dict[str, Callable[[], Any]]:
    found = {}
    for name in _NAMES:
        for place in (cv2, getattr(cv2, "legacy", None)):
            make = getattr(place, f"Tracker{name}_create", None)
            if make is not None:
                found.setdefault(name, make)
    return found


def baseline(name: str) -> Callable[[], Follows]:
    """What makes the tracker `name`: static, template, or one of OpenCV's; raises UsageError where there is none."""
    if name in _OWN:
        return _OWN[name]
    if name not in (*available(), *_NAMES):
        raise unknown("tracker to compare with", name, (*_OWN, *available()), "Set model.baselines to some of them.")
    OpenCVTracker(name)  # whether this build has it is said now, and not after a training
    return partial(OpenCVTracker, name)


_OWN: dict[str, Callable[[], Follows]] = {"static": StaticBox, "template": TemplateMatching}


# --- pixels -----------------------------------------------------------------------------------------------------------


def _whole_pixels(box: np.ndarray, image: np.ndarray, least: int, most: float) -> tuple[int, int, int, int]:
    """The box cut at the border of the image and rounded; without area where it lies outside.

    A side of less than `least` pixels, or more than the share `most` of the image's, is brought there around its
    middle.
    """
    limit = np.array(image.shape[1::-1])
    low, high = np.round(np.clip(box[:2], 0, limit)).astype(int), np.round(np.clip(box[2:], 0, limit)).astype(int)
    outside = (box[2:] <= 0).any() or (box[:2] >= limit).any()
    side = np.zeros(2, int) if outside else np.minimum(np.maximum(high - low, least), (limit * most).astype(int))
    low = np.clip(low - (side - (high - low)) // 2, 0, limit - side)
    (x1, y1), (x2, y2) = low.tolist(), (low + side).tolist()
    return x1, y1, x2, y2


def _padded_crop(image: np.ndarray, corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The part of `size` (width, height) from pixel `corner` (x, y) on; the image's mean colour beyond its border."""
    width, height = size.tolist()
    crop = np.empty((height, width, 3), np.uint8)
    x, y = corner.tolist()
    left, top = max(0, x), max(0, y)
    right, bottom = min(image.shape[1], x + width), min(image.shape[0], y + height)
    if right - left < width or bottom - top < height:
        crop[:] = np.round(cv2.mean(image)[:3])
    if right > left and bottom > top:
        crop[top - y : bottom - y, left - x : right - x] = image[top:bottom, left:right]
    return crop


def _kept_inside(box: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The box moved by whole pixels so that its middle lies in the image."""
    middle = (box[:2] + box[2:]) / 2
    limit = np.array(image.shape[1::-1], np.float64)
    step = np.ceil(np.maximum(0, -middle)) - np.ceil(np.maximum(0, middle - limit))
    return box + np.tile(step, 2)


def _bgr(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[..., ::-1])
