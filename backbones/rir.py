"""ResNet in ResNet, for images of 32 x 32: Targ, Almeida, Lyman, Resnet in Resnet, 2016.

Every layer carries two streams of equally many channels: a residual one, to which layers add, and a transient one,
which they replace, so that the network can also forget. Both write to both. Two such layers take the place of the two
convolutions of a ResNet block, which keeps its own shortcut.

`rir` is the paper's wide network of 18 layers: 96, 192 and 384 channels (strides 1, 2, 4), the two streams together.
The paper leaves open how its eight blocks share the three stages (here 2, 3, 3), which streams the outer shortcut
carries (here both) and what stands where the shape changes (here projections, outside and inside). Its parameters
come to 9.6 million; the paper reports 10.3.
"""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from .backbone import Network
from .layers import initialise_for_relu
from .resnet import list_blocks

_BLOCKS, _WIDTHS = (2, 3, 3), (96, 192, 384)


class GeneralizedResidualLayer(nn.Module):
    """Equation 1 of the paper without its ReLU: r' = BN(W_rr r + W_tr t + shortcut(r)), t' = BN(W_rt r + W_tt t).

    The first half of the channels is the residual stream r, the second the transient stream t; one 3 x 3 convolution
    holds the four W.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.residual = in_channels // 2
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.projection = _projection(in_channels // 2, out_channels // 2, stride, norm=nn.Identity)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        shortcut = self.projection(x[:, : self.residual])
        transient = self.conv.out_channels - shortcut.shape[1]
        return self.bn(self.conv(x) + F.pad(shortcut, (0, 0, 0, 0, 0, transient)))


class RirBlock(nn.Module):
    """A ResNet block whose convolutions are generalised residual layers: figure 1 (d) of the paper."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.layer1 = GeneralizedResidualLayer(in_channels, out_channels, stride)
        self.relu = nn.ReLU(inplace=True)
        self.layer2 = GeneralizedResidualLayer(out_channels, out_channels, 1)
        self.projection = _projection(in_channels, out_channels, stride, norm=nn.BatchNorm2d)
        self.stochastic_depth = StochasticDepth(0.0, "row")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        branch = self.stochastic_depth(self.layer2(self.relu(self.layer1(x))))
        return self.relu(branch + self.projection(x))


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights, block by block; `name` is "rir"."""
    network = nn.Sequential(OrderedDict(conv1=nn.Conv2d(in_channels, _WIDTHS[0], 3, padding=1, bias=False)))
    network.add_module("bn1", nn.BatchNorm2d(_WIDTHS[0]))
    network.add_module("relu", nn.ReLU(inplace=True))
    for number, (before, width) in enumerate(pairwise((_WIDTHS[0], *_WIDTHS)), start=1):
        first = RirBlock(before, width, 1 if before == width else 2)
        others = (RirBlock(width, width, 1) for _ in range(_BLOCKS[number - 1] - 1))
        network.add_module(f"layer{number}", nn.Sequential(first, *others))
    initialise_for_relu(network, "fan_out")
    return Network(network, ["conv1", "bn1", "relu", *list_blocks(network)])


def _projection(in_channels: int, out_channels: int, stride: int, norm: type[nn.Module]) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), norm(out_channels))
