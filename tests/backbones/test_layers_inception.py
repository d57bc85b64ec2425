"""Inception modules by the arithmetic of their papers, and against torchvision's and timm's with the same weights."""

from importlib import import_module

import pytest
import torch
from torch import nn
from torchvision.models import inception as torchvision_v3

from foveal.backbones.layers import (
    InceptionResidual,
    Renormalise,
    asymmetric_inception,
    expanded_inception,
    grid_reduction,
    inception_resnet_a,
    inception_resnet_b,
    inception_resnet_c,
    inception_resnet_reduction_b,
    inception_v1,
    inception_v2,
    inception_v4_a,
    inception_v4_b,
    inception_v4_c,
    inception_v4_reduction_b,
    naive_inception,
    reduction_a,
)
from foveal.backbones.layers.inception import chain

# timm.models has functions of these names too, and they hide the modules from an ordinary import.
timm_v4 = import_module("timm.models.inception_v4")
timm_resnet = import_module("timm.models.inception_resnet_v2")

SIZES = [(14, 14), (9, 13), (7, 8)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def shape(module: nn.Module, channels: int, size: tuple[int, int]) -> tuple[int, ...]:
    return tuple(module.to("meta")(torch.empty(2, channels, *size, device="meta")).shape)


def weights(module: nn.Module) -> int:
    return sum(layer.weight.numel() for layer in module.modules() if isinstance(layer, nn.Conv2d))


@torch.no_grad()
def assert_equal(ours: nn.Module, theirs: nn.Module, channels: int) -> None:
    """With the weights of `theirs`, in the order of registration, `ours` gives the same map."""
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean):
                tensor.normal_()
            layer.running_var.uniform_(0.5, 2)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    images = torch.randn(2, channels, 9, 12)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images.clone()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_naive_module_passes_all_channels_of_the_pool(size):
    module = naive_inception(192, 64, 128, 32)
    assert shape(module, 192, size) == (2, 64 + 128 + 32 + 192, *size)


@pytest.mark.parametrize("size", SIZES)
def test_reduced_module_adds_up_its_four_branches(size):
    module = inception_v1(192, 64, (96, 128), (16, 32), 32)
    assert shape(module, 192, size) == (2, 64 + 128 + 32 + 32, *size)


def test_naive_module_is_its_branches_side_by_side():
    module, x = naive_inception(2, 1, 1, 1), torch.randn(1, 2, 5, 5)
    got = module(x)
    for channel, (layer, _) in enumerate(branch[0] for branch in list(module)[:3]):
        torch.testing.assert_close(got[:, channel : channel + 1], layer(x).relu())
    torch.testing.assert_close(got[:, 3:], nn.functional.max_pool2d(x, 3, 1, 1))


def test_one_by_one_reduction_saves_three_quarters():
    """128 channels of 100 x 100 pixels to 256 maps of 5 x 5 kernels, at once and by way of 32 channels."""
    at_once, reduced = chain(128, (256, 5)), chain(128, (32, 1), (256, 5))
    assert (weights(at_once), weights(reduced)) == (819_200, 208_896)
    assert weights(at_once) / weights(reduced) == pytest.approx(3.92, abs=0.005)
    assert at_once[0][0].padding == (2, 2)
    assert shape(at_once, 128, (100, 100)) == shape(reduced, 128, (100, 100)) == (2, 256, 100, 100)


def reach(*steps) -> tuple[int, int]:
    """Rows and columns of the pixels that the middle pixel of a chain's map depends on."""
    image = torch.zeros(1, 2, 21, 21, requires_grad=True)
    layers = [layer for block in chain(2, *steps, norm_layer=None) for layer in block if isinstance(layer, nn.Conv2d)]
    nn.Sequential(*layers)(image)[0, 0, 10, 10].backward()
    seen = image.grad[0].abs().sum(0) > 0
    return int(seen.any(1).sum()), int(seen.any(0).sum())


