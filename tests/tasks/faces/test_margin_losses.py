"""Softmax with margins and centres: numbers by hand, the limits that the papers name, and the poles."""

import math

import pytest
import torch
import torch.nn.functional as F

from foveal.tasks.faces.margin_losses import (
    ArcFace,
    ASoftmax,
    CentreLoss,
    CosFace,
    LSoftmax,
    Softmax,
    added_angle,
    multiple_angle,
)

# Without annealing, so that the margin alone is seen.
ALONE = {"start": 0, "end": 0}
LOSSES = {
    "softmax": lambda people, width: Softmax(people, width),
    "centre": lambda people, width: CentreLoss(people, width, centre_weight=0.5),
    "l_softmax": lambda people, width: LSoftmax(people, width, **ALONE),
    "a_softmax": lambda people, width: ASoftmax(people, width, **ALONE),
    "a_softmax annealed": lambda people, width: ASoftmax(people, width, start=3, end=1),
    "cosface": lambda people, width: CosFace(people, width),
    "arcface": lambda people, width: ArcFace(people, width),
}
every_loss = pytest.mark.parametrize("build", LOSSES.values(), ids=LOSSES)


def with_weight(loss, weight):
    """The loss in float64, with the given directions."""
    loss = loss.double()
    with torch.no_grad():
        loss.weight.copy_(torch.tensor(weight, dtype=torch.float64))
    return loss


def at_degrees(*angles, length=1.0):
    radians = torch.tensor(angles, dtype=torch.float64).deg2rad()
    return length * torch.stack([radians.cos(), radians.sin()], dim=1)


def drawn(people=5, width=4, images=12):
    random = torch.Generator().manual_seed(3)
    embeddings = torch.randn(images, width, generator=random, dtype=torch.float64)
    weight = torch.randn(people, width, generator=random, dtype=torch.float64)
    return embeddings, torch.randint(people, (images,), generator=random), weight


def degrees(number=181):
    return torch.linspace(0, math.pi, number, dtype=torch.float64)


EAST_NORTH = [[2.0, 0.0], [0.0, 0.5]]  # directions at 0 and 90 degrees, of lengths 2 and 1/2


def logits(loss, angle, length=1.0, person=0):
    """Those of one image of `person` 0 at an angle from the direction of that person."""
    return with_weight(loss, EAST_NORTH).logits(at_degrees(angle, length=length), torch.tensor([person]))[0].tolist()


def test_softmax_by_hand():
    # Logits 2 * 3 and 0 at 0 degrees: log(1 + e^-6), and with a bias of 6 for the other log 2.
    loss = with_weight(Softmax(2, 2), EAST_NORTH)
    embeddings, person = at_degrees(0, length=3), torch.tensor([0])
    assert loss(embeddings, person).item() == pytest.approx(math.log1p(math.exp(-6)))
    loss.bias.data[1] = 6
    assert loss(embeddings, person).item() == pytest.approx(math.log(2))


def test_cosface_by_hand():
    # At 60 degrees the cosines are 1/2 and sqrt(3)/2, whatever the lengths.
    assert logits(CosFace(2, 2, margin=0.25, scale=8), 60, length=5) == pytest.approx([2, 4 * math.sqrt(3)])
    loss = with_weight(CosFace(2, 2, margin=0.25, scale=8), EAST_NORTH)
    expected = math.log1p(math.exp(4 * math.sqrt(3) - 2))
    assert loss(at_degrees(60), torch.tensor([0])).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("angle", "true"),
    [
        (0, math.cos(math.radians(30))),
        (30, 0.5),
        (60, 0.0),
        (90, -0.5),
        (150, -1.0),  # the last with room for the margin
        (180, -1 - math.radians(30) / 2),  # cos theta - m sin m
        (165, math.cos(math.radians(165)) - math.radians(30) / 2),
    ],
)
def test_arcface_by_hand(angle, true):
    loss = ArcFace(2, 2, margin=math.radians(30), scale=10)
    assert logits(loss, angle, length=4)[0] == pytest.approx(10 * true, abs=1e-6)
    assert logits(loss, angle)[1] == pytest.approx(10 * math.sin(math.radians(angle)), abs=1e-6)


