"""From files to batches, in the processes of a prediction run.

A job is a list of inputs: a batch of images; where the task has a tiling, a few images, or one alone whose head says
that it is large; or one video. What it gives depends on its files alone, so a run that is taken up again makes the same
batches.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from .data import collate, to_tensor
from .frames import read_frames
from .images import (
    MAX_PIXELS,
    MAX_TILED_PIXELS,
    ImageError,
    count_pixels,
    decode_image,
    read_bytes,
    read_head,
    read_image,
    read_reduced,
    read_size,
)
from .inputs import Input, is_video
from .pool import Alone, Beat, Done, Job
from .tiles import Tile, Tiling
from .transforms import Transform, decoder_factor
from .types import Preprocessing

_LARGE = 2**26  # pixels, 0.2 GB: more than each of several processes should hold


class Part(NamedTuple):
    """What goes through the network at once: a tile of an image or frame, or all of it."""

    tile: Tile
    number: int  # among the `count` parts
    count: int
    size: tuple[int, int]  # (H, W) of the image or frame
    frame: int | None = None


class Read(NamedTuple):
    """A batch on its way to the tasks, once for each view, with an array in place of its tensor; and what could not be
    read behind it.
    """

    batches: list[dict[str, Any]]  # none where nothing could be read
    failures: list[ImageError]

    def parts(self, device: torch.device, most: int) -> Iterator[tuple[Any, ...]]:
        """The batches, their images on `device`, in parts of `most` images."""
        images = [torch.from_numpy(batch["image"]).permute(0, 3, 1, 2) for batch in self.batches]
        pairs = zip(self.batches, images, strict=True)
        whole = [{**batch, "image": image.to(device, non_blocking=True)} for batch, image in pairs]
        yield from zip(*(parts_of(batch, most) for batch in whole), strict=True)


@dataclass(frozen=True)
class Reading:
    """How files become batches; goes to the processes that do it.

    Args:
        views: from an image to a network's input; several, for tasks that see it differently.
        tiling: how images are cut, or None.
        batch_size: images, frames or tiles in a batch.
        every: of a video, each so many-th frame.
        preprocessings: of the views, where the decoder may begin to make an image smaller; none for whole images.
        tiles_help: an error about an image that is too large says that tiles would help.
    """

    views: tuple[Transform, ...]
    tiling: Tiling | None = None
    batch_size: int = 32
    every: int = 1
    preprocessings: tuple[Preprocessing, ...] = ()
    tiles_help: bool = False

    def jobs(self, inputs: Iterable[tuple[Input, int]]) -> Iterator[tuple[Job, int]]:
        """Inputs in groups that are read together, each with the offset that its last one came with.

        Here, where a read that hangs would hang the run, no more than the heads of plain files are read.
        """
        group: list[Input] = []
        last = 0
        for given, offset in inputs:
            large = self.tiling is not None and count_pixels(read_head(given.path)) > _LARGE
            alone = large or is_video(given.path)
            if group and (alone or len(group) == self.batch_size):
                yield Job(group), last
                group = []
            if alone:
                yield Job([given]), offset
            else:
                group.append(given)
                last = offset
        if group:
            yield Job(group), last

    def __call__(self, job: Sequence[Input], beat: Beat, alone: Alone) -> Iterator[Done]:
        """The batches of a job, as `Read`."""
        together: list[dict[str, Any]] = []
        failures: list[ImageError] = []
        for finished, sample in self._samples(job, beat, alone):
            if isinstance(sample, ImageError):
                failures.append(sample)
            else:
                together.append(sample)
            if len(together) == self.batch_size:
                yield Done(_read(together, failures), finished)
                together, failures = [], []
        if together or failures:
            yield Done(_read(together, failures), len(job))

    def _samples(
        self, job: Sequence[Input], beat: Beat, alone: Alone
    ) -> Iterator[tuple[int, dict[str, Any] | ImageError]]:
        """Samples, and errors in place of those that there are none of, each with how many inputs need not be read
        again once it is there: a video of which a frame is there is not begun again, an image of which a tile is, is.
        """
        for number, given in enumerate(job):
            beat(number)
            path = given.path
            try:
                for sample in self._frames(path, partial(beat, number)) if is_video(path) else self._parts(path, alone):
                    if isinstance(sample, ImageError):  # a frame of a folder: the others are read
                        yield number, sample
                        continue
                    part = sample["part"]
                    last = part.number == part.count - 1
                    yield number + (last or part.frame is not None), sample
            except ImageError as error:
                yield number + 1, error
            except (Exception, SystemExit) as error:  # of a decoder, about this one file
                reason = f"makes its reader fail ({type(error).__name__}: {error}); convert it to PNG"
                yield number + 1, ImageError(path, "DAMAGED", reason)

    def _parts(self, path: str, alone: Alone) -> Iterator[dict[str, Any]]:
        if self.tiling is None:
            image, size = self._image(path)
            yield self._sample(path, image, _whole(image), size)
            return
        image = _read_whole(path, alone)
        for part in _parts(image.shape[:2], self.tiling):
            yield self._sample(path, image, part)

    def _image(self, path: str) -> tuple[np.ndarray, tuple[int, int]]:
        """An image, maybe smaller than its file has it, and its size there."""
        try:
            if self.preprocessings:
                return read_reduced(path, self._factor)
            image = read_image(path)
            return image, image.shape[:2]
        except ImageError as error:
            if self.tiles_help and error.code == "TOO_LARGE" and _fits_in_tiles(path):
                raise ImageError(path, error.code, f"{error.reason}, as --tile does") from None
            raise

    def _factor(self, height: int, width: int) -> int:
        return min(decoder_factor(each, height, width) for each in self.preprocessings)

    def _frames(self, path: str, alive: Callable[[], None]) -> Iterator[dict[str, Any] | ImageError]:
        for number, image in read_frames(path, self.every):
            alive()
            if isinstance(image, ImageError):
                yield image
                continue
            parts = [_whole(image)] if self.tiling is None else _parts(image.shape[:2], self.tiling)
            for part in parts:
                yield self._sample(path, image, part._replace(frame=number))

    def _sample(self, path: str, image: np.ndarray, part: Part, size: tuple[int, int] | None = None) -> dict[str, Any]:
        """A part of an image as a sample: for the network it is an image of its own, of `size` in the file."""
        top, left, height, width = part.tile
        try:
            cut = {"image": image[top : top + height, left : left + width]}
            images = [to_tensor(view(cut, seed=0)["image"]) for view in self.views]
        except (cv2.error, MemoryError) as error:
            raise ImageError(path, "UNSUPPORTED", f"cannot be made ready for the network ({error})") from None
        return {"images": images, "path": path, "size": size or (height, width), "part": part}


def parts_of(batch: Any, most: int) -> Iterator[Any]:
    """A batch in parts of `most` images, the last of which may have fewer."""
    for start in range(0, len(batch["path"]), most):
        yield {key: values[start : start + most] for key, values in batch.items()}


def _read(samples: list[dict[str, Any]], failures: list[ImageError]) -> Read:
    batches = []
    for view in range(len(samples[0]["images"]) if samples else 0):
        batch = collate([_of_view(sample, view) for sample in samples])
        # To another process an array goes from where it lies; a tensor would go through a file in shared memory.
        batches.append({**batch, "image": batch["image"].permute(0, 2, 3, 1).numpy()})
    return Read(batches, failures)


def _of_view(sample: dict[str, Any], view: int) -> dict[str, Any]:
    return {"image": sample["images"][view], **{key: value for key, value in sample.items() if key != "images"}}


def _read_whole(path: str, alone: Alone) -> np.ndarray:
    """An image for tiles; of large ones there is one at a time, whatever was known of them before."""
    data = read_bytes(path)
    if count_pixels(data) > _LARGE:
        del data  # it may be a gigabyte, and there are as many as processes wait
        alone()
        data = read_bytes(path)
    return decode_image(data, path, MAX_TILED_PIXELS)


def _fits_in_tiles(path: str) -> bool:
    try:
        height, width = read_size(path)
    except ImageError:
        return False
    return MAX_PIXELS < height * width <= MAX_TILED_PIXELS


def _whole(image: np.ndarray) -> Part:
    height, width = image.shape[:2]
    return Part(Tile(0, 0, height, width), number=0, count=1, size=(height, width))


def _parts(size: tuple[int, int], tiling: Tiling) -> list[Part]:
    tiles = tiling.tiles(size)
    return [Part(tile, number, len(tiles), size) for number, tile in enumerate(tiles)]
