"""COCO's JSON of boxes (Lin et al., "Microsoft COCO", 2014; cocodataset.org/#format-data).

A box is [x, y, width, height] in pixels, from the image's left and top edge; classes are numbered in the order of the
ids of their categories, whatever gaps these have. `coco_entries` says what becomes of what is wrong in such a file.
"""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.images import write_image
from ..core.options import SPLITS
from .boxes import BoxFiles
from .coco_entries import Contents, read_class_names, read_contents
from .coco_json import SECTIONS, key_of, parse
from .files import SPLIT_FOLDERS, require_folder, split_folder, subfolders
from .findings import Finding, Findings
from .listing import files_there, leaves_root
from .splits import part_of_own_split, random_split, require_own_split

_PROBED = 64  # names that are looked for in a folder, to see whether it is that of the images


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> BoxFiles:
    """One split of a COCO data set; `root` is a folder or a JSON file, and `find_files` says which.

    Raises UsageError for a root that is not there, DataError for files that cannot be used, MissingSplit for a test
    that the set's own splits lack.
    """
    folder, contents = read_split(root, split=split, fractions=fractions, seed=seed, findings=findings, masks=False)
    return BoxFiles(folder, contents.names, contents.class_names, contents.objects, sizes=contents.sizes)


def read_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings, masks: bool
) -> tuple[Path, Contents]:
    """The folder of a COCO data set, and what its files say of a split: `names` are relative to that folder, and there.

    `masks`: see `read_contents`. Raises what `open_split` raises.
    """
    folder, files = find_files(root)
    source = "" if "" in files else require_own_split(folder, split, files)
    file = files[source]
    contents = read_contents(file, os.path.relpath(file, folder), findings, masks=masks)
    contents = _with_images(folder, file, source, contents, findings)
    if source not in ("", "train") and "train" in files:
        contents = _with_classes_of_train(file, contents, read_class_names(files["train"]))
    number = len(contents.names)
    if source == "":
        chosen = random_split(number, fractions, seed)[split]
    else:
        chosen = part_of_own_split(number, split, files, fractions, seed)
    return folder, contents if len(chosen) == number else contents.subset(chosen)


# --- layout -----------------------------------------------------------------------------------------------------------


def find_files(root: str | os.PathLike) -> tuple[Path, dict[str, Path]]:
    """The folder that names are relative to, and the JSON file of each split, or of all under the name "".

    Known are COCO's own `annotations/instances_train2017.json` (with or without year, or beside `annotations/`),
    Roboflow's `train/_annotations.coco.json`, and one single file. Raises UsageError for a root that is not there,
    DataError where there is no such file, or more than one that could be meant.
    """
    path = Path(root).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"There is no file or folder '{path}': pass COCO's JSON, or its folder, with --data.root.")
    if path.is_file():
        return _base(path), {"": path}
    folder = require_folder(path)
    named = [folder / name for name in subfolders(folder) if name.lower() == "annotations"]
    inside = {split: _jsons(folder / str(name)) for split in SPLITS if (name := split_folder(folder, split))}
    own = {split: files[0] for split, files in inside.items() if len(files) == 1}
    if own:
        return folder, own
    for place in (*named, folder):
        files = _jsons(place)
        own = {
            split: _only(meant, place) for split in SPLITS if (meant := [file for file in files if _says(file, split)])
        }
        if own:
            return folder, own
        if files:
            return folder, {"": _only(files, place)}
    raise DataError(
        f"'{folder}' holds no COCO file: expected annotations/instances_train*.json, train/_annotations.coco.json, or "
        "one .json beside the images; pass another folder, or the file, with --data.root."
    )


def _base(file: Path) -> Path:
    return file.parent.parent if file.parent.name.lower() == "annotations" else file.parent


def _jsons(folder: Path) -> list[Path]:
    """The JSON files in a folder that may hold boxes: where some are called so, those alone."""
    files = sorted(file for file in folder.glob("*.[jJ][sS][oO][nN]") if not file.name.startswith("."))
    for start in ("_annotations.coco", "instances"):
        called = [file for file in files if file.name.lower().startswith(start)]
        if called:
            return called
    return files


