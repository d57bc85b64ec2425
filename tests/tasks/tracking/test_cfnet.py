"""CFNet: the filter in closed form against ridge regression, and through it the gradient."""

from functools import partial

import numpy as np
import pytest
import torch

from foveal.tasks.tracking.cfnet import CFNetHead, correlation_filter
from foveal.tasks.tracking.options import TrackerSettings


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def circulant(features):
    """(HW, CHW): the matrix whose product with a filter is its circular correlation with features (C, H, W)."""
    _, height, width = features.shape
    rows = [
        features[:, [(u + t) % height for t in range(height)]][:, :, [(v + t) % width for t in range(width)]].flatten()
        for u in range(height)
        for v in range(width)
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(4, 5), (5, 4)])
@pytest.mark.parametrize("ridge", [0.1, 2.0])
def test_the_closed_form_is_ridge_regression(channels, size, ridge):
    features, target = drawn(channels, *size), drawn(*size, seed=1)
    matrix, count = circulant(features), target.numel()
    # The least |y - A w|^2 / 2n + ridge |w|^2 / 2: (A'A / n + ridge) w = A'y / n.
    square = matrix.T @ matrix / count + ridge * torch.eye(matrix.shape[1], dtype=torch.float64)
    direct = torch.linalg.solve(square, matrix.T @ target.flatten() / count)
    found = correlation_filter(features[None], target, ridge)
    assert torch.allclose(found[0].flatten(), direct, atol=1e-10)


def test_filters_of_a_batch_are_their_own():
    features, target = drawn(2, 3, 4, 4), drawn(4, 4, seed=1)
    both = correlation_filter(features, target, 0.1)
    assert torch.allclose(both[1:], correlation_filter(features[1:], target, 0.1))


@pytest.mark.parametrize("size", [(4, 4), (3, 5)])
def test_the_gradient_goes_through_the_filter(size):
    features, target = drawn(1, 2, *size).requires_grad_(), drawn(*size, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(partial(correlation_filter, ridge=0.1), (features, target))


def small():
    return CFNetHead((3,), exemplar_size=32, search_size=64, margin=1, ridge=1e-3).double()


def test_the_gradient_goes_through_the_head():
    head = small()
    assert torch.autograd.gradcheck(head.remember, (drawn(1, 3, 8, 8).requires_grad_(),))
    exemplar, search = drawn(1, 3, 8, 8), drawn(1, 3, 8, 8, seed=1)
    outputs = head(head.remember(exemplar), search)
    head.losses(outputs, torch.tensor([[20.0, 20.0, 40.0, 40.0]]))["logistic"].backward()
    assert head.gain.grad is not None and head.bias.grad is not None
    assert head.gain.grad.abs() > 0 and head.bias.grad.abs() > 0


def test_the_template_is_the_middle_of_a_filter_and_the_response_has_17_cells():
    head = CFNetHead((3,), margin=4)
    assert (head.exemplar_size, head.search_size, head.cells) == (255, 255, 17)
    template = head.remember(torch.randn(2, 3, 32, 32))
    assert template.shape == (2, 3, 8, 8)
    assert head(template, torch.randn(2, 3, 32, 32)).shape == (2, 1, 17, 17)
    box = np.array([10.0, 10.0, 50.0, 50.0])
    assert head.exemplar_region(box) == head.search_region(box)
    assert head.search_region(box).width == pytest.approx(80 * 255 / 127)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (2, -1), (-3, 4)])
def test_the_response_peaks_where_the_target_has_moved_to(right, down):
    head = CFNetHead((8,), search_size=255)
    scene = torch.zeros(1, 8, 60, 60)
    scene[:, :, 27:33, 27:33] = torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    template = head.remember(scene[:, :, 19:41, 19:41])
    search = scene[:, :, 19 - down : 41 - down, 19 - right : 41 - right]
    found = head.locate(head(template, search)[:, None], np.array([[90.0, 90, 165, 165]]), TrackerSettings(scales=1))
    assert ((found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - 127.5).tolist() == [[8 * right, 8 * down]]


def test_the_filter_is_solved_in_float32_under_autocast():
    head = CFNetHead((8,))
    features = torch.randn(1, 8, 22, 22, generator=torch.Generator().manual_seed(0))
    whole = head.remember(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = head.remember(features.bfloat16())
        outputs = head(half, features.bfloat16())
        loss = head.losses(outputs, torch.tensor([[100.0, 100.0, 155.0, 155.0]]))["logistic"]
    assert half.dtype == torch.float32
    assert torch.allclose(half, whole, atol=0.02 * whole.abs().max().item())
    assert loss.isfinite() and loss.dtype == torch.float32
