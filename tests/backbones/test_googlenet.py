"""GoogLeNet by the numbers of its paper (Szegedy et al., 2015, table 1), and torchvision's against torchvision."""

from functools import cache

import pytest
import torch
import torchvision
from torch import nn

from foveal.backbones import Backbone, create_backbone
from foveal.backbones.googlenet import MODULES
from foveal.backbones.measure import count_multiply_adds, count_parameters

CLASSIFIER = 1024 * 1000 + 1000
# Name: input channels, output channels, height and width for an image of 224, parameters.
TABLE = {
    "inception3a": (192, 256, 28, 163_696),
    "inception3b": (256, 480, 28, 388_736),
    "inception4a": (480, 512, 14, 376_176),
    "inception4b": (512, 512, 14, 449_160),
    "inception4c": (512, 512, 14, 510_104),
    "inception4d": (512, 528, 14, 605_376),
    "inception4e": (528, 832, 14, 868_352),
    "inception5a": (832, 832, 7, 1_043_456),
    "inception5b": (832, 1024, 7, 1_444_080),
}


@cache
def shapeless(name: str, **options) -> Backbone:
    with torch.device("meta"):
        return create_backbone(name, **options)


def test_nine_modules_and_their_channels_sizes_and_parameters():
    backbone = shapeless("googlenet")
    names = [name for name in backbone.layers if name.startswith("inception")]
    assert names == list(TABLE)
    _, maps = backbone.forward_with(torch.empty(1, 3, 224, 224, device="meta"), names)
    for (name, (inputs, outputs, size, parameters)), feature_map in zip(TABLE.items(), maps, strict=True):
        module = backbone.get_submodule(name)
        assert next(layer.in_channels for layer in module.modules() if isinstance(layer, nn.Conv2d)) == inputs
        assert tuple(feature_map.shape) == (1, outputs, size, size)
        assert count_parameters(module) == parameters


def test_parameters():
    backbone = shapeless("googlenet")
    assert [count_parameters(backbone.get_submodule(f"conv{i}")) for i in (1, 2, 3)] == [9_472, 4_160, 110_784]
    assert CLASSIFIER == 1_025_000
    total = count_parameters(backbone) + CLASSIFIER
    assert total == 6_998_552
    assert 60_965_224 / total == pytest.approx(8.71, abs=0.005)  # AlexNet of two columns: not 12 times as many
    assert total * 4 / 1e6 == pytest.approx(28.0, abs=0.05)  # megabytes of float32
    # Two slips of copied tables: 5a left out, because its numbers are those of 4e, and no 1 x 1 layer in the stem.
    assert total - 1_043_456 - 4_160 == 5_950_936


def test_multiply_adds():
    assert (count_multiply_adds(shapeless("googlenet")) + 1_024_000) / 1e9 == pytest.approx(1.583, abs=5e-4)


def test_twin_modules_stand_on_both_sides_of_a_pool():
    assert MODULES["inception4e"][1:] == MODULES["inception5a"][1:]
    backbone = shapeless("googlenet")
    order = list(backbone.layers)
    assert order[order.index("inception4e") + 1] == "maxpool4"
    pool = backbone.get_submodule("maxpool4")
    assert (pool.kernel_size, pool.stride, pool.ceil_mode) == (3, 2, True)


def test_stem_and_what_the_paper_has_not():
    backbone = shapeless("googlenet")
    stem = ["conv1", "maxpool1", "norm1", "conv2", "conv3", "norm2", "maxpool2"]
    assert list(backbone.layers)[:7] == stem
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    fives = [m for m in backbone.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (5, 5)]
    assert len(fives) == 9
    # 22 layers with weights, the classifier the last of them: 3 of the stem, 2 in the depth of each module.
    assert 3 + 2 * 9 + 1 == 22


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn"])
def test_auxiliary_classifiers_read_4a_and_4d(name):
    backbone = shapeless(name)
    assert backbone.auxiliary == ("inception4a", "inception4d")
    _, (first, second) = backbone.forward_with(torch.empty(1, 3, 224, 224, device="meta"), backbone.auxiliary)
    assert (tuple(first.shape), tuple(second.shape)) == ((1, 512, 14, 14), (1, 528, 14, 14))
    pooled = nn.functional.avg_pool2d(first, 5, stride=3)
    assert pooled.shape[2:] == (4, 4)  # (14 - 5) // 3 + 1
    assert 128 * 4 * 4 == 2048
    assert shapeless(name, levels=(2,)).auxiliary == ()


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn"])
def test_levels(name):
    backbone = shapeless(name)
    assert (backbone.channels, backbone.strides) == ((64, 192, 480, 832, 1024), (2, 4, 8, 16, 32))
    assert [info.layer for info in backbone.feature_info()] == [
        *("conv1", "conv3" if name == "googlenet_bn" else "norm2", "inception3b", "inception4e", "inception5b")
    ]


def test_signal_neither_fades_nor_explodes():
    torch.manual_seed(0)
    maps = create_backbone("googlenet")(torch.randn(2, 3, 128, 128))
    assert all(0.1 < feature_map.std() < 10 for feature_map in maps)


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (97, 75)])
def test_googlenet_bn_is_torchvisions(size):
    torch.manual_seed(0)
    theirs = torchvision.models.googlenet(init_weights=False, transform_input=True)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.02, 0.1)
    ours = create_backbone("googlenet_bn").eval()
    lacking = set(theirs.state_dict()) - set(ours.state_dict())
    assert {key.split(".")[0] for key in lacking} == {"aux1", "aux2", "fc"}
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if key not in lacking})
    expected = {}
    for name in ("conv1", "conv3", "inception3b", "inception4e", "inception5b", "avgpool"):
        theirs.get_submodule(name).register_forward_hook(lambda _m, _x, out, name=name: expected.update({name: out}))
    images = torch.randn(2, 3, *size)
    theirs.eval()(images)
    maps = ours(images)
    pooled = maps[-1].mean(dim=(2, 3), keepdim=True)
    assert pooled.std() > 0.01
    for got, want in zip([*maps, pooled], expected.values(), strict=True):
        assert (got - want).abs().max() < 1e-5


def test_published_file_fits(tmp_path):
    """It has the auxiliary classifiers, which no layer of the backbone is."""
    theirs = torchvision.models.googlenet(init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "googlenet.pth")
    backbone = create_backbone("googlenet_bn", weights=tmp_path / "googlenet.pth")
    assert torch.equal(backbone.state_dict()["conv1.conv.weight"], theirs.conv1.conv.weight)
    assert count_parameters(theirs) - count_parameters(theirs.aux1) - count_parameters(theirs.aux2) == 6_624_904
    assert count_parameters(backbone) == 6_624_904 - CLASSIFIER
