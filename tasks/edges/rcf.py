"""RCF: Liu, Cheng, Hu, Wang, Bai, Richer convolutional features for edge detection, 2017.

The paper's VGG-16 has no pool5, its pool4 goes by single cells, and conv5 is dilated by 2: `output_stride=8` of the
backbone. So conv5's cells lie half a cell, 4 pixels, further on than those of a map of stride 8 usually do, which
`cell_centres` knows and `upsample` undoes, as the crops of the released network do.
"""

from collections.abc import Sequence

import torch
from torch import nn

from ...backbones import Backbone
from ..levels import learning_levels
from .head import EdgeHead, MakeBackbone, places

_WIDTH = 21  # channels to which each convolution's output is brought, section 3.1


class RCFHead(EdgeHead):
    """For each stage the outputs of all its convolutions, each brought to 21 channels by a 1 x 1 convolution and added
    up, then logits by another; one more over all of these (section 3.1 and figure 2).

    `layers`: for each stage the layers of the backbone that it reads; `channels`: those of their outputs. All weights
    start as draws of a deviation of 0.01, but the last, which starts as the mean of the stages (section 4).
    """

    def __init__(
        self,
        channels: Sequence[Sequence[int]],
        strides: Sequence[int],
        *,
        layers: Sequence[Sequence[str]] = (),
        centres: Sequence[float] | None = None,
        margin: int = 0,
        width: int = _WIDTH,
    ) -> None:
        super().__init__(strides, centres, margin)
        self.layers = tuple(layer for stage in layers for layer in stage)
        self.reductions = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(count, width, 1) for count in stage) for stage in channels
        )
        self.sides = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in channels)
        for name, parameter in self.named_parameters():
            nn.init.normal_(parameter, std=0.01) if name.endswith("weight") else nn.init.zeros_(parameter)
        self.fuse = self._make_fuse()

    def scores(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """See `EdgeHead`; `features` are the outputs of all layers, stage by stage."""
        outputs = iter(features)
        scores = []
        for reductions, side in zip(self.reductions, self.sides, strict=True):
            assert isinstance(reductions, nn.ModuleList)
            stage = [reduce(next(outputs)) for reduce in reductions]
            total = stage[-1]
            for x in stage[:-1]:
                total = total + _middle(x, total.shape[2:])
            scores.append(side(total))
        return scores


def build_rcf(
    make_backbone: MakeBackbone, name: str, *, margin: int | None = None, output_stride: int | None = None
) -> tuple[Backbone, RCFHead]:
    """On the output of every convolution of a VGG, behind its ReLU, and of every block of a ResNet and its relatives,
    as far as the backbone lists them as layers; of the networks from timm on the last map of each stage.

    `margin`: see `EdgeHead`; by default 0. `output_stride`: by default 8 on a VGG, as in the paper, else 32, which
    leaves the network as it is. Raises UsageError where it is set and the network can't be dilated.
    """
    dilated = output_stride or (8 if name.startswith("vgg") else 32)
    backbone = make_backbone(levels=learning_levels(name), output_stride=dilated)
    layers = stage_layers(backbone)
    channels = [[backbone.layers[layer].channels for layer in stage] for stage in layers]
    strides, centres = places(backbone)
    return backbone, RCFHead(channels, strides, layers=layers, centres=centres, margin=margin or 0)


def stage_layers(backbone: Backbone) -> list[list[str]]:
    """For each map of a backbone, the layers of its stage that convolve or attend, or what follows each of them at its
    resolution and only normalises or bends: where the features of each can be read.
    """
    ends = [info.layer for info in backbone.feature_info()]
    modules = dict(backbone.named_modules())
    stages: list[list[str]] = [[]]
    follows = False
    for path in backbone.layers:
        module = modules.get(path)
        if module is None or any(parameter.ndim > 1 for parameter in module.parameters()):
            stages[-1].append(path)
            follows = True
        elif any(isinstance(part, nn.MaxPool2d | nn.AvgPool2d) for part in module.modules()):
            follows = False
        elif follows:
            stages[-1][-1] = path
        if path in ends:
            stages.append([])
            follows = False
    return stages[:-1]


def _middle(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """What convolutions without padding, as Inception has them, leave of a map: of its `size`, around its middle."""
    top, left = ((have - wanted) // 2 for have, wanted in zip(x.shape[2:], size, strict=True))
    return x[:, :, top : top + size[0], left : left + size[1]]
