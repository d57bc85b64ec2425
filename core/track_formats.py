"""Boxes of targets that are followed, in text files: one a target, and a line a frame."""

import json
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from .formats import Format, Formats, Item
from .frames import read_header
from .images import ImageError
from .input_list import InputList
from .run_folder import RunFolder, write_file

_UNKNOWN = "NaN,NaN,NaN,NaN\n"


class Tracks(Format):
    """`tracks/` with clip.mp4.txt for clip.mp4, of several targets clip.mp4_1.txt and so on, made at the end of a run.

    A line is x, y, width and height in pixels, of frame 0 the first; where a target is lost, or the frame was passed
    over, NaN: what the data formats `frame_folder` and `video` read.
    """

    NAMES = ("tracks",)
    OF = ("lost",)

    def __init__(self, run: RunFolder, wanted: Formats, inputs: InputList) -> None:
        super().__init__(run, wanted, inputs)
        self._inputs = inputs

    @classmethod
    def subject(cls) -> str:
        """For people."""
        return "targets"

    def write(self, item: Item) -> None:
        """Nothing yet: a run that was stopped begins its video anew."""

    def finish(self) -> None:
        """Make the files of the lines; raises MachineError where one cannot be written."""
        names = {given.path: given.name for given, _ in self._inputs.read()}
        for path, frames in groupby(self._predictions(), key=itemgetter("path")):
            targets = _lines(list(frames), _count(path))
            for number, lines in enumerate(targets, start=1):
                which = f"_{number}" if len(targets) > 1 else ""
                place = self.run.place("tracks", (f"{names[path]}{which}",), ".txt")
                write_file(place, "".join(lines).encode("ascii"))

    def _predictions(self) -> Iterator[dict[str, Any]]:
        with (self.run.path / "predictions.jsonl").open("rb") as lines:
            yield from map(json.loads, lines)


def _count(path: str) -> int:
    """How many frames a folder has; 0 of a video, which does not know it for sure, and of what is gone."""
    try:
        return read_header(path).frames if path.endswith("/") else 0
    except ImageError:
        return 0


def _lines(frames: list[dict[str, Any]], count: int) -> list[list[str]]:
    """Of each target the lines of `count` frames, or of all up to the last that was predicted."""
    count = max(count, frames[-1]["frame"] + 1)
    files = [[_UNKNOWN] * count for _ in frames[0]["boxes"]]
    for frame in frames:
        for lines, box, lost in zip(files, frame["boxes"], frame["lost"], strict=True):
            if not lost:
                x1, y1, x2, y2 = box
                lines[frame["frame"]] = f"{x1:g},{y1:g},{round(x2 - x1, 2):g},{round(y2 - y1, 2):g}\n"
    return files
