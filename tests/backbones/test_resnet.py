"""ResNet, ResNeXt and wide ResNet, against torchvision and against the papers' arithmetic."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet

from foveal.backbones import count_multiply_adds, count_parameters, create_backbone


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def shapeless(name: str):
    with torch.device("meta"):
        return create_backbone(name)


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def randomise(network: nn.Module) -> None:
    """Batch norms as after some training: none of their numbers is 0 or 1."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.1)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2"])
def test_maps_are_those_of_torchvision(name):
    reference = torchvision.models.get_model(name).eval()
    randomise(reference)
    backbone = create_backbone(name).eval()
    weights = {key: value for key, value in reference.state_dict().items() if not key.startswith("fc.")}
    backbone.load_state_dict(weights)  # strict: the keys are the same
    images = torch.randn(2, 3, 65, 97)
    stages = {"relu": "0", "layer1": "1", "layer2": "2", "layer3": "3", "layer4": "4"}
    with torch.no_grad():
        expected = torchvision.models._utils.IntermediateLayerGetter(reference, stages)(images)
        maps = backbone(images)
    for got, want in zip(maps, expected.values(), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name", ["resnet34", "resnet101", "resnet152", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet101_2"]
)
def test_keys_and_shapes_are_those_of_torchvision(name):
    with torch.device("meta"):
        published = torchvision.models.get_model(name).state_dict()
    expected = [(key, value.shape) for key, value in published.items() if not key.startswith("fc.")]
    assert [(key, value.shape) for key, value in shapeless(name).state_dict().items()] == expected


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("resnext50_32x4d", 25_028_904),
        ("resnext101_32x8d", 88_791_336),
        ("wide_resnet50_2", 68_883_240),
    ],
)
def test_parameters_with_a_classifier_of_1000(name, total):
    backbone = shapeless(name)
    assert count_parameters(backbone) + 2048 * 1000 + 1000 == total
    assert backbone.channels == (64, 256, 512, 1024, 2048)


def test_layers_are_single_blocks():
    assert list(shapeless("resnet18").layers) == [
        *("conv1", "bn1", "relu", "maxpool", "layer1.0", "layer1.1", "layer2.0", "layer2.1"),
        *("layer3.0", "layer3.1", "layer4.0", "layer4.1"),
    ]


def test_basic_block_weights():
    block = shapeless("resnet18").get_submodule("layer1.0")
    assert [layer.weight.numel() for layer in convolutions(block)] == [9 * 64 * 64] * 2
    assert 2 * 9 * 64 * 64 == 73_728


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_a_projection_stands_exactly_where_the_shape_changes(name):
    backbone = shapeless(name)
    blocks = [m for m in backbone.modules() if isinstance(m, resnet.BasicBlock | resnet.Bottleneck)]
    for block in blocks:
        first, last = (
            convolutions(block)[0],
            [conv for key, conv in block.named_children() if key.startswith("conv")][-1],
        )
        changes = block.stride != 1 or first.in_channels != last.out_channels
        assert (block.downsample is not None) == changes
    assert sum(block.downsample is not None for block in blocks) == (3 if name in ("resnet18", "resnet34") else 4)


@pytest.mark.parametrize(("name", "without"), [("resnet18", 5), ("resnet50", 12)])
def test_blocks_without_branch_and_projection_are_the_identity(name, without):
    blocks = [m for m in create_backbone(name).eval().modules() if isinstance(m, resnet.BasicBlock | resnet.Bottleneck)]
    blocks = [block for block in blocks if block.downsample is None]
    assert len(blocks) == without
    for block in blocks:
        nn.init.zeros_(block.bn2.weight if name == "resnet18" else block.bn3.weight)
        x = torch.rand(1, block.conv1.in_channels, 4, 5)
        torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_the_pool_of_the_stem():
    backbone = shapeless("resnet50")
    _, (pooled,) = backbone.forward_with(torch.empty(1, 3, 224, 224, device="meta"), ["maxpool"])
    assert pooled.shape == (1, 64, 56, 56)


