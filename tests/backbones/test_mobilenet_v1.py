"""MobileNet: Howard et al., 2017; timm's network is the reference."""

import pytest
import timm
import torch
from torch import nn

from foveal.backbones import count_multiply_adds, count_parameters, create_backbone

# Millions of parameters and of multiply-adds at 224 pixels, with the classifier: table 6 of the paper.
PAPER = {
    "mobilenet_v1": (4.2, 569),
    "mobilenet_v1_075": (2.6, 325),
    "mobilenet_v1_050": (1.3, 149),
    "mobilenet_v1_025": (0.5, 41),
}


def shapeless(name: str):
    with torch.device("meta"):
        return create_backbone(name)


@pytest.mark.parametrize("name", PAPER)
def test_parameters_and_cost_are_those_of_the_paper(name):
    backbone = shapeless(name)
    parameters, cost = PAPER[name]
    classifier = backbone.channels[-1] * 1000
    assert (count_parameters(backbone) + classifier + 1000) / 1e6 == pytest.approx(parameters, abs=0.05)
    assert (count_multiply_adds(backbone) + classifier) / 1e6 == pytest.approx(cost, abs=1)


def test_exact_parameters_and_channels():
    backbone = shapeless("mobilenet_v1")
    assert count_parameters(backbone) + 1024 * 1000 + 1000 == 4_231_976
    assert backbone.channels == (64, 128, 256, 512, 1024)
    assert shapeless("mobilenet_v1_025").channels == (16, 32, 64, 128, 256)
    assert len([module for module in backbone.modules() if isinstance(module, nn.Conv2d)]) + 1 == 28


def test_maps_are_those_of_timm():
    torch.manual_seed(0)
    reference = timm.create_model("mobilenetv1_100").eval()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.act = nn.ReLU()  # timm has ReLU6, as the paper's code; the paper says ReLU
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.1)
    backbone = create_backbone("mobilenet_v1").eval()
    keys = [key for key in reference.state_dict() if not key.startswith("classifier.")]
    backbone.load_state_dict(
        {ours: reference.state_dict()[theirs] for ours, theirs in zip(backbone.state_dict(), keys, strict=True)}
    )
    images = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images)[-1], reference.forward_features(images))


def test_separable_convolution_against_a_standard_one():
    # Equation 5 of the paper: 1 / N + 1 / k² of the multiply-adds. Here N = 512 output channels and k = 3.
    separable = shapeless("mobilenet_v1").get_submodule("features.7.0")
    weights = [conv.weight for conv in separable.modules() if isinstance(conv, nn.Conv2d)]
    assert [tuple(weight.shape) for weight in weights] == [(512, 1, 3, 3), (512, 512, 1, 1)]
    ratio = sum(weight.numel() for weight in weights) / (512 * 512 * 9)
    assert ratio == pytest.approx(1 / 512 + 1 / 9)
    assert ratio == pytest.approx(0.1130, abs=1e-4)


def test_three_filters_instead_of_nine_for_an_rgb_image():
    standard, depthwise = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3, groups=3)
    assert [conv.weight.flatten(0, 1).shape[0] for conv in (standard, depthwise)] == [9, 3]
