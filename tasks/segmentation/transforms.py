"""What is done to an image and its mask before a segmenter sees them."""

from typing import Any

from ...core.errors import unknown
from ...core.transforms import A, RandomResizedCrop, Transform, resize_steps
from ...core.types import Preprocessing


def transform(preprocessing: Preprocessing, augment: str = "none") -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some."""
    if augment not in AUGMENTATIONS:
        raise unknown("augmentation", augment, AUGMENTATIONS, "Set data.augment to one of them.")
    return Transform(AUGMENTATIONS[augment](preprocessing))


def tile_transform(preprocessing: Preprocessing, tile: int) -> Transform:
    """The way from a tile of `tile` pixels a side to the network's input: by one scale, so that a smaller tile at the
    border of an image becomes a smaller input.
    """
    size = preprocessing["size"]
    return Transform([] if tile == size else [_Scale(size / tile)])


class _Scale(A.LongestMaxSize):
    """Resizes an image by a factor."""

    def __init__(self, scale: float) -> None:
        super().__init__(1, area_for_downscale="image")
        self.scale = scale

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The factor."""
        return {"scale": self.scale}


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
