"""Image classification: a backbone, a linear head, cross-entropy."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.transforms import v2

from ...backbones import Backbone
from ...backbones.weights import read_linear_classifier
from ...core.data import DataOptions, Dataset
from ...core.data import preprocessing as default_preprocessing
from ...core.errors import UsageError
from ...core.plots import draw_caption, plot_confusion
from ...core.task import Task
from ...core.transforms import Transform
from ...core.types import Batch, Prediction, Preprocessing
from ..build import Variation, build_backbone, read_weights
from .heads import HEADS, AuxiliaryHead, PublishedHead
from .losses import balanced_class_weights, cross_entropy
from .metrics import ClassificationMetrics, per_class_accuracy
from .options import ClassificationOptions
from .transforms import transform


class ClassificationTask(Task):
    """One class for the whole image.

    `class_counts`, the training images of each class, is needed for balanced class weights only. Raises
    UsageError for a wrong name or number, ModelFileError for weights that can't be used.
    """

    name = "classification"
    metric = "top1"
    OPTIONS = ClassificationOptions
    PREDICTION_OPTIONS = ("top_k",)

    backbone: Backbone
    class_weights: torch.Tensor

    def __init__(
        self,
        options: ClassificationOptions,
        *,
        class_names: Sequence[str],
        preprocessing: Preprocessing | None = None,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        preprocessing = preprocessing or default_preprocessing(DataOptions())
        backbone = build_backbone(
            options.backbone,
            weights=options.weights,
            in_channels=1 if preprocessing["grey"] else 3,
            frozen_stages=options.frozen_stages,
            stochastic_depth=options.stochastic_depth,
            variation=Variation(options.activation, options.norm, options.pooling),
        )
        if len(class_names) < 2:
            held = ", ".join(class_names) or "none"
            raise UsageError(f"Classification tells two classes or more apart; the data has {held}: see data.classes.")
        head = HEADS[options.head](options, backbone.channels, len(class_names))
        super().__init__(options, backbone=backbone, head=head, class_names=class_names, preprocessing=preprocessing)
        self.auxiliary_heads = self._build_auxiliary_heads(backbone)
        self.metrics = ClassificationMetrics(len(class_names))
        self.register_buffer("class_weights", self._weights_of_classes(class_counts))
        self._mixers = self._build_mixers()
        self._start_head_from_file()

    @classmethod
    def build(
        cls,
        options: ClassificationOptions,
        *,
        class_names: Sequence[str],
        preprocessing: Preprocessing,
        training: Dataset | None = None,
    ) -> "ClassificationTask":
        """The task of a recipe; the images of each class are counted in `training`."""
        counts = None if training is None else np.bincount(training.labels, minlength=len(class_names)).tolist()
        return cls(options, class_names=class_names, preprocessing=preprocessing, class_counts=counts)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Cross-entropy, smoothed and weighted as the options say; in training that of auxiliary classifiers too."""
        if not (self.training and self.auxiliary_heads):
            return {"cross_entropy": self._loss(self(batch["image"]), batch["label"])}
        maps, taps = self.backbone.forward_with(self.normalise(batch["image"]), self.backbone.auxiliary)
        auxiliary = [self._loss(head(x), batch["label"]) for head, x in zip(self.auxiliary_heads, taps, strict=True)]
        return {
            "cross_entropy": self._loss(self.head(maps), batch["label"]),
            "auxiliary": self.options.auxiliary * torch.stack(auxiliary).sum(),
        }

    def evaluate(self, batch: Batch) -> None:
        """Update accuracy, confusion and loss."""
        logits = self(batch["image"]).float()
        weights = self.class_weights[batch["label"]]  # the loss is a mean by these, in each batch and over all of them
        self.metrics.update(logits, batch["label"], self._loss(logits, batch["label"]), weights.sum())

    def compute_metrics(self) -> dict[str, float]:
        """`loss`, `top1`, `top5`, `mean_class_accuracy`."""
        values = self.metrics.compute()
        self._confusion = self.metrics.confusion_matrix()
        self.metrics.reset()
        return values

    def per_class(self) -> dict[str, float | None]:
        """Share of each class's images that were named right; None for a class without images."""
        shares = per_class_accuracy(self._confusion).tolist()
        return {name: None if share != share else share for name, share in zip(self.class_names, shares, strict=True)}

    def predict(self, batch: Batch) -> list[Prediction]:
        """The first `top_k` classes by falling probability."""
        probabilities = self(batch["image"]).float().softmax(dim=1)
        top = probabilities.topk(min(self.prediction_options.top_k, len(self.class_names)), dim=1)
        scores, labels = top.values.cpu(), top.indices.cpu()
        return [
            Prediction(
                path=path, size=size, labels=label, scores=score, names=[self.class_names[i] for i in label.tolist()]
            )
            for path, size, label, score in zip(batch["path"], batch["size"], labels, scores, strict=True)
        ]

    def truth(self, sample: Mapping[str, Any]) -> Prediction:
        """The sample's class, with probability 1."""
        label = torch.tensor([sample["label"]])
        names = [self.class_names[sample["label"]]]
        return Prediction(path=sample["path"], size=sample["size"], labels=label, scores=torch.ones(1), names=names)

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The image with its first classes, their probabilities as bars, below it."""
        return draw_caption(image, prediction["names"][:3], prediction["scores"][:3].tolist())

    def transform(self, augment: str | list[str] = "none") -> Transform:
        """Resize and, in training, change the image."""
        return transform(self.preprocessing, augment)

    def mix(self, batch: Batch) -> Batch:
        """Mixup or cutmix, where the options ask for them; labels become shares of the classes."""
        if not self._mixers:
            return batch
        mixer = self._mixers[int(torch.randint(len(self._mixers), ()))]
        image, label = mixer(self.normalise(batch["image"]), batch["label"])
        return Batch(**{**batch, "image": image, "label": label})

    def plots(self) -> dict[str, Callable[[str], None]]:
        """The confusion matrix of the newest evaluation."""
        return {"confusion.png": lambda path: plot_confusion(self._confusion, self.class_names, path)}

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        weights = self.class_weights if self.options.loss.class_weights != "none" else None
        smoothing = self.options.loss.label_smoothing
        return cross_entropy(logits, labels, class_weights=weights, label_smoothing=smoothing)

    def _weights_of_classes(self, counts: Sequence[int] | None) -> torch.Tensor:
        if self.options.loss.class_weights == "balanced" and counts is not None:
            return balanced_class_weights(counts)
        return torch.ones(len(self.class_names))

    def _build_auxiliary_heads(self, backbone: Backbone) -> nn.ModuleList:
        taps = backbone.auxiliary if self.options.auxiliary > 0 else ()
        widths = [backbone.layers[path].channels for path in taps]
        return nn.ModuleList(AuxiliaryHead(channels, len(self.class_names)) for channels in widths)

    def _build_mixers(self) -> list[v2.Transform]:
        mix, classes = self.options.mix, len(self.class_names)
        makers = ((v2.MixUp, mix.mixup), (v2.CutMix, mix.cutmix))
        return [make(alpha=alpha, num_classes=classes) for make, alpha in makers if alpha > 0]

    def _start_head_from_file(self) -> None:
        # A file of a whole network also holds its classifier: of use where the classes are as many, as in ImageNet's
        # 1,000.
        if self.options.weights is None:
            return
        if isinstance(self.head, PublishedHead):
            self.head.start_from(read_weights(self.options.weights, self.options.backbone))
            return
        linear = self.head.linear
        assert isinstance(linear, nn.Linear)
        published = read_linear_classifier(self.options.weights, self.options.backbone, self.backbone)
        if published is not None and published[0].shape == linear.weight.shape:
            with torch.no_grad():
                linear.weight.copy_(published[0])
                linear.bias.copy_(published[1])


TASK = ClassificationTask
