"""What SSD and SSDLite put between a backbone's maps and their predictions: more maps, coarser and coarser."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops.misc import Conv2dNormActivation

from ...backbones.layers import SteadyBatchNorm2d
from ..build import read_weights
from .options import DetectionOptions

_SCALE = 20.0  # Liu et al. 2016, section 3.1
FC_CHANNELS = 1024  # of fc6 and fc7 as convolutions


class ExtraMap(NamedTuple):
    """A map that is made of the one before it: by 1 x 1 to half of its channels, and a convolution like this."""

    channels: int
    kernel: int
    stride: int
    padding: int


class SSDMaps(nn.Module):
    """The maps that an SSD head reads: `first` of a backbone's finest, `last` of its coarsest, those between as they
    are, and behind them each of `extra` made of the map before it.
    """

    def __init__(self, first: nn.Module, last: nn.Module, extra: nn.ModuleList) -> None:
        super().__init__()
        self.first = first
        self.last = last
        self.extra = extra

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Maps (N, C, h, w), finest first, of those of a backbone."""
        *finer, x = features
        maps = [*finer, self.last(x)]
        for layers in self.extra:
            maps.append(layers(maps[-1]))
        return [self.first(maps[0]), *maps[1:]]


class L2Norm(nn.Module):
    """Each place's channels, scaled to a length that is learnt for each channel (Liu et al. 2016, section 3.1, after
    ParseNet, Liu et al. 2016): conv4_3 is far larger than the maps behind it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), _SCALE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w), any float type, to float32 of the same shape."""
        return self.weight.view(1, -1, 1, 1) * F.normalize(x.float())


class RoomyConv2d(nn.Conv2d):
    """A convolution that pads what is smaller than its kernel, so that the maps of long and narrow images do not end
    before the last.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As torch's, but gives one row or column where torch's raises."""
        pairs = zip(self.kernel_size, self.padding, input.shape[2:], strict=True)
        height, width = (max(0, kernel - side - 2 * int(padding)) for kernel, padding, side in pairs)
        return super().forward(F.pad(input, (0, width, 0, height)) if height or width else input)


def extra_layers(channels: int, maps: Sequence[ExtraMap]) -> nn.ModuleList:
    """The paper's layers from conv8 on, behind a map of `channels`: no normalisation, Glorot's start."""
    layers = nn.ModuleList()
    for width, kernel, stride, padding in maps:
        layers.append(
            nn.Sequential(
                nn.Conv2d(channels, width // 2, 1),
                nn.ReLU(inplace=True),
                RoomyConv2d(width // 2, width, kernel, stride, padding),
                nn.ReLU(inplace=True),
            )
        )
        channels = width
    return layers.apply(_start_like_glorot)


def lite_extra_layers(channels: int, maps: Sequence[ExtraMap]) -> nn.ModuleList:
    """The same with separable convolutions, batch norm and ReLU6 (Sandler et al. 2018, section 6.2)."""
    layer = partial(Conv2dNormActivation, norm_layer=SteadyBatchNorm2d, activation_layer=nn.ReLU6)
    layers = nn.ModuleList()
    for width, kernel, stride, padding in maps:
        hidden = width // 2
        layers.append(
            nn.Sequential(
                layer(channels, hidden, kernel_size=1),
                layer(hidden, hidden, kernel_size=kernel, stride=stride, padding=padding, groups=hidden),
                layer(hidden, width, kernel_size=1),
            )
        )
        channels = width
    return layers.apply(_start_narrow)


def convolutions_of_vgg(options: DetectionOptions) -> nn.Sequential:
    """pool5 without a stride, and fc6 and fc7 as convolutions: (N, 512, h, w) to (N, 1024, h, w).

    With weights that have VGG's classifier, they start from some of its rows and columns (Liu et al. 2016, section
    3.1), else from Glorot's.
    """
    layers = nn.Sequential(
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.Conv2d(512, FC_CHANNELS, 3, padding=6, dilation=6),
        nn.ReLU(inplace=True),
        nn.Conv2d(FC_CHANNELS, FC_CHANNELS, 1),
        nn.ReLU(inplace=True),
    ).apply(_start_like_glorot)
    if options.weights in (None, "coco"):  # coco: of the whole detector, loaded later
        return layers
    read = read_weights(options.weights, options.backbone)
    published = {"1": "classifier.0", "3": "classifier.3"}  # absent in a file of a backbone alone
    if all(f"{name}.weight" in read for name in published.values()):
        for own, theirs in published.items():
            weight = read[f"{theirs}.weight"].unflatten(1, (-1, 7, 7) if own == "1" else (-1, 1, 1))
            step = len(weight) // FC_CHANNELS  # 4: of 4096 outputs every fourth
            inputs = slice(None, None, 1 if own == "1" else step)
            state = {"weight": weight[::step, inputs, ::3, ::3], "bias": read[f"{theirs}.bias"][::step]}
            layers.get_submodule(own).load_state_dict(state)
    return layers


def _start_like_glorot(module: nn.Module) -> None:
    """Glorot and Bengio 2010, equation 16."""
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def _start_narrow(module: nn.Module) -> None:
    """As torchvision's SSDLite."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.03)
