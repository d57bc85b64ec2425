"""UNet against the numbers of its paper's figure 1, and its head on backbones of many shapes."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from foveal.backbones import count_parameters, create_backbone
from foveal.backbones.unet import UNetEncoder
from foveal.core.errors import UsageError
from foveal.tasks.segmentation.head import segment
from foveal.tasks.segmentation.options import SegmentationOptions
from foveal.tasks.segmentation.unet import (
    Mirrored,
    UNet,
    UNetDecoder,
    UNetHead,
    build_unet,
    build_unet_padded,
    build_unet_valid,
    valid_output,
)


@pytest.fixture(scope="module")
def paper():
    with torch.device("meta"):  # shapes and counts alone
        return UNet(1, 2).eval()


@pytest.fixture
def small():
    return UNet(1, 2, width=4).eval()


def maps_of(channels, strides, size=64, images=1):
    return [
        torch.rand(images, width, size // stride, size // stride)
        for width, stride in zip(channels, strides, strict=True)
    ]


def test_the_papers_network_has_its_number_of_parameters(paper):
    assert count_parameters(paper) == 31_030_658


def test_the_papers_encoder_has_the_sizes_of_figure_1(paper):
    maps = paper.encoder(torch.empty(1, 1, 572, 572, device="meta"))
    assert [x.shape[1:] for x in maps] == [
        (64, 568, 568),
        (128, 280, 280),
        (256, 136, 136),
        (512, 64, 64),
        (1024, 28, 28),
    ]


def test_the_papers_output_is_184_pixels_smaller_than_its_input(paper):
    assert paper(torch.empty(1, 1, 572, 572, device="meta")).shape == (1, 2, 388, 388)


@pytest.mark.parametrize("padded", [False, True])
def test_there_are_four_poolings_and_four_steps_up(padded):
    network = UNet(1, 2, padded=padded, width=4)
    kinds = [type(module) for module in network.modules()]
    assert (kinds.count(nn.MaxPool2d), kinds.count(nn.ConvTranspose2d)) == (4, 4)


def test_each_step_up_reads_as_many_channels_from_below_as_from_beside(paper):
    ups = [up.out_channels for up in paper.decoder.ups]
    joined = [pair[0].in_channels for pair in paper.decoder.pairs]
    assert (ups, joined) == ([512, 256, 128, 64], [512 + 512, 256 + 256, 128 + 128, 64 + 64])


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (96, 64)])
def test_padded_it_keeps_multiples_of_16(size):
    network = UNet(3, 5, padded=True, width=4).eval()
    assert network(torch.rand(2, 3, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize("size", [(17, 31), (45, 66)])
def test_padded_it_keeps_other_sizes_too(size):
    network = UNet(1, 2, padded=True, width=4).eval()
    assert network(torch.rand(1, 1, *size)).shape == (1, 2, *size)


def test_a_pixel_of_the_output_sees_the_image_around_its_own_place():
    """The middle one of 4 x 4 is where the image's middle is: 188 = 92 + 4 + 92."""
    network = UNet(1, 1, width=4).eval()
    image = torch.rand(1, 1, 188, 188, requires_grad=True)
    network(image)[0, 0, 1:3, 1:3].sum().backward()
    seen = image.grad[0, 0].abs().sum(dim=0).nonzero().flatten()
    assert abs((seen.min() + seen.max()).item() - 187) <= 16  # the grid of the poolings


@pytest.mark.parametrize(("side", "output"), [(1, 4), (4, 4), (5, 20), (388, 388), (389, 404)])
def test_outputs_without_padding_are_4_and_multiples_of_16_more(side, output):
    assert valid_output(side) == output


@pytest.mark.parametrize("size", [(3, 1), (30, 41), (200, 36)])
def test_an_image_of_any_size_is_mirrored_until_its_output_covers_it(small, size):
    assert small.forward_whole(torch.rand(1, 1, *size)).shape == (1, 2, *size)


