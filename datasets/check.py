"""What is wrong with a data set, file by file: what `foveal check-data` shows.

The reader of the format, the same as in training, notes what it meets; here every image is looked at besides, the truth
of every image is read, and pictures that are there twice are found. Imports no torch.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import DataError, FovealError, MissingSplit
from ..core.options import SPLITS
from . import FORMATS, open_dataset
from .check_tasks import Numbers, View, check_truth
from .duplicates import exact_groups, near_partners
from .files import ImageFiles
from .findings import Findings
from .scan import Mode, Scan, Watch, scan_images

_FRAMES_IN_A_FILE = ("video", "nyu")  # formats whose images are no image files
_ALIKE_BY_NATURE = ("tracking", "faces")  # tasks whose images are all nearly the same as others
_FEW_LINKS = 10  # out of the data set, that are named one by one


class Report(NamedTuple):
    """What was found."""

    format: str
    task: str
    root: str | None
    mode: Mode
    class_names: list[str]
    numbers: dict[str, Numbers]  # of each split
    counts: dict[str, list[int]]  # of each split, by class number: images, objects or pixels
    findings: Findings
    dropped: dict[str, str]  # images that a clean copy leaves out, relative to the root, and why
    alike: dict[str, str]  # images that are nearly the same as another of their split, and which
    truths: dict[str, str]  # of images that may be left out: the file of their truth
    remarks: list[str]  # what was not looked at, and why

    def wrong(self) -> Findings:
        """The findings that are faults; others are worth knowing."""
        return Findings(finding for finding in self.findings if finding.action != "noted")


class _Files(NamedTuple):
    """The image files of all splits, each once."""

    paths: np.ndarray  # bytes (N,), absolute and sorted
    names: np.ndarray  # bytes (N,), relative to the root
    splits: np.ndarray  # int64 (N,), by SPLITS; of a file that is in several, the last
    first: np.ndarray  # int64 (N,), the same, the first
    rows: dict[str, np.ndarray]  # of each split: the file of each of its images


# Of the images of a split: their names relative to the root, int32 (N, 2) their sizes, and their kinds of file.
_Seen = tuple[list[bytes], np.ndarray, list[str]]


def check_dataset(
    format: str,
    root: str | os.PathLike | None,
    *,
    fractions: Sequence[float],
    seed: int,
    options: Mapping[str, Any],
    mode: Mode,
    watch: Watch,
) -> Report:
    """Look at all of a data set; see `open_dataset` for what describes one, and `scan.Mode` for how closely.

    `watch` is told how far it is. Raises UsageError for a wrong format, root or option; a data set that cannot be used
    is a finding.
    """
    findings = Findings()
    common = {"fractions": fractions, "seed": seed, "options": options}
    parts = {split: part for split in SPLITS if (part := _open(format, root, split, findings, common)) is not None}
    findings = _links_in_one(_each_once(findings))
    task = str(options.get("task", FORMATS[format].task))
    report = Report(format, task, None if root is None else str(root), mode, [], {}, {}, findings, {}, {}, {}, [])
    on_disk = format not in _FRAMES_IN_A_FILE and all(isinstance(part, ImageFiles) for part in parts.values())
    seen = _look_at_files(report, parts, base_of(root), watch) if parts and on_disk else {}
    if parts and not on_disk and mode == "full":
        for part in parts.values():
            _decode_frames(part, base_of(root), findings, watch)
        report.remarks.append("The images are no files of their own: they were decoded, not searched for duplicates.")
    elif parts and not on_disk:
        report.remarks.append(
            "The images are no files of their own: they were not searched for duplicates, and only --full decodes them."
        )
    for split, part in parts.items():
        names, sizes, kinds = seen[split] if on_disk else _unseen(part, base_of(root))
        view = View(part, names, sizes, on_disk, findings, mode, watch)
        _add_split(report, split, task, view, kinds)
    _note_classes(report)
    return report


def base_of(root: str | os.PathLike | None) -> Path:
    """The folder that names in a report are relative to: the root, or the one that the root, a file, lies in."""
    path = Path(root or os.curdir).expanduser().absolute()
    return path if path.is_dir() else path.parent


def splits_are_drawn(format: str, root: str | os.PathLike, common: Mapping[str, Any]) -> bool:
    """Whether the data set leaves it to chance which images are for training: they then change with the images.

    `common`: `fractions`, `seed` and `options`.
    """
    prints = set()
    for seed in range(common["seed"], common["seed"] + 4):
        part = _open(format, root, "train", Findings(), {**common, "seed": seed})
        prints.add(part and part.fingerprint())
    return len(prints) > 1


def _open(format: str, root: Any, split: Any, findings: Findings, common: Mapping[str, Any]) -> Any:
    """The data set of a split; None where it has none, or cannot be opened."""
    try:
        return open_dataset(format, root, split=split, findings=findings, **common)
    except MissingSplit:
        return None
    except DataError as error:
        if any(str(error).startswith(str(finding)) for finding in findings if finding.action == "refused"):
            return None  # it says no more than what was noted
        findings.note("NOT_USABLE", str(root or format), str(error).removesuffix("."), action="refused")
        return None


def _each_once(findings: Findings) -> Findings:
    """The same without what the reader met again in another split."""
    unique = {}
    for finding in findings:
        unique.setdefault(finding[:6], finding)
    return Findings(unique.values())


def _links_in_one(findings: Findings) -> Findings:
    """The same with one finding for the links out of the data set, where it is made of links, as a mended copy is."""
    links = [finding for finding in findings if finding.code == "LINK_OUTSIDE"]
    if len(links) <= _FEW_LINKS:
        return findings
    text = f"{links[0].text}; so are {len(links) - 1:,} more"
    return Findings(
        [links[0]._replace(text=text), *(finding for finding in findings if finding.code != "LINK_OUTSIDE")]
    )


def _look_at_files(report: Report, parts: Mapping[str, Any], base: Path, watch: Watch) -> dict[str, _Seen]:
    """Open every image file once, and note what is wrong with them. Returns what is known of each split's."""
    files = _files_of(parts, base)
    scan = scan_images(files.paths, report.mode, watch, compare=report.task not in _ALIKE_BY_NATURE)
    _note_files(report, files, scan, frames=report.task == "tracking")
    return {
        split: (files.names[rows].tolist(), scan.sizes[rows], scan.kinds[rows].tolist())
        for split, rows in files.rows.items()
    }


