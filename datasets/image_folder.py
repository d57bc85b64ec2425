"""One folder per class: `root/cat/1.jpg`, or with splits of its own, `root/train/cat/1.jpg`.

Class numbers follow the sorted folder names ("s10" comes before "s2"), as in torchvision's ImageFolder, so that models
and labels made with either fit together.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.images import IMAGE_SUFFIXES
from .files import ImageFiles, describe_contents, holds_image, images_below, require_folder, subfolders
from .splits import require_classes, split_train, stratified_split

_VAL_NAMES = ("val", "valid", "validation")


def open_split(root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int) -> ImageFiles:
    """One split of a folder of images.

    Without train/ in it, all three are drawn from all images. With train/ and no val/ (or valid/, validation/), val is
    drawn from train; other folders beside them are left alone. Images may lie in folders within a class's folder.
    Raises DataError.
    """
    folder = require_folder(root)
    names = subfolders(folder)
    if "train" not in names:
        if names and set(names) <= {"test", *_VAL_NAMES}:
            raise DataError(f"'{folder}' holds {', '.join(names)} and no train: put the training images into train/.")
        dataset = _read(folder, _class_names(folder))
        return dataset.subset(stratified_split(dataset.labels, fractions, seed, dataset.class_names)[split])
    class_names = _class_names(folder / "train")
    own = _own_folder(folder, names, split)
    if own != "train" or _own_folder(folder, names, "val") != "train":
        return _read(folder / own, class_names, whole=own == "train")
    dataset = _read(folder / "train", class_names)
    return dataset.subset(split_train(dataset.labels, split, fractions, seed, class_names))


def _own_folder(folder: Path, names: Sequence[str], split: str) -> str:
    """The folder that a split's images come from, beside a folder train."""
    if split == "train":
        return "train"
    found = [name for name in (_VAL_NAMES if split == "val" else ("test",)) if name in names]
    if len(found) > 1:
        raise DataError(f"'{folder}' holds both {' and '.join(found)}: leave the one that is for validation.")
    if split == "test" and not found:
        raise DataError(f"'{folder}' has a folder train but none called test: add test/ with one folder per class.")
    return found[0] if found else "train"


def _class_names(folder: Path) -> list[str]:
    names = subfolders(folder)
    if not holds_image(folder):
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(
            f"There is no image in '{folder}', only {describe_contents(folder)}: expected one folder per class with "
            f"files that end in {suffixes}; pass another folder with --data.root."
        )
    if not names:
        count = len(images_below(folder))
        images = "1 image" if count == 1 else f"{count} images"
        raise DataError(f"'{folder}' holds {images} but no folders: make one folder per class.")
    require_classes(names, f"'{folder}'")
    return names


def _read(folder: Path, class_names: list[str], whole: bool = True) -> ImageFiles:
    """All images of `folder`; `whole`: every class must have some (val and test may lack one)."""
    unknown = sorted(set(subfolders(folder)) - set(class_names))
    if unknown:
        raise DataError(f"'{folder / unknown[0]}' is a class that train does not have: add it or leave it out.")
    paths, labels = [], []
    for label, name in enumerate(class_names):
        inside = folder / name
        found = images_below(inside) if inside.is_dir() else []
        if whole and not found:
            raise DataError(
                f"The class folder '{inside}' has no image ({describe_contents(inside)}): fill it or remove it."
            )
        paths += [f"{name}{os.sep}{path}" for path in found]
        labels += [label] * len(found)
    if not paths:
        raise DataError(f"There is no image in '{folder}', only {describe_contents(folder)}: fill it or remove it.")
    return ImageFiles(folder, paths, np.array(labels), class_names)
