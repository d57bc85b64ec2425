"""What every backbone promises, asked of every backbone: shapes on the meta device, where they cost nothing.

What needs numbers is asked of samples, which have every kind of layer that their family has. The others have more of
the same, or wider ones, and no other code.
"""

import copy
import math
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from foveal.backbones import Backbone, create_backbone, list_backbones
from foveal.backbones.catalogue import FAMILIES, find_family
from foveal.backbones.figures import figures
from foveal.backbones.layers import Renormalise

FIRST = [family.names[0] for family in FAMILIES if family.names[0] != "nasnet_large"]
NAMES = [name for name in list_backbones() if find_family(name).source != "plugin"]
# They have kinds of layers that the first of their family lacks.
OTHERS = (
    *("inception_resnet_v2", "lenet5_modern", "mobilenet_v3_large", "nasnet_large", "nin_cifar", "regnet_y_400mf"),
    "vgg11_bn",
)
SAMPLES = [*FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
CIFAR = [
    f"{kind}{layers}" for kind in ("resnet", "plain", "preact_resnet") for layers in (20, 32, 44, 56, 110, 164, 1202)
]
# Where the strides are others than 2, 4, 8, 16, 32: the first pattern that fits.
STRIDES = {
    "lenet1989": (2, 4),
    **dict.fromkeys(
        ("lenet*", "nin_cifar", "all_cnn_c", "highway*", "rir", "wrn_*", "densenet_bc_*", *CIFAR), (1, 2, 4)
    ),
    **dict.fromkeys(("alexnet*", "nin", "convnext_*", "swin_*"), (4, 8, 16, 32)),
    **dict.fromkeys(("squeezenet*", "sphereface*", "mobilefacenet"), (2, 4, 8, 16)),
    "unet": (1, 2, 4, 8, 16),
    "vgg*": (1, 2, 4, 8, 16, 32),
}
# Where convolutions or pools are not padded, maps are smaller than the stride says, by this many pixels at most.
SHORT = {
    **dict.fromkeys(("alexnet", "squeezenet1_1", "nasnet_*"), 1),
    **dict.fromkeys(("alexnet_grouped", "nin", "zfnet", "all_cnn_c"), 2),
    **dict.fromkeys(("lenet1989", "squeezenet1_0", "xception"), 3),
    "lenet1990": 6,
    "lenet5*": 7,
    "inception_*": 4,
}


def by_pattern(table, name, default):
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), default)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Shapes(NamedTuple):
    """A backbone without numbers, and one of its name for grey images, less the last level, the first frozen."""

    name: str
    whole: Backbone
    part: Backbone


@pytest.fixture(scope="module", params=NAMES)
def shapes(request) -> Shapes:
    """Made once for all tests of a network, for that takes longer than each of them."""
    part = shapeless(request.param, levels=(-2, 0), in_channels=1, frozen_stages=1)
    return Shapes(request.param, shapeless(request.param), part)


@pytest.fixture(scope="module", params=SAMPLES)
def sample(request) -> tuple[str, Backbone]:
    """The name of a backbone and the backbone, in evaluation mode."""
    torch.manual_seed(0)
    return request.param, create_backbone(request.param).eval()


def shapeless(name: str, **options) -> Backbone:
    """A backbone without numbers, in evaluation mode: its last map may be a single pixel."""
    with torch.device("meta"):
        return create_backbone(name, **options).eval()


@cache
def kinds_of(name: str) -> set[type[nn.Module]]:
    return {type(module) for module in shapeless(name).modules()}


@torch.no_grad()
def test_maps_have_the_promised_channels_and_strides(shapes):
    name, backbone, _ = shapes
    assert backbone.strides == by_pattern(STRIDES, name, (2, 4, 8, 16, 32))
    for size in ((97, 131), (128, 160)):
        maps = backbone(torch.empty(2, 3, *size, device="meta"))
        assert [tuple(m.shape[:2]) for m in maps] == [(2, channels) for channels in backbone.channels]
        for stride, feature_map in zip(backbone.strides, maps, strict=True):
            for pixels, got in zip(size, feature_map.shape[2:], strict=True):
                lowest = math.floor(pixels / stride) - by_pattern(SHORT, name, 0)
                assert lowest <= got <= math.ceil(pixels / stride), (size, stride)


