"""The DeepLabs: rates, fields of view and sums, as their papers have them."""

import pytest
import torch
from torch import nn

from foveal.core.errors import UsageError
from foveal.tasks.build import build_backbone
from foveal.tasks.segmentation.crf import CRFOptions, refine
from foveal.tasks.segmentation.deeplab import DeepLabV2Head, DeepLabV3PlusHead
from foveal.tasks.segmentation.head import segment


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def rates_of(head):
    convolutions = (each for each in head.modules() if isinstance(each, nn.Conv2d))
    return [each.dilation[0] for each in convolutions if each.dilation != (1, 1)]


@pytest.mark.parametrize("backbone", ["resnet50", "vgg16"])
def test_output_stride_8_costs_no_parameter(build_segmenter, backbone):
    dilated, _ = build_segmenter("deeplabv3", backbone, output_stride=8, device="meta")
    with torch.device("meta"):
        plain = build_backbone(backbone, weights=None)
    assert dilated.strides[-1] == 8 and plain.strides[-1] == 32
    assert count(dilated) == count(plain)


def test_large_fov_on_vgg16_has_the_20_5_million_parameters_of_the_paper(build_segmenter):
    network = build_segmenter("deeplabv1", "vgg16", num_classes=21, device="meta")
    # VGG's convolutions, fc6 of 3 x 3, fc7 and scores: Chen et al. 2015, table 2
    assert count(*network) == 14_714_688 + (512 * 1024 * 9 + 1024) + (1024 * 1024 + 1024) + (1024 * 21 + 21)
    assert round(count(*network) / 1e6, 1) == 20.5


RATES = {
    ("deeplabv1", "vgg16", None): [12],
    ("deeplabv1", "vgg16", 16): [6],
    ("deeplabv2", "vgg16", None): [6, 12, 18, 24],
    ("deeplabv2", "resnet50", None): [6, 12, 18, 24],
    ("deeplabv2", "resnet50", 16): [3, 6, 9, 12],
    ("deeplabv3", "resnet50", 16): [6, 12, 18],
    ("deeplabv3", "resnet50", 8): [12, 24, 36],
    ("deeplabv3", "resnet50", None): [12, 24, 36],
    ("deeplabv3", "densenet121", 32): [3, 6, 9],
    ("deeplabv3plus", "resnet50", None): [6, 12, 18],
    ("deeplabv3plus", "mobilenet_v2", 8): [12, 24, 36],
}


@pytest.mark.parametrize(("name", "backbone", "output_stride"), RATES)
def test_rates(build_segmenter, name, backbone, output_stride):
    _, head = build_segmenter(name, backbone, output_stride=output_stride, device="meta")
    assert rates_of(head) == RATES[name, backbone, output_stride]


@pytest.mark.parametrize("width", [None, 8], ids=["single_convolution", "with_fc6_and_fc7"])
def test_the_branches_of_v2_differ_in_their_rates_alone_and_are_added(width):
    head = DeepLabV2Head([4], [8], 3, width=width).eval()
    shapes = [[weights.shape for weights in branch.parameters()] for branch in head.branches]
    assert shapes[0] == shapes[1] == shapes[2] == shapes[3]
    x = torch.randn(1, 4, 9, 7)
    parts = [branch(x) for branch in head.branches]
    assert all(part.shape == (1, 3, 9, 7) for part in parts)
    torch.testing.assert_close(head([x]), sum(parts))


def test_a_branch_of_rate_6_sees_the_cells_six_away():
    head = DeepLabV2Head([1], [8], 1)
    branch = head.branches[0]
    nn.init.ones_(branch.weight)
    nn.init.zeros_(branch.bias)
    x = torch.zeros(1, 1, 15, 15)
    x[0, 0, 7, 7] = 1
    assert branch(x)[0, 0].nonzero().tolist() == [[row, column] for row in (1, 7, 13) for column in (1, 7, 13)]