@pytest.mark.parametrize(
    ("margin", "angle", "psi"),
    [
        (1, 60, 0.5),
        (2, 0, 1),
        (2, 60, -0.5),
        (2, 90, -1),
        (2, 120, 0.5 - 2),  # -cos 240 - 2
        (2, 180, -3),
        (3, 60, -1),
        (3, 90, -0 - 2),  # -cos 270 - 2
        (3, 150, 0 - 4),  # cos 450 - 4
        (3, 180, -5),
        (4, 30, -0.5),
        (4, 60, 0.5 - 2),  # -cos 240 - 2
        (4, 180, -7),
    ],
)
def test_multiple_angles_by_hand(margin, angle, psi):
    cosine = torch.tensor([math.cos(math.radians(angle))], dtype=torch.float64)
    assert multiple_angle(cosine, margin).item() == pytest.approx(psi, abs=1e-6)
    # The true logit has the lengths of both in L-Softmax (3 * 2), that of the embedding in A-Softmax.
    assert logits(LSoftmax(2, 2, margin=margin, **ALONE), angle, 3)[0] == pytest.approx(6 * psi, abs=1e-6)
    assert logits(ASoftmax(2, 2, margin=margin, **ALONE), angle, 3)[0] == pytest.approx(3 * psi, abs=1e-6)
    others = math.sin(math.radians(angle))
    assert logits(LSoftmax(2, 2, margin=margin, **ALONE), angle, 3)[1] == pytest.approx(1.5 * others, abs=1e-6)
    assert logits(ASoftmax(2, 2, margin=margin, **ALONE), angle, 3)[1] == pytest.approx(3 * others, abs=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7])
def test_multiple_angles_fall_without_a_jump(factor):
    theta = degrees(2001)
    values = multiple_angle(theta.cos(), factor)
    steps = values.diff()
    assert (steps < 1e-12).all() and steps.abs().max() < 1.01 * factor * math.pi / 2000
    folds = (theta * factor / math.pi).floor().clamp(max=factor - 1)
    assert torch.allclose(values, (-1) ** folds * (factor * theta).cos() - 2 * folds, atol=1e-9)


@pytest.mark.parametrize("margin", [0, 0.1, 0.5, math.pi / 2])
def test_added_angles_fall_everywhere(margin):
    theta = degrees(2001)
    values = added_angle(theta.cos(), margin)
    assert (values.diff() < 1e-12).all()
    room = theta + margin <= math.pi
    assert torch.allclose(values[room], (theta[room] + margin).cos(), atol=1e-6)
    assert torch.allclose(values[~room], theta[~room].cos() - margin * math.sin(margin))


@pytest.mark.parametrize("kind", [CosFace, ArcFace])
def test_without_a_margin_it_is_the_scaled_normalised_softmax(kind):
    embeddings, identities, weight = drawn()
    expected = F.cross_entropy(8 * F.normalize(embeddings) @ F.normalize(weight).T, identities)
    loss = with_weight(kind(5, 4, margin=0, scale=8), weight.tolist())
    assert loss(embeddings, identities).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("annealing", [ALONE, {}])
def test_with_a_factor_of_one_it_is_softmax(annealing):
    embeddings, identities, weight = drawn()
    plain = F.cross_entropy(embeddings @ weight.T, identities).item()
    normalised = F.cross_entropy(embeddings @ F.normalize(weight).T, identities).item()
    l_softmax = with_weight(LSoftmax(5, 4, margin=1, **annealing), weight.tolist())
    a_softmax = with_weight(ASoftmax(5, 4, margin=1, **annealing), weight.tolist())
    assert l_softmax(embeddings, identities).item() == pytest.approx(plain)
    assert a_softmax(embeddings, identities).item() == pytest.approx(normalised)


