"""Labeled Faces in the Wild: `Ann_Lee/Ann_Lee_0001.jpg`, and `pairs.txt`, which names the pairs to verify, in folds.

The first line of pairs.txt has the number of folds and of pairs, "10 300". Each fold has so many lines of one person
("Ann_Lee 1 4": her images 1 and 4), and then as many of two people ("Ann_Lee 1 Bob_Ray 2"); between them stand tabs.
`pairsDevTrain.txt` and `pairsDevTest.txt`, the development view, are the same with one fold and without its number.

G. B. Huang, M. Ramesh, T. Berg, E. Learned-Miller: Labeled Faces in the Wild, University of Massachusetts, Amherst,
Technical Report 07-49, 2007; README.txt of the data, section 3.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..core.errors import DataError, UsageError
from ..core.images import write_image
from .box_files import Change, copy_file, read_lines
from .files import describe_contents, require_folder
from .findings import Finding, Findings
from .frames import join, walk_folders
from .listing import leaves_root
from .pairs import FaceFiles, draw_people, note_lone_images, number_faces, pairs_to_write
from .splits import require_own_split

_PAIRS = "pairs.txt"
_DEVELOPMENT = {"train": "pairsDevTrain.txt", "test": "pairsDevTest.txt"}
_FOLDS = 10  # of a data set that is written

_Image = tuple[str, int]  # name and number


class _Line(NamedTuple):
    index: int  # of the line, from 0
    fields: list[str]
    fold: int
    same: bool


class _Pair(NamedTuple):
    index: int
    first: _Image
    second: _Image
    fold: int


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> FaceFiles:
    """One split of LFW; people's folders may lie at the root or in one folder of it, such as `lfw/`.

    With pairs.txt, test are the images that it names, with their pairs and folds; train and val are drawn over the
    people whom it does not name, without pairs. Without it, train and test are what pairsDevTrain.txt and
    pairsDevTest.txt name, with their pairs, and val is drawn over people from train. (Where all three are there,
    pairs.txt alone is used: it names people of the development files again.) Pairs whose image is missing are left out;
    lines that are no pair, or too few or many, are refused. Raises DataError where a file of pairs has no proper first
    line or nobody is left for training.
    """
    folder = require_folder(root)
    images = _images(folder, findings)
    if (folder / _PAIRS).is_file():
        pairs = _pairs(folder, _PAIRS, findings)
        if split == "test":
            return _named(folder, _PAIRS, pairs, images, findings)
        return _others(folder, pairs, images, split, fractions, seed, findings)
    own = {name: file for name, file in _DEVELOPMENT.items() if (folder / file).is_file()}
    if not own:
        raise DataError(
            f"There is no pairs.txt in '{folder}', nor pairsDevTrain.txt and pairsDevTest.txt: copy it there, or read "
            "the folder as person_folder."
        )
    file = own[require_own_split(folder, split, own)]
    dataset = _named(folder, file, _pairs(folder, file, findings), images, findings)
    return draw_people(dataset, split, own, fractions, seed, where=folder / file, findings=findings)


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes images as JPEG into a folder a person, and of the test's people pairs.txt with up to ten folds.

    Names must differ over the splits, since all people lie side by side. Raises UsageError for a test that gives no
    pair of one person or none of two.
    """
    counts: dict[int, int] = {}
    written: list[tuple[int, int]] = []  # identity, number
    for sample in samples:
        identity = int(sample["identity"])
        counts[identity] = counts.get(identity, 0) + 1
        written.append((identity, counts[identity]))
        target = root / _file_name(class_names[identity], counts[identity])
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, sample["image"])
    if split == "test":
        (root / _PAIRS).write_text(_table(written, class_names), encoding="utf-8", errors="surrogateescape")


def mend(root: Path, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]) -> list[Change]:
    """A copy of the files of pairs without lines that were left out or refused or have an image in `dropped`.

    Every fold must have equally many pairs of both kinds, so good lines go as well: the last ones of the others.
    """
    folder, log = require_folder(root), []
    images = {image: path for path, image in _images(folder, Findings()).items()}
    for file in (_PAIRS, *_DEVELOPMENT.values()):
        if not (folder / file).is_file():
            continue
        bad = {
            finding.index: finding.text
            for finding in findings
            if finding.file == file and finding.action != "noted" and finding.index
        }
        for pair in _pairs(folder, file, Findings()):
            gone = [dropped[images[image]] for image in pair[1:3] if images.get(image) in dropped]
            if gone:
                bad.setdefault(pair.index, f"an image was dropped, {gone[0]}")
        log += _mend_file(folder, out, file, bad)
    return log


