"""Data sets for tracking: frames of videos, with the box of one target in each, and how formats find them.

A format says where its sequences lie (`Layout.find` gives `Track`s); the rest, drawing splits, matching lines with
frames, reading boxes, mending and writing them, is the same for all and lies here and in `box_files.py`.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import DataError
from ..core.images import ImageError, read_size, write_image
from ..core.inputs import IMAGE_SUFFIXES, LITTER
from ..core.sequences import in_order
from .box_files import Change, check_boxes, copy_file, format_box, mend_lines, read_lines
from .files import LabelledFiles, describe_contents, require_folder
from .findings import Finding, Findings
from .groups import draw_groups, own_splits
from .splits import require_own_split

_DIGITS = re.compile("([0-9]+)")


class Rows(NamedTuple):
    """What is known of each frame, N rows."""

    sequences: np.ndarray  # int64 (N,), number of its sequence
    frames: np.ndarray  # int64 (N,), number in it, from 0
    boxes: np.ndarray  # float32 (N, 4), xyxy in continuous pixels; 0 where the target is not visible
    visible: np.ndarray  # bool (N,)


class Frames(LabelledFiles):
    """Frames of sequences with one target each; a frame is a sample, those of a sequence lie one behind another.

    `class_names` are the names of the sequences, `labels` int64 (N,) the sequence of each frame, `boxes` float32
    (N, 4) and `visible` bool (N,) as in `Rows`. Where a target is not visible, a sample has no box.
    """

    PER_IMAGE = ("labels", "frames", "boxes", "visible")
    TRUTHS = ("labels", "frames", "boxes", "visible")

    def __init__(self, root: str | os.PathLike, paths: Sequence[str], class_names: Sequence[str], rows: Rows) -> None:
        super().__init__(root, paths, rows.sequences, class_names)
        self.frames = np.asarray(rows.frames, np.int64)
        self.boxes = np.asarray(rows.boxes, np.float32).reshape(-1, 4)
        self.visible = np.asarray(rows.visible, bool)

    def truth(self, index: int) -> dict[str, Any]:
        """`boxes` float32 (1, 4), xyxy, or (0, 4) where the target is not visible; `sequence` and `frame` int."""
        boxes = self.boxes[index][None] if self.visible[index] else np.zeros((0, 4), np.float32)
        return {"boxes": boxes.copy(), "sequence": int(self.labels[index]), "frame": int(self.frames[index])}


class Track(NamedTuple):
    """One target in one sequence of frames, as a format found it; files are relative to the data set's root."""

    name: str
    group: str  # tracks of one group show the same frames, and must lie in one split
    boxes: str  # the file of boxes
    frames: list[str]
    absent: str | None = None  # a file that says in which frames the target is not there
    span: tuple[int, int] | None = None  # numbers of the first and last frame with a box, if there are as many lines
    omitted: int = 0  # frames at the beginning that are not used
    first_only: bool = False  # a lone box may be that of the first frame
    size: tuple[int, int] | None = None  # (H, W) of the frames; None: that of the first, which is a file
    others: tuple[str, ...] = ()  # more files of annotations, which a mended copy needs too


class Layout(NamedTuple):
    """What one format has of its own."""

    find: Callable[[Path, str, Findings], list[Track]]  # (root, its sub-folder for a split or "", findings)
    origin: float  # the number that its files give the first pixel
    kind: type[Frames] = Frames


