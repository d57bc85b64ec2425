"""Pools by numbers that can be worked out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foveal.backbones.layers import (
    POOLINGS,
    LpPool2d,
    MixedPool2d,
    SpatialPyramidPool2d,
    SpectralPool2d,
    StochasticPool2d,
    Subsampling,
)

WINDOW = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def gradient(pool: nn.Module, image: torch.Tensor) -> list[list[float]]:
    image = image.clone().requires_grad_()
    pool(image).sum().backward()
    return image.grad[0, 0].tolist()


def test_gradients_of_average_and_max():
    assert gradient(nn.AvgPool2d(2), WINDOW) == [[0.25, 0.25], [0.25, 0.25]]
    assert gradient(nn.MaxPool2d(2), WINDOW) == [[0, 0], [0, 1]]


def test_overlapping_windows():
    maps, sizes = torch.zeros(1, 1, 55, 55), []
    for _ in range(3):
        maps = F.max_pool2d(maps, 3, stride=2)
        sizes.append(maps.shape[-1])
    assert sizes == [27, 13, 6]


def test_trainable_subsampling_quarters_the_area():
    assert sum(parameter.numel() for parameter in Subsampling(6).parameters()) == 2 * 6
    assert Subsampling(6)(torch.zeros(1, 6, 28, 28)).shape == (1, 6, 14, 14)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), ((3, 2), (2, 1), (1, 0))])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pools_stand_for_max_pooling(name, kernel, stride, padding, ceil_mode):
    image = random(2, 3, 11, 8).abs()
    expected = F.max_pool2d(image, kernel, stride, padding, ceil_mode=ceil_mode)
    pool = POOLINGS[name](kernel, stride, padding, ceil_mode=ceil_mode)
    for training in (True, False):
        pooled = pool.train(training)(image)
        assert pooled.shape == expected.shape
        assert (pooled <= expected + 1e-6).all() and (pooled >= 0).all()
    ones = pool(torch.ones(1, 1, 11, 8))
    torch.testing.assert_close(ones, torch.ones_like(ones))  # at the border too: no cell of the padding counts


def test_stride_is_the_kernel_unless_given():
    assert {pool(3)(torch.ones(1, 1, 9, 9)).shape[-1] for pool in POOLINGS.values()} == {3}


def test_lp_is_average_at_one_and_tends_to_max():
    image = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(LpPool2d(4, p=1)(image), F.avg_pool2d(image, 4))
    highest = F.max_pool2d(image, 4)
    gap = 1 - LpPool2d(4, p=200)(image) / highest
    assert (gap >= 0).all() and gap.max() <= 1 - 16 ** (-1 / 200) < 0.014
    assert nn.LPPool2d(1, 2)(torch.ones(1, 1, 2, 2)).item() == 4  # torch's sums
    assert LpPool2d(2, p=1)(torch.ones(1, 1, 2, 2)).item() == 1


def test_l2_by_hand():
    assert LpPool2d(2)(-WINDOW).item() == pytest.approx((30 / 4) ** 0.5)
    assert gradient(LpPool2d(2), torch.zeros(1, 1, 2, 2)) == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match=r"p is 0\.5"):
        LpPool2d(2, p=0.5)


def test_mixed_lies_between_average_and_max():
    image = random(2, 3, 9, 9)
    average, highest = F.avg_pool2d(image, 3, 2), F.max_pool2d(image, 3, 2)
    torch.testing.assert_close(MixedPool2d(3, 2, max_share=0)(image), average)
    torch.testing.assert_close(MixedPool2d(3, 2, max_share=1)(image), highest)
    mixed = MixedPool2d(3, 2, max_share=0.25)(image)
    torch.testing.assert_close(mixed, 0.25 * highest + 0.75 * average)
    assert ((average <= mixed) & (mixed <= highest)).all()
    with pytest.raises(ValueError, match="max_share is 2"):
        MixedPool2d(2, max_share=2)


def test_mixed_learns_its_share():
    pool = MixedPool2d(2, max_share=0.5, mixing="learned")
    assert pool(WINDOW).item() == pytest.approx(0.5 * 4 + 0.5 * 2.5)
    pool(WINDOW).sum().backward()
    assert pool.logit.grad.item() == pytest.approx(1.5 / 4)  # (max - average) times the sigmoid's slope at 0
    with torch.no_grad():
        pool.logit.fill_(100)
    assert pool(WINDOW).item() == pytest.approx(4)


def test_mixed_draws_one_of_the_two_for_each_map():
    torch.manual_seed(0)
    pool = MixedPool2d(2, max_share=0.25, mixing="random")
    drawn = pool(WINDOW.repeat(2, 2000, 2, 2))
    assert sorted(drawn.unique().tolist()) == [2.5, 4.0]
    assert (drawn == drawn[:, :, :1, :1]).all()
    assert (drawn == 4).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert pool.eval()(WINDOW).item() == pytest.approx(0.25 * 4 + 0.75 * 2.5)


def test_stochastic_draws_in_proportion():
    torch.manual_seed(0)
    drawn = StochasticPool2d(2)(WINDOW.expand(1, 20_000, 2, 2)).flatten()
    shares = [(drawn == value).float().mean().item() for value in (1, 2, 3, 4)]
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.01)
    assert StochasticPool2d(2).eval()(WINDOW).item() == pytest.approx((1 + 4 + 9 + 16) / 10)


def test_stochastic_draws_in_proportion_in_overlapping_padded_windows():
    torch.manual_seed(0)
    drawn = StochasticPool2d(3, 1, 1)(WINDOW.expand(1, 20_000, 2, 2))
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):  # every window has the four values, and padding
        shares = [(drawn[0, :, row, column] == value).float().mean().item() for value in (1, 2, 3, 4)]
        assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.01)


@pytest.mark.parametrize("training", [True, False])
def test_stochastic_gives_zero_where_nothing_is_positive(training):
    pool = StochasticPool2d(2).train(training)
    assert pool(torch.zeros(1, 1, 2, 2)).item() == 0
    assert pool(-WINDOW).item() == 0
    assert pool(torch.tensor([[[[-9.0, 5.0], [0.0, -9.0]]]])).item() == 5
    assert gradient(pool, torch.zeros(1, 1, 2, 2)) == [[0, 0], [0, 0]]


def test_stochastic_gradient_goes_to_the_drawn_value():
    torch.manual_seed(0)
    image = WINDOW.clone().requires_grad_()
    drawn = StochasticPool2d(2)(image)
    drawn.sum().backward()
    assert (image.grad == (drawn == WINDOW)).all()


def test_spectral_keeps_constants_and_is_the_identity_at_full_size():
    image = random(2, 3, 8, 7)
    assert SpectralPool2d((5, 4))(image).shape == (2, 3, 5, 4)
    torch.testing.assert_close(SpectralPool2d((8, 7))(image), image)
    torch.testing.assert_close(SpectralPool2d(4)(torch.full((1, 1, 9, 8), 3.0)), torch.full((1, 1, 4, 4), 3.0))


def test_spectral_keeps_a_low_frequency_and_removes_a_high_one():
    wave = torch.cos(2 * torch.pi * torch.arange(12) / 12)
    low, high = wave.expand(1, 1, 12, 12), wave[torch.arange(12) * 5 % 12].expand(1, 1, 12, 12)
    torch.testing.assert_close(SpectralPool2d(6)(low), wave[::2].expand(1, 1, 6, 6))
    torch.testing.assert_close(SpectralPool2d(6)(high), torch.zeros(1, 1, 6, 6), atol=1e-6, rtol=0)


def test_spectral_agrees_with_scaling_of_the_plain_transform():
    image = random(1, 1, 9, 9)
    low = torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1))[..., 2:7, 2:7]
    small = torch.fft.ifft2(torch.fft.ifftshift(low, dim=(-2, -1))).real * 5**2 / 9**2
    torch.testing.assert_close(SpectralPool2d(5)(image), small)


def test_spectral_does_not_enlarge():
    with pytest.raises(ValueError, match="A map of 6 x 8 can't be pooled to 7 x 7"):
        SpectralPool2d(7)(torch.zeros(1, 1, 6, 8))


@pytest.mark.parametrize("size", [(13, 13), (6, 6), (17, 9)])
def test_pyramid_has_one_length(size):
    assert SpatialPyramidPool2d()(torch.zeros(2, 256, *size)).shape == (2, 256 * (1 + 4 + 9 + 36))


def test_pyramid_by_hand():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert SpatialPyramidPool2d((1, 2))(image).tolist() == [[15, 5, 7, 13, 15]]


def test_global_average():
    assert F.adaptive_avg_pool2d(random(1, 10, 6, 6), 1).flatten(1).shape == (1, 10)
    maps = random(1, 256, 7, 7)
    torch.testing.assert_close(F.adaptive_avg_pool2d(maps, 1), F.avg_pool2d(maps, 7, stride=7))
    torch.testing.assert_close(F.adaptive_avg_pool2d(maps, 1).flatten(1), maps.mean((2, 3)))


@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
def test_unpooling_puts_one_value_of_each_window_back_in_its_place(size):
    image = random(2, 3, *size).abs() + 1
    pooled, switches = nn.MaxPool2d(2, return_indices=True)(image)
    restored = nn.MaxUnpool2d(2)(pooled, switches, output_size=image.shape)
    kept = restored != 0
    assert restored.shape == image.shape
    assert (restored[kept] == image[kept]).all()
    assert kept.sum() == pooled.numel()
    torch.testing.assert_close(F.max_pool2d(restored, 2), pooled, rtol=0, atol=0)


def test_unpooling_needs_the_size_where_the_stride_does_not_divide_it():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 7
    pooled, switches = nn.MaxPool2d(2, return_indices=True)(image)
    assert nn.MaxUnpool2d(2)(pooled, switches).nonzero()[:, 2:].tolist() == [[3, 0]]
    assert nn.MaxUnpool2d(2)(pooled, switches, output_size=(5, 5)).nonzero()[:, 2:].tolist() == [[2, 2]]
