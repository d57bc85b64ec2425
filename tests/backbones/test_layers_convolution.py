"""Convolutions by numbers that can be worked out by hand, and by scipy's where those are the reference."""

import math

import pytest
import torch
from scipy.signal import convolve2d
from torch import nn
from torch.nn import functional as F

from foveal.backbones.layers import DepthwiseSeparableConv2d, LocallyConnected2d, TiledConv2d, set_in_channels


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_depend_on_the_kernels_and_not_on_the_image():
    conv = nn.Conv2d(3, 64, 5, padding=2)
    assert (conv.weight.numel(), conv.bias.numel()) == (4800, 64)
    assert conv(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 32, 32)
    assert conv(torch.zeros(1, 3, 64, 64)).shape == (1, 64, 64, 64)
    assert parameters(nn.Conv2d(1, 6, 5)) == 156  # a bias for each filter, not for each of its elements


def test_true_convolution_flips_the_kernel():
    image, kernel = random(7, 6), random(3, 3)
    full = torch.from_numpy(convolve2d(image.numpy(), kernel.numpy(), mode="full"))
    x, w = image[None, None], kernel[None, None]
    torch.testing.assert_close(F.conv2d(x, w.flip(2, 3), padding=2)[0, 0], full)
    torch.testing.assert_close(F.conv_transpose2d(x, w)[0, 0], full)
    assert not torch.allclose(F.conv2d(x, w, padding=2)[0, 0], full)  # torch's "convolution" is a cross-correlation


def test_a_shift_of_the_image_shifts_the_map():
    conv = nn.Conv2d(1, 2, 3, stride=2).double()
    image = random(1, 1, 21, 21)
    torch.testing.assert_close(conv(image.roll(4, dims=3))[..., 2:], conv(image)[..., :-2])


def test_groups_halve_the_weights():
    assert nn.Conv2d(96, 256, 5, groups=2).weight.shape == (256, 48, 5, 5)  # AlexNet's second
    assert 2 * nn.Conv2d(96, 256, 5, groups=2).weight.numel() == nn.Conv2d(96, 256, 5).weight.numel()


def test_small_kernels_stacked_see_what_a_large_one_sees():
    def field(kernels: int) -> int:
        image = torch.zeros(1, 1, 15, 15, requires_grad=True)
        out = image
        for _ in range(kernels):
            out = F.conv2d(out, torch.ones(1, 1, 3, 3), padding=1)
        out[0, 0, 7, 7].backward()
        return int(image.grad[0, 0, 7].count_nonzero())

    assert (field(2), field(3)) == (5, 7)
    weights = [parameters(nn.Conv2d(8, 8, k, bias=False)) for k in (3, 5, 7)]
    assert [count / 8**2 for count in weights] == [9, 25, 49]
    assert 2 * weights[0] < weights[1] and 3 * weights[0] < weights[2]


def test_two_small_kernels_without_activation_are_one_large_kernel():
    image, first, second = random(1, 1, 12, 12), random(1, 1, 3, 3), random(1, 1, 3, 3) + 1
    large = F.conv2d(first, second.flip(2, 3), padding=2)
    assert large.shape == (1, 1, 5, 5)
    torch.testing.assert_close(F.conv2d(F.conv2d(image, first), second), F.conv2d(image, large))


def test_pointwise_convolution_is_a_matrix_product_at_each_pixel():
    x, w = random(2, 5, 4, 3), random(7, 5)
    out = F.conv2d(x, w[:, :, None, None])
    assert out.shape == (2, 7, 4, 3)
    torch.testing.assert_close(out, torch.einsum("oc,nchw->nohw", w, x))
    torch.testing.assert_close(out[:, :, 2, 1], F.linear(x[:, :, 2, 1], w))


def test_a_row_after_a_column_is_a_kernel_of_rank_one():
    x, row, column = random(1, 1, 12, 12), random(1, 1, 1, 7), random(1, 1, 7, 1)
    dense = column * row
    assert torch.linalg.matrix_rank(dense[0, 0]) == 1
    assert row.numel() + column.numel() == 14 and dense.numel() == 49
    torch.testing.assert_close(F.conv2d(F.conv2d(x, row), column), F.conv2d(x, dense))


def test_depthwise_convolution_has_one_filter_a_channel():
    conv = DepthwiseSeparableConv2d(32, 64, 5).depthwise
    assert (conv.groups, parameters(conv)) == (32, 32 * 25)
    x = torch.zeros(1, 32, 9, 9)
    x[:, 3] = 1
    assert conv(x).abs().sum((0, 2, 3)).nonzero().tolist() == [[3]]


