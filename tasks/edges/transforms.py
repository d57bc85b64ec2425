"""What is done to an image and its edges before an edge detector sees them."""

from collections.abc import Mapping
from typing import Any

from ...core.errors import unknown
from ...core.transforms import A, Transform
from ...core.types import Preprocessing
from .turn import Rescale, Turn


def transform(preprocessing: Preprocessing, augment: str = "none") -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some."""
    if augment not in AUGMENTATIONS:
        raise unknown("augmentation", augment, AUGMENTATIONS, "Set data.augment to one of them.")
    steps = AUGMENTATIONS[augment](preprocessing)
    return _Moved(steps) if steps else Transform(steps)


class _Moved(Transform):
    """Leaves out `annotators`, the drawings one by one, which do not move with the image: training reads `edges`."""

    def __call__(self, sample: Mapping[str, Any], seed: int) -> dict[str, Any]:
        return super().__call__({key: value for key, value in sample.items() if key != "annotators"}, seed)


def _whole(_preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # As it is: an edge one pixel wide would not survive a change of size.
    return []


def _crops(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # Squares of the image as it is, turned by quarters and mirrored.
    return [*_square(preprocessing), A.SquareSymmetry(p=1)]


def _hed(_preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # Xie and Tu 2015, section 4.1: 3 scales, 16 angles, mirrored or not. Images keep their different sizes.
    return [Rescale((0.5, 1.0, 1.5)), Turn(16), A.HorizontalFlip(p=0.5)]


def _hed_crops(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # The same, and a square of it: batches of several images without padding.
    return [*_hed(preprocessing), *_square(preprocessing)]


def _square(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    size = preprocessing["size"]
    return [A.PadIfNeeded(size, size, position="top_left"), A.RandomCrop(size, size)]


AUGMENTATIONS = {"none": _whole, "crops": _crops, "hed": _hed, "hed_crops": _hed_crops}
