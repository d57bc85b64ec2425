"""Pascal VOC's folder of boxes: an XML file an image (Everingham et al., "The Pascal Visual Object Classes Challenge",
2010; the development kit's section on annotations).

Its pixels are counted from 1, and a box holds both of its ends: the minima become 1 less, the maxima stay as they are,
and (1, 1, W, H) is the whole image. A box that ends where it begins is taken for a slip of the hand, not for a box of
one pixel, and left out. Classes are the sorted names of the training part.
"""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape

import numpy as np

from ..core.images import write_image
from .boxes import BoxFiles, Objects, Report, clean_boxes
from .files import images_below, require_folder
from .findings import Action, Finding, Findings
from .splits import part_of_own_split, random_split, require_own_split
from .voc_layout import LISTS, XML, Pair, copy_list, find_pairs, find_sources, stem

_SIDES = ("xmin", "ymin", "xmax", "ymax")


class _Contents(NamedTuple):
    """What the XML files of N images say of M objects, as it is written."""

    pairs: list[Pair]  # (N,)
    sizes: np.ndarray  # int64 (N, 2), (H, W); 0 where the file doesn't say
    owners: np.ndarray  # int64 (M,), rows of `pairs`
    positions: np.ndarray  # int64 (M,), of the object among those of its file
    names: list[str]  # (M,)
    boxes: np.ndarray  # float64 (M, 4), xmin, ymin, xmax, ymax
    difficult: np.ndarray  # bool (M,)


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> BoxFiles:
    """One split of a folder in VOC's manner.

    Three layouts: `Annotations/` and `JPEGImages/` (or `annotations/` and `images/`), whose splits are lists in
    `ImageSets/Main/` or else drawn; `train/`, `val/` and `test/` with images and XML files in each; images and XML
    files beside each other, as LabelImg writes them, whose splits are drawn. Raises UsageError for a root that is not
    there, DataError where there is no such layout, MissingSplit for a test that the set's own splits lack.
    """
    folder = require_folder(root)
    own = find_sources(folder)
    source = "" if "" in own else require_own_split(folder, split, own)
    contents = _read(folder, find_pairs(folder, own[source], findings), findings)
    of_train = contents
    if source not in ("", "train") and "train" in own:
        unsaid = Findings()
        of_train = _read(folder, find_pairs(folder, own["train"], unsaid), unsaid)
    dataset = _dataset(folder, contents, sorted(set(of_train.names)), findings)
    if source == "":
        chosen = random_split(len(dataset), fractions, seed)[split]
    else:
        chosen = part_of_own_split(len(dataset), split, own, fractions, seed)
    return dataset if len(chosen) == len(dataset) else dataset.subset(chosen)


# --- XML --------------------------------------------------------------------------------------------------------------


def _read(folder: Path, pairs: Sequence[Pair], findings: Findings) -> _Contents:
    """What all XML files say; those that are damaged are noted, and left out with their images."""
    kept, sizes, owners, positions, names, boxes, difficult = [], [], [], [], [], [], []
    for image, file in pairs:
        root = _parse(folder, file, findings)
        if root is None:
            continue
        kept.append((image, file))
        sizes.append(_size(root))
        for position, entry in enumerate(root.iterfind("object")):
            found = _object(entry, file, position, findings)
            if found is not None:
                owners.append(len(kept) - 1)
                positions.append(position)
                names.append(found[0])
                boxes.append(found[1])
                difficult.append(found[2])
    return _Contents(
        kept,
        np.array(sizes, np.int64).reshape(-1, 2),
        np.array(owners, np.int64),
        np.array(positions, np.int64),
        names,
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(difficult, bool),
    )


def _parse(folder: Path, file: str, findings: Findings) -> ElementTree.Element | None:
    """The root of an XML file, or None for one that cannot be used."""
    try:
        data = (folder / file).read_bytes()
    except OSError as error:
        findings.note("UNREADABLE", file, f"cannot be read: {error.strerror}")
        return None
    # An entity may stand for gigabytes, or for another file. Text of 16 bits a letter could hide one from this search.
    if b"\0" in data or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        text = "is not UTF-8 text" if b"\0" in data else "declares a document type, which may hold entities"
        findings.note("UNSAFE_XML", file, f"{text}: expected plain XML as annotation tools write it", action="refused")
        return None
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two: an encoding that Python lacks
        line = error.position[0] if isinstance(error, ElementTree.ParseError) else 1
        findings.note("DAMAGED", file, f"is not XML ({error}): correct it, or copy it again", place=f"line {line}")
        return None
    if root.tag != "annotation":
        findings.note("DAMAGED", file, f"begins with <{root.tag}>: expected <annotation>", place="line 1")
        return None
    return root


