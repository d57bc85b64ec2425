"""One-to-one matching: by hand, and beside scipy's solver of the same problem."""

import math

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from foveal.tasks.edges.matching import match, match_lists


def row(*columns: int, width: int = 12) -> np.ndarray:
    """An image one pixel high."""
    image = np.zeros((1, width), bool)
    image[0, list(columns)] = True
    return image


def paired(found: np.ndarray, truth: np.ndarray, radius: float) -> list[tuple[int, int]]:
    """The pairs of two rows."""
    pairs = match(found, truth, radius=radius)
    return list(zip(pairs.found[:, 1].tolist(), pairs.truth[:, 1].tolist(), strict=True))


def exact(found: np.ndarray, truth: np.ndarray, radius: float) -> tuple[int, float]:
    """By scipy, on a dense matrix: how many pairs, and the sum of their distances."""
    distances = np.linalg.norm(np.argwhere(found)[:, None] - np.argwhere(truth)[None], axis=-1)
    costs = np.where(distances <= radius, distances, 1e4)
    chosen = costs[linear_sum_assignment(costs)]
    return int((chosen < 1e4).sum()), float(chosen[chosen < 1e4].sum())


def drawn(rng: np.random.Generator, count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Masks of which each has most pixels of the one before, and more."""
    masks, chances, noise = [], rng.random(size), rng.random((count, *size))
    for number in range(count):
        masks.append((chances < 0.4 * (number + 1) / count) & (noise[number] > 0.15))
    return masks


def test_the_nearest_are_paired():
    assert paired(row(3, 9), row(2, 4, 5, 9), radius=3) == [(3, 2), (9, 9)]
    assert paired(row(3, 4), row(4, 5), radius=3) in ([(3, 4), (4, 5)], [(3, 5), (4, 4)])  # both two apart in all


def test_one_pair_more_is_better_than_near_ones():
    # 4 lies on 4, but then 5 would have nobody within 1.
    assert paired(row(4, 5), row(3, 4), radius=1) == [(4, 3), (5, 4)]


def test_a_chain_of_exchanges_finds_the_last_free_pixel():
    # Each has its own place but for the first, which has none: all move on by one.
    assert paired(row(0, 1, 2, 3, 4, 5), row(1, 2, 3, 4, 5, 6), radius=1) == [(n, n + 1) for n in range(6)]


def test_pairs_are_at_most_the_radius_apart():
    found, truth = np.zeros((2, 9, 9), bool)
    found[1, 1] = truth[4, 5] = True
    assert len(match(found, truth, radius=5).found) == 1  # 3, 4 and 5
    assert len(match(found, truth, radius=4.99).found) == 0


@pytest.mark.parametrize("size", [(1, 1), (4, 6)])
def test_nothing_is_matched_with_nothing(size):
    nothing, all_ = np.zeros(size, bool), np.ones(size, bool)
    for found, truth in ((nothing, nothing), (nothing, all_), (all_, nothing)):
        assert match(found, truth, radius=3).found.shape == (0, 2)
    assert len(match(all_, all_, radius=0).found) == math.prod(size)


def test_as_many_and_as_near_as_scipys():
    rng = np.random.default_rng(0)
    for _ in range(80):
        size = rng.integers(1, 30, 2)
        found, truth = (rng.random(size) < 0.5 * rng.random() for _ in range(2))
        radius = 5 * rng.random()
        pairs = match(found, truth, radius=radius)
        distances = np.linalg.norm(pairs.found - pairs.truth, axis=1)
        count, total = exact(found, truth, radius)
        assert len(distances) == count
        assert distances.sum() == pytest.approx(total, abs=count / 1024)  # what distances are rounded to
        assert distances.max(initial=0) <= radius
        for mask, pixels in ((found, pairs.found), (truth, pairs.truth)):
            assert mask[tuple(pixels.T)].all()
            assert len({tuple(pixel) for pixel in pixels.tolist()}) == count  # each in one pair


def test_what_is_left_of_the_last_threshold_changes_no_number():
    rng = np.random.default_rng(1)
    for _ in range(20):
        masks, truth = drawn(rng, 8, (25, 30)), rng.random((25, 30)) < 0.2
        matched, pairs = match_lists([np.flatnonzero(mask).astype(np.int32) for mask in masks], truth, radius=2.5)
        ends = np.cumsum([0, *(mask.sum() for mask in masks)])
        for number, mask in enumerate(masks):
            assert pairs[number] == exact(mask, truth, 2.5)[0]
            here = matched[ends[number] : ends[number + 1]]
            assert here.sum() == pairs[number]
            # Those that were matched can be, without the others.
            alone = np.zeros(mask.shape, bool)
            alone[tuple(np.argwhere(mask)[here].T)] = True
            assert exact(alone, truth, 2.5)[0] == pairs[number]


def test_a_large_image_has_as_many_pairs_as_scipys_maximum():
    rng = np.random.default_rng(2)
    found, truth = (rng.random((150, 200)) < share for share in (0.05, 0.04))
    near = np.linalg.norm(np.argwhere(found)[:, None] - np.argwhere(truth)[None], axis=-1) <= 3.75
    most = (maximum_bipartite_matching(csr_array(near), perm_type="column") >= 0).sum()
    assert len(match(found, truth, radius=3.75).found) == most


def test_the_same_comes_out_every_time():
    rng = np.random.default_rng(3)
    found, truth = rng.random((2, 60, 60)) < 0.3
    first, second = (match(found, truth, radius=3) for _ in range(2))
    assert (first.found == second.found).all()
    assert (first.truth == second.truth).all()
