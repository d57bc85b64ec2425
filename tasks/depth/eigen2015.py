"""Eigen, Fergus, Predicting depth, surface normals and semantic labels with a common multi-scale convolutional
architecture, 2015.

Scale 1 sees the whole image through fully connected layers; scale 2, at a quarter of the image's resolution, joins what
scale 1 saw with the image's details; scale 3 refines that at half of the resolution, from scale 2's outputs and the
image again. Outputs share scale 1; each has its own convolutions in scales 2 and 3, and in scale 3 they all read those
of all in scale 2, as in the authors' network for depth and normals (labels they give by a network of their own).

The paper trains scales 1 and 2 first, then scale 3 with these fixed. Here all learn at once, scales 1 and 2 from a loss
of their own outputs, "coarse_...", and no gradient from scale 3 reaches them: what each is taught is the same. As in
`eigen2014`, convolutions are padded, so that the outputs show the whole image: 114 x 152 of 228 x 304, where the paper
has the 109 x 147 in its middle.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import nn

from ...backbones import Backbone
from ...backbones.layers import initialise_for_relu
from .full_image import WIDTH, FullImageView
from .head import (
    COARSE,
    DepthHead,
    MakeBackbone,
    as_pair,
    check_size,
    in_channels_of,
    last_map_size,
    predictors,
    resized,
    start_from,
    wanted_maps,
)

_STRIDE = 2  # of the outputs of scale 3
_VIEW_MAPS, _VIEW_STRIDE = 64, 16  # of scale 1: 64 maps of 14 x 19 cells for 228 x 304 pixels
_IMAGE_MAPS = 96  # of the first convolutions of scales 2 and 3
_MAPS = 64  # of all further ones


class Eigen2015Head(DepthHead):
    """Scale 1 from VGG's pool5 on, scales 2 and 3 (figure 1).

    `wanted`: the names of the outputs, "depth", "normals" or "labels", with their channels. `channels`: of the
    backbone's last map, which has `map_size` rows and columns for images of `size`, height and width in pixels, with
    `in_channels` colours. `width`: units of the hidden layer.
    """

    def __init__(
        self,
        channels: int,
        map_size: tuple[int, int],
        size: tuple[int, int],
        wanted: Mapping[str, int],
        *,
        in_channels: int = 3,
        width: int = WIDTH,
    ) -> None:
        super().__init__(stride=_STRIDE, size=size)
        grid = (max(1, round(size[0] / _VIEW_STRIDE)), max(1, round(size[1] / _VIEW_STRIDE)))
        self.view = FullImageView(channels, map_size, maps=_VIEW_MAPS, grid=grid, width=width)
        self.image2 = _image_maps(in_channels, nn.MaxPool2d(3, stride=2, ceil_mode=True))
        self.scale2 = _stacks(_VIEW_MAPS + _IMAGE_MAPS, wanted, hidden=3)
        self.image3 = _image_maps(in_channels, nn.MaxPool2d(3, stride=1, padding=1))
        self.scale3 = _stacks(_IMAGE_MAPS + sum(wanted.values()), wanted, hidden=2)
        for first, (name, stack) in zip(accumulate(wanted.values(), initial=0), self.scale3.items(), strict=False):
            start_from(stack, first, wanted[name])

    def forward(self, features: list[torch.Tensor], images: torch.Tensor) -> dict[str, torch.Tensor]:
        """See `DepthHead`: those of scale 3, (N, C, H / 2, W / 2), and of scale 2, coarse, (N, C, H / 4, W / 4)."""
        check_size(self, images)
        details = self.image2(images)
        view = resized(self.view(features[-1]).relu(), details.shape[2:])
        joined = torch.cat([view, details], dim=1)
        coarse = {name: stack(joined) for name, stack in self.scale2.items()}
        details = self.image3(images)
        said = [resized(_told(name, x.detach()), details.shape[2:]) for name, x in coarse.items()]
        joined = torch.cat([*said, details], dim=1)
        fine = {name: stack(joined) for name, stack in self.scale3.items()}
        return {**fine, **{COARSE + name: x for name, x in coarse.items()}}


def build_eigen2015(
    make_backbone: MakeBackbone,
    name: str,
    *,
    channels: int,
    size: int | Sequence[int],
    normals: bool = False,
    labels: int = 0,
    output_stride: int | None = None,
    width: int = WIDTH,
) -> tuple[Backbone, Eigen2015Head]:
    """On the last map of the backbone `name`: of VGG-16 pool5, as in the paper.

    `size`: of all images, a side or height and width, in pixels. Raises UsageError for images too small for the
    backbone.
    """
    backbone = make_backbone(levels=(-1,), output_stride=output_stride or 32)
    sides = as_pair(size)
    return backbone, Eigen2015Head(
        backbone.channels[-1],
        last_map_size(backbone, name, sides),
        sides,
        wanted_maps(channels, normals, labels),
        in_channels=in_channels_of(backbone),
        width=width,
    )


def _image_maps(in_channels: int, pool: nn.Module) -> nn.Sequential:
    layers = nn.Sequential(nn.Conv2d(in_channels, _IMAGE_MAPS, 9, stride=2, padding=4), nn.ReLU(), pool)
    initialise_for_relu(layers)
    return layers


def _stacks(in_channels: int, wanted: Mapping[str, int], *, hidden: int) -> nn.ModuleDict:
    """For each output 5 x 5 convolutions with ReLUs, and one without."""
    lasts = predictors(_MAPS, wanted, kernel=5)
    stacks = nn.ModuleDict()
    for name in wanted:
        layers = nn.Sequential()
        for index in range(hidden):
            layers.append(nn.Conv2d(_MAPS if index else in_channels, _MAPS, 5, padding=2)).append(nn.ReLU())
        initialise_for_relu(layers)
        stacks[name] = layers.append(lasts[name])
    return stacks


def _told(name: str, raw: torch.Tensor) -> torch.Tensor:
    """What scale 3 is told of an output of scale 2: normals are of unit length."""
    return F.normalize(raw, dim=1) if name == "normals" else raw
