"""A copy of a data set without its faults: annotations written anew, everything else linked to the original.

A format whose truth lies in text has a `mend` of its own, which writes its annotation files into the copy; the images,
and the truth of formats that keep it in image files, become symbolic links, so that a copy takes no room.
"""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..core.errors import DataError, MachineError, UsageError
from ..core.folders import all_or_nothing, require_empty
from . import FORMATS, reader
from .findings import Finding

LOG = "changes.csv"
UNMENDABLE = ("NOT_USABLE", "BROKEN_FRAMES")  # frames in a file of many, which is no text either

_Change = tuple[str, str, str, str]  # file, place, code, what was changed


def require_place(root: Path, out: Path) -> None:
    """Raise UsageError where `out` is no place for a copy of the data set in the folder `root`."""
    require_empty(out)
    if out.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{out}: a copy within the data set ({root}) would be taken for a part of it; give another.")


def write_copy(
    format: str,
    root: str | os.PathLike,
    out: Path,
    *,
    findings: Sequence[Finding],
    dropped: Mapping[str, str],
    truths: Mapping[str, str],
) -> int:
    """Write a copy of a data set into the folder `out`, with the log of its changes; returns their number.

    `findings`: of the whole data set; `dropped`: images that are left out (relative to the root's folder -> "CODE:
    reason"); `truths`: of images, the files of their truth. Raises UsageError where `out` is no place for a copy,
    DataError where one would be of no use (a part cannot be opened, frames of a video would be left out), MachineError
    where it cannot be written. Where it raises, `out` is as it was before.
    """
    source = Path(root).expanduser().absolute()
    folder = source if source.is_dir() else source.parent
    require_place(folder, out)
    require_mendable(findings)
    if dropped and FORMATS[format].task == "tracking":
        raise DataError(
            f"{len(dropped)} frame{'s' * (len(dropped) != 1)} cannot be kept (first: '{next(iter(dropped))}'), and "
            "without one the boxes of later frames would move up by a frame: mend it, or take its sequence out, first."
        )
    with all_or_nothing(out):
        return _write(format, source, folder, out, findings=findings, dropped=dropped, truths=truths)


def require_mendable(findings: Sequence[Finding]) -> None:
    """Raise DataError where a part of the data set cannot be read: what is not known cannot be written anew."""
    unusable = next((finding for finding in findings if finding.code in UNMENDABLE), None)
    if unusable is not None:
        raise DataError(f"No copy can mend this, so none was made; do it by hand: {unusable.text}.")


def _write(
    format: str,
    source: Path,
    folder: Path,
    out: Path,
    *,
    findings: Sequence[Finding],
    dropped: Mapping[str, str],
    truths: Mapping[str, str],
) -> int:
    """The copy itself, in an empty folder; see `write_copy`."""
    module, entries = reader(format), []
    if hasattr(module, "mend"):
        entries = module.mend(source, out, findings, dropped)
        gone = dict(dropped)
    else:
        gone = _files_left_out(findings, dropped, truths)
    written = {os.path.relpath(os.path.join(place, name), out) for place, _, names in os.walk(out) for name in names}
    _link(folder, out, leave_out={*gone, *written, *(file for file, _, _ in entries), LOG})
    log = [(file, "", *reason.split(": ", 1)) for file, reason in gone.items() if (folder / file).exists()]
    log = [(file, place, code, f"left out: {reason}") for file, place, code, reason in log]
    log += [(file, place, _code_of(file, place, change, findings), change) for file, place, change in entries]
    _write_log(out / LOG, log)
    return len(log)


def _files_left_out(
    findings: Sequence[Finding], dropped: Mapping[str, str], truths: Mapping[str, str]
) -> dict[str, str]:
    """Files that a copy by links lacks: those that are dropped with their truth, and those that the reader left out."""
    gone = dict(dropped)
    for image, reason in dropped.items():
        if image in truths:
            code, text = reason.split(": ", 1)
            gone.setdefault(truths[image], f"{code}: its image is left out, {text}")
    for finding in findings:
        if finding.action in ("left out", "refused"):
            gone.setdefault(finding.file, f"{finding.code}: {finding.text}")
    return gone


def _link(folder: Path, out: Path, leave_out: set[str]) -> None:
    """Link every file below `folder` at its place below `out`, but for some, and for hidden ones."""
    for name in _walk(folder, "", {os.path.realpath(folder)}):
        target = out / name
        if name in leave_out:
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(folder / name)
        except OSError as error:
            raise MachineError(f"'{target}' cannot be made a link to the original: {error.strerror}.") from error


def _walk(folder: Path, inside: str, above: set[str]) -> Iterator[str]:
    """Files below `folder`, relative to it; linked folders are entered, loops of links cut."""
    for entry in sorted(os.scandir(folder / inside), key=lambda entry: entry.name):
        name = os.path.join(inside, entry.name)
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield name
        elif (real := os.path.realpath(entry.path)) not in above:
            yield from _walk(folder, name, above | {real})


def _code_of(file: str, place: str, change: str, findings: Sequence[Finding]) -> str:
    """The code of the finding that a change goes back to; FOLLOWS where another change made it necessary."""
    here = [finding.code for finding in findings if (finding.file, finding.place) == (file, place)]
    named = (finding.code for finding in findings if finding.code in change)
    return here[0] if here else next(named, "FOLLOWS")


def _write_log(file: Path, log: Sequence[_Change]) -> None:
    # Names that are not UTF-8 are written as they are.
    try:
        with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as text:
            writer = csv.writer(text)
            writer.writerow(("file", "place", "code", "change"))
            writer.writerows(log)
    except OSError as error:
        raise MachineError(f"'{file}' cannot be written: {error.strerror}.") from error
