"""From predictions to files: the only code, with the formats beside it, that knows how results are stored.

`predictions.jsonl` holds one line an image or frame; `predictions.csv` one row an image, or one a box or a class of a
mask where the task finds such; `failures.jsonl` one line for each file that could not be read. What is said pixel by
pixel has files of its own, in `masks/` and `probabilities/`. On request: `pictures/` mirrors the input with a drawn
picture for each image and a drawn video for each video, and files in the formats of others.
"""

import csv
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from .box_formats import Crops, Yolo
from .coco_results import Coco
from .errors import DataWarning, UsageError, unknown
from .folders import make_folder
from .formats import Format, Formats, Item, short_name
from .images import ImageError, write_image
from .inputs import Input, is_video
from .mask_formats import Masks, PixelFiles, Probabilities
from .types import Prediction
from .videos import VideoFile, read_header

Draw = Callable[[np.ndarray, Prediction], np.ndarray]

FORMATS: Mapping[str, type[Format]] = {"coco": Coco, "yolo": Yolo, "crops": Crops}

_LONGEST = 65_000  # pixels a side of a picture, with room for a legend: a JPEG holds 65,500
_LINES = ("predictions.jsonl", "predictions.csv", "failures.jsonl")
_PIXELS: tuple[type[PixelFiles], ...] = (Masks, Probabilities)
# What a run may leave beside its lines.
_NAMES = ("pictures", *(kind.FOLDER for kind in _PIXELS), *(name for kind in FORMATS.values() for name in kind.NAMES))


class FolderWriter:
    """Writes the results of one prediction run into a folder; use as a context manager.

    `inputs` are the files to be predicted, and of their videos each `every`-th frame. `draw` makes the picture of a
    prediction, or is None for no pictures. Raises UsageError where the folder holds results already and `overwrite` is
    False, or something that is not ours in the place of results, or a format is unknown; MachineError where the folder
    cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        inputs: Sequence[Input] = (),
        every: int = 1,
        draw: Draw | None = None,
        formats: Formats | None = None,
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self.failed = 0
        self.written = 0
        self._frames = any(is_video(image.path) for image in inputs)
        self._csv: Any = None
        formats = formats or Formats()
        for name in formats.names:
            if name not in FORMATS:
                raise unknown("format of results", name, FORMATS, "Give --formats some of them, with commas between.")
        _clear(folder, overwrite)
        self._files: dict[str, Any] = {
            name: (folder / name).open("w", encoding="utf-8", errors="surrogateescape", newline="") for name in _LINES
        }
        self._pictures = _Pictures(folder / "pictures", draw, every) if draw is not None else None
        self._pixels = [kind(folder) for kind in _PIXELS]
        self._formats = {name: FORMATS[name](folder, formats, inputs) for name in dict.fromkeys(formats.names)}

    def write(self, prediction: Prediction, name: str) -> None:
        """Add a prediction; its picture is called `name`, a path below the folder that was searched, and `.jpg`.

        Raises UsageError where a format wants what the prediction does not have.
        """
        for wanted, each in self._formats.items():
            if not any(key in prediction for key in each.OF):
                raise UsageError(f"The format {wanted} is of {each.subject()}, and this task finds none; leave it out.")
        item = Item(prediction, name)
        paths = {each.KEY: each.write(item) for each in self._pixels if each.KEY in prediction}
        self._line("predictions.jsonl", {key: paths.get(key) or _plain(key, prediction[key]) for key in prediction})
        if self._csv is None:
            self._csv = csv.writer(self._files["predictions.csv"])
            self._csv.writerow(_csv_header(prediction, self._frames))
        self._csv.writerows(_csv_rows(prediction, self._frames))
        for each in self._formats.values():
            with _without_image():
                each.write(item)
        if self._pictures is not None:
            with _without_image():
                self._pictures.write(item)
        self.written += 1

    def fail(self, error: ImageError) -> None:
        """Add a file that could not be read, with the reason."""
        self._line("failures.jsonl", {"path": str(error.path), "code": error.code, "reason": str(error)})
        self.failed += 1

    def flush(self) -> None:
        """Hand everything so far to the operating system."""
        for file in (*self._files.values(), *self._formats.values()):
            file.flush()

    def __enter__(self) -> "FolderWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (*self._files.values(), *self._formats.values(), *([self._pictures] if self._pictures else [])):
            file.close()

    def _line(self, file: str, values: Mapping[str, Any]) -> None:
        # ASCII: a name that is not UTF-8 is written as escapes, and reads back as the same name.
        self._files[file].write(json.dumps(values, ensure_ascii=True) + "\n")


@contextmanager
def _without_image() -> Iterator[None]:
    """Goes on where the image can't be read again: its results stand, without crops and pictures."""
    try:
        yield
    except ImageError as error:
        if error.code == "TOO_LARGE":  # it was predicted in tiles; any other is gone since
            sentence = f"'{error.path}' is predicted, but neither drawn nor cut into crops: it {error.reason}."
            warnings.warn(sentence, DataWarning, stacklevel=3)


