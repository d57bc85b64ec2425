"""Faster R-CNN (Ren et al., Faster R-CNN: towards real-time object detection with region proposal networks, 2015) on a
feature pyramid, on a single map, and on a single dilated map.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, clip_boxes_to_image, remove_small_boxes
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from ...backbones import Backbone
from ...core.errors import UsageError
from ..levels import levels_of_strides
from .anchors import anchor_generator
from .head import DetectionHead, Target
from .last_stage import MeanOfStage, fully_connected_of_vgg, split_last_stage
from .matching import match
from .options import DetectionOptions
from .suppression import Candidates, Suppression

MakeBackbone = Callable[..., Backbone]

_PYRAMID_STRIDES = (4, 8, 16, 32)
_STRIDE = 16  # of the single map, as in both papers
_HIDDEN = 4  # times the pyramid's 256 channels: 1024 numbers a region, Lin et al. 2017, section 4.2


class Outputs(NamedTuple):
    """Of the network over whole images; regions are pooled only once there are proposals."""

    maps: dict[str, torch.Tensor]
    images: ImageList
    objectness: torch.Tensor  # float32 (sum of anchors, 1)
    deltas: torch.Tensor  # float32 (sum of anchors, 4)
    anchors: list[torch.Tensor]  # N of (A, 4)
    anchors_of_maps: list[int]


class FasterRCNNHead(DetectionHead):
    """The neck, the network that proposes regions, and the one that classifies them.

    `neck` turns maps, by name, into those that both read. The parts are torchvision's, put together so that losses and
    boxes come of the same pass.
    """

    divisor = 32

    def __init__(self, neck: nn.Module, rpn: "ProposalNetwork", roi_heads: "RegionHeads", suppression: Suppression):
        super().__init__()
        self.neck = neck
        self.rpn = rpn
        self.roi_heads = roi_heads
        self.suppression = suppression

    def layers(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """See `DetectionHead`: the maps, the objectness of each, and the deltas of each."""
        maps = list(self.neck(OrderedDict((str(level), x) for level, x in enumerate(features))).values())
        objectness, deltas = self.rpn.head(maps)
        return [*maps, *objectness, *deltas]

    def outputs(self, answers: list[torch.Tensor], images: ImageList) -> Outputs:
        """See `DetectionHead`."""
        number = len(answers) // 3
        maps = {str(level): x for level, x in enumerate(answers[:number])}
        objectness, deltas = answers[number : 2 * number], answers[2 * number :]
        anchors = self.rpn.anchor_generator(images, [x[:0].float() for x in maps.values()])  # it asks for shapes alone
        counts = [x[0].numel() for x in objectness]
        objectness, deltas = concat_box_prediction_layers(objectness, deltas)
        return Outputs(maps, images, objectness.float(), deltas.float(), anchors, counts)

    def losses(self, outputs: Outputs, targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        """`rpn_objectness` and `rpn_box` over 256 anchors an image (Ren et al. 2015, equation 1), `classification` and
        `box` over `options.regions` an image (Girshick 2015, equation 1).
        """
        rpn = self.rpn
        wanted, boxes = rpn.assign_targets_to_anchors(outputs.anchors, targets)
        wanted_deltas = rpn.box_coder.encode(boxes, outputs.anchors)
        objectness, rpn_box = rpn.compute_loss(outputs.objectness, outputs.deltas, wanted, wanted_deltas)
        # Class 0 is the background here.
        shifted = [{"boxes": target["boxes"], "labels": target["labels"] + 1} for target in targets]
        proposals = self._proposals(outputs, learning=True)
        proposals, _, labels, wanted_deltas = self.roi_heads.select_training_samples(proposals, shifted)
        logits, deltas = self._classify(outputs, proposals)
        classification, box = fastrcnn_loss(logits, deltas, labels, wanted_deltas)
        return {"rpn_objectness": objectness, "rpn_box": rpn_box, "classification": classification, "box": box}

    def candidates(self, outputs: Outputs) -> list[Candidates]:
        """See `DetectionHead`: each of up to 1,000 regions once for every class of which it is sure enough."""
        proposals = self._proposals(outputs, learning=False)
        logits, deltas = self._classify(outputs, proposals)
        boxes = self.roi_heads.box_coder.decode(deltas, proposals)
        counts = [len(regions) for regions in proposals]
        parts = zip(boxes.split(counts), logits.softmax(dim=1).split(counts), outputs.images.image_sizes, strict=True)
        return [self._sure(boxes, scores, shape) for boxes, scores, shape in parts]

    def _proposals(self, outputs: Outputs, learning: bool) -> list[torch.Tensor]:
        self.rpn.training = learning  # says how many to keep, and nothing else: `rpn.forward` is not called
        proposals = self.rpn.box_coder.decode(outputs.deltas.detach(), outputs.anchors)
        proposals = proposals.view(len(outputs.anchors), -1, 4)
        shapes = outputs.images.image_sizes
        return self.rpn.filter_proposals(proposals, outputs.objectness, shapes, outputs.anchors_of_maps)[0]

    def _classify(self, outputs: Outputs, proposals: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        regions = self.roi_heads.box_roi_pool(outputs.maps, proposals, outputs.images.image_sizes)
        logits, deltas = self.roi_heads.box_predictor(self.roi_heads.box_head(regions))
        return logits.float(), deltas.float()

    def _sure(self, boxes: torch.Tensor, scores: torch.Tensor, shape: tuple[int, int]) -> Candidates:
        # `boxes` (R, C + 1, 4), `scores` (R, C + 1), the background first
        rows, labels = torch.where(scores[:, 1:] > self.suppression.score)
        boxes = clip_boxes_to_image(boxes[rows, labels + 1], shape)
        kept = remove_small_boxes(boxes, min_size=1e-2)
        return Candidates(boxes[kept], scores[rows, labels + 1][kept], labels[kept])


class ProposalNetwork(RegionProposalNetwork):
    """torchvision's, in memory that does not grow with the number of objects."""

    def assign_targets_to_anchors(
        self, anchors: list[torch.Tensor], targets: Sequence[Target]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """For each image whether each anchor is an object (1), background (0) or not to be learnt (-1), and its box."""
        pairs = [self._assign(own, target["boxes"]) for own, target in zip(anchors, targets, strict=True)]
        return [wanted for wanted, _ in pairs], [boxes for _, boxes in pairs]

    def _assign(self, anchors: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not len(boxes):
            return torch.zeros(len(anchors), device=anchors.device), torch.zeros_like(anchors)
        matcher = self.proposal_matcher
        matches = match(anchors, boxes, low=matcher.low_threshold, high=matcher.high_threshold, rescue="ties")
        return (matches.clamp(min=-1) + 1).clamp(max=1).float() - (matches == -2).float(), boxes[matches.clamp(min=0)]


class RegionHeads(RoIHeads):
    """torchvision's, in memory that does not grow with the number of objects."""

    def assign_targets_to_proposals(
        self, proposals: list[torch.Tensor], gt_boxes: list[torch.Tensor], gt_labels: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """For each image the index of each region's object, 0 where it has none, and its label: 0 background."""
        pairs = [self._assign(*parts) for parts in zip(proposals, gt_boxes, gt_labels, strict=True)]
        return [indices for indices, _ in pairs], [labels for _, labels in pairs]

    def _assign(
        self, proposals: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        matcher = self.proposal_matcher
        matches = match(proposals, boxes, low=matcher.low_threshold, high=matcher.high_threshold, rescue="none")
        indices = matches.clamp(min=0)
        if not len(boxes):
            return indices, torch.zeros_like(indices)
        return indices, torch.where(matches < 0, 0, labels[indices])


def build_fpn(
    make_backbone: MakeBackbone, options: DetectionOptions, *, num_classes: int, size: int
) -> tuple[Backbone, FasterRCNNHead]:
    """On a feature pyramid of strides 4 to 64 (Lin et al., Feature pyramid networks for object detection, 2017), with
    anchors of 32 to 512 pixels, one size a map.
    """
    return _build_on_pyramid(
        make_backbone, options, TwoMLPHead(options.channels * 7 * 7, _HIDDEN * options.channels), num_classes
    )


def build_fpn_v2(
    make_backbone: MakeBackbone, options: DetectionOptions, *, num_classes: int, size: int
) -> tuple[Backbone, FasterRCNNHead]:
    """The same with batch norm in the pyramid, a second convolution before the proposals, and four convolutions with
    batch norm in front of one fully connected layer (Li et al., Benchmarking detection transfer learning with vision
    transformers, 2021, appendix A): it learns from random numbers, too.
    """
    width = options.channels
    convolutions, hidden = [width] * 4, [_HIDDEN * width]
    box_head = FastRCNNConvFCHead((width, 7, 7), convolutions, hidden, norm_layer=nn.BatchNorm2d)
    return _build_on_pyramid(
        make_backbone, options, box_head, num_classes, norm_layer=nn.BatchNorm2d, convolutions_of_proposals=2
    )


def build_c4(
    make_backbone: MakeBackbone, options: DetectionOptions, *, num_classes: int, size: int
) -> tuple[Backbone, FasterRCNNHead]:
    """On the single map of stride 16, with anchors of 128, 256 and 512 pixels.

    What comes after the pooling of regions is the network's own end: its last stage (conv5 of a ResNet, He et al. 2015,
    appendix A), or the two fully connected layers of a VGG (Ren et al. 2015, section 3).
    """
    if options.backbone.startswith("vgg"):
        backbone = make_backbone(levels=levels_of_strides(options.backbone, (_STRIDE,)))
        box_head, width = fully_connected_of_vgg(options), 4096
        pool = MultiScaleRoIAlign(["0"], 7, sampling_ratio=2)
    else:
        backbone, stage, width = split_last_stage(make_backbone, options.backbone, _STRIDE)
        box_head = MeanOfStage(stage)
        pool = MultiScaleRoIAlign(["0"], 14, sampling_ratio=2)
    rpn = _proposal_network(options, backbone.channels[-1], _sizes_of_one_map())
    regions = _region_heads(options, pool, box_head, width, num_classes)
    head = FasterRCNNHead(nn.Identity(), rpn, regions, _suppression(options))
    head.from_backbone = [box_head]
    return backbone, head


def build_dc5(
    make_backbone: MakeBackbone, options: DetectionOptions, *, num_classes: int, size: int
) -> tuple[Backbone, FasterRCNNHead]:
    """On the last stage's map, dilated so that its stride is 16 (Dai et al., Deformable convolutional networks, 2017,
    section 4), with two fully connected layers after the pooling of regions.
    """
    backbone = make_backbone(output_stride=_STRIDE, levels=(-1,))
    if backbone.strides != (_STRIDE,):
        raise UsageError(
            f"The head fasterrcnn_dc5 dilates the stage of stride 32, but the last map of {options.backbone} has "
            f"{backbone.strides[-1]}; take a ResNet, or another model.head."
        )
    hidden = _HIDDEN * options.channels
    box_head = TwoMLPHead(backbone.channels[-1] * 7 * 7, hidden)
    pool = MultiScaleRoIAlign(["0"], 7, sampling_ratio=2)
    rpn = _proposal_network(options, backbone.channels[-1], _sizes_of_one_map())
    regions = _region_heads(options, pool, box_head, hidden, num_classes)
    return backbone, FasterRCNNHead(nn.Identity(), rpn, regions, _suppression(options))


def _build_on_pyramid(
    make_backbone: MakeBackbone,
    options: DetectionOptions,
    box_head: nn.Module,
    num_classes: int,
    *,
    norm_layer: type[nn.Module] | None = None,
    convolutions_of_proposals: int = 1,
) -> tuple[Backbone, FasterRCNNHead]:
    backbone = make_backbone(levels=levels_of_strides(options.backbone, _PYRAMID_STRIDES))
    width = options.channels
    extra = LastLevelMaxPool()
    neck = FeaturePyramidNetwork(list(backbone.channels), width, extra_blocks=extra, norm_layer=norm_layer)
    pool = MultiScaleRoIAlign([str(level) for level in range(len(backbone.channels))], 7, sampling_ratio=2)
    strides = (*backbone.strides, 2 * backbone.strides[-1])
    rpn = _proposal_network(options, width, [[8.0 * stride] for stride in strides], convolutions_of_proposals)
    regions = _region_heads(options, pool, box_head, _HIDDEN * width, num_classes)
    return backbone, FasterRCNNHead(neck, rpn, regions, _suppression(options))


def _sizes_of_one_map() -> list[list[float]]:
    return [[8.0 * _STRIDE, 16.0 * _STRIDE, 32.0 * _STRIDE]]


def _suppression(options: DetectionOptions) -> Suppression:
    return Suppression(0.05, 0.5, 100).with_options(options)


def _proposal_network(
    options: DetectionOptions, width: int, sizes: list[list[float]], convolutions: int = 1
) -> ProposalNetwork:
    anchors = anchor_generator(options.anchors, sizes=sizes, ratios=[[0.5, 1.0, 2.0]])
    # The numbers of torchvision's Faster R-CNN, which are those of Ren et al. 2015, section 3, and of Lin et al. 2017;
    # in training fewer for fewer regions to choose: on a CPU their suppression would take a third of a small network's
    # step.
    proposals = min(2000, 4 * options.regions)
    return ProposalNetwork(
        anchors,
        RPNHead(width, anchors.num_anchors_per_location()[0], conv_depth=convolutions),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": proposals, "testing": 1000},
        post_nms_top_n={"training": proposals, "testing": 1000},
        nms_thresh=0.7,
    )


def _region_heads(
    options: DetectionOptions, pool: nn.Module, box_head: nn.Module, width: int, num_classes: int
) -> RegionHeads:
    return RegionHeads(
        pool,
        box_head,
        FastRCNNPredictor(width, num_classes + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=options.regions,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=100,
    )