def _decode_frames(part: Any, base: Path, findings: Findings, watch: Watch) -> None:
    """Read every image of a data set whose files hold many; of a file, the first fault is said."""
    broken: set[str] = set()
    for index in range(len(part)):
        watch("decode frames", index, len(part))
        path = part.path(index)
        file = os.path.relpath(path.rpartition("#")[0] or path, base)
        try:
            part[index]
        except FovealError as error:
            if file not in broken:
                broken.add(file)
                findings.note("BROKEN_FRAMES", file, str(error).removesuffix("."), action="refused")


def _unseen(part: Any, base: Path) -> _Seen:
    prefix = os.path.join(os.fsencode(base), b"")
    names = [os.fsencode(part.path(index)).removeprefix(prefix) for index in range(len(part))]
    return names, np.zeros((len(part), 2), np.int32), []


def _files_of(parts: Mapping[str, Any], base: Path) -> _Files:
    paths = [np.array([os.fsencode(part.path(i)) for i in range(len(part))], np.bytes_) for part in parts.values()]
    splits = np.repeat([SPLITS.index(split) for split in parts], [len(part) for part in paths])
    unique, rows = np.unique(np.concatenate(paths), return_inverse=True)
    last, first = np.zeros(len(unique), np.int64), np.full(len(unique), len(SPLITS), np.int64)
    np.maximum.at(last, rows, splits)
    np.minimum.at(first, rows, splits)
    prefix = os.path.join(os.fsencode(base), b"")
    names = np.array([path.removeprefix(prefix) for path in unique.tolist()], np.bytes_)
    cuts = np.cumsum([len(part) for part in paths])[:-1]
    return _Files(unique, names, last, first, dict(zip(parts, np.split(rows, cuts), strict=True)))


# --- images -----------------------------------------------------------------------------------------------------------


def _note_files(report: Report, files: _Files, scan: Scan, *, frames: bool) -> None:
    """What is wrong with files by themselves, and which are the same; `frames`: neighbours may be."""
    for row, code, reason in scan.faults:
        name = os.fsdecode(files.names[row])
        report.findings.note(code, name, reason, action="refused")
        report.dropped[name] = f"{code}: {reason}"
    for row in np.flatnonzero((files.first == 0) & (files.splits > 0)).tolist():
        text = f"is an image of train and of {SPLITS[files.splits[row]]}: take it out of one of them"
        report.findings.note("LEAK", os.fsdecode(files.names[row]), text, action="kept")
    gone = _note_exact(report, files, scan, frames)
    if len(scan.thumbnails):
        _note_near(report, files, scan, np.flatnonzero(scan.readable & ~gone))


