"""Labels and loss of maps of responses, by hand."""

import math

import pytest
import torch

from foveal.tasks.tracking.losses import balanced_logistic, score_labels


def test_the_papers_labels_are_13_of_17_by_17():
    labels = score_labels(17, 8, torch.zeros(1, 2), radius=16)
    assert labels.shape == (1, 1, 17, 17)
    assert labels.sum() == 13  # of the cells at a distance of two at most
    assert labels[0, 0, 6:11, 6:11].tolist() == [
        [0, 0, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 0, 0],
    ]


def test_labels_follow_the_target_by_fractions_of_a_cell():
    # Responses at -8, 0 and 8 pixels. A target at (5, -8) is 5 pixels from 0 and 3 from 8.
    near, wide = (score_labels(3, 8, torch.tensor([[5.0, -8.0]]), radius=radius)[0, 0].tolist() for radius in (3, 5))
    assert near == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert wide == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]


def test_positives_and_negatives_have_half_of_the_weight_each():
    outputs = torch.tensor([[[[0.0, 2.0], [-1.0, 3.0]]]])
    labels = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    negatives = (math.log1p(math.exp(2)) + math.log1p(math.exp(-1)) + math.log1p(math.exp(3))) / 3
    assert balanced_logistic(outputs, labels).item() == pytest.approx((math.log(2) + negatives) / 2)


def test_the_loss_of_maps_is_their_mean():
    outputs = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    labels = torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(1, 1, 2, 2).repeat(2, 1, 1, 1)
    of_one = (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2
    assert balanced_logistic(outputs, labels).item() == pytest.approx((math.log(2) + of_one) / 2)


def test_a_target_that_is_elsewhere_leaves_its_negatives():
    labels = score_labels(3, 8, torch.tensor([[100.0, 0.0]]), radius=16)
    assert labels.sum() == 0
    assert balanced_logistic(torch.zeros(1, 1, 3, 3), labels).item() == pytest.approx(math.log(2) / 2)
