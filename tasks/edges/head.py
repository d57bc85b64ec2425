"""What the task asks of every head that finds edges, and what builders of heads share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ...backbones import Backbone, cell_centres

MakeBackbone = Callable[..., Backbone]


class EdgeHead(nn.Module, ABC):
    """From a backbone's maps to logits of edges: one map of them a side output, and one of all together.

    `strides` and `centres` say where the cells of each side's map lie in the image: cell i at the pixel centre + i *
    stride (`cell_centres`; by default the cells cover it evenly). `margin`: how far the images are continued with 0,
    their mean colour, before the backbone sees them. `divisor`: images are to have sides of multiples of it.
    `detect_edges` does both, in what is exported, too (`pads`). `layers`: those of the backbone whose outputs `forward`
    reads, in place of its maps.
    """

    layers: tuple[str, ...] = ()
    fuse: nn.Conv2d
    pads = True

    def __init__(self, strides: Sequence[int], centres: Sequence[float] | None, margin: int) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.centres = tuple(centres or ((stride - 1) / 2 for stride in strides))
        self.margin = margin
        self.divisor = max(strides)

    def forward(self, features: list[torch.Tensor], size: Sequence[int] | None = None) -> list[torch.Tensor]:
        """Logits [side 1, ..., side K, all together], each (N, 1, H, W), no probabilities.

        `features`: the maps (N, C, h, w), or the outputs of `layers`, of images with their margin. `size`: (H, W) of
        the images without it; by default as large as the finest map says.
        """
        if size is None:
            size = [side * self.strides[0] - 2 * self.margin for side in features[0].shape[2:]]
        scores = self.scores(features)
        sides = [
            upsample(x, stride, centre - self.margin, size)
            for x, stride, centre in zip(scores, self.strides, self.centres, strict=True)
        ]
        return [*sides, self.fuse(torch.cat(sides, dim=1))]

    @abstractmethod
    def scores(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Logits (N, 1, h, w) of each side, at the resolution of its map."""

    def _make_fuse(self) -> nn.Conv2d:
        """Xie and Tu's `weighted fusion` (2015, section 3): a mean of all sides, until it has learnt another."""
        fuse = nn.Conv2d(len(self.strides), 1, 1)
        nn.init.constant_(fuse.weight, 1 / len(self.strides))
        assert fuse.bias is not None
        nn.init.zeros_(fuse.bias)
        return fuse


def detect_edges(backbone: Backbone, head: EdgeHead, images: torch.Tensor) -> list[torch.Tensor]:
    """Logits of `head`, see `EdgeHead.forward`, (N, 1, H, W) each, for normalised images, float (N, C, H, W), of any
    height and width.

    What is added to the images, their margin and what fills the last cells on the right and below, is 0.
    """
    height, width = images.shape[2:]
    margin, divisor = head.margin, head.divisor
    rest = [-(side + 2 * margin) % divisor for side in (width, height)]
    added = (margin, margin + rest[0], margin, margin + rest[1])
    padded = F.pad(images, added)  # also where that is nothing: an exported graph has no other way for other sizes
    features = backbone.forward_with(padded, head.layers)[1] if head.layers else backbone(padded)
    return head(features, (height, width))


def upsample(scores: torch.Tensor, stride: int, centre: float, size: Sequence[int]) -> torch.Tensor:
    """A map (N, C, h, w), whose cell i lies at the pixel centre + i * stride, to pixels (N, C, *size), bilinear; before
    its first cells and behind its last ones it goes on with their values.

    It is what a transposed convolution with bilinear weights gives (Xie and Tu learn them in the paper and fix them in
    their code, with the same result), but for the outermost cells, where that would mix in zeros. With the usual
    `align_corners=False` for all, edges of a ResNet's maps would come to lie (stride - 1) / 2 pixels off. Centres are
    taken to the half of a pixel.
    """
    half = (stride - 1) / 2
    offset = half - centre  # the pixel 0 is the pixel `offset` of the map upsampled evenly
    even = offset == round(offset) or stride == 1
    if not even:  # it lies at a whole pixel: cells at multiples of the stride, and so corners aligned
        offset = -centre
    offset = round(offset)
    before = max(0, math.ceil(-offset / stride))
    start = offset + before * stride
    for axis, side in zip((2, 3), size, strict=True):
        # Not padded where cells are missing, but clamped: an exported graph has no other way for other sizes. ONNX
        # divides towards 0, so nothing here is negative.
        cells = torch.arange((start + side + stride - 1) // stride + 1, device=scores.device) - before
        scores = scores.index_select(axis, cells.clamp(0, scores.shape[axis] - 1))
    if stride > 1:
        have = scores.shape[2:]
        fine = [side * stride for side in have] if even else [(side - 1) * stride + 1 for side in have]
        scores = F.interpolate(scores, fine, mode="bilinear", align_corners=not even)
    return scores[:, :, start : start + size[0], start : start + size[1]]


def places(backbone: Backbone) -> tuple[tuple[int, ...], list[float]]:
    """Strides and centres of a backbone's maps: where their cells lie."""
    return backbone.strides, cell_centres(backbone)
