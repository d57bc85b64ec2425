"""SSD (Liu et al., SSD: single shot multibox detector, 2016) and SSDLite (Sandler et al., MobileNetV2, 2018, section
6.2).

`ssd` on vgg16 is the paper's SSD300 or SSD512. On any other backbone it reads those of the strides 8, 16 and 32 that
there are, from 8 on as the paper for the sake of small objects, and makes coarser maps until a single cell sees the
whole image. `ssdlite` does so from stride 16 on, as its paper, for the sake of speed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSDHead as Predictor
from torchvision.models.detection.ssdlite import SSDLiteHead as LitePredictor
from torchvision.ops import clip_boxes_to_image

from ...backbones import Backbone
from ...backbones.layers import SteadyBatchNorm2d
from ...backbones.probe import blank_image, shapeless_maps, smallest_image
from ...core.errors import UsageError
from ..build import build_backbone
from ..levels import levels_of_strides, strides_of
from .anchors import Anchors
from .default_boxes import DefaultBoxes, ssd_anchors, ssd_vgg_anchors, ssdlite_anchors, with_options
from .head import DetectionHead, Target
from .matching import match
from .options import AnchorOptions, DetectionOptions
from .ssd_layers import (
    FC_CHANNELS,
    ExtraMap,
    L2Norm,
    SSDMaps,
    convolutions_of_vgg,
    extra_layers,
    lite_extra_layers,
)
from .suppression import Candidates, Suppression

MakeBackbone = Callable[..., Backbone]

_OBJECT = 0.5  # IoU from which a default box is an object's: section 2.2
_NEGATIVES = 3  # for each default box that has an object: section 2.2, hard negative mining
_CANDIDATES_OF_CLASS = 400  # of an image, before suppression: the authors' files, and torchvision
_LEAST_SIDE = 32  # of a batch, in pixels
_LARGE = 512  # pixels from which VGG-16 gets the layers of SSD512
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)


class SSDOutputs(NamedTuple):
    """Of all A default boxes of N images, those of the finest map first."""

    logits: torch.Tensor  # float32 (N, A, C + 1), the background first
    deltas: torch.Tensor  # float32 (N, A, 4)
    default_boxes: torch.Tensor  # float32 (A, 4), xyxy
    shapes: list[tuple[int, int]]  # (h, w) of each image without padding


class SSDHead(DetectionHead):
    """More maps, and for each default box of each a class and a correction.

    `predictor` is torchvision's `SSDHead` or `SSDLiteHead`.
    """

    def __init__(
        self,
        maps: SSDMaps,
        predictor: nn.Module,
        default_boxes: DefaultBoxes,
        suppression: Suppression,
        divisor: int,
    ) -> None:
        super().__init__()
        self.maps = maps
        self.predictor = predictor
        self.default_boxes = default_boxes
        self.suppression = suppression
        self.divisor = divisor
        self.box_coder = BoxCoder((10.0, 10.0, 5.0, 5.0))  # the authors' variances, 0.1 and 0.2

    def layers(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """See `DetectionHead`: logits, deltas, and a channel of each map, for its shape."""
        maps = self.maps(features)
        answers = self.predictor(maps)
        return [answers["cls_logits"], answers["bbox_regression"], *(x[:, :1] for x in maps)]

    def outputs(self, answers: list[torch.Tensor], images: ImageList) -> SSDOutputs:
        """See `DetectionHead`."""
        logits, deltas, *maps = answers
        height, width = images.tensors.shape[2:]
        default_boxes = self.default_boxes(maps, (height, width))
        return SSDOutputs(logits.float(), deltas.float(), default_boxes, list(images.image_sizes))

    def losses(self, outputs: SSDOutputs, targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        """`classification`, cross-entropy over default boxes with an object and the hardest ones without, three times
        as many, and `localisation`, smooth L1 over the former; both by the number of the former in the batch (section
        2.2, equations 1 to 3).

        torchvision's, except that an image without objects teaches too: it counts as one whose number of default boxes
        with an object is one.
        """
        labels, boxes = self._assign(outputs.default_boxes, targets)
        positive = labels > 0
        counts = positive.sum(dim=1).clamp(min=1)
        entropy = F.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
        negatives = _hardest(entropy.masked_fill(positive, -torch.inf), _NEGATIVES * counts)
        default_boxes = outputs.default_boxes.expand_as(boxes)[positive]
        wanted = self.box_coder.encode_single(boxes[positive], default_boxes)
        localisation = F.smooth_l1_loss(outputs.deltas[positive], wanted, reduction="sum")
        number = counts.sum()
        return {
            "classification": (entropy[positive].sum() + negatives) / number,
            "localisation": localisation / number,
        }

    def _assign(self, default_boxes: torch.Tensor, targets: Sequence[Target]) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels, (N, A), 0 for the background, and boxes, (N, A, 4), of no meaning there."""
        labels, boxes = [], []
        for target in targets:
            matches = match(default_boxes, target["boxes"], low=_OBJECT, high=_OBJECT, rescue="best")
            found, chosen = matches >= 0, matches.clamp(min=0)
            empty = not len(target["boxes"])
            labels.append(torch.zeros_like(matches) if empty else torch.where(found, target["labels"][chosen] + 1, 0))
            boxes.append(default_boxes if empty else target["boxes"][chosen])
        return torch.stack(labels), torch.stack(boxes)

    def candidates(self, outputs: SSDOutputs) -> list[Candidates]:
        """See `DetectionHead`: of each class the 400 default boxes of the highest scores."""
        number, anchors = outputs.deltas.shape[:2]
        scores = outputs.logits.softmax(dim=2)[:, :, 1:].transpose(1, 2)
        scores, rows = scores.topk(min(_CANDIDATES_OF_CLASS, anchors))  # (N, C, 400)
        boxes = self.box_coder.decode_single(outputs.deltas.flatten(0, 1), outputs.default_boxes.repeat(number, 1))
        of_images = zip(boxes.view(number, anchors, 4), scores, rows, outputs.shapes, strict=True)
        return [self._of_image(*of_image) for of_image in of_images]

    def _of_image(
        self, boxes: torch.Tensor, scores: torch.Tensor, rows: torch.Tensor, shape: tuple[int, int]
    ) -> Candidates:
        labels, ranks = torch.where(scores > self.suppression.score)
        boxes = clip_boxes_to_image(boxes[rows[labels, ranks]], shape)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)  # not those that lie in the padding
        return Candidates(boxes[inside], scores[labels, ranks][inside], labels[inside])


