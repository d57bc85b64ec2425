"""ZFNet by the arithmetic of its paper (Zeiler, Fergus, 2014, figure 3)."""

import pytest
import torch
from torch import nn

from foveal.backbones import zfnet
from foveal.backbones.backbone import Backbone
from foveal.backbones.layers import LocalResponseNorm

FULLY_CONNECTED = (9216 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    with torch.device("meta"):
        return Backbone(zfnet.build("zfnet", 3))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_shapes(backbone):
    names = [name for name in backbone.layers if name.startswith(("conv", "pool"))]
    outputs = backbone.forward_with(torch.empty(1, 3, 224, 224, device="meta"), names)[1]
    assert {name: tuple(output.shape[1:]) for name, output in zip(names, outputs, strict=True)} == {
        "conv1": (96, 110, 110),
        "pool1": (96, 55, 55),
        "conv2": (256, 26, 26),
        "pool2": (256, 13, 13),
        "conv3": (384, 13, 13),
        "conv4": (384, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
    }
    assert (backbone.channels, backbone.strides) == ((96, 96, 256, 256, 256), (2, 4, 8, 16, 32))


def test_parameters(backbone):
    convs = [parameters(backbone.get_submodule(f"conv{index}")) for index in range(1, 6)]
    assert convs == [14_208, 614_656, 885_120, 1_327_488, 884_992]
    assert parameters(backbone) + FULLY_CONNECTED == 62_357_608


def test_the_second_convolution_has_stride_2(backbone):
    """Some descriptions have it at stride 1 with padding, which nearly triples the network; this is not that one."""
    conv2 = backbone.get_submodule("conv2")
    assert (conv2.stride, conv2.padding) == ((2, 2), (0, 0))
    wrong = nn.Sequential(
        *(nn.Conv2d(3, 96, 7, 2), nn.MaxPool2d(3, 2), nn.Conv2d(96, 256, 5, padding=2), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.MaxPool2d(3, 2)),
    ).to("meta")
    channels, height, width = wrong(torch.empty(1, 3, 224, 224, device="meta")).shape[1:]
    assert (channels, height, width) == (256, 12, 12)
    first = (256 * 12 * 12 + 1) * 4096
    assert first == 150_999_040
    total = parameters(backbone) + first + FULLY_CONNECTED - (9216 + 1) * 4096
    assert total == 175_603_816


def test_normalisation_follows_the_pools_and_nothing_is_grouped(backbone):
    kinds = [type(backbone.get_submodule(name)) for name in backbone.layers]
    block = [nn.Conv2d, nn.ReLU, nn.MaxPool2d, LocalResponseNorm]
    assert kinds == [*block, *block, *[nn.Conv2d, nn.ReLU] * 3, nn.MaxPool2d]
    assert {layer.groups for layer in backbone.modules() if isinstance(layer, nn.Conv2d)} == {1}


@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_any_size_and_number_of_channels(size):
    torch.manual_seed(0)
    backbone = Backbone(zfnet.build("zfnet", 2)).double()
    sum((m * torch.randn_like(m)).sum() for m in backbone(torch.randn(1, 2, *size).double())).backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in backbone.parameters())


def test_the_signal_keeps_its_strength():
    torch.manual_seed(0)
    strength = [m.square().mean().sqrt().item() for m in Backbone(zfnet.build("zfnet", 3))(torch.randn(2, 3, 96, 96))]
    assert all(0.2 < value < 5 for value in strength)
