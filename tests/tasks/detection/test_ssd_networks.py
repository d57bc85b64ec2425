"""The networks and the default boxes of SSD and SSDLite: the paper's figures, any backbone, and what is refused."""

from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from foveal.core.errors import UsageError
from foveal.tasks.build import build_backbone
from foveal.tasks.detection.options import AnchorOptions, DetectionOptions
from foveal.tasks.detection.ssd import build_ssd, build_ssdlite, default_ssd_anchors
from foveal.tasks.detection.ssd_layers import L2Norm

BUILDERS = {"ssd": build_ssd, "ssdlite": build_ssdlite}


def build(name, backbone, size, weights=None, **options):
    torch.set_num_threads(1)
    make_backbone = partial(build_backbone, backbone, weights=weights)
    options = DetectionOptions(backbone=backbone, head=name, weights=weights, **options)
    return BUILDERS[name](make_backbone, options, num_classes=3, size=size)


def shapes(name, backbone, size, **options):
    """Sides of the maps, numbers of boxes at a place, number of boxes."""
    with torch.device("meta"):  # shapes alone
        network, head = build(name, backbone, size, **options)
        images = torch.empty(1, 3, size, size)
        features = network.eval()(images)
        outputs = head.eval()(features, ImageList(images, [(size, size)]))
        sides = [x.shape[-1] for x in head.maps(features)]
    assert outputs.logits.shape == (1, len(outputs.default_boxes), 4) and outputs.deltas.shape[2] == 4
    return sides, head.default_boxes.numbers, len(outputs.default_boxes)


def test_ssd300_has_the_papers_8732_default_boxes():
    number = 38**2 * 4 + 19**2 * 6 + 10**2 * 6 + 5**2 * 6 + 3**2 * 4 + 1 * 4
    assert number == 8732
    assert shapes("ssd", "vgg16", 300) == ([38, 19, 10, 5, 3, 1], [4, 6, 6, 6, 4, 4], number)


def test_ssd512_has_the_authors_24564_default_boxes():
    number = 64**2 * 4 + (32**2 + 16**2 + 8**2 + 4**2) * 6 + 2**2 * 4 + 1 * 4
    assert number == 24564
    assert shapes("ssd", "vgg16", 512) == ([64, 32, 16, 8, 4, 2, 1], [4, 6, 6, 6, 6, 4, 4], number)


def test_ssdlite_on_320_pixels_has_the_maps_of_torchvisions():
    assert shapes("ssdlite", "mobilenet_v2", 320)[:2] == ([20, 10, 5, 3, 2, 1], [6] * 6)


def test_ssd_on_any_backbone_has_the_papers_maps_on_300_pixels():
    assert shapes("ssd", "resnet50", 300)[0] == [38, 19, 10, 5, 3, 1]


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        *(("resnet18", size) for size in (96, 128, 200, 300, 512)),
        *(("mobilenet_v2", 128), ("densenet121", 200), ("vgg16_bn", 96), ("squeezenet1_0", 512), ("alexnet", 300)),
        *(("inception_v3", 128), ("swin_t", 96), ("nin", 200)),
    ],
)
@pytest.mark.parametrize("name", BUILDERS)
def test_maps_shrink_to_a_single_cell(name, backbone, size):
    sides, numbers, _ = shapes(name, backbone, size)
    assert sides[-1] == 1 and len(numbers) == len(sides)
    assert sides == sorted(set(sides), reverse=True)


def test_ssd_begins_at_stride_8_and_ssdlite_at_16():
    assert shapes("ssd", "resnet18", 128)[0] == [16, 8, 4, 2, 1]
    assert shapes("ssdlite", "resnet18", 128)[0] == [8, 4, 2, 1]


@pytest.mark.parametrize("size", [64, 128, 256])
def test_vgg16_below_300_pixels_has_the_layers_of_ssd300(size):
    assert len(shapes("ssd", "vgg16", size)[0]) == 6


def test_vgg16_above_512_pixels_has_the_layers_of_ssd512():
    assert len(shapes("ssd", "vgg16", 640)[0]) == 7


