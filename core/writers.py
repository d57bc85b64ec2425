"""From predictions to files: the only code that knows how results are stored.

`predictions.jsonl` and `predictions.csv` hold one entry an image, `failures.jsonl` one for each file that could not be
read, and `pictures/` mirrors the input with a drawn picture for each image where that is asked for.
"""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from .errors import UsageError
from .folders import make_folder
from .images import ImageError, read_image, write_image
from .types import Prediction

Draw = Callable[[np.ndarray, Prediction], np.ndarray]


class FolderWriter:
    """Writes the results of one prediction run into a folder; use as a context manager.

    `draw` makes the picture of a prediction, or is None for no pictures. Raises UsageError where the folder holds
    results already and `overwrite` is False, MachineError where it cannot be written.
    """

    def __init__(self, folder: Path, *, draw: Draw | None = None, overwrite: bool = False) -> None:
        self.folder = folder
        self.failed = 0
        self.written = 0
        self._draw = draw
        self._files: dict[str, Any] = {}
        self._csv: Any = None
        if (folder / "predictions.jsonl").exists() and not overwrite:
            raise UsageError(f"{folder}: results are already there; give another --out, or --overwrite them.")
        make_folder(folder)
        shutil.rmtree(folder / "pictures", ignore_errors=True)  # of the results that are overwritten
        for name in ("predictions.jsonl", "predictions.csv", "failures.jsonl"):
            self._files[name] = (folder / name).open("w", encoding="utf-8", errors="surrogateescape", newline="")

    def write(self, prediction: Prediction, name: str) -> None:
        """Add a prediction; its picture is called `name`, a path below the folder that was searched, and `.jpg`."""
        self._line("predictions.jsonl", _plain(prediction))
        if self._csv is None:
            self._csv = csv.writer(self._files["predictions.csv"])
            self._csv.writerow(_csv_header(prediction))
        self._csv.writerow(_csv_row(prediction))
        if self._draw is not None:
            # The whole name with its suffix stays, so that a.jpg and a.png do not overwrite each other.
            target = self.folder / "pictures" / _short(f"{name}.jpg")
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(ImageError):  # gone since it was predicted: its results stand, without a picture
                write_image(target, self._draw(read_image(prediction["path"]), prediction))
        self.written += 1

    def fail(self, error: ImageError) -> None:
        """Add a file that could not be read, with the reason."""
        self._line("failures.jsonl", {"path": str(error.path), "code": error.code, "reason": str(error)})
        self.failed += 1

    def flush(self) -> None:
        """Hand everything so far to the operating system."""
        for file in self._files.values():
            file.flush()

    def __enter__(self) -> "FolderWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def _line(self, file: str, values: Mapping[str, Any]) -> None:
        # ASCII: a name that is not UTF-8 is written as escapes, and reads back as the same name.
        self._files[file].write(json.dumps(values, ensure_ascii=True) + "\n")


def _short(name: str) -> str:
    # File systems take 255 bytes a name: the picture of a longer one is called by its beginning and a hash.
    folder, file = os.path.split(name)
    data = os.fsencode(file)
    if len(data) <= 255:
        return name
    return os.path.join(folder, os.fsdecode(data[:200]) + f"~{hashlib.blake2b(data, digest_size=8).hexdigest()}.jpg")


def _plain(prediction: Prediction) -> dict[str, Any]:
    return {key: _value(value) for key, value in prediction.items()}


def _value(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return [round(number, 6) if isinstance(number, float) else number for number in value.tolist()]
    return list(value) if isinstance(value, tuple) else value


def _csv_header(prediction: Prediction) -> list[str]:
    ranks = range(1, len(prediction["names"]) + 1)
    return ["path", "height", "width", *(f"{what}_{rank}" for rank in ranks for what in ("name", "score"))]


def _csv_row(prediction: Prediction) -> list[Any]:
    pairs = zip(prediction["names"], prediction["scores"].tolist(), strict=True)
    return [
        prediction["path"],
        *prediction["size"],
        *(value for name, score in pairs for value in (name, f"{score:.6f}")),
    ]
