"""Normalisation by the formulas of its papers, in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foveal.backbones.layers import (
    NORMS,
    ConditionalInstanceNorm2d,
    LocalContrastNorm,
    LocalResponseNorm,
    SteadyBatchNorm2d,
)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def local_response(a: torch.Tensor, alpha: float) -> torch.Tensor:
    """Section 3.3 of Krizhevsky et al., 2012, term by term."""
    channels, out = a.shape[1], torch.empty_like(a)
    for i in range(channels):
        total = sum(a[:, j] ** 2 for j in range(max(0, i - 2), min(channels - 1, i + 2) + 1))
        out[:, i] = a[:, i] / (2 + alpha * total) ** 0.75
    return out


def test_local_response_norm_is_the_papers():
    a = 30 * random(2, 8, 3, 4)
    torch.testing.assert_close(LocalResponseNorm()(a), local_response(a, 1e-4))
    torch.testing.assert_close(nn.LocalResponseNorm(5, 1e-4, 0.75, 2)(a), local_response(a, 1e-4 / 5))
    assert repr(LocalResponseNorm()) == "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=2.0)"


def test_local_response_norm_by_hand():
    out = LocalResponseNorm(size=3, alpha=1, beta=0.5, k=0)(torch.tensor([3.0, 4.0, 12.0]).view(1, 3, 1, 1))
    assert out.flatten().tolist() == pytest.approx([3 / 5, 4 / 13, 12 / 160**0.5])


def test_local_contrast_norm_ignores_brightness_and_contrast():
    norm = LocalContrastNorm(5).double()
    assert norm.window.sum().item() == pytest.approx(1)
    x = random(2, 3, 12, 12)
    torch.testing.assert_close(norm(7 * x + 3), norm(x))
    assert norm(torch.full_like(x, 5)).abs().max() < 0.01


def test_local_contrast_norm_is_the_papers():
    norm = LocalContrastNorm(3).double()
    x, window = F.pad(random(1, 2, 3, 3), [4] * 4), norm.window[0, 0]
    mean = torch.zeros(11, 11, dtype=torch.float64)
    for row in range(1, 10):
        for column in range(1, 10):
            mean[row, column] = (window * x[0, :, row - 1 : row + 2, column - 1 : column + 2]).sum() / 2
    centred, deviation = x[0] - mean, torch.zeros_like(mean)
    for row in range(1, 10):
        for column in range(1, 10):
            patch = centred[:, row - 1 : row + 2, column - 1 : column + 2]
            deviation[row, column] = ((window * patch**2).sum() / 2).sqrt()
    expected = centred / deviation.clamp_min(deviation.mean())
    torch.testing.assert_close(norm(x)[0], expected, atol=1e-5, rtol=1e-5)


def test_backward_formulas_of_batch_norm():
    """Ioffe, Szegedy, 2015, section 3: the six formulas, over m = N * H * W values a channel."""
    x, upstream, gamma, beta, eps = random(4, 3, 5, 5), random(4, 3, 5, 5).cos(), random(3) + 2, random(3), 1e-5
    leaves = [tensor.clone().requires_grad_() for tensor in (x, gamma, beta)]
    F.batch_norm(leaves[0], None, None, leaves[1], leaves[2], training=True, eps=eps).backward(upstream)

    def total(values: torch.Tensor) -> torch.Tensor:
        return values.sum((0, 2, 3), keepdim=True)

    m = 4 * 5 * 5
    mean = total(x) / m
    variance = total((x - mean) ** 2) / m
    normalised = (x - mean) / (variance + eps).sqrt()
    d_normalised = upstream * gamma[:, None, None]
    d_variance = total(d_normalised * (x - mean)) * -0.5 * (variance + eps) ** -1.5
    d_mean = -total(d_normalised) / (variance + eps).sqrt() + d_variance * total(-2 * (x - mean)) / m
    d_x = d_normalised / (variance + eps).sqrt() + d_variance * 2 * (x - mean) / m + d_mean / m
    torch.testing.assert_close(leaves[0].grad, d_x, atol=1e-8, rtol=0)
    torch.testing.assert_close(leaves[1].grad, total(upstream * normalised).flatten(), atol=1e-8, rtol=0)
    torch.testing.assert_close(leaves[2].grad, total(upstream).flatten(), atol=1e-8, rtol=0)


def test_batch_norm_keeps_two_parameters_and_two_statistics_a_channel():
    norm = NORMS["batch"](64)
    assert sum(parameter.numel() for parameter in norm.parameters()) == 2 * 64
    for _ in range(3):
        norm(random(2, 64, 3, 3).float())
    assert norm.running_mean.numel() + norm.running_var.numel() == 2 * 64


def test_running_variance_is_the_unbiased_estimate():
    norm, x = nn.BatchNorm2d(3, momentum=1).double(), random(2, 3, 4, 5)
    norm(x)
    torch.testing.assert_close(norm.running_var, x.transpose(0, 1).flatten(1).var(1, correction=1))


def test_bias_before_batch_norm_changes_nothing():
    conv, norm, x = nn.Conv2d(3, 4, 3).double(), nn.BatchNorm2d(4).double(), random(2, 3, 6, 6)
    before = norm(conv(x))
    nn.init.constant_(conv.bias, 9)
    torch.testing.assert_close(norm(conv(x)), before)


def test_batch_norm_in_evaluation_looks_at_one_image():
    norm, x = nn.BatchNorm2d(3).double(), random(4, 3, 5, 5)
    norm(x)
    alone, together = norm.eval()(x[:1]), norm(x)[:1]
    torch.testing.assert_close(alone, together, rtol=0, atol=0)
    expected = (x[:1] - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + 1e-5).sqrt()
    torch.testing.assert_close(alone, expected)
    assert not torch.allclose(norm.train()(x[:1]), norm(x)[:1])


def test_instance_norm_sees_neither_the_batch_nor_the_contrast():
    norm, x = NORMS["instance"](3).double(), random(4, 3, 5, 5)
    torch.testing.assert_close(norm(x[1:2]), norm(x)[1:2])
    stretch, lift = torch.tensor([2.0, 0.5, 9.0])[:, None, None], torch.tensor([1.0, -3.0, 0.0])[:, None, None]
    torch.testing.assert_close(norm(stretch * x + lift), norm(x), atol=1e-4, rtol=1e-4)
    assert sum(parameter.numel() for parameter in norm.parameters()) == 6


@pytest.fixture
def styles() -> ConditionalInstanceNorm2d:
    norm = ConditionalInstanceNorm2d(channels=4, num_styles=3).double()
    with torch.no_grad():
        norm.weight.copy_(random(3, 4))
        norm.bias.copy_(random(3, 4).sin())
    return norm


def test_conditional_instance_norm_has_a_scale_and_a_shift_for_each_style(styles):
    assert sum(parameter.numel() for parameter in styles.parameters()) == 2 * 4 * 3
    fresh, x = ConditionalInstanceNorm2d(4, 3).double(), random(2, 4, 5, 5)
    torch.testing.assert_close(fresh(x, torch.tensor([0, 2])), F.instance_norm(x))


def test_styles_in_one_pass_are_those_of_passes_of_their_own(styles):
    x = random(3, 4, 5, 5)
    together = styles(x, torch.tensor([2, 0, 1]))
    for index, style in enumerate((2, 0, 1)):
        alone = styles(x[index : index + 1], torch.tensor([style]))
        torch.testing.assert_close(together[index : index + 1], alone)
        plain = F.instance_norm(x[index : index + 1], weight=styles.weight[style], bias=styles.bias[style])
        torch.testing.assert_close(alone, plain)


def test_a_mix_of_styles_mixes_scale_and_shift(styles):
    x = random(1, 4, 5, 5)
    first, second = (styles(x, torch.tensor([style])) for style in (0, 2))
    mixed = styles(x, torch.tensor([[0.25, 0.0, 0.75]], dtype=torch.float64))
    torch.testing.assert_close(mixed, 0.25 * first + 0.75 * second)
    torch.testing.assert_close(styles(x, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)), second)


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (7, 1), (16, 8), (24, 12), (64, 32), (96, 32), (144, 24), (256, 32), (22, 11)]
)
def test_groups_divide_the_channels_and_hold_at_least_two(channels, groups):
    assert NORMS["group"](channels).num_groups == groups


@pytest.mark.parametrize("name", NORMS)
def test_norms_keep_the_shape(name):
    assert NORMS[name](24)(torch.randn(2, 24, 3, 3)).shape == (2, 24, 3, 3)


def test_a_norm_of_one_value_uses_its_statistics():
    norm = SteadyBatchNorm2d(2).train()
    norm.running_mean = torch.tensor([1.0, 2.0])
    x = torch.tensor([3.0, 2.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(norm(x).flatten(), torch.tensor([2.0, 0.0]), atol=1e-4, rtol=0)
    assert norm.running_mean.tolist() == [1, 2]
