"""Data sets of faces: image files with the person on each, and pairs of images to be told apart."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from .files import LabelledFiles
from .findings import Findings
from .groups import draw_groups


class FaceFiles(LabelledFiles):
    """Image files with one person each.

    `class_names` are the people, `labels` int64 (N,) the identity of each image. `pairs` int64 (P, 2) are indices of
    images to compare, `folds` int64 (P,) the fold of each pair; both are empty where the format names no pairs. Where
    people are known by pairs alone, as in a table of them, it is not `identified`: two of them may be one.
    """

    TRUTHS = ("labels", "pairs", "folds")
    identified = True

    def __init__(
        self,
        root: str | os.PathLike,
        paths: Sequence[str],
        labels: Sequence[int] | np.ndarray,
        class_names: Sequence[str],
        *,
        pairs: Sequence[tuple[int, int]] | np.ndarray = (),
        folds: Sequence[int] | np.ndarray = (),
    ) -> None:
        super().__init__(root, paths, labels, class_names)
        self.pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
        self.folds = np.asarray(folds, np.int64)

    @property
    def same(self) -> np.ndarray:
        """Whether both images of a pair show one person, bool (P,)."""
        return self.labels[self.pairs[:, 0]] == self.labels[self.pairs[:, 1]]

    def truth(self, index: int) -> dict[str, Any]:
        """`identity`, the number of the person."""
        return {"identity": int(self.labels[index])}

    def subset(self, indices: np.ndarray) -> Self:
        """The same data set with the images at `indices` alone, and the pairs of which both images stay."""
        part = super().subset(indices)
        places = np.full(len(self), -1)
        places[indices] = np.arange(len(part))
        moved = places[self.pairs]
        kept = (moved >= 0).all(axis=1)
        part.pairs, part.folds = moved[kept], self.folds[kept]
        return part


def draw_people(
    dataset: FaceFiles,
    split: str,
    own: Collection[str],
    fractions: Sequence[float],
    seed: int,
    *,
    where: object,
    findings: Findings,
) -> FaceFiles:
    """The people of a split, with all their images: verification is measured on people that training never saw.

    See `draw_groups` for `own` and what is raised. Pairs of two people in unlike splits are in none, which is noted.
    """
    people = draw_groups(dataset.class_names, split, own, fractions, seed, what="people", where=where)
    inside = np.isin(dataset.labels[dataset.pairs], people)
    torn = int(np.count_nonzero(inside[:, 0] != inside[:, 1]))
    if torn:
        text = f"pairs with one image in the split {split} and one in another, which are in neither: {torn}"
        findings.note("TORN_PAIRS", os.path.basename(str(where)), text, action="noted")
    names = [dataset.class_names[person] for person in people]
    return dataset.with_classes(dict(zip(names, names, strict=True)))


def number_faces(
    root: str | os.PathLike, images: Mapping[str, str], pairs: Sequence[tuple[str, str]], folds: Sequence[int]
) -> FaceFiles:
    """A data set of `images` (path -> name of the person), numbered in their order, and of pairs of these paths."""
    places = {path: place for place, path in enumerate(images)}
    names = list(dict.fromkeys(images.values()))
    numbers = {name: number for number, name in enumerate(names)}
    labels = [numbers[name] for name in images.values()]
    indices = [(places[first], places[second]) for first, second in pairs]
    return FaceFiles(root, list(images), labels, names, pairs=indices, folds=folds)


def note_lone_images(images: Mapping[str, str], findings: Findings) -> None:
    """Note people (`images`: path -> name) with a single image: they give no pair of one person to learn from."""
    counts: dict[str, int] = {}
    for name in images.values():
        counts[name] = counts.get(name, 0) + 1
    for path, name in images.items():
        if counts[name] == 1:
            findings.note("ONE_IMAGE", path, f"is the only image of '{name}'", action="noted")


def note_shared_people(
    split: str, people: Collection[str], training: Collection[str], file: str, findings: Findings
) -> None:
    """Note people of val or test whom training shows too."""
    shared = sorted(set(people) & set(training))
    if split != "train" and shared:
        text = (
            f"people of {split} who are in train too: {len(shared)}, such as '{shared[0]}'; a test is of people unseen"
        )
        findings.note("SHARED_PERSON", file, text, action="noted")


def pairs_to_write(identities: Sequence[int]) -> Iterator[tuple[int, int, bool]]:
    """For images of known identity, one behind another: pairs of indices, and whether both show one person.

    Each image is paired with the one before it where that shows the same person, and with one of another person: enough
    to tell from the pairs alone who is who.
    """
    people: dict[int, list[int]] = {}
    for index, identity in enumerate(identities):
        people.setdefault(identity, []).append(index)
    groups, different = list(people.values()), set()
    for number, images in enumerate(groups):
        others = groups[(number + 1) % len(groups)]
        for place, image in enumerate(images):
            if place:
                yield images[place - 1], image, True
            pair = image, others[place % len(others)]
            if len(groups) > 1 and pair[::-1] not in different:
                different.add(pair)
                yield *pair, False