@pytest.mark.parametrize("backbone", ["resnet18", "squeezenet1_1"])
@pytest.mark.parametrize("name", BUILDERS)
def test_it_runs_and_learns_on_images(name, backbone):
    torch.manual_seed(0)
    network, head = build(name, backbone, 96, channels=32)
    images = torch.randn(2, 3, 96, 96)
    outputs = head(network(images), ImageList(images, [(96, 96), (90, 40)]))
    target = {"boxes": torch.tensor([[5.0, 5, 50, 38]]), "labels": torch.tensor([2])}
    torch.stack(list(head.losses(outputs, [target, target]).values())).sum().backward()
    assert all(weight.grad is not None for weight in head.parameters())
    assert len(head.detect(outputs)) == 2


def sides_of_first_boxes(head):
    """Of each map the side of its first two boxes, which are squares, in pixels."""
    of_maps = (head.default_boxes.sides * head.default_boxes.size).split(head.default_boxes.numbers)
    return [[round(float(side), 2) for side in sides[:2, 0]] for sides in of_maps]


def test_vgg16_has_the_sizes_of_the_paper_for_coco():
    head = build("ssd", "vgg16", 300)[1]
    assert [pair[0] for pair in sides_of_first_boxes(head)] == [21, 45, 99, 153, 207, 261]
    assert sides_of_first_boxes(head)[0][1] == 30.74  # the root of 21 * 45


def test_other_backbones_have_scales_by_equation_4():
    # Six maps: 0.1 of the image, then 0.2 to 0.9 in steps of 0.175; the square behind the last, of 0.972, is cut at 1.
    head = build("ssd", "resnet18", 300)[1]
    assert [pair[0] for pair in sides_of_first_boxes(head)] == [30, 60, 112.5, 165, 217.5, 270]
    assert sides_of_first_boxes(head)[-1][1] == 291.63


def test_ssdlite_has_the_scales_of_published_ones():
    head = build("ssdlite", "mobilenet_v2", 320)[1]
    assert [pair[0] for pair in sides_of_first_boxes(head)] == [64, 112, 160, 208, 256, 304]


def test_a_place_has_two_squares_and_each_ratio_upright_and_across():
    sides = build("ssd", "resnet18", 64)[1].default_boxes
    width, height = (sides.sides[:4] * sides.size).unbind(dim=1)
    root = 2**0.5
    torch.testing.assert_close(width, torch.tensor([6.4, 6.4 * root, 6.4 * root, 6.4 / root]))  # sizes 6.4 and 12.8
    torch.testing.assert_close(height, torch.tensor([6.4, 6.4 * root, 6.4 / root, 6.4 * root]))


def test_boxes_lie_around_the_middle_of_their_places_whatever_pads_the_image():
    boxes = build("ssd", "resnet18", 64)[1].default_boxes
    maps = [torch.zeros(1, 1, height, width) for height, width in ((8, 16), (4, 8), (2, 4), (1, 2))]
    found = boxes(maps, (64, 128))
    centres = (found[:, :2] + found[:, 2:]) / 2
    assert centres[0].tolist() == [4, 4] and centres[4].tolist() == [12, 4] and centres[4 * 16].tolist() == [4, 12]
    assert centres[-1].tolist() == [96, 32]
    assert found[:, 2].max() > 96  # the same boxes as on a square
    assert torch.equal(boxes(maps, (64, 128))[:4], boxes([torch.zeros(1, 1, n, n) for n in (8, 4, 2, 1)], (64, 64))[:4])


def test_a_recipe_sets_sizes_and_ratios():
    anchors = AnchorOptions(sizes=[[10, 20], [20, 30], [30, 40], [40, 64]], ratios=[[3.0]])
    head = build("ssd", "resnet18", 64, anchors=anchors)[1]
    assert sides_of_first_boxes(head) == [[10, 14.14], [20, 24.49], [30, 34.64], [40, 50.6]]
    assert head.default_boxes.numbers == [4] * 4


@pytest.mark.parametrize(("name", "backbone"), [("ssd", "vgg16"), ("ssd", "resnet18"), ("ssdlite", "mobilenet_v2")])
def test_the_defaults_written_out_give_the_same_boxes(name, backbone):
    options = DetectionOptions(backbone=backbone, head=name)
    anchors = default_ssd_anchors(options, 300)
    written = build(name, backbone, 300, anchors=AnchorOptions(anchors.sizes, anchors.ratios))[1]
    assert torch.equal(written.default_boxes.sides, build(name, backbone, 300)[1].default_boxes.sides)
    assert written.default_boxes.strides == anchors.strides


