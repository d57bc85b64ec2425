"""What a prediction says pixel by pixel, in files of its own beside the lines that name them."""

import os
from pathlib import Path
from typing import ClassVar

import numpy as np

from .errors import MachineError
from .formats import Formats, Item
from .masks import write_mask
from .run_folder import RunFolder


class PixelFiles:
    """Writes one entry of predictions, `KEY`, to `FOLDER` in the folder of a run, a file an image or frame."""

    KEY: ClassVar[str]
    FOLDER: ClassVar[str]

    def __init__(self, run: RunFolder, wanted: Formats) -> None:
        self._run = run
        self._wanted = wanted

    def write(self, item: Item) -> str:
        """Have the entry written, and return its file's path below the folder of results."""
        raise NotImplementedError

    def _path(self, item: Item, ending: str) -> Path:
        return self._run.place(self.FOLDER, (item.whole,), ending, later=True)

    def _below(self, path: Path) -> str:
        return path.relative_to(self._run.path).as_posix()


class Masks(PixelFiles):
    """`masks/` with a PNG of the file's size an image, a.jpg.png for a.jpg: its values are the class numbers, 255 where
    nothing is known, and its palette shows them in colour.
    """

    KEY = "mask"
    FOLDER = "masks"

    def write(self, item: Item) -> str:
        """Have the PNG written."""
        path = self._path(item, ".png")
        self._run.later(write_mask, path, item.prediction["mask"].numpy())
        return self._below(path)


class Probabilities(PixelFiles):
    """`probabilities/` with an array an image, a.jpg.npy for a.jpg: float16 (C, H, W), in the order of the classes."""

    KEY = "probabilities"
    FOLDER = "probabilities"

    def write(self, item: Item) -> str:
        """Have the array written, from where it lies: one that is backed by a file is never in memory as a whole."""
        path = self._path(item, ".npy")
        self._run.later(_write_array, path, item.prediction["probabilities"].numpy())
        return self._below(path)


def _write_array(path: Path, array: np.ndarray) -> None:
    try:
        with path.open("wb") as file:
            np.save(file, array)
    except OSError as error:
        # numpy's own says how many numbers of how many were written, and not why.
        raise MachineError(f"'{os.fsdecode(path)}' cannot be written: {error.strerror or error}.") from error