def open_tracks(
    root: str | os.PathLike, layout: Layout, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> Frames:
    """One split of a tracking data set: from folders train, val and test, or drawn over sequences, never over frames.

    Val is drawn from train where it has no folder. Raises UsageError for a root that is not there, DataError where no
    sequence is or there are too few, MissingSplit for a test that is not there.
    """
    folder = require_folder(root)
    own = own_splits(folder)
    inside = own[require_own_split(folder, split, own)] if own else ""
    tracks = layout.find(folder, inside, findings)
    groups = [track.group for track in tracks]
    chosen = draw_groups(groups, split, own, fractions, seed, what="sequences", where=folder / inside)
    return _read(folder, [tracks[index] for index in chosen], layout, findings)


def mend_tracks(
    root: Path, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str], layout: Layout
) -> list[Change]:
    """A copy of the files of boxes, and of what else says something about the sequences, without their faults.

    See `mend_lines` for what becomes of a line; `dropped` are frames (path -> reason), which stay where they are but
    lose their box. Returns the log of changes.
    """
    folder = require_folder(root)
    tracks = [
        track for inside in own_splits(folder).values() or [""] for track in layout.find(folder, inside, Findings())
    ]
    log = []
    for track in tracks:
        lines = read_lines(folder / track.boxes)
        of_track = [finding for finding in findings if finding.file == track.boxes]
        gone = {
            int(line): dropped[track.frames[frame]]
            for frame, line in zip(*_match(track, len(lines), Findings()), strict=True)
            if line >= 0 and track.frames[frame] in dropped
        }
        mended, changes = mend_lines(lines, of_track, gone, track.boxes)
        copy_file(folder, out, track.boxes, b"".join(mended) if changes else None)
        spoilt = {finding.file for finding in findings if finding.code in ("BAD_LABELS", "BAD_RANGE")}
        for name in track.others:
            if name in spoilt:
                changes.append((name, "", "left out: it is not used"))
            else:
                copy_file(folder, out, name)
        log += changes
    return list(dict.fromkeys(log))


def write_sequences(
    samples: Iterable[dict[str, Any]], class_names: Sequence[str], place: Path, frame: str, boxes: str, origin: float
) -> Iterator[tuple[str, list[bool]]]:
    """Write each sequence as a folder of frames and a file of boxes, and give its name and where the target is seen.

    `frame` and `boxes` are paths within a sequence's folder, the former with `{}` for the number from 1.
    """
    for number, run in groupby(samples, key=itemgetter("sequence")):
        name = class_names[int(number)]
        folder = place / name
        lines, visible = [], []
        (folder / frame).parent.mkdir(parents=True, exist_ok=True)
        for position, sample in enumerate(run, 1):
            write_image(folder / frame.format(position), sample["image"])
            lines.append(box_line(sample, origin))
            visible.append(len(sample["boxes"]) > 0)
        (folder / boxes).write_text("".join(lines))
        yield name, visible


def box_line(sample: dict[str, Any], origin: float) -> str:
    """The line of a frame in a file of boxes."""
    return (format_box(sample["boxes"][0], origin) if len(sample["boxes"]) else "NaN,NaN,NaN,NaN") + "\n"


def _read(folder: Path, tracks: Sequence[Track], layout: Layout, findings: Findings) -> Frames:
    paths, parts = [], []
    for number, track in enumerate(tracks):
        kept, boxes, visible = _read_track(folder, track, layout.origin, findings)
        paths += [track.frames[frame] for frame in kept]
        parts.append(Rows(np.full(len(kept), number), np.arange(len(kept)), boxes, visible))
    empty = Rows(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0, bool))
    rows = Rows(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))
    return layout.kind(folder, paths, [track.name for track in tracks], rows)


