"""Which files a command line means: images (files, folders, globs, list files, archives) and checkpoints.

Imports no torch. Names that are not UTF-8 survive, by Python's surrogate escapes.
"""

import heapq
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from glob import glob, has_magic
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from . import archives, remote
from .errors import DataWarning, UsageError

# What a search of a folder takes for an image; the reader itself, `core/images.py`, goes by content.
IMAGE_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif",
    ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm",
))  # fmt: skip

# A file with one of these is taken for a video; a search of a folder passes over them.
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")

# Left by operating systems beside images; never images themselves.
LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}

_RUN = 50_000  # names that are sorted at once, some 5 MB
_BLOCK = 1_000  # of them that are unpacked at once


class Input(NamedTuple):
    """An image file, and the name that results about it take: its path below the folder that was asked for."""

    path: str
    name: str


def is_video(path: str) -> bool:
    """Whether a path is to be read as frames in a row, by its end: of a video file, or of a folder of frames (/)."""
    return path.lower().endswith((*VIDEO_SUFFIXES, "/"))


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint file that `path` means: itself, or the best one of a run's folder."""
    path = Path(path)
    file = path / "best.ckpt" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(
            f"{file}: there is no such checkpoint; give a .ckpt file, the folder of a run that has a best.ckpt, or, to "
            "predict, one of `foveal list models`."
        )
    return file


def walk_images(folder: str, suffixes: frozenset[str]) -> Iterator[str]:
    """Image files below `folder`, sorted within each folder; hidden files and litter left out, loops of links cut."""
    yield from Search(suffixes).walk(folder)


class Search:
    """A search for files that end in `suffixes` (lower case, with dot); `leave_out` is a folder that is not entered.

    `left_out` counts what it passed over as hidden, or as an operating system's litter.
    """

    def __init__(self, suffixes: frozenset[str], leave_out: str | Path | None = None) -> None:
        self.left_out = 0
        self._suffixes = suffixes
        self._endings = tuple(suffixes)
        self._closed = os.path.realpath(leave_out) if leave_out is not None else None

    def expand(self, argument: str) -> Iterator[str]:
        """The paths that one argument of a command line means, in a stable order.

        A file is taken whatever its suffix; a folder is searched at any depth; a glob (`*`, `?`, `[]`, `**`) is
        expanded; `@list.txt` is a file with one path a line, each of which gets an answer, be it there or not, and `-`
        the same from standard input; an archive (.zip, .tar, .tar.gz, ...) is searched like a folder, and so is an
        address (s3://bucket/folder). Raises UsageError for an argument that does not exist.
        """
        if remote.is_address(argument):
            yield from self._wanted(remote.files(argument), argument)
        elif argument == "-":
            yield from self._listed(sys.stdin.buffer)
        elif argument.startswith("@") and not os.path.lexists(argument):
            yield from self._list_file(argument[1:])
        elif os.path.isdir(argument):
            yield from self.walk(argument)
        elif archives.is_archive(argument) and (os.path.lexists(argument) or not has_magic(argument)):
            yield from self._wanted(archives.members(argument), argument)
        elif os.path.lexists(argument):
            yield argument
        elif has_magic(argument):
            yield from self._glob(argument)
        else:
            raise UsageError(f"{argument}: there is no such file or folder (looked from {Path.cwd()}).")

    def walk(self, folder: str) -> Iterator[str]:
        """The files below `folder`, sorted within each folder, and before those of the folders in it."""
        yield from self._walk(folder, (os.path.realpath(folder),))

    def _walk(self, folder: str, above: tuple[str, ...]) -> Iterator[str]:
        folders: list[str] = []
        try:
            for name in sorted_in_parts(self._names(folder, folders)):
                yield os.path.join(folder, name)
        except OSError as error:
            sentence = f"{folder}: the folder cannot be searched ({error.strerror}); let it be read, or leave it out."
            if len(above) == 1:
                raise UsageError(sentence) from error
            warnings.warn(sentence, DataWarning, stacklevel=2)
        for name in sorted(folders):
            path = os.path.join(folder, name)
            real = os.path.realpath(path)
            if real not in above and real != self._closed:
                yield from self._walk(path, (*above, real))

    def _names(self, folder: str, folders: list[str]) -> Iterator[str]:
        """Of the files in `folder`, in the order in which it has them; those of its folders are added to `folders`."""
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in LITTER:
                    self.left_out += 1
                elif _is_folder(entry):
                    folders.append(entry.name)
                elif entry.name.lower().endswith(self._endings):
                    yield entry.name

    def _wanted(self, paths: Iterable[str], argument: str) -> Iterator[str]:
        """Of those in an archive or at an address, which `argument` is, what a walk would have yielded."""
        for path in paths:
            above = os.path.commonprefix((argument, path))  # noqa: RUF071  # by characters: a glob may end anywhere
            parts = path[len(above) :].split("/")
            if any((part.startswith(".") and part not in (".", "..")) or part in LITTER for part in parts):
                self.left_out += 1
            elif os.path.splitext(parts[-1])[1].lower() in self._suffixes:
                yield path

    def _glob(self, pattern: str) -> Iterator[str]:
        matches = sorted(glob(pattern, recursive=True))
        if not matches:
            raise UsageError(f"{pattern}: no file matches this pattern (looked from {Path.cwd()}).")
        for path in matches:
            if self._is_closed(os.path.dirname(path)) or self._is_closed(path):
                continue
            if archives.is_archive(path) and os.path.isfile(path):
                yield from self._wanted(archives.members(path), path)
            elif not os.path.isdir(path):
                yield path
            elif "**" not in pattern:  # which has matched what is inside already
                yield from self.walk(path)

    def _is_closed(self, folder: str) -> bool:
        if self._closed is None:
            return False
        real = _real(folder)
        return real == self._closed or real.startswith(f"{self._closed}/")

    def _list_file(self, path: str) -> Iterator[str]:
        try:
            with open(path, "rb") as file:
                yield from self._listed(file)
        except OSError as error:
            raise UsageError(f"{path}: the list of images cannot be read ({error.strerror}).") from error

    def _listed(self, lines: Iterable[bytes]) -> Iterator[str]:
        for number, line in enumerate(lines):
            path = os.fsdecode((line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line).strip())
            if path and os.path.isdir(path):
                yield from self.walk(path)
            elif path:
                yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


@lru_cache(maxsize=1024)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def sorted_in_parts(names: Iterable[str], run: int = _RUN) -> Iterator[str]:
    """`names` sorted, none of which has a NUL; of more than `run` all but a few are held as packed bytes: of a million
    file names 12 MB, where a list of them takes 60.
    """
    source = iter(names)
    part = sorted(islice(source, run))
    if len(part) < run:
        yield from part
        return
    parts = []
    while part:
        blocks = (part[start : start + _BLOCK] for start in range(0, len(part), _BLOCK))
        parts.append(_unpacked([os.fsencode("\0".join(block)) for block in blocks]))
        part = sorted(islice(source, run))
    yield from heapq.merge(*parts)


def _unpacked(blocks: list[bytes]) -> Iterator[str]:
    for block in blocks:
        yield from os.fsdecode(block).split("\0")
