"""Inception-ResNet-v1 by the figures of its paper (Szegedy et al., 2017) and the size of the networks for faces."""

import pytest
import torch

from foveal.backbones import create_backbone
from foveal.backbones.layers import InceptionResidual
from foveal.backbones.measure import count_parameters


@pytest.fixture(scope="module")
def shapeless():
    with torch.device("meta"):
        return create_backbone("inception_resnet_v1")


def test_parameters(shapeless):
    """23,482,624 in facenet-pytorch's InceptionResnetV1 with its embedding of 512, a linear layer with batch norm."""
    assert count_parameters(shapeless) == 22_564_096
    assert count_parameters(shapeless) + 1792 * 512 + 2 * 512 == 23_482_624


def test_stages(shapeless):
    assert (shapeless.channels, shapeless.strides) == ((64, 192, 256, 896, 1792), (2, 4, 8, 16, 32))
    maps = shapeless(torch.empty(1, 3, 299, 299, device="meta"))
    assert [m.shape[2] for m in maps] == [147, 71, 35, 17, 8]
    faces = shapeless(torch.empty(1, 3, 160, 160, device="meta"))
    assert tuple(faces[-1].shape) == (1, 1792, 3, 3)


def test_blocks_and_their_scales(shapeless):
    blocks = [module for module in shapeless.modules() if isinstance(module, InceptionResidual)]
    assert [block.scale for block in blocks] == [0.17] * 5 + [0.10] * 10 + [0.20] * 5 + [1.0]
    assert [isinstance(block.activation, torch.nn.ReLU) for block in blocks] == [True] * 20 + [False]


def test_auxiliary_classifier(shapeless):
    _, (read,) = shapeless.forward_with(torch.empty(1, 3, 299, 299, device="meta"), shapeless.auxiliary)
    assert tuple(read.shape) == (1, 896, 17, 17)


def test_stochastic_depth_rises():
    with torch.device("meta"):
        backbone = create_backbone("inception_resnet_v1", stochastic_depth=0.21)
    rates = [module.stochastic_depth.p for module in backbone.modules() if isinstance(module, InceptionResidual)]
    assert rates == pytest.approx([0.01 * number for number in range(1, 22)])


def test_signal_and_gradient_in_training():
    torch.manual_seed(0)
    backbone = create_backbone("inception_resnet_v1")
    maps = backbone(torch.randn(4, 3, 96, 107))
    assert all(0.1 < feature_map.std() < 10 for feature_map in maps)
    sum((m * torch.randn_like(m)).mean() for m in maps).backward()
    assert all(parameter.grad.count_nonzero() for parameter in backbone.parameters())