def test_feature_info_says_what_forward_gives(shapes):
    backbone = shapes.whole
    infos = backbone.feature_info()
    assert tuple(info.channels for info in infos) == backbone.channels
    assert tuple(info.stride for info in infos) == backbone.strides
    assert set(infos) <= set(backbone.layers.values())


@torch.no_grad()
def test_levels_choose_maps_and_drop_the_layers_behind_them(shapes):
    name, whole, part = shapes
    levels = sorted({0, len(whole.channels) - 2})
    assert part.channels == tuple(whole.channels[level] for level in levels)
    assert part.strides == tuple(whole.strides[level] for level in levels)
    maps = part(torch.empty(1, 1, 96, 96, device="meta"))  # one channel: grey images
    assert [m.shape[1] for m in maps] == list(part.channels)
    if name != "nasnet_large":  # timm's extractor keeps its layers
        keys = list(whole.state_dict())
        assert list(part.state_dict()) == keys[: len(part.state_dict())]
        dropped = list(whole.layers)[len(part.layers) :]
        assert set(whole.state_dict()) - set(part.state_dict()) == set(keys_of(whole.state_dict(), dropped))


def test_the_frozen_stage_is_the_parameters_of_the_first_level(shapes):
    name, _, part = shapes
    frozen = [key for key, p in part.named_parameters() if not p.requires_grad]
    assert frozen
    if name != "nasnet_large":
        assert frozen == keys_up_to(part, part.feature_info()[0].layer)


def test_no_layer_is_left_out_of_the_gradient(shapes):
    backbone = shapes.whole
    sum(m.sum() for m in backbone(torch.empty(2, 3, 96, 96, device="meta"))).backward()
    assert [key for key, p in backbone.named_parameters() if p.grad is None] == []


def test_every_kind_of_layer_is_in_a_sample_of_its_family(shapes):
    """So what a layer does with numbers, in bfloat16, in channels_last or in an export, is seen in the samples."""
    module = find_family(shapes.name).module
    samples = [name for name in (*FIRST, *OTHERS) if find_family(name).module == module]
    kinds = {type(layer) for layer in shapes.whole.modules()} - {Renormalise}  # which other families' samples have
    assert kinds <= {kind for name in samples for kind in kinds_of(name)}


@pytest.mark.parametrize("name", SAMPLES)
@torch.no_grad()
def test_frozen_stages_are_the_parameters_of_the_first_levels(name):
    count = len(figures()[name].strides) - 1
    frozen = shapeless(name, frozen_stages=count, in_channels=4)
    assert frozen(torch.empty(1, 4, 96, 96, device="meta"))  # four channels: colour and depth
    kept = [key for key, p in frozen.named_parameters() if not p.requires_grad]
    if name != "nasnet_large":
        assert kept == keys_up_to(frozen, frozen.feature_info()[count - 1].layer)
    assert kept


@pytest.mark.parametrize("name", FIRST)
@torch.no_grad()
def test_maps_are_what_the_layers_give_one_after_another(name):
    backbone = create_backbone(name).eval()
    x, expected = smallest_square(name), []
    maps = backbone(x)
    ends = [info.layer for info in backbone.feature_info()]
    for path in backbone.layers:
        x = backbone.get_submodule(path)(x)
        if path in ends:
            expected.append((x if isinstance(x, torch.Tensor) else x[0]).clone())  # as it is before the next layer
    channels_last = name.startswith("swin")
    for got, want in zip(maps, expected, strict=True):
        assert torch.equal(got, want.permute(0, 3, 1, 2) if channels_last else want)


