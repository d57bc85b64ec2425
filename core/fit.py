"""Training a task into a run folder, and what may end it.

A run folder holds `recipe.yaml` (resolved), `metrics.csv` (a row an epoch), `best.ckpt` and `last.ckpt`, `curves.png`
and the task's own plots, and TensorBoard's files where that is installed.
"""

import csv
import logging
import signal
import time
import warnings
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from .checkpoint import AtomicCheckpointIO, find_checkpoint, read_checkpoint
from .data import DataModule, Split, require_images
from .errors import Interrupted, MachineError, NumericalError, UsageError
from .options import TrainerOptions
from .plots import plot_curves
from .progress import EpochProgress
from .task import Task


def fit(
    task: Task,
    data: DataModule,
    options: TrainerOptions,
    folder: Path,
    *,
    clip_norm: float = 0.0,
    resume: Path | None = None,
) -> None:
    """Train `task` on `data` and leave checkpoints, table and plots in `folder`; `task` ends with the best weights.

    `resume` is a checkpoint of the same recipe to go on from. Raises Interrupted after Ctrl-C or SIGTERM (`last.ckpt`
    is there), NumericalError for a loss that is not finite (the last finite checkpoint is there), DataError for a split
    without images.
    """
    quiet()
    for split in ("train", "val"):
        require_images(split, data.dataset(split))
    if resume is not None:
        data.start = _position(read_checkpoint(resume))
    table = MetricsTable(folder)
    trainer = build_trainer(
        options,
        folder,
        callbacks=[*_checkpoints(task, folder), table, SafeStop(folder), EpochProgress()],
        plugins=[AtomicCheckpointIO()],
        logger=TensorBoardLogger(folder, name="", version="tensorboard") if find_spec("tensorboard") else False,
        gradient_clip_val=clip_norm or None,
    )
    try:
        trainer.fit(task, datamodule=data, ckpt_path=resume and str(find_checkpoint(resume)))
    except torch.OutOfMemoryError as error:
        raise MachineError(
            f"The device's memory is too small for data.batch_size {data.options.batch_size}; halve it, and set "
            "trainer.accumulate_grad_batches to 2 for the same gradient."
        ) from error
    if (folder / "best.ckpt").exists():  # a run too short for a validation has none
        task.load_state_dict(read_checkpoint(folder / "best.ckpt")["state_dict"])


def test(
    task: Task, data: DataModule, options: TrainerOptions, split: Split, folder: Path | None = None
) -> dict[str, float]:
    """The metrics of `task` on the images of `split`; its plots go to `folder` where one is given."""
    quiet()
    require_images(split, data.dataset(split))
    trainer = build_trainer(options, folder, callbacks=[EpochProgress()], logger=False)
    trainer.test(task, dataloaders=data.evaluation_loader(split), verbose=False)
    if folder is not None:
        for name, write in task.plots().items():
            write(str(folder / name))
    return task.last_metrics


def build_trainer(options: TrainerOptions, folder: Path | None, **extra: Any) -> pl.Trainer:
    """Lightning's Trainer from plain values; raises MachineError where the wanted device is not there."""
    try:
        return pl.Trainer(
            **asdict(options),
            default_root_dir=folder,
            enable_progress_bar=any(isinstance(callback, EpochProgress) for callback in extra["callbacks"]),
            enable_model_summary=False,
            enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in extra["callbacks"]),
            num_sanity_val_steps=0,
            **extra,
        )
    except Exception as error:  # Lightning's MisconfigurationException, RuntimeError, ValueError, by kind of device
        wanted = f"trainer.accelerator {options.accelerator}, devices {options.devices}, precision {options.precision}"
        raise MachineError(f"This machine cannot run {wanted}: {' '.join(str(error).split())}") from error


def quiet() -> None:
    """Leave out what Lightning says about itself; its warnings about a user's run stay."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # chosen by the recipe
        ".*The number of training batches.*is smaller than the logging interval.*",
        ".*dataloader is not resumable.*",  # it is: the sampler goes on by the epoch and the batch
        ".*exists and is not empty.*",
        ".*have overridden `on_before_batch_transfer`.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
        ".*ModelCheckpoint.*redundant.*",
    ):
        warnings.filterwarnings("ignore", message)


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
        """Take over the two signals, from Lightning too; and save once, so that there is always something to go on
        from.

        A folder or a disk that cannot hold a checkpoint is found here, and not after hours.
        """
        if not self.path.exists():
            trainer.save_checkpoint(self.path)
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


class _FiniteCheckpoint(ModelCheckpoint):
    """Never replaces a good checkpoint by one with NaN or infinite weights."""

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        if not _is_finite(trainer.lightning_module):
            raise NumericalError(
                f"The weights are no longer finite after epoch {trainer.current_epoch + 1}; lower optimizer.lr or set "
                "optimizer.clip_norm. The checkpoints of the run are from before."
            )
        super()._save_checkpoint(trainer, filepath)


def _position(checkpoint: dict[str, Any]) -> tuple[int, int]:
    """The epoch that a resumed run goes on with, and how many of its batches were already used."""
    loops = checkpoint["loops"]["fit_loop"]
    epochs = loops["epoch_progress"]["current"]
    if epochs["ready"] == epochs["processed"]:  # between two epochs
        return epochs["processed"], 0
    return epochs["processed"], loops["epoch_loop.batch_progress"]["current"]["ready"]


def _checkpoints(task: Task, folder: Path) -> list[Callback]:
    common: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    best = _FiniteCheckpoint(
        filename="best", monitor=f"val/{task.metric}", mode="max", save_weights_only=True, **common
    )
    last = _FiniteCheckpoint(filename="last", every_n_epochs=1, save_on_train_epoch_end=True, **common)
    return [best, last]


def _is_finite(module: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(values).all()) for values in module.state_dict().values())


def _write_table(path: Path, rows: list[dict[str, float]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def prepare_folder(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Make the run's folder, before any work, and try to write to it.

    Raises UsageError where it holds another run, MachineError where it cannot be written.
    """
    if (folder / "recipe.yaml").exists() and not (overwrite or resume):
        raise UsageError(f"{folder}: a run is already there; give another --out, or --resume it, or --overwrite it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
        if overwrite and not resume:
            for name in ("best.ckpt", "last.ckpt", "metrics.csv", "recipe.yaml"):
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(f"{folder}: cannot be written ({error.strerror}); give another --out.") from error
