"""Training a task into a run folder, and what may end it.

A run folder holds `recipe.yaml` (resolved), `metrics.csv` (a row an epoch), `best.ckpt` and `last.ckpt`, `curves.png`
and the task's own plots, and TensorBoard's files where that is installed.
"""

import logging
import shutil
import warnings
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from .callbacks import MetricsTable, MovingAverage, SafeStop, checkpoints
from .checkpoint import AtomicCheckpointIO, read_checkpoint
from .data import DataModule, Split, require_images
from .errors import Interrupted, MachineError, UsageError
from .folders import make_folder
from .options import TrainerOptions
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

    With `task.optimizer_options.ema`, the weights that are validated, kept and left are the moving average.

    `resume` is a checkpoint of the same recipe to go on from. Raises Interrupted after Ctrl-C or SIGTERM (`last.ckpt`
    is there), NumericalError for a loss that is not finite (the last finite checkpoint is there), DataError for a split
    without images.
    """
    quiet()
    for split in ("train", "val"):
        require_images(split, data.dataset(split))
    if resume is not None:
        data.start = _position(read_checkpoint(resume))
    data.pin_memory = options.accelerator != "cpu" and torch.cuda.is_available()
    stop = SafeStop(folder)
    decay = task.optimizer_options.ema
    average = MovingAverage(decay) if decay else None
    trainer = build_trainer(
        options,
        folder,
        callbacks=[
            *([average] if average else []),
            *checkpoints(folder, f"val/{task.metric}", average),
            MetricsTable(folder),
            stop,
            EpochProgress(),
        ],
        logger=TensorBoardLogger(folder, name="", version="tensorboard") if find_spec("tensorboard") else None,
        clip_norm=clip_norm,
    )
    task.to(memory_format=torch.channels_last)
    try:
        trainer.fit(task, datamodule=data, ckpt_path=resume and str(resume))
    except SystemExit as error:  # what Lightning makes of a second Ctrl-C
        raise Interrupted(f"Stopped at once; {folder} holds what was saved before the step under way.") from error
    except RuntimeError as error:
        raise stop.interruption() or error from None
    except ValueError as error:
        if "Expected more than 1 value per channel" not in str(error):
            raise
        raise UsageError(
            f"Batch normalisation cannot learn from data.batch_size {data.options.batch_size} at data.size "
            f"{data.options.size}: give a larger one of them."
        ) from error
    if not (folder / "best.ckpt").exists():  # a run too short for a validation
        trainer.save_checkpoint(folder / "best.ckpt", weights_only=True)
    best = read_checkpoint(folder / "best.ckpt")
    task.load_state_dict(best["state_dict"])
    task.thresholds = best["foveal"].get("thresholds", [])  # of the same epoch


def test(
    task: Task, data: DataModule, options: TrainerOptions, split: Split, folder: Path | None = None
) -> dict[str, float]:
    """The metrics of `task` on the images of `split`; its plots go to `folder` where one is given."""
    quiet()
    require_images(split, data.dataset(split))
    data.pin_memory = options.accelerator != "cpu" and torch.cuda.is_available()
    trainer = build_trainer(options, folder, callbacks=[EpochProgress()])
    trainer.test(task, dataloaders=data.evaluation_loader(split), verbose=False)
    if folder is not None:
        for name, write in task.plots().items():
            write(str(folder / name))
    return task.last_metrics


def build_trainer(
    options: TrainerOptions,
    folder: Path | None,
    *,
    callbacks: list[Callback],
    logger: Logger | None = None,
    clip_norm: float = 0.0,
) -> pl.Trainer:
    """Lightning's Trainer from plain values; raises MachineError where the wanted device is not there."""
    values = asdict(options)
    if threads := values.pop("threads"):
        torch.set_num_threads(threads)
    try:
        return pl.Trainer(
            **values,
            devices=1,
            default_root_dir=folder,
            enable_model_summary=False,
            enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
            num_sanity_val_steps=0,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            logger=logger or False,
            gradient_clip_val=clip_norm or None,
        )
    except Exception as error:  # Lightning's MisconfigurationException, RuntimeError, ValueError, by kind of device
        wanted = f"trainer.accelerator {options.accelerator} with trainer.precision {options.precision}"
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
        ".*module.*in eval mode.*",  # frozen stages are
        ".*configure_optimizers. returned .None.*",  # a filter, which has nothing to learn
        ".*training_step. returned .None.*",
    ):
        warnings.filterwarnings("ignore", message)


# What every run leaves in its folder, beside its task's own plots.
_LEFT = ("recipe.yaml", "best.ckpt", "last.ckpt", "metrics.csv", "curves.png")


def prepare_folder(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Make the run's folder, before any work, and try to write to it.

    Raises UsageError where it holds another run, MachineError where it cannot be written.
    """
    if (folder / "recipe.yaml").exists() and not (overwrite or resume):
        raise UsageError(f"{folder}: a run is already there; give another --out, or --resume it, or --overwrite it.")
    make_folder(folder)


def clear_folder(folder: Path, task: Task) -> None:
    """Remove what another run of `task` left, once it is sure that a new one will begin."""
    for name in (*_LEFT, *task.plots()):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)


def _position(checkpoint: dict[str, Any]) -> tuple[int, int]:
    """The epoch that a resumed run goes on with, and how many of its batches were already used."""
    loops = checkpoint["loops"]["fit_loop"]
    epochs = loops["epoch_progress"]["current"]
    if epochs["ready"] == epochs["processed"]:  # between two epochs
        return epochs["processed"], 0
    return epochs["processed"], loops["epoch_loop.batch_progress"]["current"]["ready"]
