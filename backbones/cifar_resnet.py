"""The ResNets for images of 32 x 32: He, Zhang, Ren, Sun, Deep residual learning, 2016, section 4.2.

6n + 2 layers: one convolution, three stages of n blocks with 16, 32 and 64 channels (strides 1, 2, 4), the classifier.
Their shortcuts have no parameters (option A).
"""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet

from .backbone import Network
from .layers import initialise_for_relu
from .resnet import BasicBlock, list_blocks

WIDTHS = (16, 32, 64)


class PaddedShortcut(nn.Module):
    """Every `stride`-th pixel, and zeros for the channels that are new: a shortcut to another shape, without weights.

    He, Zhang, Ren, Sun, 2016, section 3.3, option A.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights, block by block."""
    return build_cifar_network(BasicBlock, (int(name.removeprefix("resnet")) - 2) // 6, in_channels)


def build_cifar_network(block: type[resnet.BasicBlock], count: int, in_channels: int) -> Network:
    """Three stages of `count` blocks each, behind one convolution that keeps the resolution."""
    network = nn.Sequential(OrderedDict(conv1=nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False)))
    network.add_module("bn1", nn.BatchNorm2d(WIDTHS[0]))
    network.add_module("relu", nn.ReLU(inplace=True))
    for number, (before, width) in enumerate(pairwise((WIDTHS[0], *WIDTHS)), start=1):
        stride = 1 if before == width else 2
        shortcut = PaddedShortcut(before, width, stride) if stride > 1 else None
        blocks = [block(before, width, stride, shortcut), *(block(width, width) for _ in range(count - 1))]
        network.add_module(f"layer{number}", nn.Sequential(*blocks))
    initialise_for_relu(network, "fan_out")
    return Network(network, ["conv1", "bn1", "relu", *list_blocks(network)])
