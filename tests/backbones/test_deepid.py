"""DeepID by the sizes of its paper (Sun, Wang, Tang, 2014), and its patches."""

import copy

import pytest
import torch

from foveal.backbones import count_parameters
from foveal.backbones.deepid import FEATURES, REGIONS, DeepID, PatchNetwork


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_sizes_of_figure_2():
    network, sizes = PatchNetwork(3, (39, 31)), []
    for layer in (*network.thirds, network.fourth):
        layer.register_forward_hook(lambda _module, _input, output: sizes.append(tuple(output.shape[1:])))
    assert network(torch.zeros(2, 3, 39, 31)).shape == (2, 160)
    assert sizes[0::3] == [(20, 36, 28), (40, 16, 12), (60, 6, 4), (80, 2, 1)]
    assert sizes[2::3] == [(20, 18, 14), (40, 8, 6), (60, 3, 2)]


def test_parameters():
    convolutions = 20 * (3 * 16 + 1) + 40 * (20 * 9 + 1) + 60 * (40 * 9 + 1)
    upright = convolutions + 2 * 80 * (60 * 4 + 1) + 160 * (60 * 6 + 80 * 2 + 1)
    square = convolutions + 80 * (60 * 4 + 1) + 160 * (60 * 4 + 80 * 1 + 1)
    assert (upright, square) == (151_800, 100_520)
    assert count_parameters(PatchNetwork(3, (31, 31))) == square
    assert count_parameters(DeepID()) == upright
    assert count_parameters(DeepID(patches=10)) == 5 * upright + 5 * square


def test_the_features_read_the_third_layer_and_the_fourth():
    network, patches = PatchNetwork(1, (31, 31)), torch.randn(1, 1, 31, 31)
    third = network.thirds(patches).flatten(1)
    fourth = network.fourth(network.thirds(patches)).flatten(1)
    linear = network.features[0]
    expected = third @ linear.weight[:, :240].T + fourth @ linear.weight[:, 240:].T + linear.bias
    torch.testing.assert_close(network(patches), expected.clamp(min=0))


# Pixels (top, bottom, left, right) of the template, and the regions in which they lie.
PLACES = {
    "outer corner of the left eye": ((50, 54, 18, 22), [0, 3, 5]),
    "inner corner of the right eye": ((50, 54, 59, 63), [0, 1, 2, 3, 4, 6, 7]),
    "chin": ((106, 110, 63, 67), [0, 2, 9]),
}


@pytest.mark.parametrize("place", PLACES)
@torch.no_grad()
def test_each_network_sees_its_region_alone(place):
    (top, bottom, left, right), seen = PLACES[place]
    backbone, faces = DeepID(patches=10).eval(), torch.rand(1, 3, 112, 112)
    (before,) = backbone(faces)
    assert (backbone.channels, before.shape) == ((1600,), (1, 1600, 1, 1))
    faces[:, :, top:bottom, left:right] += 5
    (after,) = backbone(faces)
    assert (after != before).view(10, FEATURES).any(dim=1).nonzero().flatten().tolist() == seen


@torch.no_grad()
def test_an_enlarged_face_gives_nearly_the_same():
    backbone, faces = DeepID(patches=10).eval(), torch.rand(1, 3, 14, 14)
    faces = torch.nn.functional.interpolate(faces, size=112, mode="bilinear")
    twice = torch.nn.functional.interpolate(faces, scale_factor=2, mode="bilinear")
    (small,), (large,) = backbone(faces), backbone(twice)
    assert (large - small).norm() < 0.02 * small.norm()


def test_it_keeps_the_contract_of_a_backbone():
    backbone, faces = DeepID(in_channels=1, patches=2, frozen_stages=1), torch.rand(2, 1, 112, 112)
    assert backbone.strides == (512,) and [info.layer for info in backbone.feature_info()] == ["patches"]
    assert not any(p.requires_grad for p in backbone.parameters())
    (expected,) = backbone(faces)
    (exported,) = torch.export.export(backbone, (faces,)).module()(faces)
    torch.testing.assert_close(exported, expected)
    (copied,) = copy.deepcopy(backbone)(faces)
    assert torch.equal(copied, expected)
    with torch.autocast("cpu", torch.bfloat16):
        (half,) = backbone(faces)
    assert (half.float() - expected).norm() < 0.05 * expected.norm()


def test_all_weights_learn():
    backbone = DeepID(patches=6)
    (features,) = backbone(torch.randn(16, 3, 112, 112))
    assert 0.1 < features.std() < 10
    (features * torch.randn_like(features)).sum().backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in backbone.parameters())


def test_other_numbers_of_patches_are_refused():
    assert len(REGIONS) == 10
    for wrong in (0, 11):
        with pytest.raises(ValueError, match=f"patches is {wrong}, but DeepID knows 10: choose from 1 to 10"):
            DeepID(patches=wrong)
