"""Eigen, Puhrsch, Fergus, Depth map prediction from a single image using a multi-scale deep network, 2014.

A coarse network sees the whole image at once, through a fully connected layer; a fine one sees the image's details and
what the coarse one said, in squares of 45 pixels. The paper trains them one after the other, the coarse one
fixed while the fine one learns. Here both learn at once, each from its own loss, and no gradient of the fine one's
reaches the coarse one: what either is taught is the same.

The paper's convolutions have no padding, so that its 55 x 74 outputs show the middle of its images of 228 x 304. Here
they are padded and the outputs, of a quarter of the images' resolution, show all of them: 57 x 76.
"""

from collections.abc import Sequence

import torch
from torch import nn

from ...backbones import Backbone
from ...backbones.layers import initialise_for_relu
from ...core.errors import UsageError
from .full_image import WIDTH, FullImageView
from .head import (
    DepthHead,
    MakeBackbone,
    as_pair,
    check_size,
    in_channels_of,
    last_map_size,
    start_from,
    start_near_zero,
)

_STRIDE = 4
_IMAGE_MAPS = 63  # of the fine network's first convolution; with the coarse map 64


class Eigen2014Head(DepthHead):
    """The coarse network from conv5's pooled map on, and the fine network (figure 1 and section 3.1).

    `channels`: of the backbone's last map, which has `map_size` rows and columns for images of `size`, height and width
    in pixels, with `in_channels` colours. `width`: units of the hidden layer.
    """

    def __init__(
        self,
        channels: int,
        map_size: tuple[int, int],
        size: tuple[int, int],
        *,
        in_channels: int = 3,
        width: int = WIDTH,
    ) -> None:
        super().__init__(stride=_STRIDE, size=size)
        grid = ((size[0] + 1) // 2 // 2, (size[1] + 1) // 2 // 2)  # of the image's maps, below
        self.coarse = FullImageView(channels, map_size, maps=1, grid=grid, width=width)
        start_near_zero(self.coarse.maps, {"depth": 1})
        self.image = nn.Sequential(
            nn.Conv2d(in_channels, _IMAGE_MAPS, 9, stride=2, padding=4),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
        )
        self.fine = nn.Sequential(
            nn.Conv2d(_IMAGE_MAPS + 1, 64, 5, padding=2), nn.ReLU(), nn.Conv2d(64, 1, 5, padding=2)
        )
        initialise_for_relu(self.image)
        initialise_for_relu(self.fine)
        start_near_zero(self.fine[-1], {"depth": 1})
        start_from(self.fine, _IMAGE_MAPS, 1)

    def forward(self, features: list[torch.Tensor], images: torch.Tensor) -> dict[str, torch.Tensor]:
        """See `DepthHead`: "depth" and "coarse_depth", both (N, 1, H / 4, W / 4), rounded."""
        check_size(self, images)
        coarse = self.coarse(features[-1])
        return {"depth": self.fine(torch.cat([self.image(images), coarse.detach()], dim=1)), "coarse_depth": coarse}


def build_eigen2014(
    make_backbone: MakeBackbone,
    name: str,
    *,
    channels: int,
    size: int | Sequence[int],
    normals: bool = False,
    labels: int = 0,
    output_stride: int | None = None,
    width: int = WIDTH,
) -> tuple[Backbone, Eigen2014Head]:
    """On the last map of the backbone `name`: of AlexNet pool5, as in the paper.

    `size`: of all images, a side or height and width, in pixels. Raises UsageError for `normals`, `labels` or more than
    one channel, which this network has not, and for images too small for the backbone.
    """
    if normals or labels:
        raise UsageError("The head eigen2014 gives depth alone; for normals or labels take eigen2015, fcrn or unet.")
    if channels != 1:
        raise UsageError(
            f"The head eigen2014 gives one number a pixel, but this output reads {channels}: set model.output to log "
            "or linear, or take another head."
        )
    backbone = make_backbone(levels=(-1,), output_stride=output_stride or 32)
    sides = as_pair(size)
    map_size = last_map_size(backbone, name, sides)
    colours = in_channels_of(backbone)
    return backbone, Eigen2014Head(backbone.channels[-1], map_size, sides, in_channels=colours, width=width)