def test_far_from_the_border_the_whole_image_gives_what_its_parts_give(small):
    """100 = 92 + 8 pixels from each border; a part that begins at pixel 4 has its poolings where the whole has."""
    image = torch.rand(1, 1, 196, 196)
    whole, part = small.forward_whole(image), small(image[:, :, 4:192, 4:192])
    torch.testing.assert_close(whole[:, :, 96:100, 96:100], part)


def test_the_whole_of_a_mirrored_image_is_the_mirrored_whole():
    """Without a single learned number that tells left from right, mirroring must not either: sizes are 4 + 16 n."""
    network = UNet(1, 1, width=4).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.weight.data.fill_(1 / module.weight[0].numel())
    image = torch.rand(1, 1, 20, 36)
    torch.testing.assert_close(network.forward_whole(image.flip(3)), network.forward_whole(image).flip(3))


def test_a_size_that_a_pooling_would_cut_is_refused(small):
    with pytest.raises(UsageError, match=r"200 x 190 pixels.* use forward_whole.* or 204 x 204"):
        small(torch.rand(1, 1, 200, 190))


def test_weights_begin_normal_of_variance_2_by_the_inputs_of_a_unit():
    encoder = UNetEncoder(1, padded=False)
    assert encoder.stages[1][1].weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)


def test_transposed_convolutions_have_one_input_a_channel():
    up = UNet(1, 2, width=32).decoder.ups[0]
    assert up.weight.std().item() == pytest.approx(math.sqrt(2 / 512), rel=0.02)


def test_dropout_stands_at_the_end_of_the_contracting_path():
    encoder = UNetEncoder(1, padded=False, width=4)
    assert [isinstance(stage[-1], nn.Dropout) for stage in encoder.stages] == [False, False, False, True, True]


@pytest.mark.parametrize("size", [(32, 48), (21, 40)])
def test_a_backbone_that_mirrors_and_a_decoder_that_trims_are_a_pair_for_the_task(size):
    """On sides of multiples of 16 they give what `forward_whole` gives; the task pads others with zeros."""
    network = UNet(3, 2, width=4).eval()
    encoder = network.encoder
    decoder = UNetDecoder(encoder.channels, encoder.strides, 2, trim=2).eval()
    decoder.load_state_dict(network.decoder.state_dict())
    images = torch.rand(1, 3, *size)
    padded = nn.functional.pad(images, (0, -size[1] % 16, 0, -size[0] % 16))
    expected = network.forward_whole(padded)[:, :, : size[0], : size[1]]
    (logits,) = segment(Mirrored(encoder, encoder.channels, encoder.strides), [decoder], images)
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("build, padded", [(build_unet_padded, True), (build_unet_valid, False)])
def test_a_recipe_builds_the_papers_network_on_the_backbone_unet(build, padded):
    """With the same weights its logits are those of `UNet`."""
    backbone, head = build(partial(create_backbone, "unet"), SegmentationOptions(backbone="unet"), num_classes=2)
    network = UNet(3, 2, padded=padded)
    weights = backbone.state_dict() if padded else backbone.backbone.state_dict()
    network.encoder.load_state_dict(weights)
    network.decoder.load_state_dict(head.state_dict())
    images = torch.rand(1, 3, 16, 32)
    (logits,) = segment(backbone.eval(), [head.eval()], images)
    torch.testing.assert_close(logits, network.eval().forward_whole(images))


def test_the_papers_decoder_stands_on_a_vgg_network_too():
    make = partial(create_backbone, "vgg11_bn")
    backbone, head = build_unet_padded(make, SegmentationOptions(backbone="vgg11_bn"), num_classes=2)
    (logits,) = segment(backbone.eval(), [head.eval()], torch.rand(1, 3, 37, 70))
    assert logits.shape == (1, 2, 37, 70)


@pytest.mark.parametrize(
    "build, options, reason",
    [
        (build_unet_padded, {"backbone": "resnet18", "head": "unet_padded"}, "that of resnet18 has stride 2"),
        (build_unet_valid, {"backbone": "resnet18"}, "not on resnet18: take that backbone"),
        (build_unet_valid, {"backbone": "unet", "auxiliary": 0.4}, "model.auxiliary: maps of unet_valid"),
        (build_unet_valid, {"backbone": "unet", "output_stride": 8}, "model.output_stride is 8"),
    ],
)
def test_what_the_papers_network_cannot_be_is_said(build, options, reason):
    with pytest.raises(UsageError, match=reason):
        build(partial(create_backbone, options["backbone"]), SegmentationOptions(**options), num_classes=2)


