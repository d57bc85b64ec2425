"""Readers of data sets on disk, one file a format, and the drawn world; each also writes what it reads.

Each module named in `FORMATS` has

- `open_split(root, *, split, fractions, seed, findings, ...)`, which returns a data set; what else it takes are the
  entries of the recipe's `data` section that `Format.takes` names;
- `write_split(samples, root, *, split, class_names)`, which writes samples in this format (`foveal draw-data`);
- where the truth lies in text, `mend(...)`, which writes it anew without its faults (`foveal check-data --fix`);

and adding a format costs that file and one line here. A data set is anything with

- `class_names`: list of str, by class number;
- `labels`: int64 (M,), the classes of all its objects (of its images, where each has one), known without opening one;
- `len()` and `[index]`, a dict of `image` (uint8 (H, W, 3), RGB), `path` (str), `size` ((H, W) in pixels) and the
  truth, numpy arrays under the keys of `core/types.py`;
- `path(index)`, and `truth(index)`, the truth alone, without opening the image;
- `fingerprint()`, a digest that changes with its images and labels;
- `subset(indices)`, the same with some of the images;

it keeps paths and labels in numpy arrays: Python objects would be copied into every forked loader worker, one reference
count at a time. Imports no torch, so that data can be looked at without it.
"""

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from os import PathLike
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..core.errors import DataError, DataWarning, MissingSplit, UsageError, unknown
from ..core.options import SPLITS
from .splits import require_shares

if TYPE_CHECKING:
    from ..core.data import Dataset
    from .findings import Findings


class Format(NamedTuple):
    """What there is to say of a format before its reader is imported."""

    task: str  # "any" for the drawn world
    about: str
    takes: tuple[str, ...] = ()  # entries of the `data` section that are meant for it
    embedded: bool = False  # needs no root


FORMATS = {
    "shapes": Format(
        "any",
        "the drawn world: every kind of truth, made as it is asked for",
        ("images", "portraits", "level", "task"),
        True,
    ),
    "image_folder": Format("classification", "one folder per class, or train/, val/ and test/ with one per class each"),
    "csv": Format("classification", "a table with the columns path, label and, if you like, split"),
    "idx": Format("classification", "MNIST's four files of images and labels, packed with gzip or not"),
    "digits": Format("classification", "1,797 handwritten digits of 8 x 8 pixels from scikit-learn", (), True),
    "coco": Format("detection", "COCO's JSON of boxes, or a folder that holds such files and the images"),
    "voc": Format("detection", "Pascal VOC's folder: Annotations/*.xml, JPEGImages/, ImageSets/Main/"),
    "yolo": Format("detection", "a data.yaml, or images/ and labels/*.txt"),
    "mask_folder": Format("segmentation", "images/ and masks/, palette or grey", ("mask_values", "ignore_value")),
    "voc_segmentation": Format("segmentation", "Pascal VOC's folder: SegmentationClass/, ImageSets/Segmentation/"),
    "coco_segmentation": Format("segmentation", "COCO's JSON of polygons and run lengths, drawn as masks"),
    "cityscapes": Format("segmentation", "leftImg8bit/ and gtFine/, the 19 classes of the benchmark"),
    "bsds": Format("edges", "BSDS500's folder: images/ and groundTruth/*.mat of several annotators"),
    "edge_folder": Format("edges", "images/ and edges/, grey PNG, white where there is an edge"),
    "depth_folder": Format("depth", "images/ and depth/, 16-bit PNG or .npy in metres", ("depth_scale",)),
    "tum": Format("depth", "TUM's RGB-D sequences: rgb/, depth/ and their lists of times", ("depth_scale",)),
    "nyu": Format("depth", "NYU Depth V2's .mat or .h5, one file with all images, or one a frame; needs h5py"),
    "otb": Format("tracking", "OTB's folder: one a sequence, with img/ and groundtruth_rect.txt"),
    "got10k": Format("tracking", "GOT-10k's folder: one a sequence, with its frames, groundtruth.txt, absence.label"),
    "frame_folder": Format("tracking", "one folder of frames a sequence, with a file of boxes in it or beside it"),
    "video": Format("tracking", "video files with a file of boxes of the same name beside each"),
    "person_folder": Format("faces", "one folder a person"),
    "lfw": Format("faces", "one folder a person, and pairs.txt with its folds"),
    "pairs_csv": Format("faces", "a table of pairs: two paths, same or not and, if you like, a fold"),
}


