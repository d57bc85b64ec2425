"""ResNets for images of 32 x 32: He, Zhang, Ren, Sun, 2016, section 4.2."""

import pytest
import torch
from torch import nn

from foveal.backbones import count_parameters, create_backbone
from foveal.backbones.cifar_resnet import PaddedShortcut, build_cifar_network
from foveal.backbones.resnet import BasicBlock

# With a classifier of 10 classes; the paper gives 0.27, 0.46, 0.66, 0.85, 1.7 and 19.4 million (table 6).
TOTALS = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
}


@pytest.mark.parametrize("name", TOTALS)
def test_parameters_and_depth(name):
    with torch.device("meta"):
        backbone = create_backbone(name)
    assert count_parameters(backbone) + 64 * 10 + 10 == TOTALS[name]
    weighted = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert len(weighted) + 1 == int(name.removeprefix("resnet"))
    assert (backbone.channels, backbone.strides) == ((16, 32, 64), (1, 2, 4))


def test_the_deepest_network_of_the_paper():
    with torch.device("meta"):
        network = build_cifar_network(BasicBlock, (1202 - 2) // 6, in_channels=3).module
    assert count_parameters(network) + 64 * 10 + 10 == 19_421_274


def test_maps():
    with torch.device("meta"):
        maps = create_backbone("resnet20")(torch.empty(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_shortcut_takes_every_second_pixel_and_pads_with_zeros():
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    got = PaddedShortcut(1, 2, stride=2)(x)
    assert got.tolist() == [[[[0, 2], [6, 8]], [[0, 0], [0, 0]]]]


def test_without_its_branch_a_block_is_its_shortcut():
    block = create_backbone("resnet20").get_submodule("layer2.0").eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 16, 5, 7)
    got = block(x)
    assert got.shape == (1, 32, 3, 4)
    torch.testing.assert_close(got[:, :16], x[:, :, ::2, ::2], rtol=0, atol=0)
    assert not got[:, 16:].any()


def test_weights_have_the_variance_of_the_paper():
    torch.manual_seed(0)
    weight = create_backbone("resnet56").get_submodule("layer3.4.conv1").weight
    assert weight.var().item() == pytest.approx(2 / (64 * 9), rel=0.05)
