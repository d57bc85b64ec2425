"""UNet++ (Zhou, Siddiquee, Tajbakhsh, Liang, UNet++: a nested U-Net architecture for medical image segmentation, 2018).

Between the encoder's map of a level and the decoder's stand further convolutions, which read the enlarged ones of the
level below: each level of them is a UNet of its own, and can be taken out alone.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ...backbones import Backbone
from ...backbones.layers import initialise_for_relu
from ...core.errors import UsageError
from .head import MakeBackbone, SegmentationHead, refuse
from .options import SegmentationOptions
from .unet import two_convolutions

_WIDTHS = (32, 64, 128, 256, 512)


class UNetPlusPlusHead(SegmentationHead):
    """Nested UNets on any backbone, with a map of logits from each of them.

    Node (i, j) reads, at the resolution of map i, all nodes (i, 0) to (i, j - 1) and the enlarged node (i + 1, j - 1)
    (equation 1); node (i, 0) is map i. Node (0, j), for j from 1 to `depth`, gives the logits of level j, which has
    read the maps 0 to j alone.

    `channels`, `strides`: the backbone's, finest first, two or more: UsageError otherwise. `widths`: channels of the
    nodes of map 0, 1 and so on, by default the paper's 32 times 2 to the power of i; the last counts for all further
    ones. Two 3 x 3 convolutions make a node, with batch norm, which the paper lacks and its authors' code has.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], num_classes: int, *, widths: Sequence[int] = _WIDTHS
    ) -> None:
        super().__init__(strides)
        if len(channels) < 2:
            raise UsageError(
                f"UNet++ reads two or more maps of its backbone, but it was given {len(channels)}: ask for more levels."
            )
        self.depth = len(channels) - 1
        self.stride = strides[0]
        outs = [widths[min(level, len(widths) - 1)] for level in range(self.depth)]
        self.nodes = nn.ModuleDict()
        for column in range(1, self.depth + 1):
            for level in range(self.depth + 1 - column):
                below = channels[level + 1] if column == 1 else outs[level + 1]
                joined = channels[level] + (column - 1) * outs[level] + below
                self.nodes[_name(level, column)] = two_convolutions(joined, outs[level])
        self.classifiers = nn.ModuleList(nn.Conv2d(outs[0], num_classes, 1) for _ in range(self.depth))
        initialise_for_relu(self)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """The logits of the last level, (N, `num_classes`, h, w): the paper's fast mode.

        h and w are those of the finest map times its stride. The mean of all of `levels` is its accurate mode.
        """
        return self.levels(features)[-1]

    def supervised(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Those of all levels, the last first."""
        return self.levels(features)[::-1]

    def levels(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """The logits of level 1 to `depth`, each (N, `num_classes`, h, w), for deep supervision (section 3.2).

        A loss on each of them, in training, makes each level a network that can stand alone.
        """
        nodes = {(level, 0): x for level, x in enumerate(features)}
        for column in range(1, self.depth + 1):
            for level in range(self.depth + 1 - column):
                beside = [nodes[level, earlier] for earlier in range(column)]
                below = _enlarged(nodes[level + 1, column - 1], *beside[0].shape[2:])
                nodes[level, column] = self.nodes[_name(level, column)](torch.cat([*beside, below], dim=1))
        height, width = (side * self.stride for side in features[0].shape[2:])
        logits = (layer(nodes[0, column + 1]) for column, layer in enumerate(self.classifiers))
        return [_enlarged(x, height, width) for x in logits]

    def prune(self, level: int) -> None:
        """Leave out what the logits of `level` do not need: `forward` gives them from then on (figure 1c).

        It reads the maps 0 to `level`; the backbone may leave out coarser ones. `level`: 1 to `depth`, else UsageError.
        """
        if not 1 <= level <= self.depth:
            raise UsageError(f"level is {level}, but this UNet++ has the levels 1 to {self.depth}: choose one of them.")
        for column in range(1, self.depth + 1):
            for row in range(max(0, level + 1 - column), self.depth + 1 - column):
                del self.nodes[_name(row, column)]
        self.classifiers = self.classifiers[:level]
        self.depth = level


def build_unetpp(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, UNetPlusPlusHead]:
    """On all maps of the backbone; `options.channels` is the width at the finest of them, 32 without."""
    refuse(options, "multi_grid")
    backbone = make_backbone(output_stride=options.output_stride or 32)
    widths = [(options.channels or _WIDTHS[0]) * 2**level for level in range(len(_WIDTHS))]
    return backbone, UNetPlusPlusHead(backbone.channels, backbone.strides, num_classes, widths=widths)


def _name(level: int, column: int) -> str:
    return f"{level}_{column}"


def _enlarged(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    if tuple(x.shape[2:]) == (height, width):
        return x
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
