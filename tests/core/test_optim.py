"""Optimizers and schedules."""

import pytest
import torch
from torch import nn

from foveal.core.errors import UsageError
from foveal.core.optim import build_optimizer, learning_rate_factor
from foveal.core.options import OptimizerOptions


@pytest.mark.parametrize(
    ("name", "step", "factor"),
    [
        ("constant", 0, 1.0),
        ("constant", 99, 1.0),
        ("cosine", 0, 1.0),
        ("cosine", 25, 0.8535534),  # (1 + cos(pi / 4)) / 2
        ("cosine", 50, 0.5),
        ("cosine", 100, 0.0),
        ("step", 59, 1.0),
        ("step", 60, 0.1),
        ("step", 85, 0.01),
    ],
)
def test_the_learning_rate_without_warmup(name, step, factor):
    assert learning_rate_factor(name, step, steps=100, warmup=0) == pytest.approx(factor)


def test_warmup_rises_in_a_line_and_hands_over_at_the_highest_rate():
    factors = [learning_rate_factor("cosine", step, steps=14, warmup=4) for step in range(6)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5] < 1.0


def test_biases_and_normalisation_do_not_decay():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network[0].bias.requires_grad_(False)
    decayed, free = build_optimizer(network, OptimizerOptions(weight_decay=0.1)).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3, 3, 3)] and decayed["weight_decay"] == 0.1
    assert [tuple(p.shape) for p in free["params"]] == [(4,), (4,)] and free["weight_decay"] == 0.0


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_each_name_is_its_optimizer(name, kind):
    optimizer = build_optimizer(nn.Linear(2, 2), OptimizerOptions(name=name, lr=0.5, momentum=0.8))
    assert type(optimizer) is kind and optimizer.param_groups[0]["lr"] == 0.5 and optimizer.param_groups[0]["fused"]
    if name == "sgd":
        assert optimizer.param_groups[0]["momentum"] == 0.8 and optimizer.param_groups[0]["nesterov"]


def test_learning_rates_by_names_multiply():
    network = nn.ModuleDict({"body": nn.Conv2d(3, 4, 3), "head": nn.Linear(4, 2)})
    options = OptimizerOptions(name="sgd", lr=0.1, weight_decay=0.2, multipliers={"head.*": 10, "*.bias": 2})
    found = {
        name: (group["lr"], group["weight_decay"])
        for group in build_optimizer(network, options).param_groups
        for name, parameter in network.named_parameters()
        if any(parameter is held for held in group["params"])
    }
    expected = {"body.weight": (0.1, 0.2), "body.bias": (0.2, 0), "head.weight": (1, 0.2), "head.bias": (2, 0)}
    assert found == {name: pytest.approx(values) for name, values in expected.items()}


def test_the_plain_learning_rate_comes_first():
    network = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    options = OptimizerOptions(lr=0.1, multipliers={"a.*": 0.5})
    assert [group["lr"] for group in build_optimizer(network, options).param_groups] == [0.1, 0.1, 0.05, 0.05]


@pytest.mark.parametrize(
    ("multipliers", "sentence"),
    [
        ({"tail.*": 2}, "has tail.*, but no weight of this network has such a name; there are weight"),
        ({"*": -1}, "-1; set a number from 0 up"),
        ({"*": float("nan")}, "nan; set a number from 0 up"),
    ],
)
def test_a_wrong_multiplier_is_one_sentence(multipliers, sentence):
    with pytest.raises(UsageError, match=sentence.replace("*", r"\*")):
        build_optimizer(nn.Linear(2, 2), OptimizerOptions(multipliers=multipliers))
