"""Progress for people: a bar with rate and time left at a terminal, and a line an epoch everywhere."""

import sys
import time
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar

from .bars import progress_bar


def epoch_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """What was logged in the epoch that ends; Lightning also keeps the metrics of a validation of long ago."""
    validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
    metrics = sorted(trainer.callback_metrics.items())
    return {name: float(value) for name, value in metrics if validated or not name.startswith("val/")}


class EpochProgress(ProgressBar):
    """A bar over the training, validation or test under way, and a line on standard output for each finished epoch."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = progress_bar()
        self._began = 0.0  # of the phase under way
        self._epochs: list[float] = []  # when the run began, and when each of its epochs ended

    def disable(self) -> None:
        """Lightning turns off the bars of all processes but the first."""
        self._bar.disable = True

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Start the clock; an epoch that a resumed run goes on with does not start again, so its bar begins here."""
        self._epochs = [time.perf_counter()]
        self.on_train_epoch_start(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Begin the epoch's bar."""
        self._begin(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", self.total_train_batches)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move it."""
        self._move(batch, batch_idx)

    def on_validation_start(self, *_: Any) -> None:
        """Begin the validation's bar."""
        self._begin("validate", sum(self.trainer.num_val_batches))

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Move it."""
        self._move(batch, batch_idx)

    def on_test_start(self, *_: Any) -> None:
        """Begin the test's bar."""
        self._begin("test", sum(self.trainer.num_test_batches))

    def on_test_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any) -> None:
        """Move it."""
        self._move(batch, batch_idx)

    def on_test_end(self, *_: Any) -> None:
        """Take it away."""
        self._bar.stop()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the epoch's line, with the time that the rest will take at the pace so far."""
        self._bar.stop()
        self._epochs.append(time.perf_counter())
        if not trainer.is_global_zero:
            return
        metrics, headline = epoch_metrics(trainer), getattr(pl_module, "HEADLINE", ())
        metrics = {name: value for name, value in metrics.items() if not headline or name.split("/")[1] in headline}
        names = sorted(metrics, key=lambda name: (not name.endswith("loss"), name != "train/loss"))
        values = "  ".join(f"{name} {metrics[name]:.4f}" for name in names)
        done, seconds = trainer.current_epoch + 1, self._epochs[-1] - self._epochs[-2]
        pace = (self._epochs[-1] - self._epochs[0]) / (len(self._epochs) - 1)
        left = timedelta(seconds=round(pace * max(0, (trainer.max_epochs or done) - done)))
        print(f"epoch {done}/{trainer.max_epochs}  {values}  {seconds:.1f} s, {left} left", file=sys.stdout, flush=True)

    def on_exception(self, *_: Any) -> None:
        """Give the terminal back."""
        self._bar.stop()

    def _begin(self, title: str, batches: int | float) -> None:
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._bar.add_task(title, total=batches, rate="")
        self._bar.start()
        self._began = time.perf_counter()

    def _move(self, batch: Any, index: int) -> None:
        rate = (index + 1) * len(batch["path"]) / (time.perf_counter() - self._began)
        self._bar.update(self._bar.task_ids[0], completed=index + 1, rate=f"{rate:.0f} images/s")
