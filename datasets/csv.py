"""A table of images: a CSV file with the columns `path` and `label` and, if you like, `split` (train, val, test).

Paths are relative to the table's folder and must stay within it: a table from somewhere else must not choose what is
read from this disk. Links in that folder are followed: whoever made them owns it.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import DataError, MachineError, MissingSplit, UsageError
from ..core.images import write_image
from .files import LabelledFiles
from .findings import Finding, Findings
from .mend import LOG
from .splits import require_classes, split_train, stratified_split

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class _Row(NamedTuple):
    number: int  # from 0, among the rows
    line: int
    path: str
    label: str
    split: str  # "" where the table has no such column


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> LabelledFiles:
    """One split of a table; `root` is the table, or a folder that holds one.

    Classes are the sorted labels of the training rows. Without a column `split`, all three are drawn; with one that
    never says val, val is drawn from train. A row that cannot be used is refused, by its line. Raises DataError for a
    table that cannot be used.
    """
    file = find_table(root)
    rows = list(_rows(file, findings))
    given = {row.split for row in rows}
    class_names = sorted({row.label for row in rows if row.split in ("", "train")})
    if len(class_names) < 2:
        findings.require_usable()  # a row that was refused says better what is missing
    if not rows:
        raise DataError(f"'{file}' has a header and no rows: write one row per image.")
    if not class_names:
        raise DataError(f"'{file}' has no row whose split is train: mark the training images.")
    require_classes(class_names, f"'{file}'")
    rows = [row for row in rows if _has_class(row, class_names, file, findings)]
    if given == {""}:
        dataset = _dataset(file, rows, class_names)
        return dataset.subset(stratified_split(dataset.labels, fractions, seed, class_names)[split])
    if split == "test" and "test" not in given:
        raise MissingSplit(f"'{file}' has a column split, but no row of it says test: mark the test images.")
    if split == "test" or "val" in given:
        return _dataset(file, [row for row in rows if row.split == split], class_names)
    dataset = _dataset(file, [row for row in rows if row.split == "train"], class_names)
    return dataset.subset(split_train(dataset.labels, split, fractions, seed, class_names))


def write_split(samples: Iterable[Mapping[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Write samples as `root/images/split_000000.png`, and add their rows to `root/labels.csv`."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    table = root / "labels.csv"
    new = not table.exists()
    with table.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(("path", "label", "split"))
        for number, sample in enumerate(samples):
            path = f"images/{split}_{number:06d}.png"
            write_image(root / path, sample["image"])
            writer.writerow((path, class_names[sample["label"]], split))


def mend(
    root: str | os.PathLike, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Write the table into `out` without the rows that `findings` refuse and those of images that are `dropped`.

    All other lines are as they were. Returns one (file, place, change) for each row that is gone.
    """
    file = find_table(root)
    gone = {
        finding.index: f"removed: {finding.text}"
        for finding in findings
        if finding.file == file.name and finding.action == "refused" and finding.index is not None
    }
    text = _read(file)
    lines, records, log = io.StringIO(text, newline="").readlines(), _records(file, text), []
    before, header = next(records)
    columns, kept = _columns(file, header), lines[:before]
    for number, (end, fields) in enumerate(records):
        while not lines[before].strip(", \t\r\n"):  # blank, and none of the row's
            kept.append(lines[before])
            before += 1
        path = os.path.normpath(dict(zip(columns, fields, strict=False)).get("path", "").strip())
        change = gone.get(number) or (f"removed: {dropped[path]}" if path in dropped else None)
        if change is None:
            kept += lines[before:end]
        else:
            log.append((file.name, f"line {end}", change))
        before = end
    kept += lines[before:]
    try:
        (out / file.name).write_text("".join(kept), encoding="utf-8", newline="")
    except OSError as error:
        raise MachineError(f"'{out / file.name}' cannot be written: {error.strerror}.") from error
    return log


def find_table(root: str | os.PathLike) -> Path:
    """The table at `root`, a file or a folder with one CSV file, besides a log of `check-data --fix`.

    Raises UsageError where there is nothing, DataError for a folder with none or several.
    """
    path = Path(root).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"There is no file '{path}': pass the CSV file with --data.root.")
    if not path.is_dir():
        return path
    found = sorted(file.name for file in path.glob("*.[cC][sS][vV]") if not file.name.startswith("."))
    tables = [name for name in found if name != LOG] or found
    if len(tables) != 1:
        found = f"{len(tables)} CSV files ({', '.join(tables[:5])})" if tables else "no CSV file"
        raise DataError(f"The folder '{path}' holds {found}: pass the one that is meant with --data.root.")
    return path / tables[0]


