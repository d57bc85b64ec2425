"""GOTURN: Held, Thrun, Savarese, Learning to track at 100 FPS with deep regression networks, 2016."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ...core.errors import UsageError
from .embedding import cut
from .head import Found, TrackingHead
from .options import TrackerSettings
from .region import Region, around

_CONTEXT = 2.0  # sides of a crop in those of the box (section 4 of the paper: k1 = k2 = 2)
_CELLS = 6  # of CaffeNet's pool5, high and wide
_UNIT = 10.0  # of the outputs, a crop's side: where the authors' training has its learning rates
_START = (0.25, 0.25, 0.75, 0.75)  # of the crop: where the target is, if it has not moved


class GoturnHead(TrackingHead):
    """Three fully connected layers tell the target's corners from the crops of two frames in a row.

    Both crops show what the target's box in the earlier frame takes in, made twice as wide and high, and squashed to a
    square; the exemplar from the earlier frame, so that it is taken anew from each (`follows`). CaffeNet's pool5 has
    6 x 6 cells, and features are max-pooled to as many: the 18 x 18 that siamfc_alexnet has of 227 pixels would take
    nine times the weights. The outputs (N, 4) are xyxy in tenths of the search crop's side.
    """

    name = "goturn"
    follows: ClassVar[bool] = True  # its template is that of the frame before, not of the first

    def __init__(
        self,
        channels: Sequence[int],
        *,
        stride: int = 8,
        margin: int = 0,
        exemplar_size: int = 227,
        search_size: int = 227,
        width: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        """`channels` of the backbone's maps, the last of which is looked at; `margin` cells of it are cut off all
        around; `width` is that of the hidden layers, and `dropout` the share of it that a step of training leaves out.

        A margin is not needed: these layers learn each cell by itself, also those that padding has spoilt. Raises
        UsageError where it leaves nothing of a crop.
        """
        super().__init__()
        for size in (exemplar_size, search_size):
            if -(-size // stride) - 2 * margin < 1:
                raise UsageError(
                    f"A crop of {size} pixels has {-(-size // stride)} cells in a row, and model.margin cuts off "
                    f"{margin} at both ends; make the margin smaller or the crop larger."
                )
        self.exemplar_size, self.search_size, self.margin = exemplar_size, search_size, margin
        self.layers = nn.Sequential(
            *_hidden(2 * channels[-1] * _CELLS**2, width, dropout),
            *_hidden(width, width, dropout),
            *_hidden(width, width, dropout),
            _corners(width),
        )

    def exemplar_region(self, box: np.ndarray) -> Region:
        """See `TrackingHead`."""
        return around(box, _CONTEXT)

    def search_region(self, box: np.ndarray) -> Region:
        """See `TrackingHead`."""
        return around(box, _CONTEXT)

    def remember(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, 6, 6)."""
        return F.adaptive_max_pool2d(cut(features, self.margin), _CELLS)

    def forward(self, templates: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """(N, 4): x1, y1, x2, y2 in tenths of the search crop's side."""
        both = torch.cat((templates, self.remember(features)), dim=1)
        return self.layers(both.flatten(start_dim=1))

    def losses(self, outputs: torch.Tensor, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
        """`l1`: the mean distance of a corner's coordinate, in tenths of the search crop's side (section 4.2)."""
        return {"l1": F.l1_loss(outputs.float(), boxes.float() * (_UNIT / self.search_size))}

    def locate(self, outputs: torch.Tensor, boxes: np.ndarray, settings: TrackerSettings) -> Found:
        """The corners as they were told, in order and a pixel apart at least; the method has no score, all are 1."""
        corners = outputs[:, 0].detach().cpu().double().numpy() * (self.search_size / _UNIT)
        low = np.minimum(corners[:, :2], corners[:, 2:])
        high = np.maximum(np.maximum(corners[:, :2], corners[:, 2:]), low + 1)
        return Found(np.concatenate((low, high), axis=1), np.ones(len(corners)))


def _hidden(inputs: int, outputs: int, dropout: float) -> tuple[nn.Module, ...]:
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # torch's own start has each layer's answers fade
    nn.init.zeros_(layer.bias)
    return layer, nn.ReLU(inplace=True), nn.Dropout(dropout)


def _corners(inputs: int) -> nn.Linear:
    # Starts near a target that stays where it is, as the paper's pairs make small moves the likely ones.
    layer = nn.Linear(inputs, 4)
    nn.init.normal_(layer.weight, std=0.01)
    with torch.no_grad():
        layer.bias.copy_(_UNIT * torch.tensor(_START))
    return layer
