"""A table of pairs of faces: a CSV file with the columns a, b, same and, if you like, fold and split.

`a` and `b` are paths relative to the table's folder, which they must not leave; `same` is 1, true, yes or same, or 0,
false, no or different; `fold` a number from 0 (0 where the column is missing), `split` train, val or test.

Nobody is named, so a person is all images that a chain of pairs of one person joins, and is called by the first of
them. An image that is in pairs of two people alone is a person of its own.
"""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..core.errors import DataError
from ..core.images import write_image
from .box_files import Change, copy_file
from .csv import find_table
from .files import SPLIT_FOLDERS
from .findings import Finding, Findings
from .listing import files_there, leaves_root
from .pairs import FaceFiles, draw_people, note_shared_people, number_faces, pairs_to_write
from .splits import require_own_split

_TABLE = "pairs.csv"
_SAME = {"1": True, "true": True, "yes": True, "same": True} | dict.fromkeys(("0", "false", "no", "different"), False)
_SPLITS = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}
_HEADER = "the first line must be a,b,same or a,b,same,fold or a,b,same,fold,split, with commas between"


class _Row(NamedTuple):
    index: int  # among the rows, from 0
    line: int  # where it ends
    a: str
    b: str
    same: bool
    fold: int
    split: str  # "" where the table has no such column


class _Record(NamedTuple):
    fields: list[str]
    line: int  # where it ends
    text: str  # as it stands


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> FaceFiles:
    """One split of a table of pairs; `root` is the table, or a folder that holds one.

    Without a column `split`, all three are drawn over people; with one that never says val, val is drawn from train.
    Rows that cannot be used, whose image is missing, that say again what another row says, or the opposite of what
    other rows amount to, are left out; paths that leave the folder are refused. Raises UsageError, DataError for what
    is no such table, and MissingSplit for a test that no row is for.
    """
    file = find_table(root)
    rows = _there(file, _rows(file, findings), findings)
    people = _people(rows)
    rows = _agreeing(file, rows, people, findings)
    given = {row.split for row in rows} - {""}
    source = require_own_split(file, split, given) if given else ""
    chosen = [row for row in rows if row.split == source]
    training = {people[path] for row in rows if row.split == "train" for path in (row.a, row.b)}
    images = {path: people[path] for path in sorted({path for row in chosen for path in (row.a, row.b)})}
    if split in given:
        note_shared_people(split, images.values(), training, file.name, findings)
    dataset = number_faces(file.parent, images, [(row.a, row.b) for row in chosen], [row.fold for row in chosen])
    dataset.identified = False
    return draw_people(dataset, split, given, fractions, seed, where=file, findings=findings)


