"""Correlations against a loop over all places."""

import pytest
import torch

from foveal.tasks.tracking.correlate import cross_correlation, depthwise_correlation


def pairs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    templates = torch.randn(2, 3, 2, 4, generator=generator, dtype=dtype)
    return templates, torch.randn(2, 3, 5, 6, generator=generator, dtype=dtype)


def looped(templates, features):
    """(N, C, H-h+1, W-w+1), place by place."""
    height, width = templates.shape[2:]
    rows, columns = features.shape[2] - height + 1, features.shape[3] - width + 1
    out = templates.new_zeros(*templates.shape[:2], rows, columns)
    for row in range(rows):
        for column in range(columns):
            part = features[:, :, row : row + height, column : column + width]
            out[:, :, row, column] = (templates * part).sum(dim=(2, 3))
    return out


def test_each_channel_alone():
    assert torch.allclose(depthwise_correlation(*pairs()), looped(*pairs()))


def test_all_channels_together():
    found = cross_correlation(*pairs())
    assert found.shape == (2, 1, 4, 3)
    assert torch.allclose(found, looped(*pairs()).sum(dim=1, keepdim=True))


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_order_in_memory_changes_nothing(order):
    templates, features = (x.contiguous(memory_format=order)[:, :, :, ::1] for x in pairs())
    cut = features[:, :, 1:, :-1]  # not contiguous
    assert torch.allclose(cross_correlation(templates, cut), looped(templates, cut).sum(dim=1, keepdim=True))


def test_gradients_are_those_of_finite_differences():
    inputs = tuple(x.requires_grad_() for x in pairs())
    assert torch.autograd.gradcheck(cross_correlation, inputs)
    assert torch.autograd.gradcheck(depthwise_correlation, inputs)
