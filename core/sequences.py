"""Sequences of frames: video files, and folders of frames, whose paths end in a slash. Imports no torch and no OpenCV.

`frames.py` reads them.
"""

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from .errors import DataError, UsageError
from .inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Input, is_video

_DIGITS = re.compile("([0-9]+)")


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
        if image_names(names):
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


def image_names(names: Sequence[str]) -> list[str]:
    """Those of a folder's names that are frames, in the order of these."""
    good = [name for name in names if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]
    return in_order(good)
