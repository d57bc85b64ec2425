"""What is done to an image before a classifier sees it."""

import numpy as np

from ...core.errors import unknown
from ...core.transforms import A, Transform
from ...core.types import Preprocessing

# The middle that `crop` keeps: 224 of 256, as every published ImageNet figure since Krizhevsky et al. 2012.
CROP_SHARE = 0.875


def transform(preprocessing: Preprocessing, augment: str = "none") -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some."""
    if augment not in AUGMENTATIONS:
        raise unknown("augmentation", augment, AUGMENTATIONS, "Set data.augment to one of them.")
    return Transform(AUGMENTATIONS[augment](preprocessing))


def _none(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    size = preprocessing["size"]
    resize = A.Resize(size, size, area_for_downscale="image")
    return [A.Lambda(image=_middle, p=1), resize] if preprocessing["resize"] == "crop" else [resize]


def _middle(image: np.ndarray, **_: object) -> np.ndarray:
    # Cut before resizing: the same pixels as the other way round, but an image of 1 x 60,000 stays small.
    height, width = image.shape[:2]
    side = max(1, round(CROP_SHARE * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _characters(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # No flips: a mirrored 2 is not a 2.
    move = A.Affine(scale=(0.9, 1.1), translate_percent=(-0.08, 0.08), rotate=(-12, 12), shear=(-8, 8), p=0.9)
    return [*_none(preprocessing), move]


def _photos(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    size = (preprocessing["size"], preprocessing["size"])
    return [
        A.RandomResizedCrop(size, scale=(0.35, 1.0), area_for_downscale="image"),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8),
    ]


AUGMENTATIONS = {"none": _none, "characters": _characters, "photos": _photos}
