"""People before scenes of the drawn world: pictures in which a detector of faces has something to find, and to leave.

Where each face and its five landmarks are follows from how they are drawn. The bodies of a scene, and of the people
their hair, necks and clothes, are what a detector must not take for a face.
"""

from typing import NamedTuple

import numpy as np

from .dice import Dice
from .faces import cut_out_face, face_box, face_landmarks
from .scenes import draw_scene

_CROWD = 9  # ends the keys of the streams
_NOBODY = 0.1  # of the pictures
_MOST_PEOPLE = 4
_SMALLEST, _LARGEST = 0.17, 0.9  # of the picture's shorter side: the portraits, about half of which is the face
_TRIES = 8  # for a place at which a portrait hides no other's face
_NUMBERS = 2**31  # of identities


class Crowd(NamedTuple):
    """A picture of some people."""

    image: np.ndarray  # uint8 (H, W, 3)
    boxes: np.ndarray  # float32 (F, 4), xyxy around each face, from hairline to chin, inside of the image
    landmarks: np.ndarray  # float32 (F, 5, 2): left eye, right eye, nose, corners of the mouth, as seen in the image


def draw_crowd(number: int, *, size: tuple[int, int] = (240, 320), seed: int = 0) -> Crowd:
    """The picture of this number, of `size` (H, W): none to four people, whose faces are whole and not hidden.

    The same bytes for the same call. Faces are from about 20 pixels to half of the picture; nobody is in two pictures.
    """
    dice = Dice(seed, number, _CROWD)
    image = draw_scene(dice.fork(0), size).image.copy()
    taken, points = np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32)
    for _ in range(0 if dice.chance(_NOBODY) else dice.between(1, _MOST_PEOPLE)):
        identity, view = dice.below(_NUMBERS), dice.below(1000)
        side = int(min(size) * _SMALLEST * (_LARGEST / _SMALLEST) ** dice.uniform())
        box = face_box(identity, view, size=side, seed=seed)
        place = _free_place(dice, side, size, box, taken)
        if place is None:
            continue
        _paste(image, place, *cut_out_face(identity, view, size=side, seed=seed))
        taken = np.concatenate([taken, (box + np.tile(place, 2))[None]], dtype=np.float32)
        points = np.concatenate(
            [points, (face_landmarks(identity, view, size=side, seed=seed) + place)[None]], dtype=np.float32
        )
    return Crowd(image, taken, points)


def _free_place(dice: Dice, side: int, size: tuple[int, int], box: np.ndarray, taken: np.ndarray) -> np.ndarray | None:
    """Left and top, int64 (2,), of a portrait whose face is in the picture, and that hides no face of `taken`."""
    first = np.ceil(-box[:2]).astype(int)
    last = np.floor(np.array(size[::-1]) - box[2:]).astype(int)
    for _ in range(_TRIES):
        place = np.array(
            [dice.between(int(low), max(int(low), int(high))) for low, high in zip(first, last, strict=True)]
        )
        right, bottom = place + side
        hidden = (taken[:, 0] < right) & (taken[:, 2] > place[0]) & (taken[:, 1] < bottom) & (taken[:, 3] > place[1])
        if not hidden.any():
            return place
    return None


def _paste(image: np.ndarray, place: np.ndarray, portrait: np.ndarray, cover: np.ndarray) -> None:
    """Lay what of a portrait is in the picture over it; in whole numbers."""
    side, (height, width) = len(portrait), image.shape[:2]
    left, top, right, bottom = (*np.maximum(place, 0), *np.minimum(place + side, (width, height)))
    part = np.s_[top - place[1] : bottom - place[1], left - place[0] : right - place[0]]
    share, below = cover[part].astype(np.uint16)[..., None], image[top:bottom, left:right]
    below[:] = (portrait[part] * share + below * (255 - share) + 127) // 255