def _file_name(name: str, number: int) -> str:
    return f"{name}/{name}_{number:04d}.jpg"


def _images(folder: Path, findings: Findings) -> dict[str, _Image]:
    """Path -> name and number, of all images that are called so, sorted."""
    found: dict[str, _Image] = {}
    bases = set()
    for part in walk_folders(folder, "", findings):
        base, _, name = part.path.rpartition("/")
        pattern = re.compile(re.escape(name) + r"_([0-9]+)\.[^.]+")
        for image in part.images:
            match = pattern.fullmatch(image)
            if match and name:
                found[join(part.path, image)] = (name, int(match.group(1)))
                bases.add(base)
    if not found:
        raise DataError(
            f"There is no image called like Ann_Lee/Ann_Lee_0001.jpg in '{folder}', only {describe_contents(folder)}."
        )
    if len(bases) > 1:
        held = " and ".join(f"'{base or '.'}'" for base in sorted(bases))
        raise DataError(f"'{folder}' holds people in {held}: move all but one of these folders away.")
    return dict(sorted(found.items()))


# --- the file of pairs ------------------------------------------------------------------------------------------------


def _header(path: Path, lines: Sequence[bytes]) -> tuple[int, int]:
    """Folds, and pairs of each kind in a fold, as the first line says."""
    text = lines[0].decode("utf-8", "replace").strip() if lines else ""
    match = re.fullmatch(r"(?:([0-9]{1,6})\s+)?([0-9]{1,9})", text)
    folds, number = (int(match.group(1) or 1), int(match.group(2))) if match else (0, 0)
    if not folds or not number:
        raise DataError(
            f"'{path}', line 1: '{text[:60]}' is not the number of folds and of pairs of each kind in a fold, such as "
            "10 and 300 with a tab between."
        )
    return folds, number


