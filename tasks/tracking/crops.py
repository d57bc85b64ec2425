"""Regions of a frame as pictures of one size: what a tracker sees. Imports no torch."""

import cv2
import numpy as np

from .region import Region

_MARGIN = 2  # pixels beyond a region that interpolation may touch


def crop(image: np.ndarray, region: Region, size: int, fill: np.ndarray) -> np.ndarray:
    """A region of an image uint8 (H, W, 3), drawn `size` pixels wide and high: uint8 (size, size, 3).

    Where it reaches beyond the image it has the colour `fill` (3,), by SiamFC's habit the image's mean (Bertinetto et
    al. 2016, section 2.4). Interpolation is linear; where two pixels or more become one, whole blocks are averaged
    first, or fine patterns would become coarse ones.
    """
    height, width = image.shape[:2]
    across, down = (max(1, int(side / size)) for side in (region.width, region.height))
    left, right = _span(region.x, region.width, _MARGIN * across, width)
    top, bottom = _span(region.y, region.height, _MARGIN * down, height)
    colour = [float(value) for value in fill]
    if left >= right or top >= bottom:
        return np.full((size, size, 3), np.rint(colour), np.uint8)
    part = image[top:bottom, left:right]
    if across > 1 or down > 1:
        part = _averaged(part, across, down, colour)
    scale_x, scale_y = region.width / (across * size), region.height / (down * size)
    # The middle of pixel 0 lies at 0.5: OpenCV counts middles from 0.
    shift_x = ((region.x - region.width / 2) - left) / across + scale_x / 2 - 0.5
    shift_y = ((region.y - region.height / 2) - top) / down + scale_y / 2 - 0.5
    return cv2.warpAffine(
        part,
        np.array([[scale_x, 0.0, shift_x], [0.0, scale_y, shift_y]]),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=colour,
    )


def mean_colour(image: np.ndarray) -> np.ndarray:
    """Of an image uint8 (H, W, 3): float64 (3,)."""
    return np.array(cv2.mean(image)[:3])


def _span(middle: float, length: float, margin: int, limit: int) -> tuple[int, int]:
    """First pixel of a region along one axis, and the one behind its last, with a margin, within 0 to `limit`."""
    first = np.clip(np.floor(middle - length / 2) - margin, 0, limit)
    return int(first), int(np.clip(np.ceil(middle + length / 2) + margin, 0, limit))


def _averaged(part: np.ndarray, across: int, down: int, colour: list[float]) -> np.ndarray:
    """Each block of `down` x `across` pixels as one; a last one that is not whole is filled up with `colour`."""
    height, width = part.shape[:2]
    below, beside = -height % down, -width % across
    if below or beside:
        part = cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=colour)
    size = (part.shape[1] // across, part.shape[0] // down)
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA)
