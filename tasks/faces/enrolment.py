"""The people of a folder as a gallery."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ...core.bars import progress
from ...core.errors import DataError, UsageError
from ...core.images import ImageError, read_bytes
from ...core.inputs import Input
from ...core.reading import Reading
from ...core.types import Prediction
from ...datasets.findings import Findings
from ...datasets.groups import own_splits
from ...datasets.person_folder import open_split
from .gallery import Gallery
from .recognition import UNKNOWN


def read_people(folder: str | Path) -> tuple[dict[str, str], list[str]]:
    """Path to name of all images in a folder of people, and what is in it that is of nobody: images in no person's
    folder, and folders without images.

    Raises UsageError for a folder with splits and for a person called unknown, DataError where nobody is there, and
    where one file lies under two names.
    """
    if Path(folder).is_dir() and own_splits(Path(folder)):
        held = ", ".join(own_splits(Path(folder)).values())
        raise UsageError(f"{folder} has the folders {held}, which are no people; give one of them.")
    findings = Findings()
    dataset = open_split(folder, split="test", fractions=(0.0, 0.0, 1.0), seed=0, findings=findings)
    findings.require_usable()
    people = {dataset.path(index): dataset.class_names[dataset.labels[index]] for index in range(len(dataset))}
    if UNKNOWN in dataset.class_names:
        raise UsageError(
            f"{folder} has a person called {UNKNOWN}, as strangers are called; rename or move that folder."
        )
    _refuse_same_files(people)
    return people, [str(finding) for finding in findings if finding.code in ("NO_IMAGE", "NO_PERSON")]


def enroll(task: Any, people: Mapping[str, str], *, batch_size: int = 32) -> tuple[Gallery, list[str]]:
    """The gallery of `people` (path to name) by a FacesTask, in evaluation mode, that was told how to predict; and what
    is wrong with images that are not in it: they can't be read, or show no face, several or a tiny one.

    A person of whom no image is left is not in it either, which is said too; DataError where nobody is left.
    """
    names, rows, problems = [], [], []
    for path, found in _predicted(task, list(people), batch_size):
        if isinstance(found, ImageError):
            problems.append(str(found))
        elif problem := _problem(path, found, task):
            problems.append(problem)
        else:
            names.append(people[path])
            rows.append(found["embedding"] if "embedding" in found else found["embeddings"][0])
    missing = sorted(set(people.values()) - set(names))
    problems += [f"'{name}': of this person no image can be used" for name in missing]
    if not rows:
        raise DataError(f"Of {len(missing)} people no image can be used; the first problem: {problems[0]}.")
    return Gallery(names, torch.stack(rows), task.fingerprint), problems


def _refuse_same_files(people: Mapping[str, str]) -> None:
    seen: dict[bytes, str] = {}
    for path in people:
        try:
            digest = hashlib.blake2b(read_bytes(path), digest_size=16).digest()
        except ImageError:
            continue  # said when it is to be embedded
        other = seen.setdefault(digest, path)
        if people[other] != people[path]:
            raise DataError(
                f"'{other}' and '{path}' are the same file, of '{people[other]}' and of '{people[path]}': one of them "
                "is wrong; remove it."
            )


def _predicted(task: Any, paths: Sequence[str], batch_size: int) -> list[tuple[str, Prediction | ImageError]]:
    """Of each path, in their order, its prediction, or the ImageError of one that can't be read."""
    reading = Reading((task.transform("none"),), batch_size=batch_size, preprocessings=(task.preprocessing,))
    found: dict[str, Prediction | ImageError] = {}
    starts = range(0, len(paths), batch_size)
    with torch.inference_mode():
        for start in progress(starts, "enroll"):
            job = [Input(path, path) for path in paths[start : start + batch_size]]
            for done in reading(job, lambda _: None, lambda: None):
                found |= {os.fsdecode(failure.path): failure for failure in done.value.failures}
                for (batch,) in done.value.parts(task.device, batch_size):
                    plain = {key: value for key, value in batch.items() if key != "part"}
                    found |= {prediction["path"]: prediction for prediction in task.predict(plain)}
    return [(path, found[path]) for path in paths]


def _problem(path: str, found: Prediction, task: Any) -> str | None:
    if "embeddings" in found and len(found["embeddings"]) != 1:
        count = len(found["embeddings"])
        return f"'{path}': {f'{count} faces are' if count else 'no face is'} found in it, and enrolment needs one"
    sides = found["boxes"][0, 2:] - found["boxes"][0, :2] if "boxes" in found else torch.tensor(found["size"]).float()
    if sides.min() < task.least_side:
        return f"'{path}': its face is {sides.min():.0f} pixels wide, too few of the {task.seen['size']} of the network"
    return None
