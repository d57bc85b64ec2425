"""Which images of a batch are compared: the definitions, as plain loops over all indices."""

import itertools

import pytest
import torch

from foveal.tasks.faces.mining import batch_all, batch_hard, pairs, semi_hard

BATCHES = {
    "three of each": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    "mixed": [7, 3, 7, 5, 3, 7, 9, 9],
    "one alone": [4, 4, 8],
    "one person": [2, 2, 2],
    "all alone": [0, 1, 2, 3],
    "a single image": [0],
    "nothing": [],
}
batches = pytest.mark.parametrize("people", BATCHES.values(), ids=BATCHES)


def drawn(people, seed=0):
    """Symmetric distances of 0 to 1, no two of them alike."""
    distances = torch.rand(len(people), len(people), generator=torch.Generator().manual_seed(seed)).triu(1)
    return distances + distances.T, torch.tensor(people, dtype=torch.int64)


def definition(people):
    """All (anchor, positive, negative)."""
    return [
        (a, p, n)
        for a, p, n in itertools.product(range(len(people)), repeat=3)
        if a != p and people[a] == people[p] and people[a] != people[n]
    ]


def rows(found):
    assert found.dtype == torch.int64 and found.ndim == 2
    return [tuple(row) for row in found.tolist()]


@batches
def test_each_pair_once(people):
    same, different = pairs(torch.tensor(people, dtype=torch.int64))
    both = list(itertools.combinations(range(len(people)), 2))
    assert rows(same) == [(i, j) for i, j in both if people[i] == people[j]]
    assert rows(different) == [(i, j) for i, j in both if people[i] != people[j]]


@batches
def test_batch_all_has_every_triple(people):
    assert rows(batch_all(torch.tensor(people, dtype=torch.int64))) == definition(people)


def test_the_number_of_triples_of_a_balanced_batch():
    # P people x K images: PK anchors, K - 1 positives, PK - K negatives (Hermans et al. 2017, section 2).
    assert len(batch_all(torch.arange(6).repeat_interleave(4))) == 24 * 3 * 20


@batches
@pytest.mark.parametrize("seed", range(3))
def test_batch_hard_has_the_farthest_positive_and_the_nearest_negative(people, seed):
    distances, identities = drawn(people, seed)
    expected = []
    for anchor in range(len(people)):
        triples = [triple for triple in definition(people) if triple[0] == anchor]
        if triples:
            farthest = max((p for _, p, _ in triples), key=lambda p: distances[anchor, p])
            nearest = min((n for _, _, n in triples), key=lambda n: distances[anchor, n])
            expected.append((anchor, farthest, nearest))
    assert rows(batch_hard(distances, identities)) == expected


@batches
@pytest.mark.parametrize("margin", [0.05, 0.2, 2.0])
def test_semi_hard_has_exactly_the_triples_of_the_definition(people, margin):
    distances, identities = drawn(people)
    expected = [
        (a, p, n) for a, p, n in definition(people) if distances[a, p] < distances[a, n] < distances[a, p] + margin
    ]
    assert rows(semi_hard(distances, identities, margin)) == expected


def test_semi_hard_by_hand():
    # From image 0: its positive at 0.5; negatives nearer, as far, just beyond, at the margin's end, and past it.
    identities = torch.tensor([0, 0, 1, 2, 3, 4, 5])
    distances = torch.full((7, 7), 10.0)
    distances[0] = torch.tensor([0, 0.5, 0.25, 0.5, 0.625, 0.75, 0.875])
    distances[1, 0] = 0.5  # from image 1 all negatives are at 10
    assert rows(semi_hard(distances, identities, margin=0.25)) == [(0, 1, 4)]


def test_images_of_one_person_are_no_negatives_however_far():
    identities = torch.tensor([0, 0, 0, 1])
    distances = torch.tensor([[0, 0.1, 0.2, 0.15], [0.1, 0, 5, 5], [0.2, 5, 0, 5], [0.15, 5, 5, 0]])
    assert rows(semi_hard(distances, identities, margin=0.3)) == [(0, 1, 3)]
    assert rows(batch_hard(distances, identities)) == [(0, 2, 3), (1, 2, 3), (2, 1, 3)]
