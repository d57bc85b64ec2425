"""Data sets whose images are files: the ground that all of them stand on, and what they ask of the disk."""

import copy
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.images import read_image
from ..core.inputs import IMAGE_SUFFIXES, walk_images
from .mixed import class_numbers
from .splits import digest


class ImageFiles:
    """Image files with nothing known about them; see the package for what a data set is.

    `paths` are relative to `root`. A subclass gives each image its truth: it answers `truth`, says in `PER_IMAGE` which
    of its arrays have one row an image, so that `subset` keeps them in step, and in `TRUTHS` which arrays make the
    fingerprint. `[index]` raises ImageError for a file that cannot be read.
    """

    PER_IMAGE: tuple[str, ...] = ()  # names of attributes: arrays of N rows
    TRUTHS: tuple[str, ...] = ("labels",)  # names of attributes: arrays that the fingerprint depends on

    def __init__(self, root: str | os.PathLike, paths: Sequence[str], class_names: Sequence[str] = ()) -> None:
        self.class_names = list(class_names)
        self.labels = np.zeros(0, np.int64)
        self._root = os.path.join(os.fsencode(root), b"")
        self._paths = pack_names(paths)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The image, uint8 (H, W, 3), its path, size (H, W) and truth."""
        path = self.path(index)
        image = read_image(path)
        return {"image": image, "path": path, "size": image.shape[:2], **self.truth(index)}

    def path(self, index: int) -> str:
        """The image's file."""
        return os.fsdecode(self._root + self._paths[index])

    def truth(self, index: int) -> dict[str, Any]:
        """What is known about an image, without opening it."""
        return {}

    def fingerprint(self) -> str:
        """A digest of names and truth: another one when an image is added, removed, renamed or labelled anew."""
        return digest(self._paths.tolist(), *(getattr(self, name) for name in self.TRUTHS))

    def subset(self, indices: np.ndarray) -> Self:
        """The same data set with the images at `indices` alone."""
        part = copy.copy(self)
        for name in ("_paths", *self.PER_IMAGE):
            setattr(part, name, getattr(self, name)[indices])
        return part


class LabelledFiles(ImageFiles):
    """Image files with one label each. `labels`: int64 (N,)."""

    PER_IMAGE = ("labels",)

    def __init__(
        self,
        root: str | os.PathLike,
        paths: Sequence[str],
        labels: Sequence[int] | np.ndarray,
        class_names: Sequence[str],
    ) -> None:
        super().__init__(root, paths, class_names)
        self.labels = np.asarray(labels, dtype=np.int64)

    def truth(self, index: int) -> dict[str, Any]:
        """`label`, the number of the image's class."""
        return {"label": int(self.labels[index])}

    def with_classes(self, classes: Mapping[str, str]) -> Self:
        """The images of the classes that are keys of `classes`, under the names that are its values."""
        numbers, names = class_numbers(self.class_names, classes)
        part = self.subset(np.flatnonzero(numbers[self.labels] >= 0))
        part.class_names, part.labels = names, numbers[part.labels]
        return part


def pack_names(names: Sequence[str]) -> np.ndarray:
    """Names of files in one array of bytes (N,): a list would be copied into every loader worker, and names need not be
    UTF-8.
    """
    return np.array([os.fsencode(name) for name in names], dtype=np.bytes_)


def require_folder(root: str | os.PathLike) -> Path:
    """The absolute path of a folder that has something in it; UsageError if there is none, DataError if it is empty."""
    folder = Path(root).expanduser().absolute()
    if not folder.exists():
        raise UsageError(f"There is no folder '{folder}': pass the one that holds the images with --data.root.")
    if not folder.is_dir():
        raise UsageError(f"'{folder}' is a file: pass the folder that holds the images with --data.root.")
    try:
        if not any(folder.iterdir()):
            raise DataError(f"The folder '{folder}' is empty: pass the one that holds the images with --data.root.")
    except PermissionError:
        raise DataError(f"The folder '{folder}' may not be read: change its permissions or pass another.") from None
    return folder


# What a folder may be called to be a split, in any case: `Train` beside `Test` are no classes.
SPLIT_FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


def split_folder(folder: Path, split: str) -> str | None:
    """The name of the sub-folder that holds a split of its own, if there is one."""
    found = [name for name in subfolders(folder) if name.lower() in SPLIT_FOLDERS[split]]
    if len(found) > 1:
        raise DataError(f"'{folder}' holds both {' and '.join(found)}: leave the one that is for {split}.")
    return found[0] if found else None


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted as Python sorts str; hidden ones left out."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def images_below(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[str]:
    """Images (or files of other `suffixes`) at any depth, relative to `folder` and sorted; hidden files and litter left
    out, loops of links cut.

    A link to an image that is there too is left out: one picture must not come to lie in two splits.
    """
    try:
        paths = sorted(walk_images(str(folder), suffixes))
        if any(map(os.path.islink, paths)):
            paths = sorted(
                {os.path.realpath(path): path for path in sorted(paths, key=os.path.islink, reverse=True)}.values()
            )
        skipped = len(str(folder)) + 1
        return [path[skipped:] for path in paths]
    except PermissionError as error:
        raise DataError(f"The folder '{error.filename}' may not be read: change its permissions.") from None


def holds_image(folder: Path) -> bool:
    """Whether `images_below` would find any; stops at the first."""
    return next(walk_images(str(folder), IMAGE_SUFFIXES), None) is not None


def describe_contents(folder: Path) -> str:
    """What a folder without images holds instead: "12 files (10 .txt, 2 .mp4)"."""
    names = [name for _, _, names in os.walk(folder) for name in names]
    suffixes = Counter(Path(name).suffix.lower() or "without suffix" for name in names)
    listed = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5))
    return f"{len(names)} file{'s' * (len(names) != 1)}" + (f" ({listed})" if names else "")
