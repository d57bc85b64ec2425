"""Losses of distances: numbers by hand, plain loops, and batches in which there is nothing to compare."""

import math

import pytest
import torch

from foveal.tasks.faces.mining import batch_all, batch_hard, semi_hard
from foveal.tasks.faces.pair_losses import ContrastiveLoss, TripletLoss, root, squared_distances

MININGS = ("batch_all", "batch_hard", "semi_hard")
LOSSES = {
    "contrastive": ContrastiveLoss(),
    **{mining: TripletLoss(mining=mining) for mining in MININGS},
    **{f"{mining} as they are": TripletLoss(mining=mining, of_unit_length=False) for mining in MININGS},
    "contrastive as they are": ContrastiveLoss(of_unit_length=False),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def on_a_line(*places):
    """Embeddings of one number each, so that their distances can be read off."""
    return torch.tensor(places, dtype=torch.float64)[:, None].requires_grad_()


def at_degrees(*angles, length=1.0):
    radians = torch.tensor(angles, dtype=torch.float64).deg2rad()
    return length * torch.stack([radians.cos(), radians.sin()], dim=1)


def drawn(people=4, images=3, width=5, seed=0):
    embeddings = torch.randn(people * images, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return embeddings.requires_grad_(), torch.arange(people).repeat_interleave(images)


def test_distances_are_those_of_the_rows():
    embeddings, _ = drawn()
    assert torch.allclose(squared_distances(embeddings), torch.cdist(embeddings, embeddings) ** 2, atol=1e-12)


def test_the_root_has_no_slope_at_zero():
    values = torch.tensor([0.0, 4.0], requires_grad=True)
    root(values).sum().backward()
    assert root(values).tolist() == [0, 2] and values.grad.tolist() == [0, 0.25]


def test_contrastive_by_hand():
    # Two of person 0 at 0 and 0.4; person 1 at 1. Same: 0.4^2 / 2 = 0.08.
    # Different, margin 1: at 1 nothing, at 0.6 (1 - 0.6)^2 / 2 = 0.08, of two pairs 0.04.
    embeddings = on_a_line(0, 0.4, 1)
    loss = ContrastiveLoss(margin=1, of_unit_length=False)(embeddings, torch.tensor([0, 0, 1]))
    assert loss.item() == pytest.approx(0.12)
    loss.backward()
    # The pair pulls with its distance 0.4, the other pushes with what is lacking, 0.4, half of it for it is one of two.
    assert embeddings.grad.flatten().tolist() == pytest.approx([-0.4, 0.4 + 0.2, -0.2])


def test_contrastive_costs_nothing_where_all_is_as_it_should_be():
    embeddings = on_a_line(3, 3, 5, 5)
    loss = ContrastiveLoss(margin=2, of_unit_length=False)(embeddings, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == 0 and not embeddings.grad.any()


def test_contrastive_of_unit_length():
    # 60 degrees apart on a circle are a distance of 1, whatever the lengths: 1/2; 180 degrees are 2, beyond the margin.
    embeddings = at_degrees(0, 60) * torch.tensor([[3.0], [0.5]])
    assert ContrastiveLoss()(embeddings, torch.tensor([0, 0])).item() == pytest.approx(0.5)
    assert ContrastiveLoss(margin=1.5)(embeddings, torch.tensor([0, 1])).item() == pytest.approx(0.125)
    assert ContrastiveLoss(margin=1.5)(at_degrees(0, 180), torch.tensor([0, 1])).item() == 0


# Person 0 at 0 and 1, person 1 at 1.5. With distances as they are and margin 0.75:
#   anchor 0: 1 - 1.5 + 0.75 = 0.25, semi-hard; anchor 1: 1 - 0.5 + 0.75 = 1.25, its negative is nearer.
# With squares: anchor 0: 1 - 2.25 + 0.75 < 0, easy; anchor 1: 1 - 0.25 + 0.75 = 1.5.
@pytest.mark.parametrize(
    ("mining", "distance", "expected"),
    [
        ("semi_hard", "euclidean", 0.25),
        ("batch_hard", "euclidean", 0.75),
        ("batch_all", "euclidean", 0.75),
        ("semi_hard", "squared", 0.0),
        ("batch_hard", "squared", 0.75),  # (0 + 1.5) / 2, over the anchors
        ("batch_all", "squared", 1.5),  # the mean of those above 0
        ("semi_hard", None, 0.0),
        ("batch_hard", None, 0.75),
    ],
)
def test_triplet_by_hand(mining, distance, expected):
    loss = TripletLoss(margin=0.75, mining=mining, distance=distance, of_unit_length=False)
    assert loss(on_a_line(0, 1, 1.5), torch.tensor([0, 0, 1])).item() == pytest.approx(expected)


def test_the_papers_distances():
    assert TripletLoss(mining="semi_hard").distance == "squared"
    assert {TripletLoss(mining=mining).distance for mining in ("batch_all", "batch_hard")} == {"euclidean"}


def test_triplet_gradient_by_hand():
    # Semi-hard, squared: d(0, 1) = 1, d(0, 2) = 1.1^2 = 1.21. (x1 - x0)^2 - (x2 - x0)^2 + 0.5, from anchor 0 alone.
    embeddings = on_a_line(0, 1, -1.1)
    loss = TripletLoss(margin=0.5, of_unit_length=False)(embeddings, torch.tensor([0, 0, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.29)
    assert embeddings.grad.flatten().tolist() == pytest.approx([-2 * 1 - 2 * 1.1, 2, 2 * 1.1])


def test_lengths_do_not_count_on_the_unit_circle():
    # At 0, 60 and 90 degrees: squared distances 2 - 2 cos are 1, 2 and 2 - sqrt(3).
    short, long = at_degrees(0, 60, 90), at_degrees(0, 60, 90, length=7)
    loss, people = TripletLoss(margin=1.5), torch.tensor([0, 0, 1])
    # From 0 the positive is at 1 and the negative at 2: 1 - 2 + 1.5. From 60 the negative is nearer: not semi-hard.
    assert loss(short, people).item() == pytest.approx(0.5) == pytest.approx(loss(long, people).item())
    hard = TripletLoss(margin=1.5, mining="batch_hard", distance="squared")
    assert hard(long, people).item() == pytest.approx((0.5 + 1 - (2 - math.sqrt(3)) + 1.5) / 2)


@pytest.mark.parametrize("mining", MININGS)
def test_triplet_equals_a_loop(mining):
    embeddings, identities = drawn()
    unit = embeddings.detach() / embeddings.detach().norm(dim=1, keepdim=True)
    distances = torch.cdist(unit, unit)
    if mining == "semi_hard":
        distances = distances**2
    found = {
        "batch_all": batch_all(identities),
        "batch_hard": batch_hard(distances, identities),
        "semi_hard": semi_hard(distances, identities, 0.3),
    }[mining]
    costs = [max(0, distances[a, p] - distances[a, n] + 0.3) for a, p, n in found.tolist()]
    if mining == "batch_all":
        costs = [cost for cost in costs if cost > 0]
    assert len(costs) > 3
    loss = TripletLoss(margin=0.3, mining=mining)(embeddings, identities)
    assert loss.item() == pytest.approx(float(sum(costs) / len(costs)))


@every_loss
def test_gradients_equal_differences(loss):
    embeddings, identities = drawn(people=3, images=2)
    assert torch.autograd.gradcheck(lambda x: loss(x, identities), embeddings)


@every_loss
@pytest.mark.parametrize("people", [[0, 0, 0], [0, 1, 2], [0], []], ids=["one person", "all alone", "one", "none"])
def test_nothing_to_compare_costs_nothing(loss, people):
    embeddings = torch.ones(len(people), 4, requires_grad=True)
    value = loss(embeddings, torch.tensor(people, dtype=torch.int64))
    value.backward()
    if isinstance(loss, TripletLoss) or len(people) < 2 or people == [0, 0, 0]:
        assert value.item() == 0
    assert not embeddings.grad.any()


@every_loss
def test_identical_opposite_and_zero_embeddings_have_finite_gradients(loss):
    one = torch.tensor([0.6, -0.8, 0.3])
    embeddings = torch.stack([one, one, one, one, -one, 0 * one, 0 * one]).requires_grad_()
    value = loss(embeddings, torch.tensor([0, 0, 1, 1, 0, 1, 2]))
    value.backward()
    assert value.isfinite() and embeddings.grad.isfinite().all()
    assert embeddings.grad.abs().max() < 10


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_embeddings_are_compared_in_float32(loss, dtype):
    embeddings, identities = drawn()
    half = embeddings.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        value = loss(half, identities)
    value.backward()
    assert value.dtype == torch.float32 and half.grad.dtype == dtype
    assert value.item() == loss(half.detach().float(), identities).item()
