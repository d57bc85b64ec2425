"""The one place that imports albumentations, and the rule by which it draws its random numbers.

albumentations 2.0.8 copies its generator into every worker, so that by itself all workers, and all epochs, see the same
"random" changes. Here the draw is a function of a number that the caller gives for each image, and of nothing else.
"""

import hashlib
import math
import os
import random
import struct
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or its import asks a package index for a newer version

import albumentations as A
import cv2
import numpy as np
from albumentations.augmentations.crops.transforms import BaseCrop
from albumentations.core.type_definitions import ALL_TARGETS
from PIL import Image

from .types import Filter, Preprocessing

__all__ = [
    "ALL_TARGETS",
    "A",
    "AtMost",
    "BaseCrop",
    "MiddleSquare",
    "RandomResizedCrop",
    "ResizedMiddle",
    "ShorterSide",
    "Squash",
    "Transform",
    "decoder_factor",
    "resize_image",
    "resize_map",
    "resize_steps",
    "sample_seed",
]

_IGNORE = 255
_OBJECTS = ("labels", "crowd", "difficult", "area")  # one row a box; the area stays that in the file
# Every map becomes uint8 or float32 with 0 for "nothing known here": what a transform puts where it has no pixel.
_MAPS = ("mask", "edges", "depth", "normals")
_LEAST_VISIBLE = 0.1  # of a box's area: what a crop leaves of less is no object any more


# The middle that `crop` keeps: 224 of 256, as every published ImageNet figure since Krizhevsky et al. 2012.
CROP_SHARE = 0.875
# Of the longer side by `size`, where `shorter` would make it longer: the 1,333 by 800 pixels of every published Faster
# R-CNN, of Detectron, its successors and torchvision.
LONGEST = 5 / 3


