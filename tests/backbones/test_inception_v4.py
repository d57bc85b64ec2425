"""Inception-v4 and Inception-ResNet-v2 by their published numbers, and against timm's with the same weights."""

import sys

import pytest
import timm
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from foveal.backbones import Backbone, create_backbone
from foveal.backbones.layers import Renormalise
from foveal.backbones.measure import count_parameters, receptive_field

CLASSIFIER = 1536 * 1000 + 1000


def shapeless(name: str) -> Backbone:
    with torch.device("meta"):
        return create_backbone(name).eval()


@pytest.mark.parametrize(("name", "total"), [("inception_v4", 42_679_816), ("inception_resnet_v2", 55_843_464)])
def test_parameters(name, total):
    assert count_parameters(shapeless(name)) + CLASSIFIER == total


@pytest.mark.parametrize(
    ("name", "channels"),
    [("inception_v4", (64, 192, 384, 1024, 1536)), ("inception_resnet_v2", (64, 192, 320, 1088, 1536))],
)
def test_stages_and_auxiliary_classifier(name, channels):
    backbone = shapeless(name)
    assert (backbone.channels, backbone.strides) == (channels, (2, 4, 8, 16, 32))
    maps, (read,) = backbone.forward_with(torch.empty(1, 3, 299, 299, device="meta"), backbone.auxiliary)
    assert [m.shape[3] for m in maps] == [147, 71, 35, 17, 8]
    assert read.shape == maps[3].shape


@pytest.mark.parametrize(("name", "field"), [("inception_v4", 2071), ("inception_resnet_v2", 3039)])
def test_receptive_field(name, field):
    """Araujo, Norris, Sim, Computing receptive fields of convolutional neural networks, 2019, has a table of them."""
    assert receptive_field(shapeless(name))[-1] == field


def additions(name: str) -> int:
    """How often a forward pass adds one map to another."""

    class Counter(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.overloadpacket in (torch.ops.aten.add, torch.ops.aten.add_):
                self.count += args[0].ndim == 4 and isinstance(args[1], torch.Tensor) and args[1].ndim == 4
            return func(*args, **(kwargs or {}))

    backbone, counter = shapeless(name), Counter()
    with counter:
        backbone(torch.empty(1, 3, 299, 299, device="meta"))
    return counter.count


def test_v4_has_no_residual_connections():
    assert additions("inception_v4") == 0
    assert additions("inception_resnet_v2") == 10 + 20 + 10


@torch.no_grad()
@pytest.mark.parametrize(("name", "classifier"), [("inception_v4", "last_linear"), ("inception_resnet_v2", "classif")])
def test_last_map_is_timms(name, classifier):
    torch.manual_seed(0)
    theirs = timm.create_model(name).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.02, 0.1)
    ours = create_backbone(name).eval()
    weights = {key: value for key, value in theirs.state_dict().items() if not key.startswith(classifier)}
    ours.load_state_dict(weights)
    images = torch.randn(1, 3, 107, 112)
    expected = theirs.forward_features(Renormalise(3, (0.5,) * 3, (0.5,) * 3)(images))
    assert expected.std() > 0.01
    torch.testing.assert_close(ours(images)[-1], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["inception_v4", "inception_resnet_v2", "xception"])
def test_without_timm_a_sentence_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=rf"{name} is a network of timm, which is not installed: pip install timm"):
        create_backbone(name)
