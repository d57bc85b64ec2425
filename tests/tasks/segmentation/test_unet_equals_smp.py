"""UNet's head gives what segmentation_models.pytorch's Unet gives with the same weights on the same images."""

import re

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from foveal.backbones import count_parameters, create_backbone
from foveal.tasks.segmentation.head import segment
from foveal.tasks.segmentation.unet import UNetHead

NAMES = {
    r"^encoder\.": "backbone.",
    r"^decoder\.blocks\.(\d)\.conv([12])\.": lambda found: f"head.steps.{found[1]}.convolutions.{int(found[2]) - 1}.",
    r"^segmentation_head\.0\.": "head.classifier.",
}


def our_key(key):
    for pattern, ours in NAMES.items():
        key = re.sub(pattern, ours, key)
    return key


@pytest.fixture(scope="module")
def pair():
    """Ours and theirs with random weights, and statistics of a batch, so that maps keep their scale."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    theirs = smp.Unet("resnet34", encoder_weights=None, classes=3)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        theirs.train()(torch.randn(2, 3, 64, 64))
    backbone = create_backbone("resnet34")
    head = UNetHead(backbone.channels, backbone.strides, 3, upsampling="nearest")
    ours = nn.ModuleDict({"backbone": backbone, "head": head})
    ours.load_state_dict({our_key(key): value for key, value in theirs.state_dict().items()})
    return ours.eval(), theirs.eval()


@torch.no_grad()
def test_the_logits_are_theirs(pair):
    ours, theirs = pair
    images = torch.randn(2, 3, 64, 96)
    expected = theirs(images)
    (found,) = segment(ours["backbone"], [ours["head"]], images)
    assert expected.std(dim=(2, 3)).min() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_gradients_are_theirs(pair):
    ours, theirs = pair
    images = torch.randn(1, 3, 64, 64)
    theirs(images).square().mean().backward()
    segment(ours["backbone"], [ours["head"]], images)[0].square().mean().backward()
    own = dict(ours.named_parameters())
    for key, parameter in theirs.named_parameters():
        expected = parameter.grad
        difference = (own[our_key(key)].grad - expected).abs().max()
        assert difference <= 1e-4 * expected.abs().max(), key


def test_there_are_as_many_parameters(pair):
    ours, theirs = pair
    assert count_parameters(ours) == count_parameters(theirs)