def test_conv4_3_is_scaled_to_a_length_of_20():
    first = build("ssd", "vgg16", 300)[1].maps.first
    lengths = first(torch.rand(1, 512, 2, 2)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((1, 2, 2), 20.0))


@pytest.mark.parametrize(("backbone", "scaled"), [("squeezenet1_0", True), ("vgg16_bn", False), ("resnet18", False)])
def test_only_maps_of_networks_without_norms_are_scaled(backbone, scaled):
    assert isinstance(build("ssd", backbone, 96)[1].maps.first, L2Norm) == scaled


def test_every_spatial_convolution_of_ssdlite_is_separable():
    head = build("ssdlite", "mobilenet_v2", 320)[1]
    spatial = [conv for conv in head.modules() if isinstance(conv, nn.Conv2d) and conv.kernel_size != (1, 1)]
    assert len(spatial) == 4 + 2 * 6 and all(conv.groups == conv.in_channels for conv in spatial)
    assert not any(type(module) is nn.ReLU for module in head.modules())


def test_fc6_and_fc7_are_every_fourth_output_and_every_third_place_of_vggs_classifier(tmp_path):
    # The file's numbers say where they come from: column numbers in weights, row numbers in biases.
    backbone = build_backbone("vgg16", weights=None)
    state = {key: torch.zeros(()).expand(value.shape) for key, value in backbone.state_dict().items()}
    for number, columns in ((0, 512 * 7 * 7), (3, 4096)):
        state[f"classifier.{number}.weight"] = torch.arange(float(columns)).expand(4096, columns)
        state[f"classifier.{number}.bias"] = torch.arange(4096.0)
    state |= {"classifier.6.weight": torch.zeros(()).expand(1000, 4096), "classifier.6.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "vgg16.pth")
    last = build("ssd", "vgg16", 300, weights=str(tmp_path / "vgg16.pth"))[1].maps.last
    fc6, fc7 = last[1], last[3]
    assert fc6.bias.tolist() == fc7.bias.tolist() == list(range(0, 4096, 4))
    assert fc6.weight[5, 2].tolist() == [[2 * 49 + 7 * y + x for x in (0, 3, 6)] for y in (0, 3, 6)]
    assert fc7.weight[5].flatten().tolist() == list(range(0, 4096, 4))


def test_published_weights_of_the_whole_detector_leave_fc6_to_be_filled_later():
    options = DetectionOptions(backbone="vgg16", head="ssd", weights="coco")
    make_backbone = partial(build_backbone, "vgg16", weights=None)
    head = build_ssd(make_backbone, options, num_classes=3, size=300)[1]
    assert head.maps.last[1].weight.std() > 0


@pytest.mark.parametrize("name", BUILDERS)
def test_a_backbone_without_stride_16_is_refused_with_both_lists(name):
    with pytest.raises(UsageError, match=r"strides .*16.*, but the backbone lenet5 has 1, 2, 4"):
        build(name, "lenet5", 96)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(
        UsageError, match=r"data.size is 32, from which inception_v3 does not make its maps.* 75 or more"
    ):
        build("ssd", "inception_v3", 32)


@pytest.mark.parametrize(
    ("anchors", "message"),
    [
        (AnchorOptions(sizes=[[10, 20], [20, 30]]), r"sizes holds 2 lists; this head needs 4 lists"),
        (AnchorOptions(sizes=[[10.0]]), r"sizes holds the list \[10\]; an SSD head needs pairs"),
        (AnchorOptions(sizes=[[20, 10]]), r"sizes holds the list \[20, 10\]; an SSD head needs pairs"),
        (AnchorOptions(ratios=[[2], [2]]), r"ratios holds 2 lists; this head needs 4 lists"),
        (AnchorOptions(ratios=[[0.0]]), r"ratios holds the list \[0\]"),
        (AnchorOptions(sizes=[]), r"sizes holds 0 lists"),
    ],
)
def test_wrong_anchors_are_refused(anchors, message):
    with pytest.raises(UsageError, match=message):
        build("ssd", "resnet18", 64, anchors=anchors)


def test_a_head_without_width_is_refused():
    with pytest.raises(UsageError, match=r"model.channels is 2"):
        build("ssd", "resnet18", 64, channels=2)
