"""Which part of a frame a tracker looks at, and the way between its pixels and those of the frame."""

from typing import NamedTuple

import numpy as np


class Region(NamedTuple):
    """A part of a frame, in continuous pixels of it; may reach beyond its border."""

    x: float  # of its middle
    y: float
    width: float
    height: float

    def to_frame(self, boxes: np.ndarray, size: int) -> np.ndarray:
        """Boxes (..., 4), xyxy in pixels of the region drawn `size` pixels wide and high, in those of the frame."""
        scale = np.array([self.width, self.height] * 2) / size
        return np.asarray(boxes, np.float64) * scale + self._corner()

    def from_frame(self, boxes: np.ndarray, size: int) -> np.ndarray:
        """The inverse of `to_frame`."""
        scale = np.array([self.width, self.height] * 2) / size
        return (np.asarray(boxes, np.float64) - self._corner()) / scale

    def times(self, factor: float) -> "Region":
        """As many times as wide and high, around the same middle."""
        return self._replace(width=self.width * factor, height=self.height * factor)

    def _corner(self) -> np.ndarray:
        return np.array([self.x - self.width / 2, self.y - self.height / 2] * 2)


def context_square(box: np.ndarray, context: float = 0.5) -> Region:
    """The square around a box xyxy with SiamFC's margin (Bertinetto et al. 2016, section 2.4).

    Its area is (w + 2p)(h + 2p), of which `context` says p: 2p = context * (w + h), the paper's p = (w + h) / 4.
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    width, height = x2 - x1, y2 - y1
    margin = context * (width + height)
    side = float(np.sqrt((width + margin) * (height + margin)))
    return Region((x1 + x2) / 2, (y1 + y2) / 2, side, side)


def around(box: np.ndarray, factor: float) -> Region:
    """The box xyxy made `factor` times as wide and as high: what GOTURN looks at."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return Region((x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) * factor, (y2 - y1) * factor)
