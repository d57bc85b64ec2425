"""What RetinaNet and FCOS share: a pyramid from P3 to P7, and a network that says something of each of its places."""

from abc import abstractmethod
from collections import OrderedDict
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, clip_boxes_to_image
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from ...backbones import Backbone
from .head import DetectionHead
from .suppression import Candidates, Suppression

PYRAMID_STRIDES = (8, 16, 32)  # of the maps that the pyramid reads; it adds those of 64 and 128
_CANDIDATES_OF_MAP = 1000  # Lin et al. 2017 (Focal loss), section 4.1


class DenseOutputs(NamedTuple):
    """Of all A anchors of N images, those of the finest map first."""

    answers: dict[str, torch.Tensor]  # float32 (N, A, ...), under torchvision's names
    anchors: list[torch.Tensor]  # N of (A, 4), xyxy
    anchors_of_maps: list[int]  # their numbers; the sum is A
    shapes: list[tuple[int, int]]  # (h, w) of each image without padding


class DenseHead(DetectionHead):
    """The pyramid, and torchvision's subnets that read all of its maps.

    `score_names`: of the subnets' outputs, those that make an anchor's scores.
    """

    divisor = 32
    score_names: ClassVar[tuple[str, ...]]
    subnets: Any  # a module with a method `compute_loss`

    def __init__(
        self, pyramid: FeaturePyramidNetwork, subnets: nn.Module, anchors: AnchorGenerator, suppression: Suppression
    ) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.subnets = subnets
        self.anchor_generator = anchors
        self.suppression = suppression

    def layers(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """See `DetectionHead`: the subnets' answers, by the order of their names, and a channel of each map, for its
        shape.
        """
        maps = list(self.pyramid(OrderedDict((str(level), x) for level, x in enumerate(features))).values())
        answers = self.subnets(maps)
        return [*(answers[name] for name in self._names), *(x[:, :1] for x in maps)]

    def outputs(self, answers: list[torch.Tensor], images: ImageList) -> DenseOutputs:
        """See `DetectionHead`."""
        named = dict(zip(self._names, (answer.float() for answer in answers), strict=False))
        maps = answers[len(named) :]
        anchors = self.anchor_generator(images, [x[:0].float() for x in maps])  # it asks for shapes alone
        per_place = self.anchor_generator.num_anchors_per_location()
        counts = [x.shape[2] * x.shape[3] * number for x, number in zip(maps, per_place, strict=True)]
        return DenseOutputs(named, anchors, counts, list(images.image_sizes))

    @property
    def _names(self) -> list[str]:
        return sorted({"bbox_regression", *self.score_names})

    @abstractmethod
    def scores(self, *answers: torch.Tensor) -> torch.Tensor:
        """Scores (A, C), 0 to 1, of an anchor for each class, from the answers called `score_names`, (A, ...)."""

    @abstractmethod
    def decode(self, deltas: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
        """Boxes (K, 4) that `deltas` (K, 4) make of `anchors` (K, 4)."""

    def candidates(self, outputs: DenseOutputs) -> list[Candidates]:
        """See `DetectionHead`: of each map the 1,000 boxes of the highest scores."""
        return [self._of_image(outputs, number) for number in range(len(outputs.shapes))]

    def _of_image(self, outputs: DenseOutputs, number: int) -> Candidates:
        counts = outputs.anchors_of_maps
        of_maps = (
            outputs.anchors[number].split(counts),
            outputs.answers["bbox_regression"][number].split(counts),
            *(outputs.answers[name][number].split(counts) for name in self.score_names),
        )
        parts = [self._of_map(*of_map) for of_map in zip(*of_maps, strict=True)]
        boxes, scores, labels = (torch.cat(columns) for columns in zip(*parts, strict=True))
        return Candidates(clip_boxes_to_image(boxes, outputs.shapes[number]), scores, labels)

    def _of_map(self, anchors: torch.Tensor, deltas: torch.Tensor, *answers: torch.Tensor) -> Candidates:
        scores = self.scores(*answers)
        rows, labels = torch.where(scores > self.suppression.score)
        scores, best = scores[rows, labels].topk(min(len(rows), _CANDIDATES_OF_MAP))
        rows = rows[best]
        return Candidates(self.decode(deltas[rows], anchors[rows]), scores, labels[best])


def pyramid_to_p7(backbone: Backbone, width: int) -> FeaturePyramidNetwork:
    """P3 to P5 by Lin et al. 2017 (Feature pyramid networks); P6 and P7, of strides 64 and 128, are made of P5."""
    return FeaturePyramidNetwork(list(backbone.channels), width, extra_blocks=LastLevelP6P7(width, width))
