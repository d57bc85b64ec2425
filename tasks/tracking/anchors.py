"""The boxes that SiamRPN starts from, on the cells of its response, and the way from them to others and back.

Boxes are xyxy in pixels of the search crop.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torchvision.ops import box_convert, box_iou

RATIOS = (1 / 3, 1 / 2, 1.0, 2.0, 3.0)  # height by width: Li et al. 2018 (SiamRPN), section 3.2
_ALIKE, _UNLIKE = 0.6, 0.3  # intersection over union, above and below which an anchor shows the target and does not
_MOST_ALIKE, _MOST = 16, 64  # anchors of a pair that are learnt from: with the target, and in all (section 3.4)
_MOST_CHANGE = math.log(1000)  # of sides; more is no answer, and would be infinite


class Chosen(NamedTuple):
    """Which of A anchors N pairs learn from, bool (N, A) each."""

    target: torch.Tensor
    other: torch.Tensor


def anchor_grid(
    cells: int, *, stride: float, search_size: float, side: float = 64.0, ratios: Sequence[float] = RATIOS
) -> torch.Tensor:
    """float32 (K, cells, cells, 4): around each cell of a response, rows first, K boxes as large as a square of `side`.

    The cells are `stride` pixels apart, and the middle of all is that of the search crop, so that a target which stays
    where it is gets no drift. `ratios` are those of height by width.
    """
    places = search_size / 2 + stride * (torch.arange(cells, dtype=torch.float64) - (cells - 1) / 2)
    y, x = torch.meshgrid(places, places, indexing="ij")
    shapes = torch.tensor([(side / math.sqrt(ratio), side * math.sqrt(ratio)) for ratio in ratios], dtype=torch.float64)
    middles = torch.stack((x, y), dim=-1).expand(len(ratios), -1, -1, -1)
    sides = shapes[:, None, None].expand(-1, cells, cells, -1)
    return box_convert(torch.cat((middles, sides), dim=-1), "cxcywh", "xyxy").float()


def encode(boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """(..., 4) of boxes and anchors (..., 4): how far the middle moves to the right and down, in sides of the anchor,
    and the logarithms of how many times as wide and high the box is (section 3.2, the equations of delta).
    """
    box, anchor = box_convert(boxes, "xyxy", "cxcywh"), box_convert(anchors, "xyxy", "cxcywh")
    moves = (box[..., :2] - anchor[..., :2]) / anchor[..., 2:]
    return torch.cat((moves, (box[..., 2:] / anchor[..., 2:]).log()), dim=-1)


def decode(offsets: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """The boxes of which `encode` made `offsets` (..., 4), with sides of a 1,000th to 1,000 times the anchors'."""
    anchor = box_convert(anchors, "xyxy", "cxcywh")
    middles = anchor[..., :2] + offsets[..., :2] * anchor[..., 2:]
    sides = anchor[..., 2:] * offsets[..., 2:].clamp(-_MOST_CHANGE, _MOST_CHANGE).exp()
    return torch.cat((middles - sides / 2, middles + sides / 2), dim=-1)


def choose(anchors: torch.Tensor, boxes: torch.Tensor, mistaken: torch.Tensor) -> Chosen:
    """Of anchors (A, 4), those that pairs with targets at boxes (N, 4) learn from.

    With the target: at most 16 of those that overlap it by more than 0.6, the nearest; where none does, the nearest of
    all, if it overlaps by 0.3 (Ren et al. 2015, section 3.1.2), so that a long target is learnt too. Without: of those
    below 0.3 as many as make 64, the most `mistaken` (N, A) (Liu et al. 2016 (SSD), section 2.2). The paper draws both
    by chance; this choice is the same each time.
    """
    overlaps = box_iou(boxes, anchors)
    nearest = overlaps.amax(dim=1, keepdim=True)
    alike = (overlaps > _ALIKE) | ((overlaps == nearest) & (nearest >= _UNLIKE))
    target = _first(overlaps, alike, torch.full_like(nearest, _MOST_ALIKE))
    other = _first(mistaken, overlaps < _UNLIKE, _MOST - target.sum(dim=1, keepdim=True))
    return Chosen(target, other)


def _first(values: torch.Tensor, among: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Of the places (N, A) that are `among`, the `count` (N, 1) with the highest values; the first of equal ones."""
    order = values.masked_fill(~among, -math.inf).argsort(dim=1, descending=True, stable=True)
    ranks = order.argsort(dim=1)
    return among & (ranks < count)
