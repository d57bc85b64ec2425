"""Faces turned, scaled and moved so that eyes, nose and mouth lie where a network was trained to see them.

Places are in continuous pixels, as everywhere in foveal: pixel i of a row reaches from i to i + 1.
"""

import cv2
import numpy as np

from ...core.errors import DataError
from .detector import Face

# Left eye, right eye, nose, corners of the mouth in a crop of 112 x 112, as published with ArcFace (Deng et al. 2019),
# and before for 112 x 96 with SphereFace (Liu et al. 2017). They count from the middle of the first pixel.
_AT_112 = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])
_SIDE = 112


def reference_landmarks(size: int = _SIDE) -> np.ndarray:
    """Where the five landmarks lie in an aligned crop: float64 (5, 2), continuous pixels of a crop of `size` x `size`.

    The published places for 112 x 112, half a pixel farther, as those count from a pixel's middle and ours from its
    edge; then scaled, so that crops of all sizes show the same.
    """
    return (_AT_112 + 0.5) * (size / _SIDE)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The turn, scale and shift, never a mirror, that bring points `source` (N, 2) nearest to `target` (N, 2).

    float64 (2, 3): M with M @ (x, y, 1) near the target, by the least sum of squared distances (Umeyama, Least-squares
    estimation of transformation parameters between two point patterns, 1991). In the plane his decomposition comes down
    to one complex quotient. Raises DataError for fewer than two points, points in one place, and NaN.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if len(source) < 2 or not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise DataError(f"A face is aligned by two or more landmarks with finite places, not by {source.tolist()}.")
    middle, aim = source.mean(axis=0), target.mean(axis=0)
    from_middle, from_aim = (source - middle) @ (1, 1j), (target - aim) @ (1, 1j)
    spread = np.vdot(from_middle, from_middle).real
    if spread < 1e-12:
        raise DataError(f"The landmarks of a face all lie at ({middle[0]:g}, {middle[1]:g}): it can't be aligned.")
    turn = np.vdot(from_middle, from_aim) / spread
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([matrix, aim - matrix @ middle])


def align(image: np.ndarray, landmarks: np.ndarray, size: int = _SIDE) -> np.ndarray:
    """The face with these landmarks (5, 2) cut out upright: uint8 (size, size, 3) for an image uint8 (H, W, 3).

    What lies outside of the image is black. A face that is more than twice as large as the crop is first reduced by
    means over whole squares of pixels (`INTER_AREA`), and the rest, less than a factor of two, is interpolated between
    four pixels, so that every pixel of the face has a part in its crop. Raises DataError as `similarity` does.
    """
    matrix = similarity(landmarks, reference_landmarks(size))
    scale = float(np.hypot(*matrix[:, 0]))
    part, corner = _part_in_sight(image, matrix, size)
    if not part.size or scale < 1e-9:
        return np.zeros((size, size, image.shape[2]), np.uint8)
    part, factor = _reduced(part, int(1 / scale + 1e-6))
    matrix[:, 2] += matrix[:, :2] @ corner
    matrix[:, :2] *= factor
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV counts from the middle of the first pixel
    return cv2.warpAffine(part, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def cut_face(image: np.ndarray, face: Face, size: int = _SIDE) -> np.ndarray:
    """A face as a network sees it, uint8 (size, size, 3): aligned, or without landmarks its box in full, resized."""
    if face.landmarks is not None:
        return align(image, face.landmarks, size)
    height, width = image.shape[:2]
    left, top, right, bottom = np.clip(np.round(face.box).astype(int), 0, (width, height, width, height))
    if right <= left or bottom <= top:
        raise DataError(f"The box {face.box.tolist()} of a face has no pixel of its image of {height} x {width}.")
    shrinks = (right - left) * (bottom - top) > size * size
    cut = np.ascontiguousarray(image[top:bottom, left:right])
    return cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _part_in_sight(image: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What of the image the crop shows, with its left and top: all else would be reduced for nothing."""
    corners = np.array([(0, 0), (size, 0), (size, size), (0, size)]) - matrix[:, 2]
    places = corners @ np.linalg.inv(matrix[:, :2]).T
    limits = image.shape[1], image.shape[0]
    spare = 2 + 2 / np.hypot(*matrix[:, 0])  # pixels: what is interpolated with the outermost ones
    first = np.clip(np.floor(places.min(axis=0) - spare), 0, limits).astype(int)
    last = np.clip(np.ceil(places.max(axis=0) + spare), 0, limits).astype(int)
    return image[first[1] : last[1], first[0] : last[0]], first


def _reduced(part: np.ndarray, factor: int) -> tuple[np.ndarray, int]:
    """Means over squares of `factor` x `factor` pixels, where that is 2 or more; black beyond the last pixels."""
    if factor < 2:
        return np.ascontiguousarray(part), 1
    height, width = part.shape[:2]
    rows, columns = -(-height // factor), -(-width // factor)
    whole = cv2.copyMakeBorder(
        part, 0, rows * factor - height, 0, columns * factor - width, cv2.BORDER_CONSTANT, value=(0, 0, 0)
    )
    return cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), factor
