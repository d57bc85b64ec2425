"""Network in Network by what a mlpconv is, and by the counts of the published networks (Lin, Chen, Yan, 2014)."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foveal.backbones import nin
from foveal.backbones.backbone import Backbone


def make(name: str, in_channels: int = 3) -> Backbone:
    torch.manual_seed(0)
    return Backbone(nin.build(name, in_channels)).double().eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "size", "maps", "strides"),
    [
        ("nin", 224, [(96, 54, 54), (256, 27, 27), (384, 13, 13), (1024, 6, 6)], (4, 8, 16, 32)),
        ("nin_cifar", 32, [(96, 32, 32), (192, 16, 16), (192, 8, 8)], (1, 2, 4)),
    ],
)
def test_levels(name, size, maps, strides):
    backbone = make(name).to("meta")
    found = backbone(torch.empty(1, 3, size, size, device="meta", dtype=torch.float64))
    assert [tuple(m.shape[1:]) for m in found] == maps
    assert backbone.strides == strides


def test_parameters():
    # With the last 1 x 1 convolution, a map for each class.
    assert parameters(make("nin")) + (1024 + 1) * 1000 == 7_595_176
    assert parameters(make("nin_cifar")) + (192 + 1) * 10 == 966_986


@pytest.mark.parametrize("name", ["nin", "nin_cifar"])
def test_nothing_but_convolutions_and_pools(name):
    backbone = make(name)
    kinds = {type(backbone.get_submodule(path)) for path in backbone.layers}
    assert kinds <= {nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Dropout}
    assert all(type(backbone.get_submodule(f"conv{index}_mlp1")) is nn.Conv2d for index in (1, 2, 3))


def test_mlpconv_is_one_perceptron_applied_to_every_patch():
    backbone = make("nin_cifar")
    image = torch.randn(1, 3, 7, 9).double()
    patches = F.unfold(image, 5, padding=2)[0].T  # 7 * 9 patches of 3 * 5 * 5 values
    for path in ("conv1", "conv1_mlp1", "conv1_mlp2"):
        conv = backbone.get_submodule(path)
        patches = F.linear(patches, conv.weight.flatten(1), conv.bias).relu()
    mlpconv = backbone.forward_with(image, ["relu1_mlp2"])[1][0]
    torch.testing.assert_close(mlpconv[0], patches.T.unflatten(1, (7, 9)))


def test_pools_overlap():
    for name, count in (("nin", 3), ("nin_cifar", 2)):
        pools = [layer for layer in make(name).modules() if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d)]
        assert [(pool.kernel_size, pool.stride) for pool in pools] == [(3, 2)] * count


@pytest.mark.parametrize(("name", "size"), [("nin", (64, 83)), ("nin_cifar", (32, 32)), ("nin_cifar", (17, 30))])
def test_any_size_and_number_of_channels(name, size):
    backbone = make(name, in_channels=2)
    maps = backbone(torch.randn(1, 2, *size).double())
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in backbone.parameters())
    assert all(0.2 < m.square().mean().sqrt().item() < 5 for m in maps)  # the signal doesn't fade
