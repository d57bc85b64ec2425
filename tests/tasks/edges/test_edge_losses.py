"""The losses of edges: numbers by hand, gradients against differences, and images in which there is nothing."""

import math

import pytest
import torch
import torch.nn.functional as F

from foveal.core.errors import UsageError
from foveal.tasks.edges.losses import balanced_cross_entropy, edge_labels, edge_losses

HED = {"disputed": "negative", "negative_weight": 1.0}
RCF = {"disputed": "ignored", "negative_weight": 1.1}
both = pytest.mark.parametrize("options", [HED, RCF], ids=["hed", "rcf"])


def row(*pixels: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """One image of one row: for each pixel its probability and the share who marked it."""
    probabilities, shares = (torch.tensor(values, dtype=torch.float64) for values in zip(*pixels, strict=True))
    return torch.logit(probabilities)[None, None, None], shares[None, None]


# One edge, one disputed pixel, two that nobody marked.
PIXELS = row((1 / 4, 1.0), (1 / 2, 0.4), (3 / 4, 0.0), (1 / 2, 0.0))


def drawn(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images of 5 x 6 by five annotators each, with four pixels that don't count."""
    random = torch.Generator().manual_seed(seed)
    edges = torch.randint(6, (2, 5, 6), generator=random) / 5
    edges[:, 4, 2:4] = -1
    return torch.randn(2, 1, 5, 6, generator=random, dtype=torch.float64).to(dtype), edges


@pytest.mark.parametrize(
    ("share", "edge", "none_in_hed", "none_in_rcf"),
    [
        (0.0, False, True, True),
        (0.2, False, True, False),
        (0.4, False, True, False),
        (0.5, False, True, False),  # two of four are no majority
        (0.6, True, False, False),  # three of five
        (1.0, True, False, False),
        (-1.0, False, False, False),
    ],
)
def test_what_three_of_five_marked_is_an_edge(share, edge, none_in_hed, none_in_rcf):
    edges = torch.tensor([[[share]]])
    assert [x.item() for x in edge_labels(edges)] == [edge, none_in_hed]
    assert [x.item() for x in edge_labels(edges, disputed="ignored")] == [edge, none_in_rcf]


def test_a_consensus_of_zero_takes_what_anyone_marked():
    positive, negative = edge_labels(torch.tensor([[[0.0, 0.1, 1.0]]]), consensus=0)
    assert positive.tolist() == [[[False, True, True]]] and negative.tolist() == [[[True, False, False]]]


def test_hed_by_hand():
    # Four pixels, beta 3/4. Edge: 3/4 log 4. Others: 1/4 (log 2 + log 4 + log 2).
    expected = 3 / 4 * math.log(4) + 1 / 4 * (math.log(2) + math.log(4) + math.log(2))
    assert balanced_cross_entropy(*PIXELS, **HED, reduction="sum").item() == pytest.approx(expected)
    assert balanced_cross_entropy(*PIXELS, **HED).item() == pytest.approx(expected / 4)


def test_rcf_by_hand():
    # Three pixels count, beta 2/3. Edge: 2/3 log 4. Others: 1.1 / 3 (log 4 + log 2).
    expected = 2 / 3 * math.log(4) + 1.1 / 3 * (math.log(4) + math.log(2))
    assert balanced_cross_entropy(*PIXELS, **RCF, reduction="sum").item() == pytest.approx(expected)
    assert balanced_cross_entropy(*PIXELS, **RCF).item() == pytest.approx(expected / 3)


def test_the_sum_is_that_of_torch_with_the_papers_weights():
    logits, edges = drawn()
    for number in range(2):
        image, label = logits[number : number + 1], (edges[number : number + 1] > 0.5).double()
        known = edges[number : number + 1] >= 0
        beta = 1 - label[known].mean()
        weight = torch.where(label == 1, beta, 1 - beta) * known
        expected = F.binary_cross_entropy_with_logits(image[:, 0], label, weight, reduction="sum")
        ours = balanced_cross_entropy(image, edges[number : number + 1], reduction="sum")
        assert ours.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("marked", [1, 3, 10, 29])
def test_both_classes_weigh_the_same_in_total(marked):
    edges = torch.zeros(1, 5, 6)
    edges.view(-1)[:marked] = 1
    logits = torch.zeros(1, 1, 5, 6, requires_grad=True)
    balanced_cross_entropy(logits, edges, reduction="sum").backward()  # at p = 1/2 a gradient is half of the weight
    weights = 2 * logits.grad[0, 0]
    assert -weights[edges[0] == 1].sum().item() == pytest.approx(weights[edges[0] == 0].sum().item(), rel=1e-5)
    assert weights[edges[0] == 0].sum().item() == pytest.approx(marked * (30 - marked) / 30, rel=1e-5)


@both
def test_a_batch_is_the_mean_of_its_images_each_with_a_beta_of_its_own(options):
    logits, edges = drawn()
    apart = [balanced_cross_entropy(logits[i : i + 1], edges[i : i + 1], **options) for i in (0, 1)]
    assert balanced_cross_entropy(logits, edges, **options).item() == pytest.approx(sum(apart).item() / 2)


@both
def test_the_mean_does_not_depend_on_the_size_of_the_image(options):
    logits, edges = drawn()
    larger = balanced_cross_entropy(logits.repeat(1, 1, 3, 2), edges.repeat(1, 3, 2), **options)
    assert larger.item() == pytest.approx(balanced_cross_entropy(logits, edges, **options).item())


@both
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_gradient_is_that_of_differences(options, reduction):
    logits, edges = drawn()
    loss = lambda x: balanced_cross_entropy(x, edges, **options, reduction=reduction)  # noqa: E731
    assert torch.autograd.gradcheck(loss, logits.requires_grad_())


@both
def test_pixels_that_do_not_count_change_nothing(options):
    logits, edges = drawn()
    expected = balanced_cross_entropy(logits, edges, **options).item()
    changed = torch.where((edges < 0).unsqueeze(1), 1000 * torch.randn_like(logits), logits)
    assert balanced_cross_entropy(changed, edges, **options).item() == expected
    padded = F.pad(logits, (0, 3, 0, 2)), F.pad(edges, (0, 3, 0, 2), value=-1)
    assert balanced_cross_entropy(*padded, **options).item() == pytest.approx(expected)


@both
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0, -1.0])
def test_an_image_of_one_kind_costs_nothing_and_teaches_nothing(options, reduction, share):
    logits = torch.randn(2, 1, 4, 5, requires_grad=True)
    value = balanced_cross_entropy(logits, torch.full((2, 4, 5), share), **options, reduction=reduction)
    value.backward()
    assert value.item() == 0 and logits.grad.equal(torch.zeros_like(logits))


