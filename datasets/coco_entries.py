"""COCO's JSON, checked entry by entry and turned into arrays: what its readers for boxes and for masks stand on.

What a program that wrote such a file can get wrong, and what becomes of it here:

- ids that are text or have a decimal point are read as numbers; ids of annotations need not be unique (noted), for a
  metric gets ids of its own; an annotation that is there twice, word for word, counts once;
- an id that several images of different files have, or several categories of different names, is refused: nobody can
  tell whose annotations these are;
- a file that several images name is one image with the objects of all; categories of one name are one class;
- a name that leaves the root is refused; boxes are cleaned as `boxes.clean_boxes` says, masks as `coco_masks` does;
- a missing `iscrowd` is 0, and so is `ignore`, which says of sets made from Pascal VOC what is difficult; an `area`
  that is missing, or no number above 0, is that of the box.

Nothing of the parsed JSON is kept: 860,000 dicts would be copied into every loader worker.
"""

import gc
import os
from array import array
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from .boxes import Objects, clean_boxes
from .coco_json import key_of, parse, read_categories, shown
from .coco_masks import Masks, read_masks
from .findings import Action, Findings
from .listing import leaves_root

_GONE, _UNKNOWN = -1, -2  # in place of the row of an image or class: left out, with its annotations; not in the file


class Contents(NamedTuple):
    """What a COCO file says of N images with M objects."""

    names: list[str]  # file names, as written but for `./`
    places: list[str]  # of each image, for findings: "image 17"
    indices: np.ndarray  # int64 (N,), of each image in its section
    sizes: np.ndarray  # int64 (N, 2), (H, W); 0 where the file doesn't say
    class_names: list[str]
    objects: Objects  # their boxes are 0 where masks were asked for
    masks: Masks | None  # of the objects, where they were asked for

    def subset(self, chosen: np.ndarray) -> Self:
        """The same with the images at `chosen` alone."""
        ends = np.cumsum(self.objects.counts)
        counts = self.objects.counts[chosen]
        before = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) + np.repeat(ends[chosen] - counts - before, counts)
        return self._replace(
            names=[self.names[at] for at in chosen],
            places=[self.places[at] for at in chosen],
            indices=self.indices[chosen],
            sizes=self.sizes[chosen],
            objects=Objects(counts, *(np.asarray(values)[rows] for values in self.objects[1:])),
            masks=self.masks and self.masks.subset(rows),
        )


def read_contents(file: Path, name: str, findings: Findings, *, masks: bool) -> Contents:
    """All of a file; `name` is what findings call it.

    `masks`: whether masks are asked for; then an annotation counts if its mask is of use, whatever its box is, and else
    if its box is of use, whatever its mask is. Raises DataError for a file that is not COCO's JSON.
    """
    collecting = gc.isenabled()
    gc.disable()  # it would look through millions of new objects again and again, and find nothing
    try:
        document, line = parse(file)
        if line:
            text = (
                f"line {line} holds NaN or Infinity, words that JSON doesn't have: other programs may refuse the file"
            )
            findings.note("NOT_JSON", name, text, place=f"line {line}", action="noted")
        return _read(document, name, findings, masks)
    finally:
        if collecting:
            gc.enable()


def read_class_names(file: Path) -> list[str]:
    """Names of the classes of a file, by number; raises DataError as `read_contents` does."""
    categories = read_categories(file)
    return _categories(categories, _Notes(Findings(), file.name, "category", categories))[0]


# --- images and categories --------------------------------------------------------------------------------------------


class _Notes:
    """Findings about the entries of one section."""

    def __init__(self, findings: Findings, file: str, noun: str, entries: Sequence[Any]) -> None:
        self._findings, self._file, self._noun, self._entries = findings, file, noun, entries

    def __call__(
        self, index: int, code: str, text: str, action: Action = "left out", value: Sequence[float] | None = None
    ) -> None:
        place = self.place(index)
        self._findings.note(code, self._file, text, place=place, action=action, index=index, value=value)

    def place(self, index: int) -> str:
        """What people call an entry: "image 17"."""
        entry = self._entries[index]
        named = type(entry) is dict and entry.get("id") is not None
        return f"{self._noun} {shown(entry['id'])}" if named else f"{self._noun} at position {index}"

    def once(self, code: str, indices: Sequence[int], text: str) -> None:
        """One finding for many entries that are used as they are."""
        if indices:
            more = f", as do {len(indices) - 1} more" if len(indices) > 1 else ""
            self(indices[0], code, text + more, "noted")


