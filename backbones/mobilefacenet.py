"""MobileFaceNet: Chen, Liu, Gao, Han, MobileFaceNets: efficient CNNs for accurate real-time face verification on mobile
devices, 2018.

Table 1 up to its convolution to 512 channels: a convolution, a depthwise one, 15 inverted residual bottlenecks of
MobileNetV2's kind but with PReLU, and that 1 x 1 convolution. 112 x 112 become 7 x 7 cells. The global depthwise
convolution (section 3.2), which weighs these cells, and the layer of 128 behind it are an embedding head's.
"""

import torch
from torch import nn

from .backbone import Network

# Of the bottlenecks in table 1: expansion t, output channels c, how many n, stride s of the first of them.
_BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class FaceBottleneck(nn.Sequential):
    """An inverted residual: 1 x 1 to `expansion` times the channels, 3 x 3 of each alone, 1 x 1 back, not activated.

    Added to its input where both have one shape. Sandler et al., MobileNetV2, 2018, figure 4 (b), with PReLU.
    """

    def __init__(self, in_channels: int, out_channels: int, *, expansion: int, stride: int) -> None:
        wide = expansion * in_channels
        super().__init__(
            _unit(in_channels, wide, 1),
            _unit(wide, wide, 3, stride=stride, groups=wide),
            _unit(wide, out_channels, 1, activation=False),
        )
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        output = super().forward(input)
        return input + output if self.adds else output


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights; a layer is one convolution with norm and PReLU, or a bottleneck."""
    network = nn.Sequential(_unit(in_channels, 64, 3, stride=2), _unit(64, 64, 3, groups=64))
    channels = 64
    for expansion, out_channels, count, stride in _BOTTLENECKS:
        for number in range(count):
            step = stride if number == 0 else 1
            network.append(FaceBottleneck(channels, out_channels, expansion=expansion, stride=step))
            channels = out_channels
    network.append(_unit(channels, 512, 1))
    return Network(network, [path for path, _ in network.named_children()])


def _unit(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, a=0.25, mode="fan_out", nonlinearity="leaky_relu")
    unit = nn.Sequential(conv, nn.BatchNorm2d(out_channels))
    if activation:
        unit.append(nn.PReLU(out_channels))
    return unit
