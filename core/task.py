"""What all tasks have in common: backbone and head joined, the four Lightning steps, logging, optimizer, checkpoint."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, get_type_hints

import lightning
import lightning.pytorch as pl
import numpy as np
import torch
import torchvision
from torch import nn
from torchmetrics import MeanMetric

from .checkpoint import FORMAT
from .data import Dataset
from .errors import DataWarning, FovealError, ModelFileError, NumericalError
from .optim import build_optimizer, build_schedule
from .options import OptimizerOptions, PredictionOptions, ScheduleOptions
from .tiles import Joiner, Tiling
from .transforms import Transform
from .types import Batch, Prediction, Preprocessing

_STEPS_BETWEEN_CHECKS = 50  # looks at a GPU's loss


class Task(pl.LightningModule):
    """One backbone, one head, and what a task does with their output.

    A subclass says `name`, `metric` (the entry of `compute_metrics` that picks the best checkpoint: the higher the
    better) and `OPTIONS` (the dataclass of its recipes' `model` section), and answers `build`, `losses`, `evaluate`,
    `compute_metrics`, `predict`, `draw` and `transform`.
    """

    name: ClassVar[str]
    metric: ClassVar[str]
    OPTIONS: ClassVar[type]
    HEADLINE: ClassVar[tuple[str, ...]] = ()  # of many metrics those to be printed after each epoch; none for all
    PREDICTION_OPTIONS: ClassVar[tuple[str, ...]] = ()  # the fields of PredictionOptions that `predict` goes by
    EVALUATION_OPTIONS: ClassVar[tuple[str, ...]] = ()  # those of OPTIONS that say how to evaluate, and no more
    FORMATS: ClassVar[tuple[str, ...]] = ()  # of `writers.FORMATS`, those that can hold its predictions
    ALWAYS: ClassVar[tuple[str, ...]] = ()  # of these, those that are written unasked
    SEQUENTIAL: ClassVar[bool] = False  # predicts frames one after another, each by what was in those before
    HAS_CLASSES: ClassVar[bool] = True  # whether the names in a data set are classes, or of people or sequences
    COMPARES: ClassVar[bool] = False  # says of two images how far they are apart

    luma: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        options: Any,
        *,
        backbone: nn.Module,
        head: nn.Module,
        class_names: Sequence[str],
        preprocessing: Preprocessing,
    ) -> None:
        super().__init__()
        self.options = options
        self.backbone = backbone
        self.head = head
        self.class_names = list(class_names)
        self.preprocessing = preprocessing
        self.optimizer_options = OptimizerOptions()
        self.schedule_options = ScheduleOptions()
        self.prediction_options = PredictionOptions()
        self.recipe: dict[str, Any] = {}  # the resolved recipe, where there is one; goes into the checkpoint
        self.fingerprints: dict[str, str] = {}  # of the data of the run
        self.last_metrics: dict[str, float] = {}  # of the newest validation or test
        self.thresholds: list[float] = []  # of scores, where the task finds such in validation; `predict` goes by them
        self._evaluated_losses: dict[str, MeanMetric] = {}  # of the images since the last `mean_losses`
        self.skipped: set[str] = set()  # what was wrong with images that were skipped
        # ITU-R BT.601, as OpenCV and Pillow.
        self.register_buffer("luma", _per_channel([0.299, 0.587, 0.114]), persistent=False)
        self.register_buffer("mean", _per_channel(preprocessing["mean"]), persistent=False)
        self.register_buffer("std", _per_channel(preprocessing["std"]), persistent=False)

    # What a task answers.

    @classmethod
    def build(
        cls,
        options: Any,
        *,
        class_names: Sequence[str],
        preprocessing: Preprocessing,
        training: Dataset | None = None,
    ) -> "Task":
        """The task of a recipe's `model` section and of what its data set says; `training` is the training split, for
        what may have to be counted in it.
        """
        raise NotImplementedError

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Scalars that are summed and minimised, by name."""
        raise NotImplementedError

    def begin_evaluation(self, dataset: Dataset) -> None:
        """Told before an evaluation what it is of, for metrics that need what no image says of itself, as pairs."""

    def evaluate(self, batch: Batch) -> None:
        """Update the metrics with a batch."""
        raise NotImplementedError

    def evaluate_by(self, options: Any) -> None:
        """From now on evaluate by `options`, which are the task's own but for EVALUATION_OPTIONS."""
        self.options = options

    def predict_by(self, options: PredictionOptions) -> None:
        """From now on predict by `options`, of which PREDICTION_OPTIONS mean something; reads files that they name."""
        self.prediction_options = options

    def compute_metrics(self) -> dict[str, float]:
        """The metrics since the last call, by name; forgets them."""
        raise NotImplementedError

    def predict(self, batch: Batch) -> list[Prediction]:
        """One prediction an image, on the CPU, in the pixels of the image file."""
        raise NotImplementedError

    def formats(self) -> tuple[str, ...]:
        """Of FORMATS, those that can hold what is found by the options of `predict_by`; by default all."""
        return self.FORMATS

    def tiling(self) -> Tiling | None:
        """How images are cut into tiles that are predicted one by one; None where each is predicted as a whole."""
        return None

    def joiner(self, size: tuple[int, int]) -> Joiner:
        """What makes one prediction for an image of `size` (H, W) of those of its tiles; for a task with a tiling."""
        raise NotImplementedError

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        """A picture uint8 (H', W', 3) of what was predicted for `image` uint8 (H, W, 3)."""
        raise NotImplementedError

    def transform(self, augment: str | list[str] = "none") -> Transform:
        """The way from an image file to the network's input."""
        raise NotImplementedError

    def training_data(self, dataset: Dataset, augment: str | list[str]) -> Dataset:
        """What training sees of a data set under the augmentation `augment`: by default its images one by one."""
        return dataset

    def about(self) -> dict[str, Any]:
        """What a run of prediction says of the task's numbers beside them, where they need it: plain values."""
        return {}

    def truth(self, sample: Mapping[str, Any]) -> Prediction:
        """What a perfect model would predict for a sample of a data set: to be drawn beside what this one does."""
        raise NotImplementedError

    def mix(self, batch: Batch) -> Batch:
        """Change a training batch as a whole, on the device; by default not at all."""
        return batch

    def per_class(self) -> dict[str, float | None]:
        """The newest metrics class by class, where the task has such: name to share of 1, None for a class without
        images.
        """
        return {}

    def tables(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """The newest metrics that are to be compared side by side: what the columns are of, to column to row to number,
        or None where there is too little to tell; all columns of a table have the same rows.
        """
        return {}

    def remark(self) -> str | None:
        """A sentence on the newest metrics that their numbers don't say: how they were counted, or why they are bad."""
        return None

    def plots(self) -> dict[str, Callable[[str], None]]:
        """Pictures of the newest metrics beyond the curves: file name to a function that writes it there."""
        return {}

    # What a task may use.

    def note_losses(self, losses: Mapping[str, torch.Tensor], images: int) -> None:
        """Remember an evaluation's losses of so many images by their names, and as `loss` their sum."""
        for name, value in {"loss": torch.stack(list(losses.values())).sum(), **losses}.items():
            if name not in self._evaluated_losses:
                self._evaluated_losses[name] = MeanMetric().to(self.device)
            self._evaluated_losses[name].update(value, weight=images)

    def mean_losses(self) -> dict[str, float]:
        """The means over images of all that `note_losses` was told since the last call; forgets them."""
        losses = {name: float(metric.compute()) for name, metric in self._evaluated_losses.items()}
        self._evaluated_losses.clear()
        return losses

    # What Lightning calls.

    def forward(self, images: torch.Tensor) -> Any:
        """Raw outputs of the head for `images`: uint8 RGB (N, 3, H, W), or float32 that is already normalised."""
        return self.network(images)

    def network(self, images: torch.Tensor) -> Any:
        """The part of `forward` that is layers and nothing else: from such images to a tensor or a list of several.

        What computes it faster may be put in its place (`engines.py`).
        """
        return self.head(self.backbone(self.normalise(images)))

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 RGB (N, 3, H, W) to float32 (N, 3 or 1, H, W) of mean 0 and deviation 1 over the images of the
        preprocessing; float images have been through here, and stay as they are.
        """
        if images.dtype != torch.uint8:
            return images
        scaled = images.float().div_(255)
        if self.preprocessing["grey"]:
            scaled = (scaled * self.luma).sum(dim=1, keepdim=True)
        return scaled.sub_(self.mean).div_(self.std)

    def on_before_batch_transfer(self, batch: Batch | FovealError, _loader: int) -> Batch:
        """Raise the error that a loader's worker met, which torch would wrap; warn once of each skipped image."""
        if isinstance(batch, FovealError):
            raise batch
        for sentence in batch.pop("skipped", []):
            if sentence not in self.skipped:
                self.skipped.add(sentence)
                warnings.warn(f"Skipped: {sentence}", DataWarning, stacklevel=2)
        return batch

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        """The sum of the losses; raises NumericalError for one that is not finite (see `_check_finite`)."""
        losses = self.losses(self.mix(batch))
        total = torch.stack(list(losses.values())).sum()
        self._check_finite(total, batch, index)
        size = len(batch["path"])
        parts = losses if len(losses) > 1 else {}
        for name, value in {"loss": total, **parts}.items():
            self.log(f"train/{name}", value, on_step=False, on_epoch=True, batch_size=size)
        return total

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Update the metrics."""
        if batch["path"]:  # not where all images of a batch were skipped
            self.evaluate(batch)

    def test_step(self, batch: Batch, _index: int) -> None:
        """Update the metrics."""
        self.validation_step(batch, _index)

    def predict_step(self, batch: Batch, _index: int) -> list[Prediction]:
        """Predict."""
        return self.predict(batch)

    def on_validation_start(self) -> None:
        """Say what is validated."""
        self._begin_evaluation(self.trainer.val_dataloaders)

    def on_test_start(self) -> None:
        """Say what is tested."""
        self._begin_evaluation(self.trainer.test_dataloaders)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation images."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test images."""
        self._log_metrics("test")

    def configure_optimizers(self) -> Any:
        """The recipe's optimizer, and its schedule moved after every step; None where there is nothing to learn."""
        if not any(parameter.requires_grad for parameter in self.parameters()):
            return None
        mixed = self.trainer.precision != "32-true"
        optimizer = build_optimizer(self, self.optimizer_options, mixed=mixed)
        steps = int(self.trainer.estimated_stepping_batches)
        steps_per_epoch = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        schedule = build_schedule(optimizer, self.schedule_options, steps=steps, steps_per_epoch=steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to use the model without its recipe, as plain values."""
        checkpoint["foveal"] = {
            "format": FORMAT,
            "task": self.name,
            "model": asdict(self.options),
            "class_names": self.class_names,
            "preprocessing": dict(self.preprocessing),
            "recipe": self.recipe,
            "fingerprints": self.fingerprints,
            "metrics": self.last_metrics,
            "thresholds": self.thresholds,
            "epoch": min(self.current_epoch, (self.trainer.max_epochs or 10**9) - 1),
            "versions": versions(),
        }

    @classmethod
    def from_checkpoint(cls, checkpoint: dict[str, Any]) -> "Task":
        """The task that `read_checkpoint` gave, with its weights, in evaluation mode; raises ModelFileError if they
        don't fit.
        """
        entry = checkpoint["foveal"]
        try:
            options = cls.OPTIONS(**_nested(cls.OPTIONS, {**entry["model"], "weights": None}))
            task = cls.build(options, class_names=entry["class_names"], preprocessing=entry["preprocessing"])
            task.load_state_dict(checkpoint["state_dict"])
        except (RuntimeError, TypeError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelFileError(f"The checkpoint's weights don't fit the network that it names: {reason}") from error
        task.options.weights = entry["model"].get("weights")
        task.recipe, task.last_metrics = entry.get("recipe", {}), entry.get("metrics", {})
        task.fingerprints, task.thresholds = entry.get("fingerprints", {}), entry.get("thresholds", [])
        return task.eval()

    def _begin_evaluation(self, loader: Any) -> None:
        dataset = getattr(getattr(loader, "dataset", None), "dataset", None)  # of `DataModule`, which prepares it
        if dataset is not None:
            self.begin_evaluation(dataset)

    def _log_metrics(self, phase: str) -> None:
        self.last_metrics = self.compute_metrics()
        self.log_dict({f"{phase}/{name}": value for name, value in self.last_metrics.items()})

    def _check_finite(self, loss: torch.Tensor, batch: Batch, index: int) -> None:
        """On a CPU, look at every loss before it reaches the weights."""
        # On a GPU the look costs a wait for the device: it is taken now and then, and before each checkpoint.
        if loss.is_cuda and index % _STEPS_BETWEEN_CHECKS:
            return
        if not torch.isfinite(loss):
            raise NumericalError(
                f"The loss became {loss.item()} in epoch {self.current_epoch + 1}, step {self.global_step + 1} "
                f"(first image of the batch: {batch['path'][0]}); lower optimizer.lr, set optimizer.clip_norm, or look "
                "at that batch."
            )


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    from .. import __version__

    return {
        "foveal": __version__,
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "lightning": str(lightning.__version__),
    }


def _per_channel(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)


def _nested(options: type, values: dict[str, Any]) -> dict[str, Any]:
    # asdict() made dicts of inner dataclasses too: make them again, by the types that the outer one names.
    hints = get_type_hints(options)
    return {key: hints[key](**value) if isinstance(value, dict) else value for key, value in values.items()}
