"""Images and masks of one name in two folders: `images/1.jpg` and `masks/1.png`, or both in train/ and val/.

What the values of the masks stand for is said by the recipe (`mask_values`), by a file `classes.txt`, or else by the
masks themselves; `open_split` says how.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.images import ImageError, write_image
from ..core.masks import write_mask
from .findings import Findings
from .listing import files_there
from .masks import IGNORE, MASK_SUFFIXES, MAX_CLASSES, Legend, legend, read_mask, read_values
from .paired import Folders, PairedFiles, find_pairs

_FOLDERS = Folders(
    images=("images", "image", "imgs", "img", "rgb", "leftimg8bit", "jpegimages"),
    truths=("masks", "mask", "labels", "label", "annotations", "annotation", "gt", "segmentations", "segmentation"),
    truth_suffixes=MASK_SUFFIXES,
    what="mask",
)
_LOOKED_AT = 200  # masks that tell which values there are
_MOST_VALUES = 64  # more are shades of grey and no class numbers, or deserve names
_SMALL = 100  # values below are class numbers, among which 255 means ignore; {0, 127, 255} are three shades
_REMEDY = "correct the mask, or say what its values mean with data.mask_values and data.ignore_value"

_Meaning = tuple[list[str], dict[int, int]]  # class names, and the class number of each value


def open_split(
    root: str | os.PathLike,
    *,
    split: str,
    fractions: Sequence[float],
    seed: int,
    findings: Findings,
    mask_values: Mapping[int, str] | None = None,
    ignore_value: int | None = None,
) -> PairedFiles:
    """One split of two folders; see `find_pairs` for the layouts, and `read_values` for the files that are read.

    With `mask_values`, value to name, class numbers follow their order, and values of one name are one class. Without,
    a `classes.txt` at the root names the values 0, 1, 2 ... line by line, and 255 is ignored. With neither, the values
    met in up to 200 masks of the training part (of `split`, where that is empty) are the classes, rising, with their
    numbers as names; 255 among others below 100 is ignored; 0 and one other value that is 1 or 255 are background and
    foreground. Pixels of `ignore_value` are ignored, in place of 255. Any other value is a DataError once it is read.
    Raises UsageError for a map that makes no sense, DataError for masks that give no classes.
    """
    if ignore_value is not None and not 0 <= ignore_value <= 65535:
        raise UsageError(f"data.ignore_value is {ignore_value}; values of masks are 0 to 65535.")
    pairs_of = partial(find_pairs, root, _FOLDERS, fractions=fractions, seed=seed)
    folder, paths, truths = pairs_of(split=split, findings=findings)
    files_there(folder, [*paths, *truths], findings)  # which notes links that lead out
    if mask_values is not None:
        class_names, values = _from_map(mask_values, ignore_value)
    elif (folder / "classes.txt").is_file():
        class_names, values = _from_lines(folder / "classes.txt", ignore_value)
    else:
        training = truths if split == "train" else pairs_of(split="train", findings=Findings())[2]
        class_names, values = _from_masks(folder, training or truths, ignore_value)
    meaning: Legend = legend(values, class_names, _REMEDY)
    return PairedFiles(folder, paths, truths, partial(read_mask, legend=meaning), class_names)


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes images as JPEG and masks as palette PNG below `root/split`, and `classes.txt`."""
    for name in ("images", "masks"):
        (root / split / name).mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
    for number, sample in enumerate(samples):
        write_image(root / split / "images" / f"{number:06d}.jpg", sample["image"])
        write_mask(root / split / "masks" / f"{number:06d}.png", sample["mask"])


def _from_map(mask_values: Mapping[int, str], ignore_value: int | None) -> _Meaning:
    class_names = list(dict.fromkeys(mask_values.values()))
    outside = [value for value in mask_values if not 0 <= value <= 65535]
    if outside:
        raise UsageError(f"data.mask_values has the value {outside[0]}; values of masks are 0 to 65535.")
    if ignore_value is not None and ignore_value in mask_values:
        raise UsageError(
            f"{ignore_value} is '{mask_values[ignore_value]}' in data.mask_values and is data.ignore_value as well: "
            "leave one of them out."
        )
    if not 2 <= len(class_names) <= MAX_CLASSES:
        raise UsageError(f"data.mask_values names {len(class_names)} classes; there must be 2 to {MAX_CLASSES}.")
    values = {value: class_names.index(name) for value, name in mask_values.items()}
    return class_names, values | ({} if ignore_value is None else {ignore_value: IGNORE})


def _from_lines(file: Path, ignore_value: int | None) -> _Meaning:
    try:
        class_names = [line.strip() for line in file.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except UnicodeDecodeError:
        raise DataError(f"'{file}' is not UTF-8 text: save it as UTF-8, with the name of a class a line.") from None
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None
    for number, name in enumerate(class_names):
        if not name or name in class_names[:number]:
            fault = f"'{name}' is there already" if name else "is empty"
            raise DataError(f"'{file}', line {number + 1}: {fault}; line by line it names the values 0, 1, 2, ...")
    if not 2 <= len(class_names) <= MAX_CLASSES:
        raise DataError(f"'{file}' names {len(class_names)} classes; there must be 2 to {MAX_CLASSES}, one a line.")
    ignored = IGNORE if ignore_value is None else ignore_value
    return class_names, {**{number: number for number in range(len(class_names))}, ignored: IGNORE}


def _from_masks(folder: Path, truths: Sequence[str], ignore_value: int | None) -> _Meaning:
    """Classes by the values that masks spread over the whole list hold."""
    step = -(-len(truths) // _LOOKED_AT)
    met = _values_met([folder / name for name in truths[::step]])
    ignored = ignore_value
    if ignored is None and 255 in met and len(met) > 2 and met[-2] < _SMALL:
        ignored = 255
    held = [value for value in met if value != ignored]
    shown = ", ".join(map(str, held[:8])) + ", ..." * (len(held) > 8)
    if not 2 <= len(held) <= _MOST_VALUES:
        count = f"{len(held)} value{'s' * (len(held) != 1)} ({shown})"
        raise DataError(
            f"The masks of '{folder}' hold {count}, and 2 to {_MOST_VALUES} were expected: say what they mean with "
            "data.mask_values, or name the classes in a classes.txt."
        )
    names = ["background", "foreground"] if held in ([0, 1], [0, 255]) else [str(value) for value in held]
    values = {value: number for number, value in enumerate(held)}
    return names, values | ({} if ignored is None else {ignored: IGNORE})


def _values_met(files: Sequence[Path]) -> list[int]:
    """Rising; files that cannot be read are passed over (they raise when it is their turn) unless all are such."""
    met, fault = np.zeros(65536, bool), None
    for file in files:
        try:
            met[read_values(file)] = True
        except ImageError as error:
            fault = fault or error
    if fault and not met.any():
        raise fault
    return np.flatnonzero(met).tolist()
