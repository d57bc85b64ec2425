"""What is done to an image and its boxes before a detector sees them."""

import math
from collections.abc import Sequence, Set
from typing import Any

import cv2
import numpy as np

from ...core.errors import UsageError
from ...core.transforms import ALL_TARGETS, A, AtMost, BaseCrop, Transform, resize_image, resize_map, resize_steps
from ...core.types import Preprocessing
from .. import augmentation_names
from .options import AUGMENTATION_STEPS

Steps = list[A.BasicTransform | A.BaseCompose]

_MEAN = (124, 116, 104)  # of ImageNet's images: what becomes 0 for the network
_WHOLE_IMAGE = 1.0  # in place of a least IoU: leave the image as it is
_LARGEST = 4  # sides of the network's input: what a random change leaves of an image may be enlarged, but not by much


def transform(preprocessing: Preprocessing, augment: str | list[str] = "none") -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some.

    Single steps of a list are done in the order that makes sense: on the image's colours, on its whole extent, on its
    size, and flipped at the end. Raises UsageError for a name that there is not, and for `data.resize` crop.
    """
    if preprocessing["resize"] == "crop":
        raise UsageError("data.resize crop would cut objects at the border; detection takes squash, fit or shorter.")
    steps = {step for name in augmentation_names("detection", augment) for step in AUGMENTATIONS[name]}
    return Transform(_photos(preprocessing) if "photos" in steps else _in_order(steps, preprocessing))


# Each with its steps. `flip` is all that Faster R-CNN was trained with (Ren et al. 2015, section 3.3).
AUGMENTATIONS: dict[str, tuple[str, ...]] = {
    "none": (),
    "ssd": ("photometric", "expand", "iou_crop", "flip"),  # Liu et al. 2016, sections 2.2 and 3.6
    **{name: (name,) for name in ("photos", *AUGMENTATION_STEPS)},
}


def _in_order(names: Set[str], preprocessing: Preprocessing) -> Steps:
    largest = _LARGEST * preprocessing["size"]
    steps: Steps = []
    if names & {"photometric", "expand", "iou_crop"}:
        steps.append(AtMost(largest))  # or photographs of 100 megapixels would be made into grounds of 1,600
    steps += [_photometric()] if "photometric" in names else []
    steps += [Expand(largest)] if "expand" in names else []
    steps += [IouCrop()] if "iou_crop" in names else []
    steps += [_scales(preprocessing)] if "scales" in names else resize_steps(preprocessing)
    return [*steps, A.HorizontalFlip(p=0.5)] if "flip" in names else steps


def _photos(preprocessing: Preprocessing) -> Steps:
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


def _photometric() -> A.BaseCompose:
    # The ranges of SSD's own configuration (32 of 255 levels, 18 of 360 degrees), each for every second image.
    ranges = {"brightness": (0.875, 1.125), "contrast": (0.5, 1.5), "saturation": (0.5, 1.5), "hue": (-0.05, 0.05)}
    still = {"brightness": (1.0, 1.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": (0.0, 0.0)}
    return A.RandomOrder([A.ColorJitter(**{**still, name: ranges[name]}, p=0.5) for name in ranges], n=len(ranges))


def _scales(preprocessing: Preprocessing) -> A.BaseCompose:
    size = preprocessing["size"]
    sides = range(32 * math.ceil(0.64 * size / 32), math.floor(1.28 * size) + 1, 32)
    resized: Steps = []
    for side in sides or [size]:
        resized += resize_steps({**preprocessing, "size": side})
    return A.OneOf(resized, p=1)


class Expand(A.DualTransform):
    """Every second image lies somewhere on a ground of mean colour up to four times as wide and high (Liu et al. 2016,
    section 3.6), so that there are small objects too.

    The ground's longer side has at most `largest` pixels: where it would have more, it is made smaller together with
    its image.
    """

    _targets = ALL_TARGETS

    def __init__(self, largest: int) -> None:
        super().__init__(p=0.5)
        self.largest = largest

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """`ground`, its (height, width), and `place`, the image's (top, left, height, width) on it."""
        sides = params["shape"][:2]
        ratio = self.py_random.uniform(1, 4)
        scale = min(1.0, self.largest / (ratio * max(sides)))
        inner = [max(1, round(scale * side)) for side in sides]
        ground = [max(small, int(scale * ratio * side)) for small, side in zip(inner, sides, strict=True)]
        offsets = [self.py_random.randint(0, large - small) for large, small in zip(ground, inner, strict=True)]
        return {"ground": tuple(ground), "place": (*offsets, *inner)}

    def apply(self, img: np.ndarray, ground: tuple[int, int], place: tuple[int, int, int, int], **_: Any) -> np.ndarray:
        """To an image: beside it is the mean colour."""
        return _laid(resize_image(img, *place[2:]), ground, place, _MEAN)

    def apply_to_mask(
        self, mask: np.ndarray, ground: tuple[int, int], place: tuple[int, int, int, int], **_: Any
    ) -> np.ndarray:
        """To a map: beside it nothing is known."""
        return _laid(resize_map(mask, *place[2:]), ground, place, (0,))

    def apply_to_bboxes(
        self, bboxes: np.ndarray, ground: tuple[int, int], place: tuple[int, int, int, int], **_: Any
    ) -> np.ndarray:
        """To boxes, whose first four columns are shares of the sides."""
        top, left, height, width = place
        bboxes = bboxes.copy()
        bboxes[:, [0, 2]] = (left + bboxes[:, [0, 2]] * width) / ground[1]
        bboxes[:, [1, 3]] = (top + bboxes[:, [1, 3]] * height) / ground[0]
        return bboxes

    def apply_to_keypoints(self, keypoints: np.ndarray, place: tuple[int, int, int, int], **params: Any) -> np.ndarray:
        """To points, whose first two columns are x and y."""
        before, (top, left, height, width) = params["shape"][:2], place
        keypoints = keypoints.copy()
        keypoints[:, :2] = keypoints[:, :2] * [width / before[1], height / before[0]] + [left, top]
        return keypoints


