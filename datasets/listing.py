"""Names that a file of annotations gives: which of them stay below the data set's folder, and which are there."""

import os
from collections.abc import Sequence

import numpy as np

from .findings import Findings


def leaves_root(name: str) -> bool:
    r"""Whether a relative name may lead out of the folder it is relative to, here or on Windows: `../x`, `/x`, `C:x`,
    and whatever has a backslash.
    """
    return name[:1] == "/" or name[1:2] == ":" or "\\" in name or ".." in name.split("/")


def files_there(root: str | os.PathLike, names: Sequence[str], findings: Findings) -> np.ndarray:
    """Which of `names`, relative to `root`, are files: bool (N,).

    Each folder is listed once, which is cheap for 100,000 names where asking for each is not. Links that point outside
    of `root` are followed, and noted.
    """
    home = os.path.realpath(root)
    folders: dict[str, dict[str, bool]] = {}
    there = np.zeros(len(names), bool)
    for number, name in enumerate(names):
        folder, _, base = name.rpartition("/")
        if folder not in folders:
            folders[folder] = _files(os.path.join(root, folder))
            if folders[folder] and folder:
                _note_link(home, root, folder, findings)
        files = folders[folder]
        there[number] = base in files
        if files.get(base):
            _note_link(home, root, name, findings)
    return there


def _files(folder: str) -> dict[str, bool]:
    """Names of the files in a folder, and whether each is a link."""
    try:
        return {entry.name: entry.is_symlink() for entry in os.scandir(folder) if entry.is_file()}
    except (OSError, ValueError):  # ValueError: a NUL byte, or what no file system can encode
        return {}


def _note_link(home: str, root: str | os.PathLike, name: str, findings: Findings) -> None:
    target = os.path.realpath(os.path.join(root, name))
    if target != home and not target.startswith(os.path.join(home, "")):
        findings.note("LINK_OUTSIDE", name, f"is a link out of the data set, to '{target}'", action="noted")
