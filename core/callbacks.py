"""What happens around the steps of a training: the table of metrics, safe stops, checkpoints that are never broken."""

import csv
import signal
import threading
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from .errors import Interrupted, NumericalError
from .plots import plot_curves


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
        row |= {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        row |= {"lr": trainer.optimizers[0].param_groups[0]["lr"], "seconds": time.perf_counter() - self._began}
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
    """Ctrl-C and SIGTERM end the run after the step under way, with `last.ckpt` saved.

    A second Ctrl-C ends it at once. Lightning itself ends a SIGTERM with exit code 0, and saves nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last.ckpt"
        self._signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save once, so that there is always something to go on from, and take over the two signals.

        A folder or a disk that cannot hold a checkpoint is found here, and not after hours.
        """
        if not self.path.exists():
            trainer.save_checkpoint(self.path)
        if threading.current_thread() is threading.main_thread():  # Python allows no other to handle signals
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Stop here if a signal came."""
        self._stop_if_asked()

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Stop here if a signal came; a resumed run begins this validation anew."""
        if self._signal is not None:
            # What Lightning takes for a stop in the middle of a step, after which it repeats the validation.
            progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
            progress.increment_completed()
            progress.increment_ready()
            progress.increment_started()
            progress.current.reset()
        self._stop_if_asked()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Save the state that an interrupted run can go on from."""
        if isinstance(exception, Interrupted) and _is_finite(pl_module):
            trainer.save_checkpoint(self.path)

    def _note(self, number: int, _frame: Any) -> None:
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number)

    def _stop_if_asked(self) -> None:
        if self._signal is not None:
            raise Interrupted(f"Stopped by {self._signal.name}; the run is saved in {self.path}: go on with --resume.")


class FiniteCheckpoint(ModelCheckpoint):
    """Never replaces a good checkpoint by one with NaN or infinite weights."""

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        if not _is_finite(trainer.lightning_module):
            raise NumericalError(
                f"The weights are no longer finite after epoch {trainer.current_epoch + 1}; lower optimizer.lr or set "
                "optimizer.clip_norm. The checkpoints of the run are from before."
            )
        super()._save_checkpoint(trainer, filepath)


def checkpoints(folder: Path, monitor: str) -> list[Callback]:
    """`best.ckpt`, the weights of the epoch with the highest `monitor`, and `last.ckpt`, all to go on from."""
    common: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    best = FiniteCheckpoint(filename="best", monitor=monitor, mode="max", save_weights_only=True, **common)
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