def _read(document: dict[str, Any], name: str, findings: Findings, with_masks: bool) -> Contents:
    images, categories = document["images"], document["categories"]
    noted = _Notes(findings, name, "image", images)
    image_rows, kept = _images(images, noted)
    class_names, class_rows = _categories(categories, _Notes(findings, name, "category", categories))
    sizes = _sizes(images, kept, noted)
    annotations = document["annotations"]
    reader = _Annotations(annotations, _Notes(findings, name, "annotation", annotations))
    objects, masks = reader.read(image_rows, class_rows, sizes, with_masks)
    names = [os.path.normpath(images[index]["file_name"]) for index in kept]
    places = [noted.place(index) for index in kept]
    return Contents(names, places, np.array(kept, np.int64), sizes, class_names, objects, masks)


def _images(entries: Sequence[Any], noted: _Notes) -> tuple[dict[int | str, int], list[int]]:
    """The row of each id, and which entries are kept, one a row."""
    keys = _keys(entries, "id", noted)
    conflicts = _conflicts(keys, entries, "file_name")
    rows: dict[int | str, int] = {}
    kept: list[int] = []
    files: dict[str, int] = {}
    for index, (key, entry) in enumerate(zip(keys, entries, strict=True)):
        if _unusable(index, key, entry, "file_name", noted):
            if key is not None:
                rows.setdefault(key, _GONE)
            continue
        name = os.path.normpath(entry["file_name"])
        if key in conflicts or leaves_root(entry["file_name"]):
            rows[key] = _GONE
            code, text = (
                (
                    "DUPLICATE_ID",
                    f"is {shown(name)}, and another image has its id: nobody can tell whose the objects are",
                )
                if key in conflicts
                else (
                    "LEAVES_ROOT",
                    f"{shown(entry['file_name'])} leaves the data set's folder: expected a path below it",
                )
            )
            noted(index, code, text, "refused")
        elif key in rows:
            noted(index, "DUPLICATE_ENTRY", "is in the file already, with the same id and name")
        elif name in files:
            rows[key] = files[name]
            text = f"is {shown(name)}, as {noted.place(kept[files[name]])} is: its objects are counted to that one"
            noted(index, "DUPLICATE_FILE", text, "mended", [kept[files[name]]])
        else:
            rows[key] = files[name] = len(kept)
            kept.append(index)
    return rows, kept


def _categories(entries: Sequence[Any], noted: _Notes) -> tuple[list[str], dict[int | str, int]]:
    """Names by class number, and the class number of each id: in the order of the ids, numbers before text."""
    keys = _keys(entries, "id", noted)
    conflicts = _conflicts(keys, entries, "name")
    rows: dict[int | str, int] = {}
    names: dict[int | str, str] = {}
    for index, (key, entry) in enumerate(zip(keys, entries, strict=True)):
        if _unusable(index, key, entry, "name", noted):
            if key is not None:
                rows.setdefault(key, _GONE)
            continue
        if key in conflicts:
            rows[key] = _GONE
            text = f"is {shown(entry['name'])}, and another category has its id: nobody can tell which is meant"
            noted(index, "DUPLICATE_ID", text, "refused")
        elif key in names:
            noted(index, "DUPLICATE_ENTRY", "is in the file already, with the same id and name")
        else:
            if entry["name"] in names.values():
                noted(
                    index,
                    "DUPLICATE_NAME",
                    f"is called {shown(entry['name'])}, as another one: they are one class",
                    "noted",
                )
            names[key] = entry["name"]
    ordered = sorted(names, key=lambda key: (type(key) is str, key))
    class_names = list(dict.fromkeys(names[key] for key in ordered))
    return class_names, rows | {key: class_names.index(names[key]) for key in ordered}


def _unusable(index: int, key: int | str | None, entry: Any, field: str, noted: _Notes) -> bool:
    """Whether an image or a category lacks its id or its name; notes it."""
    if type(entry) is not dict:
        noted(index, "BAD_ENTRY", f"is {shown(entry)}: expected an object with id and {field}")
    elif key is None:
        noted(index, "BAD_ID", f"has the id {shown(entry.get('id'))}: expected a whole number")
    elif type(entry.get(field)) is not str or not entry[field]:
        action = "refused" if field == "name" else "left out"  # a class that nobody can name
        noted(index, "NO_NAME", f"has the {field} {shown(entry.get(field))}: expected a text", action)
    else:
        return False
    return True


