"""Where the images and XML files of a data set in Pascal VOC's manner lie, and which of them a split means."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..core.errors import DataError
from ..core.options import SPLITS
from .files import describe_contents, images_below, split_folder, subfolders
from .findings import Findings
from .listing import files_there, leaves_root

LISTS = "ImageSets/Main"
XML = frozenset((".xml",))
_IMAGES, _ANNOTATIONS = ("jpegimages", "images"), ("annotations", "xml", "labels")

Pair = tuple[str, str]  # an image and its XML file, relative to the root


class Source(NamedTuple):
    """Where the images and XML files of a split lie."""

    images: str
    annotations: str
    listed: Path | None = None  # the file that names them; None: all that are there
    less: Path | None = None  # the file that names those which are not meant


def find_sources(folder: Path) -> dict[str, Source]:
    """Where each split of its own lies, or all images, under the name ""."""
    images, annotations = _called(folder, _IMAGES), _called(folder, _ANNOTATIONS)
    if images is None or annotations is None:
        own = {split: name for split in SPLITS if (name := split_folder(folder, split))}
        return {split: Source(*_inner(folder, name)) for split, name in own.items()} or {"": Source("", "")}
    lists = {file.stem: file for file in (folder / LISTS).glob("*.txt")}
    meant: dict[str, tuple[Path, Path | None]] = {split: (lists[split], None) for split in SPLITS if split in lists}
    if "trainval" in lists:
        meant.setdefault("train", (lists["trainval"], lists.get("val")))
        if "train" in lists:
            meant.setdefault("val", (lists["trainval"], lists["train"]))
    own = {split: Source(images, annotations, *meant[split]) for split in SPLITS if split in meant}
    return own or {"": Source(images, annotations)}


def _inner(folder: Path, name: str) -> tuple[str, str]:
    """The folders of images and XML files of a split's folder: two in it, or itself."""
    images, annotations = _called(folder / name, _IMAGES), _called(folder / name, _ANNOTATIONS)
    return (f"{name}/{images}", f"{name}/{annotations}") if images and annotations else (name, name)


def _called(folder: Path, names: Sequence[str]) -> str | None:
    """The sub-folder with the likeliest of `names`, whatever the case of its letters."""
    there = {name.lower(): name for name in reversed(subfolders(folder))}
    return next((there[name] for name in names if name in there), None)


def find_pairs(folder: Path, source: Source, findings: Findings) -> list[Pair]:
    """Images with their XML files; raises DataError where there are none."""
    files = {stem(name): name for name in images_below(folder / source.annotations, XML)}
    images = {stem(name): name for name in images_below(folder / source.images)}
    if not files:
        raise DataError(
            f"'{folder / source.annotations}' holds {describe_contents(folder / source.annotations)} and no .xml file: "
            "expected Annotations/ and JPEGImages/, or XML files beside the images."
        )
    if source.listed is None:
        names = _matched(source, images, files, findings)
    else:
        left_out = set(_listed(folder, source.less, images, files, Findings())) if source.less else set()
        names = [name for name in _listed(folder, source.listed, images, files, findings) if name not in left_out]
    if not names:
        what = (
            f"'{source.listed}' names no image" if source.listed else f"No image in '{folder / source.images}' is one"
        )
        raise DataError(
            f"{what} that has an XML file of its name in '{folder / source.annotations}': name both alike, but for the "
            "suffix."
        )
    pairs = [
        (os.path.join(source.images, images[name]), os.path.join(source.annotations, files[name])) for name in names
    ]
    files_there(folder, [image for image, _ in pairs], findings)  # they are; this notes links that lead outside
    return pairs


def stem(name: str) -> str:
    """A path without its suffix."""
    return os.path.splitext(name)[0]


def copy_list(
    folder: Path, file: str, target: Path, faults: Mapping[int | None, str], gone: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Copy a list without its faulty lines and those that name what is gone; (file, place, change) for each."""
    log, kept = [], []
    for index, line in enumerate((folder / file).read_bytes().splitlines(keepends=True)):
        name = (os.fsdecode(line).split() or [""])[0]
        reason = faults.get(index) or gone.get(name) or gone.get(stem(name))
        if reason:
            log.append((file, f"line {index + 1}", f"removed: {reason}"))
        else:
            kept.append(line)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(kept))
    return log


def _matched(source: Source, images: Mapping[str, str], files: Mapping[str, str], findings: Findings) -> list[str]:
    for name in sorted(images.keys() - files.keys()):
        text = f"there is no '{os.path.join(source.annotations, name)}.xml' for this image"
        findings.note("NO_TRUTH", os.path.join(source.images, images[name]), text)
    for name in sorted(files.keys() - images.keys()):
        file = os.path.join(source.annotations, files[name])
        findings.note("NO_IMAGE", file, "there is no image for this file", action="noted")
    return sorted(images.keys() & files.keys())


def _listed(
    folder: Path, listed: Path, images: Mapping[str, str], files: Mapping[str, str], findings: Findings
) -> list[str]:
    """The names in a list, one a line; what stands behind a name (-1, 0 or 1 in the lists of a class) is not read."""
    names: dict[str, None] = {}
    file = os.path.relpath(listed, folder)
    for index, line in enumerate(_lines(listed)):
        if not line.strip():
            continue
        name = line.split()[0]
        if name not in files and stem(name) in files:
            name = stem(name)  # some write the suffix too
        code, text, action = "", "", "left out"
        if leaves_root(name):
            code, text, action = "LEAVES_ROOT", f"'{name}' leaves the data set's folder: expected a name", "refused"
        elif name not in images or name not in files:
            what = "image" if name not in images else "XML file"
            code, text = (
                "MISSING_IMAGE" if name not in images else "NO_TRUTH",
                f"there is no {what} of the name '{name}'",
            )
        elif name in names:
            code, text = "DUPLICATE_ENTRY", f"'{name}' stands in the list already"
        if code:
            findings.note(code, file, text, place=f"line {index + 1}", action=action, index=index)
        else:
            names[name] = None
    return list(names)


def _lines(file: Path) -> list[str]:
    try:
        return [os.fsdecode(line) for line in file.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()]
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None
