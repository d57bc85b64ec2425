"""ResNet, and the two families that change its blocks alone: ResNeXt and wide ResNet, by torchvision.

He, Zhang, Ren, Sun, Deep residual learning for image recognition, 2016; Xie, Girshick, Dollár, Tu, He, Aggregated
residual transformations for deep neural networks, 2017; Zagoruyko, Komodakis, Wide residual networks, 2016.

torchvision's networks of 50 layers and more have the stride on the 3 x 3 convolution of a bottleneck, not on its first
1 x 1.
"""

from typing import Any, NamedTuple

import torch
from torch import nn
from torchvision.models import resnet
from torchvision.ops import StochasticDepth

from .backbone import Network
from .layers import set_in_channels


class BasicBlock(resnet.BasicBlock):
    """Two 3 x 3 convolutions and a shortcut: torchvision's block, whose branch training can leave out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # those of torchvision's ResNet
        super().__init__(*args, **kwargs)
        self.stochastic_depth = StochasticDepth(0.0, "row")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C', H', W'): ReLU(F(x) + x), with a projection of x where the shapes differ."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.stochastic_depth(self.bn2(self.conv2(out)))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(resnet.Bottleneck):
    """A 3 x 3 convolution between two of 1 x 1, and a shortcut: torchvision's block, as above."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # those of torchvision's ResNet
        super().__init__(*args, **kwargs)
        self.stochastic_depth = StochasticDepth(0.0, "row")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C', H', W'): ReLU(F(x) + x), with a projection of x where the shapes differ."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.stochastic_depth(self.bn3(self.conv3(out)))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class _Shape(NamedTuple):
    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, int, int, int]  # in each of the four stages
    groups: int = 1  # ResNeXt's cardinality
    width_per_group: int = 64  # channels of the 3 x 3 convolutions of the first stage, in each group


_NETWORKS = {
    "resnet18": _Shape(BasicBlock, (2, 2, 2, 2)),
    "resnet34": _Shape(BasicBlock, (3, 4, 6, 3)),
    "resnet50": _Shape(Bottleneck, (3, 4, 6, 3)),
    "resnet101": _Shape(Bottleneck, (3, 4, 23, 3)),
    "resnet152": _Shape(Bottleneck, (3, 8, 36, 3)),
    "resnext50_32x4d": _Shape(Bottleneck, (3, 4, 6, 3), groups=32, width_per_group=4),
    "resnext101_32x8d": _Shape(Bottleneck, (3, 4, 23, 3), groups=32, width_per_group=8),
    "resnext101_64x4d": _Shape(Bottleneck, (3, 4, 23, 3), groups=64, width_per_group=4),
    "wide_resnet50_2": _Shape(Bottleneck, (3, 4, 6, 3), width_per_group=128),
    "wide_resnet101_2": _Shape(Bottleneck, (3, 4, 23, 3), width_per_group=128),
}


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights, block by block."""
    shape = _NETWORKS[name]
    network = resnet.ResNet(shape.block, list(shape.blocks), groups=shape.groups, width_per_group=shape.width_per_group)
    set_in_channels(network, in_channels)
    return Network(network, ["conv1", "bn1", "relu", "maxpool", *list_blocks(network)])


def list_blocks(network: nn.Module) -> list[str]:
    """The paths of all blocks of a network whose stages are `layer1`, `layer2` and so on, in the order of execution."""
    stages = [(name, stage) for name, stage in network.named_children() if name.startswith("layer")]
    return [f"{name}.{block}" for name, stage in stages for block, _ in stage.named_children()]