def _laid(
    image: np.ndarray, ground: tuple[int, int], place: tuple[int, int, int, int], colour: Sequence[int]
) -> np.ndarray:
    top, left, height, width = place
    below, right = ground[0] - top - height, ground[1] - left - width
    return cv2.copyMakeBorder(image, top, below, left, right, cv2.BORDER_CONSTANT, value=colour)


class IouCrop(BaseCrop):
    """A random part of the image that has an IoU of at least 0.1, 0.3, 0.5, 0.7 or 0.9 with one of the objects, or any
    part with an object, or the whole image (Liu et al. 2016, section 2.2).

    Sides are 0.3 to 1 of the image's, as in SSD's own configuration, and width by height is 1/2 to 2. A box stays if
    its centre is in the part, whatever is left of it, and is cut at the border; `Transform` then drops only what is
    less than a pixel. An image without objects stays as it is. torchvision's RandomIoUCrop is the same rule.
    """

    _least = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, _WHOLE_IMAGE)
    _trials = 40  # parts to try for a least IoU, before another is drawn

    def __init__(self) -> None:
        super().__init__(p=1.0)

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The part: (left, top, right, bottom) in pixels."""
        height, width = params["shape"][:2]
        boxes = np.asarray(data.get("bboxes", np.zeros((0, 4))))[:, :4] * [width, height, width, height]
        while len(boxes):
            least = self.py_random.choice(self._least)
            if least == _WHOLE_IMAGE:
                break
            parts = self._parts(height, width)
            fitting = parts[(_iou(parts, boxes) * _hold_centre(parts, boxes)).max(axis=1) >= max(least, 1e-9)]
            if len(fitting):
                return {"crop_coords": tuple(fitting[0].tolist())}
        return {"crop_coords": (0, 0, width, height)}

    def apply_to_bboxes(self, bboxes: np.ndarray, crop_coords: tuple[int, int, int, int], **params: Any) -> np.ndarray:
        """Only those with their centre in the part, cut here, so that none goes for having lost most of its area."""
        height, width = params["shape"][:2]
        boxes = bboxes[:, :4] * [width, height, width, height]
        kept = bboxes[_hold_centre(np.array([crop_coords]), boxes)[0]]
        moved = super().apply_to_bboxes(kept, crop_coords, **params)
        moved[:, :4] = moved[:, :4].clip(0, 1)
        return moved

    def _parts(self, height: int, width: int) -> np.ndarray:
        # int64 (P, 4), left, top, right, bottom, in the order of their draw; P <= 40
        draws = self.random_generator.random((self._trials, 4))
        sides = ((0.3 + 0.7 * draws[:, :2]) * [width, height]).astype(np.int64)
        places = (draws[:, 2:] * ([width, height] - sides)).astype(np.int64)
        parts = np.concatenate([places, places + sides], axis=1)
        across, down = sides.T
        return parts[(across > 0) & (down > 0) & (2 * across >= down) & (2 * down >= across)]


def _hold_centre(parts: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Whether a part (P, 4) has the centre of a box (K, 4) inside: bool (P, K)."""
    centres = (boxes[None, :, :2] + boxes[None, :, 2:]) / 2
    return np.all((parts[:, None, :2] < centres) & (centres < parts[:, None, 2:]), axis=2)


def _iou(parts: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Of each part (P, 4) with each box (K, 4): float64 (P, K)."""
    low, high = np.maximum(parts[:, None, :2], boxes[None, :, :2]), np.minimum(parts[:, None, 2:], boxes[None, :, 2:])
    both = (high - low).clip(0).prod(axis=2)
    return both / (_areas(parts)[:, None] + _areas(boxes) - both)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
