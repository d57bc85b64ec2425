"""FCOS (Tian et al., FCOS: fully convolutional one-stage object detection, 2019), as its second version has it (FCOS: a
simple and strong anchor-free object detector, 2020).
"""

from collections.abc import Callable, Sequence

import torch
from torchvision.models.detection._utils import BoxLinearCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead as Subnets

from ...backbones import Backbone
from ...core.errors import UsageError
from ..levels import levels_of_strides
from .dense import PYRAMID_STRIDES, DenseHead, DenseOutputs, pyramid_to_p7
from .head import Target
from .matching import BELOW
from .options import DetectionOptions
from .suppression import Suppression

_STRIDES = (8, 16, 32, 64, 128)
_RADIUS = 1.5  # in strides: how far from the centre of its object a point may lie
_NUMBERS_AT_ONCE = 2**24  # distances from points to the sides of boxes; 64 MiB of float32
_GROUPS = 32  # of the subnets' group norms


class FCOSHead(DenseHead):
    """One point a place, which says of every class whether it lies in such an object, how far the object's sides are,
    and how near its centre is.
    """

    score_names = ("cls_logits", "bbox_ctrness")

    def losses(self, outputs: DenseOutputs, targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        """`classification`, the focal loss over all points; over those with an object `box_regression`, 1 - GIoU, and
        `centerness`, cross-entropy (Tian et al. 2020, section 3). All by the number of the latter in the batch.
        """
        matches = [
            assign(anchors, outputs.anchors_of_maps, target["boxes"])
            for anchors, target in zip(outputs.anchors, targets, strict=True)
        ]
        losses = self.subnets.compute_loss(targets, outputs.answers, outputs.anchors, matches)
        names = {"classification": "classification", "box_regression": "bbox_regression", "centerness": "bbox_ctrness"}
        return {name: losses[theirs] for name, theirs in names.items()}

    def scores(self, logits: torch.Tensor, centerness: torch.Tensor) -> torch.Tensor:
        """See `DenseHead`: the geometric mean of class and centerness."""
        return (logits.sigmoid() * centerness.sigmoid()).sqrt()

    def decode(self, deltas: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
        """See `DenseHead`: `deltas` are distances from the anchor's centre to the sides, in strides."""
        return BoxLinearCoder(normalize_by_size=True).decode(deltas, anchors)


def assign(anchors: torch.Tensor, anchors_of_maps: Sequence[int], boxes: torch.Tensor) -> torch.Tensor:
    """For each point the index of the box that it is to find, BELOW where there is none; int64 (A,).

    `anchors` (A, 4): squares around the points, as wide as the stride of their map, `anchors_of_maps` of each map,
    finest first; `boxes` (K, 4); both xyxy. A point may find a box that it lies in, whose centre is less than 1.5
    strides from it in both directions, and whose farthest side is 4 to 8 strides away; from 0 on the finest map, to any
    on the coarsest. Of several the smallest is its own (Tian et al. 2019, section 3.2; 2020, section 3.2).
    """
    if not len(boxes):
        return torch.full((len(anchors),), BELOW, dtype=torch.int64, device=anchors.device)
    points = (anchors[:, :2] + anchors[:, 2:]) / 2
    strides = anchors[:, 2] - anchors[:, 0]
    nearest, farthest = strides * 4, strides * 8
    nearest[: anchors_of_maps[0]] = 0
    farthest[len(anchors) - anchors_of_maps[-1] :] = torch.inf
    step = max(1, _NUMBERS_AT_ONCE // (4 * len(boxes)))
    parts = zip(*(column.split(step) for column in (points, strides, nearest, farthest)), strict=True)
    return torch.cat([_smallest_box(boxes, *part) for part in parts])


def _smallest_box(
    boxes: torch.Tensor, points: torch.Tensor, strides: torch.Tensor, nearest: torch.Tensor, farthest: torch.Tensor
) -> torch.Tensor:
    # (P, K): P points, K boxes
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    from_centre = (points[:, None] - centres).abs().amax(dim=2)
    to_sides = torch.cat([points[:, None] - boxes[:, :2], boxes[:, 2:] - points[:, None]], dim=2)
    reach = to_sides.amax(dim=2)
    fits = (to_sides.amin(dim=2) > 0) & (from_centre < _RADIUS * strides[:, None])
    fits &= (reach > nearest[:, None]) & (reach < farthest[:, None])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    smallest, indices = torch.where(fits, areas, torch.inf).min(dim=1)
    return torch.where(smallest.isinf(), BELOW, indices)


def build_fcos(
    make_backbone: Callable[..., Backbone], options: DetectionOptions, *, num_classes: int, size: int
) -> tuple[Backbone, FCOSHead]:
    """On maps of strides 8 to 128; without anchors."""
    given = [entry for entry in ("sizes", "ratios") if getattr(options.anchors, entry) is not None]
    if given:
        raise UsageError(f"model.anchors.{given[0]}: the head fcos has no anchors to set; leave it out.")
    if options.channels % _GROUPS or options.channels == _GROUPS:
        raise UsageError(
            f"model.channels is {options.channels}; the head fcos normalises channels in {_GROUPS} groups of two or "
            f"more: give a multiple of {_GROUPS}, {2 * _GROUPS} or more."
        )
    backbone = make_backbone(levels=levels_of_strides(options.backbone, PYRAMID_STRIDES))
    # torchvision's parts want a box for every point: as wide as the stride, so that offsets are in strides.
    anchors = AnchorGenerator(tuple((float(stride),) for stride in _STRIDES), ((1.0,),) * len(_STRIDES))
    subnets = Subnets(options.channels, 1, num_classes)
    suppression = Suppression(score=0.2, iou=0.6, most=100).with_options(options)
    return backbone, FCOSHead(pyramid_to_p7(backbone, options.channels), subnets, anchors, suppression)
