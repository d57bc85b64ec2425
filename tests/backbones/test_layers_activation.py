"""Activations by their values and slopes, and the two kinds of output unit."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foveal.backbones.layers import ACTIVATIONS


def slopes(activation: nn.Module, values: list[float]) -> list[float]:
    x = torch.tensor(values, requires_grad=True)
    activation(x).sum().backward()
    return x.grad.tolist()


# What each gives at -1 and at 1, in evaluation.
VALUES = {
    "relu": (0, 1),
    "relu6": (0, 1),
    "leaky_relu": (-0.01, 1),
    "prelu": (-0.25, 1),
    "rrelu": (-(1 / 8 + 1 / 3) / 2, 1),
    "elu": (math.exp(-1) - 1, 1),
    "selu": (1.05070 * 1.67326 * (math.exp(-1) - 1), 1.05070),
    "gelu": (-0.158655, 0.841345),  # x times the normal distribution function
    "silu": (-1 / (1 + math.e), 1 / (1 + math.exp(-1))),
    "hardswish": (-2 / 6, 4 / 6),
    "mish": (-math.tanh(math.log(1 + math.exp(-1))), math.tanh(math.log(1 + math.e))),
    "softplus": (math.log(1 + math.exp(-1)), math.log(1 + math.e)),
    "sigmoid": (1 / (1 + math.e), 1 / (1 + math.exp(-1))),
    "tanh": (-math.tanh(1), math.tanh(1)),
    "scaled_tanh": (-1, 1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values(name):
    found = ACTIVATIONS[name]().eval()(torch.tensor([-1.0, 1.0]))
    assert found.tolist() == pytest.approx(VALUES[name], abs=2e-5)


def test_sigmoids_fade_and_large_weights_make_them_explode():
    grid = torch.linspace(-6, 6, 241).tolist()
    assert max(slopes(nn.Sigmoid(), grid)) == slopes(nn.Sigmoid(), [0.0])[0] == 0.25
    assert slopes(nn.Sequential(nn.Sigmoid(), *[nn.Sigmoid() for _ in range(9)]), [0.0])[0] < 0.25**10 < 9.6e-7
    assert slopes(lambda x: torch.sigmoid(100 * x), [0.0]) == [25]


def test_slope_of_relu():
    assert slopes(nn.ReLU(), [-2.0, -1e-6, 1e-6, 3.0]) == [0, 0, 1, 1]
    assert slopes(nn.LeakyReLU(), [-2.0, 3.0]) == pytest.approx([0.01, 1])


def test_slope_of_prelu_is_learned():
    prelu = ACTIVATIONS["prelu"]()
    prelu(torch.tensor([-2.0, -1.0, 5.0])).sum().backward()
    assert [parameter.shape for parameter in prelu.parameters()] == [(1,)]
    assert prelu.weight.grad.item() == -3


def test_slope_of_rrelu_is_drawn_in_training():
    torch.manual_seed(0)
    drawn = ACTIVATIONS["rrelu"]()(-torch.ones(10_000))
    assert -1 / 3 <= drawn.min() < -0.32 and -0.13 < drawn.max() <= -1 / 8
    assert drawn.mean().item() == pytest.approx(-11 / 48, abs=0.002)


def test_softmax_sums_to_one_and_ignores_a_constant():
    scores = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    shares = F.softmax(scores, dim=1)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 3, 3))
    torch.testing.assert_close(F.softmax(scores + 100, dim=1), shares, atol=1e-5, rtol=1e-4)


def test_euclidean_output_units():
    """LeNet-5's: the squared distance to a fixed code for each class, of which the smallest wins."""
    codes = torch.randn(10, 84, generator=torch.Generator().manual_seed(0)).sign()
    assert codes.numel() == 840
    features = codes[[7, 2]] + 0.1
    distances = torch.cdist(features, codes) ** 2
    torch.testing.assert_close(distances, ((features[:, None] - codes) ** 2).sum(2), atol=1e-3, rtol=1e-4)
    assert distances.argmin(1).tolist() == [7, 2]
    assert distances[0, 7].item() == pytest.approx(0.84, rel=1e-3)


def test_fully_connected_layers_are_position_by_position():
    layer = nn.Linear(2 * 3 * 3, 1)
    image = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert sum(parameter.numel() for parameter in layer.parameters()) == 19
    assert layer(image.flatten(1)) != layer(image.flip(3).flatten(1))