def _size(root: ElementTree.Element) -> tuple[int, int]:
    """(H, W), or 0, 0 where the file doesn't say or says nothing of use: then the image's head does."""
    height, width = (_number(root.findtext(f"size/{side}")) or 0 for side in ("height", "width"))
    return (int(height), int(width)) if 0 < height < 2**31 and 0 < width < 2**31 else (0, 0)


def _object(
    entry: ElementTree.Element, file: str, position: int, findings: Findings
) -> tuple[str, list[float], bool] | None:
    """Name, box as written and whether it is difficult; None for what is no object."""
    place = f"object {position + 1}"
    name = (entry.findtext("name") or "").strip()
    if not name:
        findings.note("NO_NAME", file, "has no <name>: expected the name of its class", place=place, index=position)
        return None
    texts = [entry.findtext(f"bndbox/{side}") for side in _SIDES]
    box = [number for text in texts if (number := _number(text)) is not None]
    if len(box) < len(texts):
        said = ", ".join(f"{side} {text}" for side, text in zip(_SIDES, texts, strict=True))
        findings.note("BAD_BOX", file, f"has the box {said}: expected four numbers", place=place, index=position)
        return None
    said = (entry.findtext("difficult") or "0").strip()
    if said not in ("0", "1"):
        text = f"has <difficult> {said}: expected 0 or 1"
        difficult = said.lower() in ("true", "yes")
        findings.note(
            "BAD_DIFFICULT", file, text, place=place, action="mended", index=position, value=[float(difficult)]
        )
        return name, box, difficult
    return name, box, said == "1"


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _dataset(folder: Path, contents: _Contents, class_names: list[str], findings: Findings) -> BoxFiles:
    """The data set, without the objects that are of no use."""
    owners, sizes = contents.owners, contents.sizes

    def report(row: int, code: str, text: str, action: Action, value: Sequence[float] | None) -> None:
        position = int(contents.positions[row])
        place, file = f"object {position + 1}", contents.pairs[owners[row]][1]
        new = None if value is None else [value[0] + 1, value[1] + 1, value[2], value[3]]
        findings.note(code, file, text, place=place, action=action, index=position, value=new)

    numbers = {name: number for number, name in enumerate(class_names)}
    labels = np.array([numbers.get(name, -1) for name in contents.names], np.int64)
    for row in np.flatnonzero(labels < 0).tolist():
        report(row, "UNKNOWN_CATEGORY", f"is a '{contents.names[row]}', which no training image has", "left out", None)
    # Both ends belong to a box, so one without area has, once it is converted, one pixel; it is looked at as written.
    alive = _not_empty(contents.boxes, labels >= 0, report)
    boxes = contents.boxes - [1, 1, 0, 0]
    rows = np.flatnonzero(alive)
    boxes[rows], alive[rows] = clean_boxes(
        boxes[rows], sizes[owners[rows]], lambda row, *fault: report(int(rows[row]), *fault)
    )
    rows = np.flatnonzero(alive)
    objects = Objects(
        np.bincount(owners[rows], minlength=len(sizes)),
        boxes[rows].astype(np.float32),
        labels[rows],
        np.zeros(len(rows), bool),
        contents.difficult[rows],
    )
    return BoxFiles(folder, [image for image, _ in contents.pairs], class_names, objects, sizes=sizes)


def _not_empty(boxes: np.ndarray, alive: np.ndarray, report: Report) -> np.ndarray:
    """Which of the boxes that are alive, as written, end behind where they begin: bool (M,)."""
    with np.errstate(invalid="ignore"):
        extent = boxes[:, 2:] - boxes[:, :2]
    for code, bad, what in (
        ("INVERTED", (extent < 0).any(axis=1), "ends before it begins"),
        ("NO_AREA", (extent == 0).any(axis=1), "has no area"),
    ):
        for row in np.flatnonzero(alive & bad).tolist():
            shown = ", ".join(f"{number:g}" for number in boxes[row].tolist())
            report(row, code, f"the box ({shown}) {what}", "left out", None)
        alive = alive & ~bad
    return alive


