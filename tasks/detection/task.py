"""Object detection: a backbone, and a head from its maps to boxes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.detection.image_list import ImageList

from ...core.data import DataOptions, Dataset
from ...core.data import preprocessing as default_preprocessing
from ...core.errors import UsageError
from ...core.plots import plot_confusion, plot_precision_recall
from ...core.task import Task
from ...core.tiles import Tiling
from ...core.transforms import Transform
from ...core.types import Batch, Prediction, Preprocessing
from ..build import backbone_maker
from .draw import draw_boxes
from .head import DetectionHead, Target
from .heads import HEADS
from .merge import BoxJoiner, predict_augmented, scale_boxes
from .metrics import DetectionMetrics
from .mix import mixup, mosaic
from .options import DetectionOptions
from .published import detector_weights, load_detector, published_preprocessing
from .suppression import Candidates, Suppression
from .transforms import transform

_UNKNOWN_THRESHOLD = 0.5  # of a detector that was never validated


class DetectionTask(Task):
    """A box and a class for each object.

    Raises UsageError for a wrong name or number, ModelFileError for weights that can't be used.
    """

    name = "detection"
    metric = "ap"
    OPTIONS = DetectionOptions
    HEADLINE = ("loss", "ap", "ap50")
    PREDICTION_OPTIONS = ("score", "nms_iou", "nms", "class_agnostic", "flip", "scales", "tile", "overlap")
    FORMATS = ("coco", "yolo", "crops")

    head: DetectionHead
    options: DetectionOptions

    def __init__(
        self,
        options: DetectionOptions,
        *,
        class_names: Sequence[str],
        preprocessing: Preprocessing | None = None,
    ) -> None:
        if not class_names:
            raise UsageError("Detection finds objects of one class or more, and the data has none: see data.classes.")
        preprocessing = published_preprocessing(options, preprocessing or default_preprocessing(DataOptions()))
        detector = detector_weights(options)
        make_backbone = backbone_maker(
            options, preprocessing, weights=None if detector is not None else options.weights
        )
        backbone, head = HEADS[options.head](
            make_backbone, options, num_classes=len(class_names), size=preprocessing["size"]
        )
        super().__init__(options, backbone=backbone, head=head, class_names=class_names, preprocessing=preprocessing)
        if detector is not None:
            load_detector(self, detector, options, self.class_names)
        self._still_norms = self._norms_that_keep_their_statistics()
        self.metrics = DetectionMetrics(self.class_names)

    @classmethod
    def build(
        cls,
        options: DetectionOptions,
        *,
        class_names: Sequence[str],
        preprocessing: Preprocessing,
        training: Dataset | None = None,
    ) -> "DetectionTask":
        """The task of a recipe: the constructor, as every task has it."""
        return cls(options, class_names=class_names, preprocessing=preprocessing)

    def forward(self, images: torch.Tensor, shapes: Sequence[tuple[int, int]] | None = None) -> Any:
        """Raw outputs of the head for `images`: uint8 RGB (N, 3, H, W), or float32 that is already normalised.

        `shapes`: (h, w) of each image without what pads it to the size of the largest; by default none is padded.
        """
        if shapes is None:
            shapes = [(images.shape[2], images.shape[3])] * len(images)
        padded = _pad(self.normalise(images), shapes, self.head.divisor)
        return self.head.outputs(self.network(padded), ImageList(padded, list(shapes)))

    def network(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What `head.outputs` takes, for normalised images whose sides are multiples of the head's divisor."""
        return self.head.layers(self.backbone(images))

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The losses of the head's paper, by their names."""
        return self.head.losses(self(batch["image"], batch["shape"]), _targets(batch))

    def evaluate(self, batch: Batch) -> None:
        """Update losses and metrics; batch norms see nothing of it, for this is evaluation mode."""
        outputs = self(batch["image"], batch["shape"])
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(0)  # of the anchors that a loss samples: alike in each epoch, and nothing of training's
            losses = self.head.losses(outputs, _targets(batch))
        self.note_losses(losses, len(batch["path"]))
        found = [
            {"boxes": boxes, "scores": scores, "labels": labels}
            for boxes, scores, labels in self._in_files(self.head.detect(outputs), batch)
        ]
        self.metrics.update(found, batch["truth"])

    def compute_metrics(self) -> dict[str, float]:
        """The losses, COCO's twelve numbers (`ap`, `ap50`, `ap75`, `ap_small`, ..., `ar_large`) and VOC's `voc_ap` and
        `voc_ap_11`, as shares of 1.
        """
        self.evaluated = self.metrics.compute()
        self.metrics.reset()
        self.thresholds = self.evaluated.thresholds
        return {**self.evaluated.numbers, **self.mean_losses()}

    def per_class(self) -> dict[str, float | None]:
        """AP of each class; None for a class without objects."""
        return self.evaluated.per_class

    def remark(self) -> str | None:
        """Why AP is 0, or there is none."""
        return self.evaluated.remark

    def plots(self) -> dict[str, Callable[[str], None]]:
        """Precision by recall of each class, and who is taken for whom."""
        return {
            "precision_recall.png": lambda path: plot_precision_recall(
                {name: curve.drawn() for name, curve in self.evaluated.curves.items()}, path
            ),
            "confusion.png": lambda path: plot_confusion(
                self.evaluated.confusion, [*self.class_names, "background"], path
            ),
        }

    def predict(self, batch: Batch) -> list[Prediction]:
        """The boxes whose score reaches the threshold of their class, by falling score."""
        wanted, own, suppression = self.prediction_options, self.head.suppression, self._suppression_of_predictions()
        self.head.suppression = suppression
        try:
            looks = {"flip": wanted.flip, "scales": wanted.scales, "suppression": suppression}
            found = predict_augmented(self._detect, batch["image"], batch["shape"], **looks)
        finally:
            self.head.suppression = own
        return [
            self._prediction(path, size, candidates)
            for path, size, candidates in zip(batch["path"], batch["size"], self._in_files(found, batch), strict=True)
        ]

    def tiling(self) -> Tiling | None:
        """Tiles of the side that is asked for, and the whole image."""
        wanted = self.prediction_options
        return None if wanted.tile is None else Tiling(wanted.tile, wanted.overlap, whole=True)

    def joiner(self, size: tuple[int, int]) -> BoxJoiner:
        """What joins the boxes of an image's tiles."""
        return BoxJoiner(size, self._suppression_of_predictions())

    def truth(self, sample: Mapping[str, Any]) -> Prediction:
        """The sample's boxes, with score 1."""
        boxes, labels = (torch.as_tensor(sample[key]) for key in ("boxes", "labels"))
        return self._prediction(sample["path"], sample["size"], Candidates(boxes, torch.ones(len(labels)), labels))

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The image with a box, a name and a score for each detection."""
        return draw_boxes(image, prediction, self.class_names)

    def transform(self, augment: str | list[str] = "none") -> Transform:
        """Resize and, in training, change the image and its boxes."""
        return transform(self.preprocessing, augment)

    def mix(self, batch: Batch) -> Batch:
        """Mosaic and mixup, where the options ask for them."""
        mix = self.options.mix
        batch = mosaic(batch, mix.mosaic) if mix.mosaic > 0 else batch
        return mixup(batch, mix.mixup) if mix.mixup > 0 else batch

    def train(self, mode: bool = True) -> Self:
        """As in every module, but batch norms that are to keep their statistics stay in evaluation mode."""
        super().train(mode)
        for norm in getattr(self, "_still_norms", ()):
            norm.eval()
        return self

    def _norms_that_keep_their_statistics(self) -> Sequence[nn.Module]:
        still = self.options.frozen_norm
        if not (self.options.weights is not None if still is None else still):
            return []
        parts = (self.backbone, *self.head.from_backbone)
        norms = [module for part in parts for module in part.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.requires_grad_(False).eval()
        return norms

    def _detect(self, images: torch.Tensor, shapes: Sequence[tuple[int, int]]) -> list[Candidates]:
        """What is sure enough of its class, in pixels of `images`."""
        thresholds = torch.tensor(self._thresholds_of_predictions(), device=self.device)
        candidates = self.head.candidates(self(images, shapes))
        sure = [each.scores >= thresholds[each.labels] for each in candidates]
        kept = [Candidates(*(column[rows] for column in each)) for each, rows in zip(candidates, sure, strict=True)]
        return [self.head.suppression(each) for each in kept]

    def _thresholds_of_predictions(self) -> list[float]:
        """Of each class: what was asked for, or else what validation found best."""
        classes, score = len(self.class_names), self.prediction_options.score
        return self.thresholds or [_UNKNOWN_THRESHOLD] * classes if score is None else [score] * classes

    def _suppression_of_predictions(self) -> Suppression:
        least = np.float32(min(self._thresholds_of_predictions()))
        least = float(np.nextafter(least, np.float32(-1)))  # a score, float32, that equals a threshold stays
        return replace(self.head.suppression.with_prediction(self.prediction_options), score=least)

    def _in_files(self, found: Sequence[Candidates], batch: Batch) -> list[Candidates]:
        """From pixels of the network's input to those of the image files."""
        return [
            candidates._replace(boxes=scale_boxes(candidates.boxes, shape, size))
            for candidates, shape, size in zip(found, batch["shape"], batch["size"], strict=True)
        ]

    def _prediction(self, path: str, size: tuple[int, int], candidates: Candidates) -> Prediction:
        boxes, scores, labels = (column.cpu() for column in candidates)
        names = [self.class_names[label] for label in labels.tolist()]
        return Prediction(path=path, size=size, boxes=boxes, labels=labels, scores=scores, names=names)


def _pad(images: torch.Tensor, shapes: Sequence[tuple[int, int]], divisor: int) -> torch.Tensor:
    """Normalised images (N, C, H, W) with 0, the mean colour, beside each, their sides multiples of `divisor`."""
    height, width = images.shape[2:]
    for image, (own_height, own_width) in zip(images, shapes, strict=True):
        image[:, own_height:] = 0
        image[:, :, own_width:] = 0
    missing = (0, -width % divisor, 0, -height % divisor)
    return F.pad(images, missing) if any(missing) else images


def _targets(batch: Batch) -> list[Target]:
    """What is to be learnt: neither many objects under one box nor those that nobody would ask for."""
    targets = []
    for boxes, labels, crowd, difficult in zip(
        batch["boxes"], batch["labels"], batch["crowd"], batch["difficult"], strict=True
    ):
        wanted = ~(crowd | difficult)
        targets.append(Target(boxes=boxes[wanted], labels=labels[wanted]))
    return targets


TASK = DetectionTask
