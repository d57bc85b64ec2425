"""What is done to the frames of a pair before a tracker sees them."""

from ...core.errors import unknown
from ...core.transforms import A, Transform, resize_steps
from ...core.types import Preprocessing


def transform(preprocessing: Preprocessing, augment: str = "none") -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some."""
    if augment not in AUGMENTATIONS:
        raise unknown("augmentation", augment, AUGMENTATIONS, "Set data.augment to one of them.")
    return Transform(AUGMENTATIONS[augment](preprocessing))


def _photos(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # The colours of both frames of a pair change alike; a mirror turns both.
    return [
        *resize_steps(preprocessing),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8),
    ]


AUGMENTATIONS = {"none": resize_steps, "photos": _photos}
