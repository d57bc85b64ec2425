"""Overlaps, errors and curves of trackers by hand."""

import numpy as np
import pytest

from foveal.tasks.tracking.metrics import (
    bounded_overlaps,
    centre_errors,
    cut,
    mean_curves,
    measure_curves,
    normalised_errors,
    normalised_precision_curve,
    overlaps,
    precision_curve,
    success_curve,
)

NOTHING = [np.nan] * 4


def test_overlaps_by_hand():
    truth = [[0, 0, 10, 10]] * 7
    found = [
        [0, 0, 10, 10],  # the same
        [5, 0, 15, 10],  # 50 shared of 150
        [2, 2, 7, 7],  # 25 of 100
        [10, 0, 20, 10],  # touches
        [0, 0, 10, 0],  # empty
        NOTHING,
        [0, 0, np.inf, 10],
    ]
    assert overlaps(np.array(found), np.array(truth)) == pytest.approx([1, 1 / 3, 1 / 4, 0, 0, 0, 0])


def test_empty_or_missing_truth_and_boxes_turned_round_overlap_nothing():
    truth = np.array([[3, 3, 3, 3], NOTHING, [0, 0, 4, 4]])
    found = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [4, 4, 0, 0]])
    assert overlaps(found, truth).tolist() == [0, 0, 0]
    assert overlaps(np.zeros((2, 4)), np.zeros((2, 4))).tolist() == [0, 0]


def test_overlaps_of_many_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (2, 300, 2, 2))
    found, truth = np.concatenate([corners.min(axis=2), corners.max(axis=2)], axis=2)
    for one, other, overlap in zip(found, truth, overlaps(found, truth), strict=True):
        width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
        height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
        areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
        assert overlap == pytest.approx(width * height / (areas - width * height))


def test_centre_errors_by_hand():
    truth = np.array([[0, 0, 20, 10]] * 3)  # its middle is (10, 5)
    found = np.array([[0, 0, 20, 10], [8, 8, 18, 10], NOTHING])  # that of the second (13, 9)
    assert centre_errors(found, truth).tolist() == [0, 5, np.inf]
    # 3 of 20 pixels to the right, 4 of 10 down.
    assert normalised_errors(found, truth) == pytest.approx([0, np.hypot(0.15, 0.4), np.inf])


def test_an_empty_truth_is_infinitely_far_in_shares_of_it():
    assert normalised_errors(np.array([[0, 0, 2, 2]]), np.array([[1, 1, 1, 1]])).tolist() == [np.inf]


def test_success_by_hand():
    # At 0 three of four are above; 0.5 is not above 0.5; 1 is never above 1.
    curve = success_curve(np.array([0.0, 0.5, 0.72, 1.0]))
    assert len(curve) == 21
    assert curve[0] == 0.75 and curve[9] == 0.75 and curve[10] == 0.5 and curve[14] == 0.5 and curve[15] == 0.25
    assert curve[20] == 0
    # 10 thresholds at 3/4, 5 at 2/4, 5 at 1/4, 1 at 0
    assert curve.mean() == pytest.approx((7.5 + 2.5 + 1.25) / 21)


def test_precision_by_hand():
    curve = precision_curve(np.array([0.0, 20.0, 20.5, np.inf]))
    assert len(curve) == 51
    assert curve[0] == 0.25 and curve[19] == 0.25 and curve[20] == 0.5 and curve[21] == 0.75 and curve[50] == 0.75


def test_normalised_precision_by_hand():
    curve = normalised_precision_curve(np.array([0.2, 0.205, 0.6, np.inf]))
    assert len(curve) == 51
    assert curve[19] == 0 and curve[20] == 0.25 and curve[21] == 0.5 and curve[50] == 0.5
    assert curve.mean() == pytest.approx((0.25 + 30 * 0.5) / 51)


def test_the_headlines_of_three_frames():
    truth = np.array([[0, 0, 100, 100]] * 3)
    found = np.array([[0, 0, 100, 100], [20, 0, 120, 100], [30, 0, 130, 100]])  # overlaps 1, 80/120, 70/130
    numbers = measure_curves(found, truth).numbers()
    assert numbers["success"] == pytest.approx((20 + 14 + 11) / 3 / 21)  # above 0, ... 0.95; 0.65; 0.5
    assert numbers["precision"] == pytest.approx(2 / 3)
    assert numbers["normalised_precision"] == pytest.approx((51 + 31 + 21) / 3 / 51)
    assert numbers["normalised_precision_at_0.2"] == pytest.approx(2 / 3)


def test_each_sequence_counts_the_same_in_a_mean():
    truth = np.array([[0, 0, 10, 10]])
    right, wrong = (
        measure_curves(truth, truth),
        measure_curves(np.repeat(truth + 100, 9, axis=0), np.repeat(truth, 9, axis=0)),
    )
    mean = mean_curves([right, wrong])
    assert mean.numbers()["precision"] == 0.5
    assert mean.success.tolist() == [0.5] * 20 + [0]


def test_boxes_are_cut_before_they_overlap():
    found, truth = np.array([[-10, 0, 10, 10], [90, 40, 120, 60]]), np.array([[0, 0, 10, 10], [90, 40, 100, 50]])
    assert cut(found, (50, 100)).tolist() == [[0, 0, 10, 10], [90, 40, 100, 50]]
    assert overlaps(found, truth) == pytest.approx([1 / 2, 1 / 6])
    assert bounded_overlaps(found, truth, (50, 100)).tolist() == [1, 1]


def test_what_lies_outside_overlaps_nothing():
    outside = np.array([[200, 10, 220, 20], NOTHING])
    assert bounded_overlaps(outside, outside, (50, 100)).tolist() == [0, 0]