# --- writing ----------------------------------------------------------------------------------------------------------


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Samples as `Annotations/<split>_000000.xml`, `JPEGImages/<split>_000000.jpg` and `ImageSets/Main/<split>.txt`.

    VOC has no word for a crowd: such a box becomes one like the others. Nor has it one for a box of one pixel in width
    or height, which would be taken for a slip: such an object is not written.
    """
    for folder in ("Annotations", "JPEGImages", LISTS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    names = []
    for number, sample in enumerate(samples):
        names.append(f"{split}_{number:06d}")
        write_image(root / "JPEGImages" / f"{names[-1]}.jpg", sample["image"])
        (root / "Annotations" / f"{names[-1]}.xml").write_text(_xml(names[-1], sample, class_names), encoding="utf-8")
    (root / LISTS / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


def _xml(name: str, sample: Mapping[str, Any], class_names: Sequence[str]) -> str:
    height, width = sample["image"].shape[:2]
    size = f"<width>{width}</width><height>{height}</height><depth>3</depth>"
    lines = ["<annotation>", f"  <filename>{name}.jpg</filename>", f"  <size>{size}</size>"]
    truths = (sample[key].tolist() for key in ("boxes", "labels", "difficult"))
    for (left, top, right, bottom), label, difficult in zip(*truths, strict=True):
        if right - left <= 1 or bottom - top <= 1:
            continue
        box = zip(_SIDES, (left + 1, top + 1, right, bottom), strict=True)
        lines += [
            "  <object>",
            f"    <name>{escape(class_names[int(label)])}</name>",
            f"    <difficult>{int(difficult)}</difficult>",
            "    <bndbox>" + "".join(f"<{side}>{_shortest(number)}</{side}>" for side, number in box) + "</bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def _shortest(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


# --- mending ----------------------------------------------------------------------------------------------------------


def mend(
    root: str | os.PathLike, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Write the XML files and lists of a data set into `out`, without the faults that `findings` name and the images
    `dropped`.

    XML that cannot be used is not written, and no list names it. Returns one (file, place, change) for each change.
    """
    folder = require_folder(root)
    sources = find_sources(folder)
    files = dict(pair for source in sources.values() for pair in find_pairs(folder, source, Findings()))
    changes: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.action != "noted":
            changes.setdefault(finding.file, []).append(finding)
    removed = {file: found[0].text for file, found in changes.items() if found[0].index is None}
    removed |= {files[path]: reason for path, reason in dropped.items() if path in files}
    log = [(file, "", f"removed: {reason}") for file, reason in removed.items()]
    # An image without its XML file would be a fault of the copy.
    log += [(image, "", "left out: its XML file is") for image, file in files.items() if file in removed]
    for file in images_below(folder, XML):
        if file not in removed:
            log += _copy_mended(folder, file, out / file, changes.get(file, []))
    annotations = next(iter(sources.values())).annotations
    gone = {stem(os.path.relpath(file, annotations)): reason for file, reason in removed.items()}
    for listed in sorted((folder / LISTS).glob("*.txt")):
        file = os.path.relpath(listed, folder)
        faults = {finding.index: finding.text for finding in changes.get(file, [])}
        log += copy_list(folder, file, out / file, faults, gone)
    return log


def _copy_mended(folder: Path, file: str, target: Path, changes: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """Copy an XML file with some of its objects taken out, or some of their numbers replaced, and else byte by byte."""
    target.parent.mkdir(parents=True, exist_ok=True)
    data = (folder / file).read_bytes()
    objects = _objects_in(data) if changes else []
    log, edits = [], []
    for change in changes:
        assert change.index is not None
        spans = objects[change.index]
        if change.action == "mended":
            assert change.value is not None
            sides = ("difficult",) if change.code == "BAD_DIFFICULT" else tuple(f"bndbox/{side}" for side in _SIDES)
            new = [_shortest(number) for number in change.value]
            edits += [(*spans[side], text.encode()) for side, text in zip(sides, new, strict=True)]
            done = f"{'difficult' if len(sides) == 1 else 'bndbox'} became {', '.join(new)}"
        else:
            start, end = spans[""]
            edits.append((len(data[:start].rstrip()), end, b""))
            done = "removed"
        log.append((file, change.place, f"{done}: {change.text}"))
    for start, end, text in sorted(edits, reverse=True):
        data = data[:start] + text + data[end:]
    target.write_bytes(data)
    return log


def _objects_in(data: bytes) -> list[dict[str, tuple[int, int]]]:
    """Where in a file each object lies (""), tags included, and what stands within the elements below it, by path."""
    parser = expat.ParserCreate()
    above: list[tuple[str, int, int]] = []  # name, where the tag begins, and where it ends
    objects: list[dict[str, tuple[int, int]]] = []

    def begin(name: str, _: Mapping[str, str]) -> None:
        start = parser.CurrentByteIndex
        above.append((name, start, data.index(b">", start) + 1))
        if [each for each, _, _ in above[1:]] == ["object"]:
            objects.append({})

    def end(name: str) -> None:
        path = [each for each, _, _ in above[1:]]
        _, start, inner = above.pop()
        if path == ["object"]:
            objects[-1][""] = (start, data.index(b">", parser.CurrentByteIndex) + 1)
        elif path[:1] == ["object"]:
            objects[-1].setdefault("/".join(path[1:]), (inner, parser.CurrentByteIndex))

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.Parse(data, True)
    return objects
