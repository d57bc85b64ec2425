"""From predictions to files: the only code, with the formats beside it, that knows how results are stored.

`predictions.jsonl` holds one line an image or frame; `predictions.csv` one row an image, or one a box or a class of a
mask where the task finds such; `failures.jsonl` one line for each file that could not be read; `summary.json`, written
last, the counts. What is said pixel by pixel has files of its own, in `masks/`, `probabilities/`, `edges/`, `depth/`
and `normals/`. On request: `pictures/` mirrors the input with a drawn picture for each image and a drawn video for each
video; a page about the whole run; and files in the formats of others.
"""

import csv
import io
import json
import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .box_formats import Crops, Yolo
from .coco_results import Coco
from .depth_formats import Depth, Normals, Npy, Ply
from .edge_formats import Binary, Edges, GeoJson, Svg
from .embedding_formats import Embeddings
from .errors import UsageError, unknown
from .formats import LONGEST, Format, Formats, Item, text_bytes, without_image
from .frames import read_header
from .images import ImageError, write_image
from .input_list import InputList
from .mask_formats import Masks, PixelFiles, Probabilities
from .parquet import Parquet
from .report import Draw, Report
from .run_folder import DEPTH_ABOUT, DEPTH_SCALE, PAIRS, REPORT, SUMMARY, RunFolder
from .track_formats import Tracks
from .types import Prediction
from .videos import VideoFile

SCHEMA = 1  # of predictions.jsonl, failures.jsonl and summary.json: raised when an entry changes its meaning
FORMATS: Mapping[str, type[Format]] = {
    "coco": Coco,
    "yolo": Yolo,
    "crops": Crops,
    "binary": Binary,
    "svg": Svg,
    "geojson": GeoJson,
    "npy": Npy,
    "ply": Ply,
    "tracks": Tracks,
    "embeddings": Embeddings,
    "parquet": Parquet,
}
OF_ALL_TASKS = ("parquet",)

_PIXELS: tuple[type[PixelFiles], ...] = (Masks, Probabilities, Edges, Depth, Normals)
_DISTANCES = ("nearest", "median", "farthest")  # metres
_LARGE = 2**26  # pixels, 0.2 GB as RGB: more than each of several threads should hold
_COMMIT_INPUTS, _COMMIT_SECONDS = 1024, 10.0  # what a kill costs at most
# All that a run may leave in its folder.
NAMES = (
    "predictions.jsonl",
    "predictions.csv",
    "failures.jsonl",
    SUMMARY,
    REPORT,
    "pictures",
    DEPTH_SCALE,
    DEPTH_ABOUT,
    PAIRS,
    *(kind.FOLDER for kind in _PIXELS),
    *(name for kind in FORMATS.values() for name in kind.NAMES),
)


def check_formats(names: tuple[str, ...]) -> None:
    """Raise UsageError for a name that is no format's, and for a format that needs what is not installed."""
    for name in names:
        if name not in FORMATS:
            raise unknown("format of results", name, FORMATS, "Give --formats some of them, with commas between.")
        FORMATS[name].check()


