"""The losses of segmentation: numbers by hand, gradients against differences, and what holds for all of them."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt

from foveal.core.errors import DataError, UsageError
from foveal.tasks.segmentation.losses import (
    LOSSES,
    check_loss_weights,
    cross_entropy,
    focal_loss,
    median_frequency_weights,
    ohem_cross_entropy,
    weighted_losses,
)
from foveal.tasks.segmentation.region_losses import (
    boundary_loss,
    dice_loss,
    jaccard_loss,
    lovasz_loss,
    signed_distances,
    tversky_loss,
)

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def row(*pixels: tuple[list[float], int]) -> tuple[torch.Tensor, torch.Tensor]:
    """One image of one row: for each pixel its probabilities and its class. Logits (1, C, 1, P), mask (1, 1, P)."""
    probabilities, labels = zip(*pixels, strict=True)
    return torch.tensor(probabilities).log().T[None, :, None], torch.tensor(labels)[None, None]


# Class 0: TP 3/4, FP 1/2, FN 1/4. Class 1: TP 1/2, FP 1/4, FN 1/2.
TWO_PIXELS = row(([3 / 4, 1 / 4], 0), ([1 / 2, 1 / 2], 1))


def drawn(classes: int = 3, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images of 4 x 5 with every class and three ignored pixels in each."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, 4, 5, generator=random, dtype=torch.float64).to(dtype)
    mask = torch.randint(classes, (2, 4, 5), generator=random)
    mask[:, 0, 1:4] = 255
    return logits, mask


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cross_entropy", (math.log(4 / 3) + math.log(2)) / 2),
        ("focal", (math.log(4 / 3) / 16 + math.log(2) / 4) / 2),  # (1 - 3/4)^2 and (1 - 1/2)^2
        ("ohem", math.log(2)),  # only 1/2 is below 0.7
        ("dice", 1 - (2 / 3 + 4 / 7) / 2),  # 2 TP / (2 TP + FP + FN)
        ("jaccard", 1 - (1 / 2 + 2 / 5) / 2),  # TP / (TP + FP + FN)
        ("tversky", 1 - (0.75 / (0.75 + 0.3 * 0.5 + 0.7 * 0.25) + 0.5 / (0.5 + 0.3 * 0.25 + 0.7 * 0.5)) / 2),
        # Class 0: errors 1/2 (of class 1) and 1/4, each adding 1/2. Class 1: the error 1/2 alone brings IoU to 0.
        ("lovasz", ((1 / 2 * 1 / 2 + 1 / 4 * 1 / 2) + 1 / 2) / 2),
        # Distances 0 and 1 for class 0, 1 and 0 for class 1: 1/2 of the second pixel, and 1/4 of the first.
        ("boundary", (1 / 2 + 1 / 4) / 2),
    ],
)
def test_two_pixels_by_hand(name, value):
    assert LOSSES[name](*TWO_PIXELS).item() == pytest.approx(value)


def test_the_table_above_has_every_loss():
    assert list(LOSSES) == ["cross_entropy", "focal", "ohem", "dice", "jaccard", "tversky", "lovasz", "boundary"]


@every_loss
def test_the_gradient_is_that_of_differences(loss):
    logits, mask = drawn()
    assert torch.autograd.gradcheck(lambda values: loss(values, mask), logits.requires_grad_())


@every_loss
def test_logits_under_ignored_pixels_change_nothing(loss):
    logits, mask = drawn()
    changed = torch.where((mask == 255).unsqueeze(1), 1000 * torch.randn_like(logits), logits).requires_grad_()
    value = loss(changed, mask)
    assert value.item() == loss(logits, mask).item()
    value.backward()
    assert changed.grad.movedim(1, -1)[mask == 255].abs().max() == 0


@every_loss
def test_an_ignored_border_is_as_good_as_none(loss):
    logits, mask = drawn()
    padded = loss(F.pad(logits, (0, 3, 0, 2)), F.pad(mask, (0, 3, 0, 2), value=255))
    assert padded.item() == pytest.approx(loss(logits, mask).item(), rel=1e-12)


@every_loss
def test_another_number_can_stand_for_ignored(loss):
    logits, mask = drawn()
    assert loss(logits, torch.where(mask == 255, -1, mask), ignore_index=-1).item() == loss(logits, mask).item()


@every_loss
@pytest.mark.parametrize("classes", [1, 3])
def test_a_batch_of_ignored_pixels_costs_nothing_and_teaches_nothing(loss, classes):
    logits = torch.randn(2, classes, 4, 5, requires_grad=True)
    value = loss(logits, torch.full((2, 4, 5), 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad.equal(torch.zeros_like(logits))


@every_loss
def test_one_class_is_always_right(loss):
    logits, mask = drawn(classes=1)
    value = loss(logits.requires_grad_(), mask)
    value.backward()
    assert value.item() == 0
    assert logits.grad.equal(torch.zeros_like(logits))


@every_loss
def test_a_perfect_prediction_costs_nothing(loss):
    _, mask = drawn()
    right = 50 * F.one_hot(mask.where(mask != 255, 0), 3).movedim(-1, 1).float()
    assert 0 <= loss(right, mask).item() < 1e-6
    assert loss(-right, mask).item() > 0.5


@every_loss
def test_following_the_gradient_finds_the_mask(loss):
    logits, mask = drawn(dtype=torch.float32)
    optimizer = torch.optim.Adam([logits.requires_grad_()], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss(logits, mask).backward()
        optimizer.step()
    assert logits.argmax(dim=1)[mask != 255].equal(mask[mask != 255])


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss, dtype):
    logits, mask = drawn(dtype=dtype)
    expected = loss(logits.float(), mask)
    assert loss(logits, mask).equal(expected) and expected.dtype == torch.float32
    with torch.autocast("cpu", dtype=dtype):
        assert loss(logits, mask).equal(expected)


@every_loss
def test_a_class_that_the_network_lacks_is_not_passed_over(loss):
    logits, mask = drawn(classes=3)
    with pytest.raises((IndexError, RuntimeError)):
        loss(logits, mask + (mask == 2))


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 5.0])])
def test_cross_entropy_is_torchs(weights):
    logits, mask = drawn(dtype=torch.float32)
    expected = F.cross_entropy(logits, mask, weight=weights, ignore_index=255)
    assert cross_entropy(logits, mask, class_weights=weights).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("loss", [cross_entropy, focal_loss, ohem_cross_entropy])
def test_only_classes_of_weight_zero_cost_nothing(loss):
    logits, mask = row(([3 / 4, 1 / 4], 0), ([1 / 2, 1 / 2], 0))
    value = loss(logits.requires_grad_(), mask, class_weights=torch.tensor([0.0, 1.0]))
    value.backward()
    assert value.item() == 0 and logits.grad.abs().max() == 0


def test_focal_with_gamma_zero_is_cross_entropy():
    logits, mask = drawn()
    assert focal_loss(logits, mask, gamma=0).item() == pytest.approx(cross_entropy(logits, mask).item())


def test_class_weights_of_focal_multiply_and_do_not_divide():
    weights = torch.tensor([1.0, 3.0])
    expected = (1 * math.log(4 / 3) / 16 + 3 * math.log(2) / 4) / 2
    assert focal_loss(*TWO_PIXELS, class_weights=weights).item() == pytest.approx(expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_has_a_gradient_where_a_probability_rounds_to_one(gamma):
    logits = torch.tensor([200.0, 0.0]).view(1, 2, 1, 1).requires_grad_()
    focal_loss(logits, torch.zeros(1, 1, 1, dtype=torch.int64), gamma=gamma).backward()
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize(
    ("threshold", "min_share", "kept"),
    [
        (0.7, 0.0, [0.6, 0.3]),
        (0.5, 0.0, [0.3]),
        (0.5, 0.5, [0.6, 0.3]),  # half of 4 pixels
        (0.5, 0.6, [0.8, 0.6, 0.3]),  # 2.4 pixels: 3
        (0.1, 0.0, []),
        (1.0, 0.0, [0.9, 0.8, 0.6, 0.3]),
    ],
)
def test_ohem_keeps_pixels_below_the_threshold_and_a_least_share(threshold, min_share, kept):
    logits, mask = row(*(([p, 1 - p], 0) for p in (0.9, 0.8, 0.6, 0.3)), ([0.01, 0.99], 255))
    expected = -sum(math.log(p) for p in kept) / max(len(kept), 1)
    value = ohem_cross_entropy(logits, mask, threshold=threshold, min_share=min_share)
    assert value.item() == pytest.approx(expected)


def test_class_weights_of_ohem_weigh_the_mean_of_the_hard_pixels():
    logits, mask = row(([0.9, 0.1], 0), ([0.5, 0.5], 0), ([0.75, 0.25], 1))
    expected = (1 * math.log(2) + 3 * math.log(4)) / (1 + 3)
    value = ohem_cross_entropy(logits, mask, class_weights=torch.tensor([1.0, 3.0]))
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize(("loss", "value"), [(dice_loss, 1 - 10 / 13), (jaccard_loss, 1 - 5 / 8)])
def test_overlap_is_the_mean_over_classes_that_are_there(loss, value):
    # Only class 0: TP 5/4, FP 0, FN 3/4.
    assert loss(*row(([3 / 4, 1 / 4], 0), ([1 / 2, 1 / 2], 0))).item() == pytest.approx(value)


def test_overlap_is_of_the_batch_and_not_the_mean_over_images():
    # Class 0 in both images: TP 3/4 + 1/4, FN 1/4 + 3/4. Two images apart would give 1 - (6/7 + 2/5) / 2.
    logits, mask = row(([3 / 4, 1 / 4], 0), ([1 / 4, 3 / 4], 0))
    apart = logits.movedim(-1, 0).reshape(2, 2, 1, 1), mask.view(2, 1, 1)
    assert dice_loss(*apart).item() == pytest.approx(1 - 2 / 3)


@pytest.mark.parametrize(("alpha", "beta", "same"), [(0.5, 0.5, dice_loss), (1, 1, jaccard_loss)])
def test_tversky_has_dice_and_jaccard_within(alpha, beta, same):
    logits, mask = drawn()
    assert tversky_loss(logits, mask, alpha=alpha, beta=beta).item() == same(logits, mask).item()


def lovasz_by_level_sets(logits, mask):
    """The Lovász extension as an integral over levels t of |M| / |class or M|, M the pixels of error t or more."""
    probabilities = logits.softmax(dim=1).movedim(1, -1)[mask != 255].numpy()
    labels = mask[mask != 255].numpy()
    values = []
    for number in np.unique(labels):
        truth = labels == number
        errors = np.abs(truth - probabilities[:, number])
        levels = np.unique(errors)
        steps = np.diff(levels, prepend=0)
        wrong = [errors >= level for level in levels]
        values.append(sum(step * m.sum() / (truth | m).sum() for step, m in zip(steps, wrong, strict=True)))
    return np.mean(values)


@pytest.mark.parametrize("seed", range(5))
def test_lovasz_is_the_integral_over_level_sets(seed):
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(1, 4, 2, 4, generator=random, dtype=torch.float64)
    mask = torch.tensor([[[0, 0, 1, 1], [2, 255, 0, 1]]])  # class 3 is absent
    assert lovasz_loss(logits, mask).item() == pytest.approx(lovasz_by_level_sets(logits, mask), rel=1e-12)


def test_lovasz_is_one_minus_mean_iou_for_hard_predictions():
    # Predicted 0 1 1 1: IoU of class 0 is 1/2, of class 1 it is 2/3.
    logits, mask = row(([1, 0], 0), ([0, 1], 0), ([0, 1], 1), ([0, 1], 1))
    assert lovasz_loss(logits, mask).item() == pytest.approx(1 - (1 / 2 + 2 / 3) / 2)


def test_lovasz_of_equal_errors_does_not_depend_on_their_order():
    pixels = [([1 / 2, 1 / 2], label) for label in (0, 1, 1, 0, 1)]
    assert lovasz_loss(*row(*pixels)).item() == pytest.approx(0.5)  # all wrong at level 1/2, all right above it


def test_the_gradient_of_lovasz_is_sharp_for_a_million_pixels():
    random = torch.Generator().manual_seed(0)
    mask = torch.randint(2, (1, 1000, 1000), generator=random)
    single = torch.randn(1, 2, 1000, 1000, generator=random)
    double = single.double().requires_grad_()
    lovasz_loss(single.requires_grad_(), mask).backward()
    lovasz_loss(double, mask).backward()
    off = (single.grad - double.grad).abs().mean() / double.grad.abs().mean()
    assert off < 1e-4


def test_distances_around_one_pixel():
    mask = torch.zeros(1, 3, 3, dtype=torch.int64)
    mask[0, 1, 1] = 1
    d = math.sqrt(2)
    around, inside = signed_distances(mask, 3)[0, [1, 0]]
    assert around.numpy() == pytest.approx(np.array([[d, 1, d], [1, 0, 1], [d, 1, d]]))
    assert inside.numpy() == pytest.approx(np.array([[1 - d, 0, 1 - d], [0, 1, 0], [1 - d, 0, 1 - d]]))


@pytest.mark.parametrize(
    ("labels", "distances"),
    [
        ([0, 0, 0, 1], [[-2, -1, 0, 1], [3, 2, 1, 0]]),
        ([0, 255, 255, 1], [[-2, 0, 0, 3], [3, 0, 0, -2]]),  # how far the others are is known, no more
        ([0, 0, 0, 255], [[0, 0, 0, 0], [0, 0, 0, 0]]),
        ([1, 1, 1, 1], [[0, 0, 0, 0], [0, 0, 0, 0]]),
        ([255, 255, 255, 255], [[0, 0, 0, 0], [0, 0, 0, 0]]),
    ],
)
def test_distances_in_a_row(labels, distances):
    assert signed_distances(torch.tensor([[labels]]), 2)[0, :, 0].tolist() == distances


def test_distances_are_scipys():
    mask = torch.randint(3, (2, 40, 30), generator=torch.Generator().manual_seed(0)) * (torch.arange(30) > 9)
    for labels, maps in zip(mask.numpy(), signed_distances(mask, 3).numpy(), strict=True):
        for number, ours in enumerate(maps):
            inside = labels == number
            expected = distance_transform_edt(~inside) - np.maximum(distance_transform_edt(inside) - 1, 0)
            assert ours == pytest.approx(expected, abs=1e-5)


def test_boundary_weighs_a_mistake_by_its_distance():
    # 0 0 1 has the distances -1 0 1 and 2 1 0. Everywhere 3/4 for class 0: 1/4 + 0 + 3/4, and 2/4 + 1/4 + 0.
    assert boundary_loss(*row(*(([3 / 4, 1 / 4], label) for label in (0, 0, 1)))).item() == pytest.approx(7 / 4 / 3)


@pytest.mark.parametrize(
    ("pixels", "totals", "weights"),
    [
        ([10, 30, 60], [100, 100, 100], [3, 1, 0.5]),  # the median of 0.1, 0.3 and 0.6 is 0.3
        ([10, 30], [20, 100], [0.8, 4 / 3]),  # 0.5 in the images that have it, and 0.3: 0.4
        ([10, 30, 0, 60], [100, 100, 0, 100], [3, 1, 0, 0.5]),  # an absent class
        ([7], [7], [1]),
    ],
)
def test_median_frequency_balancing(pixels, totals, weights):
    assert median_frequency_weights(pixels, totals).tolist() == pytest.approx(weights)


def test_masks_without_any_class_have_no_median():
    with pytest.raises(DataError, match="2 classes have no pixel"):
        median_frequency_weights([0, 0], [0, 0])


def test_parts_are_named_and_weighted():
    logits, mask = TWO_PIXELS
    parts = weighted_losses(logits, mask, {"cross_entropy": 1.0, "dice": 0.5})
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(
        {"cross_entropy": (math.log(4 / 3) + math.log(2)) / 2, "dice": 0.5 * 8 / 21}
    )


def test_parts_get_class_weights_and_the_ignored_number():
    logits, mask = row(([3 / 4, 1 / 4], 0), ([1 / 2, 1 / 2], 1), ([1 / 8, 7 / 8], 7))
    weights = torch.tensor([1.0, 3.0])
    parts = weighted_losses(
        logits, mask, dict.fromkeys(("cross_entropy", "ohem", "jaccard"), 1.0), class_weights=weights, ignore_index=7
    )
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(
        {"cross_entropy": (math.log(4 / 3) + 3 * math.log(2)) / 4, "ohem": math.log(2), "jaccard": 0.55}
    )


@pytest.mark.parametrize(
    ("weights", "class_weights", "sentence"),
    [
        ({"dise": 1.0}, False, "no loss 'dise'; the nearest are dice"),
        ({"dice": -1.0}, False, "'dice' got the weight -1.0"),
        ({"dice": math.nan}, False, "'dice' got the weight nan"),
        ({"dice": math.inf}, False, "'dice' got the weight inf"),
        ({}, False, "trains nothing"),
        ({"dice": 0.0}, False, "trains nothing"),
        ({"dice": 1.0, "lovasz": 1.0}, True, "None of dice, lovasz takes class weights"),
    ],
)
def test_a_wrong_sum_of_losses_is_one_sentence(weights, class_weights, sentence):
    with pytest.raises(UsageError, match=sentence):
        check_loss_weights(weights, class_weights=class_weights)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (tversky_loss, {"alpha": -0.1}),
        (tversky_loss, {"beta": 0.0}),
        (focal_loss, {"gamma": -1.0}),
        (ohem_cross_entropy, {"threshold": 0.0}),
        (ohem_cross_entropy, {"min_share": 1.5}),
    ],
)
def test_a_setting_out_of_range_is_named(loss, options):
    (name, value) = next(iter(options.items()))
    with pytest.raises(UsageError, match=f"{name} {value}"):
        loss(*TWO_PIXELS, **options)
