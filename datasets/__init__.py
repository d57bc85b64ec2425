"""Readers of data sets on disk, one file a format.

Each module named in `FORMATS` has one function `open_split(root, *, split, fractions, seed)` that returns a data set,
and adding a format costs that file and one line here. A data set is anything with

- `class_names`: list of str, by class number;
- `labels`: int64 (N,), the class of each image, known without opening one;
- `fingerprint()`, a digest that changes with its images and labels;
- `len()` and `[index]`, a dict of `image` (uint8 (H, W, 3), RGB), `path` (str), `size` ((H, W) in pixels) and `label`
  (int);

it keeps paths and labels in numpy arrays: Python objects would be copied into every forked loader worker, one reference
count at a time. Imports no torch, so that data can be looked at without it.
"""

from collections.abc import Sequence
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Literal

from ..core.errors import DataError, MissingSplit, UsageError, unknown

if TYPE_CHECKING:
    from ..core.data import Dataset

FORMATS = {
    "image_folder": "one folder per class, or train/, val/ and test/ with one folder per class each",
    "csv": "a table with the columns path, label and, if you like, split",
    "idx": "MNIST's four files of images and labels, packed with gzip or not",
    "digits": "1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn; needs no --data.root",
}
SPLITS = ("train", "val", "test")


def open_dataset(
    format: str,
    root: str | PathLike | None,
    *,
    split: Literal["train", "val", "test"],
    fractions: Sequence[float] = (0.65, 0.10, 0.25),
    seed: int = 0,
) -> "Dataset":
    """One split of the data set at `root`.

    `fractions` say which share of the images goes to train, val and test where the data set itself does not; `seed`
    draws them, the same on every machine. Raises UsageError for a wrong name, root or fraction, DataError for data that
    cannot be used.
    """
    if format not in FORMATS:
        raise unknown("data format", format, FORMATS)
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if root is None and format != "digits":
        raise UsageError(f"The data format {format} reads {FORMATS[format]}: say where with --data.root.")
    reader = import_module(f".{format}", __name__)
    dataset = reader.open_split(root, split=split, fractions=fractions, seed=seed)
    if not len(dataset) and split == "test":
        raise MissingSplit(f"No image of {root or format} is for testing: its share in --data.splits is 0.")
    if not len(dataset):
        raise DataError(
            f"There is no image for the split '{split}' ({root or format}): give it a share with --data.splits."
        )
    return dataset