def _sizes(entries: Sequence[dict[str, Any]], kept: Sequence[int], noted: _Notes) -> np.ndarray:
    sizes = [(_side(entries[index].get("height")), _side(entries[index].get("width"))) for index in kept]
    unknown = [index for index, size in zip(kept, sizes, strict=True) if 0 in size]
    noted.once("NO_SIZE", unknown, "has no width and height that are whole numbers above 0: its file says them")
    return np.array([(0, 0) if 0 in size else size for size in sizes], np.int64).reshape(-1, 2)


def _side(value: Any) -> int:
    """Pixels; 0 for what cannot be a number of them."""
    return int(value) if type(value) in (int, float) and 0 < value < 2**31 and value == int(value) else 0


def _keys(entries: Sequence[Any], field: str, noted: _Notes) -> list[Any]:
    """The ids in a field of all entries, in the form that they are compared in."""
    values = [entry.get(field) if type(entry) is dict else None for entry in entries]
    if set(map(type, values)) <= {int}:
        return values
    keys = [key_of(value) for value in values]
    other = [
        at
        for at, (value, key) in enumerate(zip(values, keys, strict=True))
        if type(value) is not type(key) and key is not None
    ]
    if other:
        noted.once("TEXT_ID", other, f"has the {field} {shown(values[other[0]])}, which is read as {keys[other[0]]}")
    return keys


def _conflicts(keys: Sequence[Any], entries: Sequence[Any], field: str) -> set[Any]:
    """Ids that entries of different names have."""
    if len(set(keys)) == len(keys):
        return set()
    meant = defaultdict(set)
    for key, entry in zip(keys, entries, strict=True):
        if key is not None and type(entry.get(field)) is str:
            meant[key].add(entry[field])
    return {key for key, names in meant.items() if len(names) > 1}


# --- annotations ------------------------------------------------------------------------------------------------------


