"""SiamFC: Bertinetto, Valmadre, Henriques, Vedaldi, Torr, Fully-convolutional siamese networks for object tracking,
2016.
"""

from collections.abc import Sequence

import numpy as np
import torch

from .region import Region, context_square
from .response import ResponseHead


class SiamFCHead(ResponseHead):
    """The template is the target's features as they are; the paper's crops have 127 and 255 pixels."""

    name = "siamfc"

    def __init__(
        self,
        channels: Sequence[int],
        *,
        stride: int = 8,
        margin: int = 0,
        exemplar_size: int = 127,
        search_size: int = 255,
        radius: float = 16.0,
        width: int | None = None,
    ) -> None:
        """`channels` of the embedding's map, which needs none in particular; the others are those of `ResponseHead`."""
        super().__init__(
            channels,
            stride=stride,
            margin=margin,
            sizes=(exemplar_size, search_size, exemplar_size),
            radius=radius,
            width=width,
        )

    def exemplar_region(self, box: np.ndarray) -> Region:
        """See `TrackingHead`: the target with a margin of half the mean of its sides (section 2.4)."""
        return context_square(box)

    def remember(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) without the margin."""
        return self._compared(features)
