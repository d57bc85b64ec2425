"""GOT-10k: `train/GOT-10k_Train_000001/00000001.jpg`, with `groundtruth.txt`, one x, y, width and height a line.

Coordinates count from 1 (its author in got-10k/toolkit, issue 6), so 1 is subtracted from x and y. `absence.label` has
a 1 for each frame without the target, whatever its line of boxes says. Folders that `list.txt` does not name are not
read, as in the authors' toolkit. The official test gives the box of the first frame alone.

L. Huang, X. Zhao, K. Huang: GOT-10k: A Large High-Diversity Benchmark for Generic Object Tracking in the Wild, IEEE
TPAMI 2019.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import UsageError
from .box_files import Change, copy_file, is_blank, read_lines
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
from .groups import own_splits
from .listing import leaves_root

_OTHERS = ("absence.label", "cover.label", "cut_by_image.label", "meta_info.ini")
_EXPECTED = "a folder with frames and a file groundtruth.txt for each sequence"


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> Frames:
    """One split of GOT-10k's folder; see `open_tracks`."""
    return open_tracks(root, _LAYOUT, split=split, fractions=fractions, seed=seed, findings=findings)


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes frames as JPEG, boxes and absence of each sequence into a folder below `root/split`, and its list.txt."""
    names = []
    for name, visible in write_sequences(samples, class_names, root / split, "{:08d}.jpg", "groundtruth.txt", 1.0):
        (root / split / name / "absence.label").write_text("".join(f"{int(not seen)}\n" for seen in visible))
        names.append(name)
    (root / split / "list.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def mend(root: Path, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]) -> list[Change]:
    """A copy of the files of boxes and labels without their faults, and of list.txt without folders that are not there;
    see `mend_tracks`.
    """
    log = mend_tracks(root, out, findings, dropped, _LAYOUT)
    for inside in own_splits(root).values() or [""]:
        file = join(inside, "list.txt")
        if not (root / file).is_file():
            continue
        gone = {finding.index: finding.text for finding in findings if finding.file == file}
        lines = read_lines(root / file)
        copy_file(root, out, file, b"".join(line for index, line in enumerate(lines) if index not in gone))
        log += [(file, f"line {index + 1}", f"removed: {text}") for index, text in gone.items() if index is not None]
    return log


def _find(root: Path, inside: str, findings: Findings) -> list[Track]:
    if (root / "prepared.json").is_file():  # whose boxes count pixels from 0
        raise UsageError(f"{root} holds crops that foveal prepare has made: read them with --data.format frame_folder.")
    folders = {below(folder.path, inside): folder for folder in walk_folders(root, inside, findings)}
    listed = "list.txt" in folders[""].files
    names = _listed(root, join(inside, "list.txt"), folders, findings) if listed else list(folders)
    tracks = []
    for name in names:
        folder = folders[name]
        boxes = join(folder.path, "groundtruth.txt")
        if "groundtruth.txt" not in folder.files:
            if folder.images:
                findings.note("NO_BOXES", folder.path, "there is no groundtruth.txt beside its frames")
        elif not folder.images:
            findings.note("NO_FRAMES", boxes, "there is no frame beside it")
        elif is_blank(root / boxes):
            findings.note("NO_BOXES", boxes, "the file is empty")
        else:
            tracks.append(_track(name or root.name, folder))
    return require_tracks(tracks, root / inside, _EXPECTED)


def _listed(root: Path, file: str, folders: Mapping[str, Folder], findings: Findings) -> list[str]:
    """The folders that list.txt names, each once."""
    names: dict[str, None] = {}
    for index, line in enumerate(read_lines(root / file)):
        name = os.fsdecode(line.strip())
        place = f"line {index + 1}"
        if not name or name in names:
            continue
        if leaves_root(name):
            text = f"'{name}' leaves the folder of the list; write the name of a folder in it"
            findings.note("LEAVES_ROOT", file, text, place=place, action="refused", index=index)
        elif name not in folders:
            findings.note("NO_SEQUENCE", file, f"there is no folder '{name}'", place=place, index=index)
        else:
            names[name] = None
    return list(names)


def _track(name: str, folder: Folder) -> Track:
    return Track(
        name,
        group=name,
        boxes=join(folder.path, "groundtruth.txt"),
        frames=[join(folder.path, image) for image in folder.images],
        absent=join(folder.path, "absence.label") if "absence.label" in folder.files else None,
        first_only=True,
        others=tuple(join(folder.path, other) for other in _OTHERS if other in folder.files),
    )


_LAYOUT = Layout(_find, origin=1.0)
