"""Which object each anchor is to find, in memory that does not grow with the number of objects."""

from typing import Literal

import torch
from torchvision.ops import box_iou

BELOW = -1  # background
BETWEEN = -2  # neither an object nor background: not to be learnt from
_PAIRS_AT_ONCE = 2**24  # of boxes and anchors; 64 MiB of float32

Rescue = Literal["none", "ties", "best"]


def match(anchors: torch.Tensor, boxes: torch.Tensor, *, low: float, high: float, rescue: Rescue) -> torch.Tensor:
    """For each anchor the index of the box that it overlaps most; int64 (A,).

    `anchors` (A, 4) and `boxes` (K, 4), xyxy. An anchor whose IoU with its box is below `low` is BELOW, one from `low`
    to below `high` is BETWEEN. `rescue` gives boxes that no anchor overlaps enough some all the same: "ties", all
    anchors that overlap a box as much as its best one keep their own box (Ren et al. 2015, section 3.1.2; torchvision's
    `Matcher` with low-quality matches); "best", the best anchor of each box is given to it (Liu et al. 2016, section
    2.2; torchvision's `SSDMatcher`).
    """
    if not len(boxes):
        return torch.full((len(anchors),), BELOW, dtype=torch.int64, device=anchors.device)
    step = max(1, _PAIRS_AT_ONCE // len(boxes))
    parts = [box_iou(boxes, part).max(dim=0) for part in anchors.split(step)]
    overlaps, nearest = (torch.cat(columns) for columns in zip(*parts, strict=True))
    matches = torch.where(overlaps < high, BETWEEN, nearest)
    matches[overlaps < low] = BELOW
    if rescue == "none":
        return matches
    rows = max(1, _PAIRS_AT_ONCE // len(anchors))
    for start, part in zip(range(0, len(boxes), rows), boxes.split(rows), strict=True):
        overlap = box_iou(part, anchors)
        best, first = overlap.max(dim=1)
        if rescue == "best":
            own = torch.arange(start, start + len(part), device=anchors.device)
            matches.scatter_reduce_(0, first, own, "amax", include_self=False)  # of two boxes, the later one
        else:
            tied = (overlap == best[:, None]).any(dim=0)
            matches[tied] = nearest[tied]
    return matches
