"""ResNet in ResNet: Targ, Almeida, Lyman, 2016."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foveal.backbones import count_parameters, create_backbone
from foveal.backbones.rir import GeneralizedResidualLayer


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def layer_and_streams(in_channels: int, out_channels: int, stride: int):
    layer = GeneralizedResidualLayer(in_channels, out_channels, stride).double().eval()
    nn.init.uniform_(layer.bn.running_var, 0.5, 1.5)
    nn.init.normal_(layer.bn.running_mean)
    return layer, *torch.randn(2, 2, in_channels // 2, 7, 9, dtype=torch.float64)


@pytest.mark.parametrize(("in_channels", "out_channels", "stride"), [(8, 8, 1), (8, 12, 2)])
def test_a_layer_is_equation_1(in_channels, out_channels, stride):
    layer, r, t = layer_and_streams(in_channels, out_channels, stride)
    half, before = out_channels // 2, in_channels // 2
    weight = layer.conv.weight

    def conv(x, to, source):
        return F.conv2d(x, weight[to, source], stride=stride, padding=1)

    residual, transient = slice(None, half), slice(half, None)
    from_r, from_t = slice(None, before), slice(before, None)
    shortcut = r if stride == 1 else F.conv2d(r, layer.projection[0].weight, stride=stride)
    expected_r = conv(r, residual, from_r) + conv(t, residual, from_t) + shortcut
    expected_t = conv(r, transient, from_r) + conv(t, transient, from_t)
    torch.testing.assert_close(layer(torch.cat([r, t], 1)), layer.bn(torch.cat([expected_r, expected_t], 1)))


def test_without_weights_the_residual_stream_stays_and_the_transient_one_ends():
    layer, r, t = layer_and_streams(8, 8, 1)
    layer.bn = nn.Identity()
    nn.init.zeros_(layer.conv.weight)
    got = layer(torch.cat([r, t], 1))
    torch.testing.assert_close(got[:, :4], r, rtol=0, atol=0)
    assert not got[:, 4:].any()


def test_without_its_branch_a_block_is_the_identity_of_both_streams():
    block = create_backbone("rir").get_submodule("layer1.1").eval()
    nn.init.zeros_(block.layer2.bn.weight)
    x = torch.rand(1, 96, 5, 7)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_widths_depth_and_parameters():
    with torch.device("meta"):
        backbone = create_backbone("rir")
    assert (backbone.channels, backbone.strides) == ((96, 192, 384), (1, 2, 4))
    layers = [module for module in backbone.modules() if isinstance(module, GeneralizedResidualLayer)]
    assert len(layers) + 2 == 18  # with the first convolution and the classifier
    assert count_parameters(backbone) / 1e6 == pytest.approx(9.6, abs=0.05)
