"""FCRN: Laina, Rupprecht, Belagiannis, Tombari, Navab, Deeper depth prediction with fully convolutional residual
networks, 2016.

The network on ResNet-50 of the paper, to the map of half the resolution, has the 63.6 million parameters of its table
1. Its first input, 228 x 304 pixels, gives 128 x 160 cells, which cover the 256 x 320 that the image is padded to.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ...backbones import Backbone
from .head import DepthHead, MakeBackbone, predictors, wanted_maps

_STRIDE = 2  # of the outputs
_FEWEST = 16  # channels


class UpConvolution(nn.ConvTranspose2d):
    """Unpooling, each value to the upper left of 2 x 2 cells whose others are 0, and a 5 x 5 convolution (section 3.2,
    figure 2 (a)).

    (N, `in_channels`, H, W) to (N, `out_channels`, 2 H, 2 W). Three in four products of the plain form are with zeros.
    The paper's fast form, (b), leaves these out by four convolutions of 3 x 3, 2 x 3, 3 x 2 and 2 x 2 weights, whose
    outputs it interleaves. One transposed convolution makes the same products in a single step, which on a CPU takes
    two thirds of the time in training. Without a bias, since batch norm follows.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 5, stride=2, padding=2, output_padding=1, bias=False)
        nn.init.normal_(self.weight, std=(2 / (in_channels * 25 / 4)) ** 0.5)  # He et al. 2015; of 25 weights 1/4 count


class UpProjection(nn.Module):
    """Figure 2 (c), as fast as (d): up-convolution, ReLU, a 3 x 3 convolution, and beside them an up-convolution that
    projects to their sum. Both up-convolutions read the same map, and are one, of twice the channels.

    (N, `in_channels`, H, W) to (N, `out_channels`, 2 H, 2 W).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = UpConvolution(in_channels, 2 * out_channels)
        self.up_norm = nn.BatchNorm2d(2 * out_channels)
        self.convolution = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        branch, projection = self.up_norm(self.up(x)).chunk(2, dim=1)
        return (self.norm(self.convolution(branch.relu())) + projection).relu()


class FCRNHead(DepthHead):
    """A 1 x 1 convolution to half of the channels, and up-projections that halve them again and double the size, until
    the maps have half of the image's resolution: four of them on a map of stride 32 (table 1 and figure 1).

    `channels` and `stride`: of the backbone's last map. `wanted`: the names of the outputs with their channels, each of
    which has a 3 x 3 convolution of its own at the end. `dropout`: the share of values before it that training leaves
    out.
    """

    def __init__(self, channels: int, stride: int, wanted: Mapping[str, int], *, dropout: float = 0.0) -> None:
        super().__init__(stride=min(stride, _STRIDE), divisor=stride)
        width = max(_FEWEST, channels // 2)
        self.reduce = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))
        self.ups = nn.Sequential()
        while stride > _STRIDE:
            self.ups.append(UpProjection(width, max(_FEWEST, width // 2)))
            width, stride = max(_FEWEST, width // 2), stride // 2
        self.dropout = nn.Dropout(dropout)
        self.predictors = predictors(width, wanted, kernel=3)

    def forward(self, features: list[torch.Tensor], images: torch.Tensor) -> dict[str, torch.Tensor]:
        """See `DepthHead`; all maps have half of the images' resolution, or that of `features` where it is finer."""
        x = self.dropout(self.ups(self.reduce(features[-1])))
        return {name: layer(x) for name, layer in self.predictors.items()}


def build_fcrn(
    make_backbone: MakeBackbone,
    name: str,
    *,
    channels: int,
    size: int | Sequence[int] | None = None,
    normals: bool = False,
    labels: int = 0,
    output_stride: int | None = None,
) -> tuple[Backbone, FCRNHead]:
    """On the last map of the backbone, for images of any size. Raises UsageError where `output_stride` is set and the
    network can't be dilated.
    """
    backbone = make_backbone(levels=(-1,), output_stride=output_stride or 32)
    return backbone, FCRNHead(backbone.channels[-1], backbone.strides[-1], wanted_maps(channels, normals, labels))
