"""Dilated networks look at the same pixels with the same weights: their maps contain the plain ones, exactly."""

import pytest
import torch
from torch import nn
from torchvision.ops import SqueezeExcitation

from foveal.backbones import create_backbone
from foveal.backbones.catalogue import FAMILIES

NAMES = [name for family in FAMILIES.values() if family.dilates for name in family.names]


@pytest.mark.parametrize("name", NAMES)
def test_every_fth_pixel_of_a_dilated_map_is_the_plain_map(name):
    torch.manual_seed(0)
    plain = create_backbone(name).double().eval()
    _average_pixel_by_pixel(plain)
    size = 32 if name in ("resnet101", "resnet152") else 64  # these two are resnet50 with more of the same blocks
    images = torch.randn(1, 3, size, 64, dtype=torch.float64)
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


def test_vgg_pools_keep_the_keys():
    with torch.device("meta"):
        assert list(create_backbone("vgg16", output_stride=8).state_dict()) == list(
            create_backbone("vgg16").state_dict()
        )
