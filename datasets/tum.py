"""TUM's RGB-D sequences: `rgb.txt` and `depth.txt` list the files of two cameras with the times they were taken at.

Sturm et al., "A Benchmark for the Evaluation of RGB-D SLAM Systems", IROS 2012, and the benchmark's page on file
formats: depth maps are 16-bit PNG, registered to the images, with 5000 steps to the metre. The cameras do not wait for
each other: an image goes with the depth map that is nearest in time.
"""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import DataError
from ..core.images import write_image
from .box_files import Change, copy_file, read_lines
from .depths import SCALE_FILE, draw_scenes, find_scale, read_depth, write_depth, write_scale
from .files import describe_contents, require_folder, subfolders
from .findings import Finding, Findings
from .frames import join
from .groups import own_splits
from .listing import files_there, leaves_root
from .paired import PairedFiles
from .splits import require_own_split

SCALE = 5000.0  # steps of a PNG to the metre
LIMIT = 0.02  # seconds between an image and its depth map: below this, as in the benchmark's associate.py

_IMAGES, _DEPTHS = "rgb.txt", "depth.txt"
_NEIGHBOURS = 32  # maps before an image, and behind it, that may be its own: times in another unit make no huge table
_DRAWN_SCALE = 1000.0  # with TUM's own, 16 bits end at 13.1 metres
_RATE = 30.0  # images a second, as a Kinect takes them


