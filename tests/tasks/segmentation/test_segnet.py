"""SegNet and DeconvNet: their layers counted, and values put back where the pools found them."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from foveal.backbones import count_parameters, create_backbone
from foveal.core.errors import UsageError
from foveal.tasks.segmentation.head import segment
from foveal.tasks.segmentation.options import SegmentationOptions
from foveal.tasks.segmentation.segnet import DeconvNetHead, SegNetHead, build_deconvnet, build_segnet

VGG = ((64, 128, 256, 512, 512, 512), (1, 2, 4, 8, 16, 32))
SMALL = ((2, 3, 4, 4), (1, 2, 4, 8))


@pytest.fixture(scope="module")
def backbone():
    return create_backbone("vgg16_bn").eval()


def convolutions(module, kind=nn.Conv2d):
    return [layer for layer in module.modules() if isinstance(layer, kind)]


def maps_by_pools(height=32, width=40):
    maps = [torch.rand(1, 2, height, width)]
    for channels in (3, 4):
        x = F.max_pool2d(maps[-1], 2)
        maps.append(torch.rand(1, channels, *x.shape[2:]))
    return [*maps, F.max_pool2d(maps[-1], 2)]


def test_unpooling_keeps_the_largest_value_of_each_window_at_its_place():
    x = torch.rand(1, 1, 8, 8)
    pooled, indices = F.max_pool2d(x, 2, return_indices=True)
    back = F.max_unpool2d(pooled, indices, [2, 2])
    windows = F.unfold(back, 2, stride=2)[0]
    assert torch.equal((windows != 0).sum(dim=0), torch.ones(16, dtype=torch.int64))
    assert torch.equal(back[back != 0], x[back != 0])


def test_the_encoder_has_the_13_convolutions_of_vgg16(backbone):
    shapes = [layer.weight.shape for layer in convolutions(backbone)]
    assert len(shapes) == 13
    assert [shape[0] for shape in shapes] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6


def test_the_encoder_has_the_keys_of_the_published_weights(backbone):
    with torch.device("meta"):
        published = torchvision.models.vgg16_bn().state_dict()
    assert set(backbone.state_dict()) == {key for key in published if key.startswith("features.")}


def test_the_backbones_maps_are_those_that_its_pools_read(backbone):
    maps = backbone(torch.rand(1, 3, 64, 64))
    assert torch.equal(F.max_pool2d(maps[4], 2), maps[5])


def test_segnets_decoder_mirrors_the_encoder():
    shapes = [(layer.in_channels, layer.out_channels) for layer in convolutions(SegNetHead(*VGG, 12))]
    deepest = [(512, 512)] * 3 + [(512, 512), (512, 512), (512, 256)]
    assert shapes == [*deepest, (256, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64), (64, 12)]


def test_segnets_upsampling_learns_nothing():
    """13 convolutions, 12 of them with a batch norm, hold all of the parameters."""
    head = SegNetHead(*VGG, 12)
    layers = [*convolutions(head), *convolutions(head, nn.BatchNorm2d)]
    assert len(layers) == 25
    assert count_parameters(head) == sum(count_parameters(layer) for layer in layers)
    assert not convolutions(head, nn.ConvTranspose2d)


def test_segnets_decoder_has_14_7_million_parameters():
    """Nine weights for each pair of channels; a bias for each output, and but for the last a norm's weight and bias."""
    pairs = 5 * 512 * 512 + 512 * 256 + 2 * 256 * 256 + 256 * 128 + 128 * 128 + 128 * 64 + 64 * 64 + 64 * 12
    outputs = 5 * 512 + 3 * 256 + 2 * 128 + 2 * 64
    assert count_parameters(SegNetHead(*VGG, 12)) == 9 * pairs + 3 * outputs + 12 == 14_726_796


@pytest.mark.parametrize("size", [(64, 96), (67, 75)])
def test_segnets_logits_have_the_size_of_the_image(backbone, size):
    head = SegNetHead(backbone.channels, backbone.strides, 12).eval()
    assert head(backbone(torch.rand(1, 3, *size))).shape == (1, 12, *size)


def test_segnet_puts_values_where_the_encoder_found_them():
    """One 2 x 2 pool, its largest value below on the right; a decoder of one convolution that passes values on."""
    head = SegNetHead((1, 1), (1, 2), 1, convolutions=(1,))
    nn.init.dirac_(head.stages[0][-1].weight)
    fine = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert head([fine, torch.tensor([[[[7.0]]]])]).tolist() == [[[[0.0, 0.0], [0.0, 7.0]]]]


def test_a_head_on_the_last_levels_alone_has_their_resolution():
    backbone = create_backbone("vgg16_bn", levels=(3, 4, 5)).eval()
    head = SegNetHead(backbone.channels, backbone.strides, 3).eval()
    assert head(backbone(torch.rand(1, 3, 64, 64))).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("head", [SegNetHead, DeconvNetHead])
def test_a_network_without_such_pools_is_refused(head):
    with pytest.raises(UsageError, match=r"indices of its encoder's max pools.* use a VGG"):
        head((64, 64, 128, 256, 512), (2, 4, 8, 16, 32), 12)


