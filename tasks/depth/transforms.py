"""What is done to an image and its depth before a network sees them."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from ...core.errors import unknown
from ...core.transforms import ALL_TARGETS, A, Transform, resize_steps
from ...core.types import Preprocessing
from .normals import true_normals

_ZOOM = (1.0, 1.5)  # Eigen, Puhrsch and Fergus 2014, section 3.4


def transform(
    preprocessing: Preprocessing, augment: str = "none", *, normals: bool = False, focal: float | None = None
) -> Transform:
    """The way from an image of any size to the network's input, with random changes if `augment` names some.

    With `normals` samples that have none get those of their depth, see `true_normals`; `focal` is the camera's focal
    length in pixels of the files, None for the drawn world's.
    """
    if augment not in AUGMENTATIONS:
        raise unknown("augmentation", augment, AUGMENTATIONS, "Set data.augment to one of them.")
    steps = AUGMENTATIONS[augment](preprocessing)
    return _WithNormals(steps, focal) if normals else Transform(steps)


class _WithNormals(Transform):
    """Adds the normals of the depth, at the size of the file, and moves them with it."""

    def __init__(self, steps: list[A.BasicTransform], focal: float | None) -> None:
        super().__init__(steps)
        self._focal = focal

    def __call__(self, sample: Mapping[str, Any], seed: int) -> dict[str, Any]:
        if "depth" in sample:
            sample = {**sample, "normals": true_normals(sample, self._focal)}
        return super().__call__(sample, seed)

    def does_as(self, other: Transform) -> bool:
        return super().does_as(other) and isinstance(other, _WithNormals) and self._focal == other._focal

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_focal": self._focal}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._focal = state["_focal"]


class Zoom(A.DualTransform):
    """Enlarges an image by a random factor s and cuts a part of the former size out of it.

    Things that look s times as large are s times as near: with `nearer`, depths are divided by s, and normals become
    those of the scene that is squeezed along the camera's axis. Without, the picture is one of another camera, with s
    times the focal length, and depths stay.
    """

    _targets = ALL_TARGETS

    def __init__(self, *, nearer: bool, least: float = _ZOOM[0], most: float = _ZOOM[1]) -> None:
        super().__init__(p=1.0)
        self.nearer, self.least, self.most = nearer, least, most

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The factor, and where the part begins: (x, y) in continuous pixels of the image."""
        height, width = params["shape"][:2]
        factor = self.py_random.uniform(self.least, self.most)
        room = (width - width / factor, height - height / factor)
        return {"factor": factor, "start": tuple(self.py_random.uniform(0, side) for side in room)}

    def add_targets(self, additional_targets: dict[str, str]) -> None:
        """Albumentations tells each step what there is beside the image; for it depths and normals are masks."""
        super().add_targets(additional_targets)
        for key, function in (("depth", self.apply_to_depth), ("normals", self.apply_to_normals)):
            if key in additional_targets:
                self._key2func[key] = function

    def apply(self, img: np.ndarray, factor: float, start: tuple[float, float], **_: Any) -> np.ndarray:
        """To an image: linear."""
        return _enlarged(img, factor, start, cv2.INTER_LINEAR)

    def apply_to_mask(self, mask: np.ndarray, factor: float, start: tuple[float, float], **_: Any) -> np.ndarray:
        """To a map: the nearest pixels'."""
        return _enlarged(mask, factor, start, cv2.INTER_NEAREST)

    def apply_to_depth(self, depth: np.ndarray, factor: float, start: tuple[float, float], **_: Any) -> np.ndarray:
        """To metres."""
        moved = self.apply_to_mask(depth, factor, start)
        return moved / np.float32(factor) if self.nearer else moved

    def apply_to_normals(self, normals: np.ndarray, factor: float, start: tuple[float, float], **_: Any) -> np.ndarray:
        """To normals (H, W, 3)."""
        moved = self.apply_to_mask(normals, factor, start)
        if not self.nearer:
            return moved
        moved = moved * np.array([1, 1, factor], np.float32)
        return moved / np.maximum(np.linalg.norm(moved, axis=-1, keepdims=True), np.float32(1e-6))

    def apply_to_bboxes(
        self, bboxes: np.ndarray, factor: float, start: tuple[float, float], **params: Any
    ) -> np.ndarray:
        """To boxes, whose first four columns are shares of the sides."""
        height, width = params["shape"][:2]
        bboxes = bboxes.copy()
        bboxes[:, :4] = (bboxes[:, :4] - np.divide(start, (width, height))[[0, 1, 0, 1]]) * factor
        return bboxes

    def apply_to_keypoints(
        self, keypoints: np.ndarray, factor: float, start: tuple[float, float], **_: Any
    ) -> np.ndarray:
        """To points, whose first two columns are x and y, 0 in the middle of the first pixel."""
        keypoints = keypoints.copy()
        keypoints[:, :2] = (keypoints[:, :2] + 0.5 - start) * factor - 0.5
        return keypoints


def _enlarged(pixels: np.ndarray, factor: float, start: tuple[float, float], interpolation: int) -> np.ndarray:
    # The middle of a pixel of the result, x + 0.5, is (x + 0.5) / factor + start of the image.
    back = np.array([[1 / factor, 0, start[0]], [0, 1 / factor, start[1]]])
    back[:, 2] += 0.5 / factor - 0.5
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pixels, back, pixels.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _colours() -> A.BasicTransform:
    return A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8)


def _photos(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # No zoom: a picture twice as large would be one of things at half the distance.
    return [*resize_steps(preprocessing), A.HorizontalFlip(p=0.5), _colours()]


def _zoom(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # Of one camera: what is enlarged comes nearer.
    return [*resize_steps(preprocessing), Zoom(nearer=True), A.HorizontalFlip(p=0.5), _colours()]


def _crops(preprocessing: Preprocessing) -> list[A.BasicTransform]:
    # Of cameras with many focal lengths: what is enlarged stays where it is.
    return [*resize_steps(preprocessing), Zoom(nearer=False), A.HorizontalFlip(p=0.5), _colours()]


AUGMENTATIONS = {"none": resize_steps, "photos": _photos, "zoom": _zoom, "crops": _crops}
