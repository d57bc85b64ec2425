"""Highway networks by the equation of their layer (Srivastava, Greff, Schmidhuber, 2015)."""

import pytest
import torch
from torch import nn

from foveal.backbones import highway
from foveal.backbones.backbone import Backbone
from foveal.backbones.highway import HighwayConv2d

NAMES = ("highway11", "highway19", "highway32")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def layer() -> HighwayConv2d:
    return HighwayConv2d(5, 3)


def make(name: str, in_channels: int = 3) -> Backbone:
    return Backbone(highway.build(name, in_channels))


def set_gate(layer: HighwayConv2d, before_sigmoid: float) -> None:
    nn.init.zeros_(layer.gate.weight)
    nn.init.constant_(layer.gate.bias, before_sigmoid)


def test_shut_gate_is_the_identity(layer):
    set_gate(layer, -200)
    x = torch.randn(2, 5, 6, 7)
    assert torch.equal(layer(x), x)


def test_open_gate_is_the_plain_layer(layer):
    set_gate(layer, 200)
    x = torch.randn(2, 5, 6, 7)
    assert torch.equal(layer(x), layer.transform(x).relu())


def test_half_open_gate_is_the_mean_of_both(layer):
    set_gate(layer, 0)
    x = torch.randn(2, 5, 6, 7)
    torch.testing.assert_close(layer(x), (layer.transform(x).relu() + x) / 2)


def test_each_unit_has_its_own_gate(layer):
    set_gate(layer, -200)
    with torch.no_grad():
        layer.gate.bias[3] = 200
    x = torch.randn(1, 5, 6, 7) - 1
    assert (layer(x) != x).flatten(2).any(2).tolist() == [[False, False, False, True, False]]


@pytest.mark.parametrize("name", NAMES)
def test_depth_and_widths(name):
    backbone = make(name)
    # Every layer once, though a highway layer has two convolutions, and the classifier.
    layers = [path for path in backbone.layers if not path.startswith("pool")]
    assert len(layers) + 1 == int(name.removeprefix("highway"))
    for path in layers:
        module = backbone.get_submodule(path)
        convs = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
        same_width = convs[0].in_channels == convs[0].out_channels
        assert isinstance(module, HighwayConv2d) == same_width
        assert len(convs) == (2 if same_width else 1)


def test_parameters():
    def count(name: str) -> int:
        return sum(p.numel() for p in make(name).parameters()) + (make(name).channels[-1] + 1) * 10

    # Table 2 gives 2.3 and 1.25 million.
    assert count("highway19") == 2_307_210
    assert count("highway32") == 1_256_730
    # By hand: two convolutions for a highway layer, one where the width changes; the last layer is 1 x 1.
    plain = 9 * (3 * 16 + 16 * 32 + 32 * 48 + 48 * 64) + 16 + 32 + 48 + 64
    gated = 2 * (9 * (2 * 16**2 + 2 * 32**2 + 48**2) + 2 * 16 + 2 * 32 + 48)
    assert count("highway11") == plain + gated + 2 * (64 * 64 + 64) + (64 + 1) * 10


@pytest.mark.parametrize(("name", "bias", "share"), [("highway19", -2, 0.119), ("highway32", -3, 0.047)])
def test_gates_begin_nearly_shut(name, bias, share):
    gates = [m.gate for m in make(name).modules() if isinstance(m, HighwayConv2d)]
    assert all(set(gate.bias.tolist()) == {bias} for gate in gates)
    assert torch.sigmoid(torch.tensor(float(bias))).item() == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize("name", NAMES)
def test_levels(name):
    backbone = make(name)
    assert backbone.strides == (1, 2, 4)
    maps = backbone(torch.randn(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (channels, side, side) for channels, side in zip(backbone.channels, (32, 16, 8), strict=True)
    ]
    assert all(0.3 < m.square().mean().sqrt().item() < 3 for m in maps)  # the signal neither fades nor grows


@pytest.mark.parametrize("size", [(32, 32), (17, 30)])
def test_any_size_and_number_of_channels(size):
    backbone = make("highway32", in_channels=2).double()
    maps = backbone(torch.randn(1, 2, *size).double())
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in backbone.parameters())
