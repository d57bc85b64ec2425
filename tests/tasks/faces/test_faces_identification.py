"""Ranks and rates of identification by hand."""

import numpy as np
import pytest

from foveal.core.errors import DataError, NumericalError
from foveal.tasks.faces.identification import (
    Answers,
    answer,
    identification_at_far,
    match_curve,
    rank_rate,
    split_gallery,
)


def turned(*degrees):
    """Embeddings in the plane, by their angle."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_person_is_as_near_as_their_nearest_picture():
    # Person 7 is enrolled at 0 and 90 degrees, person 2 at 30, person 4 at 180.
    found = answer(turned(0, 30, 90, 180), np.array([7, 2, 7, 4]), turned(80, 80, 170), np.array([7, 2, 7]))
    # 80: person 7 is 10 away, 2 is 50, 4 is 100. 170: 4 is 10 away, 7 is 80.
    assert found.ranks.tolist() == [1, 2, 2]
    assert found.distances == pytest.approx(1 - np.cos(np.radians(10)))


def test_who_is_not_enrolled_has_no_rank():
    found = answer(turned(0, 60), np.array([1, 2]), turned(60, 60, 60), np.array([2, 9, 0]))
    assert found.ranks.tolist() == [1, 0, 0]
    assert found.distances == pytest.approx(0, abs=1e-12)


def test_a_network_that_says_the_same_of_everyone_is_last():
    found = answer(turned(*[0] * 5), np.arange(5), turned(0, 0), np.array([0, 4]))
    assert found.ranks.tolist() == [5, 5]


def test_ranks_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    gallery, probes = (rng.normal(size=(count, 8)) for count in (60, 300))  # more than are compared at a time
    people, asked = rng.integers(0, 20, 60), rng.integers(0, 25, 300)
    found = answer(gallery, people, probes, asked)
    for probe, person, rank, distance in zip(probes, asked, found.ranks, found.distances, strict=True):
        best = {name: max(gallery[people == name] @ probe) for name in set(people)}
        wanted = sorted(best, key=lambda name: -best[name])
        assert rank == (wanted.index(person) + 1 if person in best else 0)
        assert distance == pytest.approx(1 - max(best.values()))


def test_rates_of_ranks():
    ranks = np.array([1, 1, 3, 7, 0, 0])
    assert (rank_rate(ranks, 1), rank_rate(ranks, 5)) == (0.5, 0.75)
    assert match_curve(ranks, 7).tolist() == [0.5, 0.5, 0.75, 0.75, 0.75, 0.75, 1]
    assert match_curve(ranks, 2).tolist() == [0.5, 0.5]
    assert rank_rate(np.zeros(3, int), 1) is None


def test_open_set_by_hand():
    # A hundred strangers at 0.01, ... 1: of a tenth of them the nearest person is below 0.11.
    strangers = np.arange(1, 101) / 100
    known = np.array([0.02, 0.05, 0.08, 0.11, 0.3])
    ranks = np.array([1, 2, 1, 1, 1])  # the second is near somebody else
    found = identification_at_far(Answers(np.append(ranks, np.zeros(100, int)), np.append(known, strangers)))
    assert found[0.1] is not None
    assert (found[0.1].rate, found[0.1].threshold, found[0.1].far) == (2 / 5, 0.11, 0.1)
    assert found[0.01] is None


def test_split_of_a_closed_gallery():
    labels = np.array([4, 4, 4, 6, 6, 9])
    found = split_gallery(labels, enrolled=2, seed=5)
    assert sorted(labels[found.gallery]) == [4, 4, 6, 6, 9]
    assert labels[found.known].tolist() == [4]
    assert len(found.unknown) == 0
    assert sorted([*found.gallery, *found.known]) == list(range(6))


def test_split_of_an_open_gallery():
    labels = np.repeat(np.arange(10), 4)
    found = split_gallery(labels, unknown=0.3, seed=1)
    assert (len(found.gallery), len(found.known), len(found.unknown)) == (7, 21, 12)
    assert not set(labels[found.unknown]) & set(labels[found.gallery])
    again, other = (split_gallery(labels, unknown=0.3, seed=seed) for seed in (1, 2))
    assert all(np.array_equal(one, two) for one, two in zip(found, again, strict=True))
    assert not np.array_equal(found.gallery, other.gallery)


def test_any_picture_may_be_enrolled():
    drawn = {int(split_gallery(np.array([0, 0, 0, 1]), seed=seed).gallery[0]) for seed in range(30)}
    assert drawn == {0, 1, 2}


def test_galleries_without_anybody_to_ask_for_are_said():
    with pytest.raises(DataError, match="None of 5 people"):
        split_gallery(np.arange(5))
    with pytest.raises(DataError, match="too few"):
        split_gallery(np.zeros(5, int), unknown=0.5)
    with pytest.raises(DataError, match="Nobody is enrolled"):
        answer(np.zeros((0, 2)), np.zeros(0, int), turned(0), np.zeros(1, int))
    with pytest.raises(NumericalError):
        answer(turned(0), np.zeros(1, int), turned(np.nan), np.zeros(1, int))
