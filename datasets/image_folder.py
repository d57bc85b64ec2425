"""One folder per class: `root/cat/1.jpg`, or with splits of its own, `root/train/cat/1.jpg`.

Class numbers follow the sorted folder names ("s10" comes before "s2"), as in torchvision's ImageFolder, so that models
and labels made with either fit together.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, MissingSplit
from ..core.images import write_image
from ..core.inputs import IMAGE_SUFFIXES
from .files import (
    SPLIT_FOLDERS,
    LabelledFiles,
    describe_contents,
    holds_image,
    images_below,
    require_folder,
    split_folder,
    subfolders,
)
from .findings import Findings
from .splits import require_classes, split_train, stratified_split


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> LabelledFiles:
    """One split of a folder of images.

    Without train/ in it, all three are drawn from all images. With train/ and no val/ (or valid/, validation/), val is
    drawn from train; other folders beside them are left alone. Images may lie in folders within a class's folder.
    Raises DataError, and MissingSplit for a test that is not there.
    """
    folder = require_folder(root)
    own = {name: split_folder(folder, name) for name in SPLIT_FOLDERS}
    train = own["train"]
    if train is None:
        if any(own.values()) and set(subfolders(folder)) <= set(own.values()):
            held = ", ".join(filter(None, own.values()))
            raise DataError(f"'{folder}' holds {held} and no train: put the training images into train/.")
        dataset = _read(folder, _class_names(folder))
        return dataset.subset(stratified_split(dataset.labels, fractions, seed, dataset.class_names)[split])
    class_names = _class_names(folder / train)
    if split == "test" and own["test"] is None:
        raise MissingSplit(f"'{folder}' has a folder train but none called test: add test/ with one folder per class.")
    if own["val"] is not None or split == "test":
        return _read(folder / str(own[split]), class_names, whole=split == "train")
    dataset = _read(folder / train, class_names)
    return dataset.subset(split_train(dataset.labels, split, fractions, seed, class_names))


def write_split(samples: Iterable[Mapping[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Write samples as `root/split/class/000000.png`."""
    for name in class_names:
        (root / split / name).mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples):
        write_image(root / split / class_names[int(sample["label"])] / f"{number:06d}.png", sample["image"])


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


def _read(folder: Path, class_names: list[str], whole: bool = True) -> LabelledFiles:
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
    return LabelledFiles(folder, paths, np.array(labels), class_names)
