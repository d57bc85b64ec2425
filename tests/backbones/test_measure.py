"""What is measured without an image: fields, counts, sizes; by numbers of papers or worked out by hand."""

import math
from functools import cache

import pytest
import torch
from torch import nn

from foveal.backbones import (
    Backbone,
    FeaturePyramid,
    Network,
    cell_centres,
    count_multiply_adds,
    count_parameters,
    create_backbone,
    receptive_field,
    smallest_image,
    vary_layers,
)


@cache
def shapeless(name: str, **options) -> Backbone:
    with torch.device("meta"):
        return create_backbone(name, **options)


def test_two_convolutions_by_hand():
    layers = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Conv2d(4, 6, (1, 3), dilation=2, padding=(0, 2)))
    backbone = Backbone(Network(layers, ["0", "1"]))
    # 3 pixels; then 3 cells that are 2 apart, on a map whose cells are 2 pixels apart: 3 + 2 * 2 * 2.
    assert receptive_field(backbone) == [11]
    assert count_parameters(backbone) == 4 * (2 * 9 + 1) + 6 * (4 * 3 + 1)
    # 8 x 12 pixels give 4 x 6 cells, each of 18 multiplications for 4 maps and of 12 for 6.
    assert count_multiply_adds(backbone, (8, 12)) == 24 * (4 * 18 + 6 * 12)
    backbone.get_submodule("0").requires_grad_(False)
    assert count_parameters(backbone, trainable=True) == 6 * 13


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vgg16", [5, 14, 40, 92, 196, 212]),  # Simonyan and Zisserman's stacks: (k - 1) jump added layer by layer
        ("resnet18", [7, 43, 99, 211, 435]),
        ("resnet50", [7, 35, 91, 267, 427]),  # with torchvision's stride on the 3 x 3
        ("lenet5", [5, 14, 32]),  # C5 sees the whole image of 32 x 32
    ],
)
def test_receptive_fields_of_chains(name, fields):
    assert receptive_field(shapeless(name)) == fields


# Araujo, Norris, Sim, Computing receptive fields of convolutional neural networks, Distill 2019, table in section 5.
@pytest.mark.parametrize(("name", "field"), [("alexnet", 195), ("mobilenet_v1", 315), ("inception_v3", 1311)])
def test_receptive_fields_of_a_survey(name, field):
    assert receptive_field(shapeless(name))[-1] == field


def test_receptive_field_is_where_the_gradient_is():
    backbone = create_backbone("googlenet", levels=(2,)).double().eval()
    expected = int(receptive_field(backbone)[0])
    for parameter in backbone.parameters():
        parameter.data.abs_()  # so that nothing cancels
    for module in backbone.modules():  # an average looks everywhere where a maximum might
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, ceil_mode=child.ceil_mode)
                setattr(module, name, pool)
    image = torch.ones(1, 3, 192, 192, dtype=torch.float64, requires_grad=True)
    feature_map = backbone(image)[0]
    feature_map[0, :, feature_map.shape[2] // 2, feature_map.shape[3] // 2].sum().backward()
    assert image.grad is not None
    rows = image.grad[0].abs().sum(dim=(0, 2)).nonzero()
    assert rows.max() - rows.min() + 1 == expected == 91


def test_what_looks_at_the_whole_map_has_no_bound():
    assert receptive_field(shapeless("mobilenet_v3_small")) == [3, *[math.inf] * 4]  # squeeze-and-excitation
    assert receptive_field(shapeless("swin_t"))[0] == math.inf  # attention


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_norms_over_a_map_have_no_bound(norm):
    backbone = create_backbone("resnet20")
    assert receptive_field(backbone) == [
        15,
        37,
        81,
    ]  # 1 + 7 convolutions; then 5 more and 6 at twice and 4 times the step
    vary_layers(backbone, norm=norm)
    assert receptive_field(backbone) == [math.inf] * 3
    assert receptive_field(create_backbone("timm/convnextv2_atto"))[0] == math.inf  # global response normalisation


def test_a_pyramid_sees_what_its_coarsest_map_sees():
    pyramid = FeaturePyramid(create_backbone("resnet18", levels=(1, 2)), out_channels=8)
    # 99 pixels of the coarser map, 8 apart; the finer cell next to it, 4 apart, may belong to the next coarse one; the
    # last 3 x 3 adds 2 cells: 99 + 4 + 2 * 4, and 99 + 2 * 8.
    assert receptive_field(pyramid) == [111, 115]
    assert count_multiply_adds(pyramid, 32) > count_multiply_adds(pyramid.backbone, 32)
    assert smallest_image(pyramid) == 1


def test_multiply_adds_of_attention_and_convolution():
    # Liu et al. 2021, table 1: Swin-T 4.5 G; Howard et al. 2017, table 4: MobileNet 569 M; both with their classifiers.
    assert count_multiply_adds(shapeless("swin_t")) / 1e9 == pytest.approx(4.5, abs=0.05)
    assert (count_multiply_adds(shapeless("mobilenet_v1")) + 1024 * 1000) / 1e6 == pytest.approx(569, abs=1)


@pytest.mark.parametrize(("name", "pixels"), [("vgg16", 32), ("alexnet", 63), ("lenet5", 32), ("inception_v3", 75)])
def test_the_smallest_image_is_taken_and_none_below(name, pixels):
    assert smallest_image(shapeless(name)) == pixels


def test_measuring_leaves_the_network_as_it_was():
    backbone = create_backbone("resnet18").train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    receptive_field(backbone), count_multiply_adds(backbone), smallest_image(backbone)
    assert backbone.training and backbone.get_submodule("layer1.0").training
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize(
    ("name", "options", "centres"),
    [
        ("vgg16", {}, [0, 0.5, 1.5, 3.5, 7.5, 15.5]),  # the middle of pixels 0 to stride - 1
        # Its fourth pool takes cells i and i + 1 at every i: half a cell, 4 pixels, further on than (8 - 1) / 2.
        ("vgg16", {"output_stride": 8, "levels": (3, 4)}, [3.5, 7.5]),
        ("resnet18", {}, [0] * 5),  # kernels with a middle, padded to it
        ("resnet18", {"output_stride": 8}, [0] * 5),
        ("convnext_tiny", {}, [1.5, 3.5, 7.5, 15.5]),  # tiles
        ("swin_t", {}, [1.5, 3.5, 7.5, 15.5]),  # by the rule for what can't be followed
        ("lenet5", {}, [2, 6.5, 15.5]),  # 5 x 5 without padding: 2; a pool: 2.5; 5 x 5: 2.5 + 2 * 2; ...
    ],
)
def test_where_the_first_cells_lie(name, options, centres):
    assert cell_centres(shapeless(name, **options)) == centres


def test_centres_are_where_the_gradient_is():
    backbone = create_backbone("zfnet", levels=(1,)).double().eval()
    for parameter in backbone.parameters():
        parameter.data.abs_()
    for module in backbone.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode))
    image = torch.ones(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
    backbone(image)[0][0, :, 5, 5].sum().backward()
    assert image.grad is not None
    rows = image.grad[0].abs().sum(dim=(0, 2)).nonzero()
    assert (rows.max() + rows.min()) / 2 == cell_centres(backbone)[0] + 5 * backbone.strides[0]