def test_factorised_kernels_see_as_far_with_fewer_weights():
    c = 6
    five, double_three = chain(c, (c, 5)), chain(c, (c, 3), (c, 3))
    assert (weights(five), weights(double_three)) == (25 * c * c, 18 * c * c)
    assert 1 - weights(double_three) / weights(five) == pytest.approx(0.28)
    assert reach((2, 5)) == reach((2, 3), (2, 3)) == (5, 5)

    seven, asymmetric = chain(c, (c, 7)), chain(c, (c, (1, 7)), (c, (7, 1)))
    assert weights(asymmetric) / weights(seven) == pytest.approx(14 / 49)  # 28.6 %
    assert reach((2, 7)) == reach((2, (1, 7)), (2, (7, 1))) == (7, 7)

    three, asymmetric = chain(c, (c, 3)), chain(c, (c, (1, 3)), (c, (3, 1)))
    assert weights(asymmetric) / weights(three) == pytest.approx(6 / 9)
    assert reach((2, 3)) == reach((2, (1, 3)), (2, (3, 1))) == (3, 3)


def test_five_by_five_is_replaced_by_two_three_by_three():
    module = inception_v2(192, 64, (64, 64), (64, 96), "average", 32)
    kernels = [layer.kernel_size for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    assert kernels == [(1, 1), (1, 1), (3, 3), (1, 1), (3, 3), (3, 3), (1, 1)]
    assert shape(module, 192, (28, 28)) == (2, 64 + 64 + 96 + 32, 28, 28)


def test_pooling_is_a_choice_and_averages_count_no_padding():
    x = torch.ones(1, 4, 3, 3)
    average = inception_v2(4, 1, (1, 1), (1, 1), "average", 1)[-1][0]
    assert torch.equal(average(x), x)  # 4 / 9 in the corners if the padding counted
    assert isinstance(inception_v2(4, 1, (1, 1), (1, 1), "max", 1)[-1][0], nn.MaxPool2d)


@pytest.mark.parametrize(("size", "half"), [((35, 35), (17, 17)), ((14, 9), (6, 4)), ((8, 3), (3, 1))])
def test_grid_reduction_halves_once_and_adds_the_channels_of_the_pool(size, half):
    module = grid_reduction(288, ((384, 3),), ((64, 1), (96, 3), (96, 3)))
    assert shape(module, 288, size) == (2, 384 + 96 + 288, *half)


@pytest.mark.parametrize(("size", "half"), [((28, 28), (14, 14)), ((7, 9), (4, 5)), ((1, 2), (1, 1))])
def test_padded_grid_reduction_rounds_up(size, half):
    module = grid_reduction(320, ((128, 1), (160, 3)), ((64, 1), (96, 3), (96, 3)), padding=1)
    assert shape(module, 320, size) == (2, 160 + 96 + 320, *half)


@pytest.mark.parametrize("width", [128, 192])
def test_asymmetric_module_is_torchvisions(width):
    ours = asymmetric_inception(768, width)
    ours[-1][0].count_include_pad = True  # as torchvision's average, of its zeros at the border too
    assert_equal(ours, torchvision_v3.InceptionC(768, width), 768)


def test_asymmetric_module_of_another_length():
    module = asymmetric_inception(8, 4, out_channels=6, n=5)
    assert shape(module, 8, (9, 13)) == (2, 24, 9, 13)
    assert {layer.kernel_size for layer in module.modules() if isinstance(layer, nn.Conv2d)} == {(1, 1), (1, 5), (5, 1)}


def test_expanded_module_is_torchvisions():
    ours = expanded_inception(1280)
    ours[-1][0].count_include_pad = True
    assert_equal(ours, torchvision_v3.InceptionE(1280), 1280)


def test_grid_reductions_are_torchvisions():
    assert_equal(grid_reduction(288, ((384, 3),), ((64, 1), (96, 3), (96, 3))), torchvision_v3.InceptionB(288), 288)
    asymmetric = ((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3))
    assert_equal(grid_reduction(768, ((192, 1), (320, 3)), asymmetric), torchvision_v3.InceptionD(768), 768)


def _timm_convolution(*args, **kwargs):
    """As timm's networks hand it to their modules."""
    options = {"padding": 0, "norm_kwargs": {"eps": 1e-3}} | kwargs
    return timm_v4.ConvNormAct(*args, **options)


@pytest.mark.parametrize(
    ("build", "theirs", "channels"),
    [
        (inception_v4_a, timm_v4.InceptionA, 384),
        (inception_v4_b, timm_v4.InceptionB, 1024),
        (inception_v4_c, timm_v4.InceptionC, 1536),
        (lambda: reduction_a(384, 192, 224, 256, 384), timm_v4.ReductionA, 384),
        (inception_v4_reduction_b, timm_v4.ReductionB, 1024),
    ],
)
def test_modules_of_v4_are_timms(build, theirs, channels):
    assert_equal(build(), theirs(_timm_convolution), channels)


def test_residual_block_is_timms():
    """Of Inception-ResNet-v2, which timm has: another width, the same construction."""
    branches = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))
    ours = InceptionResidual(320, *branches, scale=0.17)
    assert_equal(ours, timm_resnet.Block35(0.17, _timm_convolution), 320)


