"""Images of faces that `foveal predict` compares: two files, or the pairs of a table. Imports no torch."""

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.errors import UsageError
from ..core.folders import digest_of
from ..core.inputs import IMAGE_SUFFIXES, Input, is_video
from ..core.run_folder import PAIRS, write_file

if TYPE_CHECKING:
    import numpy as np


_COLUMNS: Sequence[str] = ("a", "b", "distance", "same", "truth", "problem")  # of the table that is written


class Pair(NamedTuple):
    """Two images, and whether they show one person, where that is known."""

    a: Input
    b: Input
    same: bool | None = None


@dataclass(frozen=True)
class PairList:
    """The pairs of a command line; `digest` changes with what it says."""

    pairs: Sequence[Pair]
    digest: str
    alone: bool  # two files, of which people want a sentence


def find_pairs(paths: Sequence[str]) -> PairList | None:
    """What is to be compared: two image files if these are all there is, or the pairs of one table; else None.

    Raises DataError for a table that can't be used, UsageError for two files that are one.
    """
    if len(paths) == 2 and all(Path(path).suffix.lower() in IMAGE_SUFFIXES and Path(path).is_file() for path in paths):
        if os.path.samefile(*paths):
            raise UsageError(f"{paths[0]} and {paths[1]} are one file: to compare faces takes two.")
        a, b = (Input(path, path) for path in paths)
        return PairList([Pair(a, b)], "", alone=True)
    if len(paths) == 1 and paths[0].lower().endswith(".csv") and Path(paths[0]).is_file():
        return _read(Path(paths[0]))
    return None


def listed_pairs(pairs: PairList | None) -> list[Input] | None:
    """The images of a table, each once, without videos; None where the command line names all images itself."""
    if pairs is None or pairs.alone:
        return None
    return list(dict.fromkeys(image for pair in pairs.pairs for image in pair[:2] if not is_video(image.path)))


def compare(pairs: PairList, task: Any, out: Path, say: Callable[[str], None]) -> int:
    """Write the distances of the pairs to `pairs.csv` in `out`, where the embeddings of all images are, and say what
    came of it; returns how many pairs could not be compared. Nothing is done for a `task` that compares nothing.
    """
    if not task.COMPARES:
        return 0
    found = _read_faces(out / "predictions.jsonl")
    threshold = task.threshold(task.prediction_options.far)
    rows = [_row(pair, found, threshold, task.least_side) for pair in pairs.pairs]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(out / PAIRS, text.getvalue().encode("utf-8", "surrogateescape"))
    problems = [row["problem"] for row in rows if "problem" in row]
    say(problems[0] if pairs.alone and problems else _sentence(rows, threshold, out, alone=pairs.alone))
    return len(problems)


def caution(task: Any) -> str | None:
    """How often a run that has named faces will have named a stranger; None where it named none."""
    naming = getattr(task, "naming", None)
    if naming is None:
        return None
    return (
        f"Named by {len(naming.people)} people; a face of somebody else is taken for one of them in up to "
        f"{100 * naming.mistaken:.3g} % of cases, a FAR of {naming.threshold.far:g} for each embedding of the gallery; "
        "--far makes it less."
    )


# --- what is given ----------------------------------------------------------------------------------------------------


def _read(file: Path) -> PairList:
    from ..datasets.pairs_csv import read_pairs

    pairs = [
        Pair(*(Input(str(file.parent / name), name) for name in names), same=same)  # type: ignore[misc]
        for *names, same in read_pairs(file)
    ]
    return PairList(pairs, digest_of(file), alone=False)


# --- what comes of it -------------------------------------------------------------------------------------------------


class _SeenFace(NamedTuple):
    """A face of an image."""

    embedding: "np.ndarray"  # float64 (D,)
    side: float  # pixels, the shorter one


def _read_faces(lines: Path) -> dict[str, list[_SeenFace]]:
    """Of each image that could be read its faces."""
    import numpy as np

    found = {}
    with lines.open("rb") as file:
        for line in file:
            values = json.loads(line)
            rows = [values["embedding"]] if "embedding" in values else values["embeddings"]
            boxes = values["boxes"] if "embeddings" in values else [(0, 0, *values["size"])]
            sides = [min(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes]
            found[values["path"]] = [
                _SeenFace(np.array(row, np.float64), side) for row, side in zip(rows, sides, strict=True)
            ]
    return found


def _row(pair: Pair, found: Mapping[str, list[_SeenFace]], threshold: Any, least_side: float) -> dict[str, Any]:
    row: dict[str, Any] = {"a": pair.a.name, "b": pair.b.name}
    if pair.same is not None:
        row["truth"] = int(pair.same)
    for image in pair[:2]:
        if problem := _problem(image, found.get(image.path), least_side):
            return row | {"problem": problem}
    a, b = (found[image.path][0].embedding for image in pair[:2])
    distance = 1 - float(a @ b) / float((a @ a) ** 0.5 * (b @ b) ** 0.5)  # lines hold six digits
    row["distance"] = f"{distance:.6f}"
    return row | ({"same": int(distance < threshold.distance)} if threshold is not None else {})


def _problem(image: Input, faces: list[_SeenFace] | None, least_side: float) -> str | None:
    """Why an image can't be compared."""
    if is_video(image.path):
        return f"'{image.name}' is a video, and a comparison needs an image"
    if faces is None:
        return f"'{image.name}' could not be read"
    if len(faces) != 1:
        there = f"{len(faces)} faces are" if faces else "no face is"
        return f"'{image.name}': {there} found in it, and a comparison needs one; cut it out"
    if faces[0].side < least_side:
        side = f"{faces[0].side:.0f} pixels wide"
        return f"'{image.name}': its face is {side}; of fewer than {least_side:.0f} nothing can be told"
    return None


def _sentence(rows: Sequence[dict[str, Any]], threshold: Any, out: Path, *, alone: bool) -> str:
    if threshold is None:
        said = (
            f"distance {float(rows[0]['distance']):.3f}"
            if alone
            else f"{sum('distance' in row for row in rows)} distances are in {out / PAIRS}"
        )
        return f"{said}; the checkpoint has no threshold, for its validation had too few pairs of two people."
    limit = f"the threshold {threshold.distance:.3f}, at which {100 * threshold.far:g} % of pairs of two people match"
    if alone:
        (row,) = rows
        verdict = "The same person" if row["same"] else "Two people"
        side = "below" if row["same"] else "not below"
        return f"{verdict}: distance {float(row['distance']):.3f}, {side} {limit}."
    done = [row for row in rows if "same" in row]
    known = [row for row in done if "truth" in row]
    right = sum(row["same"] == row["truth"] for row in known)
    told = f", right for {100 * right / len(known):.2f} % of {len(known)}" if known else ""
    same = sum(row["same"] for row in done)
    return f"{len(done)} pairs compared, {same} of them the same person{told}, by {limit}; {os.fspath(out / PAIRS)}"
