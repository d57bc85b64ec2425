"""Edges by filters that learn nothing, to compare networks with: Sobel, Laplacian of Gaussian, Canny.

Each takes an image, uint8 (H, W, 3), RGB, and gives a soft map of edges, float32 (H, W), 0 to 1, whose thresholds from
0 to 1 trace a curve of precision over recall. Where nothing else is said, 1 is an edge between black and white.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import nn

from ...core.errors import unknown

Filter = Callable[[np.ndarray], np.ndarray]

_SUM = 4.0  # of Sobel's kernel on one side: its answer to a step of 1 between two pixels
_FIXED_POINT = 16  # gradients of Canny as int16: up to 255 * 4 * 16


def sobel(image: np.ndarray) -> np.ndarray:
    """The length of the gradient by Sobel's two 3 x 3 kernels, over that of a full step between two pixels."""
    across, down = sobel_gradient(_grey(image))
    return np.minimum(np.hypot(across, down) / _SUM, 1)


def sobel_gradient(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Across and down, for float32 (H, W): -1 0 1 weighted 1 2 1 over the rows, and the same turned; positive where it
    gets brighter to the right or below.
    """
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, borderType=cv2.BORDER_REPLICATE)
    return across, cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, borderType=cv2.BORDER_REPLICATE)


def laplacian(image: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """Where the Laplacian of an image blurred by `sigma` pixels changes its sign (Marr and Hildreth, Theory of edge
    detection, 1980), with the height of the change there, over that of a full step. Lines are one pixel wide.
    """
    curvature = laplacian_of_gaussian(_grey(image), sigma)
    strength = np.zeros_like(curvature)
    for first, second in (((slice(None), slice(-1)), (slice(None), slice(1, None))), ((slice(-1),), (slice(1, None),))):
        a, b = curvature[first], curvature[second]
        jump = np.where(a * b < 0, np.abs(a - b), 0)
        nearer = np.abs(a) <= np.abs(b)  # of two pixels, the one beside the edge
        np.maximum(strength[first], np.where(nearer, jump, 0), out=strength[first])
        np.maximum(strength[second], np.where(nearer, 0, jump), out=strength[second])
    # Behind a step the curvature is the derivative of the Gaussian, whose slope at 0 is 1 / (sqrt(2 pi) sigma^3).
    return np.minimum(strength * math.sqrt(2 * math.pi) * sigma**3, 1)


def laplacian_of_gaussian(grey: np.ndarray, sigma: float) -> np.ndarray:
    """Second derivatives across and down, added, of float32 (H, W) blurred by `sigma` pixels."""
    blurred = _blur(grey, sigma)
    return cv2.Laplacian(blurred, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE)


def canny(image: np.ndarray, sigma: float = 1.4, low: float = 0.4, levels: int = 32) -> np.ndarray:
    """Canny's edges (A computational approach to edge detection, 1986) with the highest threshold at which each stays.

    The detector marks with a threshold or does not, so it runs `levels` times: the score i / `levels` is that of pixels
    which stay with a threshold of (i / `levels`)^2 of a full step's gradient, and where they hang together with such,
    of `low` times as much (hysteresis). Squares, since of most edges the gradient is a small part of that. `sigma`: of
    the blur before, in pixels, by which a full step itself gets a lower score. Lines are one pixel wide.
    """
    across, down = sobel_gradient(_blur(_grey(image) * 255, sigma))
    across, down = (np.round(part * _FIXED_POINT).astype(np.int16) for part in (across, down))
    full = 255 * _SUM * _FIXED_POINT
    score = np.zeros(image.shape[:2], np.float32)
    for level in range(1, levels + 1):
        threshold = full * (level / levels) ** 2
        marked = cv2.Canny(across, down, low * threshold, threshold, L2gradient=True)
        if not marked.any():
            break  # what a higher threshold leaves is a part of this
        score[marked > 0] = level / levels
    return score


FILTERS: dict[str, Filter] = {"sobel": sobel, "laplacian": laplacian, "canny": canny}
_SURE = 1e-6  # a logit needs a probability between 0 and 1


class FilterDetector(nn.Module):
    """A filter in the place of a network: from images to logits whose sigmoid is its soft map.

    Raises UsageError for a name that FILTERS lacks.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in FILTERS:
            raise unknown("edge filter", name, FILTERS)
        self.name = name

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images uint8 (N, 3, H, W), RGB, not normalised, to one map of logits, float32 (N, 1, H, W), in a list, as the
        heads have several.
        """
        found = [FILTERS[self.name](np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())) for image in images]
        maps = torch.from_numpy(np.stack(found))[:, None].to(images.device)
        return [torch.logit(maps + _SURE, eps=_SURE)]  # more: what the sigmoid rounds down would miss its threshold


def _grey(image: np.ndarray) -> np.ndarray:
    """Luma, float32 (H, W), 0 to 1."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def _blur(grey: np.ndarray, sigma: float) -> np.ndarray:
    side = 2 * math.ceil(4 * sigma) + 1
    return cv2.GaussianBlur(grey, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
