"""HED: the maps that it reads, where its outputs lie on the image, how it starts, and that it learns."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from foveal.backbones import cell_centres, receptive_field
from foveal.core.errors import UsageError
from foveal.tasks.build import build_backbone
from foveal.tasks.edges.head import detect_edges, upsample
from foveal.tasks.edges.heads import HEADS
from foveal.tasks.edges.hed import HEDHead

every_head = pytest.mark.parametrize("head", HEADS)


def made(head: str, name: str, **options):
    torch.manual_seed(0)
    backbone, module = HEADS[head](partial(build_backbone, name, weights=None), name, **options)
    return backbone.eval(), module.eval()


def filled(module):
    """Weights that are neither zero nor alike."""
    for number, parameter in enumerate(module.parameters()):
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(number))
    return module


def test_the_side_outputs_of_vgg16_are_the_papers():
    backbone, head = made("hed", "vgg16")
    # Table 1: conv1_2, conv2_2, conv3_3, conv4_3, conv5_3, each behind its ReLU; pool5 is gone.
    assert [info.layer for info in backbone.feature_info()] == [f"features.{i}" for i in (3, 8, 15, 22, 29)]
    assert receptive_field(backbone) == [5, 14, 40, 92, 196]
    assert head.strides == backbone.strides == (1, 2, 4, 8, 16)
    assert [side.in_channels for side in head.sides] == [64, 128, 256, 512, 512]
    assert head.margin == 34


def test_at_the_start_the_sides_are_zero_and_the_last_output_is_their_mean():
    head = HEDHead((4, 6), (1, 2))
    features = [torch.randn(1, 4, 8, 8), torch.randn(1, 6, 4, 4)]
    assert all(x.abs().max() == 0 for x in head(features))
    assert head.fuse.weight.flatten().tolist() == [1 / 2, 1 / 2] and head.fuse.bias.item() == 0
    assert made("hed", "vgg16")[1].fuse.weight.flatten().tolist() == pytest.approx([1 / 5] * 5)
    filled(head.sides)
    *sides, fuse = head(features)
    assert torch.allclose(fuse, torch.stack(sides).mean(dim=0), atol=1e-6)


@every_head
@pytest.mark.parametrize(
    "name", ["vgg11", "vgg16_bn", "resnet18", "mobilenet_v2", "convnext_tiny", "alexnet", "inception_v3", "swin_t"]
)
def test_on_any_backbone_all_outputs_have_the_size_of_the_image(name, head):
    backbone, module = made(head, name)
    with torch.no_grad():
        logits = detect_edges(backbone, module, torch.randn(1, 3, 83, 110))
    assert len(logits) == len(backbone.strides) + 1
    assert {tuple(x.shape) for x in logits} == {(1, 1, 83, 110)}


@every_head
def test_every_weight_of_the_head_and_backbone_gets_a_gradient(head):
    backbone, module = made(head, "vgg11")
    filled(module)
    sum(x.square().sum() for x in detect_edges(backbone, module, torch.randn(1, 3, 40, 40))).backward()
    silent = [name for part in (backbone, module) for name, p in part.named_parameters() if not p.grad.abs().sum()]
    assert not silent


@pytest.mark.parametrize(("stride", "centre"), [(2, 0.5), (2, 0), (4, 1.5), (8, 7.5), (8, 0), (4, -5), (4, 6.5)])
def test_upsampling_puts_the_value_of_a_cell_where_the_cell_lies(stride, centre):
    # A map whose values are the places of its cells becomes an image whose values are the places of its pixels,
    # between the first and the last cell; beyond them it goes on with their values.
    cells = centre + stride * torch.arange(6, dtype=torch.float64)
    size = (3, 24)
    image = upsample(cells.expand(1, 1, 6, 6), stride, centre, size)
    assert image.shape == (1, 1, *size)
    expected = torch.arange(24.0, dtype=torch.float64).clamp(cells[0], cells[-1])
    assert torch.allclose(image[0, 0], expected.expand(size))


def test_upsampling_is_torchs_where_cells_cover_the_image_evenly():
    x = torch.randn(2, 1, 5, 7)
    expected = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    assert upsample(x, 4, 1.5, (20, 28)).equal(expected)


def released(image, backbone, head):
    """The network as in Caffe: 35 pixels of padding at conv1_1, transposed convolutions, crops."""
    x = F.pad(image, (34, 34, 34, 34))
    maps = backbone(x)
    height, width = image.shape[2:]
    sides = []
    for side, feature, stride, crop in zip(head.sides, maps, (1, 2, 4, 8, 16), (34, 35, 36, 38, 42), strict=True):
        score = side(feature)
        if stride > 1:
            ramp = 1 - (torch.arange(2 * stride) - stride + 0.5).abs() / stride
            score = F.conv_transpose2d(score, torch.outer(ramp, ramp)[None, None], stride=stride)
        sides.append(score[:, :, crop : crop + height, crop : crop + width])
    return [*sides, head.fuse(torch.cat(sides, dim=1))]


def test_outputs_are_those_of_the_released_network():
    backbone, head = made("hed", "vgg16")
    filled(head)
    image = torch.randn(1, 3, 44, 60)  # with 68 more: multiples of 16, so that its pools need not round
    with torch.no_grad():
        for ours, theirs in zip(detect_edges(backbone, head, image), released(image, backbone, head), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))


@every_head
@pytest.mark.parametrize("name", ["vgg11", "resnet18", "alexnet"])
def test_a_head_knows_where_the_cells_of_its_backbone_lie(name, head):
    backbone, module = made(head, name)
    assert list(module.centres) == cell_centres(backbone)
    assert len(module.centres) == len(module.strides) == len(backbone.strides)


@every_head
@pytest.mark.parametrize("name", ["vgg11", "resnet18"])
def test_what_is_seen_of_a_point_lies_around_it(name, head):
    # The response of each side to one bright pixel is centred on it. Nonnegative weights let nothing cancel.
    backbone, module = made(head, name)
    for parameter in [*backbone.parameters(), *module.parameters()]:
        parameter.data.abs_()
    for part in backbone.modules():  # the largest of four is not in the middle of them
        for key, child in part.named_children():
            if isinstance(child, torch.nn.MaxPool2d):
                setattr(part, key, torch.nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    for side in module.sides:
        side.weight.data.fill_(1.0)
    image = torch.zeros(1, 3, 256, 256)
    far, point = 40, torch.arange(256.0)
    with torch.no_grad():
        dark = detect_edges(backbone, module, image)
        for shift in range(0, 16, 5):
            image.zero_()[:, :, :, 120 + shift] = 1
            lit = detect_edges(backbone, module, image)
            for before, after, stride in zip(dark[:-1], lit[:-1], module.strides, strict=True):
                change = (after - before)[0, 0, far:-far].sum(dim=0).clamp(min=0)
                middle = (change * point).sum() / change.sum()
                assert abs(middle - 120 - shift) <= stride / 2 + 0.6


def test_a_network_that_cannot_be_dilated_says_so():
    with pytest.raises(UsageError, match="can't be dilated"):
        made("hed", "alexnet", output_stride=8)


def test_hed_learns_the_outline_of_a_square():
    torch.manual_seed(0)
    backbone, head = made("hed", "resnet20")
    images = torch.zeros(4, 3, 32, 32)
    edges = torch.zeros(4, 1, 32, 32)
    for number, (top, left) in enumerate([(4, 6), (8, 10), (12, 5), (9, 13)]):
        images[number, :, top : top + 12, left : left + 12] = 1
        edges[number, :, top : top + 12, left : left + 12] = 1
        edges[number, :, top + 1 : top + 11, left + 1 : left + 11] = 0
    optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=3e-3)
    backbone.train()
    for _ in range(60):
        optimizer.zero_grad()
        logits = detect_edges(backbone, head, images)
        sum(F.binary_cross_entropy_with_logits(x, edges, pos_weight=torch.tensor(8.0)) for x in logits).backward()
        optimizer.step()
    found = detect_edges(backbone, head, images)[-1] > 0
    assert (found[edges == 1]).float().mean() > 0.95 and (found[edges == 0]).float().mean() < 0.1
