"""Data sets whose images are files: the data set itself, and the questions that every such format asks of the disk."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.images import read_image
from ..core.inputs import IMAGE_SUFFIXES, walk_images
from .splits import digest


class ImageFiles:
    """Image files with one label each; see the package for what a data set is.

    `paths` are relative to `root`. `[index]` raises ImageError for a file that cannot be read.
    """

    def __init__(
        self, root: str | os.PathLike, paths: Sequence[str], labels: Sequence[int] | np.ndarray, class_names: list[str]
    ):
        self.class_names = class_names
        self.labels = np.asarray(labels, dtype=np.int64)
        self._root = os.path.join(os.fsencode(root), b"")
        # Bytes, because names need not be UTF-8; one array, because a list would be copied into every worker.
        self._paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The image, uint8 (H, W, 3), its path, size (H, W) and label."""
        path = os.fsdecode(self._root + self._paths[index])
        image = read_image(path)
        return {"image": image, "path": path, "size": image.shape[:2], "label": int(self.labels[index])}

    def fingerprint(self) -> str:
        """A digest of names and labels: another one when an image is added, removed, renamed or labelled anew."""
        return digest(self._paths.tolist(), self.labels)

    def subset(self, indices: np.ndarray) -> "ImageFiles":
        """The same data set with the images at `indices` alone."""
        part = ImageFiles(os.fsdecode(self._root), [], self.labels[indices], self.class_names)
        part._paths = self._paths[indices]
        return part


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


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted as Python sorts str; hidden ones left out."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def images_below(folder: Path) -> list[str]:
    """Images at any depth, relative to `folder` and sorted; hidden files and litter left out, loops of links cut.

    A link to an image that is there too is left out: one picture must not come to lie in two splits.
    """
    try:
        paths = sorted(walk_images(str(folder), IMAGE_SUFFIXES))
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
