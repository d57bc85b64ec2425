"""A table of images: a CSV file with the columns `path` and `label` and, if you like, `split` (train, val, test).

Paths are relative to the table's folder and must stay within it: a table from somewhere else must not choose what is
read from this disk. Links in that folder are followed: whoever made them owns it.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np

from ..core.errors import DataError, MissingSplit, UsageError
from .files import LabelledFiles
from .findings import Findings
from .splits import require_classes, split_train, stratified_split

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class _Row(NamedTuple):
    line: int
    path: str
    label: str
    split: str  # "" where the table has no such column


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> LabelledFiles:
    """One split of a table; `root` is the table, or a folder that holds one.

    Classes are the sorted labels of the training rows. Without a column `split`, all three are drawn; with one that
    never says val, val is drawn from train. Raises DataError, which names the line.
    """
    file = _find_table(root)
    rows = list(_rows(file))
    if not rows:
        raise DataError(f"'{file}' has a header and no rows: write one row per image.")
    _require_images(file, rows)
    given = {row.split for row in rows}
    class_names = sorted({row.label for row in rows if row.split in ("", "train")})
    if not class_names:
        raise DataError(f"'{file}' has no row whose split is train: mark the training images.")
    require_classes(class_names, f"'{file}'")
    if given == {""}:
        dataset = _dataset(file, rows, class_names)
        return dataset.subset(stratified_split(dataset.labels, fractions, seed, class_names)[split])
    if split == "test" and "test" not in given:
        raise MissingSplit(f"'{file}' has a column split, but no row of it says test: mark the test images.")
    if split == "test" or "val" in given:
        return _dataset(file, [row for row in rows if row.split == split], class_names)
    dataset = _dataset(file, [row for row in rows if row.split == "train"], class_names)
    return dataset.subset(split_train(dataset.labels, split, fractions, seed, class_names))


def _find_table(root: str | os.PathLike) -> Path:
    path = Path(root).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"There is no file '{path}': pass the CSV file with --data.root.")
    if not path.is_dir():
        return path
    tables = sorted(file.name for file in path.glob("*.[cC][sS][vV]") if not file.name.startswith("."))
    if len(tables) != 1:
        found = f"{len(tables)} CSV files ({', '.join(tables[:5])})" if tables else "no CSV file"
        raise DataError(f"The folder '{path}' holds {found}: pass the one that is meant with --data.root.")
    return path / tables[0]


def _rows(file: Path) -> Iterator[_Row]:
    """The rows of a table, each checked by itself and against those before."""
    columns, seen, line = None, {}, 0
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            for fields in reader:
                line = reader.line_num
                if not any(field.strip() for field in fields):  # blank lines
                    continue
                if columns is None:
                    columns = _columns(file, fields)
                    continue
                row = _row(f"'{file}', line {line}", line, fields, columns)
                if row.path in seen:
                    raise DataError(f"'{file}', line {row.line}: '{row.path}' is on line {seen[row.path]} already.")
                seen[row.path] = row.line
                yield row
    except UnicodeDecodeError:
        raise DataError(f"'{file}' is not UTF-8 text: save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise DataError(f"'{file}', line {line + 1}: not CSV ({error}); check the quotes.") from None
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None
    if columns is None:
        raise DataError(f"'{file}' is empty: the first line must be path,label or path,label,split.")


def _columns(file: Path, fields: list[str]) -> list[str]:
    columns = [field.strip().lower() for field in fields]
    for name in ("path", "label"):
        if columns.count(name) != 1:
            raise DataError(
                f"'{file}', line 1: {columns.count(name) or 'no'} column called {name} in '{','.join(fields)[:200]}'; "
                "the first line must be path,label or path,label,split, with commas between."
            )
    return columns


def _row(place: str, line: int, fields: list[str], columns: list[str]) -> _Row:
    if len(fields) != len(columns):
        hint = "put quotes around a value with a comma in it" if len(fields) > len(columns) else "fill the missing ones"
        raise DataError(f"{place}: {len(fields)} values where the header has {len(columns)} columns; {hint}.")
    values = {name: field.strip() for name, field in zip(columns, fields, strict=True)}
    for name in ("path", "label"):
        if not values[name]:
            raise DataError(f"{place}: the {name} is empty; fill it or remove the line.")
    path, split = values["path"], values.get("split")
    # Windows's rules as well, so that a table is as safe, and as portable, there.
    if PurePosixPath(path).is_absolute() or PureWindowsPath(path).anchor or ".." in PureWindowsPath(path).parts:
        raise DataError(f"{place}: '{path}' leaves the table's folder; write a path below it, like images/1.png.")
    if split is not None and split.lower() not in _SPLITS:
        raise DataError(f"{place}: the split '{split}' is unknown; it must be train, val or test.")
    return _Row(line, os.path.normpath(path), values["label"], "" if split is None else _SPLITS[split.lower()])


def _require_images(file: Path, rows: Sequence[_Row]) -> None:
    missing = [row for row in rows if "\0" in row.path or not (file.parent / row.path).is_file()]
    if missing:
        more = f" ({len(missing)} of {len(rows)} images are missing)" if len(missing) > 1 else ""
        raise DataError(
            f"'{file}', line {missing[0].line}: there is no file '{missing[0].path}' in '{file.parent}'{more}; "
            "correct the path or remove the line."
        )


def _dataset(file: Path, rows: Sequence[_Row], class_names: list[str]) -> LabelledFiles:
    numbers = {name: number for number, name in enumerate(class_names)}
    for row in rows:
        if row.label not in numbers:
            raise DataError(
                f"'{file}', line {row.line}: the label '{row.label}' is on no training row; add one or remove the line."
            )
    labels = np.array([numbers[row.label] for row in rows], dtype=np.int64)
    return LabelledFiles(file.parent, [row.path for row in rows], labels, class_names)
