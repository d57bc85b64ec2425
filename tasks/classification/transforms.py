"""What is done to an image before a classifier sees it."""

from ...core.errors import UsageError
from ...core.transforms import A, RandomResizedCrop, Transform, resize_steps
from ...core.types import Preprocessing
from .. import augmentation_names


def transform(preprocessing: Preprocessing, augment: str | list[str] = "none") -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some."""
    if preprocessing["resize"] in ("fit", "shorter"):
        resize = preprocessing["resize"]
        raise UsageError(f"data.resize {resize} leaves images of many shapes; classification takes squash or crop.")
    (name,) = augmentation_names("classification", augment)
    return Transform(AUGMENTATIONS[name](preprocessing))


def _characters(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # No flips: a mirrored 2 is not a 2.
    move = A.Affine(scale=(0.9, 1.1), translate_percent=(-0.08, 0.08), rotate=(-12, 12), shear=(-8, 8), p=0.9)
    return [*resize_steps(preprocessing), move]


def _photos(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    size = (preprocessing["size"], preprocessing["size"])
    return [
        RandomResizedCrop(size, scale=(0.35, 1.0)),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8),
    ]


def _crops(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # What published ImageNet networks were trained with: Szegedy et al. 2015, section 6.
    size = (preprocessing["size"], preprocessing["size"])
    return [RandomResizedCrop(size, scale=(0.08, 1.0)), A.HorizontalFlip(p=0.5)]


AUGMENTATIONS = {"none": resize_steps, "characters": _characters, "photos": _photos, "crops": _crops}
