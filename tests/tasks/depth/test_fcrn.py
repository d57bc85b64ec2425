"""FCRN: its up-projections, and how many parameters it has."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from foveal.backbones import count_parameters
from foveal.tasks.build import build_backbone
from foveal.tasks.depth.fcrn import UpConvolution, UpProjection, build_fcrn


def test_resnet50_with_four_up_projections_has_the_parameters_of_the_paper():
    with torch.device("meta"):
        backbone, head = build_fcrn(partial(build_backbone, "resnet50", weights=None), "resnet50", channels=1)
    assert [up.norm.num_features for up in head.ups] == [512, 256, 128, 64]
    # Two 5 x 5 up-convolutions and a 3 x 3 convolution each, with their norms' scales and shifts.
    ups = sum(25 * 2 * a * b + 9 * b * b + 6 * b for a, b in ((1024, 512), (512, 256), (256, 128), (128, 64)))
    assert count_parameters(head) == 2048 * 1024 + 2 * 1024 + ups + 9 * 64 + 1
    assert (count_parameters(backbone) + count_parameters(head)) / 1e6 == pytest.approx(63.6, abs=0.05)  # table 1


def test_images_of_228_x_304_give_128_x_160_cells_as_in_the_paper():
    with torch.device("meta"):
        backbone, head = build_fcrn(partial(build_backbone, "resnet50", weights=None), "resnet50", channels=1)
        images = torch.zeros(1, 3, 228, 304)
        assert head(backbone(images), images)["depth"].shape == (1, 1, 128, 160)


def plain(up, x):
    """Unpooling with zeros, then a 5 x 5 convolution."""
    unpooled = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    unpooled[:, :, ::2, ::2] = x
    return F.conv2d(unpooled, up.weight.transpose(0, 1).flip(2, 3), padding=2)


def interleaved(up, x):
    """The fast form of the paper: four convolutions without zeros, whose outputs take turns in rows and columns."""
    weight, padded = up.weight.transpose(0, 1).flip(2, 3), F.pad(x, (1, 1, 1, 1))
    result = x.new_zeros(x.shape[0], weight.shape[0], 2 * x.shape[2], 2 * x.shape[3])
    for row in (0, 1):
        for column in (0, 1):  # kernels of 3 x 3, 3 x 2, 2 x 3 and 2 x 2
            part = F.conv2d(padded[:, :, row:, column:], weight[:, :, row::2, column::2])
            result[:, :, row::2, column::2] = part
    return result


@pytest.mark.parametrize("form", [plain, interleaved])
def test_an_up_convolution_is_unpooling_and_convolution(form):
    up = UpConvolution(3, 4).double()
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    assert up(x).shape == (2, 4, 10, 14)
    assert torch.allclose(up(x), form(up, x), atol=1e-12)


def test_an_up_projection_is_the_sum_of_two_branches_of_their_own():
    # With batch norms that leave values as they are: ReLU(3 x 3 of ReLU(first up-convolution) + the second one).
    block = UpProjection(3, 2).double().eval()
    for norm in (block.up_norm, block.norm):
        norm.eps = 0.0
    first, second = UpConvolution(3, 2).double(), UpConvolution(3, 2).double()
    with torch.no_grad():
        block.up.weight.copy_(torch.cat([first.weight, second.weight], dim=1))
    x = torch.randn(1, 3, 4, 6, dtype=torch.float64)
    expected = F.relu(F.conv2d(first(x).relu(), block.convolution.weight, padding=1) + second(x))
    assert torch.allclose(block(x), expected, atol=1e-12)
    assert expected.max() > 0
