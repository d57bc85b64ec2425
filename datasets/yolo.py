"""YOLO's text files of boxes: one beside each image (Redmon's darknet; docs.ultralytics.com/datasets/detect).

A line is the number of a class and the box's centre, width and height, as shares of the image's width and height; with
more numbers it is the outline of an object, x and y of each corner, whose box counts. An image without such a file, or
with an empty one, has no object. The format knows neither crowds nor what is difficult.
"""

import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from ..core.errors import DataError
from ..core.images import write_image
from ..core.options import SPLITS
from .boxes import BoxFiles, Objects, clean_boxes
from .findings import Action, Finding, Findings
from .splits import part_of_own_split, random_split, require_own_split
from .yolo_layout import Layout, find_layout, images_of, label_file, listed_images, resolve

_ROUNDING = 1e-3  # shares of the image: half a pixel of 500
_FARTHEST = 2.0  # corners of an outline may stick out, and are cut; beyond this they are meant in pixels
_EXPECTED = "expected class, x, y, width, height, or a class and x, y of three corners or more"


class _Contents(NamedTuple):
    """What the label files of N images say of M objects."""

    images: list[str]  # (N,)
    owners: np.ndarray  # int64 (M,), rows of `images`
    lines: np.ndarray  # int64 (M,), in their files, from 0
    classes: np.ndarray  # float64 (M,), as written
    boxes: np.ndarray  # float64 (M, 4), xyxy, shares of the image


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> BoxFiles:
    """One split of a data set in YOLO's manner; `root` is a `data.yaml`, or a folder.

    `data.yaml` names the folders, or lists, of images of each split, and the classes. Without one: `images/train/` and
    `labels/train/`, or `train/images/` and `train/labels/`; or `images/` and `labels/`, whose splits are drawn; classes
    are then called as `classes.txt` or `obj.names` says, or by their numbers. Raises UsageError for a root that is not
    there, DataError for files that cannot be used, MissingSplit for a test that the set's own splits lack.
    """
    layout = find_layout(root)
    source = "" if "" in layout.sources else require_own_split(layout.folder, split, layout.sources)
    contents = _read(layout.folder, images_of(layout, source, findings), findings)
    class_names = layout.class_names
    if class_names is None:
        of_train = contents
        if source not in ("", "train") and "train" in layout.sources:
            unsaid = Findings()
            of_train = _read(layout.folder, images_of(layout, "train", unsaid), unsaid)
        class_names = _numbers(of_train.classes)
    dataset = _dataset(layout.folder, contents, class_names, findings)
    if source == "":
        chosen = random_split(len(dataset), fractions, seed)[split]
    else:
        chosen = part_of_own_split(len(dataset), split, layout.sources, fractions, seed)
    return dataset if len(chosen) == len(dataset) else dataset.subset(chosen)


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(folder: Path, images: Sequence[str], findings: Findings) -> _Contents:
    """What the label files of `images` say; an image whose file is no text is noted and left out."""
    kept: list[str] = []
    owners, lines, numbers = array("q"), array("q"), array("d")
    found = False
    for image in images:
        file = label_file(image)
        data = _bytes(folder / file)
        found = found or data is not None
        if data is not None and (b"\0" in data or data[:2] in (b"\xff\xfe", b"\xfe\xff")):
            text = "is not UTF-8 text, but has 16 bits a letter, or none: save it as UTF-8"
            findings.note("NOT_TEXT", file, text)
            continue
        for line, values in _objects(data or b"", file, findings):
            owners.append(len(kept))
            lines.append(line)
            numbers.extend(values)
        kept.append(image)
    if images and not found:
        raise DataError(
            f"No image in '{folder}' has a file of labels: '{images[0]}' would have '{label_file(images[0])}'; put "
            "them there, or pass another folder with --data.root."
        )
    table = np.frombuffer(numbers, np.float64).reshape(-1, 5)
    rows, places = np.array(owners, np.int64), np.array(lines, np.int64)
    return _Contents(kept, rows, places, table[:, 0].copy(), table[:, 1:].copy())


def _bytes(file: Path) -> bytes | None:
    try:
        with open(file, "rb") as opened:
            return opened.read().removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None