def test_its_own_decoder_refuses_strides_that_do_not_double():
    with pytest.raises(UsageError, match=r"strides \(2, 4, 4\).* use UNetHead"):
        UNetDecoder((8, 8, 8), (2, 4, 4), 2)


def test_on_resnet34_it_has_the_parameters_of_segmentation_models_pytorch():
    """Unet("resnet34", classes=1): 21,284,672 of the encoder and 3,151,697."""
    with torch.device("meta"):
        head = UNetHead((64, 64, 128, 256, 512), (2, 4, 8, 16, 32), 1, upsampling="nearest")
    assert count_parameters(head) == 24_436_369 - 21_284_672


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest", "transposed"])
@pytest.mark.parametrize(
    "strides",
    [(2, 4, 8, 16, 32), (4, 8, 16, 32), (1, 2, 4), (2, 4, 8, 8, 8), (2, 8), (4,), (1,)],
    ids=lambda strides: "-".join(map(str, strides)),
)
def test_the_head_leads_any_strides_to_full_resolution(strides, upsampling):
    channels = range(3, 3 + len(strides))
    head = UNetHead(channels, strides, 5, widths=(8, 4), upsampling=upsampling).eval()
    assert head(maps_of(channels, strides)).shape == (1, 5, 64, 64)


@pytest.mark.parametrize("strides", [(2, 4, 8), (4, 8, 8), (1, 2)])
def test_or_to_the_finest_stride(strides):
    channels = range(3, 3 + len(strides))
    head = UNetHead(channels, strides, 5, widths=(8, 4), full_resolution=False).eval()
    assert head(maps_of(channels, strides)).shape == (1, 5, 64 // strides[0], 64 // strides[0])


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest", "transposed"])
def test_maps_of_an_odd_size_meet(upsampling):
    head = UNetHead((3, 4, 5), (2, 4, 8), 2, widths=(4,), upsampling=upsampling).eval()
    maps = [torch.rand(1, 3, 35, 19), torch.rand(1, 4, 18, 10), torch.rand(1, 5, 9, 5)]
    assert head(maps).shape == (1, 2, 70, 38)


@pytest.mark.parametrize("name", ["alexnet", "vgg16_bn", "lenet5"])
def test_backbones_without_a_map_at_each_halving_fit(name):
    backbone = create_backbone(name, in_channels=3).eval()
    head = UNetHead(backbone.channels, backbone.strides, 2, widths=(8, 4)).eval()
    maps = backbone(torch.rand(1, 3, 70, 66))
    assert head(maps).shape[2:] == tuple(side * backbone.strides[0] for side in maps[0].shape[2:])


def test_each_step_reads_the_map_beside_it():
    head = UNetHead((3, 4, 5), (2, 4, 8), 2, widths=(6, 7, 8))
    assert [step.convolutions[0][0].in_channels for step in head.steps] == [5 + 4, 6 + 3, 7]


def test_every_parameter_and_every_map_has_a_gradient():
    channels, strides = (3, 4, 5), (2, 4, 8)
    head = UNetHead(channels, strides, 2, widths=(6,), upsampling="transposed")
    maps = [x.requires_grad_() for x in maps_of(channels, strides, images=2)]
    head(maps).square().sum().backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in [*maps, *head.classifier.parameters()])
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_a_recipe_builds_it_on_all_maps_with_its_width_at_full_resolution():
    make = partial(create_backbone, "resnet18")
    backbone, head = build_unet(make, SegmentationOptions(channels=4), num_classes=3)
    assert [step.convolutions[0].out_channels for step in head.steps] == [64, 32, 16, 8, 4]
    (logits,) = segment(backbone.eval(), [head.eval()], torch.rand(1, 3, 37, 70))
    assert logits.shape == (1, 3, 37, 70)