def _rows(file: Path, findings: Findings) -> Iterator[_Row]:
    """The rows of a table, each checked by itself and against those before; those that cannot be used are noted."""
    records = _records(file, _read(file))
    _, header = next(records, (0, None))
    if header is None:
        raise DataError(f"'{file}' is empty: the first line must be path,label or path,label,split.")
    columns, seen = _columns(file, header), {}
    for number, (line, fields) in enumerate(records):
        fault = _fault_of(fields, columns)
        if fault is None:
            row = _row(number, line, fields, columns)
            fault = _fault_in_place(file, row, seen)
            if fault is None:
                seen[row.path] = line
                yield row
        if fault is not None:
            findings.note(fault[0], file.name, fault[1], place=f"line {line}", action="refused", index=number)


def _row(number: int, line: int, fields: Sequence[str], columns: Sequence[str]) -> _Row:
    values = {name: field.strip() for name, field in zip(columns, fields, strict=True)}
    split = _SPLITS[values["split"].lower()] if "split" in values else ""
    return _Row(number, line, os.path.normpath(values["path"]), values["label"], split)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"'{file}' is not UTF-8 text: save it as CSV in UTF-8.") from None
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None


def _records(file: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The last line, from 1, and the values of the header and of each row; blank lines are passed over."""
    line = 0
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        for fields in reader:
            line = reader.line_num
            if any(field.strip() for field in fields):
                yield line, fields
    except csv.Error as error:
        raise DataError(f"'{file}', line {line + 1}: not CSV ({error}); check the quotes.") from None


def _columns(file: Path, fields: list[str]) -> list[str]:
    columns = [field.strip().lower() for field in fields]
    for name in ("path", "label"):
        if columns.count(name) != 1:
            raise DataError(
                f"'{file}', line 1: {columns.count(name) or 'no'} column called {name} in '{','.join(fields)[:200]}'; "
                "the first line must be path,label or path,label,split, with commas between."
            )
    return columns


def _fault_of(fields: list[str], columns: list[str]) -> tuple[str, str] | None:
    """What is wrong with the values of a row, and its code."""
    if len(fields) != len(columns):
        hint = "put quotes around a value with a comma in it" if len(fields) > len(columns) else "fill the missing ones"
        return "BAD_ROW", f"{len(fields)} values where the header has {len(columns)} columns; {hint}"
    values = {name: field.strip() for name, field in zip(columns, fields, strict=True)}
    for name in ("path", "label"):
        if not values[name]:
            return "BAD_ROW", f"the {name} is empty; fill it or remove the line"
    path, split = values["path"], values.get("split")
    # Windows's rules as well, so that a table is as safe, and as portable, there.
    if PurePosixPath(path).is_absolute() or PureWindowsPath(path).anchor or ".." in PureWindowsPath(path).parts:
        return "LEAVES_ROOT", f"'{path}' leaves the table's folder; write a path below it, like images/1.png"
    if split is not None and split.lower() not in _SPLITS:
        return "UNKNOWN_SPLIT", f"the split '{split}' is unknown; it must be train, val or test"
    return None


def _fault_in_place(file: Path, row: _Row, seen: Mapping[str, int]) -> tuple[str, str] | None:
    """What is wrong with a row beside the rows before it, `seen`: path to line, and the files that are there."""
    if row.path in seen:
        return "LISTED_TWICE", f"'{row.path}' is on line {seen[row.path]} already"
    if "\0" in row.path or not (file.parent / row.path).is_file():
        text = f"there is no file '{row.path}' in '{file.parent}'; correct the path or remove the line"
        return "MISSING_IMAGE", text
    return None


def _has_class(row: _Row, class_names: Sequence[str], file: Path, findings: Findings) -> bool:
    if row.label in class_names:
        return True
    text = f"the label '{row.label}' is on no training row; add one or remove the line"
    findings.note("UNKNOWN_LABEL", file.name, text, place=f"line {row.line}", action="refused", index=row.number)
    return False


def _dataset(file: Path, rows: Sequence[_Row], class_names: list[str]) -> LabelledFiles:
    numbers = {name: number for number, name in enumerate(class_names)}
    labels = np.array([numbers[row.label] for row in rows], dtype=np.int64)
    return LabelledFiles(file.parent, [row.path for row in rows], labels, class_names)
