"""Cross-entropy and its variations, against numbers worked out by hand."""

import math

import pytest
import torch

from foveal.tasks.classification.losses import balanced_class_weights, cross_entropy

LOGITS = torch.tensor([[math.log(3.0), 0.0]])  # probabilities 3/4 and 1/4


@pytest.mark.parametrize(("label", "value"), [(0, math.log(4 / 3)), (1, math.log(4))])
def test_one_image(label, value):
    assert cross_entropy(LOGITS, torch.tensor([label])).item() == pytest.approx(value)


def test_label_smoothing_gives_each_class_its_even_share():
    # 0.1 spread over 2 classes: targets 0.95 and 0.05.
    expected = 0.95 * math.log(4 / 3) + 0.05 * math.log(4)
    assert cross_entropy(LOGITS, torch.tensor([0]), label_smoothing=0.1).item() == pytest.approx(expected)


def test_class_weights_weigh_the_mean():
    logits, labels = LOGITS.repeat(2, 1), torch.tensor([0, 1])
    expected = (1 * math.log(4 / 3) + 3 * math.log(4)) / (1 + 3)
    assert cross_entropy(logits, labels, class_weights=torch.tensor([1.0, 3.0])).item() == pytest.approx(expected)


def test_mixed_labels_mix_the_loss():
    mixed = cross_entropy(LOGITS, torch.tensor([[0.7, 0.3]])).item()
    assert mixed == pytest.approx(0.7 * math.log(4 / 3) + 0.3 * math.log(4))


def test_balanced_weights_give_every_class_the_same_total():
    weights = balanced_class_weights([1, 3])
    assert weights.tolist() == pytest.approx([2.0, 2 / 3])  # 4 images / (2 classes * count)
    assert balanced_class_weights([2, 0]).tolist() == [0.5, 0.0]


def test_the_gradient_is_probability_minus_label():
    logits = LOGITS.clone().requires_grad_()
    cross_entropy(logits, torch.tensor([0])).backward()
    assert logits.grad.tolist()[0] == pytest.approx([-0.25, 0.25])
