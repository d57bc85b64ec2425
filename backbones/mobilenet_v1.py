"""MobileNet: Howard et al., MobileNets: efficient convolutional neural networks for mobile vision applications, 2017.

Table 1: one convolution and 13 depthwise separable ones. The number behind the name is the width multiplier in
hundredths, by which all channels are scaled (section 3.3); without one it is 1.
"""

from itertools import pairwise

from torch import nn
from torchvision.ops import Conv2dNormActivation

from .backbone import Network
from .layers import DepthwiseSeparableConv2d, initialise_for_relu

# Output channels at width 1 of the first convolution and of each separable one, and where the resolution halves.
_CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights; a layer is one convolution, or a depthwise one with its pointwise one."""
    percent = int(name.removeprefix("mobilenet_v1").removeprefix("_") or 100)
    widths = [channels * percent // 100 for channels in _CHANNELS]
    features = nn.Sequential(Conv2dNormActivation(in_channels, widths[0], stride=_STRIDES[0]))
    for (before, after), stride in zip(pairwise(widths), _STRIDES[1:], strict=True):
        features.append(_separable(before, after, stride))
    network = nn.Sequential()
    network.add_module("features", features)
    initialise_for_relu(network, "fan_out")
    return Network(network, [f"features.{index}" for index in range(len(features))])


def _separable(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """A 3 x 3 convolution of each channel alone, then a 1 x 1 across them, each with batch norm and ReLU."""
    between = nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True))
    conv = DepthwiseSeparableConv2d(in_channels, out_channels, stride=stride, between=between)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