def _hardest(losses: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The sum of the `counts[i]` largest of each row of `losses` (N, A), -inf aside."""
    losses = losses.sort(dim=1, descending=True).values
    chosen = torch.arange(losses.shape[1], device=losses.device) < counts[:, None]
    return losses[chosen & (losses != -torch.inf)].sum()


class _Plan(NamedTuple):
    """What a head for images of one size is built of."""

    extra: list[ExtraMap]
    anchors: Anchors
    divisor: int


def build_ssd(
    make_backbone: MakeBackbone, options: DetectionOptions, *, num_classes: int, size: int
) -> tuple[Backbone, SSDHead]:
    """SSD for images of `size` pixels; on vgg16 the paper's: SSD512 from 512 pixels on, SSD300 below.

    The finest map gets the paper's L2 normalisation where the backbone has no norms of its own. Raises UsageError for a
    backbone without a map of stride 16, and for images or anchors that do not fit.
    """
    backbone = make_backbone(levels=_levels(options))
    channels, last = list(backbone.channels), nn.Identity()
    if _is_the_papers(options):
        _round_up_pool3(backbone)
        last, channels[-1] = convolutions_of_vgg(options), FC_CHANNELS
    plan = _plan(options, backbone, size)
    plain = not any(isinstance(module, _NORMS) for module in backbone.modules())
    first = L2Norm(channels[0]) if plain else nn.Identity()
    maps = SSDMaps(first, last, extra_layers(channels[-1], plan.extra))
    channels += [extra.channels for extra in plan.extra]
    default_boxes = DefaultBoxes(plan.anchors, size)
    predictor = Predictor(channels, default_boxes.numbers, num_classes + 1)
    head = SSDHead(maps, predictor, default_boxes, _suppression(options), plan.divisor)
    head.from_backbone = [last]
    return backbone, head


def build_ssdlite(
    make_backbone: MakeBackbone, options: DetectionOptions, *, num_classes: int, size: int
) -> tuple[Backbone, SSDHead]:
    """SSDLite for images of `size` pixels: separable convolutions with batch norm and ReLU6 in place of SSD's.

    Raises UsageError as `build_ssd`.
    """
    backbone = make_backbone(levels=_levels(options))
    plan = _plan(options, backbone, size)
    maps = SSDMaps(nn.Identity(), nn.Identity(), lite_extra_layers(backbone.channels[-1], plan.extra))
    channels = [*backbone.channels, *(extra.channels for extra in plan.extra)]
    default_boxes = DefaultBoxes(plan.anchors, size)
    predictor = LitePredictor(channels, default_boxes.numbers, num_classes + 1, SteadyBatchNorm2d)
    return backbone, SSDHead(maps, predictor, default_boxes, _suppression(options), plan.divisor)


def default_ssd_anchors(options: DetectionOptions, size: int) -> Anchors:
    """The default boxes of a recipe's head, ssd or ssdlite, where `model.anchors` is left out; `DefaultBoxes` says what
    the numbers mean. Raises UsageError as `build_ssd`.
    """
    with torch.device("meta"):  # shapes alone
        backbone = build_backbone(options.backbone, weights=None, levels=_levels(options))
    if _is_the_papers(options):
        _round_up_pool3(backbone)
    return _plan(replace(options, anchors=AnchorOptions()), backbone, size).anchors


def _is_the_papers(options: DetectionOptions) -> bool:
    return options.head == "ssd" and options.backbone == "vgg16"


def _levels(options: DetectionOptions) -> tuple[int, ...]:
    if _is_the_papers(options):
        return levels_of_strides(options.backbone, (8, 16))  # conv4_3 and conv5_3
    wanted = (16, 32) if options.head == "ssdlite" else (8, 16, 32)
    held = strides_of(options.backbone)
    return levels_of_strides(options.backbone, [stride for stride in wanted if stride in held or stride == 16])


def _round_up_pool3(backbone: Backbone) -> None:
    """75 pixels become 38, as the authors' framework rounds, not 37."""
    pool = backbone.get_submodule("features.16")
    assert isinstance(pool, (nn.MaxPool2d, nn.AvgPool2d))  # of which all others are made
    pool.ceil_mode = True


def _plan(options: DetectionOptions, backbone: Backbone, size: int) -> _Plan:
    if options.channels < 4:
        raise UsageError(f"model.channels is {options.channels}; an SSD head needs 4 or more, and has 256 by default.")
    side = _side_of_last_map(backbone, size)
    if side is None:
        raise UsageError(
            f"data.size is {size}, from which {options.backbone} does not make its maps; give a multiple of 32, of "
            f"{smallest_image(backbone) or _LEAST_SIDE} or more."
        )
    if _is_the_papers(options):
        extra, anchors = _extra_of_vgg(options.channels, size), ssd_vgg_anchors
    elif options.head == "ssdlite":
        extra, anchors = _lite_extra(options.channels, side), ssdlite_anchors
    else:
        extra, anchors = _extra(options.channels, side), ssd_anchors
    strides = list(backbone.strides)
    for of_map in extra:
        strides.append(strides[-1] * of_map.stride)
    return _Plan(extra, with_options(anchors(strides, size), options.anchors), _divisor(size, backbone))


def _extra_of_vgg(channels: int, size: int) -> list[ExtraMap]:
    """conv8_2 and on: of the paper's figure 2, and of its SSD512, whose last kernel is 4 x 4, in the authors' files."""
    halves = ExtraMap(channels, 3, 2, 1)
    if size >= _LARGE:
        return [halves._replace(channels=2 * channels), halves, halves, halves, ExtraMap(channels, 4, 1, 1)]
    unpadded = ExtraMap(channels, 3, 1, 0)
    return [halves._replace(channels=2 * channels), halves, unpadded, unpadded]


def _extra(channels: int, side: int) -> list[ExtraMap]:
    """From a map of `side` cells to a single one: halved, and at the end 5, 3, 1 without padding, as SSD300's."""
    maps = []
    while side > 1:
        width = channels if maps else 2 * channels
        maps.append(ExtraMap(width, 3, 1, 0) if side in (3, 5) else ExtraMap(width, 3, 2, 1))
        side = side - 2 if side in (3, 5) else (side + 1) // 2
    return maps


def _lite_extra(channels: int, side: int) -> list[ExtraMap]:
    """Halved to a single cell; as wide as in published SSDLites: 512, 256, 256, 128."""
    maps = []
    while side > 1:
        width = 2 * channels if not maps else channels if len(maps) < 3 else channels // 2
        maps.append(ExtraMap(width, 3, 2, 1))
        side = (side + 1) // 2
    return maps


def _divisor(size: int, backbone: Backbone) -> int:
    """Images of `size` get no padding, and none is smaller than the backbone can do with."""
    divisors = (number for number in range(_LEAST_SIDE, size) if size % number == 0)
    return next((number for number in divisors if _side_of_last_map(backbone, number)), size)


def _side_of_last_map(backbone: Backbone, size: int) -> int | None:
    """In cells; None where the backbone takes no images of `size`."""
    try:
        return shapeless_maps(backbone, blank_image(backbone, size))[-1].shape[-1]
    except (RuntimeError, ValueError, AssertionError):
        return None


def _suppression(options: DetectionOptions) -> Suppression:
    return Suppression(score=0.01, iou=0.45, most=200).with_options(options)