def test_depthwise_separable_weights():
    separable, full = DepthwiseSeparableConv2d(32, 64, 3), nn.Conv2d(32, 64, 3, bias=False)
    assert (parameters(separable), parameters(full)) == (32 * 9 + 32 * 64, 32 * 64 * 9)
    assert parameters(separable) / parameters(full) == pytest.approx(1 / 64 + 1 / 9)


def test_depthwise_separable_keeps_the_size_and_takes_a_middle():
    x = torch.randn(1, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    assert DepthwiseSeparableConv2d(4, 6, 3)(x).shape == (1, 6, 9, 9)
    assert DepthwiseSeparableConv2d(4, 6, 3, stride=2)(x).shape == (1, 6, 5, 5)
    assert DepthwiseSeparableConv2d(4, 6, 3, dilation=2)(x).shape == (1, 6, 9, 9)
    mobile = DepthwiseSeparableConv2d(4, 6, 3, between=nn.ReLU())
    assert [name for name, _ in mobile.named_children()] == ["depthwise", "between", "pointwise"]
    torch.testing.assert_close(mobile(x), mobile.pointwise(mobile.depthwise(x).relu()))


def convolution_matrix(kernel: torch.Tensor, side: int) -> torch.Tensor:
    """The matrix whose product with a flattened image is its valid convolution, column by column."""
    units = torch.eye(side * side, dtype=torch.float64).view(-1, 1, side, side)
    return F.conv2d(units, kernel).flatten(1).T


def test_transposed_convolution_is_the_transpose_and_not_the_inverse():
    kernel, x = random(1, 1, 3, 3), random(1, 1, 5, 5)
    matrix = convolution_matrix(kernel, 5)
    small = F.conv2d(x, kernel)
    assert small.shape == (1, 1, 3, 3)
    back = F.conv_transpose2d(small, kernel)
    assert back.shape == x.shape
    torch.testing.assert_close(back.flatten(), matrix.T @ small.flatten())
    assert not torch.allclose(back, x)


def test_convolution_is_a_product_with_the_unfolded_image():
    x, w = random(2, 3, 8, 7), random(4, 3, 3, 3)
    windows = F.unfold(x, 3, padding=1, stride=2)
    torch.testing.assert_close((w.flatten(1) @ windows).view(2, 4, 4, 4), F.conv2d(x, w, padding=1, stride=2))


def test_convolution_is_a_product_of_spectra():
    image, kernel = random(9, 8), random(3, 4)
    size = (11, 11)  # 9 + 3 - 1, 8 + 4 - 1: no wrapping round
    product = torch.fft.irfft2(torch.fft.rfft2(image, size) * torch.fft.rfft2(kernel, size), size)
    torch.testing.assert_close(product, torch.from_numpy(convolve2d(image.numpy(), kernel.numpy())))


def test_winograd_needs_16_products_for_36():
    """F(2 x 2, 3 x 3) of Lavin, Gray, 2016: four outputs of a 3 x 3 kernel from one elementwise product."""
    b = torch.tensor([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], dtype=torch.float64)
    g = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
    a = torch.tensor([[1, 1, 1, 0], [0, 1, -1, -1]], dtype=torch.float64)
    tile, kernel = random(4, 4), random(3, 3)
    product = (g @ kernel @ g.T) * (b @ tile @ b.T)
    assert product.numel() == 16
    torch.testing.assert_close(a @ product @ a.T, F.conv2d(tile[None, None], kernel[None, None])[0, 0])


@pytest.mark.parametrize(("rate", "covers"), [(1, 3), (2, 5), (4, 9)])
def test_dilation_covers_more_with_the_same_weights(rate, covers):
    conv = nn.Conv2d(1, 1, 3, dilation=rate, padding=rate, bias=False)
    nn.init.ones_(conv.weight)
    image = torch.zeros(1, 1, 15, 15)
    image[0, 0, 7, 7] = 1
    touched = conv(image)[0, 0].nonzero()
    assert conv.weight.numel() == len(touched) == 9
    assert conv(image).shape == image.shape
    assert (touched.max(0).values - touched.min(0).values + 1).tolist() == [covers, covers]


@pytest.mark.parametrize(("padding", "side"), [(0, 12), (2, 16), (4, 20)])
def test_valid_same_and_full_padding(padding, side):
    assert nn.Conv2d(1, 1, 5, padding=padding)(torch.zeros(1, 1, 16, 16)).shape[-1] == side


def test_half_the_kernel_keeps_the_size():
    for kernel in (1, 3, 5):
        assert nn.Conv2d(1, 1, kernel, padding=(kernel - 1) // 2)(torch.zeros(1, 1, 27, 27)).shape[-1] == 27
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="replicate", bias=False)
    nn.init.ones_(conv.weight)
    assert conv(torch.ones(1, 1, 4, 4)).unique().tolist() == [9.0]  # zeros outside would give 4 in the corners


def dense_tail() -> tuple[nn.Sequential, nn.Sequential]:
    """VGG's classifier, narrower, on maps of 7 x 7, and as convolutions with the same weights."""
    torch.manual_seed(0)
    connected = nn.Sequential(
        nn.Flatten(), nn.Linear(8 * 49, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5)
    )
    convolved = nn.Sequential(nn.Conv2d(8, 16, 7), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Conv2d(16, 5, 1))
    with torch.no_grad():
        for new, old in zip((0, 2, 4), (1, 3, 5), strict=True):
            convolved[new].weight.copy_(connected[old].weight.view_as(convolved[new].weight))
            convolved[new].bias.copy_(connected[old].bias)
    return connected, convolved


def test_fully_connected_layers_as_convolutions():
    connected, convolved = dense_tail()
    maps = torch.randn(2, 8, 12, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(convolved(maps[:, :, :7, :7]).flatten(1), connected(maps[:, :, :7, :7]))
    classes = convolved(maps)
    assert classes.shape == (2, 5, 6, 6)  # VGG on 384 x 384: 384 / 32 = 12
    assert convolved(maps[:, :, :8, :8]).shape == (2, 5, 2, 2)  # and on 256 x 256
    torch.testing.assert_close(classes[:, :, 4, 3], connected(maps[:, :, 4:11, 3:10]))


def test_locally_connected_layer_has_weights_for_each_position():
    layer = LocallyConnected2d(3, 4, (9, 8), kernel_size=3, stride=2, padding=1)
    assert layer(torch.zeros(2, 3, 9, 8)).shape == (2, 4, 5, 4)
    assert parameters(layer) == 5 * 4 * 4 * (3 * 3 * 3 + 1)
    with pytest.raises(ValueError, match=r"reads maps of \(9, 8\), and this one has \(9, 9\)"):
        layer(torch.zeros(2, 3, 9, 9))


def test_locally_connected_layer_with_one_kernel_everywhere_is_a_convolution():
    layer, conv = LocallyConnected2d(3, 4, (9, 8), 3, stride=2, padding=1), nn.Conv2d(3, 4, 3, 2, 1)
    with torch.no_grad():
        layer.weight.copy_(conv.weight.flatten(1).expand_as(layer.weight))
        layer.bias.copy_(conv.bias[:, None, None].expand_as(layer.bias))
    x = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(x), conv(x))


def test_locally_connected_position_reads_its_window_alone():
    layer = LocallyConnected2d(1, 1, (4, 4), 2, stride=2).double()
    x = random(1, 1, 4, 4)
    expected = (x[0, 0, 2:, :2].flatten() * layer.weight[2, 0]).sum() + layer.bias[0, 1, 0]
    torch.testing.assert_close(layer(x)[0, 0, 1, 0], expected)


def test_tiles_of_one_are_a_convolution():
    tiled, conv = TiledConv2d(3, 4, 3, tile=1), nn.Conv2d(3, 4, 3)
    conv.load_state_dict({"weight": tiled.weight[0, 0], "bias": tiled.bias})
    x = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tiled(x), conv(x))


