"""A decoder with the backbone's finer maps beside it, to the image's own resolution: that of segmentation's UNet."""

from collections.abc import Mapping, Sequence

import torch

from ...backbones import Backbone
from ..segmentation.unet import UNetHead
from .head import DepthHead, MakeBackbone, start_near_zero, wanted_maps


class UNetDepthHead(DepthHead):
    """UNet's way up on any backbone (`UNetHead`), which ends in a 3 x 3 convolution to the channels of all `wanted`
    outputs, given by their names with their channels.

    `channels`, `strides`: those of the backbone's maps, finest first.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], wanted: Mapping[str, int]) -> None:
        super().__init__(stride=1, divisor=max(strides))
        self.wanted = dict(wanted)
        self.decoder = UNetHead(channels, strides, sum(wanted.values()))
        start_near_zero(self.decoder.classifier, wanted)

    def forward(self, features: list[torch.Tensor], images: torch.Tensor) -> dict[str, torch.Tensor]:
        """See `DepthHead`; all maps have the resolution of the images."""
        maps = self.decoder(features).split(list(self.wanted.values()), dim=1)
        return dict(zip(self.wanted, maps, strict=True))


def build_unet(
    make_backbone: MakeBackbone,
    name: str,
    *,
    channels: int,
    size: int | Sequence[int] | None = None,
    normals: bool = False,
    labels: int = 0,
    output_stride: int | None = None,
) -> tuple[Backbone, UNetDepthHead]:
    """On all maps of the backbone, for images of any size. Raises UsageError where `output_stride` is set and the
    network can't be dilated.
    """
    backbone = make_backbone(output_stride=output_stride or 32)
    wanted = wanted_maps(channels, normals, labels)
    return backbone, UNetDepthHead(backbone.channels, backbone.strides, wanted)
