"""The plain networks of He, Zhang, Ren, Sun, 2016: ResNets without shortcuts."""

import pytest
import torch
from torch import nn

from foveal.backbones import count_multiply_adds, count_parameters, create_backbone


def shapeless(name: str):
    with torch.device("meta"):
        return create_backbone(name)


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize("depth", [18, 34])
def test_keys_and_shapes_are_those_of_resnet_without_projections(depth):
    residual = shapeless(f"resnet{depth}").state_dict()
    expected = [(key, value.shape) for key, value in residual.items() if "downsample" not in key]
    assert [(key, value.shape) for key, value in shapeless(f"plain{depth}").state_dict().items()] == expected


@pytest.mark.parametrize("depth", [18, 20, 32, 34, 44, 56])
def test_weighted_layers(depth):
    assert len(convolutions(shapeless(f"plain{depth}"))) + 1 == depth


def test_plain34_costs_what_resnet34_costs_without_its_projections():
    # Each of the three projections doubles the channels and halves the resolution: 28, 14, 7 pixels a side.
    projections = 64 * 128 * 28**2 + 128 * 256 * 14**2 + 256 * 512 * 7**2
    plain = count_multiply_adds(shapeless("plain34"))
    assert plain == count_multiply_adds(shapeless("resnet34")) - projections
    assert (plain + projections + 512 * 1000) / 1e9 == pytest.approx(3.664, abs=6e-4)


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_parameters_of_the_small_ones_are_those_of_the_resnets(depth):
    assert count_parameters(shapeless(f"plain{depth}")) == count_parameters(shapeless(f"resnet{depth}"))


@pytest.mark.parametrize("name", ["plain18", "plain20"])
def test_nothing_passes_by_the_convolutions(name):
    block = create_backbone(name).get_submodule("layer1.0").eval()
    nn.init.zeros_(block.bn2.weight)
    assert not block(torch.rand(1, block.conv1.in_channels, 5, 7)).any()


@pytest.mark.parametrize("name", ["plain18", "plain20"])
def test_with_the_same_weights_a_resnet_adds_its_input(name):
    torch.manual_seed(0)
    plain = create_backbone(name).get_submodule("layer1.1").eval()
    residual = create_backbone(name.replace("plain", "resnet")).get_submodule("layer1.1").eval()
    residual.load_state_dict(plain.state_dict())
    x = torch.rand(1, plain.conv1.in_channels, 5, 7)
    branch = plain.bn2(plain.conv2(plain.relu(plain.bn1(plain.conv1(x)))))
    torch.testing.assert_close(plain(x), branch.relu())
    torch.testing.assert_close(residual(x), (branch + x).relu())
