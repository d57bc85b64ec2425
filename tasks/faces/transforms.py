"""What is done to a face before a network sees it."""

from ...core.errors import unknown
from ...core.transforms import A, Transform, resize_steps
from ...core.types import Preprocessing


def transform(preprocessing: Preprocessing, augment: str = "none") -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some."""
    if augment not in AUGMENTATIONS:
        raise unknown("augmentation", augment, AUGMENTATIONS, "Set data.augment to one of them.")
    return Transform(AUGMENTATIONS[augment](preprocessing))


def unchanged() -> Transform:
    """The way of an image in which faces are yet to be found."""
    return Transform([])


def _photos(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # Faces come aligned: small moves, a mirror, other light.
    move = A.Affine(scale=(0.95, 1.05), translate_percent=(-0.04, 0.04), rotate=(-5, 5), p=0.5)
    return [
        *resize_steps(preprocessing),
        A.HorizontalFlip(p=0.5),
        move,
        A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8),
    ]


AUGMENTATIONS = {"none": resize_steps, "photos": _photos}
