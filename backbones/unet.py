"""The contracting path of UNet: Ronneberger, Fischer, Brox, U-Net: convolutional networks for biomedical image
segmentation, 2015.

`unet` is the left half of the paper's figure 1: five pairs of 3 x 3 convolutions with ReLUs, with a 2 x 2 max pool
between. Its convolutions are padded, as today's users of it have them, so that it is a backbone like any other.
Segmentation's head `unet_valid` takes the padding off again. Levels: strides 1, 2, 4, 8, 16.
"""

import torch
from torch import nn

from .backbone import Network
from .layers import initialise_for_relu

_DROPOUT = 0.5
_POOLS = 4


class UNetEncoder(nn.Module):
    """From images, float (N, `in_channels`, H, W), to the map of each stage, finest first.

    `padded=False` is the paper's: maps of 568, 280, 136, 64 and 28 cells a side from 572 pixels. `width`: channels of
    the first map, twice as many after each pool. Weights begin as the paper has it, normal of variance 2 / (inputs of a
    unit); its dropout "at the end of the contracting path" stands behind the last two maps.
    """

    def __init__(self, in_channels: int, *, padded: bool, width: int = 64) -> None:
        super().__init__()
        self.channels = tuple(width * 2**level for level in range(_POOLS + 1))
        self.strides = tuple(2**level for level in range(_POOLS + 1))
        inputs = (in_channels, *self.channels)
        self.stages = nn.ModuleList()
        for level, channels in enumerate(self.channels):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if level else []
            layers += convolution_pair(inputs[level], channels, padded=padded)
            layers += [nn.Dropout(_DROPOUT)] if level >= _POOLS - 1 else []
            self.stages.append(nn.Sequential(*layers))
        initialise_for_relu(self)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The maps."""
        maps, x = [], images
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def convolution_pair(in_channels: int, out_channels: int, *, padded: bool) -> list[nn.Module]:
    """Two 3 x 3 convolutions with ReLUs, which the contracting and the expansive path are made of."""
    convolutions = [nn.Conv2d(width, out_channels, 3, padding=int(padded)) for width in (in_channels, out_channels)]
    return [layer for convolution in convolutions for layer in (convolution, nn.ReLU(inplace=True))]


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights."""
    encoder = UNetEncoder(in_channels, padded=True)
    return Network(encoder, [f"stages.{level}" for level in range(_POOLS + 1)])