def test_counts_of_convolutions_for_too_few_stages_are_refused():
    with pytest.raises(UsageError, match=r"\(2, 2\), but the backbone has 3 stages"):
        SegNetHead(*SMALL, 2, convolutions=(2, 2))


def test_deconvnet_has_252_million_parameters(backbone):
    """102.8 million each in fc6 and its mirror image, 16.8 in fc7, 14.7 each in VGG-16 and its mirror image."""
    with torch.device("meta"):
        head = DeconvNetHead(*VGG, 21)
    millions = (count_parameters(backbone) + count_parameters(head)) / 1e6
    assert millions == pytest.approx(2 * 102.76 + 16.78 + 2 * 14.72, abs=0.1)


def test_deconvnet_learns_its_upsampling_in_14_transposed_convolutions():
    """One back from fc7, and the mirror image of VGG-16's 13."""
    with torch.device("meta"):
        layers = convolutions(DeconvNetHead(*VGG, 21), nn.ConvTranspose2d)
    assert [layer.kernel_size[0] for layer in layers] == [7] + [3] * 13


@pytest.mark.parametrize("size", [(224, 224), (230, 260)])
def test_deconvnets_logits_have_the_size_of_the_image(size):
    head = DeconvNetHead((2, 2, 2, 2, 2, 2), VGG[1], 3, fc_channels=4).eval()
    maps = [torch.rand(1, 2, size[0] // stride, size[1] // stride) for stride in VGG[1]]
    assert head(maps).shape == (1, 3, *size)


def test_deconvnet_names_the_smallest_image():
    head = DeconvNetHead((2, 2, 2, 2, 2, 2), VGG[1], 3, fc_channels=4)
    with pytest.raises(UsageError, match=r"2 x 3 cells.* 224 x 224 pixels"):
        head([torch.rand(1, 2, 64 // stride, 96 // stride) for stride in VGG[1]])


@pytest.mark.parametrize("head", [SegNetHead, DeconvNetHead])
def test_every_parameter_learns(head):
    options = {} if head is SegNetHead else {"fc_channels": 4, "fc_kernel": 3}
    network = head(*SMALL, 2, convolutions=(2, 2, 2), **options)
    maps = maps_by_pools()
    network(maps).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_fully_connected_layers_become_convolutions():
    """On a map as large as its kernel fc6 answers as the layer whose weights it took."""
    head = DeconvNetHead(*SMALL, 2, fc_channels=5, fc_kernel=3)
    fc6, fc7 = nn.Linear(4 * 9, 5), nn.Linear(5, 5)
    layers = {"classifier.0": fc6, "classifier.3": fc7}
    head.load_fully_connected(
        {f"{name}.{key}": value for name, layer in layers.items() for key, value in layer.state_dict().items()}
    )
    x = torch.rand(2, 4, 3, 3)
    torch.testing.assert_close(head.fc7[0](head.fc6[0](x)).flatten(1), fc7(fc6(x.flatten(1))))


def test_the_fully_connected_layers_of_torchvisions_vgg16_fit():
    with torch.device("meta"):
        head = DeconvNetHead(*VGG, 21)
        head.load_fully_connected(torchvision.models.vgg16_bn().state_dict())
    assert head.fc6[0].weight.shape == (4096, 512, 7, 7)


def test_weights_of_another_network_are_refused():
    head = DeconvNetHead(*SMALL, 2, fc_channels=5, fc_kernel=3)
    with pytest.raises(UsageError, match=r"classifier.0.weight is \(5, 7\), .* 180 numbers"):
        head.load_fully_connected({"classifier.0.weight": torch.rand(5, 7)})
    with pytest.raises(UsageError, match=r"classifier.0.weight is nothing"):
        head.load_fully_connected({})


def test_a_recipe_builds_segnet():
    backbone, head = build_segnet(partial(create_backbone, "vgg11_bn"), SegmentationOptions(), num_classes=3)
    (logits,) = segment(backbone.eval(), [head.eval()], torch.rand(1, 3, 37, 70))
    assert logits.shape == (1, 3, 37, 70)


def test_a_recipe_builds_deconvnet_with_the_fully_connected_layers_of_its_weights(tmp_path):
    """A VGG-11 whose fc6 and fc7 are all of one value: no fresh ones would be."""
    make = partial(create_backbone, "vgg11_bn")
    shapes = {"classifier.0": (4096, 25088), "classifier.3": (4096, 4096)}
    state = {f"{name}.weight": torch.full((1, 1), 0.5).expand(shape) for name, shape in shapes.items()}
    state |= {f"{name}.bias": torch.full((4096,), 0.25) for name in shapes}
    torch.save(state, tmp_path / "vgg.pth")
    options = SegmentationOptions(backbone="vgg11_bn", weights=str(tmp_path / "vgg.pth"))
    _, head = build_deconvnet(make, options, num_classes=3)
    assert all((head.fc6[0].weight == 0.5).all() and (block[0].bias == 0.25).all() for block in (head.fc6, head.fc7))


def test_an_option_that_segnet_does_not_read_is_refused():
    with pytest.raises(UsageError, match=r"model\.channels is 64"):
        build_segnet(partial(create_backbone, "vgg11_bn"), SegmentationOptions(channels=64), num_classes=3)
