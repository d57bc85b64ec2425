"""Pre-activation ResNet: He, Zhang, Ren, Sun, Identity mappings in deep residual networks, 2016.

Batch norm and ReLU come before each convolution, so nothing but additions lies on the way of the shortcuts. The map of
a level is such a sum, and may be negative; the last one is normalised and rectified, as the classifier reads it.

The first block reads a rectified map (section 4.1 of the paper: the activation behind the first convolution serves
both ways); where the shape changes, block and projection share one activation. Bottlenecks have their stride on the
3 x 3 convolution, as resnet50 does here.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torchvision.ops import StochasticDepth

from .backbone import Network
from .layers import initialise_for_relu
from .resnet import list_blocks


class PreActivationBlock(nn.Module):
    """x + F(a(x)) with a = ReLU of batch norm, or P(a(x)) + F(a(x)) where a 1 x 1 projection P changes the shape.

    `branch` is F. `activated`: the input is rectified already, and a is left out. Figure 4 (e) of the paper.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, branch: nn.Module, *, activated: bool = False
    ) -> None:
        super().__init__()
        self.activation = nn.Identity() if activated else nn.Sequential(*_activation(in_channels))
        self.branch = branch
        self.projection = None
        if stride != 1 or in_channels != out_channels:
            self.projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        self.stochastic_depth = StochasticDepth(0.0, "row")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        active = self.activation(x)
        shortcut = x if self.projection is None else self.projection(active)
        return shortcut + self.stochastic_depth(self.branch(active))


class _Shape(NamedTuple):
    blocks: tuple[int, ...]  # in each stage
    bottleneck: bool = False


_NETWORKS = {
    "preact_resnet18": _Shape((2, 2, 2, 2)),
    "preact_resnet34": _Shape((3, 4, 6, 3)),
    "preact_resnet50": _Shape((3, 4, 6, 3), bottleneck=True),
    "preact_resnet101": _Shape((3, 4, 23, 3), bottleneck=True),
    "preact_resnet152": _Shape((3, 8, 36, 3), bottleneck=True),
    "preact_resnet20": _Shape((3, 3, 3)),
    "preact_resnet32": _Shape((5, 5, 5)),
    "preact_resnet44": _Shape((7, 7, 7)),
    "preact_resnet56": _Shape((9, 9, 9)),
    "preact_resnet110": _Shape((18, 18, 18)),
    "preact_resnet164": _Shape((18, 18, 18), bottleneck=True),
}


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights, block by block. Three stages are for images of 32 x 32, four for ImageNet."""
    blocks, bottleneck = _NETWORKS[name]
    width = 16 if len(blocks) == 3 else 64
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if len(blocks) == 3:
        layers["conv1"] = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
    else:
        layers["conv1"] = nn.Conv2d(in_channels, width, 7, 2, padding=3, bias=False)
    layers["bn1"], layers["relu"] = _activation(width)
    if len(blocks) == 4:
        layers["maxpool"] = nn.MaxPool2d(3, 2, padding=1)
    channels = [width * 2**stage * (4 if bottleneck else 1) for stage in range(len(blocks))]
    return build_stages(layers, width, channels, blocks, bottleneck_branch if bottleneck else basic_branch)


def build_stages(
    stem: OrderedDict[str, nn.Module],
    width: int,
    channels: Sequence[int],
    blocks: Sequence[int],
    branch: Callable[[int, int, int], nn.Module],
) -> Network:
    """A network of pre-activation blocks behind a stem that gives `width` maps.

    `channels` and `blocks` are those of each stage; every stage but the first halves the resolution. `branch` makes
    the residual branch from the channels before and behind it and its stride.
    """
    network = nn.Sequential(stem)
    activated = "relu" in stem
    for number, (before, after) in enumerate(pairwise((width, *channels)), start=1):
        stage = nn.Sequential()
        for index in range(blocks[number - 1]):
            source = after if index else before
            stride = 2 if number > 1 and not index else 1
            stage.append(PreActivationBlock(source, after, stride, branch(source, after, stride), activated=activated))
            activated = False
        network.add_module(f"layer{number}", stage)
    paths = [*stem, *list_blocks(network), "final_bn", "final_relu"]
    for path, layer in zip(paths[-2:], _activation(channels[-1]), strict=True):
        network.add_module(path, layer)
    initialise_for_relu(network, "fan_out")
    return Network(network, paths)


def basic_branch(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Two 3 x 3 convolutions."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        *_activation(out_channels),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
    )


def bottleneck_branch(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """A 3 x 3 convolution of a quarter of the channels between two of 1 x 1."""
    width = out_channels // 4
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 1, bias=False),
        *_activation(width),
        nn.Conv2d(width, width, 3, stride, padding=1, bias=False),
        *_activation(width),
        nn.Conv2d(width, out_channels, 1, bias=False),
    )


def _activation(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
