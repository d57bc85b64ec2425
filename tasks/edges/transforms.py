"""What is done to an image and its edges before an edge detector sees them."""

from ...core.errors import unknown
from ...core.transforms import A, Transform
from ...core.types import Preprocessing


def transform(preprocessing: Preprocessing, augment: str = "none") -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some."""
    if augment not in AUGMENTATIONS:
        raise unknown("augmentation", augment, AUGMENTATIONS, "Set data.augment to one of them.")
    return Transform(AUGMENTATIONS[augment](preprocessing))


def _whole(_preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # As it is: an edge one pixel wide would not survive a change of size.
    return []


def _crops(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # Squares of the image as it is, turned by quarters and mirrored.
    size = preprocessing["size"]
    return [A.PadIfNeeded(size, size, position="top_left"), A.RandomCrop(size, size), A.SquareSymmetry(p=1)]


AUGMENTATIONS = {"none": _whole, "crops": _crops}
