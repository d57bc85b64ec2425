"""Xception by its published numbers, and against timm's network with the same weights."""

import pytest
import timm
import torch
from torch import nn

from foveal.backbones import create_backbone
from foveal.backbones.layers import Renormalise
from foveal.backbones.measure import count_parameters


@pytest.fixture(scope="module")
def shapeless():
    with torch.device("meta"):
        return create_backbone("xception")


def test_parameters(shapeless):
    assert count_parameters(shapeless) + 2048 * 1000 + 1000 == 22_855_952


def test_levels(shapeless):
    assert (shapeless.channels, shapeless.strides) == ((64, 128, 256, 728, 2048), (2, 4, 8, 16, 32))
    assert [info.layer for info in shapeless.feature_info()] == ["act2", "block1", "block2", "block11", "act4"]


def test_all_kernels_behind_the_stem_are_depthwise_or_one_by_one(shapeless):
    convolutions = [module for module in shapeless.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.kernel_size for conv in convolutions[:2]] == [(3, 3), (3, 3)]
    for conv in convolutions[2:]:
        assert conv.kernel_size == (1, 1) or conv.groups == conv.in_channels == conv.out_channels
    # 36 layers in the main path, as in figure 5: the stem's two, the separable ones; the others are projections.
    assert 2 + sum(conv.groups > 1 for conv in convolutions[2:]) == 36
    assert sum(conv.stride == (2, 2) and conv.kernel_size == (1, 1) for conv in convolutions) == 4


@torch.no_grad()
@pytest.mark.parametrize("size", [(71, 71), (65, 98)])
def test_last_map_is_timms(size):
    torch.manual_seed(0)
    theirs = timm.create_model("legacy_xception").eval()
    ours = create_backbone("xception").eval()
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")})
    images = torch.randn(2, 3, *size)
    expected = theirs.forward_features(Renormalise(3, (0.5,) * 3, (0.5,) * 3)(images))
    torch.testing.assert_close(ours(images)[-1], expected, rtol=1e-5, atol=1e-7)
    assert expected.count_nonzero()
