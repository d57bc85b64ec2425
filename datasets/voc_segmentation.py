"""Pascal VOC's folder for segmentation: `JPEGImages/`, `SegmentationClass/` and `ImageSets/Segmentation/`.

Masks are PNG with a palette whose index is the class number, 0 the background and 255 the border between objects, which
is ignored (Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010). Annotation tools, CVAT
for one, write the same folder with a `labelmap.txt` that gives each class a colour, and masks in these colours.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.images import write_image
from ..core.masks import voc_colors, write_mask
from .files import images_below, require_folder, subfolders
from .findings import Finding, Findings
from .listing import files_there, leaves_root
from .masks import IGNORE, MASK_SUFFIXES, MAX_CLASSES, Legend, legend, read_mask
from .paired import PairedFiles
from .splits import part_of_own_split, random_split, require_own_split
from .voc_layout import copy_list, stem

CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
_IMAGES, _MASKS, _LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
_BORDER = (224, 224, 192)  # the colour of index 255

_Color = tuple[int, int, int]


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> PairedFiles:
    """One split of Pascal VOC's folder.

    Splits are `train.txt`, `val.txt` and `test.txt`, and `trainval.txt` less val where there is no train; without any
    of them all masks are shared out. Masks count by their palette's indices or grey values, those in colour by VOC's
    colours. With a `labelmap.txt` (lines `name:r,g,b:parts:actions`), class numbers follow its lines, its colours
    decide for palettes as well, and what has colour (0, 0, 0), or else an added background, is the background.
    Raises DataError where there is no such folder, MissingSplit for a test that is not there.
    """
    folder = require_folder(root)
    _require_layout(folder)
    own = _own_lists(folder)
    if own:
        pairs = _listed_pairs(folder, own, require_own_split(folder, split, own), findings)
        chosen = part_of_own_split(len(pairs), split, own, fractions, seed)
    else:
        pairs = _pairs(folder, [(_MASKS, "", None, name) for name in sorted(_stems(folder / _MASKS))], findings)
        chosen = random_split(len(pairs), fractions, seed)[split]
    paths, truths = [pairs[index][0] for index in chosen], [pairs[index][1] for index in chosen]
    files_there(folder, [*paths, *truths], findings)  # which notes links that lead out
    class_names, meaning = _classes(folder / "labelmap.txt")
    return PairedFiles(folder, paths, truths, partial(read_mask, legend=meaning), class_names)


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes images as JPEG, masks with VOC's palette, the list of their names and, for classes that are not VOC's, a
    `labelmap.txt`.
    """
    for name in (_IMAGES, _MASKS, _LISTS):
        (root / name).mkdir(parents=True, exist_ok=True)
    if tuple(class_names) != CLASS_NAMES:
        colors = [",".join(map(str, color)) for color in voc_colors()[: len(class_names)].tolist()]
        lines = [f"{name}:{color}::\n" for name, color in zip(class_names, colors, strict=True)]
        (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "".join(lines), encoding="utf-8")
    names = []
    for number, sample in enumerate(samples):
        names.append(f"{split}_{number:06d}")
        write_image(root / _IMAGES / f"{names[-1]}.jpg", sample["image"])
        write_mask(root / _MASKS / f"{names[-1]}.png", sample["mask"])
    (root / _LISTS / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def mend(
    root: str | os.PathLike, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Write the lists of a data set into `out`, without the lines that `findings` name and the images `dropped`.

    Returns one (file, place, change) for each change.
    """
    folder = require_folder(root)
    gone = {stem(os.path.relpath(path, _IMAGES)): reason for path, reason in dropped.items()}
    masks = _stems(folder / _MASKS)
    # Without lists a mask stands for its image, and one without the other would be a fault of the copy.
    log = [(f"{_MASKS}/{masks[name]}", "", "left out: its image is") for name in gone if name in masks]
    log += [
        (each.file, "", f"left out: {each.text}")
        for each in findings
        if each.index is None and each.action in ("left out", "refused") and each.file.startswith(f"{_MASKS}/")
    ]
    for listed in sorted((folder / _LISTS).glob("*.txt")):
        file = os.path.relpath(listed, folder)
        lines: dict[int | None, str] = {
            at: gone[name] for *_, at, name in _entries(folder, listed.name) if name in gone
        }
        lines |= {each.index: each.text for each in findings if each.file == file and each.action != "noted"}
        log += copy_list(folder, file, out / file, lines, {})
    return log


# --- images and masks -------------------------------------------------------------------------------------------------


def _require_layout(folder: Path) -> None:
    for name in (_IMAGES, _MASKS):
        if not (folder / name).is_dir():
            inside = [sub for sub in subfolders(folder) if (folder / sub / name).is_dir()]
            remedy = f"'{folder / inside[0]}' has one: pass that" if inside else "pass the one that does"
            raise DataError(
                f"'{folder}' has no folder {name}: expected {_IMAGES} and {_MASKS}, as in VOC2012; {remedy} with "
                "--data.root."
            )


def _own_lists(folder: Path) -> dict[str, str]:
    """The list of each split that has one."""
    there = {name: f"{name}.txt" for name in ("train", "val", "test") if (folder / _LISTS / f"{name}.txt").is_file()}
    if "train" not in there and (folder / _LISTS / "trainval.txt").is_file():
        return {"train": "trainval.txt", **there}
    return there


# The file that names an image, the place in it and its index there, and the name.
_Entry = tuple[str, str, int | None, str]


def _listed_pairs(folder: Path, own: dict[str, str], split: str, findings: Findings) -> list[tuple[str, str]]:
    entries = _entries(folder, own[split])
    if own[split] == "trainval.txt" and "val" in own:
        held_out = {name for *_, name in _entries(folder, own["val"])}
        entries = [entry for entry in entries if entry[3] not in held_out]
    return _pairs(folder, entries, findings)


def _entries(folder: Path, file: str) -> list[_Entry]:
    path = folder / _LISTS / file
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from None
    names = [(number, line.strip()) for number, line in enumerate(lines)]
    return [(f"{_LISTS}/{file}", f"line {number + 1}", number, name) for number, name in names if name]


def _pairs(folder: Path, entries: Sequence[_Entry], findings: Findings) -> list[tuple[str, str]]:
    """The image and the mask of each name that has both, relative to `folder`."""
    images, masks, seen = _stems(folder / _IMAGES), _stems(folder / _MASKS), set()
    pairs = []
    for file, place, index, name in entries:
        fault = None
        if leaves_root(name):
            fault = "LEAVES_ROOT", f"'{name}' leads out of the data set: expected a name like 2007_000032", "refused"
        elif name in seen:
            fault = "DUPLICATE", f"'{name}' is in the list already", "left out"
        elif name not in images:
            fault = "NO_IMAGE", f"there is no image '{_IMAGES}/{name}.jpg'", "left out"
        elif name not in masks:
            fault = "NO_TRUTH", f"there is no mask '{_MASKS}/{name}.png'", "left out"
        if fault:
            code, text, action = fault
            findings.note(code, file, text, place=place, action=action, index=index)
            continue
        seen.add(name)
        pairs.append((f"{_IMAGES}/{images[name]}", f"{_MASKS}/{masks[name]}"))
    if not pairs:
        where = f"'{folder / entries[0][0]}' names" if entries else f"'{folder}' has"
        raise DataError(f"{where} no image with a mask: expected {_IMAGES}/NAME.jpg and {_MASKS}/NAME.png.")
    return pairs


def _stems(folder: Path) -> dict[str, str]:
    """Names without suffix of the images in a folder, and with it."""
    suffixes = {"suffixes": MASK_SUFFIXES} if folder.name == _MASKS else {}
    return {os.path.splitext(name)[0]: name for name in images_below(folder, **suffixes)}


# --- classes ----------------------------------------------------------------------------------------------------------


def _classes(labelmap: Path) -> tuple[list[str], Legend]:
    if labelmap.is_file():
        colors = _labelled_colors(labelmap)
        remedy = f"correct the mask, or add the class to '{labelmap}'"
    else:
        colors = _voc_colors_for(CLASS_NAMES)
        remedy = f"correct the mask, or name classes other than VOC's, with their colours, in '{labelmap}'"
    class_names = list(colors)
    numbers = {color: number for number, color in enumerate(colors.values())}
    values = {number: number for number in range(len(class_names))} | {255: IGNORE}
    return class_names, legend(values, class_names, remedy, {_BORDER: IGNORE} | numbers, palettes=labelmap.is_file())


def _labelled_colors(file: Path) -> dict[str, _Color]:
    """The colour of each class of a `labelmap.txt`; VOC's colours by line where it has none."""
    colors: dict[str, _Color | None] = {}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"'{file}' is not UTF-8 text: save it as UTF-8, with lines name:r,g,b:parts:actions.") from None
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            name, color = _labelled_color(f"'{file}', line {number}", line)
            if name in colors or (color is not None and color in colors.values()):
                raise DataError(f"'{file}', line {number}: {line!r} has a name or a colour of a line above: change it.")
            colors[name] = color
    known = {name: color for name, color in colors.items() if color is not None}
    if not known:
        known = _voc_colors_for(list(colors))
    if len(known) < len(colors):
        raise DataError(f"'{file}' gives a colour to some classes and none to others: add those that are missing.")
    if (0, 0, 0) not in known.values():
        known = {"background": (0, 0, 0), **known}
    if not 2 <= len(known) <= MAX_CLASSES:
        raise DataError(f"'{file}' names {len(known)} classes, background among them; expected 2 to {MAX_CLASSES}.")
    return known


def _voc_colors_for(class_names: Sequence[str]) -> dict[str, _Color]:
    return {
        name: (red, green, blue) for name, (red, green, blue) in zip(class_names, voc_colors().tolist(), strict=False)
    }


def _labelled_color(place: str, line: str) -> tuple[str, _Color | None]:
    name, color, *_ = [field.strip() for field in line.split(":")] + [""]
    try:
        red, green, blue = (int(channel) for channel in color.split(",")) if color else (0, 0, 0)
    except ValueError:
        red = green = blue = -1
    if not name or not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
        raise DataError(f"{place}: {line!r} was found, and name:r,g,b:parts:actions, as in cat:64,0,0::, was expected.")
    return name, (red, green, blue) if color else None
