"""Wide ResNet for images of 32 x 32: Zagoruyko, Komodakis, Wide residual networks, 2016, table 1.

`wrn_28_10` has 28 layers and is 10 times as wide as a ResNet: 6n + 4 layers in three stages of n pre-activation blocks
with 160, 320 and 640 channels (strides 1, 2, 4). The wide ResNets for ImageNet are `wide_resnet50_2` and
`wide_resnet101_2`, in resnet.py.
"""

from collections import OrderedDict

from torch import nn

from .backbone import Network
from .preact_resnet import build_stages


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights, block by block."""
    depth, factor = (int(number) for number in name.split("_")[1:])
    stem: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(in_channels, 16, 3, padding=1, bias=False))
    return build_stages(stem, 16, [width * factor for width in (16, 32, 64)], [(depth - 4) // 6] * 3, _branch)


def _branch(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Two 3 x 3 convolutions; the dropout between them (section 2.4) is off until its `p` is set."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.Dropout(0.0),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
    )
