"""ResNets without shortcuts, which the paper compares them with: more layers make these worse, in training too.

He, Zhang, Ren, Sun, Deep residual learning for image recognition, 2016: plain18 and plain34 for ImageNet (section 4.1),
plain20 to plain56 for images of 32 x 32 (section 4.2). Their keys are those of the ResNet of the same depth, less its
projections.
"""

from typing import Any

import torch
from torchvision.models import resnet

from .backbone import Network
from .cifar_resnet import build_cifar_network
from .layers import set_in_channels
from .resnet import list_blocks

_IMAGENET = {"plain18": [2, 2, 2, 2], "plain34": [3, 4, 6, 3]}  # pairs of convolutions in each stage


class PlainBlock(resnet.BasicBlock):
    """The two convolutions of a residual block, one after the other and no more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # those of torchvision's ResNet
        super().__init__(*args, **kwargs)
        self.downsample = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)))


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights, two convolutions to a layer."""
    if name not in _IMAGENET:
        return build_cifar_network(PlainBlock, (int(name.removeprefix("plain")) - 2) // 6, in_channels)
    network = resnet.ResNet(PlainBlock, _IMAGENET[name])
    set_in_channels(network, in_channels)
    return Network(network, ["conv1", "bn1", "relu", "maxpool", *list_blocks(network)])