def _read_track(
    folder: Path, track: Track, origin: float, findings: Findings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which frames are used, int64 (F,), their boxes float64 (F, 4), 0 where none is visible, and visible bool (F,)."""
    lines = read_lines(folder / track.boxes)
    kept, row = _match(track, len(lines), findings)
    present = ~_read_absent(folder, track, findings)[kept] & (row >= 0)
    used = np.zeros(len(lines), bool)
    used[row[present]] = True
    size = track.size or _first_size(folder, track)
    boxes, seen = check_boxes(lines, used, track.boxes, origin=origin, size=size, findings=findings)
    visible = present & seen[row]
    if not visible.any():
        findings.note("NEVER_VISIBLE", track.boxes, "its target has a box in no frame", action="noted")
    return kept, np.where(visible[:, None], boxes[row], 0.0), visible


def _match(track: Track, count: int, findings: Findings) -> tuple[np.ndarray, np.ndarray]:
    """Which frames of a track are used, and which of its `count` lines each has, -1 for none: two of int64 (F,)."""
    kept = np.arange(len(track.frames))
    if track.span is not None and count == track.span[1] - track.span[0] + 1:
        numbers = frame_numbers(track.frames)
        kept = kept[(numbers >= track.span[0]) & (numbers <= track.span[1])]
    row = np.arange(len(kept))
    if count == 1 and track.first_only:
        row[1:] = -1
    elif count != len(kept):
        numbers = frame_numbers([track.frames[frame] for frame in kept])
        if len(kept) and (np.diff(numbers) > 0).all() and numbers[-1] - numbers[0] + 1 == count:
            row = numbers - numbers[0]
            _note_missing(track, numbers, findings)
        else:
            common = min(count, len(kept))
            text = f"{count} lines for {len(kept)} frames: expected one a frame; the first {common} are used"
            findings.note("BOX_COUNT", track.boxes, text, index=common, value=(float(len(kept)),))
            kept, row = kept[:count], row[:count]
    return kept[track.omitted :], row[track.omitted :]


def _note_missing(track: Track, numbers: np.ndarray, findings: Findings) -> None:
    there = set(numbers.tolist())
    for index in range(int(numbers[-1] - numbers[0]) + 1):
        number = int(numbers[0]) + index
        if number not in there:
            text = f"frame {number} is not there, though its neighbours and its box are; copy it again"
            findings.note("MISSING_FRAME", track.boxes, text, place=f"line {index + 1}", index=index)


def frame_numbers(frames: Sequence[str]) -> np.ndarray:
    """The last number in each name of a frame, int64 (F,); -1 where there is none."""
    found = [_DIGITS.findall(os.path.splitext(os.path.basename(frame))[0])[-1:] for frame in frames]
    return np.array([int(number[0]) if number else -1 for number in found], np.int64)


def _first_size(folder: Path, track: Track) -> tuple[int, int]:
    try:
        return read_size(folder / track.frames[0])
    except ImageError:  # said when the frame itself is read
        return 0, 0


def _read_absent(folder: Path, track: Track, findings: Findings) -> np.ndarray:
    """Frames whose target is not there, as a file of one 0 or 1 a line says: bool, one for each of the track's."""
    nowhere = np.zeros(len(track.frames), bool)
    if track.absent is None:
        return nowhere
    labels = b"".join(read_lines(folder / track.absent)).split()
    if len(labels) != len(nowhere) or not set(labels) <= {b"0", b"1"}:
        text = f"{len(labels)} values for {len(nowhere)} frames, each of which must be 0 or 1 (absent); it is not used"
        findings.note("BAD_LABELS", track.absent, text)
        return nowhere
    return np.array(labels) == b"1"


# --- finding sequences ------------------------------------------------------------------------------------------------


class Folder(NamedTuple):
    """What one folder of a data set holds, in the order in which people count: 2.jpg before 10.jpg."""

    path: str  # relative to the root; "" for the root itself
    images: list[str]
    files: list[str]  # everything else


def walk_folders(root: Path, inside: str, findings: Findings) -> Iterator[Folder]:
    """The folder `inside` of `root` and those below it, each once however many links lead there; hidden ones left out.

    Links that point out of the root are followed, and noted.
    """
    home, seen = os.path.realpath(root), set()
    waiting = [inside]
    while waiting:
        path = waiting.pop()
        real = os.path.realpath(root / path)
        if real in seen:
            continue
        seen.add(real)
        images, files, folders = [], [], []
        for entry in _entries(root / path):
            if entry.is_symlink() and not os.path.realpath(entry.path).startswith(os.path.join(home, "")):
                text = f"is a link out of the data set, to '{os.path.realpath(entry.path)}'"
                findings.note("LINK_OUTSIDE", join(path, entry.name), text, action="noted")
            if entry.is_dir():
                folders.append(entry.name)
            else:
                suffix = entry.name[entry.name.rfind(".") :]  # of a million frames: os.path.splitext takes its time
                (images if suffix.lower() in IMAGE_SUFFIXES else files).append(entry.name)
        yield Folder(path, in_order(images), in_order(files))
        waiting += [join(path, name) for name in reversed(in_order(folders))]


def join(folder: str, name: str) -> str:
    """The path of a name in a folder, both relative to the root."""
    return f"{folder}/{name}" if folder else name


def below(path: str, inside: str) -> str:
    """A path relative to the root as a path relative to its sub-folder `inside`."""
    return path[len(inside) + 1 :] if inside else path


def require_tracks(tracks: list[Track], folder: Path, expected: str) -> list[Track]:
    """The tracks, if there is one; raises DataError, which says what was `expected`."""
    if not tracks:
        raise DataError(f"There is no sequence in '{folder}', only {describe_contents(folder)}: expected {expected}.")
    return tracks


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        found = os.scandir(folder)
    except PermissionError:
        raise DataError(f"The folder '{folder}' may not be read: change its permissions.") from None
    return [entry for entry in found if not entry.name.startswith(".") and entry.name not in LITTER]
