"""Highway networks: Srivastava, Greff, Schmidhuber, Training very deep networks, 2015.

From the paper: a layer computes H(x) T(x) + x (1 - T(x)), where H is an ordinary layer and the gate T decides, for each
unit, how much of it replaces the input (equation 3); here H is a 3 x 3 convolution with ReLU and T one with a sigmoid.
The biases of T begin negative, so that at first the network carries its input through. Where the width changes, a plain
layer stands instead (section 2.1). Depths of 11, 19 and 32 layers for CIFAR (table 2): those of the FitNets of Romero
et al. (2015), of 11 and 19 layers, and a thinner, deeper one; fully convolutional, with a layer of 1 x 1 kernels
before the mean over the map.

The paper leaves open, and it is chosen here:

- the biases: -2 (it names -1 and -3 as examples), but -3 in 32 layers, where -2 lets the signal fade to a quarter;
- the widths of `highway32`, which give the parameters that the paper reports, 1.25 million;
- in the others those of the FitNets, whose maxout units are ReLUs here, and their max pools of 2 x 2 (with ten classes
  2.3 million parameters in 19 layers, as reported; 0.14 in 11, where the paper's 0.24 has a fully connected layer);
- the initial weights: He et al., 2015. Nothing is normalised.

Read 32 x 32. Levels: strides 1, 2, 4.
"""

from collections import OrderedDict

import torch
from torch import nn

from .backbone import Network
from .layers import initialise_for_relu

# Width of each 3 x 3 layer, in three stages. With the 1 x 1 layer and the classifier they make 11, 19 and 32.
_WIDTHS = {
    "highway11": ((16,) * 3, (32,) * 3, (48, 48, 64)),
    "highway19": ((32, 32, 32, 48, 48), (80,) * 6, (128,) * 6),
    "highway32": ((32,) * 10, (48,) * 10, (64,) * 10),
}
_GATE_BIASES = {"highway11": -2, "highway19": -2, "highway32": -3}


class HighwayConv2d(nn.Module):
    """H(x) T(x) + x (1 - T(x)): `transform` is the convolution of H, `gate` that of T, before the sigmoid."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.transform = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)
        self.gate = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) to the same shape."""
        return torch.lerp(x, self.transform(x).relu(), self.gate(x).sigmoid())


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights."""
    layers: dict[str, nn.Module] = {}
    for stage, widths in enumerate(_WIDTHS[name], start=1):
        if stage > 1:
            layers[f"pool{stage - 1}"] = nn.MaxPool2d(2)
        for index, channels in enumerate(widths, start=1):
            layers[f"layer{stage}_{index}"] = _layer(in_channels, channels)
            in_channels = channels
    layers["last"] = HighwayConv2d(in_channels, 1)
    network = nn.Sequential(OrderedDict(layers))
    initialise_for_relu(network)
    for layer in network.children():
        if isinstance(layer, HighwayConv2d):
            _close_gate(layer.gate, _GATE_BIASES[name])
    return Network(network, list(layers))


def _layer(in_channels: int, channels: int) -> nn.Module:
    if in_channels == channels:
        return HighwayConv2d(channels, 3)
    return nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU())


def _close_gate(gate: nn.Conv2d, bias: float) -> None:
    assert gate.bias is not None
    nn.init.kaiming_normal_(gate.weight, nonlinearity="linear")
    nn.init.constant_(gate.bias, bias)
