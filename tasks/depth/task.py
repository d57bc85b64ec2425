"""Monocular depth: a backbone, and a head from its maps to metres at each pixel, and to normals and labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...core.data import DataOptions, Dataset
from ...core.data import preprocessing as default_preprocessing
from ...core.errors import DataError, UsageError
from ...core.maps import enlarged, of_one_shape
from ...core.task import Task
from ...core.transforms import Transform
from ...core.types import Batch, Prediction, Preprocessing
from ..build import backbone_maker
from ..weights_of_losses import check_weights
from .calibration import ENTRY, Calibration, calibrated, read_calibration
from .draw import draw_depth
from .head import COARSE, DepthHead, estimate
from .heads import HEADS
from .losses import LOSSES, normals_cosine, weighted_losses
from .metrics import DepthMetrics
from .normals import NormalMetrics, true_normals
from .options import DepthOptions
from .outputs import make_output
from .prediction import about_depth, depth_prediction
from .scale import median_depth, warn_of_nothing, warn_of_scale
from .transforms import transform

_KINDS = ("depth", "normals", "labels")
_TRUTHS = ("depth", "normals", "mask")
_IGNORE = 255


class DepthTask(Task):
    """Metres at each pixel, along the camera's axis.

    Of an image alone: a part of it, or the same enlarged, looks like one of another camera, so that there are no tiles
    and no looks at other sizes. Raises UsageError for a wrong name or number, ModelFileError for weights that can't be
    used.
    """

    name = "depth"
    metric = "delta1"
    OPTIONS = DepthOptions
    HEADLINE = ("loss", "delta1", "abs_rel", "rmse")
    EVALUATION_OPTIONS = ("crop", "cap")
    PREDICTION_OPTIONS = ("flip", "depth_scale", "focal", "intrinsics")
    FORMATS = ("npy", "ply")

    head: DepthHead
    options: DepthOptions

    def __init__(
        self, options: DepthOptions, *, class_names: Sequence[str] = (), preprocessing: Preprocessing | None = None
    ) -> None:
        seen = preprocessing or default_preprocessing(DataOptions())
        _check(options, seen)
        output = make_output(
            options.output, min_depth=options.min_depth, max_depth=options.max_depth, bins=options.bins
        )
        backbone, head = _build(options, seen, channels=output.channels)
        super().__init__(options, backbone=backbone, head=head, class_names=class_names, preprocessing=seen)
        self.output = output
        self.calibration: Calibration | None = None
        self.usual_depth: float | None = None  # metres, the median of the training images, where it is known
        self.metrics = DepthMetrics(crop=options.crop, max_depth=options.cap)
        # Of the validations of a training, which look at nothing else: each alignment costs as much again.
        self.unaligned_metrics = DepthMetrics(crop=options.crop, max_depth=options.cap, alignments=("none",))
        self.normal_metrics = NormalMetrics()
        self.evaluated: dict[str, dict[str, float]] = {}  # the newest metrics of each alignment
        self.protocol = ""  # how they were counted
        self._forget()

    @classmethod
    def build(
        cls,
        options: DepthOptions,
        *,
        class_names: Sequence[str],
        preprocessing: Preprocessing,
        training: Dataset | None = None,
    ) -> "DepthTask":
        """The task of a recipe; warns where `training` has no depths, or none that the network could say."""
        task = cls(options, class_names=class_names, preprocessing=preprocessing)
        if training is not None:
            task.usual_depth = median_depth(training)
            warn_of_nothing(task.usual_depth, len(training))
            ends = (options.min_depth, options.max_depth)
            warn_of_scale(task.usual_depth, ends, what="The training images", than="model.min_depth to model.max_depth")
        return task

    @classmethod
    def from_checkpoint(cls, checkpoint: dict[str, Any]) -> "DepthTask":
        """See `Task`; with the calibration, where there is one."""
        task = super().from_checkpoint(checkpoint)
        assert isinstance(task, DepthTask)
        entry = checkpoint["foveal"]
        task.calibration, task.usual_depth = read_calibration(entry), entry.get("usual_depth")
        return task

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `Task`; with what the depths are like."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["foveal"]["usual_depth"] = self.usual_depth
        if self.calibration is not None:
            checkpoint["foveal"][ENTRY] = dict(self.calibration)

    def network(self, images: torch.Tensor) -> torch.Tensor:
        """Maps (N, 1 + 3 + C, H, W) of `images`, uint8 RGB (N, 3, H, W), or float32 that is already normalised: metres
        before calibration; where the network has them the normals, of unit length; and logits of the labels.
        """
        found = self._found(images)
        return torch.cat(
            [found["depth"][:, None], *(found[name] for name in ("normals", "labels") if name in found)], 1
        )

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The weighted losses by their names; those of Eigen's coarse network under `coarse_` and their names."""
        return self._losses(self._found(batch["image"]), batch)

    def evaluate(self, batch: Batch) -> None:
        """Update losses, at the network's resolution, and metrics, at that of the files."""
        for numbers, images in of_one_shape(batch):
            maps = self.network(images)
            height, width = maps.shape[2:]
            truths = {key: batch[key][numbers][..., :height, :width] for key in _TRUTHS if key in batch}
            self.note_losses(self._losses(self._split(maps), truths), len(numbers))
            for number, found in zip(numbers, maps, strict=True):
                self._count(found, batch["truth"][number], batch["path"][number])

    def evaluate_by(self, options: DepthOptions) -> None:
        """See `Task`: with another crop and cap."""
        super().evaluate_by(options)
        self.metrics = DepthMetrics(crop=options.crop, max_depth=options.cap)

    def compute_metrics(self) -> dict[str, float]:
        """The losses, the nine numbers of `DepthMetrics` without an alignment, and, where the network has normals and
        labels, those of `NormalMetrics` and `label_accuracy`, a share of 1.
        """
        metrics = self._depth_metrics()
        self.evaluated, self.protocol = metrics.compute(), metrics.protocol()
        numbers = dict(self.evaluated["none"])
        if self.options.normals:
            numbers |= self.normal_metrics.compute()
        if self.options.labels:
            numbers["label_accuracy"] = self._right / max(1, self._labelled)
        if self._medians:
            typical = float(np.median(self._medians))
            warn_of_scale(typical, (self.usual_depth,) * 2, what="The images evaluated", than="those trained on")
        self._forget()
        return {**numbers, **self.mean_losses()}

    def remark(self) -> str | None:
        """How the numbers were counted: without it they compare with none."""
        given = "after the calibration" if self.calibration else "as they are"
        return f"Depths were evaluated {given}, not aligned: {self.protocol}."

    def tables(self) -> dict[str, dict[str, dict[str, float]]]:
        """The nine numbers of each alignment, side by side."""
        return {"alignment": self.evaluated}

    def about(self) -> dict[str, Any]:
        """What the numbers of a prediction mean."""
        return dict(about_depth(self.options.min_depth, self.options.max_depth, self.calibration))

    def predict(self, batch: Batch) -> list[Prediction]:
        """Metres, and normals where the network has them, at each pixel of the files."""
        found = {}
        for numbers, images in of_one_shape(batch):
            for number, maps in zip(numbers, self._looks(images), strict=True):
                whole = _at_size(maps, batch["size"][number])
                normals = whole[1:4] if self.options.normals else None
                found[number] = depth_prediction(
                    whole[0], batch["path"][number], normals=normals, calibration=self.calibration
                )
        return [found[number] for number in range(len(batch["path"]))]

    def truth(self, sample: Mapping[str, Any]) -> Prediction:
        """The sample's depth."""
        return depth_prediction(torch.as_tensor(sample["depth"]).clone(), sample["path"])

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The image and its distances in colour, above a legend."""
        return draw_depth(image, prediction)

    def transform(self, augment: str | list[str] = "none") -> Transform:
        """Resize and, in training, change the image, and its depth and normals with it."""
        assert isinstance(augment, str)
        return transform(self.preprocessing, augment, normals=bool(self.options.normals), focal=self.options.focal)

    def _found(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return estimate(self.backbone, self.head, self.normalise(images), self.output)

    def _split(self, maps: torch.Tensor) -> dict[str, torch.Tensor]:
        """What `network` has joined."""
        found, rest = {"depth": maps[:, 0]}, maps[:, 1:]
        if self.options.normals:
            found["normals"], rest = rest[:, :3], rest[:, 3:]
        return {**found, "labels": rest} if self.options.labels else found

    def _losses(self, found: Mapping[str, torch.Tensor], truths: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        losses = {}
        for prefix in ("", COARSE):
            told = {name: found[prefix + name] for name in _KINDS if prefix + name in found}
            losses |= {prefix + name: value for name, value in self._losses_of(told, truths).items()}
        return losses

    def _losses_of(self, found: Mapping[str, torch.Tensor], truths: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        options = self.options
        if not found:
            return {}
        silog = {"lam": options.scale_invariant, "root": options.root, "factor": options.factor}
        losses = weighted_losses(found["depth"], truths["depth"], options.loss, **silog)
        if "normals" in found:
            losses["normals"] = options.normals * normals_cosine(found["normals"], truths["normals"])
        if "labels" in found:
            losses["labels"] = options.labels * _cross_entropy(found["labels"], _mask_of(truths, options.classes))
        return losses

    def _count(self, found: torch.Tensor, truth: Mapping[str, torch.Tensor], path: str) -> None:
        asked = truth["depth"].cpu().numpy()
        whole = _at_size(found, (asked.shape[0], asked.shape[1]))
        depth = calibrated(whole[0], self.calibration).numpy()
        self._depth_metrics().update(depth, asked, name=path)
        known = asked[np.isfinite(asked) & (asked > 0)]  # beyond the cap too: millimetres taken for metres all are
        if known.size:
            self._medians.append(float(np.median(known)))
        if self.options.normals:
            normals = true_normals({"depth": asked, **truth}, self.options.focal)
            self.normal_metrics.update(whole[1:4].permute(1, 2, 0).numpy(), normals)
        if self.options.labels:
            mask = _mask_of(truth, self.options.classes).cpu()
            right = whole[-self.options.classes :].argmax(dim=0) == mask
            self._right += int(right[mask != _IGNORE].sum())
            self._labelled += int((mask != _IGNORE).sum())

    def _depth_metrics(self) -> DepthMetrics:
        return self.unaligned_metrics if self._trainer is not None and self.trainer.validating else self.metrics

    def _forget(self) -> None:
        self.metrics.reset()
        self.unaligned_metrics.reset()
        self.normal_metrics.reset()
        self._right = self._labelled = 0  # pixels
        self._medians: list[float] = []  # metres, of each image's truth

    def _looks(self, images: torch.Tensor) -> torch.Tensor:
        """What `network` says, and with `flip` the mean of it and of what it says of the images mirrored."""
        maps = self.network(images).float()
        if not self.prediction_options.flip:
            return maps
        mirrored = self.network(images.flip(-1)).float().flip(-1)
        if self.options.normals:
            mirrored[:, 1] = -mirrored[:, 1]  # what pointed to the right points to the left
        return (maps + mirrored) / 2


def _check(options: DepthOptions, preprocessing: Preprocessing) -> None:
    if preprocessing["resize"] == "crop":
        raise UsageError(
            "data.resize is crop, which leaves the border of images out, but each pixel is to get a depth: set squash, "
            "fit or shorter."
        )
    check_weights(options.loss, LOSSES)


def _build(options: DepthOptions, preprocessing: Preprocessing, *, channels: int) -> tuple[nn.Module, DepthHead]:
    make_backbone = backbone_maker(options, preprocessing, weights=options.weights)
    return HEADS[options.head](
        make_backbone,
        options.backbone,
        channels=channels,
        size=preprocessing["size"],
        normals=options.normals > 0,
        labels=options.classes if options.labels else 0,
        output_stride=options.output_stride,
    )


def _at_size(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps (C, h, w) on any device, bilinear to `size` (H, W): float32, on the CPU."""
    return torch.cat([strip.cpu() for _, strip in enlarged(maps.float(), size)], dim=1)


def _mask_of(truths: Mapping[str, Any], classes: int) -> torch.Tensor:
    if "mask" not in truths:
        raise DataError("model.labels is above 0, but the data has no masks beside its depths; set it to 0.")
    mask = truths["mask"]
    highest = int(mask[mask != _IGNORE].max()) if bool((mask != _IGNORE).any()) else 0
    if highest >= classes:
        raise DataError(f"A mask has class {highest}, but model.classes is {classes}; set it to {highest + 1} or more.")
    return mask


def _cross_entropy(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over the pixels that have a class; 0 where none has."""
    total = F.cross_entropy(logits, mask, ignore_index=_IGNORE, reduction="sum")
    return total / (mask != _IGNORE).sum().clamp(min=1)


TASK = DepthTask