@pytest.mark.parametrize("name", ["deeplabv1", "deeplabv2"])
def test_the_first_two_run_without_a_crf_and_with_one(build_segmenter, name):
    backbone, head = build_segmenter(name, "resnet18", channels=8)
    image = torch.randint(0, 256, (40, 56, 3), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (logits,) = segment(backbone.eval(), [head.eval()], image.permute(2, 0, 1)[None] / 127.5 - 1)
    without = logits[0].permute(1, 2, 0).softmax(dim=2)
    refined = refine(without, image, CRFOptions(steps=2, sources=64))
    assert without.shape == refined.shape == (40, 56, 3)
    torch.testing.assert_close(refined.sum(dim=2), torch.ones(40, 56))
    assert (refined - without).abs().max() > 0.01


def test_every_branch_of_v3_keeps_the_size_of_the_map(build_segmenter):
    backbone, head = build_segmenter("deeplabv3", "resnet18", device="meta")
    x = torch.zeros(2, backbone.channels[-1], 9, 7, device="meta")
    shapes = [tuple(branch(x).shape) for branch in head.layers[0].convs]
    assert shapes == [(2, 256, 9, 7)] * 5


def test_v3plus_joins_48_channels_of_stride_4_and_gives_logits_of_stride_4(build_segmenter):
    backbone, head = build_segmenter("deeplabv3plus", "resnet50", device="meta")
    assert (backbone.strides, backbone.channels) == ((4, 16, 16), (256, 1024, 2048))
    assert head.low_level[0].out_channels == 48
    assert head.decoder[0][0].depthwise.in_channels == 256 + 48
    assert head(backbone(torch.zeros(2, 3, 64, 96, device="meta"))).shape == (2, 3, 16, 24)


def test_the_decoder_of_v3plus_sees_what_the_coarse_map_does_not():
    head = DeepLabV3PlusHead([2, 4], [4, 16], 3, width=8).eval()
    coarse = torch.zeros(1, 4, 4, 4)
    fine = torch.zeros(1, 2, 16, 16)
    plain = head([fine, coarse])
    fine[0, :, 8, 8] = 1
    changed = (head([fine, coarse]) - plain).abs().sum(dim=(0, 1)).nonzero()
    assert changed.amin(dim=0).tolist() == [6, 6] and changed.amax(dim=0).tolist() == [10, 10]  # two 3 x 3


def test_all_convolutions_of_v3plus_wider_than_a_cell_are_depthwise(build_segmenter):
    _, head = build_segmenter("deeplabv3plus", "resnet18", device="meta")
    wide = [each for each in head.modules() if isinstance(each, nn.Conv2d) and each.kernel_size == (3, 3)]
    assert len(wide) == 5 and all(each.groups == each.in_channels for each in wide)


@pytest.mark.parametrize(("output_stride", "expected"), [(16, [2, 4, 8]), (8, [4, 8, 16]), (32, [1, 2, 4])])
def test_multi_grid_multiplies_the_rates_of_the_last_stage(build_segmenter, output_stride, expected):
    options = {"output_stride": output_stride, "multi_grid": [1, 2, 4], "device": "meta"}
    backbone, _ = build_segmenter("deeplabv3", "resnet50", **options)
    convolutions = [backbone.get_submodule(f"layer4.{block}.conv2") for block in range(3)]
    assert [each.dilation for each in convolutions] == [(rate, rate) for rate in expected]
    side = 64 // output_stride
    assert backbone(torch.zeros(2, 3, 64, 64, device="meta"))[-1].shape[2:] == (side, side)


@pytest.mark.parametrize(
    ("backbone", "rates", "message"),
    [
        ("resnet18", [1, 2, 4], r"model.multi_grid is \[1, 2, 4\], .* resnet18 has 2"),
        ("resnet50", [1, 2, 0], r"model.multi_grid is \[1, 2, 0\], .* a rate of 1 or more"),
        ("vgg16", [1], r"model.multi_grid is \[1\], .* vgg16 has none"),
    ],
)
def test_a_multi_grid_that_does_not_fit_the_last_stage_is_refused(build_segmenter, backbone, rates, message):
    with pytest.raises(UsageError, match=message):
        build_segmenter("deeplabv3", backbone, multi_grid=rates, device="meta")


def test_a_network_that_cannot_be_dilated_is_refused(build_segmenter):
    with pytest.raises(UsageError, match=r"output_stride is 8, but densenet121 can't be dilated"):
        build_segmenter("deeplabv3", "densenet121", device="meta")