def _objects(data: bytes, file: str, findings: Findings) -> list[tuple[int, list[float]]]:
    """Line, from 0, and class and box, xyxy, of each object."""
    objects = []
    seen: dict[bytes, int] = {}
    for line, text in enumerate(data.splitlines()):
        words = text.split()
        if not words:
            continue
        first = seen.setdefault(b" ".join(words), line)
        values = _values(words)
        code, said = "BAD_LINE", ""
        if values is None:
            said = f"'{os.fsdecode(text.strip())[:60]}' has a value that is no number: {_EXPECTED}"
        elif len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
            said = f"has {len(words)} values: {_EXPECTED}"
        elif first != line:
            code, said = "DUPLICATE_ENTRY", f"is line {first + 1} again"
        elif max(values[1:]) > (1 + _ROUNDING if len(words) == 5 else _FARTHEST):
            code = "NOT_NORMALISED"
            said = f"has the value {max(values[1:]):g}: expected shares of the image's width and height, 0 to 1"
        if said or values is None:
            findings.note(code, file, said, place=f"line {line + 1}", index=line)
        else:
            objects.append((line, [values[0], *_corners(values[1:])]))
    return objects


def _values(words: Sequence[bytes]) -> list[float] | None:
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def _corners(values: Sequence[float]) -> tuple[float, float, float, float]:
    """The box, xyxy, of a centre, width and height, or of an outline."""
    if len(values) == 4:
        x, y, width, height = values
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if any(value != value for value in values):  # min and max would pass a NaN over
        return float("nan"), 0.0, 0.0, 0.0
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


def _numbers(classes: np.ndarray) -> list[str]:
    """Names for classes that nothing names, up to the largest that is used."""
    used = classes[(classes >= 0) & (classes < 2**16) & (classes % 1 == 0)]
    return [str(number) for number in range(int(used.max(initial=-1)) + 1)]


def _dataset(folder: Path, contents: _Contents, class_names: list[str], findings: Findings) -> BoxFiles:
    """The data set, without the objects that are of no use."""
    owners, classes, boxes = contents.owners, contents.classes, contents.boxes

    def report(row: int, code: str, text: str, action: Action, value: Sequence[float] | None) -> None:
        line, file = int(contents.lines[row]), label_file(contents.images[owners[row]])
        findings.note(code, file, text, place=f"line {line + 1}", action=action, index=line, value=value)

    alive = (classes >= 0) & (classes < len(class_names)) & (classes % 1 == 0)
    for row in np.flatnonzero(~alive).tolist():
        text = f"has the class {classes[row]:g}: expected a whole number from 0 to {len(class_names) - 1}"
        report(row, "UNKNOWN_CATEGORY", text, "left out", None)
    rows = np.flatnonzero(alive)
    boxes[rows], alive[rows] = clean_boxes(
        boxes[rows],
        np.ones((len(rows), 2)),
        lambda row, *fault: report(int(rows[row]), *fault),
        rounding=_ROUNDING,
    )
    rows = np.flatnonzero(alive)
    objects = Objects(
        np.bincount(owners[rows], minlength=len(contents.images)),
        boxes[rows].astype(np.float32),
        classes[rows].astype(np.int64),
        np.zeros(len(rows), bool),
        np.zeros(len(rows), bool),
    )
    return BoxFiles(folder, contents.images, class_names, objects, relative=True)


