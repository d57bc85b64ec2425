"""The published networks by their published numbers. On the meta device: shapes and counts need no numbers."""

from functools import cache

import pytest
import torch
import torchvision
from torch import nn

from foveal.backbones import Backbone, create_backbone


@cache
def shapeless(name: str) -> Backbone:
    with torch.device("meta"):
        return create_backbone(name)


def parameters(name: str) -> int:
    return sum(parameter.numel() for parameter in shapeless(name).parameters())


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def shapes(name: str, size: int = 224) -> list[tuple[int, ...]]:
    return [tuple(m.shape[1:]) for m in shapeless(name)(torch.empty(1, 3, size, size, device="meta"))]


def multiply_adds(name: str) -> int:
    """Of all convolutions, for one image of 224 x 224."""
    backbone, counts = shapeless(name), []
    for layer in convolutions(backbone):
        layer.register_forward_hook(lambda conv, _input, out: counts.append(out.numel() * conv.weight[0].numel()))
    backbone(torch.empty(1, 3, 224, 224, device="meta"))
    return sum(counts)


VGG_CLASSIFIER = 25_088 * 4096 + 4096 * 4096 + 4096 * 1000  # weights alone, which is also its multiply-adds


def test_alexnet():
    classifier = (9216 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    assert classifier == 58_631_144
    assert parameters("alexnet") + classifier == 61_100_840
    assert shapes("alexnet") == [(64, 55, 55), (192, 27, 27), (256, 13, 13), (256, 6, 6)]


@pytest.mark.parametrize(
    ("name", "layers", "total"),
    [
        ("vgg11", 8, 132_863_336),
        ("vgg13", 10, 133_047_848),
        ("vgg16", 13, 138_357_544),
        ("vgg19", 16, 143_667_240),
    ],
)
def test_vgg_layers_and_parameters(name, layers, total):
    found = convolutions(shapeless(name))
    assert len(found) == layers
    assert {layer.kernel_size for layer in found} == {(3, 3)}
    assert parameters(name) + VGG_CLASSIFIER + 4096 + 4096 + 1000 == total
    assert len(convolutions(shapeless(f"{name}_bn"))) == layers


def test_vgg16_stages():
    maps = shapes("vgg16")
    assert maps == [(64, 224, 224), (128, 112, 112), (256, 56, 56), (512, 28, 28), (512, 14, 14), (512, 7, 7)]


def test_vgg_multiply_adds():
    assert (multiply_adds("vgg16") + VGG_CLASSIFIER) / 1e9 == pytest.approx(15.470, abs=5e-4)
    assert (multiply_adds("vgg19") + VGG_CLASSIFIER) / 1e9 == pytest.approx(19.632, abs=5e-4)


def test_vgg16_receptive_fields():
    backbone, field, jump, found = shapeless("vgg16"), 1, 1, []
    for layer in backbone.get_submodule("features"):
        if isinstance(layer, nn.MaxPool2d):
            found.append((field, jump))
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            size, stride = (max(v) if isinstance(v, tuple) else v for v in (layer.kernel_size, layer.stride))
            field, jump = field + (size - 1) * jump, jump * stride
    assert [*found, (field, jump)] == [(5, 1), (14, 2), (40, 4), (92, 8), (196, 16), (212, 32)]
    assert tuple(jump for _, jump in found) == backbone.strides[:-1]


RESNETS = {
    "resnet18": ([2, 2, 2, 2], 11_689_512, 1.814, 3),
    "resnet34": ([3, 4, 6, 3], 21_797_672, 3.664, 3),
    "resnet50": ([3, 4, 6, 3], 25_557_032, 4.089, 4),
    "resnet101": ([3, 4, 23, 3], 44_549_160, 7.801, 4),
    "resnet152": ([3, 8, 36, 3], 60_192_808, 11.514, 4),
}


@pytest.mark.parametrize("name", RESNETS)
def test_resnet_blocks_and_counts(name):
    blocks, total, billions, projections = RESNETS[name]
    backbone = shapeless(name)
    stages = [backbone.get_submodule(f"layer{index}") for index in (1, 2, 3, 4)]
    assert [len(list(stage.children())) for stage in stages] == blocks
    assert len([key for key in backbone.state_dict() if key.endswith("downsample.0.weight")]) == projections
    weighted = len(convolutions(backbone)) - projections + 1  # the classifier is one
    assert weighted == int(name.removeprefix("resnet"))
    features = backbone.channels[-1]
    assert parameters(name) + features * 1000 + 1000 == total
    assert (multiply_adds(name) + features * 1000) / 1e9 == pytest.approx(billions, abs=6e-4)


def test_resnet_maps():
    assert shapes("resnet50") == [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert shapes("resnet18")[-1] == (512, 7, 7)
    conv5 = shapeless("resnet101").get_submodule("layer4")
    assert len(convolutions(conv5)) - 1 == 9
    assert conv5(torch.empty(1, 1024, 14, 14, device="meta")).shape == (1, 2048, 7, 7)


def test_bottleneck_weights():
    block = shapeless("resnet50").get_submodule("layer1.1")
    assert [layer.weight.numel() for layer in convolutions(block)] == [16_384, 36_864, 16_384]
    plain = nn.Sequential(nn.Conv2d(256, 256, 3, bias=False), nn.Conv2d(256, 256, 3, bias=False))
    weights = [sum(layer.weight.numel() for layer in convolutions(module)) for module in (plain, block)]
    assert weights == [1_179_648, 69_632]
    assert weights[0] / weights[1] == pytest.approx(16.94, abs=5e-3)


def test_residual_block_without_its_branch_is_the_identity():
    torch.manual_seed(0)
    block = create_backbone("resnet18", levels=(1,)).get_submodule("layer1.1").eval()
    nn.init.zeros_(block.bn2.weight)
    images = torch.rand(1, 64, 8, 8)
    torch.testing.assert_close(block(images), images, rtol=0, atol=0)


def test_mobilenet_v2():
    backbone = shapeless("mobilenet_v2")
    assert backbone.channels == (16, 24, 32, 96, 1280)
    assert parameters("mobilenet_v2") + 1280 * 1000 + 1000 == 3_504_872
    assert (multiply_adds("mobilenet_v2") + 1280 * 1000) / 1e9 == pytest.approx(0.301, abs=5e-4)


def test_mobilenet_v2_shortcuts_and_linear_bottlenecks():
    blocks = [
        m for m in shapeless("mobilenet_v2").modules() if isinstance(m, torchvision.models.mobilenetv2.InvertedResidual)
    ]
    assert len(blocks) == 17
    for block in blocks:
        first, last = convolutions(block)[0], convolutions(block)[-1]
        stride = max(max(layer.stride) for layer in convolutions(block))
        assert block.use_res_connect == (stride == 1 and first.in_channels == last.out_channels)
        assert isinstance(list(block.conv.children())[-1], nn.BatchNorm2d)  # no activation after the last 1 x 1


@pytest.mark.parametrize(("name", "last"), [("mobilenet_v3_large", 960), ("mobilenet_v3_small", 576)])
def test_mobilenet_v3_ends_with_its_last_convolution(name, last):
    assert shapes(name)[-1] == (last, 7, 7)
