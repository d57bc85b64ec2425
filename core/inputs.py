"""Which files a command line means: images (files, folders, globs, list files) and checkpoints. Imports no torch.

Names that are not UTF-8 survive, by Python's surrogate escapes.
"""

import os
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from .errors import DataError, UsageError

# What a search of a folder takes for an image; the reader itself, `core/images.py`, goes by content.
IMAGE_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif",
    ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm",
))  # fmt: skip

# A file with one of these is taken for a video; a search of a folder passes over them.
VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"))

# Left by operating systems beside images; never images themselves.
LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}


class Input(NamedTuple):
    """An image file, and the name that results about it take: its path below the folder that was asked for."""

    path: str
    name: str


def is_video(path: str) -> bool:
    """Whether a file is to be read as a video, by the end of its name."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def find_images(arguments: Sequence[str], suffixes: frozenset[str], leave_out: str | Path | None = None) -> list[Input]:
    """The image files that `arguments` mean, each once, in a stable order; no two have the same name for results.

    A file is taken whatever its suffix; a folder is searched for `suffixes` (lower case, with dot) at any depth, but
    for the folder `leave_out`; a glob (`*`, `?`, `[]`, `**`) is expanded; `@list.txt` is a file with one path a line,
    each of which gets an answer, be it there or not. Raises UsageError for an argument that does not exist, DataError
    where there is no image at all.
    """
    hidden = os.path.realpath(leave_out) if leave_out is not None else None
    found: dict[str, str] = {}
    for argument in arguments:
        for path in _expand(argument, suffixes, hidden):
            found.setdefault(os.path.realpath(path), path)
    if not found:
        raise DataError(
            f"{', '.join(arguments)}: no image in there; foveal takes files that end in {' '.join(sorted(suffixes))}."
        )
    # One folder is mirrored; of several arguments, the names keep what tells them apart.
    root = arguments[0] if len(arguments) == 1 and os.path.isdir(arguments[0]) else os.curdir
    taken: set[str] = set()
    return [Input(path, _unique(_below_root(path, root), taken)) for path in found.values()]


def walk_images(folder: str, suffixes: frozenset[str], leave_out: str | None = None) -> Iterator[str]:
    """Image files below `folder`, sorted within each folder; hidden files and litter left out, loops of links cut.

    `leave_out`: the real path of a folder that is not entered.
    """
    yield from _walk(folder, suffixes, (os.path.realpath(folder),), leave_out)


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint file that `path` means: itself, or the best one of a run's folder."""
    path = Path(path)
    file = path / "best.ckpt" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(
            f"{file}: there is no such checkpoint; give a .ckpt file, or the folder of a run that has a best.ckpt."
        )
    return file


def _walk(folder: str, suffixes: frozenset[str], above: tuple[str, ...], leave_out: str | None) -> Iterator[str]:
    folders = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name in LITTER:
            continue
        if entry.is_dir():
            folders.append(entry.path)
        elif os.path.splitext(entry.name)[1].lower() in suffixes:
            yield entry.path
    for path in folders:
        real = os.path.realpath(path)
        if real not in above and real != leave_out:
            yield from _walk(path, suffixes, (*above, real), leave_out)


def _expand(argument: str, suffixes: frozenset[str], hidden: str | None) -> Iterator[str]:
    if argument.startswith("@") and not os.path.lexists(argument):
        for line in _read_list(Path(argument[1:])):
            yield from walk_images(line, suffixes, hidden) if os.path.isdir(line) else (line,)
    elif os.path.isdir(argument):
        yield from walk_images(argument, suffixes, hidden)
    elif os.path.lexists(argument):
        yield argument
    elif has_magic(argument):
        matches = sorted(glob(argument, recursive=True))
        if not matches:
            raise UsageError(f"{argument}: no file matches this pattern (looked from {Path.cwd()}).")
        for path in matches:
            if not os.path.isdir(path):
                yield path
            elif "**" not in argument:  # which has matched what is inside already
                yield from walk_images(path, suffixes, hidden)
    else:
        raise UsageError(f"{argument}: there is no such file or folder (looked from {Path.cwd()}).")


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    except OSError as error:
        raise UsageError(f"{path}: the list of images cannot be read ({error.strerror}).") from error
    return [line.strip() for line in lines if line.strip()]


def _below_root(path: str, root: str) -> str:
    # A name to write results under: it must stay below the output folder.
    return os.path.normpath("/" + os.path.relpath(path, root)).lstrip("/")


def _unique(name: str, taken: set[str]) -> str:
    stem, suffix = os.path.splitext(name)
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}~{number}{suffix}"
    taken.add(name)
    return name