def _lines(path: Path) -> tuple[list[_Line], int]:
    """The lines of pairs, and how many the first one promises.

    If so, the fold and kind of a line follow from its place. If not, its kind is that of its number of fields, and a
    fold begins where lines of one person follow upon lines of two.
    """
    raw = read_lines(path)
    folds, number = _header(path, raw)
    split = [(index, _fields(line)) for index, line in enumerate(raw) if index and line.strip()]
    if len(split) == folds * 2 * number:
        return [
            _Line(index, fields, place // (2 * number), place % (2 * number) < number)
            for place, (index, fields) in enumerate(split)
        ], len(split)
    lines: list[_Line] = []
    for index, fields in split:
        same = len(fields) <= 3
        fold = lines[-1].fold + (same and not lines[-1].same) if lines else 0
        lines.append(_Line(index, fields, fold, same))
    return lines, folds * 2 * number


def _fields(line: bytes) -> list[str]:
    text = os.fsdecode(line.rstrip(b"\r\n"))
    return [field.strip() for field in text.split("\t")] if "\t" in text else text.split()


def _pairs(folder: Path, file: str, findings: Findings) -> list[_Pair]:
    """The pairs of a file that can be used, whether or not their images are there."""
    lines, promised = _lines(folder / file)
    if len(lines) != promised:
        text = f"the last of {len(lines)} lines of pairs, but line 1 promises {promised} (folds x 2 x pairs)"
        findings.note("WRONG_COUNT", file, text, place=f"line {lines[-1].index + 1 if lines else 1}", action="refused")
    pairs = []
    for line in lines:
        fault = _fault(line)
        if fault is not None:
            code, text = fault
            place = f"line {line.index + 1}"
            findings.note(code, file, text, place=place, action="refused", index=line.index)
        else:
            name, number, *others = line.fields
            second = (name, int(others[0])) if line.same else (others[0], int(others[1]))
            pairs.append(_Pair(line.index, (name, int(number)), second, line.fold))
    return pairs


def _fault(line: _Line) -> tuple[str, str] | None:
    shown = "'" + " ".join(line.fields)[:100] + "'"
    expected = "name, number and number" if line.same else "name, number, name and number"
    numbers = line.fields[1:3] if line.same else line.fields[1::2]
    if len(line.fields) != (3 if line.same else 4) or not all(re.fullmatch("[0-9]{1,9}", text) for text in numbers):
        return "NOT_A_PAIR", f"{shown} is no pair of {'one person' if line.same else 'two people'}: expected {expected}"
    names = line.fields[:1] if line.same else line.fields[::2]
    if any(leaves_root(name) or "/" in name for name in names):
        return "LEAVES_ROOT", f"{shown} names what is no folder of a person"
    if line.same and int(numbers[0]) == int(numbers[1]):
        return "SELF_PAIR", f"{shown} is one image twice"
    if not line.same and names[0] == names[1]:
        return "CONTRADICTION", f"{shown} is one person, among the pairs of two"
    return None


def _named(
    folder: Path, file: str, pairs: Sequence[_Pair], images: Mapping[str, _Image], findings: Findings
) -> FaceFiles:
    """The images that pairs name, and those pairs of which both are there."""
    paths = {image: path for path, image in images.items()}
    used, chosen, folds = set(), [], []
    for pair in pairs:
        missing = [image for image in pair[1:3] if image not in paths]
        if missing:
            text = f"there is no image {_file_name(*missing[0])}"
            findings.note("NO_IMAGE", file, text, place=f"line {pair.index + 1}", index=pair.index)
            continue
        both = paths[pair.first], paths[pair.second]
        used.update(both)
        chosen.append(both)
        folds.append(pair.fold)
    people = {path: name for path, (name, _) in images.items() if path in used}
    return number_faces(folder, people, chosen, folds)


def _others(
    folder: Path,
    pairs: Sequence[_Pair],
    images: Mapping[str, _Image],
    split: str,
    fractions: Sequence[float],
    seed: int,
    findings: Findings,
) -> FaceFiles:
    """Train or val of those whom pairs.txt does not name."""
    tested = {name for pair in pairs for name, _ in pair[1:3]}
    people = {path: name for path, (name, _) in images.items() if name not in tested}
    if not people:
        raise DataError(
            f"Everybody in '{folder}' is in pairs.txt, so nobody is left for {split}: train on other people, and use "
            "this data set for testing."
        )
    note_lone_images(people, findings)
    own = ("train", "test")
    return draw_people(
        number_faces(folder, people, [], []), split, own, fractions, seed, where=folder, findings=findings
    )


# --- writing ----------------------------------------------------------------------------------------------------------


def _table(written: Sequence[tuple[int, int]], class_names: Sequence[str]) -> str:
    """pairs.txt for images (identity, number)."""
    same, different = [], []
    for first, second, alike in pairs_to_write([identity for identity, _ in written]):
        (a, number_a), (b, number_b) = written[first], written[second]
        if alike:
            same.append(f"{class_names[a]}\t{number_a}\t{number_b}\n")
        else:
            different.append(f"{class_names[a]}\t{number_a}\t{class_names[b]}\t{number_b}\n")
    if not same or not different:
        raise UsageError("LFW's pairs.txt needs two people or more, and two images of one: draw more test images.")
    folds = min(_FOLDS, len(same))
    number = -(-max(len(same), len(different)) // folds)
    text = f"{folds}\t{number}\n"
    for fold in range(folds):
        places = range(fold * number, (fold + 1) * number)
        for lines in (same, different):  # the last fold is filled up from the beginning
            text += "".join(lines[place % len(lines)] for place in places)
    return text


def _mend_file(folder: Path, out: Path, file: str, bad: Mapping[int, str]) -> list[Change]:
    lines, promised = _lines(folder / file)
    if len(lines) == promised and not bad:
        copy_file(folder, out, file)
        return []
    log = [(file, f"line {index + 1}", f"removed: {text}") for index, text in sorted(bad.items())]
    raw = read_lines(folder / file)
    blocks: dict[int, tuple[list[int], list[int]]] = {}
    for line in lines:
        if line.index not in bad:
            blocks.setdefault(line.fold, ([], []))[0 if line.same else 1].append(line.index)
    whole_folds = [block for _, block in sorted(blocks.items()) if all(block)]
    number = min((len(part) for block in whole_folds for part in block), default=0)
    kept = [index for block in whole_folds for part in block for index in part[:number]]
    for line in lines:
        if line.index not in bad and line.index not in set(kept):
            text = f"removed: every fold must have as many pairs of each kind, now {number}"
            log.append((file, f"line {line.index + 1}", text))
    header = f"{number}\n" if len(raw[0].split()) == 1 else f"{len(whole_folds)}\t{number}\n"
    log.append((file, "line 1", f"set to {' '.join(header.split())}"))
    body = [raw[index] if raw[index].endswith((b"\n", b"\r")) else raw[index] + b"\n" for index in kept]
    copy_file(folder, out, file, header.encode() + b"".join(body))
    return log
