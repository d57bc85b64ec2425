"""Which images a data set in YOLO's manner has: `data.yaml`, or folders alone.

A `data.yaml` often comes from another machine: its `path` is one of that machine, and Roboflow writes `../train/images`
for a folder that lies beside the file. Such an entry means the folder of that name beside `data.yaml`, if there is one;
nothing outside of the data set's folder is ever read.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..core.errors import DataError, UsageError
from ..core.options import SPLITS
from .files import SPLIT_FOLDERS, images_below, require_folder, split_folder
from .findings import Findings
from .listing import files_there, leaves_root

_NAMES = ("classes.txt", "obj.names", "classes.names", "labels/classes.txt")
_LARGEST = 2**20  # bytes of a data.yaml; real ones have some kilobytes
_ABSENT = ("", "null", "~")  # what YAML has for nothing


class Layout(NamedTuple):
    """What is known of a data set before a file of labels is read."""

    folder: Path  # which all names are relative to
    class_names: list[str] | None  # None: nothing says them
    sources: dict[str, list[str]]  # folders and lists of images of each split of its own; or of all, under ""
    file: str  # data.yaml, "" where there is none
    config: Mapping[str, Any]  # what stands in it, all scalars as text


def find_layout(root: str | os.PathLike) -> Layout:
    """The layout of a folder, or of the folder that a `data.yaml` lies in.

    Raises UsageError for a root that is not there, DataError for a `data.yaml` that cannot be used.
    """
    path = Path(root).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"There is no file or folder '{path}': pass data.yaml, or its folder, with --data.root.")
    folder = path.parent if path.is_file() else require_folder(path)
    file = path if path.is_file() else _find_yaml(folder)
    config = _read_yaml(file) if file else {}
    sources = {split: entries for split in SPLITS if (entries := _entries(file, config, split))}
    names = _class_names(file, config) if file else None
    return Layout(
        folder,
        names or _names_beside(folder),
        sources or _own_folders(folder),
        file.name if file else "",
        config,
    )


def images_of(layout: Layout, source: str, findings: Findings) -> list[str]:
    """The images of a split, relative to the folder, each once.

    Raises DataError where a folder or list is not there or holds no image.
    """
    images: dict[str, None] = {}
    for entry in layout.sources[source]:
        place = resolve(layout, entry)
        if place is None:
            text = f"'{entry}' leaves the data set's folder: expected a folder below it"
            findings.note("LEAVES_ROOT", layout.file, text, place=source, action="refused")
        elif (layout.folder / place).is_dir():
            images |= dict.fromkeys(_below(layout.folder, place))
        elif (layout.folder / place).is_file():
            images |= dict.fromkeys(_listed(layout, place, findings))
        else:
            raise DataError(
                f"'{layout.folder / layout.file}' says that {source} is '{entry}', and there is no such folder or list "
                f"of images in '{layout.folder}': correct it."
            )
    names = list(images)
    there = files_there(layout.folder, names, findings)  # notes links that lead outside
    return [name for name, found in zip(names, there, strict=True) if found]


def resolve(layout: Layout, entry: str) -> str | None:
    """The place below the folder that an entry of `data.yaml` means; None for one that leaves it."""
    if not layout.file:
        return entry
    path = str(layout.config.get("path", "")).replace("\\", "/")
    meant = [os.path.join("" if path in _ABSENT else path, entry), entry, re.sub(r"^(\.\./)+", "", entry)]
    for name in meant:
        place = os.path.relpath(os.path.join(layout.folder, name), layout.folder)
        if not leaves_root(place) and (layout.folder / place).exists():
            return place
    return None if leaves_root(entry) else entry


def label_file(image: str) -> str:
    """The file of an image's labels: `images/a.jpg` has `labels/a.txt`, at any depth; or else it lies beside it."""
    before, found, after = f"/{os.path.splitext(image)[0]}".rpartition("/images/")
    return f"{before}/labels/{after}.txt"[1:] if found else f"{after[1:]}.txt"


def listed_images(layout: Layout, listed: str) -> list[tuple[str, str]]:
    """Each line of a list of images, and the image that it means, relative to the folder.

    Lines are relative to the list, or to the data set's folder, or absolute; both are "" where there is nothing.
    """
    lines = [line.strip() for line in _lines(layout.folder / listed)]
    first = next(filter(None, lines), "")
    beside = os.path.dirname(listed)
    base = layout.folder / beside if (layout.folder / beside / first).exists() else layout.folder
    return [(line, os.path.relpath(base / line, layout.folder) if line else "") for line in lines]