def test_depths_in_layers_with_weights():
    depth = {
        # Without projections; AlexNet and VGG have three fully connected layers behind their convolutions, ResNet one.
        "alexnet": len(convolutions(shapeless("alexnet"))) + 3,
        "vgg16": len(convolutions(shapeless("vgg16"))) + 3,
        "vgg19": len(convolutions(shapeless("vgg19"))) + 3,
        "resnet50": len(convolutions(shapeless("resnet50"))) - 4 + 1,
        "resnet101": len(convolutions(shapeless("resnet101"))) - 4 + 1,
        "resnet152": len(convolutions(shapeless("resnet152"))) - 4 + 1,
    }
    assert [depth["resnet152"] / depth[other] for other in ("alexnet", "vgg19", "vgg16")] == [19, 8, 9.5]
    assert depth["resnet101"] - depth["resnet50"] == 17 * 3 == 51


def test_gradient_has_the_additive_path_of_the_shortcut():
    # Where nothing is rectified, the block is F(x) + x and its gradient dF/dx + 1.
    block = create_backbone("resnet18", levels=(1,)).get_submodule("layer1.1").double().eval()
    x = (torch.rand(1, 64, 6, 6, dtype=torch.float64) + 1).requires_grad_()
    nn.init.constant_(block.bn2.weight, 1e-2)
    branch = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    assert (branch + x).min() > 0
    (of_branch,) = torch.autograd.grad(branch.sum(), x)
    (of_block,) = torch.autograd.grad(block(x).sum(), x)
    assert of_branch.abs().max() > 1e-3
    torch.testing.assert_close(of_block, of_branch + 1)
    nn.init.zeros_(block.bn2.weight)
    (of_shortcut,) = torch.autograd.grad(block(x).sum(), x)
    torch.testing.assert_close(of_shortcut, torch.ones_like(x), rtol=0, atol=0)


def test_resnext_block_weights():
    block = shapeless("resnext50_32x4d").get_submodule("layer1.1")
    assert [conv.groups for conv in convolutions(block)] == [1, 32, 1]
    # Section 3.2: 32 paths of 4 channels cost about as much as one bottleneck of 64.
    grouped = sum(conv.weight.numel() for conv in convolutions(block))
    assert grouped == 256 * 128 + 128 * 4 * 9 + 128 * 256 == 70_144
    assert grouped == 32 * (256 * 4 + 9 * 4 * 4 + 4 * 256)
    bottleneck = shapeless("resnet50").get_submodule("layer1.1")
    assert sum(conv.weight.numel() for conv in convolutions(bottleneck)) == 69_632


def test_the_three_forms_of_a_resnext_block_are_equal():
    """Figure 3 of the paper: (a) a sum of paths, (b) paths joined before the last 1 x 1, (c) a grouped convolution."""
    block = create_backbone("resnext50_32x4d", levels=(1,)).get_submodule("layer1.1").double()
    block.bn1, block.bn2, block.bn3 = nn.Identity(), nn.Identity(), nn.Identity()
    x = torch.randn(2, 256, 5, 7, dtype=torch.float64)
    first, middle, last = (conv.weight for conv in (block.conv1, block.conv2, block.conv3))
    paths = [slice(4 * path, 4 * path + 4) for path in range(32)]
    inner = [F.relu(F.conv2d(F.relu(F.conv2d(x, first[path])), middle[path], padding=1)) for path in paths]
    summed = sum(F.conv2d(map_, last[:, path]) for map_, path in zip(inner, paths, strict=True))
    joined = F.conv2d(torch.cat(inner, 1), last)
    torch.testing.assert_close(joined, summed)
    torch.testing.assert_close(block(x), F.relu(x + summed))


def test_wide_resnet_doubles_the_inner_channels():
    wide, narrow = shapeless("wide_resnet50_2"), shapeless("resnet50")
    for stage in (1, 2, 3, 4):
        inner = [backbone.get_submodule(f"layer{stage}.0.conv2").out_channels for backbone in (wide, narrow)]
        assert inner[0] == 2 * inner[1]
    assert count_multiply_adds(wide) > 2.5 * count_multiply_adds(narrow)
