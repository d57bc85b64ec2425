"""What every head of a tracker answers: training, tracking and evaluation know no more of it than this."""

from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import nn

from .options import TrackerSettings
from .region import Region


class Found(NamedTuple):
    """Where the targets are in their search regions, of N targets."""

    boxes: np.ndarray  # float64 (N, 4), xyxy in pixels of the search crop at scale 1, whatever scale was the best
    scores: np.ndarray  # float64 (N,), 0 to 1: how sure it is that the target is there


class TrackingHead(nn.Module):
    """Compares a target, seen in an exemplar crop, with search crops; a subclass is a paper's method.

    `exemplar_size` and `search_size` are the sides of both crops in pixels. A template is a tensor whose first
    dimension is that of the targets, so that those of many are stacked, kept and picked.
    """

    name: ClassVar[str]
    scale_steps: ClassVar[bool] = False  # whether it looks at the search region in several sizes (settings.scales)

    exemplar_size: int
    search_size: int

    def exemplar_region(self, box: np.ndarray) -> Region:
        """What of the first frame shows the target, whose box is xyxy (4,)."""
        raise NotImplementedError

    def search_region(self, box: np.ndarray) -> Region:
        """Where to look for the target in a frame, if its box in the one before is xyxy (4,)."""
        raise NotImplementedError

    def remember(self, features: torch.Tensor) -> torch.Tensor:
        """The template (N, ...) of targets, from the features (N, C, h, w) of their exemplar crops."""
        raise NotImplementedError

    def forward(self, templates: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Raw outputs (N, ...) for templates (N, ...) and the features (N, C, H, W) of one search crop each."""
        raise NotImplementedError

    def losses(self, outputs: torch.Tensor, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scalars by name; `boxes` (N, 4) are the targets', xyxy in pixels of the search crops."""
        raise NotImplementedError

    def locate(self, outputs: torch.Tensor, boxes: np.ndarray, settings: TrackerSettings) -> Found:
        """The targets in the outputs (N, S, ...) of S scales of each search region, `settings.factors` of its size.

        `boxes` float64 (N, 4): where the targets were before, in pixels of the search crop at scale 1.
        """
        raise NotImplementedError