class _Annotations:
    """The annotations of a file, column by column: a loop over entries runs only where something is wrong with one."""

    def __init__(self, entries: Sequence[Any], noted: _Notes) -> None:
        self._entries = [entry if type(entry) is dict else {} for entry in entries]
        self._noted = noted
        self._alive = np.ones(len(entries), bool)
        if set(map(type, entries)) - {dict}:
            for index, entry in enumerate(entries):
                if type(entry) is not dict:
                    self._leave_out(index, "BAD_ENTRY", f"is {shown(entry)}: expected an object with image_id and bbox")

    def read(
        self, image_rows: dict[int | str, int], class_rows: dict[int | str, int], sizes: np.ndarray, with_masks: bool
    ) -> tuple[Objects, Masks | None]:
        """Objects in the order of the rows of their images, and their masks if asked for."""
        owners = self._rows("image_id", image_rows, "UNKNOWN_IMAGE", "image")
        labels = self._rows("category_id", class_rows, "UNKNOWN_CATEGORY", "category")
        self._check_ids()
        crowd, difficult = self._flags("iscrowd"), self._flags("ignore")
        boxes = np.zeros((len(owners), 4)) if with_masks else self._boxes(owners, sizes)
        if not with_masks:
            merged = len(set(image_rows.values()) - {_GONE}) < sum(row != _GONE for row in image_rows.values())
            if merged:
                self._check_twins(image_rows, owners, labels, boxes)
        masks, rows = self._masks(owners, sizes, with_masks)
        kept = self._alive[rows]
        order = np.argsort(owners[rows[kept]], kind="stable")
        chosen = rows[kept][order]
        objects = Objects(
            np.bincount(owners[chosen], minlength=len(sizes)),
            boxes[chosen].astype(np.float32),
            labels[chosen],
            crowd[chosen],
            difficult[chosen],
            self._areas()[chosen],
        )
        return objects, masks.subset(np.flatnonzero(kept)[order]) if with_masks else None

    def _areas(self) -> np.ndarray:
        """float32 (M,): of masks, by which COCO tells small objects from large ones; NaN where there is no number."""
        values: list[Any] = [entry.get("area") for entry in self._entries]
        known = [value if type(value) in (int, float) and 0 < value < 1e12 else np.nan for value in values]
        return np.array(known, np.float32)

    def _leave_out(self, index: int, code: str, text: str) -> None:
        if self._alive[index]:
            self._noted(index, code, text)
        self._alive[index] = False

    def _rows(self, field: str, known: dict[int | str, int], code: str, noun: str) -> np.ndarray:
        rows = np.array([known.get(key, _UNKNOWN) for key in _keys(self._entries, field, self._noted)], np.int64)
        for index in np.flatnonzero(rows == _UNKNOWN).tolist():
            value = shown(self._entries[index].get(field))
            self._leave_out(index, code, f"belongs to the {noun} {value}, which the file does not have")
        self._alive &= rows >= 0
        return rows

    def _check_ids(self) -> None:
        keys = _keys(self._entries, "id", self._noted)
        if 0 in keys:
            self._noted(keys.index(0), "ZERO_ID", "has the id 0, which pycocotools takes for no match", "noted")
        self._noted.once("NO_ID", [at for at, key in enumerate(keys) if key is None], "has no id")
        if len(set(keys)) == len(keys):
            return
        first: dict[int | str, int] = {}
        for index, key in enumerate(keys):
            if key is None or first.setdefault(key, index) == index:
                continue
            if self._entries[index] == self._entries[first[key]]:
                self._leave_out(index, "DUPLICATE_ENTRY", "is in the file already, word for word")
            else:
                text = "has the id of another object: pycocotools would lose one of the two"
                self._noted(index, "DUPLICATE_ID", text, "noted")

    def _flags(self, field: str) -> np.ndarray:
        values = [entry.get(field, 0) for entry in self._entries]
        if values.count(0) + values.count(1) < len(values):
            for index, value in enumerate(values):
                if value not in (0, 1):
                    values[index] = value not in (None, "", "0", [])
                    text = f"has the {field} {shown(value)}: expected 0 or 1"
                    self._noted(index, f"BAD_{field.upper()}", text, "mended", [float(values[index])])
        return np.array(values, bool)

    def _boxes(self, owners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Boxes of all annotations, xyxy float64; cleaned are those of the living."""
        numbers = array("d")
        for index, entry in enumerate(self._entries):
            box = entry.get("bbox")
            try:
                if len(box) == 4:  # type: ignore[arg-type]  # None has no length
                    numbers.fromlist(box)  # type: ignore[arg-type]  # what is no list of numbers is a TypeError
                    continue
            except (TypeError, OverflowError):
                pass
            self._leave_out(index, "BAD_BOX", f"has the bbox {shown(box)}: expected [x, y, width, height]")
            numbers.extend((0.0, 0.0, 0.0, 0.0))
        boxes = np.frombuffer(numbers, np.float64).reshape(-1, 4).copy()
        with np.errstate(invalid="ignore", over="ignore"):  # infinite ones are found below
            boxes[:, 2:] += boxes[:, :2]
        alive = np.flatnonzero(self._alive)

        def report(row: int, code: str, text: str, action: Action, value: Sequence[float] | None) -> None:
            left, top, right, bottom = value or (0, 0, 0, 0)
            new = None if value is None else [left, top, right - left, bottom - top]
            self._noted(int(alive[row]), code, text, action, new)

        boxes[alive], self._alive[alive] = clean_boxes(boxes[alive], sizes[owners[alive]], report)
        return boxes

    def _check_twins(
        self, image_rows: dict[int | str, int], owners: np.ndarray, labels: np.ndarray, boxes: np.ndarray
    ) -> None:
        """Leave out what an image of several entries has twice: they may have been one file joined with itself."""
        rows = np.array([row for row in image_rows.values() if row != _GONE])
        merged = np.flatnonzero(np.bincount(rows) > 1)
        alive = np.flatnonzero(self._alive & np.isin(owners, merged))
        objects = np.column_stack([owners, labels, boxes])[alive]
        once = np.unique(objects, axis=0, return_index=True)[1]
        for index in np.setdiff1d(alive, alive[once]).tolist():
            self._leave_out(index, "DUPLICATE_OBJECT", "is the same object as another one of its image")

    def _masks(self, owners: np.ndarray, sizes: np.ndarray, asked: bool) -> tuple[Masks, np.ndarray]:
        """The masks of the living, and which annotations these are."""
        rows = np.flatnonzero(self._alive)
        segmentations = [self._entries[index].get("segmentation") for index in rows.tolist()]

        def report(row: int, code: str, text: str) -> None:
            if asked:
                self._leave_out(int(rows[row]), code, text)
            else:
                self._noted(int(rows[row]), code, text, "noted")

        masks, usable = read_masks(segmentations, sizes[owners[rows]], report)
        if asked:
            for index in rows[~usable].tolist():
                self._leave_out(index, "NO_MASK", "has no mask")
        return masks, rows
