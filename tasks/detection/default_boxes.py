"""SSD's default boxes: the boxes around every place of every map that a prediction corrects (Liu et al. 2016, section
2.2).
"""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

import torch
from torch import nn

from ...core.errors import UsageError
from .anchors import Anchors, lists_of_maps
from .options import AnchorOptions

# Shares of the image, one more than maps: those of Liu et al. 2016, section 3.4, for COCO, rounded to whole percents as
# in the authors' files. torchvision's ssd300_vgg16 has the first.
_SSD300_SCALES = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
_SSD512_SCALES = (0.04, 0.1, 0.26, 0.42, 0.58, 0.74, 0.9, 1.06)


class DefaultBoxes(nn.Module):
    """The boxes of all maps, in pixels of the network's input, whatever pads the batch.

    `anchors`: for each map [s, s'] and ratios. A place has a square of side s, one of side sqrt(s s'), and for each
    ratio a box of area s² and one that lies across it. `size`: of an image, in pixels; no side is longer.

    Rounds as torchvision's `DefaultBoxGenerator`, in shares of `size`: of boxes that overlap an object alike, rounding
    says which is its own.
    """

    sides: torch.Tensor

    def __init__(self, anchors: Anchors, size: int) -> None:
        super().__init__()
        shapes = [_shapes(pair, ratios) for pair, ratios in zip(anchors.sizes, anchors.ratios, strict=True)]
        self.size = size
        self.numbers = [len(of_map) for of_map in shapes]  # of boxes at a place, for each map
        self.strides = anchors.strides
        sides = [[side / size for side in shape] for of_map in shapes for shape in of_map]
        self.register_buffer("sides", torch.tensor(sides).clamp(max=1), persistent=False)

    def forward(self, maps: Sequence[torch.Tensor], padded: tuple[int, int]) -> torch.Tensor:
        """float32 (A, 4), xyxy: row by row of `maps`, (N, C, h, w), for images padded to (H, W)."""
        of_maps = zip(maps, self.strides, self.sides.split(self.numbers), strict=True)
        return torch.cat([self._of_map(x, stride, sides, padded) for x, stride, sides in of_maps])

    def _of_map(self, x: torch.Tensor, stride: int, sides: torch.Tensor, padded: tuple[int, int]) -> torch.Tensor:
        # A map without padding has fewer places than the image has strides: they spread over all of it, as SSD300's
        # steps of 100 and 300 pixels do.
        steps = [max(stride, pixels / places) for pixels, places in zip(padded, x.shape[2:], strict=True)]
        y, x = (
            (torch.arange(places, device=sides.device) + 0.5) / (self.size / step)
            for places, step in zip(x.shape[2:], steps, strict=True)
        )
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        centres = torch.stack([columns, rows], dim=2).reshape(-1, 1, 2)
        halves = 0.5 * sides
        return torch.cat([centres - halves, centres + halves], dim=2).reshape(-1, 4) * self.size


def _shapes(pair: Sequence[float], ratios: Sequence[float]) -> list[tuple[float, float]]:
    """Widths and heights, in torchvision's order."""
    size, next_size = pair
    shapes = [(side, side) for side in (size, sqrt(size * next_size))]
    for ratio in ratios:
        width, height = size * sqrt(ratio), size / sqrt(ratio)
        shapes += [(width, height), (height, width)]
    return shapes


def ssd_vgg_anchors(strides: Sequence[int], size: int) -> Anchors:
    """Those of SSD300 and SSD512 on VGG-16, for images of `size` pixels; they have 6 and 7 maps."""
    scales = _SSD300_SCALES if len(strides) == 6 else _SSD512_SCALES
    return Anchors(_pairs(scales, size), _ratios(len(strides)), tuple(strides))


def ssd_anchors(strides: Sequence[int], size: int) -> Anchors:
    """Liu et al. 2016, equation 4: 0.1 of `size` for the first map, from 0.2 to 0.9 in even steps for the others."""
    scales = (0.1, *_even_steps(0.2, 0.9, len(strides) - 1), 1.05)
    return Anchors(_pairs(scales, size), _ratios(len(strides)), tuple(strides))


def ssdlite_anchors(strides: Sequence[int], size: int) -> Anchors:
    """Scales from 0.2 to 0.95 of `size` and six boxes at each place, as published SSDLites have them (torchvision's
    ssdlite320_mobilenet_v3_large); Sandler et al. 2018 give no numbers.
    """
    scales = (*_even_steps(0.2, 0.95, len(strides)), 1.0)
    return Anchors(_pairs(scales, size), [[2.0, 3.0] for _ in strides], tuple(strides))


def _even_steps(first: float, last: float, number: int) -> list[float]:
    return [first + (last - first) * step / max(number - 1, 1) for step in range(number)]


def _pairs(scales: Sequence[float], size: int) -> list[list[float]]:
    return [[scale * size, next_scale * size] for scale, next_scale in pairwise(scales)]


def _ratios(maps: int) -> list[list[float]]:
    """Four boxes on the first and the last two maps, six between (Liu et al. 2016, section 3.1)."""
    return [[2.0] if level in (0, maps - 2, maps - 1) else [2.0, 3.0] for level in range(maps)]


def with_options(default: Anchors, options: AnchorOptions) -> Anchors:
    """`default` with what a recipe puts in its place.

    Raises UsageError for lists that are not one a map, numbers that no box has, and sizes that are no rising pairs.
    """
    maps = len(default.strides)
    sizes = lists_of_maps(default.sizes if options.sizes is None else options.sizes, maps=maps, entry="sizes")
    ratios = lists_of_maps(default.ratios if options.ratios is None else options.ratios, maps=maps, entry="ratios")
    for pair in sizes:
        if len(pair) != 2 or pair[0] > pair[1]:
            raise UsageError(
                f"model.anchors.sizes holds the list [{', '.join(f'{size:g}' for size in pair)}]; an SSD head needs "
                "pairs, for each map the size of its boxes and that of the next map's, which is no smaller."
            )
    return Anchors([list(pair) for pair in sizes], [list(numbers) for numbers in ratios], default.strides)
