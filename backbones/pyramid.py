"""A neck between backbone and head: maps of one width that all know what the coarsest one knows."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn
from torchvision.ops import FeaturePyramidNetwork

from .backbone import Backbone, FeatureInfo

Maps = list[torch.Tensor]


class FeaturePyramid(nn.Module):
    """A feature pyramid over a backbone (Lin et al., Feature pyramid networks for object detection, 2017).

    It has the contract of a `Backbone`, so every head takes it in its place: as many maps, with the same strides, all
    `out_channels` wide. From the coarsest on each map is enlarged and added to the next finer one, through a 1 x 1
    convolution before and a 3 x 3 one after. Choose the levels with the backbone's: `levels=(1, 2, 3, 4)` gives the
    paper's P2 to P5.
    """

    def __init__(self, backbone: Backbone, out_channels: int = 256) -> None:
        super().__init__()
        if out_channels < 1:
            raise ValueError(f"out_channels is {out_channels}, but a map has at least 1 channel.")
        self.backbone = backbone
        self.pyramid = FeaturePyramidNetwork(list(backbone.channels), out_channels)
        self.channels = (out_channels,) * len(backbone.channels)
        self.strides = backbone.strides
        self.layers = backbone.layers
        self.auxiliary = backbone.auxiliary

    def feature_info(self) -> list[FeatureInfo]:
        """As the backbone's, with the pyramid's channels."""
        infos = self.backbone.feature_info()
        return [info._replace(channels=width) for info, width in zip(infos, self.channels, strict=True)]

    def forward(self, images: torch.Tensor) -> Maps:
        """Images (N, C, H, W) to maps (N, out_channels, h, w), finest first; h and w as the backbone's."""
        return self.forward_with(images, ())[0]

    def forward_with(
        self, images: torch.Tensor, layers: Sequence[str]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The pyramid's maps, and the outputs of `layers` of the backbone, as `Backbone.forward_with`."""
        maps, outputs = self.backbone.forward_with(images, layers)
        return self._combine(maps), outputs

    def run(self, images: torch.Tensor, layers: Sequence[str]) -> tuple[Maps, Maps]:
        """As `forward_with`, but errors stay torch's."""
        maps, outputs = self.backbone.run(images, layers)
        return self._combine(maps), outputs

    def _combine(self, maps: Maps) -> Maps:
        return list(self.pyramid(OrderedDict((str(level), x) for level, x in enumerate(maps))).values())
