"""What happens around the steps of a training: the table of metrics, safe stops, checkpoints that are never broken."""

import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .errors import Interrupted, NumericalError
from .plots import plot_curves
from .progress import epoch_metrics
from .stop import Stop


class MetricsTable(Callback):
    """`metrics.csv`, one row an epoch, and the plots; rows of a resumed run are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []
        self._began = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock here too: an epoch that a resumed run goes on with does not start again."""
        self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the epoch."""
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the row, write the table anew."""
        row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        row |= epoch_metrics(trainer)
        groups = trainer.optimizers[0].param_groups  # none where there is nothing to learn
        row |= {"lr": groups[0]["lr"] if groups else 0.0, "seconds": time.perf_counter() - self._began}
        self.rows.append(row)
        if trainer.is_global_zero:
            _write_table(self.folder / "metrics.csv", self.rows)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the curves."""
        if trainer.is_global_zero and self.rows:
            plot_curves(self.rows, self.folder / "curves.png")

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, as plain values for the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on below the rows of the checkpoint."""
        self.rows = list(state_dict["rows"])


class SafeStop(Callback):
    """Ctrl-C, SIGTERM and SIGHUP end the run after the step under way, with `last.ckpt` saved.

    A second Ctrl-C ends it at once. Lightning itself ends a SIGTERM with exit code 0, and saves nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last.ckpt"
        self._stop = Stop()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save once, so that there is always something to go on from, and take over the signals.

        A folder or a disk that cannot hold a checkpoint is found here, and not after hours.
        """
        if not self.path.exists():
            trainer.save_checkpoint(self.path)
        self._stop.__enter__()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give them back."""
        self._stop.__exit__(None, None, None)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop here if a signal came, unless gradients wait to be used, or the epoch ends here: validation follows."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and not trainer.is_last_batch:
            self._stop_if_asked()

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Stop here if a signal came; a resumed run begins this validation anew."""
        if self._stop.signal is not None:
            # What Lightning takes for a stop in the middle of a step, after which it repeats the validation.
            progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
            progress.increment_completed()
            progress.increment_ready()
            progress.increment_started()
            progress.current.reset()
        self._stop_if_asked()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Save the state that an interrupted run can go on from, be it for want of the loader's workers."""
        stopped = isinstance(exception, Interrupted) or (self._stop.signal and isinstance(exception, RuntimeError))
        if stopped and _is_finite(pl_module):
            trainer.save_checkpoint(self.path)

    def _stop_if_asked(self) -> None:
        if (error := self.interruption()) is not None:
            raise error

    def interruption(self) -> Interrupted | None:
        """The error that a signal asks for, if one came."""
        if self._stop.signal is not None:
            return Interrupted(
                f"Stopped by {self._stop.signal.name}; the run is saved in {self.path}: go on with --resume."
            )
        return None


class MovingAverage(WeightAveraging):
    """Validates with a moving average of the weights, and has checkpoints hold it as the weights to use.

    After optimizer step t + 1 the average keeps min(`decay`, (1 + t) / (10 + t)) of itself, so that it is not held back
    by how the network began; it starts as the weights after the first step. Statistics of batch norms are averaged too,
    and whole numbers copied. `last.ckpt` also has what to go on with: the weights of the optimizer.

    It must stand before `SafeStop` in the trainer's list: an interrupted run is saved there, after the average has had
    the step under way, and with both sets of weights in their places.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=self._follow)
        self.decay = decay
        self._exchanged = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make the average on the device of the training; at this point the module itself is not there yet."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()  # read each step: no wait for a GPU

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the average in the module's place."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._exchanged = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the weights back."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._exchanged = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the weights back to a run that ends within a validation, before it is saved."""
        if self._exchanged:
            self.on_validation_epoch_end(trainer, pl_module)

    @contextmanager
    def in_place(self, module: pl.LightningModule) -> Iterator[None]:
        """The average in the place of the weights: Lightning asks no callback about a file of weights alone."""
        self._swap_models(module)
        try:
            yield
        finally:
            self._swap_models(module)

    def _follow(self, averages: Any, weights: Any, _number: Any) -> None:
        # All of one type. The number of updates comes as a tensor on their device, and is read here on the CPU.
        if not averages[0].is_floating_point():
            for average, value in zip(averages, weights, strict=True):
                average.copy_(value)
            return
        assert self._average_model is not None
        number = int(self._average_model.n_averaged)
        get_ema_multi_avg_fn(min(self.decay, (1 + number) / (10 + number)))(averages, weights, number)


class FiniteCheckpoint(ModelCheckpoint):
    """Never replaces a good checkpoint by one with NaN or infinite weights; of epochs that score alike, keeps the last.

    A small validation set is soon without a fault, and its first such epoch is seldom the best one. With `average`, a
    checkpoint of weights alone holds that in their place.
    """

    average: MovingAverage | None = None

    def check_monitor_top_k(self, trainer: pl.Trainer, current: torch.Tensor | None = None) -> bool:
        """Whether this epoch is as good as the best so far."""
        alike = current is not None and bool(current == self.best_model_score)
        return alike or super().check_monitor_top_k(trainer, current)

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        if not _is_finite(trainer.lightning_module):
            raise NumericalError(
                f"The weights are no longer finite after epoch {trainer.current_epoch + 1}; lower optimizer.lr or set "
                "optimizer.clip_norm. The checkpoints of the run are from before."
            )
        with self.average.in_place(trainer.lightning_module) if self.average is not None else nullcontext():
            super()._save_checkpoint(trainer, filepath)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best score so far, also where the run's folder was moved: Lightning would forget it."""
        moved = {name: self._here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path")}
        best = {self._here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best, "dirpath": self.dirpath})

    def _here(self, path: str) -> str:
        return str(Path(self.dirpath or ".") / Path(path).name) if path else path


def checkpoints(folder: Path, monitor: str, average: MovingAverage | None = None) -> list[Callback]:
    """`best.ckpt`, the weights of the epoch with the highest `monitor`, and `last.ckpt`, all to go on from; where there
    is an `average` of the weights, both hold it.
    """
    common: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    best = FiniteCheckpoint(filename="best", monitor=monitor, mode="max", save_weights_only=True, **common)
    best.average = average
    last = FiniteCheckpoint(filename="last", every_n_epochs=1, save_on_train_epoch_end=True, **common)
    return [best, last]


def _is_finite(module: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(values).all()) for values in module.state_dict().values())


def _write_table(path: Path, rows: list[dict[str, float]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
