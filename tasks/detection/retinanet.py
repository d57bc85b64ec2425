"""RetinaNet (Lin et al., Focal loss for dense object detection, 2017)."""

from collections.abc import Callable, Sequence

import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.retinanet import RetinaNetHead as Subnets

from ...backbones import Backbone
from ..levels import levels_of_strides
from .anchors import anchor_generator, default_anchors
from .dense import PYRAMID_STRIDES, DenseHead, DenseOutputs, pyramid_to_p7
from .head import Target
from .matching import match
from .options import DetectionOptions
from .suppression import Suppression

_OBJECT, _BACKGROUND = 0.5, 0.4  # IoU from which an anchor is an object's, and below which it is nobody's: section 4


class RetinaNetHead(DenseHead):
    """Nine anchors a place, each with a score for every class and a box. No class stands for the background."""

    score_names = ("cls_logits",)

    def losses(self, outputs: DenseOutputs, targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        """`classification`, the focal loss over all anchors (equation 5, alpha 0.25, gamma 2), and `box_regression`, L1
        over those that have an object; both by the number of the latter, and the mean over images.
        """
        matches = [
            match(anchors, target["boxes"], low=_BACKGROUND, high=_OBJECT, rescue="ties")
            for anchors, target in zip(outputs.anchors, targets, strict=True)
        ]
        losses = self.subnets.compute_loss(targets, outputs.answers, outputs.anchors, matches)
        return {"classification": losses["classification"], "box_regression": losses["bbox_regression"]}

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """See `DenseHead`."""
        return logits.sigmoid()

    def decode(self, deltas: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
        """See `DenseHead`."""
        return BoxCoder((1.0, 1.0, 1.0, 1.0)).decode_single(deltas, anchors)


def build_retinanet(
    make_backbone: Callable[..., Backbone], options: DetectionOptions, *, num_classes: int, size: int
) -> tuple[Backbone, RetinaNetHead]:
    """On maps of strides 8 to 128, with anchors of 32 to 813 pixels, three sizes and three ratios a map."""
    defaults = default_anchors(options, size)
    anchors = anchor_generator(options.anchors, sizes=defaults.sizes, ratios=defaults.ratios)
    backbone = make_backbone(levels=levels_of_strides(options.backbone, PYRAMID_STRIDES))
    subnets = Subnets(options.channels, anchors.num_anchors_per_location()[0], num_classes)
    suppression = Suppression(score=0.05, iou=0.5, most=300).with_options(options)
    return backbone, RetinaNetHead(pyramid_to_p7(backbone, options.channels), subnets, anchors, suppression)
