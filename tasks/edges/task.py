"""Edge detection: a backbone, and a head from its maps to the probability of an edge at each pixel."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...backbones import Backbone
from ...core.data import DataOptions, Dataset
from ...core.data import preprocessing as default_preprocessing
from ...core.errors import UsageError
from ...core.maps import TileBlender, of_one_shape, probabilities_augmented, tile_prediction, tiling
from ...core.task import Task
from ...core.tiles import Joiner, Tiling
from ...core.transforms import Transform
from ...core.types import Batch, Prediction, Preprocessing
from ..build import backbone_maker
from .draw import draw_edges, plot_curve
from .filters import FILTERS, FilterDetector
from .head import EdgeHead, detect_edges
from .heads import HEADS
from .losses import edge_losses
from .options import EdgesOptions
from .prediction import EdgeBuilder, edge_prediction
from .transforms import transform
from .weights import edge_weights, load_edge_weights

_PUBLISHED = 99  # thresholds of published scores
_UNKNOWN_THRESHOLD = 0.5  # before a validation has found a better one
_TABLES = ("eval_bdry.txt", "eval_bdry_img.txt", "eval_bdry_thr.txt")


class EdgesTask(Task):
    """The probability of an edge at each pixel, in the size of the file: images are not resized.

    Raises UsageError for a wrong name or number, ModelFileError for weights that can't be used.
    """

    name = "edges"
    metric = "ods"
    OPTIONS = EdgesOptions
    HEADLINE = ("loss", "ods", "ois", "ap")
    EVALUATION_OPTIONS = ("max_distance",)
    PREDICTION_OPTIONS = ("score", "flip", "scales", "tile", "overlap", "thin", "bits")
    FORMATS = ("binary", "svg", "geojson")

    head: EdgeHead | FilterDetector
    options: EdgesOptions

    def __init__(
        self, options: EdgesOptions, *, class_names: Sequence[str] = (), preprocessing: Preprocessing | None = None
    ) -> None:
        seen = Preprocessing(**{**(preprocessing or default_preprocessing(DataOptions())), "resize": "keep"})
        whole = edge_weights(options.weights)
        backbone, head = _build(options, seen, weights=None if whole is not None else options.weights)
        super().__init__(options, backbone=backbone, head=head, class_names=class_names, preprocessing=seen)
        if whole is not None:
            if isinstance(head, FilterDetector):
                raise UsageError(f"model.weights is {options.weights}, but {options.head} is a filter; leave it out.")
            normalised = {"mean": seen["mean"], "std": seen["std"]}
            load_edge_weights(backbone, head, whole, source=str(options.weights), **normalised)
        self._metrics: Any = None  # made with the first batch: its library takes a while to load

    @classmethod
    def build(
        cls,
        options: EdgesOptions,
        *,
        class_names: Sequence[str],
        preprocessing: Preprocessing,
        training: Dataset | None = None,
    ) -> "EdgesTask":
        """The task of a recipe."""
        return cls(options, class_names=class_names, preprocessing=preprocessing)

    def network(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, 1, H, W), of all outputs together, for `images`: uint8 RGB (N, 3, H, W), or float32 that is
        already normalised.
        """
        return self._outputs(images)[-1]

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """That of each side output, `side1` from the finest on, and of the fusion, `fuse`."""
        return self._losses(self._outputs(batch["image"]), batch["edges"])

    def training_step(self, batch: Batch, index: int) -> torch.Tensor | None:
        """The sum of the losses; None of a filter, which learns nothing."""
        return None if isinstance(self.head, FilterDetector) else super().training_step(batch, index)

    def evaluate(self, batch: Batch) -> None:
        """Update losses and metrics."""
        metrics = self._edge_metrics()
        number = _PUBLISHED if self._is_test() else self.options.thresholds
        for members, images in of_one_shape(batch):
            outputs = self._outputs(images)
            height, width = images.shape[2:]
            self.note_losses(self._losses(outputs, batch["edges"][members, :height, :width]), len(members))
            found = outputs[-1].float().sigmoid()[:, 0].cpu().numpy()
            for member, edges in zip(members, found, strict=True):
                truth = _drawn(batch["truth"][member], self.options.consensus)
                metrics.update(edges, truth, number=number, name=batch["path"][member])

    def compute_metrics(self) -> dict[str, float]:
        """The losses, and the Berkeley benchmark's numbers as shares of 1: `ods`, `ods_recall`, `ods_precision`, `ois`,
        `ap` and `r50`.
        """
        metrics = self._edge_metrics()
        self.evaluated = metrics.compute()
        metrics.reset()
        if self.evaluated is None:
            return {name: 0.0 for name in ("ods", "ois", "ap", "r50")} | self.mean_losses()
        ods, ois = self.evaluated.ods, self.evaluated.ois
        if not self._is_test():
            self.thresholds = [ods.threshold] if ods.f > 0 else []  # where nothing was right, none is the best
        numbers = {"ods": ods.f, "ods_recall": ods.recall, "ods_precision": ods.precision, "ois": ois.f}
        return {**numbers, "ap": self.evaluated.ap, "r50": self.evaluated.r50, **self.mean_losses()}

    def plots(self) -> dict[str, Callable[[str], None]]:
        """Precision by recall, and the three tables of the benchmark's own program."""
        return {
            "precision_recall.png": lambda path: plot_curve(self.evaluated, path),
            **{name: partial(self._write_table, name) for name in _TABLES},
        }

    def predict(self, batch: Batch) -> list[Prediction]:
        """The probabilities of edges at the size of the files; of tiles those of their pixels."""
        wanted, found = self.prediction_options, {}
        for members, images in of_one_shape(batch):
            maps = probabilities_augmented(self._probabilities, images, flip=wanted.flip, scales=wanted.scales)
            for member, edges in zip(members, maps, strict=True):
                path, size = batch["path"][member], batch["size"][member]
                if wanted.tile is not None:
                    found[member] = tile_prediction(edges, path, size)
                else:
                    found[member] = edge_prediction(edges[0].float().cpu(), path, **self._looks())
        return [found[member] for member in range(len(batch["path"]))]

    def tiling(self) -> Tiling | None:
        """Squares of the file, which are blended where they overlap."""
        wanted = self.prediction_options
        if wanted.tile is None:
            return None
        divisor = 1 if isinstance(self.head, FilterDetector) else self.head.divisor
        return tiling(wanted.tile, wanted.overlap, size=wanted.tile, divisor=divisor)

    def joiner(self, size: tuple[int, int]) -> Joiner:
        """What blends the probabilities of tiles."""
        tiling = self.tiling()
        assert tiling is not None
        return TileBlender(tiling.tiles(size), EdgeBuilder(size, **self._looks()))

    def truth(self, sample: Mapping[str, Any]) -> Prediction:
        """The share of annotators at each pixel, in place of a probability."""
        edges = torch.as_tensor(sample["edges"]).float().clamp(min=0)
        return edge_prediction(edges, sample["path"], threshold=_UNKNOWN_THRESHOLD, thin=False)

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The image, pale, under its edges."""
        return draw_edges(image, prediction)

    def transform(self, augment: str | list[str] = "none") -> Transform:
        """In training, change the image and its edges; else leave them as they are."""
        assert isinstance(augment, str)
        return transform(self.preprocessing, augment)

    def _outputs(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Logits of each output, (N, 1, H, W)."""
        if isinstance(self.head, FilterDetector):
            return self.head(images)
        assert isinstance(self.backbone, Backbone)
        return detect_edges(self.backbone, self.head, self.normalise(images))

    def _probabilities(self, images: torch.Tensor) -> torch.Tensor:
        return self(images).float().sigmoid()

    def _losses(self, outputs: Sequence[torch.Tensor], edges: torch.Tensor) -> dict[str, torch.Tensor]:
        options = self.options
        return edge_losses(
            outputs,
            edges,
            weights=options.output_weights,
            consensus=options.consensus,
            disputed=options.disputed,
            negative_weight=options.negative_weight,
            reduction=options.reduction,
        )

    def _looks(self) -> dict[str, Any]:
        wanted = self.prediction_options
        found = self.thresholds[0] if self.thresholds else _UNKNOWN_THRESHOLD
        thin = wanted.thin and not self._finds_lines()
        return {"threshold": found if wanted.score is None else wanted.score, "thin": thin}

    def _finds_lines(self) -> bool:
        """Whether what is found is one pixel wide as it comes: no suppression makes it thinner, or is wanted."""
        return isinstance(self.head, FilterDetector) and self.head.name != "sobel"

    def _is_test(self) -> bool:
        return self._trainer is not None and self.trainer.testing

    def _edge_metrics(self) -> Any:
        if self._metrics is None:
            from .metrics import EdgeMetrics

            self._metrics = EdgeMetrics(max_distance=self.options.max_distance, suppress=not self._finds_lines())
        return self._metrics

    def _write_table(self, name: str, path: str) -> None:
        from .berkeley import tables

        Path(path).write_text(tables(self.evaluated)[name] if self.evaluated is not None else "", encoding="ascii")


def _build(options: EdgesOptions, seen: Preprocessing, *, weights: str | None) -> tuple[nn.Module, nn.Module]:
    if options.head in FILTERS:
        return nn.Identity(), FilterDetector(options.head)
    make_backbone = backbone_maker(options, seen, weights=weights)
    return HEADS[options.head](
        make_backbone, options.backbone, margin=options.margin, output_stride=options.output_stride
    )


def _drawn(truth: Mapping[str, torch.Tensor], consensus: float) -> np.ndarray:
    """What annotators drew, bool (A, H, W); where their shares alone are known, what training takes for an edge."""
    if "annotators" in truth:
        return truth["annotators"].cpu().numpy()
    return (truth["edges"][None] > consensus).cpu().numpy()


TASK = EdgesTask
