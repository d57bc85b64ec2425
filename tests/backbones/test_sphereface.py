"""SphereFace-20 by table 2 of its paper (Liu et al., 2017)."""

import pytest
import torch
from torch import nn

from foveal.backbones import count_parameters, create_backbone
from foveal.backbones.sphereface import SphereFaceUnit


@pytest.fixture(scope="module")
def shapeless():
    with torch.device("meta"):
        return create_backbone("sphereface20")


def test_twenty_convolutions(shapeless):
    convolutions = [module for module in shapeless.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.kernel_size for conv in convolutions] == [(3, 3)] * 20
    assert not [module for module in shapeless.modules() if isinstance(module, nn.BatchNorm2d)]
    units = [len([path for path in shapeless.layers if path.startswith(f"conv{stage}_")]) for stage in (1, 2, 3, 4)]
    assert units == [1, 2, 4, 1]


def test_parameters(shapeless):
    """Weights of each stage: 9 * C_before * C + C of its first convolution, 2 * 9 * C * C a unit; a slope a channel."""
    first = [9 * before * c + c for before, c in ((3, 64), (64, 128), (128, 256), (256, 512))]
    units = [count * 2 * 9 * c * c for c, count in ((64, 1), (128, 2), (256, 4), (512, 1))]
    slopes = 64 * 3 + 128 * 5 + 256 * 9 + 512 * 3
    assert count_parameters(shapeless) == sum(first) + sum(units) + slopes == 11_656_384


def test_faces_of_the_paper(shapeless):
    maps = shapeless(torch.empty(1, 3, 112, 96, device="meta"))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 56, 48), (128, 28, 24), (256, 14, 12), (512, 7, 6)]


def test_nothing_follows_the_sum_of_a_unit():
    unit = SphereFaceUnit(1)
    with torch.no_grad():
        for conv in (unit.conv1, unit.conv2):
            nn.init.dirac_(conv.weight)
        # -4 becomes -1 and then -0.25 by the slopes of 0.25, added to -4; 2 stays 2, added to 2.
        assert unit(torch.tensor([[[[-4.0, 2.0]]]])).flatten().tolist() == [-4.25, 4.0]