@both
def test_sure_and_wrong_is_large_and_finite(options):
    logits, edges = drawn()
    logits = torch.where((edges > 0.5).unsqueeze(1), -1e4, 1e4).requires_grad_()
    value = balanced_cross_entropy(logits, edges, **options)
    value.backward()
    assert value.isfinite() and value > 1000 and logits.grad.isfinite().all()


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(options, dtype):
    logits, edges = drawn(dtype=dtype)
    expected = balanced_cross_entropy(logits.float(), edges, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert balanced_cross_entropy(logits, edges, **options).equal(expected)


def test_a_sum_over_a_large_image_keeps_its_digits():
    random = torch.Generator().manual_seed(0)
    edges = (torch.rand(1, 1000, 1000, generator=random) > 0.98).float()
    logits = torch.randn(1, 1, 1000, 1000, generator=random)
    single = balanced_cross_entropy(logits, edges, reduction="sum").item()
    assert single == pytest.approx(balanced_cross_entropy(logits.double(), edges, reduction="sum").item(), rel=1e-5)


def test_outputs_are_named_and_weighted():
    logits, edges = drawn()
    losses = edge_losses([logits, -logits, 2 * logits], edges, weights=[1, 0.5, 2], **RCF, reduction="sum")
    assert list(losses) == ["side1", "side2", "fuse"]
    for name, weight, factor in [("side1", 1, 1), ("side2", 0.5, -1), ("fuse", 2, 2)]:
        alone = balanced_cross_entropy(factor * logits, edges, **RCF, reduction="sum")
        assert losses[name].item() == pytest.approx(weight * alone.item())
    assert edge_losses([logits] * 2, edges)["fuse"].equal(balanced_cross_entropy(logits, edges))


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
def test_wrong_weights_are_one_sentence(weights):
    logits, edges = drawn()
    with pytest.raises(UsageError, match="this network has 3 outputs"):
        edge_losses([logits] * 3, edges, weights=weights)


@pytest.mark.parametrize("consensus", [-0.1, 1.0])
def test_a_consensus_out_of_range_is_named(consensus):
    with pytest.raises(UsageError, match=f"consensus is {consensus}"):
        balanced_cross_entropy(*drawn(), consensus=consensus)


@both
def test_following_the_gradient_finds_the_edges(options):
    logits, edges = drawn(dtype=torch.float32)
    optimizer = torch.optim.Adam([logits.requires_grad_()], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        balanced_cross_entropy(logits, edges, **options).backward()
        optimizer.step()
    positive, negative = edge_labels(edges, disputed=options["disputed"])
    assert (logits[:, 0][positive] > 0).all() and (logits[:, 0][negative] < 0).all()