@pytest.mark.parametrize("name", FIRST)
def test_all_stages_frozen_are_all_parameters(name):
    count = len(figures()[name].strides)
    assert not any(p.requires_grad for p in shapeless(name, frozen_stages=count).parameters())


@pytest.mark.parametrize("levels", [None, (1,)])
def test_gradient_reaches_every_parameter(sample, levels):
    name, whole = sample
    one = levels is not None and name != "nasnet_large"
    backbone = create_backbone(name, levels=levels).eval() if one else whole
    maps = backbone(smallest_square(name))
    sum((m * torch.randn_like(m)).sum() / m.std() for m in maps).backward()
    missed = [key for key, p in backbone.named_parameters() if p.grad is None or not p.grad.count_nonzero()]
    backbone.zero_grad()
    assert missed == []


@torch.no_grad()
def test_weights_travel_through_safetensors(sample, tmp_path):
    (name, backbone), path = sample, Path(tmp_path, "weights.safetensors")
    save_file(backbone.state_dict(), path)
    twin = create_backbone(name, weights=path).eval()
    images = smallest_square(name)
    torch.testing.assert_close(twin(images), backbone(images), rtol=0, atol=0)


@torch.no_grad()
def test_channels_last_gives_the_same_maps(sample):
    name, backbone = sample
    # In float64: what float32 rounds, a deep network makes large, on one processor more than on another.
    exact, images = copy.deepcopy(backbone).double(), smallest_square(name).double()
    contiguous = exact(images)
    channels_last = exact.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    assert max(distances(channels_last, contiguous)) < 1e-9


@torch.no_grad()
def test_export_gives_the_same_maps(sample):
    name, backbone = sample
    images = smallest_square(name)
    exported = torch.export.export(backbone, (images,)).module()
    assert max(distances(exported(images), backbone(images))) < 1e-4


@pytest.mark.parametrize("name", SAMPLES)
@torch.no_grad()
def test_bfloat16_rounds_no_more_than_weights_of_bfloat16_do(name):
    backbone, images = settled(name)
    expected = backbone(images)
    backbone.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = distances(backbone(images.to(memory_format=torch.channels_last)), expected)
    # A deep network with random weights makes any rounding large. So the measure is another one: that of the weights.
    for parameter in backbone.parameters():
        parameter.copy_(parameter.bfloat16().float())
    of_weights = distances(backbone(images.bfloat16().float()), expected)
    assert rounded[0] < 0.2
    assert all(got < 5 * allowed for got, allowed in zip(rounded, of_weights, strict=True))


def keys_of(tensors: dict[str, torch.Tensor], layers: list[str]) -> list[str]:
    """The keys that lie below one of the layers."""
    return [key for key in tensors if any(key.startswith(f"{path}.") for path in layers)]


def keys_up_to(backbone: Backbone, layer: str) -> list[str]:
    """The parameters of the layers that run first, to `layer`."""
    paths = list(backbone.layers)
    return keys_of(dict(backbone.named_parameters()), paths[: paths.index(layer) + 1])


def distances(maps: list[torch.Tensor], expected: list[torch.Tensor]) -> list[float]:
    """How far each map is from the expected one, as a share of its length."""
    return [((got.to(want.dtype) - want).norm() / want.norm()).item() for got, want in zip(maps, expected, strict=True)]


def smallest_square(name: str) -> torch.Tensor:
    size = max(figures()[name].smallest_image, 32)
    return torch.randn(1, 3, size, size)


def settled(name: str) -> tuple[Backbone, torch.Tensor]:
    """Fresh weights, batch norms that know their maps (without, a deep network's grow beyond all measure), an image."""
    backbone = create_backbone(name)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the average over all batches, of which there is one
    size = 64 if backbone.strides[-1] <= 4 else 128
    backbone(torch.randn(4, 3, size, size))
    return backbone.eval(), torch.randn(1, 3, size, size)
