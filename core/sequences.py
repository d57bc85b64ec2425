"""Sequences of frames: video files, and folders of frames, whose paths end in a slash. Imports no torch."""

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import numpy as np

from . import videos
from .errors import DataError, UsageError
from .images import ImageError, read_image, read_size
from .inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Input, is_video
from .videos import VideoHeader

_DIGITS = re.compile("([0-9]+)")
_RATE = 25.0  # frames a second, of a folder that says nothing about it


def in_order(names: list[str]) -> list[str]:
    """Names sorted as people count: 2.jpg before 10.jpg."""
    padded = len(set(map(len, names))) == 1 and all(name[: name.rfind(".")].isdecimal() for name in names)
    return sorted(names) if padded else sorted(names, key=_counted)


def _counted(name: str) -> list[Any]:
    return [int(part) if place % 2 else part for place, part in enumerate(_DIGITS.split(name))]


def list_sequences(arguments: Sequence[str], leave_out: str | Path | None = None) -> list[Input]:
    """The videos and folders of frames that the arguments of a command line mean, each once, with names for results.

    An argument is a video, a folder, a glob, `@list.txt` with a path a line, or `-` for such a list from standard
    input. A folder that holds images is a sequence itself, and so is each one below it; `leave_out` is not entered.
    Raises UsageError for an argument that does not exist or is a single image, DataError where there is no sequence.
    """
    found: dict[str, tuple[str, str]] = {}  # of a place its path, as it was first given, and name
    closed = os.path.realpath(leave_out) if leave_out is not None else None
    for argument in arguments:
        for given in _given(argument):
            for path, name in _expand(given.rstrip("/") or "/", closed):
                found.setdefault(os.path.realpath(path), (path, name))
    if not found:
        raise DataError(
            f"{', '.join(arguments)}: no sequence in there; a tracker takes videos ({' '.join(VIDEO_SUFFIXES)}) and "
            "folders of frames."
        )
    return [Input(path, name) for path, name in _with_own_names(found.values())]


def _given(argument: str) -> list[str]:
    """The paths that an argument means, all of which are there."""
    if os.path.lexists(argument):
        return [argument]
    if argument == "-" or argument.startswith("@"):
        try:
            lines = sys.stdin.read() if argument == "-" else Path(argument[1:]).read_text("utf-8", "surrogateescape")
        except OSError as error:
            raise UsageError(f"{argument[1:]}: the list of videos cannot be read ({error.strerror}).") from error
        paths = [line.strip() for line in lines.removeprefix("\ufeff").splitlines() if line.strip()]
    else:
        paths = sorted(glob(argument, recursive=True)) if has_magic(argument) else []
    missing = next((path for path in paths if not os.path.lexists(path)), None if paths else argument)
    if missing is not None:
        raise UsageError(f"{missing}: there is no such video or folder of frames (looked from {Path.cwd()}).")
    return paths


def _expand(path: str, closed: str | None) -> Iterator[tuple[str, str]]:
    if not os.path.isdir(path):
        if not is_video(path):
            raise UsageError(
                f"{path}: a tracker goes through the frames of a sequence; give a video ({' '.join(VIDEO_SUFFIXES)}), "
                "or the folder that its frames are in."
            )
        yield path, os.path.basename(path)
        return
    entered: set[str] = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        entered.add(os.path.realpath(folder))
        folders[:] = [each for each in in_order(folders) if _is_open(os.path.join(folder, each), closed, entered)]
        below = os.path.relpath(folder, path)
        for name in in_order([each for each in names if is_video(each) and not each.startswith(".")]):
            yield os.path.join(folder, name), os.path.normpath(os.path.join(below, name))
        if _images(names):
            yield f"{folder}/", os.path.basename(os.path.abspath(folder)) if below == "." else below


def _is_open(folder: str, closed: str | None, entered: Collection[str]) -> bool:
    real = os.path.realpath(folder)
    return not os.path.basename(folder).startswith(".") and real != closed and real not in entered


def _with_own_names(found: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    taken: set[str] = set()
    for path, name in found:
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name}~{number}"
        taken.add(free)
        yield path, free


def _images(names: Sequence[str]) -> list[str]:
    good = [name for name in names if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]
    return in_order(good)


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
        names = _images(os.listdir(folder))
    except OSError as error:
        raise ImageError(folder, "MISSING", f"cannot be searched ({error.strerror})") from None
    if not names:
        raise ImageError(folder, "MISSING", "holds no frame any more")
    return [folder + name for name in names]
