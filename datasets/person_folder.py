"""A folder a person, with images at any depth: `ann/1.jpg`, or with splits of its own, `train/ann/1.jpg`."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.images import write_image
from .files import describe_contents, require_folder
from .findings import Findings
from .frames import below, join, walk_folders
from .groups import own_splits
from .pairs import FaceFiles, draw_people, note_lone_images, note_shared_people, number_faces
from .splits import require_own_split


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> FaceFiles:
    """One split of a folder of people: from folders train, val and test of people, or drawn over people, not images.

    Val is drawn from train where it has no folder. No pairs are named. Raises DataError where nobody is there, and
    MissingSplit for a test that is not there.
    """
    folder = require_folder(root)
    own = own_splits(folder)
    inside = own[require_own_split(folder, split, own)] if own else ""
    images = _images(folder, inside, findings)
    note_lone_images(images, findings)
    if own and split in own and "train" in own:
        training = [entry.name for entry in os.scandir(folder / own["train"]) if entry.is_dir()]
        note_shared_people(split, images.values(), training, inside, findings)
    dataset = number_faces(folder, images, [], [])
    return draw_people(dataset, split, own, fractions, seed, where=folder / inside, findings=findings)


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes images as JPEG into a folder a person below `root/split`."""
    counts: dict[int, int] = {}
    for sample in samples:
        identity = int(sample["identity"])
        counts[identity] = counts.get(identity, 0) + 1
        target = root / split / class_names[identity] / f"{counts[identity]:04d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, sample["image"])


def _images(folder: Path, inside: str, findings: Findings) -> dict[str, str]:
    """Path -> person, of all images; the person is the first folder below `inside`."""
    found: dict[str, list[str]] = {}
    for part in walk_folders(folder, inside, findings):
        person = below(part.path, inside).partition("/")[0] if part.path != inside else ""
        found.setdefault(person, []).extend(join(part.path, name) for name in part.images)
    loose = found.pop("", [])
    if loose:
        text = f"images in no person's folder, which are not used: {len(loose)}; move them into one"
        findings.note("NO_PERSON", loose[0], text, action="noted")
    for person in [person for person, paths in found.items() if not paths]:
        findings.note("NO_IMAGE", join(inside, person), "there is no image in this person's folder")
    images = {path: person for person, paths in found.items() for path in paths}
    if not images:
        raise DataError(
            f"There is nobody in '{folder / inside}', only {describe_contents(folder / inside)}: expected one folder "
            "per person with images in it."
        )
    return images