def open_dataset(
    format: str,
    root: str | PathLike | None,
    *,
    split: Literal["train", "val", "test"],
    fractions: Sequence[float] = (0.65, 0.10, 0.25),
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    findings: "Findings | None" = None,
) -> "Dataset":
    """One split of the data set at `root`.

    `fractions` say which share of the images goes to train, val and test where the data set itself does not; `seed`
    draws them, the same on every machine. `options` are entries of the recipe's `data` section that the format takes.
    What is wrong with single entries is left out or mended with a DataWarning for each kind, or refused with a
    DataError; where `findings` are given, everything goes there instead. Raises UsageError for a wrong name, root,
    option or fraction, DataError for data that cannot be used.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    kind = _checked(format, root, options or {})
    require_shares(fractions)
    noted = _no_findings() if findings is None else findings
    common = {"split": split, "fractions": fractions, "seed": seed, "findings": noted}
    dataset = reader(format).open_split(root, **common, **(options or {}))
    if findings is None:
        noted.require_usable()
        for sentence in noted.sentences():
            warnings.warn(sentence, DataWarning, stacklevel=2)
    where = format if kind.embedded else root
    if not len(dataset) and split == "test":
        raise MissingSplit(f"No image of {where} is for testing: its share in --data.splits is 0.")
    if not len(dataset):
        raise DataError(f"There is no image for the split '{split}' ({where}): give it a share with --data.splits.")
    return dataset


class Source(NamedTuple):
    """Where a data set is: a format, and the folder or file that it reads."""

    format: str
    root: str | None


def open_sources(
    sources: Sequence[Source],
    *,
    split: Literal["train", "val", "test"],
    fractions: Sequence[float],
    seed: int,
    options: Mapping[str, Any],
    classes: Mapping[str, str] | Sequence[str] | None = None,
) -> "Dataset":
    """One split of several data sets mixed, with the classes that `classes` chooses (see `mixed.mix`).

    `options` are the entries of the recipe's `data` section: each format gets those that it takes. A source without
    images for testing adds none; MissingSplit is raised where all are without.
    """
    from .mixed import mix

    for name in options:
        if not any(name in taken_by(source.format) for source in sources):
            takers = [format for format in FORMATS if name in taken_by(format)]
            raise UsageError(f"data.{name} means nothing to {sources[0].format}; it is for {', '.join(takers)}.")
    parts, missing = [], None
    for format, root in sources:
        own = {name: value for name, value in options.items() if name in taken_by(format)}
        try:
            parts.append(open_dataset(format, root, split=split, fractions=fractions, seed=seed, options=own))
        except MissingSplit as error:
            missing = error
    if not parts and missing is not None:
        raise missing
    return mix(parts, classes)


def taken_by(format: str) -> tuple[str, ...]:
    """Entries of the `data` section that mean something to a format; raises UsageError where there is none such."""
    if format not in FORMATS:
        raise unknown("data format", format, FORMATS, "`foveal list datasets` shows them all.")
    return FORMATS[format].takes


def not_taken_by(format: str) -> set[str]:
    """Entries of the `data` section that are meant for other formats; raises UsageError where there is none such."""
    return {name for other in FORMATS.values() for name in other.takes} - set(taken_by(format))


def reader(format: str) -> ModuleType:
    """The module of a format; raises UsageError where there is no such format."""
    if format not in FORMATS:
        raise unknown("data format", format, FORMATS, "`foveal list datasets` shows them all.")
    return import_module(f".{format}", __name__)


def _no_findings() -> "Findings":
    from .findings import Findings

    return Findings()


def _checked(format: str, root: object, options: Mapping[str, Any]) -> Format:
    taken = taken_by(format)
    unwanted = [name for name in options if name not in taken]
    if unwanted:
        raise UsageError(f"data.{unwanted[0]} means nothing to the format {format}.")
    if root is not None and FORMATS[format].embedded:
        raise UsageError(f"The data format {format} reads no files: leave out --data.root {root}, or name its format.")
    if root is None and not FORMATS[format].embedded:
        raise UsageError(f"The data format {format} reads {FORMATS[format].about}: say where with --data.root.")
    return FORMATS[format]
