"""BN-Inception by the numbers of its paper (Ioffe, Szegedy, 2015, figure 5) and of its well-known conversion."""

import pytest
import torch
from torch import nn

from foveal.backbones import create_backbone
from foveal.backbones.measure import count_parameters, receptive_field

# Name: output channels, height and width for an image of 224.
TABLE = {
    "inception3a": (256, 28),
    "inception3b": (320, 28),
    "inception3c": (576, 14),
    "inception4a": (576, 14),
    "inception4b": (576, 14),
    "inception4c": (608, 14),
    "inception4d": (608, 14),
    "inception4e": (1056, 7),
    "inception5a": (1024, 7),
    "inception5b": (1024, 7),
}


@pytest.fixture(scope="module")
def shapeless():
    with torch.device("meta"):
        return create_backbone("bn_inception")


def test_ten_modules_and_their_maps(shapeless):
    names = [name for name in shapeless.layers if name.startswith("inception")]
    _, maps = shapeless.forward_with(torch.empty(1, 3, 224, 224, device="meta"), names)
    assert {name: (m.shape[1], m.shape[2]) for name, m in zip(names, maps, strict=True)} == TABLE


def test_parameters(shapeless):
    """11,295,240 in the conversion of the Caffe network, whose convolutions have biases, which batch norm takes out."""
    biases = sum(layer.out_channels for layer in shapeless.modules() if isinstance(layer, nn.Conv2d))
    assert biases == 10_016
    assert count_parameters(shapeless) == 10_260_224
    assert count_parameters(shapeless) + biases + 1024 * 1000 + 1000 == 11_295_240


def test_receptive_field(shapeless):
    """699 pixels: Araujo, Norris, Sim, Computing receptive fields of convolutional neural networks, 2019, table."""
    assert receptive_field(shapeless)[-1] == 699


def test_no_kernel_is_larger_than_three_behind_the_stem(shapeless):
    kernels = [layer.kernel_size for layer in shapeless.modules() if isinstance(layer, nn.Conv2d)]
    assert kernels[0] == (7, 7)
    assert set(kernels[1:]) == {(1, 1), (3, 3)}


def test_pools(shapeless):
    """Average pools at stride 1 but for the last module, max pools where the map is halved."""
    pools = {
        name: type(layer)
        for name in TABLE
        for layer in shapeless.get_submodule(name).modules()
        if isinstance(layer, (nn.AvgPool2d, nn.MaxPool2d))
    }
    assert {name for name, kind in pools.items() if kind is nn.MaxPool2d} == {
        "inception3c",
        "inception4e",
        "inception5b",
    }


def test_levels_and_auxiliary_classifiers(shapeless):
    assert (shapeless.channels, shapeless.strides) == ((64, 192, 320, 608, 1024), (2, 4, 8, 16, 32))
    assert shapeless.auxiliary == ("inception4a", "inception4d")
    _, read = shapeless.forward_with(torch.empty(1, 3, 224, 224, device="meta"), shapeless.auxiliary)
    assert [tuple(m.shape) for m in read] == [(1, 576, 14, 14), (1, 608, 14, 14)]


@pytest.mark.parametrize("size", [(7, 7), (97, 131), (225, 63)])
def test_branches_meet_at_every_size(shapeless, size):
    assert shapeless(torch.empty(2, 3, *size, device="meta"))[-1].shape[1] == 1024


def test_signal_and_gradient_in_training():
    torch.manual_seed(0)
    backbone = create_backbone("bn_inception")
    maps = backbone(torch.randn(4, 3, 64, 64))
    assert all(0.1 < feature_map.std() < 10 for feature_map in maps)
    sum((m * torch.randn_like(m)).mean() for m in maps).backward()
    assert all(parameter.grad.count_nonzero() for parameter in backbone.parameters())
