"""The frames of a sequence: of a video file, or of a folder, whose path ends in a slash."""

import os
from collections.abc import Iterator

import numpy as np

from . import videos
from .images import ImageError, read_image, read_size
from .sequences import image_names
from .videos import VideoHeader

_RATE = 25.0  # frames a second, of a folder that says nothing about it


def read_frames(path: str, every: int = 1) -> Iterator[tuple[int, np.ndarray | ImageError]]:
    """Numbers, from 0, and frames, uint8 (H, W, 3) RGB, each `every`-th.

    Of a folder, a frame that can't be read is an error in its place; of a video, the error is raised behind the last
    good frame, and also where it has none.
    """
    if not path.endswith("/"):
        yield from videos.read_frames(path, every)
        return
    for number, file in enumerate(_files(path)):
        if number % every == 0:
            try:
                yield number, read_image(file)
            except ImageError as error:
                yield number, error


def read_frame(path: str, number: int) -> np.ndarray:
    """Frame `number`, from 0, uint8 (H, W, 3) RGB; raises ImageError."""
    return read_image(_files(path)[number]) if path.endswith("/") else videos.read_frame(path, number)


def read_header(path: str) -> VideoHeader:
    """Number of frames, size (H, W) of the first and rate; raises ImageError."""
    if not path.endswith("/"):
        return videos.read_header(path)
    files = _files(path)
    return VideoHeader(len(files), read_size(files[0]), _RATE)


def _files(folder: str) -> list[str]:
    try:
        names = image_names(os.listdir(folder))
    except OSError as error:
        raise ImageError(folder, "MISSING", f"cannot be searched ({error.strerror})") from None
    if not names:
        raise ImageError(folder, "MISSING", "holds no frame any more")
    return [folder + name for name in names]
