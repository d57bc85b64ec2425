"""Semantic segmentation: a backbone, and a head from its maps to a class for each pixel."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ...core.data import DataOptions, Dataset
from ...core.data import preprocessing as default_preprocessing
from ...core.errors import UsageError
from ...core.maps import TileBlender, enlarged, of_one_shape, probabilities_augmented, tile_prediction, tiling
from ...core.plots import plot_confusion
from ...core.task import Task
from ...core.tiles import Joiner, Tiling
from ...core.transforms import Transform
from ...core.types import Batch, Prediction, Preprocessing
from ..build import backbone_maker
from .class_weights import count_pixels
from .crf import CRFOptions, refine
from .draw import draw_mask
from .head import SegmentationHead, pad, segment, segment_padded
from .heads import HEADS, build_auxiliary
from .losses import check_loss_weights, median_frequency_weights, weighted_losses
from .merge import MaskBuilder, mask_prediction, to_prediction
from .metrics import SegmentationMetrics
from .options import SegmentationOptions
from .published import load_segmenter, segmenter_weights
from .transforms import tile_transform, transform


class SegmentationTask(Task):
    """A class for each pixel.

    `class_weights`, one a class, go to the losses that take such. Raises UsageError for a wrong name or number,
    ModelFileError for weights that can't be used.
    """

    name = "segmentation"
    metric = "miou"
    OPTIONS = SegmentationOptions
    HEADLINE = ("loss", "miou", "pixel_accuracy")
    PREDICTION_OPTIONS = ("flip", "scales", "tile", "overlap", "crf", "probabilities")
    FORMATS = ("coco",)

    head: SegmentationHead
    options: SegmentationOptions
    class_weights: torch.Tensor

    def __init__(
        self,
        options: SegmentationOptions,
        *,
        class_names: Sequence[str],
        preprocessing: Preprocessing | None = None,
        class_weights: torch.Tensor | None = None,
    ) -> None:
        preprocessing = preprocessing or default_preprocessing(DataOptions())
        _check(options, class_names, preprocessing)
        segmenter = segmenter_weights(options)
        make_backbone = backbone_maker(
            options, preprocessing, weights=None if segmenter is not None else options.weights
        )
        classes = len(class_names)
        backbone, head = HEADS[options.head](make_backbone, options, num_classes=classes)
        super().__init__(options, backbone=backbone, head=head, class_names=class_names, preprocessing=preprocessing)
        self.auxiliary = build_auxiliary(backbone, options, num_classes=classes)
        if segmenter is not None:
            load_segmenter(self, segmenter, options, self.class_names)
        self.register_buffer("class_weights", torch.ones(classes) if class_weights is None else class_weights)
        self.metrics = SegmentationMetrics(
            self.class_names, boundary_tolerance=options.boundary_tolerance, trimap_width=options.trimap_width
        )

    @classmethod
    def build(
        cls,
        options: SegmentationOptions,
        *,
        class_names: Sequence[str],
        preprocessing: Preprocessing,
        training: Dataset | None = None,
    ) -> "SegmentationTask":
        """The task of a recipe; where its options ask for them, the pixels of each class are counted in `training`."""
        weights = None
        if options.class_weights == "median_frequency" and training is not None:
            weights = median_frequency_weights(*count_pixels(training, len(class_names)))
        return cls(options, class_names=class_names, preprocessing=preprocessing, class_weights=weights)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, C, H, W) for `images`: uint8 RGB (N, 3, H, W), or float32 that is already normalised."""
        height, width = images.shape[2:]
        if height % self.head.divisor or width % self.head.divisor:
            images = pad(self.normalise(images), self.head.divisor)
        return self.network(images)[:, :, :height, :width]

    def network(self, images: torch.Tensor) -> torch.Tensor:
        """The same for images whose sides are multiples of the head's divisor."""
        return segment_padded(self.backbone, [self.head], self.normalise(images))[0]

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The weighted losses by their names; in training, under `auxiliary`, the mean of those of further logits."""
        heads = [self.head, self.auxiliary] if self.training and self.auxiliary is not None else [self.head]
        logits, *others = segment(self.backbone, heads, self.normalise(batch["image"]))
        losses = self._weighted_losses(logits, batch["mask"])
        if others and self.options.auxiliary:
            each = [torch.stack(list(self._weighted_losses(x, batch["mask"]).values())).sum() for x in others]
            losses["auxiliary"] = self.options.auxiliary * torch.stack(each).mean()
        return losses

    def evaluate(self, batch: Batch) -> None:
        """Update losses, at the network's resolution, and metrics, at that of the files."""
        for numbers, images in of_one_shape(batch):
            logits = self(images).float()
            height, width = logits.shape[2:]
            self.note_losses(self._weighted_losses(logits, batch["mask"][numbers, :height, :width]), len(numbers))
            for number, probabilities in zip(numbers, logits.softmax(dim=1), strict=True):
                truth = batch["truth"][number]["mask"]
                found = [strip.argmax(dim=0) for _, strip in enlarged(probabilities, (truth.shape[0], truth.shape[1]))]
                self.metrics.update(torch.cat(found)[None], truth[None].to(self.device))

    def compute_metrics(self) -> dict[str, float]:
        """The losses, `miou`, `pixel_accuracy`, `mean_class_accuracy`, `mean_dice`, and `boundary_f1` and `trimap_miou`
        where the options ask for them, as shares of 1.
        """
        self.evaluated = self.metrics.compute()
        self.metrics.reset()
        return {**self.evaluated.numbers, **self.mean_losses()}

    def per_class(self) -> dict[str, float | None]:
        """IoU of each class; None for a class that is neither in a mask nor was predicted."""
        return self.evaluated.per_class

    def remark(self) -> str | None:
        """Why there are no numbers."""
        return self.evaluated.remark

    def plots(self) -> dict[str, Callable[[str], None]]:
        """Who is taken for whom, in pixels."""
        return {"confusion.png": self._plot_confusion}

    def predict(self, batch: Batch) -> list[Prediction]:
        """The class of each pixel of the files; of tiles the probabilities."""
        wanted, found = self.prediction_options, {}
        for numbers, images in of_one_shape(batch):
            maps = probabilities_augmented(self._probabilities, images, flip=wanted.flip, scales=wanted.scales)
            for number, image, probabilities in zip(numbers, images, maps, strict=True):
                path, size = batch["path"][number], batch["size"][number]
                found[number] = self._prediction(self._refined(probabilities, image), path, size)
        return [found[number] for number in range(len(batch["path"]))]

    def tiling(self) -> Tiling | None:
        """Squares of the file, which are blended where they overlap."""
        wanted = self.prediction_options
        if wanted.tile is None:
            return None
        return tiling(wanted.tile, wanted.overlap, size=self.preprocessing["size"], divisor=self.head.divisor)

    def joiner(self, size: tuple[int, int]) -> Joiner:
        """What blends the probabilities of tiles."""
        tiling = self.tiling()
        assert tiling is not None
        mask = MaskBuilder(size, self.class_names, keep=self.prediction_options.probabilities)
        return TileBlender(tiling.tiles(size), mask)

    def truth(self, sample: Mapping[str, Any]) -> Prediction:
        """The sample's mask, with probability 1."""
        mask = torch.as_tensor(sample["mask"]).to(torch.uint8)
        pixels = torch.bincount(mask.flatten().long(), minlength=256)[: len(self.class_names)]
        return mask_prediction(mask, pixels, pixels, sample["path"], self.class_names)

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The image under the colours of its classes, with their names and shares."""
        return draw_mask(image, prediction, self.class_names)

    def transform(self, augment: str | list[str] = "none") -> Transform:
        """Resize and, in training, change the image and its mask; tiles keep their scale."""
        tile = self.prediction_options.tile
        if tile is not None and augment == "none":
            return tile_transform(self.preprocessing, tile)
        assert isinstance(augment, str)
        return transform(self.preprocessing, augment)

    def _plot_confusion(self, path: str) -> None:
        plot_confusion(torch.from_numpy(self.evaluated.confusion), self.class_names, path)

    def _prediction(self, probabilities: torch.Tensor, path: str, size: tuple[int, int]) -> Prediction:
        if self.prediction_options.tile is not None:
            return tile_prediction(probabilities, path, size)
        return to_prediction(probabilities, path, size, self.class_names, keep=self.prediction_options.probabilities)

    def _probabilities(self, images: torch.Tensor) -> torch.Tensor:
        return self(images).float().softmax(dim=1)

    def _refined(self, probabilities: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """(C, h, w), drawn to the outlines of the network's input, uint8 (3, h, w)."""
        if not self.prediction_options.crf:
            return probabilities
        options = CRFOptions(steps=self.prediction_options.crf)
        return refine(probabilities.permute(1, 2, 0), image.permute(1, 2, 0), options).permute(2, 0, 1)

    def _weighted_losses(self, logits: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        weights = self.class_weights if self.options.class_weights != "none" else None
        return weighted_losses(logits, mask, self.options.loss, class_weights=weights)


def _check(options: SegmentationOptions, class_names: Sequence[str], preprocessing: Preprocessing) -> None:
    if len(class_names) < 2:
        held = ", ".join(class_names) or "none"
        raise UsageError(
            f"Segmentation tells two classes or more apart, of which one may be the background; the data has {held}: "
            "see data.mask_values."
        )
    if preprocessing["resize"] == "crop":
        raise UsageError(
            "data.resize is crop, which leaves the border of images out, but each pixel is to get a class: set squash, "
            "fit or shorter."
        )
    check_loss_weights(options.loss, class_weights=options.class_weights != "none")


TASK = SegmentationTask