def open_split(
    root: str | os.PathLike,
    *,
    split: str,
    fractions: Sequence[float],
    seed: int,
    findings: Findings,
    depth_scale: float | None = None,
) -> PairedFiles:
    """One split of a sequence, of a folder of sequences at any depth, or of folders train, val and test with such.

    Without such folders whole sequences are drawn, where there are enough; see `draw_scenes`. `depth_scale`: steps of
    whole numbers to the metre, by default those of a `depth_scale.txt` in the sequence or at the root, or 5000. What
    has no partner in time is counted and noted. Raises UsageError for a wrong scale, DataError where no image has a
    partner or scales differ, MissingSplit for a test that is not there.
    """
    folder = require_folder(root)
    own = {} if _is_sequence(folder) else own_splits(folder)
    inside = own[require_own_split(folder, split, own)] if own else ""
    sequences = _sequences(folder, inside)
    pairs = {sequence: _pairs(folder, sequence, findings) for sequence in sequences}
    if not any(pairs.values()):
        raise DataError(_nothing(folder / inside, sequences))
    scale = _scale(folder, [sequence for sequence in sequences if pairs[sequence]], depth_scale)
    scenes = [sequence for sequence in sequences for _ in pairs[sequence]]
    chosen = draw_scenes(scenes, split, own, fractions, seed, where=folder / inside, findings=findings)
    joined = [pair for of_sequence in pairs.values() for pair in of_sequence]
    paths, truths = [joined[index][0] for index in chosen], [joined[index][1] for index in chosen]
    return PairedFiles(folder, paths, truths, partial(read_depth, scale=scale))


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes one sequence a split, `root/split`, of 30 frames a second, with its `depth_scale.txt`.

    A metre has 1000 steps, since TUM's own 5000 would end at 13 metres: depths are right to half a millimetre up to 65
    metres; see `write_depth` for those beyond.
    """
    place = root / split
    for name in ("rgb", "depth"):
        (place / name).mkdir(parents=True, exist_ok=True)
    write_scale(place, _DRAWN_SCALE)
    lists = {_IMAGES: ["# color images\n# timestamp filename\n"], _DEPTHS: ["# depth maps\n# timestamp filename\n"]}
    for number, sample in enumerate(samples):
        time = f"{number / _RATE:.6f}"
        write_image(place / "rgb" / f"{time}.png", sample["image"])
        written = write_depth(place / "depth" / f"{time}.png", sample["depth"], _DRAWN_SCALE)
        lists[_IMAGES].append(f"{time} rgb/{time}.png\n")
        lists[_DEPTHS].append(f"{time} depth/{written.name}\n")
    for name, lines in lists.items():
        (place / name).write_text("".join(lines), encoding="ascii")


def mend(root: Path, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]) -> list[Change]:
    """A copy of the lists without the lines that name what cannot be used; `dropped` are images (path -> reason).

    Sequences in which nothing goes together lose their lists. Returns the log of changes.
    """
    folder = require_folder(root)
    of_file: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.action in ("left out", "refused"):
            of_file.setdefault(finding.file, []).append(finding)
    log = []
    for file in (join(sequence, name) for sequence in _sequences(folder, "") for name in (_IMAGES, _DEPTHS)):
        here, lines = of_file.get(file, []), read_lines(folder / file)
        if any(finding.index is None for finding in here):
            log.append((file, "", "left out: nothing in it can be used"))
            continue
        gone = {finding.index: finding.text for finding in here}
        for index, line in enumerate(lines):
            name = join(os.path.dirname(file), _fields(line)[1])
            if name in dropped:
                gone.setdefault(index, dropped[name])
        if gone:
            copy_file(folder, out, file, b"".join(line for index, line in enumerate(lines) if index not in gone))
        log += [(file, f"line {index + 1}", f"removed: {text}") for index, text in gone.items() if index is not None]
    return log


def associate(images: np.ndarray, depths: np.ndarray, limit: float = LIMIT) -> tuple[np.ndarray, np.ndarray]:
    """Which image goes with which depth map, by their times in seconds, float64 (N,) and (M,), both rising.

    Of all pairs less than `limit` apart the nearest is taken first, then the nearest of what is left, so that each is
    used once: what the benchmark's associate.py does. Returns two of int64 (K,), the former rising.
    """
    middle = np.searchsorted(depths, images)
    first = np.maximum(np.searchsorted(depths, images - limit), middle - _NEIGHBOURS)
    last = np.minimum(np.searchsorted(depths, images + limit, side="right"), middle + _NEIGHBOURS)
    counts = np.maximum(last - first, 0)
    image = np.repeat(np.arange(len(images)), counts)
    depth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
    apart = np.abs(images[image] - depths[depth])
    order = np.lexsort((depth, image, apart))
    order = order[apart[order] < limit]
    partner = np.full(len(images), -1)
    used = np.zeros(len(depths), bool)
    for one, other in zip(image[order].tolist(), depth[order].tolist(), strict=True):
        if partner[one] < 0 and not used[other]:
            partner[one], used[other] = other, True
    found = np.flatnonzero(partner >= 0)
    return found, partner[found]


# --- sequences --------------------------------------------------------------------------------------------------------


def _is_sequence(folder: Path) -> bool:
    return (folder / _IMAGES).is_file() and (folder / _DEPTHS).is_file()


def _sequences(root: Path, inside: str) -> list[str]:
    """The sequences in the folder `inside` of `root`, relative to `root`, each once however many links lead there."""
    found, seen, waiting = [], set(), [inside]
    while waiting:
        path = waiting.pop()
        real = os.path.realpath(root / path)
        if real in seen:
            continue
        seen.add(real)
        if _is_sequence(root / path):
            found.append(path)
            continue
        try:
            waiting += [join(path, name) for name in reversed(subfolders(root / path))]
        except PermissionError:
            raise DataError(f"The folder '{root / path}' may not be read: change its permissions.") from None
    return found


def _nothing(place: Path, sequences: Sequence[str]) -> str:
    if sequences:
        return (
            f"No image of the {len(sequences)} sequence{'s' * (len(sequences) != 1)} in '{place}' was taken within "
            f"{LIMIT} seconds of a depth map: expected times in seconds, of one clock, in {_IMAGES} and {_DEPTHS}."
        )
    return (
        f"There is no sequence in '{place}', only {describe_contents(place)}: expected {_IMAGES} and {_DEPTHS}, which "
        "list the files of rgb/ and depth/ with their times."
    )


def _scale(folder: Path, sequences: Sequence[str], given: float | None) -> float | None:
    usual = find_scale(folder, given, SCALE)
    scales = {find_scale(folder / sequence, given, usual): sequence for sequence in sequences}
    if len(scales) > 1:
        (one, first), (other, second), *_ = scales.items()
        raise DataError(
            f"'{folder}' holds sequences of several scales, {one:g} in '{first}' and {other:g} in '{second}' by their "
            f"{SCALE_FILE}: mix them with data.sources, or say one scale with data.depth_scale."
        )
    return next(iter(scales))


# --- lists ------------------------------------------------------------------------------------------------------------


class _Listed(NamedTuple):
    """The files of a list that are there."""

    times: np.ndarray  # float64 (N,), seconds, rising
    names: list[str]  # relative to the root


def _pairs(folder: Path, sequence: str, findings: Findings) -> list[tuple[str, str]]:
    """The images of a sequence and their depth maps, relative to `folder`, in the order of time."""
    images = _read_list(folder, join(sequence, _IMAGES), "MISSING_IMAGE", findings)
    depths = _read_list(folder, join(sequence, _DEPTHS), "MISSING_DEPTH", findings)
    chosen, partners = associate(images.times, depths.times)
    for file, listed, what, other in (
        (_IMAGES, images, "images", "depth map"),
        (_DEPTHS, depths, "depth maps", "image"),
    ):
        alone = len(listed.names) - len(chosen)
        if alone or not listed.names:
            text = f"{alone} of {len(listed.names)} {what} have no {other} within {LIMIT} seconds"
            action = "noted" if len(chosen) else "left out"
            findings.note("NO_PARTNER", join(sequence, file), text, action=action)
    both = zip(chosen.tolist(), partners.tolist(), strict=True)
    return [(images.names[image], depths.names[depth]) for image, depth in both]


def _read_list(folder: Path, file: str, missing: str, findings: Findings) -> _Listed:
    """What a list names and is there; what else its lines hold is noted, a file that is not there as `missing`."""
    rows: dict[float, tuple[int, str]] = {}
    for index, line in enumerate(read_lines(folder / file)):
        time, name = _fields(line)
        place = f"line {index + 1}"
        if not name and not time:
            continue
        if not math.isfinite(seconds := _seconds(time)) or not name:
            shown = os.fsdecode(line.strip())[:40]
            findings.note("NOT_A_FRAME", file, f"{shown!r}: expected a time and a name", place=place, index=index)
        elif leaves_root(name):
            text = f"'{name}' leaves the folder of the list; write a path below it, like rgb/1.png"
            findings.note("LEAVES_ROOT", file, text, place=place, action="refused", index=index)
        elif seconds in rows:
            text = f"the time {time} is that of line {rows[seconds][0] + 1}, too"
            findings.note("SAME_TIME", file, text, place=place, index=index)
        else:
            rows[seconds] = index, join(os.path.dirname(file), name)
    names = [name for _, name in rows.values()]
    there = files_there(folder, names, findings)
    for (index, name), found in zip(rows.values(), there.tolist(), strict=True):
        if not found:
            findings.note(missing, file, f"there is no file '{name}'", place=f"line {index + 1}", index=index)
    times = np.array(list(rows), np.float64)
    kept = np.flatnonzero(there)
    kept = kept[np.argsort(times[kept], kind="stable")]
    return _Listed(times[kept], [names[index] for index in kept])


def _fields(line: bytes) -> tuple[str, str]:
    """The time and the name in a line of a list; two of "" for a comment."""
    text = os.fsdecode(line.strip())
    if text.startswith("#"):
        return "", ""
    time, _, name = re.sub(r"[\s,]+", " ", text, count=1).partition(" ")
    return time, name


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
