"""AlexNet of 2012 by the arithmetic of its paper (Krizhevsky, Sutskever, Hinton, section 3.5 and figure 2)."""

import pytest
import torch
from torch import nn

from foveal.backbones import alexnet
from foveal.backbones.backbone import Backbone
from foveal.backbones.layers import LocalResponseNorm
from foveal.backbones.measure import count_multiply_adds

FULLY_CONNECTED = [37_752_832, 16_781_312, 4_097_000]
CONVS = ("conv1", "conv2", "conv3", "conv4", "conv5")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    with torch.device("meta"):
        return Backbone(alexnet.build("alexnet_grouped", 3))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_shapes(backbone):
    pools = [name for name in backbone.layers if name.startswith(("conv", "pool"))]
    outputs = backbone.forward_with(torch.empty(1, 3, 227, 227, device="meta"), pools)[1]
    assert {name: tuple(output.shape[1:]) for name, output in zip(pools, outputs, strict=True)} == {
        "conv1": (96, 55, 55),
        "pool1": (96, 27, 27),
        "conv2": (256, 27, 27),
        "pool2": (256, 13, 13),
        "conv3": (384, 13, 13),
        "conv4": (384, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
    }
    assert (227 - 11) / 4 + 1 == 55
    assert 256 * 6 * 6 == 9216  # what the first fully connected layer reads
    assert (backbone.channels, backbone.strides) == ((96, 256, 256, 256), (4, 8, 16, 32))


def test_parameters(backbone):
    convs = [parameters(backbone.get_submodule(name)) for name in CONVS]
    assert convs == [34_944, 307_456, 885_120, 663_936, 442_624]
    assert max(convs) < 1_000_000
    assert FULLY_CONNECTED == [(9216 + 1) * 4096, (4096 + 1) * 4096, (4096 + 1) * 1000]
    total = parameters(backbone) + sum(FULLY_CONNECTED)
    assert total == 60_965_224  # the paper's "60 million"
    assert sum(FULLY_CONNECTED) / total == pytest.approx(0.962, abs=5e-4)
    megabytes, mebibytes = 4 * total / 1e6, 4 * total / 2**20
    assert (megabytes, mebibytes) == (pytest.approx(243.9, abs=0.05), pytest.approx(232.6, abs=0.05))


def test_in_one_column_it_would_have_more(backbone):
    layers = [backbone.get_submodule(name) for name in CONVS]
    dense = [conv.out_channels * (conv.in_channels * conv.kernel_size[0] ** 2 + 1) for conv in layers]
    assert sum(dense) + sum(FULLY_CONNECTED) == 62_378_344


def test_three_convolutions_read_half_of_the_maps(backbone):
    weights = [tuple(backbone.get_submodule(name).weight.shape) for name in ("conv2", "conv4", "conv5")]
    assert weights == [(256, 48, 5, 5), (384, 192, 3, 3), (256, 192, 3, 3)]
    assert [backbone.get_submodule(name).groups for name in CONVS] == [1, 2, 1, 2, 2]


def test_multiply_adds_and_neurons(backbone):
    classifier = 9216 * 4096 + 4096 * 4096 + 4096 * 1000
    assert count_multiply_adds(backbone, 227) + classifier == 724_406_816
    outputs = backbone.forward_with(torch.empty(1, 3, 227, 227, device="meta"), CONVS)[1]
    assert sum(output.numel() for output in outputs) + 4096 + 4096 + 1000 == 659_272


def test_normalisation_stands_between_relu_and_pool(backbone):
    kinds = [type(backbone.get_submodule(name)) for name in backbone.layers]
    block = [nn.Conv2d, nn.ReLU, LocalResponseNorm, nn.MaxPool2d]
    assert kinds == [*block, *block, *[nn.Conv2d, nn.ReLU] * 3, nn.MaxPool2d]
    norm = backbone.get_submodule("norm1")
    assert (norm.size, norm.alpha, norm.beta, norm.k) == (5, 1e-4, 0.75, 2)
    # Channels of 1 in the middle of a map: each has five of them in its window.
    normed = norm(torch.ones(1, 9, 1, 1))
    assert normed[0, 4].item() == pytest.approx((2 + 1e-4 * 5) ** -0.75, rel=1e-6)


def test_initial_weights_are_those_of_section_5_for_images_of_variance_1():
    torch.manual_seed(0)
    network = alexnet.build("alexnet_grouped", 3).module
    for name in CONVS:
        conv = network.get_submodule(name)
        deviation = (2 / (3 * 11 * 11)) ** 0.5 if name == "conv1" else 0.01
        assert conv.weight.mean().item() == pytest.approx(0, abs=2e-3)
        assert conv.weight.std().item() == pytest.approx(deviation, rel=0.02)
        assert set(conv.bias.tolist()) == {1.0 if name in ("conv2", "conv4", "conv5") else 0.0}


@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_any_size_and_number_of_channels(size):
    torch.manual_seed(0)
    backbone = Backbone(alexnet.build("alexnet_grouped", 2)).double()
    sum((m * torch.randn_like(m)).sum() for m in backbone(torch.randn(1, 2, *size).double())).backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in backbone.parameters())
