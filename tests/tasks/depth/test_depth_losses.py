"""The losses of depth: numbers by hand, gradients against differences, and pixels that are not known."""

import math

import pytest
import torch

from foveal.core.errors import UsageError
from foveal.tasks.depth.losses import (
    LOSSES,
    berhu,
    gradient_matching,
    l1,
    l2,
    log_l1,
    normals_cosine,
    scale_invariant,
    weighted_losses,
)

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
NOT_KNOWN = (0.0, -3.0, math.nan, math.inf, -math.inf)


def rows(*images: list[float]) -> torch.Tensor:
    """Images of one row, (N, 1, P), float64."""
    return torch.tensor(images, dtype=torch.float64)[:, None]


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images of 9 x 11, with a part that is not known."""
    random = torch.Generator().manual_seed(seed)
    depth, truth = (torch.rand(2, 9, 11, generator=random, dtype=torch.float64) * 8 + 0.5 for _ in range(2))
    truth[:, 2:4, 5] = 0
    truth[1, 6] = math.nan
    return depth, truth


def test_scale_invariant_by_hand():
    # Logarithmic errors 1, 0 and 2: mean square 5/3, mean 1.
    depth, truth = rows([math.e, 2.0, 4 * math.e**2]), rows([1.0, 2.0, 4.0])
    assert scale_invariant(depth, truth, 0.0).item() == pytest.approx(5 / 3)
    assert scale_invariant(depth, truth).item() == pytest.approx(5 / 3 - 1 / 2)
    assert scale_invariant(depth, truth, 1.0).item() == pytest.approx(5 / 3 - 1)
    assert scale_invariant(depth, truth, 0.85, root=True, factor=10).item() == pytest.approx(
        10 * math.sqrt(5 / 3 - 0.85)
    )
    # Of two images the mean, each with its own scale: the second has errors of 3, so a mean square of 9 less 9/2.
    depth, truth = torch.cat([depth, rows([math.e**3] * 3)]), torch.cat([truth, rows([1.0] * 3)])
    assert scale_invariant(depth, truth).item() == pytest.approx((7 / 6 + 9 / 2) / 2)


@pytest.mark.parametrize("factor", [1e-3, 0.37, 2.0, 500.0])
@pytest.mark.parametrize("root", [False, True])
def test_no_common_factor_changes_the_scale_invariant_error(factor, root):
    depth, truth = drawn()
    before = scale_invariant(depth, truth, 1.0, root=root).item()
    assert before > 0.1
    factors = torch.tensor([factor, 1 / factor], dtype=torch.float64)[:, None, None]  # each image has its own
    assert scale_invariant(depth * factors, truth, 1.0, root=root).item() == pytest.approx(before)
    assert scale_invariant(truth.nan_to_num(1.0) * factor, truth, 1.0).item() == pytest.approx(0, abs=1e-12)


def test_l1_l2_and_log_by_hand():
    depth, truth = rows([1.0, 4.0], [2.0, 9.0]), rows([2.0, 1.0], [2.0, 0.0])  # three pixels count: 1, 3 and 0
    assert l1(depth, truth).item() == pytest.approx(4 / 3)
    assert l2(depth, truth).item() == pytest.approx(10 / 3)
    assert log_l1(depth, truth).item() == pytest.approx((math.log(2) + math.log(4)) / 3)


def test_berhu_by_hand():
    # Errors 10, 1 and 4, so c is 2: (100 + 4) / 4, 1 and (16 + 4) / 4.
    depth, truth = rows([11.0, 3.0, 5.0]), rows([1.0, 2.0, 9.0])
    assert berhu(depth, truth).item() == pytest.approx((26 + 1 + 5) / 3)
    # c is of the batch: beside an error of 20 it is 4, at which both branches are 4.
    depth, truth = torch.cat([depth, rows([21.0] * 3)]), torch.cat([truth, rows([1.0, 0.0, 0.0])])
    assert berhu(depth, truth).item() == pytest.approx(((100 + 16) / 8 + 1 + 4 + (400 + 16) / 8) / 4)
    assert berhu(truth, truth).item() == 0


def test_gradient_matching_by_hand():
    # d is 0, 1, 3, 3, 7. Scale 1: 1 + 2 + 0 + 4 over five pixels; 2 (0, 3, 7): 3 + 4 over three; 4 (0, 7): 7 over two.
    difference = torch.tensor([0.0, 1, 3, 3, 7], dtype=torch.float64)[None, None]
    truth = torch.full_like(difference, 2.0)
    depth = truth * difference.exp()
    assert gradient_matching(depth, truth, 1).item() == pytest.approx(7 / 5)
    assert gradient_matching(depth, truth, 2).item() == pytest.approx(7 / 5 + 7 / 3)
    assert gradient_matching(depth, truth).item() == pytest.approx(7 / 5 + 7 / 3 + 7 / 2)  # scale 8 has one pixel
    assert gradient_matching(depth, truth, 1, squared=True).item() == pytest.approx((1 + 4 + 16) / 5)
    assert gradient_matching(depth.mT, truth.mT, 2).item() == pytest.approx(7 / 5 + 7 / 3)  # down as across
    # Without the middle pixel, two slopes are left, 1 and 4, and four pixels.
    truth[0, 0, 2] = 0
    assert gradient_matching(depth, truth, 1).item() == pytest.approx(5 / 4)
    assert LOSSES["gradient_squared"](depth, truth).item() == pytest.approx(17 / 4)


def test_gradient_matching_asks_for_no_scale():
    depth, truth = drawn()
    assert gradient_matching(3 * depth, truth).item() == pytest.approx(gradient_matching(depth, truth).item())


def test_normals_by_hand():
    # Equal (whatever the length), at right angles, opposite, and one that is not known.
    found = torch.tensor([[0.0, 0, -5], [1, 0, 0], [0, 2, 0], [1, 1, 1]]).T[None, :, None]
    truth = torch.tensor([[0.0, 0, -1], [0, 1, 0], [0, -1, 0], [0, 0, 0]]).T[None, :, None]
    assert normals_cosine(found, truth).item() == pytest.approx((0 + 1 + 2) / 3)
    assert normals_cosine(truth, truth).item() == pytest.approx(0, abs=1e-7)
    found.requires_grad_()
    normals_cosine(found, torch.zeros_like(found)).backward()
    assert found.grad is not None and (found.grad == 0).all()


@every_loss
def test_equal_depths_cost_nothing_and_others_do(loss):
    depth, truth = drawn()
    assert loss(truth.nan_to_num(1.0), truth).item() == pytest.approx(0, abs=1e-12)
    assert loss(depth, truth).item() > 0.05


@every_loss
@pytest.mark.parametrize("nothing", NOT_KNOWN)
def test_a_pixel_that_is_not_known_never_counts(loss, nothing):
    depth, truth = drawn()
    truth[0, 3, 3] = nothing
    wild = depth.clone()
    for value in (0.0, 1e9, math.nan, math.inf):
        wild[0, 3, 3] = value
        wild[1, 6] = value
        wild.requires_grad_()
        cost = loss(wild, truth)
        assert cost.item() == pytest.approx(loss(depth, truth).item())
        cost.backward()
        assert wild.grad is not None and wild.grad.isfinite().all()
        assert wild.grad[0, 3, 3] == 0 and (wild.grad[1, 6] == 0).all() and wild.grad[0, 5, 5] != 0
        wild = wild.detach()


@every_loss
def test_images_without_a_known_pixel(loss):
    depth, truth = drawn()
    depth = depth.requires_grad_()
    cost = loss(depth, torch.zeros_like(truth))
    cost.backward()
    assert cost.item() == 0 and depth.grad is not None and (depth.grad == 0).all()
    # One such image beside another changes nothing.
    alone, beside = truth[:1], truth.clone()
    beside[1] = math.nan
    assert loss(depth, beside).item() == pytest.approx(loss(depth[:1], alone).item())
    assert loss(depth[:0], truth[:0]).item() == 0


@every_loss
def test_gradients_are_those_of_differences(loss):
    depth, truth = drawn()
    if loss is berhu:  # through whose c no gradient flows: the largest error is kept out
        depth[0, 0, 0] = truth[0, 0, 0] = 1.0
        depth = torch.cat([depth, torch.full_like(depth[:1], 30)])
        truth = torch.cat([truth, torch.full_like(truth[:1], 1)])
        assert torch.autograd.gradcheck(
            lambda two: loss(torch.cat([two, depth[2:]]), truth), depth[:2].requires_grad_()
        )
    else:
        assert torch.autograd.gradcheck(lambda x: loss(x, truth), depth.requires_grad_())


def test_the_root_of_nothing_has_a_gradient_of_nothing():
    depth = torch.full((1, 2, 2), 3.0, requires_grad=True)
    scale_invariant(depth, torch.full((1, 2, 2), 3.0), root=True).backward()
    assert depth.grad is not None and (depth.grad == 0).all()


@every_loss
def test_float32_whatever_comes_in(loss):
    depth, truth = drawn()
    with torch.autocast("cpu", torch.bfloat16):
        cost = loss(depth.bfloat16(), truth.float())
    assert cost.dtype == torch.float32
    assert cost.item() == pytest.approx(loss(depth.bfloat16().double(), truth).item(), rel=1e-4)
    assert loss(depth, truth.float()).dtype == torch.float64


def test_depths_of_zero_are_not_infinitely_wrong():
    assert scale_invariant(rows([0.0]), rows([1.0]), 0.0).item() == pytest.approx(math.log(1e-6) ** 2)


def test_a_recipe_takes_a_weighted_sum():
    depth, truth = drawn()
    parts = weighted_losses(depth, truth, {"scale_invariant": 2.0, "gradient": 0.5}, lam=0.85, root=True, factor=10)
    assert list(parts) == ["scale_invariant", "gradient"]
    expected = 2 * scale_invariant(depth, truth, 0.85, root=True, factor=10)
    assert parts["scale_invariant"].item() == pytest.approx(expected.item())
    assert parts["gradient"].item() == pytest.approx(0.5 * gradient_matching(depth, truth).item())


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"berhuu": 1.0}, r"There is no loss 'berhuu'; the nearest are berhu.*Set model.loss to weights of scale_inv"),
        ({"l1": -1.0}, "The loss 'l1' got the weight -1.0; set a number from 0 up"),
        ({"l1": math.nan}, "The loss 'l1' got the weight nan"),
        ({"l1": 0.0}, "which trains nothing"),
        ({}, "which trains nothing"),
    ],
)
def test_wrong_weights_are_said(weights, said):
    with pytest.raises(UsageError, match=said):
        weighted_losses(*drawn(), weights)
