"""Pairs of pictures to verify, drawn from pictures whose people are known.

Imports no torch.
"""

from typing import NamedTuple

import numpy as np

from ...core.errors import DataError


class PeoplePairs(NamedTuple):
    """Pairs of pictures, by their numbers; none twice, none of a picture with itself."""

    first: np.ndarray  # int64 (P,)
    second: np.ndarray  # int64 (P,), larger than `first`
    same: np.ndarray  # bool (P,), whether both are of one person
    folds: np.ndarray  # int64 (P,), 0 to F - 1; no person is in two of them


def draw_pairs(
    labels: np.ndarray, *, positives: int = 3000, negatives: int | None = None, folds: int = 1, seed: int = 0
) -> PeoplePairs:
    """Pairs of pictures of the people `labels` int (N,), each pair as likely as any other of its kind.

    Args:
        labels: whom each picture shows.
        positives: pairs of one person at most; all there are, where there are fewer.
        negatives: pairs of two people at most; None for as many as there are of one.
        folds: people are divided into so many parts at random, with as many people each as can be, and both pictures of
            a pair are from the same part: for LFW's protocol, where a threshold has not seen those it is tested on.
        seed: the pairs are a function of it and of the other arguments.

    A fold has its share of both numbers, or as many as there are. Raises DataError where nobody has two pictures, where
    there is only one person, or where a fold would have fewer than two people.
    """
    labels = np.asarray(labels, np.int64)
    people = np.unique(labels)
    _check(labels, people, folds)
    rng = np.random.default_rng((seed, 0))
    part = rng.permutation(np.arange(len(people)) % folds)[np.searchsorted(people, labels)]
    drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    for fold in range(folds):
        own = np.flatnonzero(part == fold)
        own = own[np.argsort(labels[own], kind="stable")]
        ends = np.searchsorted(labels[own], labels[own], side="right")  # of the pictures of the same person
        places = np.arange(len(own))
        same = _draw(own, places + 1, ends, _share(positives, fold, folds), rng)
        wanted = len(same[0]) if negatives is None else _share(negatives, fold, folds)
        other = _draw(own, ends, np.full(len(own), len(own)), wanted, rng)
        for (first, second), kind in ((same, True), (other, False)):
            drawn.append((first, second, np.full(len(first), kind), np.full(len(first), fold, np.int64)))
    first, second, kinds, parts = (np.concatenate(each) for each in zip(*drawn, strict=True))
    return PeoplePairs(np.minimum(first, second), np.maximum(first, second), kinds, parts)


def _check(labels: np.ndarray, people: np.ndarray, folds: int) -> None:
    assert folds > 0, folds
    if len(people) < 2:
        raise DataError(
            f"{len(labels)} pictures of {len(people)} people make no pairs of two people; verification needs some, in "
            "a folder for each person."
        )
    if len(people) == len(labels):
        raise DataError(
            f"There are {len(people)} people with one picture each, which make no pairs of one person; verification "
            "needs two pictures of some of them."
        )
    if len(people) < 2 * folds:
        raise DataError(
            f"{len(people)} people cannot be divided into {folds} folds of two or more; ask for {len(people) // 2} "
            "folds at most."
        )


def _share(number: int, fold: int, folds: int) -> int:
    return number // folds + (fold < number % folds)


def _draw(
    own: np.ndarray, starts: np.ndarray, ends: np.ndarray, limit: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of picture i of `own` with one from place `starts[i]` to `ends[i]`: `limit` of them, or all there are.

    All of these pairs have numbers, so that drawing is of numbers without repetition.
    """
    counts = np.maximum(ends - starts, 0)
    before = np.cumsum(counts) - counts
    total = int(counts.sum())
    numbers = np.sort(rng.choice(total, limit, replace=False)) if limit < total else np.arange(total)
    places = np.searchsorted(before + counts, numbers, side="right")
    return own[places], own[starts[places] + numbers - before[places]]