@pytest.mark.parametrize(
    ("block", "channels"), [(inception_resnet_a, 256), (inception_resnet_b, 896), (inception_resnet_c, 1792)]
)
def test_residual_blocks_of_v1(block, channels):
    assert shape(block(), channels, (9, 13)) == (2, channels, 9, 13)
    still = block()
    nn.init.zeros_(still.projection.weight)
    nn.init.zeros_(still.projection.bias)
    x = torch.randn(2, channels, 5, 5)
    torch.testing.assert_close(still(x), x.relu())


def test_scale_and_activation_of_a_residual_block():
    x = torch.randn(2, 1792, 3, 3)
    full, fifth = inception_resnet_c(scale=1.0, activation=False), inception_resnet_c(scale=0.2, activation=False)
    fifth.load_state_dict(full.state_dict())
    torch.testing.assert_close((fifth.eval()(x) - x) * 5, full.eval()(x) - x, rtol=1e-4, atol=1e-4)
    assert (full(x) < 0).any()


def test_stochastic_depth_leaves_the_map():
    block = inception_resnet_a().train()
    block.stochastic_depth.p = 1.0
    x = torch.rand(2, 256, 5, 5)
    torch.testing.assert_close(block(x), x)


def test_reductions_of_inception_resnet_v1():
    assert shape(reduction_a(256, 192, 192, 256, 384), 256, (35, 35)) == (2, 896, 17, 17)
    assert shape(inception_resnet_reduction_b(), 896, (17, 17)) == (2, 1792, 8, 8)


def test_renormalised_images():
    """A white pixel is (1 - 0.485) / 0.229 by ImageNet's statistics, and 1 by mean and deviation 0.5."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    layer = Renormalise(3, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    pixels = torch.rand(2, 3, 4, 5)
    got = layer((pixels - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(got, (pixels - 0.5) / 0.5)
    assert not layer.state_dict() and not list(layer.buffers())


def test_renormalised_images_of_other_numbers_of_channels():
    x = torch.zeros(1, 1, 1, 1)
    constants = [(0.485 - 0.5) / 0.5, (0.456 - 0.5) / 0.5, (0.406 - 0.5) / 0.5]
    half = (0.5, 0.5, 0.5)
    assert Renormalise(1, half, half)(x).item() == pytest.approx(sum(constants) / 3)
    five = Renormalise(5, half, half)(x.expand(1, 5, 1, 1)).flatten().tolist()
    assert five == pytest.approx([constants[channel % 3] for channel in range(5)])


def test_images_that_are_normalised_already_pass():
    x = torch.randn(1, 3, 2, 2)
    assert Renormalise(3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(x) is x


@pytest.mark.parametrize("wrong", [(1, 4, 2, 2), (3, 2, 2)])
def test_renormalise_refuses_other_shapes(wrong):
    with pytest.raises(RuntimeError, match=r"expected \(N, 3, H, W\)"):
        Renormalise(3, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))(torch.zeros(wrong))
