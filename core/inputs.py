"""Which image files a list of arguments means: files, folders, globs and list files. Imports no torch.

Everything is a path in bytes at the bottom, so that names which are not UTF-8 survive (Python's surrogate escapes).
"""

import os
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from .errors import DataError, UsageError

# Left by operating systems beside images; never images themselves.
LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}


class Input(NamedTuple):
    """An image file, and the name that results about it take: its path below the folder that was asked for."""

    path: str
    name: str


def find_images(arguments: Sequence[str], suffixes: frozenset[str]) -> list[Input]:
    """The image files that `arguments` mean, each once, in a stable order.

    A file is taken whatever its suffix; a folder is searched for `suffixes` (lower case, with dot) at any depth; a glob
    (`*`, `?`, `[]`, `**`) is expanded; `@list.txt` is a file with one path a line. Raises UsageError for a path that
    does not exist, DataError where there is no image at all.
    """
    found: dict[str, Input] = {}
    for argument in arguments:
        for image in _expand(argument, suffixes):
            found.setdefault(os.path.realpath(image.path), image)
    if not found:
        raise DataError(
            f"{', '.join(arguments)}: no image in there; foveal takes files that end in {' '.join(sorted(suffixes))}."
        )
    return list(found.values())


def walk_images(folder: str, suffixes: frozenset[str]) -> Iterator[str]:
    """Image files below `folder`, sorted within each folder; hidden files and litter left out, loops of links cut."""
    yield from _walk(folder, suffixes, (os.path.realpath(folder),))


def _walk(folder: str, suffixes: frozenset[str], above: tuple[str, ...]) -> Iterator[str]:
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
        if real not in above:
            yield from _walk(path, suffixes, (*above, real))


def _expand(argument: str, suffixes: frozenset[str]) -> Iterator[Input]:
    if argument.startswith("@") and not os.path.lexists(argument):
        for line in _read_list(Path(argument[1:])):
            yield from _expand(line, suffixes)
    elif os.path.isdir(argument):
        for path in walk_images(argument, suffixes):
            yield Input(path, os.path.relpath(path, argument))
    elif os.path.lexists(argument):
        yield Input(argument, _below_root(argument))
    elif has_magic(argument):
        matches = sorted(glob(argument, recursive=True))
        for path in matches:
            yield from _expand(path, suffixes)
        if not matches:
            raise UsageError(f"{argument}: no file matches this pattern (looked from {Path.cwd()}).")
    else:
        raise UsageError(f"{argument}: there is no such file or folder (looked from {Path.cwd()}).")


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise UsageError(f"{path}: the list of images cannot be read ({error.strerror}).") from error
    return [line.strip() for line in lines if line.strip()]


def _below_root(path: str) -> str:
    # A name to write results under: it must stay below the output folder.
    return os.path.normpath("/" + os.path.relpath(path)).lstrip("/")
