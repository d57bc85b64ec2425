"""Who it is: how often the right one of many people comes first, and how often somebody unknown is taken for one.

The *gallery* holds pictures of people with names, *probes* are pictures of whom is asked for. A person is as similar to
a probe as the most similar of their pictures. Closed set: everyone asked for is in the gallery. Open set: some are not,
and an answer counts from a threshold on, which depends on how many people there are: it is not that of verification.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...core.errors import DataError, NumericalError
from .far import FARS, Rate, rate_at_far

_PROBES = 256  # at a time


class Split(NamedTuple):
    """Which pictures are enrolled and which are asked for, by their numbers; none is in two of them."""

    gallery: np.ndarray  # int64 (G,)
    known: np.ndarray  # int64 (K,), probes whose person is in the gallery
    unknown: np.ndarray  # int64 (U,), probes whose person is not


class Answers(NamedTuple):
    """What a gallery says of each probe, on its own scale of distances, 1 - cosine."""

    ranks: np.ndarray  # int64 (Q,), of the right person, from 1; 0 where they are not in the gallery
    distances: np.ndarray  # float64 (Q,), of the nearest person


def split_gallery(labels: np.ndarray, *, enrolled: int = 1, unknown: float = 0.0, seed: int = 0) -> Split:
    """Draw who is enrolled and with which pictures.

    Args:
        labels: int (N,), whom each picture shows.
        enrolled: pictures of each person in the gallery. Who has no more than that is in it, and is not asked for.
        unknown: share of people who are not enrolled; all of their pictures are asked for. Not all, and not none
            unless it is 0.
        seed: the split is a function of it and of the other arguments.

    Raises DataError where nobody who is enrolled could be asked for, or where too few people are left.
    """
    assert enrolled > 0 and 0 <= unknown < 1, (enrolled, unknown)
    labels = np.asarray(labels, np.int64)
    people = np.unique(labels)
    rng = np.random.default_rng((seed, 1))
    strangers = rng.permutation(people)[: max(1, round(unknown * len(people))) if unknown else 0]
    if len(strangers) >= len(people):
        raise DataError(f"{len(people)} people are too few for a gallery without {unknown:g} of them.")
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    turn = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])  # of each picture, among its person's
    stranger = np.isin(labels[order], strangers)
    gallery, known, unknown_probes = (
        np.sort(order[there]) for there in (~stranger & (turn < enrolled), ~stranger & (turn >= enrolled), stranger)
    )
    if not len(known):
        raise DataError(
            f"None of {len(people) - len(strangers)} people in the gallery has more than {enrolled} pictures, so that "
            "nobody can be asked for; identification needs two pictures of some."
        )
    return Split(gallery, known, unknown_probes)


def answer(gallery: np.ndarray, gallery_people: np.ndarray, probes: np.ndarray, probe_people: np.ndarray) -> Answers:
    """Compare each probe with everyone enrolled.

    `gallery` and `probes`: float (G, D) and (Q, D), embeddings of unit length; `gallery_people`, `probe_people`: int,
    whom they show. Of people who are as similar as the right one all come before them, so that a network that says the
    same of everyone is last, not first. Raises NumericalError for embeddings that are NaN, DataError for no gallery.
    """
    gallery, probes = (np.asarray(each, np.float64) for each in (gallery, probes))
    if not len(gallery):
        raise DataError("Nobody is enrolled: the gallery has no embeddings.")
    if np.isnan(gallery).any() or np.isnan(probes).any():
        raise NumericalError("There are embeddings that are NaN; the network has diverged.")
    order = np.argsort(gallery_people, kind="stable")
    people, starts = np.unique(np.asarray(gallery_people)[order], return_index=True)
    columns = np.searchsorted(people, probe_people)
    inside = people[np.minimum(columns, len(people) - 1)] == probe_people
    ranks, distances = np.zeros(len(probes), np.int64), np.zeros(len(probes))
    for first in range(0, len(probes), _PROBES):
        part = slice(first, first + _PROBES)
        similarities = np.maximum.reduceat(probes[part] @ gallery[order].T, starts, axis=1)
        right = np.take_along_axis(similarities, np.where(inside[part], columns[part], 0)[:, None], axis=1)
        ranks[part] = np.where(inside[part], (similarities >= right).sum(axis=1), 0)
        distances[part] = 1 - similarities.max(axis=1)
    return Answers(ranks, distances)


def rank_rate(ranks: np.ndarray, k: int) -> float | None:
    """Share of probes whose person is among the first `k`, of those in the gallery (rank above 0); None for none."""
    there = ranks[ranks > 0]
    return float(np.mean(there <= k)) if len(there) else None


def match_curve(ranks: np.ndarray, length: int) -> np.ndarray:
    """Float64 (length,): `rank_rate` of 1, 2, ... (the CMC: cumulative match characteristic); 0 without such probes."""
    there = ranks[ranks > 0]
    counts = np.bincount(np.minimum(there, length + 1), minlength=length + 2)[1 : length + 1]
    return np.cumsum(counts) / max(1, len(there))


def identification_at_far(answers: Answers, fars: Sequence[float] = FARS) -> dict[float, Rate | None]:
    """The detection and identification rate at each FAR (Phillips, Grother and Micheals 2011, open-set identification).

    The share of probes in the gallery (rank above 0) whose person comes first and is nearer than the threshold; FAR is
    the share of all other probes whose nearest person is. None where there are too few of these for the FAR, see
    far.py, or none in the gallery.
    """
    inside, first = answers.ranks > 0, answers.ranks == 1
    right, strangers = np.sort(answers.distances[first]), np.sort(answers.distances[~inside])
    return {far: rate_at_far(right, strangers, far, int(inside.sum())) for far in fars}
