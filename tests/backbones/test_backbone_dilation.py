"""Dilated networks look at the same pixels with the same weights: their maps contain the plain ones, exactly."""

import copy

import pytest
import torch
from torch import nn
from torchvision.ops import SqueezeExcitation

from foveal.backbones import create_backbone
from foveal.backbones.catalogue import FAMILIES
from foveal.backbones.dilate import dilate

NAMES = [name for family in FAMILIES if family.dilates for name in family.names]
# One of each kind of block here; the others, with more or wider ones of the same, are marked slow.
KINDS = {family.names[0] for family in FAMILIES} | {
    "resnet50",
    "preact_resnet50",
    "mobilenet_v3_large",
    "regnet_y_400mf",
}
KINDS |= {"mobilenet_v1_025", "vgg11_bn", "vgg16_c"}


@pytest.mark.parametrize(
    "name",
    [name if name in KINDS - {"mobilenet_v1"} else pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
)
def test_every_fth_pixel_of_a_dilated_map_is_the_plain_map(name):
    torch.manual_seed(0)
    plain = create_backbone(name).double().eval()
    _average_pixel_by_pixel(plain)
    images = torch.randn(1, 3, 64 if name in KINDS else 32, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = plain(images)
    for output_stride in (16, 8):
        with torch.device("meta"):
            dilated = create_backbone(name, output_stride=output_stride).eval()
        _average_pixel_by_pixel(dilated)
        dilated.load_state_dict(plain.state_dict(), assign=True)
        assert dilated.channels == plain.channels
        assert dilated.strides == tuple(min(stride, output_stride) for stride in plain.strides)
        with torch.no_grad():
            maps = dilated(images)
        for got, want, stride in zip(maps, expected, plain.strides, strict=True):
            factor = max(1, stride // output_stride)
            assert got.shape[2:] == (want.shape[2] * factor, want.shape[3] * factor)
            scale = want.abs().max()
            assert scale > 0
            assert (got[..., ::factor, ::factor] - want).abs().max() <= 1e-9 * scale


def _average_pixel_by_pixel(backbone: nn.Module) -> None:
    # The average of squeeze-and-excitation is over all pixels, of which a dilated map has more: the one difference.
    for module in backbone.modules():
        if isinstance(module, SqueezeExcitation):
            module.avgpool = nn.Identity()


def test_dilations_of_resnet50_are_those_of_the_papers():
    with torch.device("meta"):
        layer = create_backbone("resnet50", output_stride=8).get_submodule
    # The block that had the stride still reads its neighbours, those after it every second pixel, then every fourth.
    assert [layer(f"layer3.{block}.conv2").dilation for block in (0, 1, 5)] == [(1, 1), (2, 2), (2, 2)]
    assert [layer(f"layer4.{block}.conv2").dilation for block in (0, 1, 2)] == [(2, 2), (4, 4), (4, 4)]
    assert layer("layer4.0.downsample.0").stride == (1, 1)


def test_projection_in_front_does_not_spread_the_branch_that_it_stands_beside():
    """Xception's blocks have the projection first and the stride of the branch in a pool at its end."""
    with torch.device("meta"):
        layer = create_backbone("xception", output_stride=8).get_submodule
    assert [layer(f"block3.rep.{i}.conv1").dilation for i in (1, 4)] == [(1, 1), (1, 1)]
    assert [layer(f"block12.rep.{i}.conv1").dilation for i in (1, 4)] == [(2, 2), (2, 2)]
    assert layer("conv4.conv1").dilation == (4, 4)
    pad, pool = layer("block12.rep.6")
    assert pad.padding == (2, 2, 2, 2)
    assert (pool.kernel_size, pool.stride, pool.dilation) == (3, 1, 2)
    assert layer("block12.skip").stride == (1, 1)


def test_strides_on_one_by_one_convolutions_spread_what_follows():
    """The first ResNet's bottleneck: the stride is on the first 1 x 1, and on the projection beside."""
    block = nn.ModuleDict({"conv1": nn.Conv2d(4, 4, 1, 2), "conv2": nn.Conv2d(4, 4, 3, padding=1)})
    block["projection"] = nn.Conv2d(4, 8, 1, 2)
    network = nn.ModuleDict({"stem": nn.Conv2d(3, 4, 8, 8), "block": block})
    dilate(network, ["stem", "block"], output_stride=8)
    assert block["conv2"].dilation == block["conv2"].padding == (2, 2)
    assert block["conv1"].stride == block["projection"].stride == (1, 1)


@pytest.mark.parametrize("size", [(16, 16), (8, 24)])
def test_padded_pool_becomes_a_dilated_one(size):
    images = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(0))
    plain = nn.Sequential(nn.Conv2d(2, 2, 1, stride=2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, 1))
    dilated = copy.deepcopy(plain)
    dilate(dilated, ["0", "1", "2"], output_stride=2)
    assert dilated(images).shape[2:] == (size[0] // 2, size[1] // 2)
    torch.testing.assert_close(dilated(images)[..., ::4, ::4], plain(images))


def test_vgg_pools_keep_the_keys():
    with torch.device("meta"):
        assert list(create_backbone("vgg16", output_stride=8).state_dict()) == list(
            create_backbone("vgg16").state_dict()
        )
