"""LeNet of 1989 and of 1990 by the numbers of their papers, and without them by what the layers compute."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foveal.backbones import lenet
from foveal.backbones.backbone import Backbone

UNITS_1989 = {"h1": (12, 8, 8), "h2": (12, 4, 4), "h3": (30, 1, 1)}
UNITS_1990 = {"h1": (4, 24, 24), "h2": (4, 12, 12), "h3": (12, 8, 8), "h4": (12, 4, 4)}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make(name: str, in_channels: int = 1) -> Backbone:
    return Backbone(lenet.build(name, in_channels)).double()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def shapes(backbone: Backbone, units: dict, size: int) -> dict[str, tuple[int, ...]]:
    outputs = backbone.forward_with(torch.rand(1, 1, size, size).double(), list(units))[1]
    return {name: tuple(output.shape[1:]) for name, output in zip(units, outputs, strict=True)}


def test_1989_units_parameters_and_connections():
    backbone = make("lenet1989")
    assert shapes(backbone, UNITS_1989, 16) == UNITS_1989
    # The input, the hidden layers, ten output units.
    assert 256 + 12 * 64 + 12 * 16 + 30 + 10 == 1256
    assert [parameters(backbone.get_submodule(name)) for name in UNITS_1989] == [1068, 2592, 5790]
    assert parameters(backbone) + (30 + 1) * 10 == 9760
    # Each unit has as many connections as inputs, and one for its bias.
    assert [768 * (25 + 1), 192 * (8 * 25 + 1), 30 * (12 * 16 + 1), 10 * (30 + 1)] == [19_968, 38_592, 5790, 310]
    assert 19_968 + 38_592 + 5790 + 310 == 64_660


def test_1989_each_map_of_h2_reads_eight_of_h1():
    assert {len(set(sources)) for sources in lenet.H2_TABLE} == {8}
    assert [sum(source in sources for sources in lenet.H2_TABLE) for source in range(12)] == [8] * 12
    h2 = make("lenet1989").get_submodule("h2")
    maps = torch.zeros(1, 12, 8, 8).double()
    changed = maps.clone()
    changed[0, 9] = 1
    differs = (h2(changed) != h2(maps)).flatten(2).any(2).flatten().tolist()
    assert differs == [9 in sources for sources in lenet.H2_TABLE]


def test_1989_lies_on_background():
    h1 = make("lenet1989").get_submodule("h1")
    background = torch.full((1, 1, 16, 16), -1.0).double()
    # Weights are shared and biases begin at 0: with background all around every unit of a map gives the same.
    torch.testing.assert_close(h1(background), h1(background)[:, :, :1, :1].expand(1, 12, 8, 8))
    paper = torch.rand(1, 1, 16, 16).double()
    framed = F.pad(paper, (2, 2, 2, 2), value=-1.0)
    torch.testing.assert_close(h1(paper), F.conv2d(framed, h1[1].weight, stride=2))


def test_1989_has_a_bias_for_each_unit():
    h1 = make("lenet1989").get_submodule("h1")
    image = torch.rand(1, 1, 16, 16).double()
    before = h1(image).detach()
    with torch.no_grad():
        h1[2].bias[3, 5, 6] = 10
    change = h1(image).detach() - before
    assert change[0, 3, 5, 6].item() == pytest.approx(10)
    assert change.count_nonzero() == 1


def test_unit_biases_stretch_with_the_map():
    layer = lenet.UnitBias(1, 2)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([[[0.0, 4.0], [0.0, 4.0]]]))
    assert layer(torch.zeros(1, 1, 2, 2)).tolist() == [[[[0, 4], [0, 4]]]]
    # Centres of four cells lie at 1/4 steps around those of two: 0, 1/4, 3/4, 1 of the way.
    assert layer(torch.zeros(1, 1, 1, 4)).tolist() == [[[[0, 1, 3, 4]]]]


def test_1990_units_parameters_and_connections():
    backbone = make("lenet1990")
    assert shapes(backbone, UNITS_1990, 28) == UNITS_1990
    assert [parameters(backbone.get_submodule(name)) for name in UNITS_1990] == [104, 8, 512, 24]
    assert parameters(backbone) + 10 * (12 * 16 + 1) == 2578
    # The input, the hidden layers, ten output units, and the one unit that gives all biases.
    assert 784 + 4 * 576 + 4 * 144 + 12 * 64 + 12 * 16 + 10 + 1 == 4635
    # A convolution's unit is connected to its inputs and its bias, a pool's to four inputs and its bias.
    assert [104 * 576, 4 * 144 * 5, 512 * 64, 12 * 16 * 5, 1930] == [59_904, 2880, 32_768, 960, 1930]
    assert 59_904 + 2880 + 32_768 + 960 + 1930 == 98_442


def test_1990_links():
    assert sum(map(len, lenet.H3_TABLE)) == 20
    assert {len(sources) for sources in lenet.H3_TABLE} == {1, 2}
    assert [sum(source in sources for sources in lenet.H3_TABLE) for source in range(4)] == [5] * 4


@pytest.mark.parametrize(
    ("name", "channels", "strides"), [("lenet1989", (12, 30), (2, 4)), ("lenet1990", (4, 12, 12), (1, 2, 4))]
)
def test_levels(name, channels, strides):
    backbone = make(name)
    assert (backbone.channels, backbone.strides) == (channels, strides)


@pytest.mark.parametrize("name", ["lenet1989", "lenet1990"])
@pytest.mark.parametrize("size", [(16, 16), (28, 28), (33, 61)])
def test_any_size_and_number_of_channels(name, size):
    backbone = make(name, in_channels=2)
    maps = backbone(torch.randn(2, 2, *size).double())
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in backbone.parameters())


@pytest.mark.parametrize("name", ["lenet1989", "lenet1990"])
def test_initial_weights_lie_within_the_bound_of_the_fan_in(name):
    backbone = make(name)
    bounds = {"lenet1989": {"h1.1": 25, "h2.1": 200, "h3": 192}, "lenet1990": {"h1": 25, "h2": 4, "h4": 4}}
    for path, fan_in in bounds[name].items():
        largest = backbone.get_submodule(path).weight.abs().max().item() * fan_in / 2.4
        assert 0.3 < largest <= 1.0001