def _says(file: Path, split: str) -> bool:
    return any(word in SPLIT_FOLDERS[split] for word in re.findall("[a-z]+", file.stem.lower()))


def _only(files: Sequence[Path], place: Path) -> Path:
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:5])
        raise DataError(
            f"'{place}' holds {len(files)} COCO files ({names}): pass the one that is meant as --data.root."
        )
    return files[0]


# --- images -----------------------------------------------------------------------------------------------------------


def _with_images(folder: Path, file: Path, split: str, contents: Contents, findings: Findings) -> Contents:
    """The contents with names relative to `folder`, less the images that are not there."""
    prefix = _image_folder(folder, file, split, contents.names)
    names = [os.path.normpath(os.path.join(prefix, name)) for name in contents.names]
    there = files_there(folder, names, findings)
    for row in np.flatnonzero(~there).tolist():
        text = f"there is no file {names[row]!r} in '{folder}'"
        index = int(contents.indices[row])
        findings.note("MISSING_IMAGE", os.path.relpath(file, folder), text, place=contents.places[row], index=index)
    contents = contents._replace(names=names)
    return contents if there.all() else contents.subset(np.flatnonzero(there))


def _image_folder(folder: Path, file: Path, split: str, names: Sequence[str]) -> str:
    """Where most of the images lie, relative to `folder`; raises DataError where none do."""
    beside = os.path.relpath(file.parent, folder)
    subset = re.sub("^instances_", "", file.stem)  # train2017
    inner = [subset, *SPLIT_FOLDERS.get(split, ())]
    places = [*inner, *(f"images/{name}" for name in inner), "images", "data", "", beside]
    if beside.lower() != "annotations":
        places = [beside, os.path.join(beside, "images"), *places]
    probed = names[:: max(1, len(names) // _PROBED)]
    found = Counter({place: sum(os.path.exists(folder / place / name) for name in probed) for place in places})
    place, most = max(found.items(), key=lambda item: item[1])  # the first, where several are alike
    if probed and not most:
        raise DataError(
            f"None of the images of '{file}' is there: '{probed[0]}' lies neither beside it nor in "
            f"{', '.join(places[:3])}, images, ... of '{folder}'; put them there."
        )
    return os.path.normpath(place)


def _with_classes_of_train(file: Path, contents: Contents, class_names: list[str]) -> Contents:
    """The contents with the class numbers of train; by name, as another file may have other ids."""
    if class_names == contents.class_names:
        return contents
    used = set(contents.objects.labels.tolist())
    strange = [name for number, name in enumerate(contents.class_names) if number in used and name not in class_names]
    if strange:
        raise DataError(
            f"'{file}' has objects of the category '{strange[0]}', which train does not have: add it there."
        )
    numbers = [class_names.index(name) if name in class_names else -1 for name in contents.class_names]
    labels = np.array(numbers, np.int64)[contents.objects.labels]
    return contents._replace(class_names=class_names, objects=contents.objects._replace(labels=labels))


# --- writing ----------------------------------------------------------------------------------------------------------


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Samples as `annotations/instances_<split>.json` and `<split>/000000.jpg` ..., categories from 1 on."""
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for number, sample in enumerate(samples, 1):
        name, (height, width) = f"{number:06d}.jpg", sample["image"].shape[:2]
        write_image(root / split / name, sample["image"])
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        columns = (sample[key].tolist() for key in ("boxes", "labels", "crowd", "difficult", "area") if key in sample)
        for truth in zip(*columns, strict=True):
            annotations.append({"id": len(annotations) + 1, "image_id": number, **_annotation(*truth)})
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names, 1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


def _annotation(
    box: Sequence[float], label: int, crowd: bool, difficult: bool, area: float | None = None
) -> dict[str, Any]:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return {
        "category_id": label + 1,
        "bbox": [left, top, width, height],
        "area": width * height if area is None else area,
        "iscrowd": int(crowd),
        "ignore": int(difficult),
    }


# --- mending ----------------------------------------------------------------------------------------------------------


def mend(
    root: str | os.PathLike, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Write the JSON files of a data set into `out` without the faults that `findings` name, and the images `dropped`.

    A file without faults is copied byte by byte. Returns one (file, place, change) for each change.
    """
    folder, files = find_files(root)
    log = []
    for split, file in files.items():
        name = os.path.relpath(file, folder)
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        changes = [finding for finding in findings if finding.file == name and finding.action != "noted"]
        document, _ = parse(file)
        changes += _of_dropped(folder, file, split, document["images"], dropped)
        if not changes:
            shutil.copyfile(file, target)
            continue
        log += _mend(document, changes)
        target.write_text(_dumped(document, file), encoding="utf-8")
    return log


def _of_dropped(
    folder: Path, file: Path, split: str, images: Sequence[Any], dropped: Mapping[str, str]
) -> list[Finding]:
    """Findings for the images that are to be dropped."""
    names = {
        index: entry["file_name"]
        for index, entry in enumerate(images)
        if type(entry) is dict and type(entry.get("file_name")) is str and not leaves_root(entry["file_name"])
    }
    prefix = _image_folder(folder, file, split, list(names.values())) if dropped else ""
    name = os.path.relpath(file, folder)
    return [
        Finding("DROPPED", name, f"image {images[index].get('id')}", dropped[path], "left out", index)
        for index, given in names.items()
        if (path := os.path.normpath(os.path.join(prefix, given))) in dropped
    ]


def _mend(document: dict[str, Any], changes: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """Change a parsed file by what was found of its entries; entries go last, so that positions hold until then."""
    log = []
    removed: dict[str, set[int]] = {section: set() for section in SECTIONS}
    for change in changes:
        assert change.index is not None
        section = _SECTION_OF[change.place.split()[0]]
        if change.action == "mended" and section == "annotations":
            done = _mend_annotation(document[section][change.index], change)
        else:
            removed[section].add(change.index)
            done = "removed"
        if change.code == "DUPLICATE_FILE":
            done = _move_objects(document, change)
        log.append((change.file, change.place, f"{done}: {change.text}"))
    for section, field in (("images", "image_id"), ("categories", "category_id")):
        kept = set(range(len(document[section]))) - removed[section]
        gone = _ids(document[section], removed[section]) - _ids(document[section], kept)
        for index, entry in enumerate(document["annotations"]):
            if index not in removed["annotations"] and key_of(entry.get(field)) in gone:
                removed["annotations"].add(index)
                log.append((changes[0].file, f"annotation {entry.get('id')}", f"removed: so was its {field[:-3]}"))
    for section, indices in removed.items():
        document[section] = [entry for index, entry in enumerate(document[section]) if index not in indices]
    return log


_SECTION_OF = {"image": "images", "category": "categories", "annotation": "annotations"}


def _mend_annotation(entry: dict[str, Any], change: Finding) -> str:
    """Give an annotation the value that the reader used."""
    assert change.value is not None
    new = [int(number) if number == int(number) else number for number in change.value]
    if change.code in ("BAD_ISCROWD", "BAD_IGNORE"):
        field = change.code.removeprefix("BAD_").lower()
        entry[field] = new[0]
        return f"{field} became {new[0]}"
    entry["bbox"] = new
    return f"bbox became {new}"


def _move_objects(document: dict[str, Any], change: Finding) -> str:
    """Give the annotations of an image to the other entry of the same file."""
    assert change.value is not None
    old, new = (document["images"][index]["id"] for index in (change.index, int(change.value[0])))
    for entry in document["annotations"]:
        if type(entry) is dict and key_of(entry.get("image_id")) == key_of(old):
            entry["image_id"] = new
    return f"removed, its annotations now have the image_id {new}"


def _ids(entries: Sequence[Any], indices: Collection[int]) -> set[int | str | None]:
    named = {key_of(entries[index].get("id")) for index in indices if type(entries[index]) is dict}
    return named - {None}


def _dumped(document: dict[str, Any], file: Path) -> str:
    """JSON in the manner of `file`: its indentation, its spaces, its escapes."""
    text = file.read_text(encoding="utf-8-sig")
    indent = re.match(r'\{\r?\n([ \t]+)"', text)
    tight = not indent and '": ' not in text[:1000]
    return json.dumps(
        document,
        ensure_ascii=text.isascii() or "\\u" in text,
        indent=indent and indent.group(1),
        separators=(",", ":") if tight else (",", ": ") if indent else (", ", ": "),
    )