def read_pairs(file: Path) -> list[tuple[str, str, bool | None]]:
    """The pairs of a table, to be compared: two paths, relative to its folder, and whether they show one person, None
    where there is no column `same` or nothing in it. The images need not be there.

    Raises DataError for what is no such table, naming the line: nobody wants distances of half of it.
    """
    head, *records = _records(file)
    columns = [name.lower() for name in head.fields]
    if "same" not in columns:
        columns, records = [*columns, "same"], [each._replace(fields=[*each.fields, ""]) for each in records]
    _check_columns(file, columns)
    place = columns.index("same")
    pairs = []
    for index, record in enumerate(records):
        told = record.fields[place] if place < len(record.fields) else "0"
        fields = [value or "0" if at == place else value for at, value in enumerate(record.fields)]
        found = _row(index, record._replace(fields=fields), columns)
        if not isinstance(found, _Row):
            raise DataError(f"'{file}', line {record.line}: {found[1]}.")
        pairs.append((found.a, found.b, found.same if told else None))
    if not pairs:
        raise DataError(f"'{file}' has a header and no rows: write one row per pair.")
    return pairs


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes images as JPEG below `root/images/split`, and pairs of them into `root/pairs.csv`, behind those there."""
    paths, identities = [], []
    for number, sample in enumerate(samples):
        name = f"images/{split}/{class_names[sample['identity']]}/{number:06d}.jpg"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name, sample["image"])
        paths.append(name)
        identities.append(sample["identity"])
    new = not (root / _TABLE).exists()
    with (root / _TABLE).open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(("a", "b", "same", "fold", "split"))
        for first, second, same in pairs_to_write(identities):
            writer.writerow((paths[first], paths[second], int(same), 0, split))


def mend(root: Path, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]) -> list[Change]:
    """A copy of the table without rows that were left out or refused or have an image in `dropped`."""
    file = find_table(root)
    bad = {
        finding.index: finding.text
        for finding in findings
        if finding.file == file.name and finding.action != "noted" and finding.index is not None
    }
    for row in _rows(file, Findings()):
        gone = [dropped[path] for path in (row.a, row.b) if path in dropped]
        if gone:
            bad.setdefault(row.index, f"an image was dropped, {gone[0]}")
    head, *records = _records(file)
    kept = [record.text for index, record in enumerate(records) if index not in bad]
    copy_file(file.parent, out, file.name, (head.text + "".join(kept)).encode())
    return [(file.name, f"line {records[index].line}", f"removed: {text}") for index, text in sorted(bad.items())]


def _records(file: Path) -> list[_Record]:
    """The header and the rows, each as fields and as it stands; blank ones stand with the row before."""
    try:
        lines = list(io.StringIO(file.read_bytes().decode("utf-8-sig"), newline=""))
    except UnicodeDecodeError:
        raise DataError(f"'{file}' is not UTF-8 text: save it as CSV in UTF-8.") from None
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None
    reader, records, begun = csv.reader(lines, strict=True), [], 0
    try:
        for fields in reader:
            text = "".join(lines[begun : reader.line_num])
            begun = reader.line_num
            if any(field.strip() for field in fields):
                records.append(_Record([field.strip() for field in fields], reader.line_num, text))
            elif records:
                records[-1] = records[-1]._replace(text=records[-1].text + text)
    except csv.Error as error:
        raise DataError(f"'{file}', line {reader.line_num + 1}: not CSV ({error}); check the quotes.") from None
    if not records:
        raise DataError(f"'{file}' is empty: {_HEADER}.")
    return records


def _rows(file: Path, findings: Findings) -> list[_Row]:
    """The rows that make sense by themselves, each pair once."""
    head, *records = _records(file)
    columns = [name.lower() for name in head.fields]
    _check_columns(file, columns)
    if not records:
        raise DataError(f"'{file}' has a header and no rows: write one row per pair.")
    rows, seen = [], {}
    for index, record in enumerate(records):
        place = f"line {record.line}"
        found = _row(index, record, columns)
        if isinstance(found, _Row):
            pair = frozenset((found.a, found.b))
            if pair not in seen:
                seen[pair] = record.line
                rows.append(found)
                continue
            found = ("REPEATED", f"the pair is on line {seen[pair]} already")
        action = "refused" if found[0] == "LEAVES_ROOT" else "left out"
        findings.note(found[0], file.name, found[1], place=place, action=action, index=index)
    return rows


def _check_columns(file: Path, columns: Sequence[str]) -> None:
    for name in ("a", "b", "same"):
        if columns.count(name) != 1:
            shown = ",".join(columns)[:200]
            raise DataError(
                f"'{file}', line 1: {columns.count(name) or 'no'} column called {name} in '{shown}'; {_HEADER}."
            )


def _row(index: int, record: _Record, columns: Sequence[str]) -> _Row | tuple[str, str]:
    """A row, or the code and text of what is wrong with it."""
    if len(record.fields) != len(columns):
        return "BAD_ROW", f"{len(record.fields)} values where the header has {len(columns)} columns"
    values = dict(zip(columns, record.fields, strict=True))
    for name in ("a", "b"):
        if leaves_root(values[name]):
            return (
                "LEAVES_ROOT",
                f"'{values[name]}' leaves the table's folder; write a path below it, like images/1.png",
            )
        if not values[name]:
            return "BAD_ROW", f"the path {name} is empty"
    same, fold, split = (values.get(name, usual) for name, usual in (("same", ""), ("fold", "0"), ("split", "")))
    if same.lower() not in _SAME:
        return "BAD_ROW", f"same is '{same}'; it must be 1 or 0"
    if not (fold.isascii() and fold.isdigit() and len(fold) < 10):
        return "BAD_ROW", f"the fold is '{fold}'; it must be a whole number from 0"
    if "split" in columns and split.lower() not in _SPLITS:
        return "BAD_ROW", f"the split '{split}' is unknown; it must be train, val or test"
    a, b = os.path.normpath(values["a"]), os.path.normpath(values["b"])
    if a == b:
        return "SELF_PAIR", f"'{a}' is paired with itself"
    return _Row(index, record.line, a, b, _SAME[same.lower()], int(fold), _SPLITS.get(split.lower(), ""))


def _there(file: Path, rows: Sequence[_Row], findings: Findings) -> list[_Row]:
    """The rows whose images are both there."""
    names = list(dict.fromkeys(path for row in rows for path in (row.a, row.b)))
    there = dict(zip(names, files_there(file.parent, names, findings).tolist(), strict=True))
    kept = []
    for row in rows:
        missing = [path for path in (row.a, row.b) if not there[path]]
        if missing:
            text = f"there is no file '{missing[0]}'"
            findings.note("NO_IMAGE", file.name, text, place=f"line {row.line}", index=row.index)
        else:
            kept.append(row)
    if not kept:
        raise DataError(f"'{file}' has no row that can be used (the first of {len(findings)} faults: {findings[0]}).")
    return kept


def _people(rows: Sequence[_Row]) -> dict[str, str]:
    """For each image, the first image of its person."""
    parents: dict[str, str] = {}

    def first(path: str) -> str:
        while parents.setdefault(path, path) != path:
            parents[path] = parents[parents[path]]
            path = parents[path]
        return path

    order = {path: place for place, path in enumerate(dict.fromkeys(path for row in rows for path in (row.a, row.b)))}
    for row in rows:
        if row.same:
            earlier, later = sorted((first(row.a), first(row.b)), key=order.__getitem__)
            parents[later] = earlier
    return {path: first(path) for path in order}


def _agreeing(file: Path, rows: Sequence[_Row], people: Mapping[str, str], findings: Findings) -> list[_Row]:
    """The rows, but for those that tell apart what other rows join."""
    kept = []
    for row in rows:
        if not row.same and people[row.a] == people[row.b]:
            text = f"'{row.a}' and '{row.b}' are two people here, but one by a chain of other rows"
            findings.note("CONTRADICTION", file.name, text, place=f"line {row.line}", index=row.index)
        else:
            kept.append(row)
    return kept