# --- data.yaml --------------------------------------------------------------------------------------------------------


def _find_yaml(folder: Path) -> Path | None:
    files = sorted(file for file in folder.glob("*.y*ml") if file.suffix.lower() in (".yaml", ".yml"))
    called = [file for file in files if file.stem.lower() == "data"] or files
    if len(called) > 1:
        names = ", ".join(file.name for file in called[:5])
        raise DataError(
            f"'{folder}' holds {len(called)} YAML files ({names}): pass the one that is meant as --data.root."
        )
    return called[0] if called else None


def _read_yaml(file: Path) -> dict[str, Any]:
    """What stands in the file, all scalars as text: a class may be called `no`, or `1`."""
    try:
        data = file.read_bytes()
        if len(data) > _LARGEST:
            raise DataError(f"'{file}' has {len(data):,} bytes: expected a data.yaml of some lines.")
        config = yaml.load(data, Loader=yaml.BaseLoader)  # knows text, lists and dicts alone
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "it is damaged, or not UTF-8 text"
        raise DataError(f"'{file}'{where}: not YAML ({what}); correct it.") from None
    if not isinstance(config, dict):
        raise DataError(f"'{file}' is no data.yaml: expected entries like names: and train:.")
    return config


def _entries(file: Path | None, config: Mapping[str, Any], split: str) -> list[str]:
    """The folders and lists of images of a split."""
    value = next((config[key] for key in SPLIT_FOLDERS[split] if config.get(key, "") not in _ABSENT), [])
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise DataError(f"'{file}': {split} must be a folder, a list of images, or several of these.")
    return [entry.replace("\\", "/") for entry in entries]


def _class_names(file: Path, config: Mapping[str, Any]) -> list[str] | None:
    names = config.get("names", "")
    if isinstance(names, dict):
        if not all(isinstance(key, str) and re.fullmatch("[0-9]{1,6}", key) for key in names):
            raise DataError(f"'{file}': names must be a list, or have the numbers 0, 1, ... before its names.")
        numbers = {int(key): name for key, name in names.items()}
        names = [numbers.get(number, str(number)) for number in range(max(numbers, default=-1) + 1)]
    if names == "" or names == []:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"'{file}': names must be a list of the names of all classes.")
    if config.get("nc", str(len(names))) != str(len(names)):
        raise DataError(f"'{file}': nc is {config['nc']}, but there are {len(names)} names; correct one of them.")
    return _each_once(file, names)


def _each_once(file: Path, names: list[str]) -> list[str]:
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise DataError(f"'{file}' calls two classes '{twice}': give each a name of its own.")
    return names


# --- folders and lists ------------------------------------------------------------------------------------------------


def _names_beside(folder: Path) -> list[str] | None:
    """Names of classes, one a line, as LabelImg and darknet write them."""
    file = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    if file is None:
        return None
    names = [line.strip() for line in _lines(file)]
    while names and not names[-1]:
        names.pop()
    return _each_once(file, names) or None


def _own_folders(folder: Path) -> dict[str, list[str]]:
    """Folders of images where no `data.yaml` names them."""
    if (folder / "images").is_dir():
        own = {split: [f"images/{name}"] for split in SPLITS if (name := split_folder(folder / "images", split))}
        return own or {"": ["images"]}
    own = {split: name for split in SPLITS if (name := split_folder(folder, split))}
    inner = {split: f"{name}/images" if (folder / name / "images").is_dir() else name for split, name in own.items()}
    return {split: [name] for split, name in inner.items()} or {"": ["."]}


def _below(folder: Path, place: str) -> list[str]:
    images = [os.path.normpath(os.path.join(place, name)) for name in images_below(folder / place)]
    if not images:
        raise DataError(f"There is no image in '{folder / place}': fill it, or pass another folder with --data.root.")
    return images


def _listed(layout: Layout, listed: str, findings: Findings) -> list[str]:
    """The images in a list that are there."""
    names = []
    for index, (line, name) in enumerate(listed_images(layout, listed)):
        place = f"line {index + 1}"
        if leaves_root(name):
            text = f"'{line}' leaves the data set's folder: expected a path below it"
            findings.note("LEAVES_ROOT", listed, text, place=place, action="refused", index=index)
        elif line and not os.path.isfile(layout.folder / name):
            findings.note("MISSING_IMAGE", listed, f"there is no file '{line}'", place=place, index=index)
        elif line:
            names.append(name)
    return names


def _lines(file: Path) -> list[str]:
    try:
        return [os.fsdecode(line) for line in file.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()]
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None
