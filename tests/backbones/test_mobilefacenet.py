"""MobileFaceNet by table 1 of its paper (Chen et al., 2018)."""

import pytest
import torch
from torch import nn

from foveal.backbones import count_multiply_adds, count_parameters, create_backbone
from foveal.backbones.mobilefacenet import FaceBottleneck


@pytest.fixture(scope="module")
def shapeless():
    with torch.device("meta"):
        return create_backbone("mobilefacenet")


def test_table_1(shapeless):
    found, x = [], torch.empty(1, 3, 112, 112, device="meta")
    for path in shapeless.eval().layers:
        x = shapeless.get_submodule(path)(x)
        found.append((x.shape[1], x.shape[2]))
    bottlenecks = [(64, 28)] * 5 + [(128, 14)] * 7 + [(128, 7)] * 3
    assert found == [(64, 56), (64, 56), *bottlenecks, (512, 7)]


def test_expansions_and_sums(shapeless):
    blocks = [module for module in shapeless.modules() if isinstance(module, FaceBottleneck)]
    wide = [block[0][0].out_channels // block[0][0].in_channels for block in blocks]
    assert wide == [2] * 5 + [4] + [2] * 6 + [4] + [2] * 2
    assert [block.adds for block in blocks] == [False, *[True] * 4, False, *[True] * 6, False, True, True]


def test_size_is_that_of_the_paper(shapeless):
    """0.99 million with the head, slopes apart: 7 x 7 of each of 512 channels, a layer of 128, both with batch norm."""
    head = 512 * 7 * 7 + 2 * 512 + 512 * 128 + 2 * 128
    slopes = sum(module.weight.numel() for module in shapeless.modules() if isinstance(module, nn.PReLU))
    assert count_parameters(shapeless) == 911_232
    assert count_parameters(shapeless) - slopes + head == 995_584
    assert count_multiply_adds(shapeless, 112) == 220_874_752


def test_a_bottleneck_ends_without_activation():
    block = FaceBottleneck(1, 1, expansion=1, stride=1).eval()
    for conv in (module for module in block.modules() if isinstance(module, nn.Conv2d)):
        nn.init.dirac_(conv.weight)
    # Batch norms divide by sqrt(1 + 1e-5). -16 becomes -4 and -1 by the slopes, added to -16; no third slope.
    with torch.no_grad():
        got = block(torch.tensor([[[[-16.0, 2.0]]]])).flatten().tolist()
    assert got == pytest.approx([-17.0, 4.0], abs=1e-3)
