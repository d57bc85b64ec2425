"""Drawing train, val and test: sizes, fairness to classes, repeatability."""

import numpy as np
import pytest

from foveal.core.errors import DataError, UsageError
from foveal.datasets.splits import split_train, stratified_split


def sizes(labels, fractions=(0.65, 0.10, 0.25)):
    return [len(part) for part in stratified_split(np.asarray(labels), fractions).values()]


def test_the_parts_are_disjoint_complete_and_sorted():
    labels = np.random.default_rng(0).integers(0, 7, 500)
    parts = stratified_split(labels, seed=3)
    assert list(parts) == ["train", "val", "test"]
    assert np.sort(np.concatenate(list(parts.values()))).tolist() == list(range(500))
    for part in parts.values():
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()


def test_totals_and_classes_get_their_share():
    labels = np.repeat(np.arange(40), 10)  # 6.5, 1 and 2.5 of each
    parts = stratified_split(labels)
    assert [len(part) for part in parts.values()] == [260, 40, 100]
    assert set(np.bincount(labels[parts["train"]])) == {6, 7}
    assert set(np.bincount(labels[parts["val"]])) == {1}
    assert set(np.bincount(labels[parts["test"]])) == {2, 3}


def test_a_class_gives_to_every_split_before_fractions_count():
    assert sizes([0] * 1000 + [1] * 3) == [651, 101, 251]
    assert sizes([0, 0, 0, 1, 1, 1]) == [2, 2, 2]


def test_a_share_of_nothing_gets_nothing():
    assert sizes([0] * 10 + [1] * 10, (0.5, 0.5, 0.0)) == [10, 10, 0]
    assert sizes([0, 1], (0.0, 0.0, 1.0)) == [0, 0, 2]


def test_the_draw_is_the_same_everywhere_and_another_with_another_seed():
    parts = stratified_split(np.array([0, 1] * 6), (0.5, 0.25, 0.25), seed=0)
    # Written down once: the raw numbers of PCG64 are the same in every numpy.
    assert {name: part.tolist() for name, part in parts.items()} == {
        "train": [1, 2, 3, 6, 8, 11],
        "val": [0, 4, 7],
        "test": [5, 9, 10],
    }
    other = stratified_split(np.array([0, 1] * 6), (0.5, 0.25, 0.25), seed=1)
    assert other["train"].tolist() != parts["train"].tolist()


def test_val_out_of_train_takes_its_share_of_the_two():
    labels = np.repeat([0, 1], 30)
    val = split_train(labels, "val", (0.65, 0.10, 0.25), 0, ["a", "b"])
    train = split_train(labels, "train", (0.65, 0.10, 0.25), 0, ["a", "b"])
    assert (len(train), len(val)) == (52, 8)  # 60 x 0.10 / 0.75
    assert not set(train) & set(val)
    with pytest.raises(UsageError, match="one of them must be more than 0"):
        split_train(labels, "val", (0, 0, 1), 0, ["a", "b"])


def test_a_class_that_is_too_small_is_named():
    with pytest.raises(DataError, match="Class 'rare' has 1 image, and 3 splits need at least one each: add images"):
        stratified_split(np.array([0, 0, 0, 1]), class_names=["common", "rare"])
    with pytest.raises(DataError, match="Class '1' has 2 images"):
        stratified_split(np.array([0, 0, 0, 1, 1]))


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_are_three_shares_of_one(fractions):
    with pytest.raises(UsageError, match="must be three shares"):
        stratified_split(np.array([0, 1]), fractions)
