"""The inputs of a prediction run in a file of their own: a million of them take no memory, and a run that is taken up
again finds the same ones, whatever has happened to their folder since. Imports no torch.
"""

import hashlib
import json
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

import numpy as np

from . import archives, remote
from .errors import DataError
from .inputs import IMAGE_SUFFIXES, Input, Search, is_video

_quoted = json.encoder.encode_basestring_ascii  # a name that is not UTF-8 as escapes; ten times as fast as json.dumps
_NUMBERED = re.compile(r"(?:.*/)?(?:COCO_\w+_)?(\d{1,18})(?:\.[^./]*)?", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class InputList:
    """A file with an input a line, images before videos, each path once, and no two with the same name for results.

    Args:
        file: where it is. A line is JSON: a path, or a path and a name where that is not the path behind `root`.
        root: how paths begin whose name is the rest of them.
        images: how many.
        videos: how many, behind the images.
        left_out: hidden files and litter that the search passed over.
        numbered: all names are such as COCO's (000000123.jpg, COCO_val2014_000000123.jpg), and no number comes twice.
        frames: there are videos, here or in another part of the list.
        whole: a digest of the list that this is a part of; "" for a list that is whole.
        doubled: names whose stem an earlier one of the list has, as a.png's behind a.jpg; () unless `find_doubled` has
            looked.
    """

    file: Path
    root: str
    images: int = 0
    videos: int = 0
    left_out: int = 0
    numbered: bool = False
    frames: bool = False
    whole: str = ""
    doubled: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many inputs there are."""
        return self.images + self.videos

    def read(self, offset: int = 0) -> Iterator[tuple[Input, int]]:
        """The inputs whose lines begin at byte `offset` or behind it, each with the offset of the next."""
        with self.file.open("rb") as file:
            file.seek(offset)
            for line in file:
                offset += len(line)
                value = json.loads(line)
                pair = (value, value[len(self.root) :]) if isinstance(value, str) else value
                yield Input(*pair), offset

    def as_plain(self) -> dict[str, Any]:
        """As values for JSON; the file's place is not among them."""
        return {key: value for key, value in asdict(self).items() if key != "file"}

    @classmethod
    def from_plain(cls, values: dict[str, Any], file: Path) -> Self:
        """What `as_plain` gave, of a list that lies in `file`."""
        return cls(file=file, **{**values, "doubled": tuple(values["doubled"])})


def list_inputs(arguments: Sequence[str], file: Path, leave_out: str | Path | None = None) -> InputList:
    """List in `file` the images and videos that `arguments` mean (see `Search`), without entering `leave_out`.

    Raises UsageError for an argument that does not exist, DataError where there is no image at all.
    """
    search = Search(IMAGE_SUFFIXES, leave_out)
    only = arguments[0] if len(arguments) == 1 else None
    # One folder is mirrored; of several arguments, the names keep what tells them apart.
    root = f"{only.rstrip('/')}/" if only is not None and _is_searched(only) else ""
    named = _images_first(Input(path, _name(path, root)) for path in chain.from_iterable(map(search.expand, arguments)))
    if only is not None and os.path.isdir(only):  # a walk gives no path and no name twice
        listed = write_list(file, named, root)
    else:
        keys = _Keys()
        draft = write_list(file.with_suffix(".draft"), keys.of(named), root)
        listed = write_list(file, keys.unique(given for given, _ in draft.read()), root)
        draft.file.unlink()
    if not len(listed):
        file.unlink()
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{', '.join(arguments)}: no image in there; foveal takes files that end in {suffixes}.")
    return replace(listed, left_out=search.left_out)


def take_shard(listed: InputList, index: int, count: int) -> InputList:
    """Leave in a list the part `index`, from 1, of `count` parts that follow one another and are alike in length."""
    begin, end = (number * len(listed) // count for number in (index - 1, index))
    draft = listed.file.with_suffix(".draft")
    with listed.file.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    part = write_list(draft, (given for given, _ in islice(listed.read(), begin, end)), listed.root)
    draft.replace(listed.file)
    return replace(listed, images=part.images, videos=part.videos, whole=digest)


def find_doubled(listed: InputList) -> InputList:
    """The list, which knows the names that can't be told from an earlier one once their suffix is gone."""
    stems = array("q", (hash(os.path.splitext(given.name)[0]) for given, _ in listed.read()))
    twice, seen, doubled = set(_twice(stems).tolist()), set(), []
    for (given, _), key in zip(listed.read() if twice else (), stems, strict=False):
        if key in twice:
            stem = os.path.splitext(given.name)[0]
            doubled += [given.name] if stem in seen else []
            seen.add(stem)
    return replace(listed, doubled=tuple(doubled))


def write_list(file: Path, inputs: Iterable[Input], root: str = "") -> InputList:
    """`inputs`, which are images first and all different, in `file`."""
    images = videos = 0
    numbers: array | None = array("q")
    with file.open("wb") as lines:
        for path, name in inputs:
            alike = path.startswith(root) and path[len(root) :] == name
            line = _quoted(path) if alike else f"[{_quoted(path)}, {_quoted(name)}]"
            lines.write(line.encode("ascii") + b"\n")
            video = is_video(path)
            images, videos = images + (not video), videos + video
            number = None if numbers is None or video else number_in_name(name)
            if numbers is not None and number is not None:
                numbers.append(number)
            else:
                numbers = None
    numbered = numbers is not None and not len(_twice(numbers))
    return InputList(file, root, images, videos, numbered=numbered, frames=videos > 0)


def number_in_name(name: str) -> int | None:
    """The number of an image whose name is such as COCO's."""
    match = _NUMBERED.fullmatch(name)
    return int(match.group(1)) if match is not None else None


def _is_searched(argument: str) -> bool:
    return os.path.isdir(argument) or archives.is_archive(argument) or remote.is_address(argument)


def _name(path: str, root: str) -> str:
    """A name to write results under: it stays below the folder of results, whatever an archive's member is called."""
    if not (root and path.startswith(root)):
        folder, name = os.path.split(path)
        return os.path.join(_below_here(folder), name)
    name = path[len(root) :]
    return name if _is_plain(name) else _below(name)


def _is_plain(name: str) -> bool:
    # Of almost all, and ten times as fast as making it so.
    return not name.startswith("/") and "./" not in name and "//" not in name


def _images_first(inputs: Iterable[Input]) -> Iterator[Input]:
    videos = []
    for given in inputs:
        if is_video(given.path):
            videos.append(given)
        else:
            yield given
    yield from videos


class _Keys:
    """Which paths and names come twice: 16 bytes an input, and the few themselves that seem to."""

    def __init__(self) -> None:
        self._paths, self._names = array("q"), array("q")

    def of(self, inputs: Iterable[Input]) -> Iterator[Input]:
        """Note all inputs on their way."""
        for given in inputs:
            self._paths.append(hash(_identity(given.path)))
            self._names.append(hash(given.name))
            yield given

    def unique(self, inputs: Iterable[Input]) -> Iterator[Input]:
        """The same inputs, each path once, with a number in a name that another one has already."""
        paths, names = (set(_twice(keys).tolist()) for keys in (self._paths, self._names))
        given_names = np.sort(np.frombuffer(self._names, np.int64))
        seen: set[str] = set()
        taken: set[str] = set()
        for given, path_key, name_key in zip(inputs, self._paths, self._names, strict=True):
            if path_key in paths:
                identity = _identity(given.path)
                if identity in seen:
                    continue
                seen.add(identity)
            name = given.name
            if name_key in names:
                stem, suffix = os.path.splitext(name)
                number = 1
                while name in taken or (number > 1 and _holds(given_names, hash(name))):
                    number += 1
                    name = f"{stem}~{number}{suffix}"
                taken.add(name)
            yield Input(given.path, name)


def _identity(path: str) -> str:
    """Of one file one string, by whatever folder it was reached; links to files are files of their own."""
    if remote.is_address(path):
        return path
    folder, name = os.path.split(path)
    return os.path.join(_real_folder(folder), name)


@lru_cache(maxsize=1024)
def _below_here(folder: str) -> str:
    return _below(folder.split("://", 1)[1] if remote.is_address(folder) else os.path.relpath(folder or os.curdir))


def _below(path: str) -> str:
    return os.path.normpath("/" + path).lstrip("/")


@lru_cache(maxsize=1024)
def _real_folder(folder: str) -> str:
    try:
        return os.path.realpath(folder)
    except ValueError:  # a NUL: there is no such file, which its reader will say
        return folder


def _twice(keys: array) -> np.ndarray:
    values = np.sort(np.frombuffer(keys, np.int64))  # np.unique would want four times the memory
    return np.unique(values[1:][values[1:] == values[:-1]])


def _holds(values: np.ndarray, key: int) -> bool:
    place = int(np.searchsorted(values, key))
    return place < len(values) and int(values[place]) == key