class FolderWriter:
    """Writes the results of a prediction run into its folder, from where its last commit left off.

    Of the videos among `inputs` each `every`-th frame is predicted. `draw` makes the picture of a prediction, or is
    None for no pictures; `report` makes a page about the whole run, at its end. Raises UsageError where a format is
    unknown, MachineError where the folder cannot be written.
    """

    def __init__(
        self,
        run: RunFolder,
        inputs: InputList,
        *,
        every: int = 1,
        draw: Draw | None = None,
        formats: Formats | None = None,
        report: Report | None = None,
    ) -> None:
        formats = formats or Formats()
        check_formats(tuple(formats.names))
        self.inputs = inputs
        self._run = run
        if run.state is None:
            run.commit(
                {"inputs": inputs.as_plain(), "offset": 0, "done": 0, "written": 0, "failures": {}, "seconds": 0}
            )
        state = run.state or {}
        self.offset: int = state["offset"]  # in the list of inputs, of the first whose results are not all there
        self.done: int = state["done"]  # inputs whose results are there
        self.written: int = state["written"]  # predictions
        self.failures = Counter[str](state["failures"])  # by their code
        self._seconds: float = state["seconds"]  # of earlier starts of this run
        self._began = self._committed = time.monotonic()
        self._since = 0  # inputs done since the last commit
        self._begun = False  # results of an input that is not done are there
        self._frames = inputs.frames
        self._lines, self._table, self._failed = map(run.growing, NAMES[:3])
        self._pictures = _Pictures(run, draw, every) if draw is not None else None
        self._pixels = [kind(run, formats) for kind in _PIXELS]
        self._report = report
        self._formats = {name: FORMATS[name](run, formats, inputs) for name in dict.fromkeys(formats.names)}

    @property
    def failed(self) -> int:
        """Files that could not be read."""
        return self.failures.total()

    @property
    def seconds(self) -> float:
        """How long the run has worked, earlier starts included."""
        return self._seconds + time.monotonic() - self._began

    def write(self, prediction: Prediction, name: str) -> None:
        """Add a prediction; its picture is called `name`, a path below the folder that was searched, and `.jpg`.

        Raises UsageError where a format wants what the prediction does not have.
        """
        for wanted, each in self._formats.items():
            if not any(key in prediction for key in each.OF):
                raise UsageError(f"The format {wanted} is of {each.subject()}, and this task finds none; leave it out.")
        self._begun = True
        self.written += 1
        large = math.prod(prediction["size"]) > _LARGE
        if large:
            self._run.settle()
        item = Item(prediction, name, self.written)
        paths = {each.KEY: each.write(item) for each in self._pixels if each.KEY in prediction}
        self._lines.write(_line({key: paths.get(key) or _plain(key, prediction[key]) for key in prediction}))
        rows = [_csv_header(prediction, self._frames)] if self._table.empty else []
        self._table.write(_csv([*rows, *_csv_rows(prediction, self._frames)]))
        for each in self._formats.values():
            each.write(item)
        if self._pictures is not None:
            self._pictures.write(item)
        if large:
            self._run.settle()

    def fail(self, error: ImageError) -> None:
        """Add a file that could not be read, with the reason."""
        self._begun = True
        self._failed.write(_line({"path": str(error.path), "code": error.code, "reason": str(error)}))
        self.failures[error.code] += 1

    def finish_inputs(self, count: int, offset: int) -> None:
        """Note that all results of the next `count` inputs are there, up to `offset` in their list; now and then,
        commit.
        """
        self.done, self.offset, self._since, self._begun = self.done + count, offset, self._since + count, False
        if self._pictures is not None:
            self._pictures.close()
        if self._since >= _COMMIT_INPUTS or time.monotonic() - self._committed >= _COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make all results of the finished inputs safe; no other may have been begun."""
        progress = {"offset": self.offset, "done": self.done, "written": self.written, "failures": dict(self.failures)}
        self._run.commit({"inputs": self.inputs.as_plain(), "seconds": round(self.seconds, 3), **progress})
        self._committed, self._since = time.monotonic(), 0

    def stop(self) -> int:
        """Commit, but within an input; returns how many inputs are safe."""
        if not self._begun:
            self.commit()
        assert self._run.state is not None
        return self._run.state["done"]

    def finish(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """End the run, with `summary` and the counts in `summary.json`; returns what is in there."""
        self.commit()
        seconds = round(self.seconds, 3)
        whole = {
            "schema": SCHEMA,
            "inputs": {
                **{key: getattr(self.inputs, key) for key in ("images", "videos", "left_out", "numbered")},
                **({"whole": self.inputs.whole} if self.inputs.whole else {}),
            },
            "predicted": self.written,
            "failed": self.failed,
            "failures": dict(sorted(self.failures.items())),
            "seconds": seconds,
            "rate": round(self.written / max(seconds, 1e-3), 2),
            **summary,
        }
        for each in self._formats.values():
            each.finish()
        if self._report is not None:
            self._report.write(self._run, self.inputs, whole)
        self._run.finish(whole)
        return whole


def _line(values: Mapping[str, Any]) -> bytes:
    # ASCII: a name that is not UTF-8 is written as escapes, and reads back as the same name.
    return json.dumps(values, ensure_ascii=True).encode("ascii") + b"\n"


def _csv(rows: list[list[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text_bytes(text.getvalue())


class _Pictures:
    """Drawn pictures, and one drawn video at a time."""

    def __init__(self, run: RunFolder, draw: Draw, every: int) -> None:
        self._run = run
        self._draw = draw
        self._every = every
        self._video: VideoFile | None = None
        self._path = ""  # of the video that is being drawn

    def write(self, item: Item) -> None:
        """Have one drawn, unless its file is gone or too long for a JPEG; raises MachineError where a video cannot be
        written.
        """
        # The whole name with its suffix stays, so that a.jpg and a.png do not overwrite each other.
        if "frame" in item.prediction:
            with without_image():
                self._write_frame(item)
        else:
            self._run.later(self._write_picture, item, self._run.place("pictures", (item.name,), ".jpg", later=True))

    def _write_picture(self, item: Item, target: Path) -> None:
        with without_image(), torch.inference_mode():
            write_image(target, self._drawn(item))

    def _write_frame(self, item: Item) -> None:
        drawn, path = self._drawn(item), item.prediction["path"]
        if self._video is None or path != self._path:
            self.close()
            target = self._run.place("pictures", (item.name,), ".mp4")
            # Of fewer frames, each is shown for longer: the video keeps its speed.
            self._video, self._path = VideoFile(target, read_header(path).rate / self._every), path
        self._video.write(drawn)

    def _drawn(self, item: Item) -> np.ndarray:
        if max(item.prediction["size"]) > LONGEST:
            raise ImageError(item.prediction["path"], "TOO_LARGE", f"is longer than the {LONGEST:,} pixels of a JPEG")
        return self._draw(item.image, item.prediction)

    def close(self) -> None:
        """Finish the video."""
        if self._video is not None:
            self._video.close()
            self._video = None


def _plain(key: str, value: Any) -> Any:
    if key == "boxes":
        return [[round(number, 2) for number in box] for box in value.tolist()]  # hundredths of a pixel
    if isinstance(value, torch.Tensor):
        return [round(number, 6) if isinstance(number, float) else number for number in value.tolist()]
    if isinstance(value, float):
        return round(value, 6)
    return list(value) if isinstance(value, tuple) else value


def _csv_header(prediction: Prediction, frames: bool) -> list[str]:
    first = ["path", *(["frame"] if frames else []), "height", "width"]
    if "boxes" in prediction:
        return [*first, "name", "score", "x1", "y1", "x2", "y2", *(["lost"] if "lost" in prediction else [])]
    if "pixels" in prediction:
        return [*first, "name", "score", "pixels", "share"]
    if "depth" in prediction:
        return [*first, *_DISTANCES, "known"]
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
        lost = [[int(each)] for each in prediction["lost"]] if "lost" in prediction else [[]] * len(boxes)
        return [
            [*first, *pair, *(f"{number:.2f}" for number in box), *last]
            for pair, box, last in zip(pairs, boxes, lost, strict=True)
        ]
    if "pixels" in prediction:
        counts = prediction["pixels"].tolist()
        return [
            [*first, *pair, count, f"{count / (height * width):.6f}"] for pair, count in zip(pairs, counts, strict=True)
        ]
    if "depth" in prediction:
        return [[*first, *(f"{prediction[key]:.3f}" for key in _DISTANCES), f"{prediction['known']:.6f}"]]
    return [[*first, *(value for pair in pairs for value in pair)]]