def _note_exact(report: Report, files: _Files, scan: Scan, frames: bool) -> np.ndarray:
    """Files whose bytes are those of another. Returns which of them a clean copy leaves out, bool (N,)."""
    gone = np.zeros(len(files.names), bool)
    readable = np.flatnonzero(scan.readable)
    for group in exact_groups(scan.digests[readable]):
        rows = readable[group]
        kept, *others = sorted(rows.tolist(), key=lambda row: (-files.splits[row], row))
        for row in others:
            if frames and files.splits[row] == files.splits[kept]:
                continue
            gone[row] = True
            _note_same(report, files, row, kept, "DUPLICATE", "the same file as")
    return gone


def _note_near(report: Report, files: _Files, scan: Scan, rows: np.ndarray) -> None:
    splits = files.splits[rows]
    partners = near_partners(scan.thumbnails[rows], splits, len(SPLITS))
    for at in np.flatnonzero((partners >= 0).any(axis=1)).tolist():
        split = int(splits[at])
        held_out = partners[at, 1:] if split == 0 else partners[at, :0]
        if (held_out >= 0).any():
            _note_same(report, files, int(rows[at]), int(rows[held_out.max()]), "LEAK", "nearly the same picture as")
            continue
        other = max(partners[at, split], partners[at, 2] if split == 1 else -1)
        if other >= 0:
            name, twin = (os.fsdecode(name) for name in files.names[rows[[at, other]]].tolist())
            text = f"nearly the same picture as '{twin}'"
            report.findings.note("NEAR_DUPLICATE", name, text, action="noted")
            report.alike[name] = f"NEAR_DUPLICATE: {text}"


def _note_same(report: Report, files: _Files, row: int, kept: int, code: str, what: str) -> None:
    """A picture that is there again: what a network learns in training must not come back to measure it."""
    name, twin = os.fsdecode(files.names[row]), os.fsdecode(files.names[kept])
    ours, theirs = SPLITS[files.splits[row]], SPLITS[files.splits[kept]]
    across = ours == "train" != theirs
    text = f"{what} '{twin}'" + (f", which is for {theirs}, and this one for train" if across else "")
    report.findings.note("LEAK" if across else code, name, text, action="kept")
    report.dropped[name] = f"{'LEAK' if across else code}: {text}"


# --- splits and classes -----------------------------------------------------------------------------------------------


def _add_split(report: Report, split: str, task: str, view: View, kinds: Sequence[str]) -> None:
    """The numbers of one split, and the faults of its truth."""
    truth = check_truth(task, view)
    numbers: Numbers = {"images": len(view.names)}
    known = view.sizes[view.sizes[:, 0] > 0]
    if len(known):
        order = np.argsort(known[:, 0].astype(np.int64) * known[:, 1], kind="stable")
        for name, at in (("smallest", 0), ("median", len(order) // 2), ("largest", -1)):
            numbers[f"{name}_size"] = known[order[at]].tolist()
        numbers["formats"] = dict(Counter(kind for kind in kinds if kind).most_common())
    report.numbers[split] = numbers | truth.numbers
    if len(truth.counts):
        report.counts[split] = truth.counts.tolist()
        some = truth.counts[truth.counts > 0]
        if len(some) > 1:
            numbers_of = report.numbers[split]
            numbers_of["largest_class_to_smallest"] = round(float(some.max() / some.min()), 2)
    report.class_names[:] = view.dataset.class_names if len(truth.counts) else report.class_names
    for index, reason in truth.unusable.items():
        report.dropped.setdefault(view.name(index), reason)
    if hasattr(view.dataset, "truth_path"):
        wanted = report.dropped.keys() | report.alike.keys()
        report.truths.update(
            (name, view.truth_name(index)) for index in range(len(view.names)) if (name := view.name(index)) in wanted
        )


def _note_classes(report: Report) -> None:
    """Classes without an object, and those that training never sees."""
    counts = {split: counts for split, counts in report.counts.items() if len(counts) == len(report.class_names)}
    where = report.root or report.format
    for number, name in enumerate(report.class_names if counts else ()):
        held = [split for split, of_split in counts.items() if of_split[number]]
        if not held:
            report.findings.note("CLASS_EMPTY", where, f"the class '{name}' does not occur", action="noted")
        elif "train" in counts and "train" not in held:
            text = f"the class '{name}' occurs in {' and '.join(held)} and not in train: it cannot be learnt"
            report.findings.note("CLASS_NOT_IN_TRAIN", where, text, action="noted")
