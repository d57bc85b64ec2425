"""What is done to an image and its mask before a segmenter sees them."""

from ...core.errors import unknown
from ...core.transforms import A, RandomResizedCrop, Transform, resize_steps
from ...core.types import Preprocessing


def transform(preprocessing: Preprocessing, augment: str = "none") -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some."""
    if augment not in AUGMENTATIONS:
        raise unknown("augmentation", augment, AUGMENTATIONS, "Set data.augment to one of them.")
    return Transform(AUGMENTATIONS[augment](preprocessing))


def _flip(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    return [*resize_steps(preprocessing), A.HorizontalFlip(p=0.5)]


def _photos(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    size = (preprocessing["size"], preprocessing["size"])
    return [
        RandomResizedCrop(size, scale=(0.25, 1.0)),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8),
    ]


def _microscope(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # No up and no down; tissue bends: Ronneberger et al. 2015, section 3.1.
    bend = A.ElasticTransform(alpha=40, sigma=6, p=0.5)
    return [*resize_steps(preprocessing), A.SquareSymmetry(p=1), bend, A.RandomBrightnessContrast(p=0.5)]


AUGMENTATIONS = {"none": resize_steps, "flip": _flip, "photos": _photos, "microscope": _microscope}