# --- writing ----------------------------------------------------------------------------------------------------------


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Samples as `images/<split>/000000.jpg`, `labels/<split>/000000.txt`, and `data.yaml` with the splits so far."""
    for folder in ("images", "labels"):
        (root / folder / split).mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples):
        height, width = sample["image"].shape[:2]
        write_image(root / "images" / split / f"{number:06d}.jpg", sample["image"])
        lines = [
            f"{label} {(left + right) / 2 / width} {(top + bottom) / 2 / height} {(right - left) / width} "
            f"{(bottom - top) / height}\n"
            for label, (left, top, right, bottom) in zip(sample["labels"], sample["boxes"].tolist(), strict=True)
        ]
        (root / "labels" / split / f"{number:06d}.txt").write_text("".join(lines))
    there = [name for name in SPLITS if (root / "images" / name).is_dir()]
    config = {"path": ".", **{name: f"images/{name}" for name in there}, "names": list(class_names)}
    (root / "data.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


# --- mending ----------------------------------------------------------------------------------------------------------


def mend(
    root: str | os.PathLike, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Write the label files, lists and `data.yaml` of a data set into `out`, without the faults that `findings` name
    and the images `dropped`.

    A file of labels that is no text is not written, and no list names its image. Returns one (file, place, change) for
    each change.
    """
    layout = find_layout(root)
    changes: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.action != "noted":
            changes.setdefault(finding.file, []).append(finding)
    log, gone = [], dict(dropped)
    for image in dict.fromkeys(image for source in layout.sources for image in images_of(layout, source, Findings())):
        file = label_file(image)
        faults = changes.get(file, [])
        if faults and faults[0].index is None:
            gone.setdefault(image, f"{faults[0].text}")
            log.append((image, "", f"left out: so is '{file}'"))
        if image in gone:
            if (layout.folder / file).exists():
                log.append((file, "", f"removed: {gone[image]}"))
        elif (layout.folder / file).exists():
            log += _copy_labels(layout.folder, file, out / file, faults)
    return log + _copy_lists(layout, out, changes, gone)


def _copy_labels(folder: Path, file: str, target: Path, changes: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """Copy a file of labels with some of its lines taken out or cut at the image's border, and else byte by byte."""
    lines = (folder / file).read_bytes().splitlines(keepends=True)
    log = []
    for change in changes:
        assert change.index is not None
        done, new = "removed", b""
        if change.action == "mended":
            words = lines[change.index].split()
            numbers = _cut([float(word) for word in words[1:]], change.value or ())
            new = b" ".join([words[0], *(f"{number:.9g}".encode() for number in numbers)])
            done = f"became '{os.fsdecode(new)}'"
            new += lines[change.index][len(lines[change.index].rstrip()) :]
        lines[change.index] = new
        log.append((file, change.place, f"{done}: {change.text}"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(lines))
    return log


def _cut(numbers: Sequence[float], box: Sequence[float]) -> list[float]:
    """The numbers of a line whose box becomes `box`, xyxy; of an outline, each corner is moved to the border."""
    if len(numbers) > 4:
        return [min(max(number, 0.0), 1.0) for number in numbers]
    left, top, right, bottom = box
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def _copy_lists(
    layout: Layout, out: Path, changes: Mapping[str, Sequence[Finding]], gone: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Copy `data.yaml` and the lists that it names, without lines that leave the folder or name what is gone."""
    if not layout.file:
        return []
    log = []
    entries = [entry for names in layout.sources.values() for entry in names]
    for place in {
        place for entry in entries if (place := resolve(layout, entry)) and (layout.folder / place).is_file()
    }:
        reasons = {change.index: change.text for change in changes.get(place, []) if change.index is not None}
        for index, (_, image) in enumerate(listed_images(layout, place)):
            if image in gone:
                reasons.setdefault(index, gone[image])
        log += _copy_lines(layout.folder, place, out / place, reasons)
    lines = (layout.folder / layout.file).read_bytes().splitlines()
    outside = {entry for entry in entries if resolve(layout, entry) is None}
    said = {index: line.split(b":", 1)[-1].strip(b" -'\"\t").replace(b"\\", b"/") for index, line in enumerate(lines)}
    reasons = {index: "leaves the data set's folder" for index, value in said.items() if os.fsdecode(value) in outside}
    return log + _copy_lines(layout.folder, layout.file, out / layout.file, reasons)


def _copy_lines(folder: Path, file: str, target: Path, reasons: Mapping[int, str]) -> list[tuple[str, str, str]]:
    """Copy a file without the lines that `reasons` gives."""
    lines = (folder / file).read_bytes().splitlines(keepends=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(line for index, line in enumerate(lines) if index not in reasons))
    return [
        (file, f"line {index + 1}", f"removed: {reasons[index]}") for index in range(len(lines)) if index in reasons
    ]
