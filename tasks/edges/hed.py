"""HED: Xie, Tu, Holistically-nested edge detection, 2015.

The released network, in Caffe, reads images with 35 pixels of padding at its first convolution, of which 1 is the
usual one, and cuts the outputs to the image: 34 pixels of mean colour around each image, without which the outermost
cells of conv5 see little but padding. `detect_edges` does that, and upsamples as Caffe does, about the middle of each
cell, so that the released weights give here what they gave there, but where a side of the image with its margin is no
multiple of 16: there Caffe's pools round up, while here the margin below and on the right gets wider. The margin costs
time (of an image of 321 x 481, 1.4 times; of a crop of 96, three times), so that networks other than VGG's have none.
"""

from collections.abc import Sequence

import torch
from torch import nn

from ...backbones import Backbone
from ..levels import learning_levels
from .head import EdgeHead, MakeBackbone, places

MARGIN = 34  # of the released network


class HEDHead(EdgeHead):
    """A 1 x 1 convolution to logits on each map, and one over all of these (section 3 of the paper).

    All start where Caffe's do: the sides at 0, the last one as their mean, with biases.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        *,
        centres: Sequence[float] | None = None,
        margin: int = 0,
    ) -> None:
        super().__init__(strides, centres, margin)
        self.sides = nn.ModuleList(nn.Conv2d(count, 1, 1) for count in channels)
        for parameter in self.sides.parameters():
            nn.init.zeros_(parameter)
        self.fuse = self._make_fuse()

    def scores(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """See `EdgeHead`."""
        return [side(x) for side, x in zip(self.sides, features, strict=True)]


def build_hed(
    make_backbone: MakeBackbone, name: str, *, margin: int | None = None, output_stride: int | None = None
) -> tuple[Backbone, HEDHead]:
    """On all maps of the backbone `name` but VGG's pool5: conv1_2, conv2_2, conv3_3, conv4_3 and conv5_3 of VGG-16.

    `margin`: see `EdgeHead`; by default 34 on a VGG, as released, else 0. Raises UsageError where `output_stride` is
    set and the network can't be dilated.
    """
    backbone = make_backbone(levels=learning_levels(name), output_stride=output_stride or 32)
    if margin is None:
        margin = MARGIN if name.startswith("vgg") else 0
    strides, centres = places(backbone)
    return backbone, HEDHead(backbone.channels, strides, centres=centres, margin=margin)
