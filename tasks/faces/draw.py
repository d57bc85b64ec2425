"""Faces for people: framed and named, or their embeddings as stripes."""

import cv2
import numpy as np

from ...core.plots import sized_to_see
from ...core.types import Prediction
from ..detection.draw import Colour, Mark, class_colour, draw_marks
from .blur import blur_faces

_UNKNOWN: Colour = (168, 174, 180)
_STRIPES = 64


def draw_faces(
    image: np.ndarray, prediction: Prediction, *, unknown: int | None = None, blur: bool = False
) -> np.ndarray:
    """`image` uint8 RGB (H, W, 3) with a frame around each face, its name and score; uint8 (H', W', 3), at a size to
    look at (see `sized_to_see`).

    Those of the label `unknown` have a dashed grey frame, and with `blur` nobody can recognise them.
    """
    boxes = prediction["boxes"].numpy().astype(np.float64)
    labels = prediction["labels"].tolist()
    if blur:
        image = blur_faces(image, [box for box, label in zip(boxes, labels, strict=True) if label == unknown])
    marks = [
        Mark(box, f"{name} {score:.2f}", _UNKNOWN, dashed=True)
        if label == unknown
        else Mark(box, name if score == 1 else f"{name} {score:.2f}", class_colour(label))
        for box, label, name, score in zip(
            boxes, labels, prediction["names"], prediction["scores"].tolist(), strict=True
        )
    ]
    return draw_marks(image, marks, range(len(marks)))


def draw_embedding(image: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """`image` uint8 RGB (H, W, 3), at a size to look at, with the first 64 numbers of its embedding (D,) below it, blue
    where negative and orange where positive: two images of a person have like stripes; uint8 (H', W, 3).
    """
    image = sized_to_see(image)
    height = max(12, image.shape[0] // 8)
    values = embedding[:_STRIPES] * len(embedding) ** 0.5 / 2  # a length of 1: two deviations are full colour
    strength = np.clip(np.abs(values), 0, 1)[:, None]
    colours = np.where(values[:, None] > 0, (217, 95, 2), (47, 108, 163))
    stripes = np.rint(255 + strength * (colours - 255)).astype(np.uint8)[None]
    band = cv2.resize(stripes, (image.shape[1], height), interpolation=cv2.INTER_NEAREST)
    return np.concatenate([image, band])
