"""A trained task over many image files: read and prepare in workers, predict in batches, write as results come.

A file that cannot be read is noted and passed over; it never stops the run, and never changes what is said about
another file.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

from .bars import progress_bar
from .data import collate, limit_threads, number_of_workers, to_tensor
from .errors import MachineError
from .images import ImageError, read_image
from .inputs import Input
from .task import Task
from .transforms import Transform
from .types import Batch, Sample
from .writers import FolderWriter


def predict_files(
    task: Task,
    inputs: Sequence[Input],
    writer: FolderWriter,
    *,
    batch_size: int = 32,
    num_workers: int | None = None,
    device: torch.device,
) -> None:
    """Predict `inputs` in their order and hand every one to `writer`, as a prediction or as a failure.

    Whatever happens to one file, the others are written.
    """
    loader = DataLoader(
        _Files(inputs, task.transform("none")),  # type: ignore[arg-type]  # a Dataset by its two methods
        batch_size=batch_size,
        num_workers=min(number_of_workers(num_workers), len(inputs) // batch_size),
        collate_fn=_collate_readable,
        worker_init_fn=limit_threads,
        pin_memory=device.type == "cuda",
    )
    task = task.to(device).eval()
    names = {image.path: image.name for image in inputs}
    with progress_bar() as bar, torch.inference_mode():
        line = bar.add_task("predict", total=len(inputs), rate="")
        for batch, failures in loader:
            if batch is not None:
                batch["image"] = batch["image"].to(device, non_blocking=True)
                for prediction in task.predict(batch):
                    writer.write(prediction, names[prediction["path"]])
            for failure in failures:
                writer.fail(failure)
            writer.flush()
            done = writer.written + writer.failed
            bar.update(line, completed=done, rate=f"{(bar.tasks[line].speed or 0):.0f} images/s")


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


class _Files:
    """Image files as samples; one that cannot be read comes as its error."""

    def __init__(self, inputs: Sequence[Input], transform: Transform) -> None:
        self.inputs = inputs
        self.transform = transform

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Sample | ImageError:
        path = self.inputs[index].path
        try:
            image = read_image(path)
            prepared = to_tensor(self.transform({"image": image}, seed=0)["image"])
        except ImageError as error:
            return error
        except (cv2.error, MemoryError) as error:
            return ImageError(path, "UNSUPPORTED", f"cannot be made ready for the network ({error})")
        height, width = image.shape[:2]
        return Sample(image=prepared, path=path, size=(height, width))


def _collate_readable(samples: Sequence[Any]) -> tuple[Batch | None, list[ImageError]]:
    readable = [sample for sample in samples if not isinstance(sample, ImageError)]
    failures = [sample for sample in samples if isinstance(sample, ImageError)]
    return (collate(readable) if readable else None), failures
