"""LeNet, from 1989 to 1998, and what is called LeNet today.

- `lenet1989`: LeCun et al., Backpropagation applied to handwritten zip code recognition, 1989. Reads 16 x 16. Two
  convolutions with stride 2 and no pools; weights are shared, biases are not. Levels: H1 (stride 2), H3 (4).
- `lenet1990`: LeCun et al., Handwritten digit recognition with a back-propagation network, 1990. Reads 28 x 28. Pools
  ("subsampling") come in. Levels: H1 (stride 1), H3 (2), H4 (4).
- `lenet5`: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, 1998. Reads
  32 x 32. Up to F6, the layer before its output units: with one input channel exactly 60,000 parameters. Levels: C1
  (stride 1), C3 (2), F6 (4).
- `lenet5_modern`: LeNet-5, but C3 reads all maps, pools have no parameters, and ReLU.

Larger images give larger maps, because what the papers call fully connected hidden layers are convolutions here.
"""

import math
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from .backbone import Network
from .layers import PartiallyConnectedConv2d, ScaledTanh, Subsampling, initialise_for_relu

# The maps of H1 that each map of H2 reads in 1989: eight of twelve. The paper keeps the scheme to itself; this one
# treats all maps alike, so that each map of H1 is read by eight of H2.
H2_TABLE = (*((0, 1, 2, 3, 4, 5, 6, 7),) * 4, *((4, 5, 6, 7, 8, 9, 10, 11),) * 4, *((0, 1, 2, 3, 8, 9, 10, 11),) * 4)

# The maps of H2 that each map of H3 reads in 1990: one or two of four. No other number of links than these 20 gives
# the paper's 2,578 parameters and 98,442 connections.
H3_TABLE = ((0,), (0, 1), (0, 1), (1,), (0, 1), (0, 1), (2,), (2, 3), (2, 3), (3,), (2, 3), (2, 3))

# Table I of the paper of 1998: the maps of S2 that each map of C3 reads.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)


class UnitBias(nn.Module):
    """A bias for each unit of a map, not one for the map: (channels, side, side) parameters, 0 at first.

    For maps of another size than `side` the biases are stretched bilinearly, so that each unit has the bias of its
    place in the picture.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, side, side))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) to the same shape."""
        return x + F.interpolate(self.bias[None], size=x.shape[2:], mode="bilinear")


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights. Its layers are all it has."""
    layers = _NETWORKS[name](in_channels)
    network = nn.Sequential(OrderedDict(layers))
    if name == "lenet5_modern":
        initialise_for_relu(network)
    else:
        network.apply(_initialise)
    return Network(network, list(layers))


def _lenet1989(in_channels: int) -> dict[str, nn.Module]:
    # Around image and maps lies background, -1. It is in one layer with the convolution, lest it counts as a map.
    h1 = nn.Conv2d(in_channels, 12, 5, stride=2, bias=False)
    h2 = PartiallyConnectedConv2d(12, H2_TABLE, 5, stride=2, bias=False)
    return {
        "h1": nn.Sequential(nn.ConstantPad2d(2, -1.0), h1, UnitBias(12, 8)),
        "squash1": ScaledTanh(),
        "h2": nn.Sequential(nn.ConstantPad2d(2, -1.0), h2, UnitBias(12, 4)),
        "squash2": ScaledTanh(),
        "h3": nn.Conv2d(12, 30, 4),
        "squash3": ScaledTanh(),
    }


def _lenet1990(in_channels: int) -> dict[str, nn.Module]:
    return {
        "h1": nn.Conv2d(in_channels, 4, 5),
        "squash1": ScaledTanh(),
        "h2": Subsampling(4),
        "squash2": ScaledTanh(),
        "h3": PartiallyConnectedConv2d(4, H3_TABLE, 5),
        "squash3": ScaledTanh(),
        "h4": Subsampling(12),
        "squash4": ScaledTanh(),
    }


def _lenet5(in_channels: int) -> dict[str, nn.Module]:
    return {
        "c1": nn.Conv2d(in_channels, 6, 5),
        "squash1": ScaledTanh(),
        "s2": Subsampling(6),
        "squash2": ScaledTanh(),
        "c3": PartiallyConnectedConv2d(6, C3_TABLE, 5),
        "squash3": ScaledTanh(),
        "s4": Subsampling(16),
        "squash4": ScaledTanh(),
        "c5": nn.Conv2d(16, 120, 5),
        "squash5": ScaledTanh(),
        "f6": nn.Conv2d(120, 84, 1),
        "squash6": ScaledTanh(),
    }


def _lenet5_modern(in_channels: int) -> dict[str, nn.Module]:
    return {
        "c1": nn.Conv2d(in_channels, 6, 5),
        "relu1": nn.ReLU(),
        "s2": nn.AvgPool2d(2),
        "c3": nn.Conv2d(6, 16, 5),
        "relu3": nn.ReLU(),
        "s4": nn.AvgPool2d(2),
        "c5": nn.Conv2d(16, 120, 5),
        "relu5": nn.ReLU(),
        "f6": nn.Conv2d(120, 84, 1),
        "relu6": nn.ReLU(),
    }


_NETWORKS = {
    "lenet1989": _lenet1989,
    "lenet1990": _lenet1990,
    "lenet5": _lenet5,
    "lenet5_modern": _lenet5_modern,
}


@torch.no_grad()
def _initialise(layer: nn.Module) -> None:
    """As in the papers of 1989 and 1998: uniform in ±2.4 / F, where F is the number of inputs of the unit."""
    if isinstance(layer, nn.Conv2d | Subsampling):
        for name, parameter in layer.named_parameters():
            parameter.uniform_(-2.4, 2.4).div_(_fan_in(layer, name))


def _fan_in(layer: nn.Module, name: str) -> torch.Tensor | int:
    """The number of inputs of the units that a parameter belongs to, in a shape that divides it."""
    if isinstance(layer, PartiallyConnectedConv2d):
        fan_ins = torch.tensor([len(sources) * math.prod(layer.kernel_size) for sources in layer.table])
        return fan_ins if name == "bias" else fan_ins[layer.targets][:, None, None]
    return layer.in_channels * math.prod(layer.kernel_size) if isinstance(layer, nn.Conv2d) else 4
