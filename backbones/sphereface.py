"""SphereFace's network: Liu, Wen, Yu, Li, Raj, Song, SphereFace: deep hypersphere embedding for face recognition, 2017.

Table 2's form of 20 convolutions: four stages, each one of stride 2 and then 1, 2, 4 or 1 residual units of two more,
all 3 x 3, PReLU behind each, no batch norm. The fully connected layer behind them, FC1, is an embedding head's. Faces
are 112 x 96 in the paper, which become 7 x 6 cells; any size does.
"""

from collections import OrderedDict

import torch
from torch import nn

from .backbone import Network

_STAGES = ((64, 1), (128, 2), (256, 4), (512, 1))  # channels and residual units of conv1.x to conv4.x


class SphereFaceUnit(nn.Module):
    """x + two convolutions, each with PReLU; nothing follows the sum (table 2, in double brackets)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # As in the authors' code: no biases, and small weights, with which the unit begins as nearly nothing.
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.activation1, self.activation2 = nn.PReLU(channels), nn.PReLU(channels)
        for conv in (self.conv1, self.conv2):
            nn.init.normal_(conv.weight, std=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) to the same shape."""
        return x + self.activation2(self.conv2(self.activation1(self.conv1(x))))


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights; a layer is a convolution with its PReLU, or a residual unit."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, (channels, units) in enumerate(_STAGES, start=1):
        layers[f"conv{stage}"] = _halving(in_channels, channels)
        for unit in range(1, units + 1):
            layers[f"conv{stage}_{unit}"] = SphereFaceUnit(channels)
        in_channels = channels
    return Network(nn.Sequential(layers), list(layers))


def _halving(in_channels: int, out_channels: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
    nn.init.xavier_uniform_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.PReLU(out_channels))
