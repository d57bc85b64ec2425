"""What files of predicted depth have in common: how numbers become metres, and the camera that saw them. No torch."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from .masks import read_mask
from .run_folder import DEPTH_SCALE

STEPS = 256.0  # of a 16-bit PNG to the metre, as KITTI has it: up to 255.99 metres, right to 2 mm

_MOST = 65535  # steps


class Camera(NamedTuple):
    """A pinhole camera, in pixels of the image file; x and y count from the middle of the first pixel."""

    fx: float  # focal lengths
    fy: float
    cx: float | None = None  # where its axis meets the image; None for the image's middle
    cy: float | None = None

    def centre(self, size: tuple[int, int]) -> tuple[float, float]:
        """Where the axis meets an image of `size` (H, W): x and y."""
        height, width = size
        return (
            (width - 1) / 2 if self.cx is None else self.cx,
            (height - 1) / 2 if self.cy is None else self.cy,
        )


def fits(depth: np.ndarray, steps: float) -> bool:
    """Whether 16 bits hold all of `depth`, in metres, with so many steps to each."""
    return float(depth.max(initial=0)) * steps < _MOST + 0.5


def to_steps(depth: np.ndarray, steps: float) -> np.ndarray:
    """Metres, float32 (H, W), in whole steps, uint16; what is nearer than half a step is a whole one, as 0 says that
    nothing is known.
    """
    found = cv2.addWeighted(depth, steps, depth, 0, 0, dtype=cv2.CV_16U)  # in one pass, rounded to the nearest
    found[(found == 0) & (depth > 0)] = 1
    return found


def read_map(path: Path, steps: float) -> np.ndarray:
    """The metres of a file that `depth_formats.Depth` has written, float32 (H, W), 0 where nothing is known; raises
    OSError where it is gone or damaged.
    """
    if path.suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except ValueError as error:
            raise OSError(f"{path}: {error}") from None
    return read_mask(path).astype(np.float32) / np.float32(steps)


def read_steps(folder: Path) -> float:
    """Steps to the metre of the maps in the folder of a run; raises OSError where its file is gone or damaged."""
    try:
        return float((folder / DEPTH_SCALE).read_text(encoding="ascii"))
    except ValueError as error:
        raise OSError(f"{folder / DEPTH_SCALE}: {error}") from None


def to_colours(normals: np.ndarray) -> np.ndarray:
    """Unit vectors, float32 (3, H, W), x to the right, y down and z forward, as the usual colours of normals, uint8
    (H, W, 3) RGB: red to the right, green up, blue towards the camera; black where nothing is known.
    """
    x, y, z = normals
    colours = np.stack([x, -y, -z], axis=-1)
    known = colours.any(axis=-1, keepdims=True)
    return np.rint((colours + 1) * (127.5 * known)).clip(0, 255).astype(np.uint8)


def from_colours(colours: np.ndarray) -> np.ndarray:
    """The vectors of `to_colours`, float32 (3, H, W), of unit length again, or 0."""
    vectors = colours.astype(np.float32) / 127.5 - 1
    vectors *= np.array([1, -1, -1], np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors[~colours.any(axis=-1)] = 0
    return np.ascontiguousarray(vectors.transpose(2, 0, 1))
