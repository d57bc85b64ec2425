"""Turning and scaling an image with lines one pixel wide: as random steps of a `Transform`.

Interpolated, such a line fades below the consensus that makes an edge of it; of the nearest pixels alone, it breaks. So
here an edge keeps the share of annotators that it had, and a line stays whole and gets at most a pixel wider.
"""

import math
from typing import Any

import cv2
import numpy as np

from ...core.transforms import ALL_TARGETS, A, resize_image, resize_map

_COVERED = 0.25  # of a pixel: where two pixels of a line touch at a corner, no more of it may be left


class _Step(A.DualTransform):
    """A step that treats `edges` otherwise than masks and depths."""

    _targets = ALL_TARGETS

    def __init__(self) -> None:
        super().__init__(p=1.0)

    def add_targets(self, additional_targets: dict[str, str]) -> None:
        """Albumentations tells each step what there is beside the image; for it edges are a mask."""
        super().add_targets(additional_targets)
        if "edges" in additional_targets:
            self._key2func["edges"] = self.apply_to_edges

    def apply_to_edges(self, edges: np.ndarray, **params: Any) -> np.ndarray:
        """To shares of annotators."""
        raise NotImplementedError


class Rescale(_Step):
    """Scales an image by one of `scales`."""

    def __init__(self, scales: tuple[float, ...]) -> None:
        super().__init__()
        self.scales = scales

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Height and width that it gets."""
        scale = self.py_random.choice(self.scales)
        height, width = (max(1, round(side * scale)) for side in params["shape"][:2])
        return {"height": height, "width": width}

    def apply(self, img: np.ndarray, height: int, width: int, **_: Any) -> np.ndarray:
        """To an image."""
        return img if img.shape[:2] == (height, width) else resize_image(img, height, width)

    def apply_to_mask(self, mask: np.ndarray, height: int, width: int, **_: Any) -> np.ndarray:
        """To a map."""
        return resize_map(mask, height, width)

    def apply_to_edges(self, edges: np.ndarray, height: int, width: int, **_: Any) -> np.ndarray:
        """See `resize_edges`."""
        return resize_edges(edges, height, width)

    def apply_to_bboxes(self, bboxes: np.ndarray, **_: Any) -> np.ndarray:
        """Nothing: albumentations holds them as shares of the sides."""
        return bboxes

    def apply_to_keypoints(self, keypoints: np.ndarray, height: int, width: int, **params: Any) -> np.ndarray:
        """To points, whose first two columns are x and y, 0 in the middle of the first pixel."""
        before = params["shape"][:2]
        keypoints = keypoints.copy()
        keypoints[:, :2] = (keypoints[:, :2] + 0.5) * [width / before[1], height / before[0]] - 0.5
        return keypoints


class Turn(_Step):
    """Turns an image by one of `count` angles, full circle, and cuts out the largest upright rectangle that has nothing
    from outside of the image in it.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The way back from a pixel of the result to one of the image, 2 x 3, and (height, width) of the result."""
        angle = 2 * math.pi * self.py_random.randrange(self.count) / self.count
        height, width = params["shape"][:2]
        size = inner_rectangle(height, width, angle)
        cosine, sine = math.cos(angle), math.sin(angle)
        turned = np.array([[cosine, -sine], [sine, cosine]])
        middle, new = (np.array([(w - 1) / 2, (h - 1) / 2]) for h, w in ((height, width), size))
        return {"back": np.column_stack([turned, middle - turned @ new]), "size": size}

    def apply(self, img: np.ndarray, back: np.ndarray, size: tuple[int, int], **_: Any) -> np.ndarray:
        """To an image: linear."""
        return _warp(img, back, size, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)

    def apply_to_mask(self, mask: np.ndarray, back: np.ndarray, size: tuple[int, int], **_: Any) -> np.ndarray:
        """To a map: the nearest pixels'."""
        return _warp(mask, back, size, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)

    def apply_to_edges(self, edges: np.ndarray, back: np.ndarray, size: tuple[int, int], **_: Any) -> np.ndarray:
        """Where a quarter or more of a pixel is edge, it gets the share of the nearest one that is."""
        covered = _warp((edges > 0).astype(np.float32), back, size, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        own = self.apply_to_mask(edges, back, size)
        near = self.apply_to_mask(cv2.dilate(edges, np.ones((3, 3), np.uint8)), back, size)
        return np.where(covered >= _COVERED, np.where(own > 0, own, near), 0).astype(np.float32)

    def apply_to_bboxes(self, bboxes: np.ndarray, back: np.ndarray, size: tuple[int, int], **params: Any) -> np.ndarray:
        """To the upright boxes around the turned ones."""
        before, after = (np.array(shape[1::-1], float) for shape in (params["shape"], size))
        corners = bboxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] * before
        corners = (_forward(corners - 0.5, back) + 0.5) / after
        return np.column_stack([corners.min(axis=1), corners.max(axis=1), bboxes[:, 4:]])

    def apply_to_keypoints(self, keypoints: np.ndarray, back: np.ndarray, **_: Any) -> np.ndarray:
        """To points, whose first two columns are x and y, 0 in the middle of the first pixel."""
        keypoints = keypoints.copy()
        keypoints[:, :2] = _forward(keypoints[:, :2], back)
        return keypoints


def inner_rectangle(height: int, width: int, angle: float) -> tuple[int, int]:
    """Height and width, in whole pixels, of the largest upright rectangle in one of `height` and `width` that was
    turned by `angle`, in radians, about its middle.

    Either its four corners lie on the four sides, or, where the turned rectangle is thin, two of them on the long ones.
    """
    sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
    long, short = max(height, width), min(height, width)
    if short <= 2 * sine * cosine * long or math.isclose(sine, cosine):
        along, across = short / (2 * sine), short / (2 * cosine)
        inner = (across, along) if width >= height else (along, across)
    else:
        double = cosine**2 - sine**2
        inner = (height * cosine - width * sine) / double, (width * cosine - height * sine) / double
    return max(1, math.floor(inner[0] + 1e-6)), max(1, math.floor(inner[1] + 1e-6))


def resize_edges(edges: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shares of annotators (H, W) to `height` and `width`: made smaller, each pixel gets the highest share of those
    that it covers, so that no line is lost or broken; made larger, that of the one under its middle.
    """
    for axis, side in enumerate((height, width)):
        before = edges.shape[axis]
        if side < before:
            edges = np.maximum.reduceat(edges, np.arange(side) * before // side, axis=axis)
        else:
            edges = edges.take((2 * np.arange(side) + 1) * before // (2 * side), axis=axis)
    return edges


def _warp(pixels: np.ndarray, back: np.ndarray, size: tuple[int, int], interpolation: int, border: int) -> np.ndarray:
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pixels, back, size[::-1], flags=flags, borderMode=border)


def _forward(points: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Points (..., 2) of the image to those of the result."""
    return (points - back[:, 2]) @ back[:, :2]  # the inverse of a rotation is its transpose