def test_an_endless_annealing_is_softmax_too():
    embeddings, identities, weight = drawn()
    loss = with_weight(ASoftmax(5, 4, start=1e9, end=1e9), weight.tolist())
    expected = F.cross_entropy(embeddings @ F.normalize(weight).T, identities).item()
    assert loss(embeddings, identities).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", [CosFace, ArcFace, LSoftmax, ASoftmax])
def test_a_larger_margin_costs_more(kind):
    embeddings, identities, weight = drawn()
    annealing = ALONE if issubclass(kind, LSoftmax) else {"scale": 4}
    costs = [
        with_weight(kind(5, 4, margin=margin, **annealing), weight.tolist())(embeddings, identities).item()
        for margin in ((1, 2, 3, 4) if issubclass(kind, LSoftmax) else (0, 0.2, 0.4, 0.8))
    ]
    assert costs == sorted(costs) and costs[-1] > costs[0] + 0.5


def test_annealing_by_hand():
    # At 60 degrees, factor 2: cosine 1/2 and psi -1/2. lambda is 3, 3 / 2, 1 and stays 1 where 3 / 4 would be less.
    loss = with_weight(ASoftmax(2, 2, margin=2, start=3, decay=1, end=1), EAST_NORTH)
    embeddings, person = at_degrees(60), torch.tensor([0])
    for share in (3, 1.5, 1, 1):
        true = loss.logits(embeddings, person)[0, 0].item()
        assert true == pytest.approx((share * 0.5 - 0.5) / (1 + share))
        loss(embeddings, person)
    assert loss.steps.item() == 4


def test_the_usual_annealing_falls_from_1500_to_5():
    loss = LSoftmax(2, 2)
    weights = []
    for step in (0, 10, 100, 2989, 2991, 10**9):
        loss.steps.fill_(step)
        weights.append(loss.annealing.item())
    assert weights[:3] == pytest.approx([1500, 750, 1500 / 11])
    assert weights[3] > 5 and weights[4:] == [5, 5]  # 1500 / (1 + 0.1 * 2990) = 5


def test_the_steps_are_kept_with_the_weights_and_validation_makes_none():
    embeddings, identities, _ = drawn()
    loss = ASoftmax(5, 4).double()
    loss(embeddings, identities)
    loss.eval()(embeddings, identities)
    again = ASoftmax(5, 4)
    again.load_state_dict(loss.state_dict())
    assert again.steps.item() == 1


def test_centres_by_hand():
    # Person 0 at 2 and 4, person 1 at 6; all centres at 0: (4 + 16 + 36) / 3 / 2, times a weight of 3.
    loss = CentreLoss(3, 1, centre_weight=3, rate=0.5).double()
    embeddings = torch.tensor([[2.0], [4.0], [6.0]], dtype=torch.float64, requires_grad=True)
    people = torch.tensor([0, 0, 1])
    softmax = F.cross_entropy(embeddings @ loss.weight.T, people)
    value = loss(embeddings, people)
    assert (value - softmax).item() == pytest.approx(28)
    # They move by half of the sum of their differences over 1 + their number: (2 + 4) / 3 / 2 and 6 / 2 / 2.
    assert loss.centres.flatten().tolist() == pytest.approx([1, 1.5, 0])
    (gradient,) = torch.autograd.grad(value - softmax, embeddings)
    assert gradient.flatten().tolist() == pytest.approx([2, 4, 6])  # 3 (x - c) / 3, of the centres before the step
    # The next batch is measured from there: (1 + 9 + 20.25) / 3 / 2 * 3.
    assert (loss(embeddings, people) - softmax).item() == pytest.approx(15.125)


