"""From raw maps to metres: values by hand, ranges, gradients."""

import math

import pytest
import torch

from foveal.core.errors import UsageError
from foveal.tasks.depth.outputs import OUTPUTS, Bins, Linear, Log, make_output


def raw(*values):
    """One image, one channel, one row."""
    return torch.tensor(values).reshape(1, 1, 1, -1)


def test_linear_counts_geometric_means_of_the_range():
    # 2 to 8 m: the mean is 4.
    assert Linear(2, 8)(raw(-0.5, 0.0, 0.5, 1.0)).tolist() == [[[2, 4, 6, 8]]]


def test_log_counts_natural_logarithms_from_the_geometric_mean():
    # 1 to 16 m: the mean is 4.
    assert Log(1, 16)(raw(0.0, math.log(2), -math.log(4))).flatten().tolist() == pytest.approx([4, 8, 1])


def test_bins_get_wider_by_one_factor():
    bins = Bins(1, 16, bins=4)
    assert bins.edges.tolist() == pytest.approx([1, 2, 4, 8, 16])
    assert bins.centres.tolist() == pytest.approx([1.5, 3, 6, 12])
    assert bins.channels == 4 and Log.channels == Linear.channels == 1
    assert bins.state_dict() == {}  # a checkpoint's options say it all


def test_the_depth_of_bins_is_the_mean_of_their_middles():
    bins = Bins(1, 16, bins=4)
    even = torch.zeros(1, 4, 1, 1)
    assert bins(even).item() == pytest.approx((1.5 + 3 + 6 + 12) / 4)
    scores = torch.tensor([0.0, math.log(3), -1000, -1000]).reshape(1, 4, 1, 1)
    assert bins(scores).item() == pytest.approx(1.5 / 4 + 3 * 3 / 4)


@pytest.mark.parametrize("name", OUTPUTS)
def test_depths_are_float32_finite_and_in_the_range_however_large_raw_values_are(name):
    output = make_output(name, min_depth=0.1, max_depth=80, bins=5)
    for values in (torch.randn(2, output.channels, 3, 4).half(), 1e30 * torch.randn(2, output.channels, 3, 4)):
        depth = output(values)
        assert depth.shape == (2, 3, 4) and depth.dtype == torch.float32
        assert depth.isfinite().all() and depth.min() >= 0.1 and depth.max() <= 80
    assert output(torch.zeros(1, output.channels, 1, 1, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("output, factor", [(Linear(2, 8), 4), (Log(2, 8), 8)])
def test_a_depth_beyond_the_range_has_a_gradient_that_leads_back_and_none_that_leads_on(output, factor):
    values = raw(50.0).requires_grad_()
    depth = output(values)
    assert depth.item() == pytest.approx(8)
    (less,) = torch.autograd.grad(depth.sum(), values, retain_graph=True)  # a step against it makes the depth less
    (more,) = torch.autograd.grad(-depth.sum(), values)
    assert less.item() == pytest.approx(factor)  # d depth / d raw: the mean; the depth itself
    assert more.item() == 0
    values = raw(-50.0).requires_grad_()
    depth = output(values)
    assert depth.item() == pytest.approx(2)
    (less,) = torch.autograd.grad(depth.sum(), values, retain_graph=True)
    (more,) = torch.autograd.grad(-depth.sum(), values)
    assert less.item() == 0
    assert more.item() == pytest.approx(-4 if isinstance(output, Linear) else -2)


@pytest.mark.parametrize("least, most", [(0, 10), (5, 5), (1, math.inf), (-1, 3), (math.nan, 3)])
def test_depths_without_a_range_are_refused(least, most):
    with pytest.raises(UsageError, match=r"are no range; set model\.min_depth above 0"):
        make_output("log", min_depth=least, max_depth=most)


def test_one_bin_is_refused():
    with pytest.raises(UsageError, match=r"model\.bins is 1; set a number from 2 to 1000"):
        make_output("bins", min_depth=1, max_depth=2, bins=1)
