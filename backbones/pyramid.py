"""A neck between backbone and head: maps of one width that all know what the coarsest one knows."""

from collections import OrderedDict

import torch
from torch import nn
from torchvision.ops import FeaturePyramidNetwork

from .backbone import Backbone, FeatureInfo


class FeaturePyramid(nn.Module):
    """A feature pyramid over a backbone (Lin et al., Feature pyramid networks for object detection, 2017).

    It has the contract of a `Backbone`, so every head takes it in its place: as many maps, with the same strides, all
    `out_channels` wide. From the coarsest on each map is enlarged and added to the next finer one, through a 1 x 1
    convolution before and a 3 x 3 one after. Choose the levels with the backbone's: `levels=(1, 2, 3, 4)` gives the
    paper's P2 to P5.
    """

    def __init__(self, backbone: Backbone, out_channels: int = 256) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = FeaturePyramidNetwork(list(backbone.channels), out_channels)
        self.channels = (out_channels,) * len(backbone.channels)
        self.strides = backbone.strides

    def feature_info(self) -> list[FeatureInfo]:
        """As the backbone's, with the pyramid's channels."""
        infos = self.backbone.feature_info()
        return [info._replace(channels=width) for info, width in zip(infos, self.channels, strict=True)]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (N, C, H, W) to maps (N, out_channels, h, w), finest first; h and w as the backbone's."""
        maps = self.backbone(images)
        return list(self.pyramid(OrderedDict((str(level), x) for level, x in enumerate(maps))).values())