def test_a_tile_as_large_as_the_map_is_locally_connected():
    tiled, local = TiledConv2d(2, 3, 3, tile=4), LocallyConnected2d(2, 3, (6, 6), 3)
    with torch.no_grad():
        local.weight.copy_(tiled.weight.flatten(0, 1).flatten(2))
        local.bias.copy_(tiled.bias[:, None, None].expand_as(local.bias))
    x = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tiled(x), local(x))


def test_kernels_repeat_after_a_tile():
    tiled = TiledConv2d(1, 1, 3, tile=2)
    response = tiled(torch.ones(1, 1, 8, 7))[0, 0]
    assert response.shape == (6, 5) and len(response.unique()) == 4
    torch.testing.assert_close(response[2:], response[:-2])
    torch.testing.assert_close(response[:, 2:], response[:, :-2])


def test_other_input_channels_change_only_the_first_convolution():
    network = nn.Sequential(nn.Conv2d(3, 64, 7, bias=False), nn.Conv2d(64, 8, 1))
    second = network[1].weight.clone()
    torch.manual_seed(0)
    set_in_channels(network, 5)
    assert network[0].weight.shape == (64, 5, 7, 7)
    assert network[0].weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 49)), rel=0.05)
    torch.testing.assert_close(network[1].weight, second, rtol=0, atol=0)
