"""From many overlapping candidates to one box an object."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torchvision.ops import batched_nms, box_iou

from ...core.options import PredictionOptions
from .options import DetectionOptions


class Candidates(NamedTuple):
    """Boxes of one image with their scores and classes, in any order."""

    boxes: torch.Tensor  # float32 (K, 4), xyxy, in pixels of the network's input, inside of the image
    scores: torch.Tensor  # float32 (K,), 0 to 1
    labels: torch.Tensor  # int64 (K,), class numbers from 0, as in the data


@dataclass(frozen=True)
class Suppression:
    """Keeps of the candidates of one image those that are sure enough and no copies of surer ones.

    Args:
        score: candidates below it go.
        iou: of two boxes of a class that overlap by more, the one of lower score goes.
        most: so many stay at most, of the highest scores.
        kind: hard, as said; soft, the one of lower score loses exp(-IoU² / sigma) of its score, whatever `iou` says,
            and goes where that leaves it below `score` (Bodla et al. 2017, equation 3).
        class_agnostic: boxes of different classes suppress each other too.
        sigma: of the soft kind; 0.5 in the paper.
    """

    score: float = 0.05
    iou: float = 0.5
    most: int = 100
    kind: Literal["hard", "soft"] = "hard"
    class_agnostic: bool = False
    sigma: float = 0.5

    def with_options(self, options: DetectionOptions) -> "Suppression":
        """The same with what a recipe's `score`, `nms_iou` and `most` put in its place."""
        given = {"score": options.score, "iou": options.nms_iou, "most": options.most}
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def with_prediction(self, options: PredictionOptions) -> "Suppression":
        """The same with what `foveal predict` was told put in its place."""
        given = {"score": options.score, "iou": options.nms_iou}
        given = {name: value for name, value in given.items() if value is not None}
        return replace(self, kind=options.nms, class_agnostic=options.class_agnostic, **given)

    def __call__(self, candidates: Candidates) -> Candidates:
        """What stays, by falling score: of the soft kind, the score that is left."""
        boxes, scores, labels = candidates
        boxes, scores = boxes.float(), scores.float()  # torchvision's NMS takes no bfloat16
        sure = (scores > self.score) & boxes.isfinite().all(dim=1)
        boxes, scores, labels = boxes[sure], scores[sure], labels[sure]
        groups = torch.zeros_like(labels) if self.class_agnostic else labels
        if self.kind == "soft":
            kept, scores = self._soft(boxes, scores, groups)
            return Candidates(boxes[kept], scores, labels[kept])
        kept = batched_nms(boxes, scores, groups, self.iou)[: self.most]
        return Candidates(boxes[kept], scores[kept], labels[kept])

    def _soft(
        self, boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices of what stays, and the scores that are left."""
        rounds = min(self.most, len(boxes))
        chosen = groups.new_zeros(rounds)
        remaining, final = scores.clone(), scores.new_zeros(rounds)
        for turn in range(rounds):  # no number leaves the device in here
            best = remaining.argmax(keepdim=True)
            chosen[turn], final[turn] = best[0], remaining[best][0]
            overlap = box_iou(boxes[best], boxes)[0] * (groups == groups[best])
            remaining *= torch.exp(-(overlap**2) / self.sigma)
            remaining[best] = -torch.inf
        stays = final > self.score
        return chosen[stays], final[stays]
