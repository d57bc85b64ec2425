"""A trained task over many files: read and prepare in workers, predict in batches, write as results come.

Images go first, then videos, one after another. Where the task has a tiling, an image or frame is predicted in parts,
which are prepared batch by batch and joined as they come. A file that cannot be read is noted and passed over; it never
stops the run, and never changes what is said about another file.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from rich.progress import Progress

from .bars import progress_bar
from .cores import number_of_cores
from .data import number_of_workers
from .errors import MachineError
from .images import ImageError
from .pool import Done, Job, Lost, Pool
from .reading import Part, Reading, parts_of
from .task import Task
from .tiles import Joiner
from .transforms import Transform
from .types import Prediction
from .writers import FolderWriter

_MOST_WORKERS = 16
_AT_ONCE = 8  # images, on a CPU


@dataclass(frozen=True)
class Running:
    """How a task runs over files; changes no result but by rounding.

    Args:
        device: on which the network computes.
        batch_size: images, frames or tiles a step.
        num_workers: processes that read and prepare; None for a number by the cores.
        precision: 32, or bf16 for bfloat16 where torch's autocast takes it.
        every: of a video, each so many-th frame.
        exact: JPEGs are decoded at their full size, also where the network's input is far smaller.
        timeout: seconds that reading a file may take, in another process than this.
    """

    device: torch.device
    batch_size: int = 32
    num_workers: int | None = None
    precision: Literal["32", "bf16"] = "32"
    every: int = 1
    exact: bool = False
    timeout: float = 120.0

    @property
    def together(self) -> int:
        """Images of a batch that go through the network at once: on a CPU as many as its caches hold (a batch of 32
        takes twice as long an image), elsewhere all.
        """
        return min(_AT_ONCE, self.batch_size) if self.device.type == "cpu" else self.batch_size


def predict_files(task: Task, writer: FolderWriter, running: Running, check: Callable[[], None] = lambda: None) -> None:
    """Predict the inputs that `writer` has no results for yet, images and then videos, and hand it every image and
    frame, as a prediction, and every file that could not be read, or not to its end, as a failure.

    Whatever happens to one file, the others are written. `check` is called often, and may raise to end the run.
    """
    predict_together([task], [writer], running, check)


def predict_together(
    tasks: Sequence[Task],
    writers: Sequence[FolderWriter],
    running: Running,
    check: Callable[[], None] = lambda: None,
) -> None:
    """`predict_files` of several tasks over the same inputs, each of which is read once; each task has its writer.

    Several tasks have no tilings. What is alike in how they see an image is done once.
    """
    tasks = [task.to(running.device).to(memory_format=torch.channels_last).eval() for task in tasks]
    views, numbers = _views(tasks)
    reading = Reading(
        tuple(views),
        tasks[0].tiling(),
        running.batch_size,
        running.every,
        () if running.exact else tuple(task.preprocessing for task in tasks),
        tiles_help="tile" in tasks[0].PREDICTION_OPTIONS,
    )
    last = min(writers, key=lambda writer: writer.offset)
    left = len(last.inputs) - last.done
    # A process a core: where reading takes longest, they have all of them; where the network does, they wait for it.
    wanted = min(number_of_cores(), _MOST_WORKERS) if running.num_workers is None else running.num_workers
    # One at least, if any are wanted: a decoder that crashes or hangs must not take this process with it.
    workers = min(number_of_workers(wanted), max(1, left // running.batch_size + last.inputs.videos))
    runs = [_Run(task, writer, running, number) for task, writer, number in zip(tasks, writers, numbers, strict=True)]
    with progress_bar() as bar, Pool(reading, workers, running.timeout, check) as pool, torch.inference_mode():
        _over(runs, last, reading, running, pool, bar)


def _views(tasks: Sequence[Task]) -> tuple[list[Transform], list[int]]:
    """The different ways in which tasks see an image, and for each task the number of its own."""
    views: list[Transform] = []
    numbers = []
    for task in tasks:
        view = task.transform("none")
        number = next((number for number, other in enumerate(views) if other.does_as(view)), len(views))
        views += [view] if number == len(views) else []
        numbers.append(number)
    return views, numbers


def _over(
    runs: Sequence["_Run"], last: FolderWriter, reading: Reading, running: Running, pool: Pool, bar: Progress
) -> None:
    """Predict all that the writer that has come least far has no results for."""
    line = bar.add_task("predict", total=len(last.inputs), completed=last.done, rate="")
    jobs: deque[tuple[Job, int]] = deque()

    def noted() -> Iterator[Job]:
        for job, offset in reading.jobs(last.inputs.read(last.offset)):
            jobs.append((job, offset))
            yield job

    for result in pool.run(noted()):
        job, offset = jobs[0]
        due = [run for run in runs if offset > run.writer.offset]  # not those that were here before they were stopped
        if isinstance(result, Done):
            for batches in result.value.parts(running.device, running.together):
                for run in due:  # the same images one after another: what they have in common is still at hand
                    run.predict(batches, job)
            failures = result.value.failures
        else:
            failures = [_failure(result)] if isinstance(result, Lost) else []
        for run in due:
            run.fail(failures)
            if result is None:
                run.writer.finish_inputs(len(job.items), offset)
        if result is None:
            jobs.popleft()
        bar.update(line, completed=last.done, rate=f"{(bar.tasks[-1].speed or 0):.0f} files/s")
    bar.remove_task(line)


def find_device(name: str) -> torch.device:
    """The device called auto (the first GPU, or the CPU), cpu, cuda, cuda:N, gpu or mps.

    Raises MachineError where it is not there or can't be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name.replace("gpu", "cuda"))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MachineError(f"--device {name}: it can't be used here ({reason}); give auto or cpu.") from error
    return device


