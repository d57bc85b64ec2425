"""Progress for people: a bar with rate and time left at a terminal, and a line an epoch everywhere."""

import sys
import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn


def progress_bar() -> Progress:
    """A bar on standard error: done of all, the task field `rate`, and time left; silent where that is no terminal."""
    console = Console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        refresh_per_second=4,
        disable=not console.is_terminal,
    )


class EpochProgress(ProgressBar):
    """One bar over the epoch under way, and one line on standard output for each that is done."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = progress_bar()
        self._task: Any = None
        self._began = 0.0

    def disable(self) -> None:
        """Lightning turns off the bars of all processes but the first."""
        self._bar.disable = True

    def on_train_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Begin a bar here too: an epoch that a resumed run goes on with does not start again."""
        self.on_train_epoch_start(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Begin the epoch's bar."""
        self._began = time.perf_counter()
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        title = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self._task = self._bar.add_task(title, total=int(self.total_train_batches), rate="")
        self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move it."""
        rate = (batch_idx + 1) * len(batch["path"]) / (time.perf_counter() - self._began)
        self._bar.update(self._task, completed=batch_idx + 1, rate=f"{rate:.0f} images/s")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Print the epoch's line."""
        self._bar.stop()
        if not trainer.is_global_zero:
            return
        shown = {name: float(value) for name, value in trainer.callback_metrics.items() if not name.endswith("_step")}
        values = "  ".join(f"{name} {value:.4f}" for name, value in shown.items())
        seconds = time.perf_counter() - self._began
        print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {values}  ({seconds:.1f} s)",
            file=sys.stdout,
            flush=True,
        )

    def on_exception(self, *args: Any) -> None:
        """Give the terminal back."""
        self._bar.stop()
