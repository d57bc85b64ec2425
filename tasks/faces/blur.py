"""Faces made unrecognisable, for pictures in which somebody did not ask to be named."""

from collections.abc import Iterable

import cv2
import numpy as np

_CELLS = 4  # across all that is changed: of 16 mean colours, about five of them on the face, nobody is known again
_REACH = 1.45  # half axes of the ellipse over those of the box: from 1.42 on it holds the box's corners
_FADE = 1.8  # where the picture is itself again


def blur_faces(image: np.ndarray, boxes: Iterable[np.ndarray]) -> np.ndarray:
    """A copy of an image, uint8 (H, W, 3), in which every face of `boxes`, xyxy, has become a patch of soft colour.

    Each face is replaced by the mean colours of 4 x 4 cells over an ellipse that holds its whole box, and from there on
    fades into the picture. In the ellipse no pixel keeps anything but those 16 colours, so no filter brings the face
    back; that somebody is known by clothes or place is another matter. Boxes outside of the image change nothing.
    """
    blurred = image.copy()
    for box in boxes:
        _blur(blurred, np.asarray(box, np.float64))
    return blurred


def _blur(image: np.ndarray, box: np.ndarray) -> None:
    height, width = image.shape[:2]
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    if not np.isfinite(box).all() or (half <= 0).any():
        return
    limits = np.array([width, height])
    first = np.clip(np.floor(middle - _FADE * half), 0, limits).astype(int)
    last = np.clip(np.ceil(middle + _FADE * half), 0, limits).astype(int)
    if (last <= first).any():
        return
    place = np.s_[first[1] : last[1], first[0] : last[0]]
    across, down = ((np.arange(first[axis], last[axis]) + 0.5 - middle[axis]) / half[axis] for axis in (0, 1))
    distance = np.sqrt(across[None, :] ** 2 + down[:, None] ** 2)
    cover = np.clip((_FADE - distance) / (_FADE - _REACH), 0, 1)[..., None]
    image[place] = np.rint(cover * _smeared(image[place]) + (1 - cover) * image[place]).astype(np.uint8)


def _smeared(part: np.ndarray) -> np.ndarray:
    """The mean colours of `_CELLS` x `_CELLS` cells, with soft transitions: float of the same shape."""
    height, width = part.shape[:2]
    few = cv2.resize(part, (min(_CELLS, width), min(_CELLS, height)), interpolation=cv2.INTER_AREA)
    return cv2.resize(few.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
