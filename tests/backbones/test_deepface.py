"""DeepFace by the sizes of its paper (Taigman, Yang, Ranzato, Wolf, 2014), and its locally connected layer."""

import pytest
import torch
from torch import nn

from foveal.backbones import count_parameters
from foveal.backbones.deepface import DeepFace
from foveal.backbones.layers import LocallyConnected2d

LAYERS = ("c1", "m2", "c3", "l4", "l5", "l6")


@pytest.fixture(scope="module")
def shapeless():
    with torch.device("meta"):
        return DeepFace()


def test_sizes(shapeless):
    maps, found = shapeless.forward_with(torch.empty(1, 3, 152, 152, device="meta"), LAYERS)
    assert [x.shape[1] for x in found] == [32, 32, 16, 16, 16, 16]
    assert [tuple(x.shape[2:]) for x in found] == [(side, side) for side in (142, 71, 63, 55, 25, 21)]
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 142, 142), (16, 55, 55), (16, 21, 21)]
    assert (shapeless.channels, shapeless.strides) == ((32, 16, 16), (1, 2, 4))


def test_parameters(shapeless):
    local = {
        "l4": 55 * 55 * 16 * (16 * 9 * 9 + 1),  # positions, maps, and what each cell reads with its bias
        "l5": 25 * 25 * 16 * (16 * 7 * 7 + 1),
        "l6": 21 * 21 * 16 * (16 * 5 * 5 + 1),
    }
    assert local["l4"] == 62_774_800
    assert {path: count_parameters(shapeless.get_submodule(path)) for path in local} == local
    convolutions = 32 * (3 * 11 * 11 + 1) + 16 * (32 * 9 * 9 + 1)
    assert count_parameters(shapeless) == convolutions + sum(local.values())
    f7, f8 = (21 * 21 * 16 + 1) * 4096, (4096 + 1) * 4030
    assert count_parameters(shapeless) + f7 + f8 == 118_923_774


def test_other_sizes_are_refused_in_a_sentence(shapeless):
    sentence = r"^The images are 112 x 96 pixels, but this DeepFace reads 152 x 152 alone, .* build it for their size"
    with pytest.raises(ValueError, match=sentence):
        shapeless(torch.empty(1, 3, 112, 96, device="meta"))
    with pytest.raises(ValueError, match=r"this backbone reads \(N, 3, H, W\)"):
        shapeless(torch.empty(1, 1, 152, 152, device="meta"))
    with pytest.raises(ValueError, match=r"size is 71 x 80 pixels, but DeepFace needs 72 x 72 or more"):
        DeepFace(size=(71, 80))


def test_the_smallest_face_has_one_cell_and_all_weights_learn():
    torch.manual_seed(0)
    backbone = DeepFace(in_channels=1, size=(72, 76))
    maps = backbone(torch.randn(8, 1, 72, 76))
    assert tuple(maps[-1].shape) == (8, 16, 1, 2)
    assert all(0.1 < m.std() < 10 for m in maps)
    sum((m * torch.randn_like(m)).mean() for m in maps).backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in backbone.parameters())


def test_levels_and_frozen_stages():
    with torch.device("meta"):
        part = DeepFace(size=80, levels=(1,), frozen_stages=1)
    assert (part.channels, part.strides) == ((16,), (2,))
    assert list(part.state_dict()) == [f"{layer}.{name}" for layer in ("c1", "c3", "l4") for name in ("weight", "bias")]
    assert [key for key, p in part.named_parameters() if not p.requires_grad] == ["c1.weight", "c1.bias"]


def test_locally_connected_layer_against_a_loop():
    torch.manual_seed(0)
    layer, x = LocallyConnected2d(2, 3, (6, 5), kernel_size=3, stride=2).double(), torch.randn(2, 2, 6, 5).double()
    expected = torch.empty(2, 3, 2, 2, dtype=torch.float64)
    for row in range(2):
        for column in range(2):
            window = x[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3].flatten(1)
            expected[:, :, row, column] = window @ layer.weight[2 * row + column].T + layer.bias[:, row, column]
    torch.testing.assert_close(layer(x), expected)


def test_the_same_weights_everywhere_make_it_a_convolution():
    torch.manual_seed(0)
    backbone, images = DeepFace(in_channels=1, size=72), torch.randn(1, 1, 72, 72)
    plain = nn.Sequential()
    for path, layer in backbone.named_children():
        if isinstance(layer, LocallyConnected2d):
            conv = nn.Conv2d(16, 16, layer.kernel_size, layer.stride)
            layer.weight.data.copy_(conv.weight.flatten(1))
            layer.bias.data.copy_(conv.bias[:, None, None])
            layer = conv
        plain.add_module(path, layer)
    torch.testing.assert_close(backbone(images)[-1], plain(images))
