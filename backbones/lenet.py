"""LeNet-5: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, 1998.

`lenet5` is the paper's network up to F6, the layer before its output units: with one input channel exactly 60,000
parameters. `lenet5_modern` is what is called LeNet today: C3 reads all maps, pools have no parameters, ReLU. Both
read 32 x 32 images, and larger ones, because C5 and F6 are convolutions. Levels: C1 (stride 1), C3 (2), F6 (4).
"""

import math

import torch
from torch import nn

from .layers import PartiallyConnectedConv2d, ScaledTanh, Subsampling

# Table I of the paper: the maps of S2 that each map of C3 reads.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)


def build(name: str, in_channels: int) -> tuple[nn.Module, list[str]]:
    """The network with fresh weights, and the paths of its layers, which are all it has."""
    layers = _NETWORKS[name](in_channels)
    network = nn.Sequential()
    for path, layer in layers.items():
        network.add_module(path, layer)
    return network, list(layers)


def _lenet5(in_channels: int) -> dict[str, nn.Module]:
    layers = {
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
    for layer in layers.values():
        _initialise(layer)
    return layers


def _lenet5_modern(in_channels: int) -> dict[str, nn.Module]:
    layers = {
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
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d):  # He et al. 2015: torch's own start lets the signal of ReLU layers fade
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.bias = nn.Parameter(torch.zeros(layer.out_channels))
    return layers


_NETWORKS = {"lenet5": _lenet5, "lenet5_modern": _lenet5_modern}


@torch.no_grad()
def _initialise(layer: nn.Module) -> None:
    """The paper's appendix A: uniform in ±2.4 / F, where F is the number of inputs of the unit."""
    for name, parameter in layer.named_parameters():
        parameter.uniform_(-2.4, 2.4).div_(_fan_in(layer, name))


def _fan_in(layer: nn.Module, name: str) -> torch.Tensor | int:
    """The number of inputs of the units that a parameter belongs to, in a shape that divides it."""
    if isinstance(layer, PartiallyConnectedConv2d):
        fan_ins = torch.tensor([len(sources) * math.prod(layer.kernel_size) for sources in layer.table])
        return fan_ins if name == "bias" else fan_ins[layer.targets][:, None, None]
    return layer.in_channels * math.prod(layer.kernel_size) if isinstance(layer, nn.Conv2d) else 4
