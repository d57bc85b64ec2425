"""OTB: a folder a sequence with `img/0001.jpg` and so on, and `groundtruth_rect.txt`: x, y, width and height a line.

The first pixel has the number 1, for the benchmark is written in MATLAB: 1 is subtracted from x and y. LaSOT's folders
(`airplane/airplane-1/img/`, `groundtruth.txt`) are the same but for the name of the file, and count from 1 too (its
author in HengLan/LaSOT_Evaluation_Toolkit, issue 14), so they are read as well.

Y. Wu, J. Lim, M.-H. Yang: Object Tracking Benchmark, IEEE TPAMI 2015.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .box_files import Change, is_blank, read_lines
from .findings import Finding, Findings
from .frames import (
    Folder,
    Frames,
    Layout,
    Track,
    below,
    frame_numbers,
    join,
    mend_tracks,
    open_tracks,
    require_tracks,
    walk_folders,
    write_sequences,
)

# Numbers of the first and last frame that have a box, where there are more frames than boxes or the first is not number
# 1; as in the configuration of the benchmark's toolkit (github.com/jwlim/tracker_benchmark) and of
# github.com/visionml/pytracking (pytracking/evaluation/otbdataset.py).
_SPANS = {
    "David": (300, 770),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
    "Diving": (1, 215),
    "BlurCar1": (247, 988),
    "BlurCar3": (3, 359),
    "BlurCar4": (18, 397),
}
# Frames at the beginning that the benchmark does not use, of a sequence with so many frames (`initOmit` in both).
_OMITTED = {("Tiger1", 354): 5}

_BOXES = re.compile(r"groundtruth(_rect)?(\.[0-9]+)?\.txt", re.IGNORECASE)
_EXPECTED = "a folder img with the frames and a file groundtruth_rect.txt beside it for each sequence"


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> Frames:
    """One split of a folder of sequences, at any depth; see `open_tracks`.

    Two targets in one sequence (`groundtruth_rect.1.txt`, `.2.txt` in Jogging and Skating2) are two sequences,
    "Jogging.1" and "Jogging.2", which always lie in one split. A file `frames.txt` ("first,last", the numbers of
    frames) chooses the frames that have boxes; for OTB's own sequences that need one, what it would say is known.
    """
    return open_tracks(root, _LAYOUT, split=split, fractions=fractions, seed=seed, findings=findings)


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes frames as JPEG and a file of boxes a sequence into a folder below `root/split`."""
    for _ in write_sequences(samples, class_names, root / split, "img/{:04d}.jpg", "groundtruth_rect.txt", 1.0):
        pass


def mend(root: Path, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]) -> list[Change]:
    """A copy of the files of boxes without their faults; see `mend_tracks`."""
    return mend_tracks(root, out, findings, dropped, _LAYOUT)


def _find(root: Path, inside: str, findings: Findings) -> list[Track]:
    folders = {folder.path: folder for folder in walk_folders(root, inside, findings)}
    tracks = []
    for folder in folders.values():
        files = [name for name in folder.files if _BOXES.fullmatch(name)]
        pictures = folders.get(join(folder.path, "img"), Folder("", [], []))
        if files and not pictures.images:
            findings.note("NO_FRAMES", join(folder.path, files[0]), "there is no frame in a folder img beside it")
        elif pictures.images and not files:
            findings.note("NO_BOXES", folder.path, "there is no groundtruth_rect.txt beside the folder img")
        elif files:
            tracks += _tracks(root, inside, folder, pictures, findings)
    return require_tracks(tracks, root / inside, _EXPECTED)


def _tracks(root: Path, inside: str, folder: Folder, pictures: Folder, findings: Findings) -> list[Track]:
    """The targets of one sequence."""
    frames = [join(pictures.path, name) for name in pictures.images]
    frames, others = _in_range(root, folder, frames, findings)
    name = below(folder.path, inside) or root.name
    published = os.path.basename(name)
    tracks = []
    for file in folder.files:
        match = _BOXES.fullmatch(file)
        if match is None:
            continue
        if is_blank(root / join(folder.path, file)):
            findings.note("NO_BOXES", join(folder.path, file), "the file is empty")
            continue
        tracks.append(
            Track(
                name + (match.group(2) or ""),
                group=name,
                boxes=join(folder.path, file),
                frames=frames,
                span=_SPANS.get(published),
                omitted=_OMITTED.get((published, len(frames)), 0),
                others=others,
            )
        )
    return tracks


def _in_range(root: Path, folder: Folder, frames: list[str], findings: Findings) -> tuple[list[str], tuple[str, ...]]:
    """The frames that `frames.txt` chooses, if there is one, and that file."""
    if "frames.txt" not in folder.files:
        return frames, ()
    file = join(folder.path, "frames.txt")
    text = b"".join(read_lines(root / file)).decode("ascii", "replace").strip()
    span = re.fullmatch(r"([0-9]+)[,;\s]+([0-9]+)", text)
    if span is None:
        findings.note("BAD_RANGE", file, f"'{text[:60]}' is not first,last, two numbers of frames; it is not used")
        return frames, (file,)
    first, last = map(int, span.groups())
    numbers = frame_numbers(frames)
    return [frames[index] for index in np.flatnonzero((first <= numbers) & (numbers <= last))], (file,)


_LAYOUT = Layout(_find, origin=1.0)
