"""Tracking: a backbone, and a head that finds a target seen once in the frames that follow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import torch

from ...backbones import Backbone
from ...core.data import DataOptions, Dataset
from ...core.data import preprocessing as default_preprocessing
from ...core.errors import UsageError
from ...core.task import Task
from ...core.transforms import Transform
from ...core.types import Batch, Prediction, Preprocessing
from .baselines import baseline
from .draw import draw_tracks
from .embedding import SIAMFC_ALEXNET, build_embedding
from .evaluation import Evaluation
from .goturn import GoturnHead
from .head import TrackingHead
from .heads import HEADS
from .options import TrackerSettings, TrackingOptions
from .pairs import MOTIONS, Pairs, Views
from .prediction import Following, tracked
from .response import ResponseHead
from .restarts import Follows, combine
from .tracker import Tracker
from .transforms import transform

_USUAL_SIZE = 127  # pixels of an exemplar, for which the margin of an embedding is meant
_LEAST_OF_ALEXNET = 87  # pixels, of which one cell is left
_OURS = "this one"  # among the trackers of an evaluation
_COMPARED = ("ao", "sr50", "success", "precision", "normalised_precision", "fps")


class TrackingTask(Task):
    """Where a target, given by a box in the first frame of a sequence, is in each of the others.

    Frames are as large as their files; what of them the network sees is cut out of them. Raises UsageError for a wrong
    name or number, ModelFileError for weights that can't be used.
    """

    name = "tracking"
    metric = "ao"
    OPTIONS = TrackingOptions
    HEADLINE = ("loss", "ao", "sr50", "success", "precision")
    EVALUATION_OPTIONS = (*(field.name for field in fields(TrackerSettings)), "baselines", "restarts")
    PREDICTION_OPTIONS = ("score", "targets", "redetect")
    FORMATS = ("tracks",)
    ALWAYS = ("tracks",)
    SEQUENTIAL = True
    HAS_CLASSES = False

    backbone: Backbone
    head: TrackingHead
    options: TrackingOptions

    def __init__(
        self, options: TrackingOptions, *, class_names: Sequence[str] = (), preprocessing: Preprocessing | None = None
    ) -> None:
        seen = Preprocessing(**{**(preprocessing or default_preprocessing(DataOptions())), "resize": "keep"})
        seen["size"] = options.search_size
        backbone, head = _build(options, seen)
        super().__init__(options, backbone=backbone, head=head, class_names=(), preprocessing=seen)
        self._evaluation: Evaluation | None = None
        self._following: Following | None = None
        self.evaluated = self._begin()

    @classmethod
    def build(
        cls,
        options: TrackingOptions,
        *,
        class_names: Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
        training: Dataset | None = None,
    ) -> "TrackingTask":
        """The task of a recipe; there are no classes, and nothing has to be counted."""
        if training is not None:
            _check_baselines(options)
        return cls(options, preprocessing=preprocessing)

    def evaluate_by(self, options: Any) -> None:
        """See `Task`; raises UsageError for a tracker to compare with that there is not, and for an even `scales`."""
        _check_baselines(options)
        _check_scales(options)
        self.options = options

    def network(self, images: torch.Tensor) -> torch.Tensor:
        """The features (N, C, h, w) of crops, which the head compares."""
        return self.backbone(self.normalise(images))[-1]

    def training_data(self, dataset: Dataset, augment: str | list[str]) -> Dataset:
        """Pairs of crops, of which the augmentation says how far from the target the second is cut."""
        head, options = self.head, self.options
        assert isinstance(augment, str)
        return Pairs(
            dataset,
            Views(head.exemplar_region, head.search_region, head.exemplar_size, head.search_size),
            max_distance=options.max_distance,
            per_sequence=options.pairs_per_sequence,
            motion=MOTIONS[augment],
        )

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The head's losses of pairs: `image` exemplars, `image2` search crops, `box2` the targets in the latter."""
        templates = self.head.remember(self(batch["image"]))
        return self.head.losses(self.head(templates, self(batch["image2"])), batch["box2"])

    def tracker(self, *, lost: float | None = None, redetect: bool = False) -> Tracker:
        """A tracker on the device of the network.

        A target whose score is below `lost`, by default what validation found best, is lost; with `redetect` it is then
        looked for all over the frame.
        """
        if lost is None:
            lost = self.thresholds[0] if self.thresholds else 0.0
        settings = replace(self.options, redetect=redetect or self.options.redetect)
        return Tracker(self, self.head, settings, device=self.device, lost=lost)

    def evaluate(self, batch: Batch) -> None:
        """Follow the targets of frames that come in their order, sequence by sequence."""
        if self._evaluation is None:
            self._evaluation = self._begin()
        self._evaluation.wait_over(len(batch["path"]))
        for index, path in enumerate(batch["path"]):
            truth = batch["truth"][index]["boxes"].cpu().numpy()
            self._evaluation.follow(_frame(batch, index), path, int(batch["sequence"][index]), truth)
        self._evaluation.wait()

    def compute_metrics(self) -> dict[str, float]:
        """Shares of 1, see `OnePass.summary`, and frames per second."""
        self.evaluated = self._evaluation or self._begin()
        self._evaluation = None
        self.evaluated.finish()
        measured = self.evaluated.measured[_OURS]
        if not self._is_test():
            threshold = measured.lost_threshold()
            self.thresholds = [threshold] if threshold is not None else []
        return measured.summary()

    def tables(self) -> dict[str, dict[str, dict[str, float]]]:
        """The numbers of sequences with an attribute, and of what else was evaluated, side by side."""
        rows = self.evaluated.measured[_OURS].attribute_rows()
        found = {"attribute": {str(row["name"]): {key: float(row[key]) for key in _COMPARED} for row in rows}}
        if len(self.evaluated.measured) > 1:
            numbers = {name: measured.summary() for name, measured in self.evaluated.measured.items()}
            found["tracker"] = {name: {key: each[key] for key in _COMPARED} for name, each in numbers.items()}
        if self.evaluated.restarts:
            sums = {name: combine(runs) for name, runs in self.evaluated.restarts.items()}
            found["restarts"] = {
                name: {"accuracy": each.accuracy, "failures": each.failures, "reliability": each.reliability()}
                for name, each in sums.items()
            }
        return found

    def plots(self) -> dict[str, Callable[[str], None]]:
        """The curves of success and precision, the numbers of each sequence, and what GOT-10k's server takes."""
        return self.evaluated.plots()

    def predict(self, batch: Batch) -> list[Prediction]:
        """The targets of `prediction_options.targets` in frames that come in their order, video by video."""
        wanted = self.prediction_options
        if self._following is None or self._following.targets is not wanted.targets:
            self._following = Following(wanted.targets, self._start)
        numbers = [None if number is None else int(number) for number in batch["frame"]]
        return [
            self._following.next(_frame(batch, index), path, numbers[index]) for index, path in enumerate(batch["path"])
        ]

    def truth(self, sample: Mapping[str, Any]) -> Prediction:
        """The true box of a frame, or none."""
        boxes = torch.as_tensor(sample["boxes"]).float()
        count = len(boxes)
        return tracked(sample["path"], sample["size"], boxes, torch.ones(count), torch.zeros(count, dtype=torch.bool))

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The image with a frame around each target."""
        return draw_tracks(image, prediction)

    def transform(self, augment: str | list[str] = "none") -> Transform:
        """In training, change the crops of a pair; else leave frames as they are."""
        assert isinstance(augment, str)
        return transform(self.preprocessing, augment)

    def _start(self) -> Tracker:
        wanted = self.prediction_options
        return self.tracker(lost=wanted.score, redetect=wanted.redetect)

    def _begin(self) -> Evaluation:
        """An evaluation of our tracker, and in a test of those that it is compared with."""
        tested = self._is_test()
        others = {name: baseline(name) for name in self.options.baselines} if tested else {}
        return Evaluation({_OURS: self._evaluated_tracker, **others}, restarts=tested and self.options.restarts)

    def _evaluated_tracker(self) -> Follows:
        # In validation the score from which on a target is lost is yet to be found.
        return cast(Follows, self.tracker(lost=None if self._is_test() else 0.0))  # of one target

    def _is_test(self) -> bool:
        return self._trainer is not None and self.trainer.testing


def _check_baselines(options: TrackingOptions) -> None:
    for name in options.baselines:
        baseline(name)


def _check_scales(options: TrackingOptions) -> None:
    if options.scales % 2 == 0:
        raise UsageError(
            f"model.scales is {options.scales}; it must be odd: the target's own size is in the middle. Give 3 or 5."
        )


def _build(options: TrackingOptions, seen: Preprocessing) -> tuple[Backbone, TrackingHead]:
    _check_scales(options)
    if options.backbone == SIAMFC_ALEXNET and min(options.exemplar_size, options.search_size) < _LEAST_OF_ALEXNET:
        raise UsageError(
            f"model.exemplar_size is {options.exemplar_size}, but {SIAMFC_ALEXNET}, which has no padding, needs "
            f"{_LEAST_OF_ALEXNET} pixels or more; take larger crops, or another backbone."
        )
    kind: Any = HEADS[options.head]
    follows = kind is GoturnHead  # whose layers learn each cell by itself
    backbone, margin = build_embedding(options, seen, dilated=not follows)
    if options.margin is None:  # the same share of smaller crops
        margin = 0 if follows else round(margin * min(1.0, options.exemplar_size / _USUAL_SIZE))
    own: dict[str, Any] = {"radius": options.radius} if issubclass(kind, ResponseHead) else {}
    own |= {"dropout": options.dropout} if follows else {}
    own |= {"width": options.width} if options.width is not None else {}
    sizes = {"exemplar_size": options.exemplar_size, "search_size": options.search_size}
    return backbone, kind(backbone.channels, stride=backbone.strides[-1], margin=margin, **sizes, **own)


def _frame(batch: Batch, index: int) -> np.ndarray:
    """An image of a batch as it was read, uint8 (H, W, 3)."""
    height, width = batch["shape"][index]
    return batch["image"][index, :, :height, :width].permute(1, 2, 0).contiguous().cpu().numpy()


TASK = TrackingTask