def test_validation_moves_no_centre_and_training_moves_them_to_the_mean():
    loss = CentreLoss(2, 1)
    embeddings, people = torch.tensor([[2.0], [4.0]]), torch.tensor([0, 0])
    loss.eval()(embeddings, people)
    assert not loss.centres.any()
    loss.train()
    for _ in range(60):
        loss(embeddings, people)
    assert loss.centres.flatten().tolist() == pytest.approx([3, 0])


def test_a_centre_weight_of_zero_is_softmax():
    embeddings, identities, weight = drawn()
    loss = with_weight(CentreLoss(5, 4, centre_weight=0), weight.tolist())
    assert loss(embeddings, identities).item() == pytest.approx(
        F.cross_entropy(embeddings @ weight.T, identities).item()
    )


@every_loss
def test_gradients_equal_differences(build):
    embeddings, identities, weight = drawn(people=3, width=3, images=5)
    loss = with_weight(build(3, 3), weight.tolist()).eval()

    def of_both(embeddings, weight):
        return torch.func.functional_call(loss, {"weight": weight}, (embeddings, identities))

    assert torch.autograd.gradcheck(of_both, (embeddings.requires_grad_(), weight.requires_grad_()))


@every_loss
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_the_poles_have_finite_gradients(build, scale):
    # On the person's direction, against it, across it, and no direction at all; in float32, where cosines pass 1.
    direction = torch.tensor([0.3, -0.7, 0.1, 0.5])
    loss = build(2, 4)
    loss.weight.data = torch.stack([direction, torch.zeros(4)])
    across = torch.tensor([0.7, 0.3, 0.0, 0.0])
    embeddings = (scale * torch.stack([direction, 3 * direction, -direction, across, 0 * direction])).requires_grad_()
    loss(embeddings, torch.zeros(5, dtype=torch.int64)).backward()
    assert embeddings.grad.isfinite().all() and loss.weight.grad.isfinite().all()
    assert embeddings.grad.abs().max() < 1e5  # at most about the scale of 64 over a length of 0.9e-3


@pytest.mark.parametrize("margin", [0.2, 0.5])
def test_the_slope_of_the_added_angle_near_the_pole(margin):
    # d cos(theta + m) / dx turns the embedding by -sin(theta + m): as theta goes to 0 that is -sin m, and not NaN.
    direction = torch.tensor([[1.0, 0.0]])
    for theta in (1e-2, 2e-3, 1e-3):
        embeddings = torch.tensor([[math.cos(theta), math.sin(theta)]], requires_grad=True)
        unit = embeddings / embeddings.norm()
        added_angle((unit @ direction.T), margin).backward()
        assert embeddings.grad[0, 1].item() == pytest.approx(-math.sin(theta + margin), rel=0.05)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_embeddings_are_judged_in_float32(build, dtype):
    embeddings, identities, _ = drawn()
    loss = build(5, 4).eval()
    half = embeddings.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        value = loss(half, identities)
    value.backward()
    assert value.dtype == torch.float32 and half.grad.dtype == dtype and loss.weight.grad.dtype == torch.float32
    assert value.item() == loss(half.detach().float(), identities).item()


@every_loss
def test_it_learns_the_people_of_a_batch(build):
    random = torch.Generator().manual_seed(0)
    people = torch.arange(4).repeat_interleave(3)
    torch.manual_seed(0)
    loss = build(4, 8)
    embeddings = torch.randn(12, 8, generator=random).requires_grad_()
    optimizer = torch.optim.Adam([embeddings, *loss.parameters()], lr=0.2)
    for _ in range(50):
        optimizer.zero_grad()
        loss(embeddings, people).backward()
        optimizer.step()
    assert (F.linear(embeddings, loss.weight).argmax(dim=1) == people).all()
    cosines = F.normalize(embeddings.detach()) @ F.normalize(embeddings.detach()).T
    same = people[:, None] == people
    assert cosines[same].min() > cosines[~same].max()
