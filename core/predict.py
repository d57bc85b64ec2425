"""A trained task over many files: read and prepare in workers, predict in batches, write as results come.

Images go first, then videos, one after another. Where the task has a tiling, an image or frame is predicted in parts,
which are prepared batch by batch and joined as they come. A file that cannot be read is noted and passed
over; it never stops the run, and never changes what is said about another file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from rich.progress import Progress
from torch.utils.data import DataLoader, IterableDataset

from .bars import progress_bar
from .data import collate, limit_threads, number_of_workers, to_tensor
from .errors import MachineError
from .images import MAX_PIXELS, MAX_TILED_PIXELS, ImageError, read_image, read_size
from .inputs import Input, is_video
from .task import Task
from .tiles import Joiner, Tile, Tiling
from .transforms import Transform
from .types import Batch, Prediction
from .videos import read_frames, read_header
from .writers import FolderWriter

_LARGE = 2**26  # pixels, 0.2 GB: more than each of several processes should hold


@dataclass(frozen=True)
class Running:
    """How a task runs over files; changes no result but by rounding.

    Args:
        device: on which the network computes.
        batch_size: images, frames or tiles a step.
        num_workers: processes that read and prepare; None for a number by the cores.
        precision: 32, or bf16 for bfloat16 where torch's autocast takes it.
        every: of a video, each so many-th frame.
    """

    device: torch.device
    batch_size: int = 32
    num_workers: int | None = None
    precision: Literal["32", "bf16"] = "32"
    every: int = 1


def predict_files(task: Task, inputs: Sequence[Input], writer: FolderWriter, running: Running) -> None:
    """Predict `inputs`, images in their order and then videos, and hand every image and frame to `writer`, as a
    prediction, and every file that could not be read, or not to its end, as a failure.

    Whatever happens to one file, the others are written.
    """
    task = task.to(running.device).eval()
    names = {image.path: image.name for image in inputs}
    images, videos = ([each for each in inputs if is_video(each.path) is kind] for kind in (False, True))
    with progress_bar() as bar, torch.inference_mode():
        run = _Run(task, writer, running, names, bar)
        if images:
            run.over(_image_loader(images, task, running), "predict", len(images))
        for video in videos:
            try:
                frames = read_header(video.path).frames
            except ImageError as error:
                writer.fail(error)
                continue
            run.over(_frame_loader(video.path, task, running), video.name, -(-frames // running.every) or None)


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
    """Batches through the task, and what comes out to the writer."""

    def __init__(
        self, task: Task, writer: FolderWriter, running: Running, names: dict[str, str], bar: Progress
    ) -> None:
        self._task = task
        self._writer = writer
        self._running = running
        self._names = names
        self._bar = bar
        self._tiled = task.tiling() is not None
        self._joiner: Joiner | None = None  # of the image or frame that is not complete yet
        self._next: tuple[str, int | None, int] = ("", None, 0)  # its path, frame, and the number of the part it needs
        self._failed = ""  # the file that failed last: its other parts fail too, and it is one failure

    def over(self, loader: DataLoader, title: str, total: int | None) -> None:
        """Predict all that `loader` gives."""
        before = self._writer.written + self._writer.failed
        line = self._bar.add_task(title, total=total, rate="")
        for batch, failures in loader:
            if batch is not None:
                self._predict(batch)
            for failure in failures:
                self._fail(failure)
            self._writer.flush()
            done = self._writer.written + self._writer.failed - before
            self._bar.update(line, completed=done, rate=f"{(self._bar.tasks[-1].speed or 0):.0f} images/s")
        self._bar.remove_task(line)

    def _predict(self, batch: Any) -> None:
        device = self._running.device
        parts = batch.pop("part")
        batch["image"] = batch["image"].to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._running.precision == "bf16"):
            predictions = self._task.predict(batch)
        for part, prediction in zip(parts, predictions, strict=True):
            whole = self._joined(part, prediction)
            if whole is None:
                continue
            if part.frame is not None:
                whole["frame"] = part.frame
            self._writer.write(whole, self._names[whole["path"]])

    def _joined(self, part: "_Part", prediction: Prediction) -> Prediction | None:
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

    def _fail(self, failure: ImageError) -> None:
        if failure.path != self._failed:
            self._writer.fail(failure)
            self._failed = failure.path


class _Part(NamedTuple):
    """What goes through the network at once: a tile of an image or frame, or all of it."""

    tile: Tile
    number: int  # among the `count` parts
    count: int
    size: tuple[int, int]  # (H, W) of the image or frame
    frame: int | None = None


def _image_loader(images: Sequence[Input], task: Task, running: Running) -> DataLoader:
    tiling, transform = task.tiling(), task.transform("none")
    if tiling is None:
        files = _Files(images, transform, tiles_help="tile" in task.PREDICTION_OPTIONS)
        return _loader(files, running, len(images) // running.batch_size)
    paths = [image.path for image in images]
    workers = min(number_of_workers(running.num_workers), len(images))
    batches = _TileBatches(paths, tiling, running.batch_size, workers)
    return _loader(_Tiles(paths, transform), running, workers, batches)


def _frame_loader(path: str, task: Task, running: Running) -> DataLoader:
    # One process at most: a video is decoded from its beginning to its end.
    return _loader(_Frames(path, task.transform("none"), running.every, task.tiling()), running, 1)


def _loader(dataset: Any, running: Running, most_workers: int, batches: "_TileBatches | None" = None) -> DataLoader:
    return DataLoader(
        dataset,
        batch_size=running.batch_size if batches is None else 1,
        batch_sampler=batches,
        num_workers=min(number_of_workers(running.num_workers), most_workers),
        collate_fn=_collate_readable,
        worker_init_fn=limit_threads,
        pin_memory=running.device.type == "cuda",
    )


class _Files:
    """Image files as samples; one that cannot be read comes as its error, which says so where tiles would help."""

    def __init__(self, inputs: Sequence[Input], transform: Transform, *, tiles_help: bool) -> None:
        self.inputs = inputs
        self.transform = transform
        self.tiles_help = tiles_help

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict[str, Any] | ImageError:
        path = self.inputs[index].path
        try:
            image = read_image(path)
        except ImageError as error:
            if self.tiles_help and error.code == "TOO_LARGE" and _fits_in_tiles(path):
                return ImageError(path, error.code, f"{error.reason}, as --tile does")
            return error
        return _prepared(path, image, _whole(image), self.transform)


def _fits_in_tiles(path: str) -> bool:
    try:
        height, width = read_size(path)
    except ImageError:
        return False
    return MAX_PIXELS < height * width <= MAX_TILED_PIXELS


class _TileBatches:
    """Batches of (number of the path, part), made when they are asked for: a size is read from its file's head then.

    Of `workers` processes, which get batches in turn, each holds the images that its parts are of. Of a large image the
    first gets all, and the others an empty batch each.
    """

    def __init__(self, paths: Sequence[str], tiling: Tiling, batch_size: int, workers: int) -> None:
        self._paths = paths
        self._tiling = tiling
        self._batch_size = batch_size
        self._workers = max(1, workers)

    def __iter__(self) -> Iterator[list[tuple[int, _Part | None]]]:
        given = 0
        for batch, large in self._batches():
            while large and given % self._workers:
                yield []
                given += 1
            yield batch
            given += 1

    def _batches(self) -> Iterator[tuple[list[tuple[int, _Part | None]], bool]]:
        """Each with whether it is of large images."""
        batch: list[tuple[int, _Part | None]] = []
        large_before = False
        for index, path in enumerate(self._paths):
            parts, large = self._parts(path)
            if batch and large != large_before:
                yield batch, large_before
                batch = []
            for part in parts:
                batch.append((index, part))
                if len(batch) == self._batch_size:
                    yield batch, large
                    batch = []
            large_before = large
        if batch:
            yield batch, large_before

    def _parts(self, path: str) -> tuple[list[_Part | None], bool]:
        try:
            height, width = read_size(path)
        except ImageError:
            return [None], False  # whoever opens it will say why
        return [*_parts((height, width), self._tiling)], height * width > _LARGE


class _Tiles:
    """Parts of image files as samples. The image that was read last is kept, for its next part."""

    def __init__(self, paths: Sequence[str], transform: Transform) -> None:
        self._paths = paths
        self._transform = transform
        self._index = -1
        self._image: np.ndarray | ImageError | None = None

    def __getitem__(self, key: tuple[int, _Part | None]) -> dict[str, Any] | ImageError:
        index, part = key
        path = self._paths[index]
        if index != self._index:
            self._index, self._image = index, None  # the one before goes first: two large ones may not fit
            try:
                self._image = read_image(path, MAX_TILED_PIXELS)
            except ImageError as error:
                self._image = error
        image = self._image
        if isinstance(image, ImageError):
            return image
        if image is None or part is None or part.size != image.shape[:2]:
            return ImageError(path, "DAMAGED", "has changed while it was read; predict it again")
        return _prepared(path, image, part, self._transform)


class _Frames(IterableDataset):
    """Frames of a video, or their parts, as samples; at last an error if the video is damaged."""

    def __init__(self, path: str, transform: Transform, every: int, tiling: Tiling | None) -> None:
        self._path = path
        self._transform = transform
        self._every = every
        self._tiling = tiling

    def __iter__(self) -> Iterator[dict[str, Any] | ImageError]:
        tiling = self._tiling
        try:
            for number, image in read_frames(self._path, self._every):
                parts = [_whole(image)] if tiling is None else _parts(image.shape[:2], tiling)
                for part in parts:
                    yield _prepared(self._path, image, part._replace(frame=number), self._transform)
        except ImageError as error:
            yield error


def _whole(image: np.ndarray) -> _Part:
    height, width = image.shape[:2]
    return _Part(Tile(0, 0, height, width), number=0, count=1, size=(height, width))


def _parts(size: tuple[int, int], tiling: Tiling) -> list[_Part]:
    tiles = tiling.tiles(size)
    return [_Part(tile, number, len(tiles), size) for number, tile in enumerate(tiles)]


def _prepared(path: str, image: np.ndarray, part: _Part, transform: Transform) -> dict[str, Any] | ImageError:
    """A part of an image as a sample: for the network it is an image of its own."""
    top, left, height, width = part.tile
    try:
        prepared = to_tensor(transform({"image": image[top : top + height, left : left + width]}, seed=0)["image"])
    except (cv2.error, MemoryError) as error:
        return ImageError(path, "UNSUPPORTED", f"cannot be made ready for the network ({error})")
    return {"image": prepared, "path": path, "size": (height, width), "part": part}


def _collate_readable(samples: Sequence[Any]) -> tuple[Batch | None, list[ImageError]]:
    readable = [sample for sample in samples if not isinstance(sample, ImageError)]
    failures = [sample for sample in samples if isinstance(sample, ImageError)]
    return (collate(readable) if readable else None), failures
