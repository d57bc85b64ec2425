"""Data sets whose truth is a file beside each image: masks, edges, depth; and how such pairs are found in folders."""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import DataError
from ..core.options import SPLITS
from .files import ImageFiles, describe_contents, images_below, pack_names, require_folder, split_folder, subfolders
from .findings import Findings
from .splits import part_of_own_split, random_split, require_own_split

# The truth in a file, one array or several under their keys.
ReadTruth = Callable[[str], dict[str, np.ndarray]]


class PairedFiles(ImageFiles):
    """Image files with a file of truth each.

    `truths` are relative to `root`, one an image; `read` makes of such a file what a sample holds of it, such as
    `{"mask": int64 (H, W)}`, and raises DataError or ImageError for one that cannot be used. It must be picklable: a
    function, or a partial of one. Its last two dimensions must be those of the image.
    """

    PER_IMAGE = ("_truths",)
    TRUTHS = ("_truths",)

    def __init__(
        self,
        root: str | os.PathLike,
        paths: Sequence[str],
        truths: Sequence[str],
        read: ReadTruth,
        class_names: Sequence[str] = (),
    ) -> None:
        super().__init__(root, paths, class_names)
        self._truths = pack_names(truths)
        self._read = read

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The image with its truth; raises DataError where they are of different sizes."""
        sample = super().__getitem__(index)
        height, width = sample["size"]
        for key, value in sample.items():
            if key != "image" and isinstance(value, np.ndarray) and value.shape[-2:] != (height, width):
                rows, columns = value.shape[-2:]
                raise DataError(
                    f"'{self.truth_path(index)}' has {columns} x {rows} pixels, but its image '{sample['path']}' has "
                    f"{width} x {height}: they must be of one size."
                )
        return sample

    def truth_path(self, index: int) -> str:
        """The file that holds the truth of an image."""
        return os.fsdecode(self._root + self._truths[index])

    def truth(self, index: int) -> dict[str, Any]:
        """What the file of truth says; raises DataError for one that cannot be used."""
        return self._read(self.truth_path(index))


class Folders(NamedTuple):
    """What the two kinds of folders may be called, in lower case and the likeliest first."""

    images: tuple[str, ...]
    truths: tuple[str, ...]
    truth_suffixes: frozenset[str]
    what: str  # the noun for one file of truth: "mask"
    best: str = ""  # the suffix that is taken where a truth is there with several
    key: Callable[[str], str] | None = None  # what the names of a pair have in common, where they are not the same


def find_pairs(
    root: str | os.PathLike,
    folders: Folders,
    *,
    split: str,
    fractions: Sequence[float],
    seed: int,
    findings: Findings,
) -> tuple[Path, list[str], list[str]]:
    """The root, and the images and truths of a split, relative to it: pairs have one name, but for the suffix, or else
    one key, if `folders` has such.

    Three layouts: `images/1.jpg` and `masks/1.png`, whose splits are drawn; `train/images/1.jpg` and
    `train/masks/1.png`; `images/train/1.jpg` and `masks/train/1.png`. With no folder for val it is drawn from train. An
    image without truth is noted and left out. Raises DataError where there is no such layout, MissingSplit for a test
    that is not there.
    """
    folder = require_folder(root)
    own = _own_splits(folder, folders)
    if not own:
        pairs = _pairs(folder, *_two_folders(folder, folders), folders, findings)
        chosen = random_split(len(pairs), fractions, seed)[split]
    else:
        source = require_own_split(folder, split, own)
        pairs = _pairs(folder, *own[source], folders, findings)
        chosen = part_of_own_split(len(pairs), split, own, fractions, seed)
    return folder, [pairs[index][0] for index in chosen], [pairs[index][1] for index in chosen]


def _own_splits(folder: Path, folders: Folders) -> dict[str, tuple[str, str]]:
    """Of each split that has folders of its own, those of images and of truths, relative to `folder`."""
    own = {}
    for split in SPLITS:
        name = split_folder(folder, split)
        inner = name and (_called(folder / name, folders.images), _called(folder / name, folders.truths))
        if inner and all(inner):
            own[split] = (f"{name}/{inner[0]}", f"{name}/{inner[1]}")
            continue
        outer = (_called(folder, folders.images), _called(folder, folders.truths))
        if all(outer) and all(split_folder(folder / str(name), split) for name in outer):
            images, truths = (f"{name}/{split_folder(folder / str(name), split)}" for name in outer)
            own[split] = (images, truths)
    return own


def _called(folder: Path, names: Sequence[str]) -> str | None:
    """The sub-folder with the likeliest of `names`, whatever the case of its letters."""
    there = {name.lower(): name for name in reversed(subfolders(folder))}
    return next((there[name] for name in names if name in there), None)


def _two_folders(folder: Path, folders: Folders) -> tuple[str, str]:
    images, truths = _called(folder, folders.images), _called(folder, folders.truths)
    if images is None or truths is None:
        held = ", ".join(subfolders(folder)[:8]) or describe_contents(folder)
        raise DataError(
            f"'{folder}' holds {held}: expected a folder {folders.images[0]} with the images and a folder "
            f"{folders.truths[0]} with a {folders.what} of the same name for each, or train/ and val/ with these two."
        )
    return images, truths


def _pairs(folder: Path, images: str, truths: str, folders: Folders, findings: Findings) -> list[tuple[str, str]]:
    """Images with their truths, by their paths without suffix below the two folders."""
    there = images_below(folder / truths, folders.truth_suffixes)
    there.sort(key=lambda name: name.lower().endswith(folders.best))  # the last of one stem is taken
    stems = {os.path.splitext(name)[0]: name for name in there}
    names = images_below(folder / images)
    alike = _alike([os.path.splitext(name)[0] for name in names], stems, folders.key)
    pairs, used = [], set()
    for name in names:
        stem = os.path.splitext(name)[0]
        found = stem if stem in stems else alike.get(stem)
        if found is None:
            text = f"there is no {folders.what} '{truths}/{stem}.*' for this image"
            findings.note("NO_TRUTH", f"{images}/{name}", text)
            continue
        used.add(found)
        pairs.append((f"{images}/{name}", f"{truths}/{stems[found]}"))
    for stem in sorted(stems.keys() - used):
        findings.note(
            "NO_IMAGE", f"{truths}/{stems[stem]}", f"there is no image for this {folders.what}", action="noted"
        )
    if not pairs:
        raise DataError(
            f"No image in '{folder / images}' has a {folders.what} of the same name in '{folder / truths}': name both "
            "alike, but for the suffix."
        )
    return pairs


def _alike(images: Sequence[str], truths: Collection[str], key: Callable[[str], str] | None) -> dict[str, str]:
    """The truth of each image that has none of its name, by their key, where no other of either has it: all stems."""
    if key is None:
        return {}
    ours, theirs = defaultdict(set), defaultdict(set)
    for stem in set(images) - set(truths):
        ours[key(stem)].add(stem)
    for stem in set(truths) - set(images):
        theirs[key(stem)].add(stem)
    alone = [name for name in ours.keys() & theirs.keys() if len(ours[name]) == len(theirs[name]) == 1]
    return {ours[name].pop(): theirs[name].pop() for name in alone}