class _Run:
    """Batches through one task, and what comes out to its writer."""

    def __init__(self, task: Task, writer: FolderWriter, running: Running, view: int) -> None:
        self.writer = writer
        self._task = task
        self._device = running.device
        self._view = view  # of several, the batch that is for this task
        self._bf16 = running.precision == "bf16"
        self._tiled = task.tiling() is not None
        self._joiner: Joiner | None = None  # of the image or frame that is not complete yet
        self._next: tuple[str, int | None, int] = ("", None, 0)  # its path, frame, and the number of the part it needs
        self._failed = ""  # the file that failed last: its other parts fail too, and it is one failure
        # Images that fit into the memory at once. What goes by the frames before must see each one once, whatever fits.
        self._most = 1 if task.SEQUENTIAL else running.together

    def predict(self, batches: Sequence[Any], job: Job) -> None:
        """Predict what was read of a job, of which there is a batch for each view."""
        names = {given.path: given.name for given in job.items}
        batch = dict(batches[self._view])
        parts = batch.pop("part")
        batch["frame"] = [part.frame for part in parts]
        for part, prediction in zip(parts, self._predictions(batch), strict=True):
            if isinstance(prediction, ImageError):
                self.fail([prediction])
                continue
            whole = self._joined(part, prediction)
            if whole is None:
                continue
            if part.frame is not None:
                whole["frame"] = part.frame
            self.writer.write(whole, names[whole["path"]])

    def fail(self, failures: Sequence[ImageError]) -> None:
        """Note files that could not be read, each once."""
        for failure in failures:
            if failure.path != self._failed:
                self.writer.fail(failure)
                self._failed = failure.path

    def _predictions(self, batch: Any) -> list[Prediction | ImageError]:
        """Of all images of a batch, in halves where the memory is too small for all."""
        count, device = len(batch["path"]), self._device
        half = (count + 1) // 2
        if count <= self._most:
            try:
                with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
                    return [*self._task.predict(batch)]
            except ImageError as error:  # of a video that nothing can be done with
                return [error] * count
            except (torch.OutOfMemoryError, MemoryError):
                if count == 1:
                    reason = f"is too large for the memory of {device}; make it smaller"
                    return [ImageError(batch["path"][0], "TOO_LARGE", reason)]
            if device.type == "cuda":
                torch.cuda.empty_cache()
            self._most = half
        return [each for part in parts_of(batch, half) for each in self._predictions(part)]

    def _joined(self, part: Part, prediction: Prediction) -> Prediction | None:
        """The prediction of the whole image or frame, once its last part is there."""
        if not self._tiled:
            return prediction
        place = (prediction["path"], part.frame)
        if part.number == 0:
            self._joiner = self._task.joiner(part.size)
        elif self._next != (*place, part.number):  # a part before this one has failed
            return None
        assert self._joiner is not None
        self._joiner.add(prediction, part.tile)
        self._next = (*place, part.number + 1)
        if part.number < part.count - 1:
            return None
        joiner, self._joiner = self._joiner, None
        return joiner.result()


def _failure(lost: Lost) -> ImageError:
    if lost.how == "timeout":
        reason = f"could not be read within {lost.detail}; raise --timeout, or copy it to a faster disk"
        return ImageError(lost.item.path, "TIMEOUT", reason)
    return ImageError(lost.item.path, "CRASHED", f"ends the process that reads it ({lost.detail}); convert it to PNG")
