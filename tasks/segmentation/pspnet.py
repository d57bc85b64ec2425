"""PSPNet (Zhao, Shi, Qi, Wang, Jia, Pyramid scene parsing network, 2017)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ...backbones import Backbone
from ...backbones.layers import SteadyBatchNorm2d
from .head import MakeBackbone, SegmentationHead, make_dilated_backbone, refuse
from .options import SegmentationOptions

_BINS = (1, 2, 3, 6)  # section 3.2


class PSPNetHead(SegmentationHead):
    """Means over 1 x 1, 2 x 2, 3 x 3 and 6 x 6 parts of the map, each through a 1 x 1 convolution to a quarter of its
    channels, upsampled and put beside it; a 3 x 3 convolution to `width` channels and the scores follow.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int, *, width: int = 512) -> None:
        super().__init__(strides)
        part = max(1, channels[-1] // len(_BINS))
        self.means = nn.ModuleList(_mean(channels[-1], part, bins) for bins in _BINS)
        self.layers = nn.Sequential(
            nn.Conv2d(channels[-1] + len(_BINS) * part, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(width, num_classes, 1),
        )

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, H, W), finest first, to logits (N, num_classes, h, w) of the size of the last."""
        x = features[-1]
        means = [F.interpolate(mean(x), x.shape[2:], mode="bilinear", align_corners=False) for mean in self.means]
        return self.layers(torch.cat([x, *means], dim=1))


def build_pspnet(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, PSPNetHead]:
    """At stride 8."""
    refuse(options, "multi_grid")
    backbone = make_dilated_backbone(make_backbone, options, output_stride=8)
    return backbone, PSPNetHead(backbone.channels, backbone.strides, num_classes, width=options.channels or 512)


def _mean(channels: int, width: int, bins: int) -> nn.Sequential:
    # A batch of a single image has a single value a channel where there is one bin.
    norm = SteadyBatchNorm2d(width)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(bins), nn.Conv2d(channels, width, 1, bias=False), norm, nn.ReLU(inplace=True)
    )
