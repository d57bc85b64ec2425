"""Pre-activation ResNet: He, Zhang, Ren, Sun, Identity mappings in deep residual networks, 2016."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from foveal.backbones import count_parameters, create_backbone

IMAGENET = [18, 34, 50, 101, 152]
CIFAR = [20, 32, 44, 56, 110, 164]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def shapeless(name: str):
    with torch.device("meta"):
        return create_backbone(name)


def weights(module: nn.Module, *, projections: bool) -> list[tuple[int, ...]]:
    """The shapes of all weights of convolutions."""
    return sorted(
        tuple(layer.weight.shape)
        for path, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d) and (projections or not ("projection" in path or "downsample" in path))
    )


@pytest.mark.parametrize("depth", IMAGENET)
def test_convolutions_are_those_of_resnet(depth):
    got, expected = shapeless(f"preact_resnet{depth}"), shapeless(f"resnet{depth}")
    assert weights(got, projections=True) == weights(expected, projections=True)
    assert (got.channels, got.strides) == (expected.channels, expected.strides)


@pytest.mark.parametrize("depth", CIFAR[:-1])
def test_convolutions_are_those_of_the_small_resnets(depth):
    got, expected = shapeless(f"preact_resnet{depth}"), shapeless(f"resnet{depth}")
    assert weights(got, projections=False) == weights(expected, projections=False)
    # Two projections, 16 to 32 and 32 to 64, where the small ResNets pad with zeros.
    assert sum(torch.Size(s).numel() for s in weights(got, projections=True)) == 16 * 32 + 32 * 64 + sum(
        torch.Size(s).numel() for s in weights(expected, projections=True)
    )


@pytest.mark.parametrize("depth", IMAGENET + CIFAR)
def test_weighted_layers(depth):
    assert len(weights(shapeless(f"preact_resnet{depth}"), projections=False)) + 1 == depth


def test_parameters_of_the_deep_ones_for_small_images():
    # Zagoruyko and Komodakis, 2016, table 5, give 1.7 million for both.
    for name, channels in (("preact_resnet110", 64), ("preact_resnet164", 256)):
        assert (count_parameters(shapeless(name)) + channels * 10 + 10) / 1e6 == pytest.approx(1.7, abs=0.05)
    assert shapeless("preact_resnet164").channels == (64, 128, 256)


def test_the_last_map_is_that_of_timm():
    # There batch norm and ReLU come behind the first pool: the same, as long as the norm's scale is positive.
    reference, backbone = timm.create_model("resnetv2_50").eval(), create_backbone("preact_resnet50").eval()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.1)
    for ours, theirs in zip(weighted_layers(backbone), weighted_layers(reference), strict=True):
        ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images)[-1], reference.forward_features(images))


def weighted_layers(network: nn.Module) -> list[nn.Module]:
    """Convolutions and batch norms in the order of execution, but the projections last."""
    found = [(key, m) for key, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    found = [(key, m) for key, m in found if not key.startswith("head.")]
    return [m for _, m in sorted(found, key=lambda pair: "projection" in pair[0] or "downsample" in pair[0])]


@pytest.mark.parametrize("name", ["preact_resnet18", "preact_resnet50", "preact_resnet20", "preact_resnet164"])
def test_nothing_but_additions_lies_on_the_shortcut(name):
    block = create_backbone(name).get_submodule("layer2.1").eval()
    nn.init.zeros_(list(block.branch.children())[-1].weight)
    x = torch.randn(1, block.activation[0].num_features, 5, 7)
    assert x.min() < -1
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_branch_and_projection_share_one_activation():
    block = create_backbone("preact_resnet18").get_submodule("layer2.0").eval()
    nn.init.uniform_(block.activation[0].running_mean, -1, 1)
    x = torch.randn(2, 64, 9, 8)
    active = F.relu(block.activation[0](x))
    conv1, bn, _, conv2 = block.branch
    branch = F.conv2d(F.relu(bn(F.conv2d(active, conv1.weight, stride=2, padding=1))), conv2.weight, padding=1)
    torch.testing.assert_close(block(x), branch + F.conv2d(active, block.projection.weight, stride=2))


def test_the_first_block_reads_a_rectified_map():
    for name in ("preact_resnet18", "preact_resnet50", "preact_resnet20", "preact_resnet164"):
        backbone = shapeless(name)
        assert isinstance(backbone.get_submodule("layer1.0").activation, nn.Identity)
        assert isinstance(backbone.get_submodule("layer1.1").activation, nn.Sequential)
        assert list(backbone.layers)[1:3] == ["bn1", "relu"]


def test_only_the_last_map_is_rectified():
    maps = create_backbone("preact_resnet20").eval()(torch.randn(2, 3, 32, 32))
    assert [m.min().item() < 0 for m in maps] == [True, True, False]
    assert list(shapeless("preact_resnet20").layers)[-2:] == ["final_bn", "final_relu"]
