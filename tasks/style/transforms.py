"""What is done to a picture before a style network sees it."""

from ...core.errors import unknown
from ...core.transforms import A, RandomResizedCrop, Transform, resize_steps
from ...core.types import Preprocessing


def transform(preprocessing: Preprocessing, augment: str = "none") -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some."""
    if augment not in AUGMENTATIONS:
        raise unknown("augmentation", augment, AUGMENTATIONS, "Set data.augment to one of them.")
    return Transform(AUGMENTATIONS[augment](preprocessing))


def _crops(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    size = (preprocessing["size"], preprocessing["size"])
    return [RandomResizedCrop(size, scale=(0.25, 1.0)), A.HorizontalFlip(p=0.5)]


AUGMENTATIONS = {"none": resize_steps, "crops": _crops}
