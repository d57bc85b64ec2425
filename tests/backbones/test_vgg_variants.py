"""A-LRN and C, the configurations of VGG without published weights, and what the paper says of small kernels."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foveal.backbones import vgg
from foveal.backbones.backbone import Backbone
from foveal.backbones.layers import LocalResponseNorm

CLASSIFIER = (25_088 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000


def shapeless(name: str) -> Backbone:
    with torch.device("meta"):
        return Backbone(vgg.build(name, 3))


def parameters(name: str) -> int:
    return sum(parameter.numel() for parameter in shapeless(name).parameters())


def convolutions(name: str) -> list[nn.Conv2d]:
    return [layer for layer in shapeless(name).modules() if isinstance(layer, nn.Conv2d)]


def test_configuration_c():
    assert parameters("vgg16_c") + CLASSIFIER == 133_638_952
    assert [conv.kernel_size[0] for conv in convolutions("vgg16_c")] == [3, 3, 3, 3, 3, 3, 1, 3, 3, 1, 3, 3, 1]
    assert [conv.out_channels for conv in convolutions("vgg16_c")] == [c.out_channels for c in convolutions("vgg16")]


def test_configuration_a_lrn():
    assert parameters("vgg11_lrn") + CLASSIFIER == 132_863_336
    assert parameters("vgg11_lrn") == parameters("vgg11")
    features = list(shapeless("vgg11_lrn").get_submodule("features").children())
    assert [type(layer) for layer in features[:4]] == [nn.Conv2d, nn.ReLU, LocalResponseNorm, nn.MaxPool2d]
    plain = list(shapeless("vgg11").get_submodule("features").children())
    assert [type(layer) for layer in features if not isinstance(layer, LocalResponseNorm)] == [type(p) for p in plain]


@pytest.mark.parametrize("name", ["vgg11_lrn", "vgg16_c"])
def test_levels(name):
    backbone = shapeless(name)
    maps = backbone(torch.empty(1, 3, 224, 224, device="meta"))
    assert [tuple(m.shape[1:]) for m in maps] == [
        *((64, 224, 224), (128, 112, 112), (256, 56, 56), (512, 28, 28), (512, 14, 14), (512, 7, 7))
    ]
    assert backbone.strides == (1, 2, 4, 8, 16, 32)


def test_after_the_five_pools():
    backbone = shapeless("vgg16")
    pools = [path for path in backbone.layers if isinstance(backbone.get_submodule(path), nn.MaxPool2d)]
    outputs = backbone.forward_with(torch.empty(1, 3, 224, 224, device="meta"), pools)[1]
    assert [tuple(output.shape[1:]) for output in outputs] == [
        *((64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7))
    ]
    assert outputs[-1].numel() == 25_088


def test_size_on_disk_and_share_of_the_classifier():
    for name, megabytes, mebibytes, share in (("vgg16", 553.4, 527.8, 0.894), ("vgg19", 574.7, 548.0, 0.861)):
        total = parameters(name) + CLASSIFIER
        assert 4 * total / 1e6 == pytest.approx(megabytes, abs=0.05)
        assert 4 * total / 2**20 == pytest.approx(mebibytes, abs=0.05)
        assert CLASSIFIER / total == pytest.approx(share, abs=5e-4)


def test_two_small_kernels_are_one_large_with_fewer_weights():
    torch.manual_seed(0)
    first, second = torch.randn(2, 1, 1, 3, 3).double()
    # Correlating twice is correlating once with the kernels' full convolution.
    large = F.conv2d(first, second.flip(2, 3), padding=2)
    image = torch.randn(1, 1, 9, 9).double()
    torch.testing.assert_close(F.conv2d(F.conv2d(image, first), second), F.conv2d(image, large))
    assert large.shape[2:] == (5, 5)
    assert 2 * first.numel() == 18 < large.numel() == 25
    assert large.numel() / first.numel() == pytest.approx(2.78, abs=5e-3)


@pytest.mark.parametrize(("count", "field", "weights", "large"), [(2, 5, 18, 25), (3, 7, 27, 49)])
def test_receptive_field_and_weights_of_stacked_kernels(count, field, weights, large):
    channels = 8
    stack = nn.Sequential(*(nn.Conv2d(channels, channels, 3, bias=False) for _ in range(count))).double()
    image = torch.randn(1, channels, 15, 15).double().requires_grad_()
    output = stack(image)
    output[0, 0, output.shape[2] // 2, output.shape[3] // 2].backward()
    seen = image.grad.abs().sum((0, 1)) > 0
    assert (int(seen.any(1).sum()), int(seen.any(0).sum())) == (field, field)
    assert sum(p.numel() for p in stack.parameters()) == weights * channels**2 < large * channels**2


@pytest.mark.parametrize("name", ["vgg11_lrn", "vgg16_c"])
def test_any_size_and_number_of_channels(name):
    torch.manual_seed(0)
    backbone = Backbone(vgg.build(name, 2)).double()
    sum((m * torch.randn_like(m)).sum() for m in backbone(torch.randn(1, 2, 33, 41).double())).backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in backbone.parameters())
