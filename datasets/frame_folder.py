"""A folder of frames a sequence, with a file of boxes in it or beside it: the plainest way to bring one's own videos.

`cat/001.jpg` ... with `cat/groundtruth.txt`, `cat/groundtruth_rect.txt`, `cat/boxes.txt` or `cat.txt`; one x, y, width
and height a line and a line a frame, in pixels from 0: a box around the whole of a frame is 0,0,W,H.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .box_files import Change, is_blank
from .findings import Finding, Findings
from .frames import (
    Folder,
    Frames,
    Layout,
    Track,
    below,
    join,
    mend_tracks,
    open_tracks,
    require_tracks,
    walk_folders,
    write_sequences,
)

_BOXES = ("groundtruth.txt", "groundtruth_rect.txt", "boxes.txt")
_EXPECTED = f"a folder of frames with one of {', '.join(_BOXES)} for each sequence"


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> Frames:
    """One split of a folder of sequences, at any depth; see `open_tracks`."""
    return open_tracks(root, _LAYOUT, split=split, fractions=fractions, seed=seed, findings=findings)


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes frames as JPEG and a file of boxes a sequence into a folder below `root/split`."""
    for _ in write_sequences(samples, class_names, root / split, "{:06d}.jpg", "groundtruth.txt", 0.0):
        pass


def mend(root: Path, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]) -> list[Change]:
    """A copy of the files of boxes without their faults; see `mend_tracks`."""
    return mend_tracks(root, out, findings, dropped, _LAYOUT)


def _find(root: Path, inside: str, findings: Findings) -> list[Track]:
    folders = {folder.path: folder for folder in walk_folders(root, inside, findings)}
    tracks = []
    for folder in folders.values():
        boxes = _boxes(folder, folders)
        if boxes is None:
            if folder.images:
                text = f"there is none of {', '.join(_BOXES)} beside its frames"
                findings.note("NO_BOXES", folder.path or ".", text)
        elif not folder.images:
            findings.note("NO_FRAMES", boxes, "there is no frame that belongs to it")
        elif is_blank(root / boxes):
            findings.note("NO_BOXES", boxes, "the file is empty")
        else:
            name = below(folder.path, inside) or root.name
            tracks.append(Track(name, name, boxes, [join(folder.path, image) for image in folder.images]))
    return require_tracks(tracks, root / inside, _EXPECTED)


def _boxes(folder: Folder, folders: Mapping[str, Folder]) -> str | None:
    """The file of boxes of a folder, relative to the root."""
    for name in _BOXES:
        if name in folder.files:
            return join(folder.path, name)
    above, _, own = folder.path.rpartition("/")
    beside = f"{own}.txt"
    return join(above, beside) if above in folders and beside in folders[above].files and own else None


_LAYOUT = Layout(_find, origin=0.0)
