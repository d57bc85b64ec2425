"""Cityscapes: `leftImg8bit/train/CITY/*_leftImg8bit.png`, `gtFine/train/CITY/*_gtFine_labelIds.png`, and 19 classes.

Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016; the numbers are those of the
benchmark's own table of labels (github.com/mcordts/cityscapesScripts, helpers/labels.py).
"""

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.images import write_image
from ..core.options import SPLITS
from .files import images_below, require_folder, split_folder, subfolders
from .findings import Findings
from .listing import files_there
from .masks import IGNORE, Legend, legend, read_mask
from .paired import PairedFiles
from .splits import part_of_own_split, require_own_split

# The id in *_labelIds.png of each class that the benchmark counts, in the order of their train ids, 0 to 18.
LABEL_IDS = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
CLASS_NAMES = list(LABEL_IDS)
_IMAGES, _IMAGE_END = "leftImg8bit", "_leftImg8bit"
_MASKS = ("gtFine", "gtCoarse")
_LABEL_IDS, _TRAIN_IDS = "labelIds.png", "labelTrainIds.png"


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> PairedFiles:
    """One split of Cityscapes.

    Masks of ids (`*_labelIds.png`) become train ids, every id that the benchmark does not count IGNORE; where there are
    none, `*_labelTrainIds.png` are taken as they are. `gtCoarse/` is read for a split that `gtFine/` does not have. The
    published masks of test hold nothing but ignored pixels. Without val/ it is drawn from train. Raises DataError where
    there is no such folder, MissingSplit for a test that is not there.
    """
    folder = require_folder(root)
    own = {name: places for name in SPLITS if (places := _places(folder, name))}
    if not own:
        held = ", ".join(subfolders(folder)[:8]) or "no folder"
        raise DataError(
            f"'{folder}' holds {held}: expected {_IMAGES}/train/CITY/*{_IMAGE_END}.png and "
            f"{_MASKS[0]}/train/CITY/*_{_MASKS[0]}_{_LABEL_IDS}; pass the folder that holds both with --data.root."
        )
    pairs = _pairs(folder, *own[require_own_split(folder, split, own)], findings)
    chosen = part_of_own_split(len(pairs), split, own, fractions, seed)
    paths, truths = [pairs[index][0] for index in chosen], [pairs[index][1] for index in chosen]
    files_there(folder, [*paths, *truths], findings)  # which notes links that lead out
    read = partial(_read, label_ids=_legend_of_ids(), train_ids=_legend_of_train_ids())
    return PairedFiles(folder, paths, truths, read, CLASS_NAMES)


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes images and grey masks of ids as PNG, of a city "drawn": class k of any data set as the k-th of Cityscapes.

    Raises UsageError for more than its 19 classes.
    """
    if len(class_names) > len(CLASS_NAMES):
        raise UsageError(
            f"Cityscapes has {len(CLASS_NAMES)} classes, too few for {len(class_names)}: take the format mask_folder."
        )
    ids = np.zeros(256, np.uint8)  # 0: unlabelled
    ids[: len(CLASS_NAMES)] = list(LABEL_IDS.values())
    images, masks = root / _IMAGES / split / "drawn", root / _MASKS[0] / split / "drawn"
    for folder in (images, masks):
        folder.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples):
        name = f"drawn_{number:06d}_000019"  # city, sequence and frame: the 20th of a snippet of 30 is annotated
        write_image(images / f"{name}{_IMAGE_END}.png", sample["image"])
        write_image(masks / f"{name}_{_MASKS[0]}_{_LABEL_IDS}", ids[sample["mask"]])


def _places(folder: Path, split: str) -> tuple[str, str, str] | None:
    """The folders of a split's images and masks, relative to `folder`, and which of gtFine and gtCoarse these are."""
    own = split_folder(folder / _IMAGES, split) if (folder / _IMAGES).is_dir() else None
    for kind in _MASKS:
        if own and (folder / kind / own).is_dir():
            return f"{_IMAGES}/{own}", f"{kind}/{own}", kind
    return None


def _pairs(folder: Path, images: str, masks: str, kind: str, findings: Findings) -> list[tuple[str, str]]:
    there = set(images_below(folder / masks, frozenset((".png",))))
    pairs = []
    for name in images_below(folder / images):
        base = os.path.splitext(name)[0].removesuffix(_IMAGE_END)
        names = [f"{base}_{kind}_{end}" for end in (_LABEL_IDS, _TRAIN_IDS)]
        found = next((mask for mask in names if mask in there), None)
        if found is None:
            text = f"there is no mask '{masks}/{names[0]}' for this image"
            findings.note("NO_TRUTH", f"{images}/{name}", text)
            continue
        pairs.append((f"{images}/{name}", f"{masks}/{found}"))
    if not pairs:
        raise DataError(
            f"No image in '{folder / images}' has a mask in '{folder / masks}': expected CITY/*{_IMAGE_END}.png there "
            f"and CITY/*_{kind}_{_LABEL_IDS} here."
        )
    return pairs


def _read(path: str, label_ids: Legend, train_ids: Legend) -> dict[str, np.ndarray]:
    return read_mask(path, train_ids if path.endswith(_TRAIN_IDS) else label_ids)


def _legend_of_ids() -> Legend:
    numbers = {value: number for number, value in enumerate(LABEL_IDS.values())}
    # 0 to 33 are the published ids; -1, the licence plate, is 255 in an 8-bit file.
    ignored = {value: IGNORE for value in (*range(34), 255) if value not in numbers}
    return legend(numbers | ignored, CLASS_NAMES, "an id beyond 33 is not Cityscapes's: is it another kind of mask?")


def _legend_of_train_ids() -> Legend:
    numbers = {number: number for number in range(len(CLASS_NAMES))}
    remedy = f"correct the mask, or leave it out where there is a *_{_LABEL_IDS}"
    return legend(numbers | {255: IGNORE}, CLASS_NAMES, remedy)
