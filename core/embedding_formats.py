"""Embeddings of a whole run as one array."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from .formats import Format, Formats, Item, text_bytes
from .input_list import InputList
from .run_folder import EMBEDDINGS, EMBEDDINGS_OF, RunFolder


class Embeddings(Format):
    """`embeddings.npy`, float32 (R, D), a row a face, and `embeddings.csv`, which says whose each row is: path, of a
    video the frame, and the number of the face in it, from 0. Made of the lines at the end of a run, with their digits.
    """

    NAMES = (EMBEDDINGS, EMBEDDINGS_OF)
    OF = ("embedding", "embeddings")

    def __init__(self, run: RunFolder, wanted: Formats, inputs: InputList) -> None:
        super().__init__(run, wanted, inputs)
        self._frames = inputs.frames

    def write(self, item: Item) -> None:
        """Nothing yet: the head of the array says how many rows it has."""

    def finish(self) -> None:
        """Make both files; raises MachineError where one cannot be written."""
        write_embeddings(self.run, frames=self._frames)


def write_embeddings(run: RunFolder, *, frames: bool) -> None:
    """Make both files of the lines in the folder of a run; `frames` says whether some are of videos."""
    count, width = 0, 0
    for count, (_, row) in enumerate(_rows(run), start=1):  # noqa: B007  # how many there are
        width = len(row)
    with run.whole(EMBEDDINGS) as path:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, width)) if count else None
        if array is None:
            with path.open("wb") as file:
                np.save(file, np.zeros((0, 0), np.float32))
        for number, (_, row) in enumerate(_rows(run)):
            assert array is not None
            array[number] = row
        del array
    with run.whole(EMBEDDINGS_OF) as path, path.open("wb") as file:
        file.write(_csv(["path", *(["frame"] if frames else []), "face"]))
        for (source, frame, face), _ in _rows(run):
            file.write(_csv([source, *([frame] if frames else []), face]))


def _rows(run: RunFolder) -> Iterator[tuple[tuple[str, Any, int], list[float]]]:
    with (run.path / "predictions.jsonl").open("rb") as lines:
        for line in lines:
            values = json.loads(line)
            found = [values["embedding"]] if "embedding" in values else values.get("embeddings", [])
            for face, row in enumerate(found):
                yield (values["path"], values.get("frame", ""), face), row


def _csv(row: list[Any]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(row)
    return text_bytes(text.getvalue())
