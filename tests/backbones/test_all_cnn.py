"""All-CNN-C by tables 1 and 2 of its paper (Springenberg, Dosovitskiy, Brox, Riedmiller, 2015)."""

import pytest
import torch
from torch import nn

from foveal.backbones import all_cnn
from foveal.backbones.backbone import Backbone


def make(in_channels: int = 3) -> Backbone:
    torch.manual_seed(0)
    return Backbone(all_cnn.build("all_cnn_c", in_channels)).double().eval()


def test_convolutions():
    convs = [layer for layer in make().modules() if isinstance(layer, nn.Conv2d)]
    assert [(conv.kernel_size[0], conv.out_channels, conv.stride[0]) for conv in convs] == [
        *((3, 96, 1), (3, 96, 1), (3, 96, 2)),
        *((3, 192, 1), (3, 192, 1), (3, 192, 2)),
        *((3, 192, 1), (1, 192, 1)),
    ]


def test_levels():
    backbone = make()
    maps = backbone(torch.zeros(1, 3, 32, 32).double())
    assert [tuple(m.shape[1:]) for m in maps] == [(96, 32, 32), (192, 16, 16), (192, 6, 6)]
    assert backbone.strides == (1, 2, 4)


def test_parameters():
    weights = 9 * (3 * 96 + 2 * 96 * 96 + 96 * 192 + 3 * 192 * 192) + 192 * 192
    biases = 3 * 96 + 5 * 192
    assert sum(p.numel() for p in make().parameters()) == weights + biases == 1_367_808
    assert weights + biases + (192 + 1) * 10 == 1_369_738  # with ten classes


def test_no_pools_and_the_dropout_of_the_paper():
    backbone = make()
    kinds = [type(backbone.get_submodule(path)) for path in backbone.layers]
    assert set(kinds) == {nn.Conv2d, nn.ReLU, nn.Dropout}
    drops = {path: layer.p for path, layer in backbone.named_modules() if isinstance(layer, nn.Dropout)}
    assert drops == {"drop0": 0.2, "drop3": 0.5, "drop6": 0.5}


@pytest.mark.parametrize("size", [(32, 32), (17, 30)])
def test_any_size_and_number_of_channels(size):
    backbone = make(in_channels=2)
    maps = backbone(torch.randn(1, 2, *size).double())
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in backbone.parameters())
    assert all(0.2 < m.square().mean().sqrt().item() < 5 for m in maps)  # the signal doesn't fade
