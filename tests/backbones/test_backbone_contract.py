"""What every backbone promises, asked of every backbone; shapes on the meta device, where they cost nothing."""

import copy
import math
import pickle
from functools import cache

import pytest
import torch
from torch import nn

from foveal.backbones import Backbone, UnknownBackboneError, create_backbone, list_backbones

NAMES = list_backbones()
# These do not pad, so their maps are smaller than the stride says, by this many pixels at most.
SHORT = {"alexnet": 1, "lenet5": 7, "lenet5_modern": 7}
STRIDES = {"alexnet": (4, 8, 16, 32), "lenet": (1, 2, 4), "vgg": (1, 2, 4, 8, 16, 32)}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@cache
def shapeless(name: str, **options) -> Backbone:
    """A backbone without numbers."""
    with torch.device("meta"):
        return create_backbone(name, **options)


def smallest_image(name: str) -> torch.Tensor:
    size = 64 if name == "alexnet" else 32
    return torch.randn(1, 3, size, size, dtype=torch.float64)


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (96, 160)])
@pytest.mark.parametrize("name", NAMES)
def test_maps_have_the_promised_channels_and_strides(name, size):
    backbone = shapeless(name)
    maps = backbone(torch.empty(2, 3, *size, device="meta"))
    expected = next((strides for family, strides in STRIDES.items() if name.startswith(family)), (2, 4, 8, 16, 32))
    assert backbone.strides == expected
    assert [tuple(m.shape[:2]) for m in maps] == [(2, channels) for channels in backbone.channels]
    for stride, feature_map in zip(backbone.strides, maps, strict=True):
        for pixels, got in zip(size, feature_map.shape[2:], strict=True):
            assert math.floor(pixels / stride) - SHORT.get(name, 0) <= got <= math.ceil(pixels / stride)


@pytest.mark.parametrize("levels", [None, (1,)])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_parameter(name, levels):
    backbone = create_backbone(name, levels=levels).double().eval()
    sum((m * torch.randn_like(m)).sum() for m in backbone(smallest_image(name))).backward()
    without = [key for key, p in backbone.named_parameters() if p.grad is None or not p.grad.count_nonzero()]
    assert without == []


@pytest.mark.parametrize("name", NAMES)
def test_levels_choose_maps_and_drop_the_layers_behind_them(name):
    whole, part = shapeless(name), shapeless(name, levels=(-2, 0))
    second_last = len(whole.channels) - 2
    assert part.channels == (whole.channels[0], whole.channels[second_last])
    assert part.strides == (whole.strides[0], whole.strides[second_last])
    assert [m.shape[1] for m in part(torch.empty(1, 3, 64, 64, device="meta"))] == list(part.channels)
    keys = list(whole.state_dict())
    assert list(part.state_dict()) == keys[: len(part.state_dict())]
    if not name.startswith("vgg") and name != "alexnet":  # there the last level is a pool
        assert len(part.state_dict()) < len(keys)


def test_levels_leave_no_deeper_layer():
    assert {key.split(".")[0] for key in shapeless("resnet18", levels=(2,)).state_dict()} == {
        *("conv1", "bn1", "layer1", "layer2")
    }


@pytest.mark.parametrize("levels", [(5,), (-6,), (0, 7), ()])
def test_levels_that_do_not_exist_are_refused(levels):
    with pytest.raises(ValueError, match=r"this backbone has 5 levels: choose from 0 to 4, or from -5 to -1\.$"):
        shapeless("resnet18", levels=levels)


@pytest.mark.parametrize("in_channels", [1, 4])  # 3 is everywhere else
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_input_channels(name, in_channels):
    maps = shapeless(name, in_channels=in_channels)(torch.empty(1, in_channels, 64, 64, device="meta"))
    assert [m.shape[1] for m in maps] == list(shapeless(name).channels)


def test_fresh_input_channels_get_numbers():
    weight = create_backbone("resnet18", in_channels=4).state_dict()["conv1.weight"]
    # He et al.: variance 2 / (64 maps * 7 * 7).
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 3136), rel=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_stages_are_the_parameters_of_the_first_levels(name):
    frozen = shapeless(name, frozen_stages=2)
    first_two = set(dict(shapeless(name, levels=(1,)).named_parameters()))
    assert first_two == {key for key, p in frozen.named_parameters() if not p.requires_grad}
    assert all(not p.requires_grad for p in shapeless(name, frozen_stages=len(frozen.strides)).parameters())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11_bn"])
def test_frozen_batch_norms_keep_their_statistics(name):
    backbone = create_backbone(name, frozen_stages=2).eval().train()
    before = {key: value.clone() for key, value in backbone.named_buffers()}
    frozen = {key for key in shapeless(name, levels=(1,)).state_dict()}
    backbone(torch.randn(2, 3, 64, 64))
    changed = {key for key, value in backbone.named_buffers() if not torch.equal(value, before[key])}
    assert changed == set(before) - frozen
    assert changed and set(before) & frozen


@pytest.mark.parametrize("count", [-1, 6])
def test_more_frozen_stages_than_there_are_is_refused(count):
    with pytest.raises(ValueError, match=rf"frozen_stages is {count}, but this backbone has 5 stages"):
        shapeless("resnet18", frozen_stages=count)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "resnet18", "output_stride": 7}, r"output_stride is 7, but it must be one of 32, 16, 8\.$"),
        ({"name": "alexnet", "output_stride": 16}, r"alexnet can't be dilated: leave output_stride at 32"),
        ({"name": "lenet5", "output_stride": 8}, r"lenet5 can't be dilated: leave output_stride at 32"),
        ({"name": "resnet18", "in_channels": 0}, r"in_channels is 0, but an image has at least 1 channel\.$"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        create_backbone(**options)


def test_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownBackboneError, match=r"^There is no backbone 'resnet5'; the nearest are .*resnet50"):
        create_backbone("resnet5")


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "vgg11_bn"])
def test_copies_give_the_same_maps(name):
    backbone = create_backbone(name, frozen_stages=1).eval()
    images = torch.randn(1, 3, 64, 64)
    for twin in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        for got, expected in zip(twin(images), backbone(images), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_replaced_layers_are_seen_and_stay_frozen():
    backbone = create_backbone("resnet18", frozen_stages=1).eval()
    images = torch.randn(1, 3, 64, 64)
    expected = backbone(images)
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(backbone).train()
    assert isinstance(synchronised.get_submodule("bn1"), nn.SyncBatchNorm)
    assert not synchronised.get_submodule("bn1").training
    assert synchronised.get_submodule("layer1.0.bn1").training
    torch.testing.assert_close(synchronised.eval()(images), expected)


@pytest.mark.parametrize(("name", "output_stride"), [("lenet5", 32), ("resnet18", 8), ("vgg11", 16)])
def test_export_gives_the_same_maps(name, output_stride):
    backbone = create_backbone(name, output_stride=output_stride).eval()
    images = torch.randn(2, 3, 64, 64)
    exported = torch.export.export(backbone, (images,)).module()
    torch.testing.assert_close(exported(images), backbone(images))
