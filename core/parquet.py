"""The lines of `predictions.jsonl` as a table for programs, in Parquet, by pyarrow (the extra `parquet`)."""

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import UsageError
from .formats import Format, Formats, Item
from .input_list import InputList
from .run_folder import PARQUET, RunFolder

# The columns, in pyarrow's words; "list" is of what follows. Numbers are as wide as those in the lines: they read back
# the same.
COLUMNS: Mapping[str, str] = {
    "path": "string",
    "size": "list int32",
    "frame": "int64",
    "labels": "list int64",
    "scores": "list float64",
    "names": "list string",
    "boxes": "list list float64",
    "mask": "string",
    "pixels": "list int64",
    "probabilities": "string",
    "edges": "string",
    "threshold": "float64",
    "depth": "string",
    "nearest": "float64",
    "median": "float64",
    "farthest": "float64",
    "known": "float64",
    "normals": "string",
    "lost": "list bool_",
    "embedding": "list float32",
    "embeddings": "list list float32",
}
_ALWAYS = ("path", "size", "labels", "scores", "names")
_GROUP = 2**22  # bytes of lines: so much is in memory at once, and is a group of rows in the file


class Parquet(Format):
    """`predictions.parquet`: a row an image or frame, with the entries of its line as columns, made at the end of a
    run.

    A name that is not UTF-8, which a Parquet file can't hold, has the escapes that it has in the lines.
    """

    NAMES = (PARQUET,)
    OF = ("path",)  # which all predictions have

    def __init__(self, run: RunFolder, wanted: Formats, inputs: InputList) -> None:
        super().__init__(run, wanted, inputs)
        self._frames = inputs.frames

    @classmethod
    def check(cls) -> None:
        """Raise UsageError, which says how to install it, where pyarrow is missing."""
        # Not imported before the end: it starts a thread, and the processes that read files are forked until then.
        if find_spec("pyarrow") is None:
            raise UsageError('The format parquet needs pyarrow: install it with pip install "foveal[parquet]".')

    def write(self, item: Item) -> None:
        """Nothing yet: a Parquet file can't be gone on with once it is closed, as a run can that was stopped."""

    def finish(self) -> None:
        """Make the table of the lines; raises MachineError where it cannot be written."""
        write_parquet(self.run, frames=self._frames)


def write_parquet(run: RunFolder, *, frames: bool) -> None:
    """Make `predictions.parquet` of the lines in the folder of a run; `frames` says whether some are of videos.

    Raises MachineError where it cannot be written.
    """
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    lines = run.path / "predictions.jsonl"
    schema = pyarrow.schema([(name, _type(COLUMNS[name])) for name in _columns(lines, frames)])
    with run.whole(PARQUET) as path, path.open("wb") as file, ParquetWriter(file, schema, compression="zstd") as table:
        for rows in _groups(lines):
            columns = {name: [row.get(name) for row in rows] for name in schema.names}
            table.write_table(pyarrow.table(columns, schema=schema))


def _columns(lines: Path, frames: bool) -> list[str]:
    """Those of the first line, which all lines have, and the frame, which images don't."""
    with lines.open("rb") as file:
        first = json.loads(file.readline() or "{}")
    found = {*_ALWAYS, *first, *(["frame"] if frames else [])}
    return [name for name in COLUMNS if name in found]


def _type(words: str) -> Any:
    import pyarrow

    *lists, name = words.split()
    kind = getattr(pyarrow, name)()
    for _ in lists:
        kind = pyarrow.list_(kind)
    return kind


def _groups(path: Path) -> Iterator[list[dict[str, Any]]]:
    with path.open("rb") as file:
        while lines := file.readlines(_GROUP):
            yield [_row(line) for line in lines]


def _row(line: bytes) -> dict[str, Any]:
    row = json.loads(line)
    return _storable(row) if b"\\ud" in line else row  # half of a sign beyond U+FFFF, or a byte that is not UTF-8


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list):
        return [_storable(each) for each in value]
    return {key: _storable(each) for key, each in value.items()} if isinstance(value, dict) else value
