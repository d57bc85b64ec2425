"""What is done to an image and its boxes before a detector sees them."""

from ...core.errors import unknown
from ...core.transforms import A, Transform, resize_steps
from ...core.types import Preprocessing


def transform(preprocessing: Preprocessing, augment: str = "none") -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some."""
    if augment not in AUGMENTATIONS:
        raise unknown("augmentation", augment, AUGMENTATIONS, "Set data.augment to one of them.")
    return Transform(AUGMENTATIONS[augment](preprocessing))


_MEAN = (124, 116, 104)  # of ImageNet's images: what becomes 0 for the network


def _flip(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # All that Faster R-CNN was trained with: Ren et al. 2015, section 3.3.
    return [*resize_steps(preprocessing), A.HorizontalFlip(p=0.5)]


def _photos(preprocessing: Preprocessing) -> list[A.BasicTransform | A.BaseCompose]:
    # In the manner of SSD (Liu et al. 2016, section 3.6): smaller objects on a larger ground, larger ones in a part of
    # the image, and the image as it is.
    ground = A.Affine(scale=(0.4, 0.95), translate_percent=(-0.2, 0.2), fill=_MEAN, p=1)
    part = A.BBoxSafeRandomCrop(erosion_rate=0.2, p=1)
    return [
        A.OneOf([A.NoOp(p=1), ground, part], p=1),
        *resize_steps(preprocessing),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8),
    ]


AUGMENTATIONS = {"none": resize_steps, "flip": _flip, "photos": _photos}
