"""Other activations, norms and pools in networks that exist."""

import copy
import re

import pytest
import torch
import torchvision
from timm.layers import BatchNormAct2d
from torch import nn

from foveal.backbones import create_backbone
from foveal.backbones.layers import ACTIVATIONS, NORMS, POOLINGS, MixedPool2d
from foveal.backbones.vary import vary_layers


def kinds(network: nn.Module) -> set[type[nn.Module]]:
    return {type(module) for module in network.modules()}


def count(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


@pytest.fixture
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return create_backbone("resnet18", levels=(1,))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_in_a_network(resnet, name):
    before = count(resnet, nn.ReLU)
    vary_layers(resnet, activation=name)
    assert count(resnet, ACTIVATIONS[name]) == before
    assert name == "relu" or nn.ReLU not in kinds(resnet)
    assert resnet(torch.randn(2, 3, 64, 64))[0].shape == (2, 64, 16, 16)


@pytest.mark.parametrize("name", NORMS)
def test_every_norm_in_a_network(resnet, name):
    before = [module.num_features for module in resnet.modules() if isinstance(module, nn.BatchNorm2d)]
    vary_layers(resnet, norm=name)
    kind = type(NORMS[name](64))
    assert count(resnet, kind) == len(before)
    assert name == "batch" or nn.BatchNorm2d not in kinds(resnet)
    assert resnet(torch.randn(2, 3, 64, 64))[0].shape == (2, 64, 16, 16)


@pytest.mark.parametrize("name", POOLINGS)
def test_every_pool_in_a_network(resnet, name):
    vary_layers(resnet, pooling=name)
    pool = resnet.get_submodule("maxpool")
    assert (pool.kernel_size, pool.stride, pool.padding) == (3, 2, 1)
    assert name == "max" or nn.MaxPool2d not in kinds(resnet)
    assert resnet(torch.randn(2, 3, 64, 64))[0].shape == (2, 64, 16, 16)


def test_the_published_network_with_other_activations_is_the_one_rebuilt_by_hand(resnet):
    by_hand = copy.deepcopy(resnet)
    by_hand.relu = nn.ELU()
    for block in by_hand.layer1:
        block.relu = nn.ELU()
    vary_layers(resnet, activation="elu")
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(resnet.eval()(images), by_hand.eval()(images), rtol=0, atol=0)


def test_all_three_at_once(resnet):
    vary_layers(resnet, activation="silu", norm="group", pooling="mixed")
    assert {nn.SiLU, nn.GroupNorm, MixedPool2d} <= kinds(resnet)
    assert not {nn.ReLU, nn.BatchNorm2d, nn.MaxPool2d} & kinds(resnet)


def test_a_module_in_two_places_stays_one():
    shared = nn.ReLU()
    network = nn.Sequential(shared, nn.Sequential(nn.Conv2d(1, 1, 1), shared), shared)
    vary_layers(network, activation="prelu")
    assert network[0] is network[1][1] is network[2]
    assert sum(parameter.numel() for parameter in network.parameters()) == 3


def test_a_module_that_is_called_twice_is_replaced_once(resnet):
    vary_layers(resnet, activation="prelu")
    block = resnet.get_submodule("layer1.0")
    assert isinstance(block.relu, nn.PReLU)
    assert count(block, nn.PReLU) == 1


def test_sigmoid_gates_stay():
    gate = torchvision.ops.SqueezeExcitation(8, 2)
    vary_layers(gate, activation="gelu")
    assert isinstance(gate.activation, nn.GELU) and isinstance(gate.scale_activation, nn.Sigmoid)


def test_rounding_of_pools_is_kept():
    network = nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d((3, 1), (2, 1), (1, 0)))
    expected = network(torch.zeros(1, 1, 10, 8)).shape
    for name in POOLINGS:
        vary_layers(varied := copy.deepcopy(network), pooling=name)
        assert varied(torch.zeros(1, 1, 10, 8)).shape == expected


def test_timms_norm_with_an_activation_inside():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), BatchNormAct2d(8))
    vary_layers(network, activation="silu", norm="none")
    x = torch.randn(1, 3, 6, 6)
    torch.testing.assert_close(network(x), nn.functional.silu(network[0](x)))


def test_new_layers_take_type_device_and_mode():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval().double()
    vary_layers(network, activation="prelu", norm="instance")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}
    assert not network[1].training and not network[2].training
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    vary_layers(network, activation="prelu")
    assert network[1].weight.device.type == "meta"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "leaky"}, "There is no activation 'leaky'; the nearest are leaky_relu"),
        ({"activation": "??"}, "There is no activation '??'; there are relu, relu6, leaky_relu"),
        ({"norm": "layer"}, "There is no norm 'layer'; there are batch, instance, group, none."),
        ({"pooling": "lpp"}, "There is no pooling 'lpp'; the nearest are lp."),
        ({"norm": "group"}, "This network has no batch norm to replace."),
        ({"pooling": "lp"}, "This network has no max pool to replace."),
    ],
)
def test_errors(options, message):
    network = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    with pytest.raises(ValueError, match=re.escape(message)):
        vary_layers(network, **options)


def test_no_activation_to_replace():
    with pytest.raises(ValueError, match=r"This network has no activation to replace\."):
        vary_layers(nn.Sequential(nn.Conv2d(1, 1, 3)), activation="elu")


@pytest.mark.parametrize(
    ("pool", "message"),
    [(nn.MaxPool2d(2, 1, dilation=2), "dilated max pool"), (nn.MaxPool2d(2, return_indices=True), "its indices")],
)
def test_special_pools_are_refused_and_nothing_is_changed(pool, message):
    network = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), pool)
    with pytest.raises(ValueError, match=message):
        vary_layers(network, activation="elu", pooling="average")
    assert kinds(network) == {nn.Sequential, nn.ReLU, nn.MaxPool2d}


def test_every_network_that_has_relus_runs_with_others():
    for name in (
        "nasnet_mobile",
        "googlenet_bn",
        "resnet20",
        "densenet121",
        "mobilenet_v2",
        "xception",
        "bn_inception",
    ):
        with torch.device("meta"):
            backbone = create_backbone(name).eval()
        if any(isinstance(module, nn.ReLU | nn.ReLU6) for module in backbone.modules()):
            vary_layers(backbone, activation="prelu")
        assert len(backbone(torch.empty(1, 3, 96, 96, device="meta"))) == len(backbone.channels)
