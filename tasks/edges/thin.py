"""From thick edges to lines about one pixel wide, by non-maximum suppression.

Published scores of edge detectors are of maps that went through it, and through thinning (`core.skeletons`) at every
threshold (Xie and Tu, "Holistically-nested edge detection", ICCV 2015, section 4, by the suppression of Dollár and
Zitnick, "Structured forests for fast edge detection", ICCV 2013).
"""

import cv2
import numpy as np

from ...core.compiled import compiled

_SLACK = 1.01  # a maximum may be this much lower than its neighbours: of two equal ones neither must go
_BORDER = 5  # pixels along the border of the image on which edges fade to nothing, where filters see no image
_FLAT = 1e-5  # curvature of an even surface, in float32
# A triangle of radius 4, and the same with a central difference in it twice and once.
_SMOOTH = np.convolve(np.ones(5), np.ones(5)) / 25
_BENT = np.convolve(_SMOOTH, (0.25, 0, -0.5, 0, 0.25))
_SLOPE = np.convolve(_SMOOTH, (-0.5, 0, 0.5))


def suppress_non_maxima(edges: np.ndarray) -> np.ndarray:
    """`edges` where they are the highest across the edge, 0 elsewhere: float32 (H, W), as is `edges`, 0 to 1.

    The map is smoothed with a triangle of radius 4; across the edge is the direction in which the result is bent most
    (of its matrix of second derivatives the eigenvector whose eigenvalue is largest, whatever its sign). A pixel stays
    if 1.01 times its value is not below the map, linearly interpolated, one pixel ahead and one behind in that
    direction. Where nothing is bent there is no edge. Within 5 pixels of the image's border values fade linearly to 0.
    """
    edges = np.ascontiguousarray(edges, np.float32)
    bent = [
        cv2.sepFilter2D(edges, cv2.CV_32F, across, down, borderType=cv2.BORDER_REFLECT)
        for across, down in ((_BENT, _SMOOTH), (_SLOPE, _SLOPE), (_SMOOTH, _BENT))
    ]
    kept = _suppress(edges, *bent)
    for turned in (kept, kept[::-1], kept.T, kept.T[::-1]):
        turned[:_BORDER] *= (np.arange(_BORDER, dtype=np.float32) / _BORDER)[: len(turned), None]
    return kept


@compiled
def _suppress(edges, bent_across, bent_both, bent_down):
    height, width = edges.shape
    kept = np.zeros((height, width), np.float32)
    for row in range(height):
        for column in range(width):
            value = edges[row, column]
            if not value > 0:
                continue
            mean = (bent_across[row, column] + bent_down[row, column]) / 2
            half, both = (bent_across[row, column] - bent_down[row, column]) / 2, bent_both[row, column]
            spread = np.hypot(half, both)
            if abs(mean) + spread < _FLAT:
                continue
            angle = np.arctan2(both, half) / 2 if mean > 0 else np.arctan2(-both, -half) / 2
            right, down = np.cos(angle), np.sin(angle)
            ahead = _sample(edges, row + down, column + right)
            behind = _sample(edges, row - down, column - right)
            if _SLACK * value >= max(ahead, behind):
                kept[row, column] = value
    return kept


@compiled
def _sample(edges, y, x):
    """`edges` at a point between its pixels, linearly; outside, that of the nearest pixel."""
    height, width = edges.shape
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    row, column = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
    below, right = min(row + 1, height - 1), min(column + 1, width - 1)
    down, across = y - row, x - column
    upper = edges[row, column] * (1 - across) + edges[row, right] * across
    lower = edges[below, column] * (1 - across) + edges[below, right] * across
    return upper * (1 - down) + lower * down