def resize_steps(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    """From an image of any size to the network's input: what a task's transform does with augmentation `none`."""
    size, resize = preprocessing["size"], preprocessing["resize"]
    pixels = preprocessing.get("filter")
    if resize == "keep":
        return []
    if resize == "shorter":
        return [ShorterSide(size, preprocessing.get("longest", LONGEST), pixels)]
    if resize == "fit":
        return [A.LongestMaxSize(size, area_for_downscale="image")]
    if resize == "crop" and pixels is not None:
        return [ResizedMiddle(size, preprocessing.get("crop_from", round(size / CROP_SHARE)), pixels)]
    if resize == "squash" and pixels is not None:
        return [Squash(size, pixels)]
    squash = A.Resize(size, size, area_for_downscale="image")
    return [MiddleSquare(), squash] if resize == "crop" else [squash]


def decoder_factor(preprocessing: Preprocessing, height: int, width: int) -> int:
    """By which of 1, 2, 4 and 8 a decoder may divide the sides of an image of `height` and `width`, so that it still
    has twice what the network will see.
    """
    shrink = _shrink(preprocessing, min(height, width), max(height, width))
    return next((factor for factor in (8, 4, 2) if shrink >= 2 * factor), 1)


def _shrink(preprocessing: Preprocessing, shorter: int, longer: int) -> float:
    """How many pixels of an image, along a side, become one of the network's input."""
    size, resize = preprocessing["size"], preprocessing["resize"]
    if preprocessing.get("filter") == "linear" or resize == "keep":
        return 1  # the network knows what comes of leaving pixels out, or sees them all
    if resize == "fit":
        return longer / size
    if resize == "shorter":
        return max(shorter / size, longer / int(size * preprocessing.get("longest", LONGEST)))
    return shorter / (preprocessing.get("crop_from", size / CROP_SHARE) if resize == "crop" else size)


class MiddleSquare(BaseCrop):
    """The square in the middle of an image, of 0.875 of its shorter side.

    Cut before resizing: the same pixels as the other way round, but an image of 1 x 60,000 stays small.
    """

    def __init__(self) -> None:
        super().__init__(p=1.0)  # albumentations would leave out every second one

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Where it lies: (left, top, right, bottom)."""
        height, width = params["shape"][:2]
        side = max(1, round(CROP_SHARE * min(height, width)))
        top, left = (height - side) // 2, (width - side) // 2
        return {"crop_coords": (left, top, left + side, top + side)}


class ResizedMiddle(A.DualTransform):
    """The square of `size` pixels in the middle of an image whose shorter side was made `crop_from` pixels long.

    The pixels that torchvision's transforms for classifiers give of an image of Pillow's, but for single ones, off by a
    level or two of 255, where it is more than four times as long as wide: there only the middle is made, so that
    1 x 60,000 stays small. Of images alone.
    """

    _targets = ()

    def __init__(self, size: int, crop_from: int, pixels: Filter) -> None:
        super().__init__(p=1.0)
        self.size = size
        self.crop_from = crop_from
        self.pixels: Filter = pixels

    def apply(self, img: np.ndarray, **_: Any) -> np.ndarray:
        """To an image."""
        size, sides = self.size, img.shape[:2]
        height, width = (self.crop_from * side // min(sides) for side in sides)
        top, left = round((height - size) / 2), round((width - size) / 2)
        if max(height, width) <= 4 * self.crop_from:
            whole = resize_image(img, height, width, self.pixels)
            return np.ascontiguousarray(whole[top : top + size, left : left + size])
        down, across = sides[0] / height, sides[1] / width
        box = (left * across, top * down, min(sides[1], (left + size) * across), min(sides[0], (top + size) * down))
        return _by_pillow(img, size, size, self.pixels, box)


class _Resized(A.DualTransform):
    """Scales an image, and all that lies on it, to the height and width that `sides` makes of its own."""

    _targets = ALL_TARGETS

    def __init__(self, pixels: Filter | None) -> None:
        super().__init__(p=1.0)
        self.pixels: Filter | None = pixels

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that an image gets."""
        raise NotImplementedError

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Height and width that it gets."""
        height, width = self.sides(*params["shape"][:2])
        return {"height": height, "width": width}

    def apply(self, img: np.ndarray, height: int, width: int, **_: Any) -> np.ndarray:
        """To an image."""
        return resize_image(img, height, width, self.pixels)

    def apply_to_mask(self, mask: np.ndarray, height: int, width: int, **_: Any) -> np.ndarray:
        """To a map."""
        return resize_map(mask, height, width)

    def apply_to_bboxes(self, bboxes: np.ndarray, **_: Any) -> np.ndarray:
        """Nothing: albumentations holds them as shares of the sides."""
        return bboxes

    def apply_to_keypoints(self, keypoints: np.ndarray, height: int, width: int, **params: Any) -> np.ndarray:
        """To points, whose first two columns are x and y."""
        before = params["shape"][:2]
        keypoints = keypoints.copy()
        keypoints[:, :2] *= [width / before[1], height / before[0]]
        return keypoints


class ShorterSide(_Resized):
    """Scales an image until its shorter side has `size` pixels, or its longer one `longest` times as many, whichever
    comes first.

    Sides are cut to whole pixels as torchvision's detectors do, but never to none: what is 1 x 60,000 has 1 row left.
    """

    def __init__(self, size: int, longest: float = LONGEST, pixels: Filter | None = None) -> None:
        super().__init__(pixels)
        self.size = size
        self.longest = longest

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """See `_Resized`."""
        scale = min(self.size / min(height, width), int(self.size * self.longest) / max(height, width))
        return max(1, math.floor(height * scale)), max(1, math.floor(width * scale))


class Squash(_Resized):
    """Scales both sides of an image to `size` pixels."""

    def __init__(self, size: int, pixels: Filter | None = None) -> None:
        super().__init__(pixels)
        self.size = size

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """See `_Resized`."""
        return self.size, self.size


class AtMost(A.LongestMaxSize):
    """Makes an image smaller whose longer side has more than `size` pixels, and leaves any other as it is."""

    def __init__(self, size: int) -> None:
        super().__init__(size, area_for_downscale="image")

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The scale."""
        return {"scale": min(1.0, super().get_params_dependent_on_data(params, data)["scale"])}


def resize_image(image: np.ndarray, height: int, width: int, pixels: Filter | None = None) -> np.ndarray:
    """An image (H, W, C) or (H, W) to `height` and `width`: by default the mean over pixels where it gets smaller, else
    linear.
    """
    if pixels in _PILLOW:
        return _by_pillow(image, height, width, pixels)
    smaller = height < image.shape[0] or width < image.shape[1]
    interpolation = cv2.INTER_AREA if smaller and pixels is None else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=interpolation)


_PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def _by_pillow(
    image: np.ndarray, height: int, width: int, pixels: str, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """An image uint8, or the part of it in `box` (left, top, right, bottom), to `height` and `width`."""
    return np.array(Image.fromarray(image).resize((width, height), _PILLOW[pixels], box))


def resize_map(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map (H, W) to `height` and `width`; values are never mixed."""
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST)


class RandomResizedCrop(A.RandomResizedCrop):
    """The one of albumentations, with the mean over pixels where the crop is at least halved, and linear else: as sharp
    to the eye as the mean everywhere, at a third of its price.
    """

    def _get_interpolation_for_resize(self, crop_shape: tuple[int, int], target_type: str) -> int:
        halved = min(crop_shape[0] / self.size[0], crop_shape[1] / self.size[1]) >= 2
        if target_type == "image" and halved:
            return cv2.INTER_AREA
        return super()._get_interpolation_for_resize(crop_shape, target_type)


class Transform:
    """A sequence of albumentations transforms on a sample: its image, and every truth that lies on the image.

    `boxes`, `mask`, `edges`, `depth`, `normals` (float32 (H, W, 3)) and `keypoints` (float32 (K, 2), x and y in
    continuous pixels) move with `image`, and so does `image2`, a second image of the same size, by the same draw;
    normals also turn with it, and are mirrored with it. What a transform brings in from outside of the image is
    `ignore` in a mask, no edge, no measurement and no normal. A box that is cut keeps what is inside; one that is left
    with less than a tenth of its area, or less than one pixel, goes, with its label; a step that has a rule of its own
    (detection's `iou_crop`) leaves none of which too little is left. Other entries stay.
    """

    def __init__(self, steps: Sequence[A.BasicTransform | A.BaseCompose]) -> None:
        self._steps = list(steps)
        self._forget()

    def __call__(self, sample: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """A sample with uint8 (H, W, 3) to one with uint8 (H', W', 3); the same `seed` (below 2**64) gives the same
        result in any process.
        """
        data = {key: sample[key] for key in ("image", "image2") if key in sample}
        data |= {key: _ENCODE[key](sample[key]) for key in _MAPS if key in sample}
        if "boxes" in sample:
            data |= {"bboxes": np.asarray(sample["boxes"], np.float32), "rows": np.arange(len(sample["boxes"]))}
        points = np.asarray(sample.get("keypoints", ()), np.float32).reshape(-1, 2) - 0.5  # of the pixel, not its edge
        if "normals" in sample:
            points = np.concatenate([points, _compass(*sample["image"].shape[:2])])
        if "keypoints" in sample or "normals" in sample:
            data["keypoints"] = points
        self._draw_from(seed)
        changed = self._compose("boxes" in sample, "keypoints" in data)(**data)
        result = dict(sample) | {key: changed[key] for key in ("image", "image2") if key in sample}
        result |= {key: _DECODE[key](changed[key]) for key in _MAPS if key in sample}
        if "boxes" in sample:
            rows = np.asarray(changed["rows"], np.int64)
            height, width = result["image"].shape[:2]
            boxes = np.asarray(changed["bboxes"], np.float32).reshape(-1, 4)
            result["boxes"] = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))  # of rounding
            result |= {key: np.asarray(sample[key])[rows] for key in _OBJECTS if key in sample}
        if "normals" in sample:
            result["normals"] = _turned(result["normals"], np.asarray(changed["keypoints"], np.float64)[-3:])
        if "keypoints" in sample:
            moved = np.asarray(changed["keypoints"], np.float32).reshape(-1, 2)
            result["keypoints"] = moved[: len(sample["keypoints"])] + 0.5
        return result

    def does_as(self, other: "Transform") -> bool:
        """Whether another one makes the same of every image."""
        return list(map(repr, self._steps)) == list(map(repr, other._steps)) and type(self) is type(other)

    def __getstate__(self) -> dict[str, Any]:
        """Sent to another process, the generators would come apart from the transforms that draw from them."""
        return {"_steps": self._steps}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make them anew there."""
        self._steps = state["_steps"]
        self._forget()

    def _forget(self) -> None:
        self._composes: dict[tuple[bool, bool], A.Compose] = {}
        self._bits = np.random.PCG64(0)
        self._random = random.Random(0)

    def _draw_from(self, seed: int) -> None:
        # As `Compose.set_random_seed`, at a fifth of its price: the generators stay, and are set anew.
        state, increment = struct.unpack("<16s16s", hashlib.blake2b(_packed(seed), digest_size=32).digest())
        words = {"state": int.from_bytes(state, "little"), "inc": int.from_bytes(increment, "little") | 1}
        whole = {"bit_generator": "PCG64", "state": words, "has_uint32": 0, "uinteger": 0}
        self._bits.state = whole  # type: ignore[assignment]  # numpy's stubs want a private TypedDict
        self._random.seed(seed)

    def _compose(self, boxes: bool, keypoints: bool) -> A.Compose:
        # albumentations wants to be told which truths there are, and to be given those.
        if (boxes, keypoints) not in self._composes:
            box_rules = A.BboxParams(
                format="pascal_voc",
                label_fields=["rows"],
                clip=True,
                filter_invalid_bboxes=True,
                min_area=1,
                min_visibility=_LEAST_VISIBLE,
            )
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Got processor for")  # steps that move nothing need not move boxes
                compose = A.Compose(
                    self._steps,
                    bbox_params=box_rules if boxes else None,
                    keypoint_params=A.KeypointParams(format="xy", remove_invisible=False) if keypoints else None,
                    additional_targets={"image2": "image", "edges": "mask", "depth": "mask", "normals": "mask"},
                )
            compose.set_random_state(np.random.Generator(self._bits), self._random)
            self._composes[boxes, keypoints] = compose
        return self._composes[boxes, keypoints]


def _encode_mask(mask: np.ndarray) -> np.ndarray:
    # 0 for ignore and classes from 1: int64 and bool masks raise in albumentations, and what it fills in is 0.
    return (np.asarray(mask) + 1).astype(np.uint8)  # 255 becomes 0


def _decode_mask(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == 0, _IGNORE, mask.astype(np.int64) - 1)


def _as_float(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32)


def _compass(height: int, width: int) -> np.ndarray:
    """Three points (3, 2), an image's middle, one right of it and one below, whose new places say how it was moved."""
    x, y, reach = (width - 1) / 2, (height - 1) / 2, min(height, width) / 4
    return np.array([[x, y], [x + reach, y], [x, y + reach]], np.float32)


def _turned(normals: np.ndarray, compass: np.ndarray) -> np.ndarray:
    """Normals (H, W, 3) of an image whose compass ended at (3, 2): turned and mirrored as the image was.

    Where an image is cut or stretched its scene stays: of the way that its pixels went, normals go the rotation and
    mirroring alone, the orthogonal factor of the polar decomposition.
    """
    left, _, right = np.linalg.svd((compass[1:] - compass[0]).T)
    turn = (left @ right).round(6)
    if (turn == np.eye(2)).all():
        return normals
    return np.concatenate([normals[..., :2] @ turn.T.astype(np.float32), normals[..., 2:]], axis=-1)


_ENCODE = {"mask": _encode_mask, "edges": _as_float, "depth": _as_float, "normals": _as_float}
_DECODE = {"mask": _decode_mask, "edges": _as_float, "depth": _as_float, "normals": _as_float}


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """The number from which the augmentation of one sample in one epoch of one run is drawn: 0 to 2**64 - 1."""
    return int.from_bytes(hashlib.blake2b(_packed(seed, epoch, index), digest_size=8).digest(), "little")


def _packed(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)