class _Pictures:
    """Drawn pictures, and one drawn video at a time."""

    def __init__(self, folder: Path, draw: Draw, every: int) -> None:
        self._folder = folder
        self._draw = draw
        self._every = every
        self._video: VideoFile | None = None
        self._path = ""  # of the video that is being drawn

    def write(self, item: Item) -> None:
        """Draw one; raises ImageError where its file is gone or too long for a JPEG, MachineError where it cannot be
        written.
        """
        if max(item.prediction["size"]) > _LONGEST:
            raise ImageError(item.prediction["path"], "TOO_LARGE", f"is longer than the {_LONGEST:,} pixels of a JPEG")
        drawn = self._draw(item.image, item.prediction)
        # The whole name with its suffix stays, so that a.jpg and a.png do not overwrite each other.
        if "frame" not in item.prediction:
            target = self._folder / short_name(f"{item.name}.jpg")
            target.parent.mkdir(parents=True, exist_ok=True)
            write_image(target, drawn)
            return
        path = item.prediction["path"]
        if self._video is None or path != self._path:
            self.close()
            target = self._folder / short_name(f"{item.name}.mp4")
            target.parent.mkdir(parents=True, exist_ok=True)
            # Of fewer frames, each is shown for longer: the video keeps its speed.
            self._video, self._path = VideoFile(target, read_header(path).rate / self._every), path
        self._video.write(drawn)

    def close(self) -> None:
        """Finish the video."""
        if self._video is not None:
            self._video.close()
            self._video = None


def _clear(folder: Path, overwrite: bool) -> None:
    """Make the folder, without what an earlier run left and this one may not write: it must not be taken for this
    one's.
    """
    ours = (folder / "predictions.jsonl").exists()
    if ours and not overwrite:
        raise UsageError(f"{folder}: results are already there; give another --out, or --overwrite them.")
    there = [folder / name for name in _NAMES if os.path.lexists(folder / name)]
    if there and not ours:  # a data set has masks/ too
        raise UsageError(f"{there[0]} is there already, and no predictions.jsonl beside it: give another --out.")
    make_folder(folder)
    for path in there:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _plain(key: str, value: Any) -> Any:
    if key == "boxes":
        return [[round(number, 2) for number in box] for box in value.tolist()]  # hundredths of a pixel
    if isinstance(value, torch.Tensor):
        return [round(number, 6) if isinstance(number, float) else number for number in value.tolist()]
    return list(value) if isinstance(value, tuple) else value


def _csv_header(prediction: Prediction, frames: bool) -> list[str]:
    first = ["path", *(["frame"] if frames else []), "height", "width"]
    if "boxes" in prediction:
        return [*first, "name", "score", "x1", "y1", "x2", "y2"]
    if "mask" in prediction:
        return [*first, "name", "score", "pixels", "share"]
    ranks = range(1, len(prediction["names"]) + 1)
    return [*first, *(f"{what}_{rank}" for rank in ranks for what in ("name", "score"))]


def _csv_rows(prediction: Prediction, frames: bool) -> list[list[Any]]:
    height, width = prediction["size"]
    first = [prediction["path"], *([prediction.get("frame", "")] if frames else []), height, width]
    pairs = [
        (name, f"{score:.6f}") for name, score in zip(prediction["names"], prediction["scores"].tolist(), strict=True)
    ]
    if "boxes" in prediction:
        boxes = prediction["boxes"].tolist()
        return [[*first, *pair, *(f"{number:.2f}" for number in box)] for pair, box in zip(pairs, boxes, strict=True)]
    if "mask" in prediction:
        counts = prediction["pixels"].tolist()
        return [
            [*first, *pair, count, f"{count / (height * width):.6f}"] for pair, count in zip(pairs, counts, strict=True)
        ]
    return [[*first, *(value for pair in pairs for value in pair)]]
