"""What both of Eigen's networks see of the whole image: fully connected layers on a backbone's last map."""

import math

import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 4096  # units of the hidden layer, in both papers
_MOST_CHANNELS = 512  # of the last map, as VGG's
_MOST_CELLS = 64  # VGG-16's map has 7 x 9 in Eigen and Fergus 2015, AlexNet's 6 x 8 in Eigen et al. 2014


class FullImageView(nn.Module):
    """A last map, a hidden layer that sees all of it, with ReLU and dropout, and a layer that gives new maps: each of
    their cells depends on each pixel of the image.

    `map_size`: rows and columns of the last map. `grid`: those of the new maps. Networks later than VGG, and images
    larger than the papers', would need thousands of millions of weights here: a map of more than 512 channels is first
    brought to these by a 1 x 1 convolution, and one of more than 64 cells averaged over squares of cells.
    """

    def __init__(
        self, channels: int, map_size: tuple[int, int], *, maps: int, grid: tuple[int, int], width: int = WIDTH
    ) -> None:
        super().__init__()
        self.grid = grid
        self.square = next(side for side in range(1, max(map_size) + 1) if _cells(map_size, side) <= _MOST_CELLS)
        self.reduce = nn.Identity()
        if channels > _MOST_CHANNELS:
            self.reduce = nn.Sequential(nn.Conv2d(channels, _MOST_CHANNELS, 1), nn.ReLU())
            channels = _MOST_CHANNELS
        self.hidden = nn.Linear(channels * _cells(map_size, self.square), width)
        self.dropout = nn.Dropout(0.5)
        self.maps = nn.Linear(width, maps * math.prod(grid))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The last map (N, `channels`, *`map_size`) to new ones (N, `maps`, *`grid`), without a ReLU."""
        x = self.reduce(x)
        if self.square > 1:
            x = F.avg_pool2d(x, self.square, ceil_mode=True)
        hidden = self.dropout(self.hidden(x.flatten(1)).relu())
        return self.maps(hidden).unflatten(1, (-1, *self.grid))


def _cells(map_size: tuple[int, int], square: int) -> int:
    return math.prod(math.ceil(side / square) for side in map_size)
