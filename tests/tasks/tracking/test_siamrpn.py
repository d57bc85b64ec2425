"""SiamRPN: what it looks at, its losses by hand, the box that it takes, and that it learns."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from foveal.core.errors import UsageError
from foveal.tasks.tracking.anchors import RATIOS, anchor_grid, encode
from foveal.tasks.tracking.options import TrackerSettings
from foveal.tasks.tracking.siamrpn import SiamRPNHead

BOTH = pytest.mark.parametrize("correlation", ["depthwise", "up_channel"])
AS_FOUND = TrackerSettings(window=0, shape_penalty=0, scale_rate=1)  # the likeliest box as it is


def head(**changes) -> SiamRPNHead:
    torch.manual_seed(0)
    return SiamRPNHead([3], **{"width": 4} | changes)


def test_it_looks_at_a_square_around_the_target_and_twice_as_far_in_the_search_crop():
    box = np.array([20.0, 40, 60, 60])  # 40 x 20: 2p = 30, and the square's side sqrt(70 * 50)
    exemplar, search = head().exemplar_region(box), head().search_region(box)
    assert exemplar[:3] == (40, 50, pytest.approx(math.sqrt(3500)))
    assert search.width == search.height == pytest.approx(math.sqrt(3500) * 255 / 127)
    square = np.array([0.0, 0, 30, 30])  # is as large as the square anchor
    assert head().search_region(square).from_frame(square, 255)[2:] == pytest.approx(127.5 + 63.5 / 2)


@BOTH
def test_outputs_have_a_place_for_each_anchor(correlation):
    network = head(correlation=correlation)
    templates = network.remember(torch.rand(2, 3, 6, 6))
    assert templates.shape == (2, 8 if correlation == "depthwise" else 4 * 30, 4, 4)
    assert network(templates, torch.rand(2, 3, 22, 22)).shape == (2, 5, 17, 17, 6)
    assert network(templates, torch.rand(2, 3, 10, 14)).shape == (2, 5, 5, 9, 6)  # rows, then columns


@BOTH
def test_each_pair_is_compared_alone(correlation):
    network = head(correlation=correlation).eval()
    exemplars, searches = torch.rand(3, 3, 6, 6), torch.rand(3, 3, 10, 10)
    together = network(network.remember(exemplars), searches)
    alone = torch.cat([network(network.remember(exemplars[n : n + 1]), searches[n : n + 1]) for n in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_up_channel_correlation_is_a_convolution_with_the_exemplars_kernels():
    branch = head(correlation="up_channel").classify
    exemplar, search = torch.rand(1, 3, 6, 6), torch.rand(1, 3, 10, 10)
    kernels = branch.kernels(exemplar)
    plain = nn.functional.conv2d(branch.search(search), kernels.view(10, 4, 4, 4)) / 8  # the root of 4 * 4 * 4
    assert torch.allclose(branch(kernels, search), branch.adjust(plain), atol=1e-5)


def test_a_margin_is_cut_off():
    inner = torch.rand(1, 3, 6, 6)
    spoilt = nn.functional.pad(inner, (2, 2, 2, 2), value=9.0)
    assert torch.equal(head(margin=2).eval().remember(spoilt), head().eval().remember(inner))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"exemplar_size": 64, "margin": 3}, "model.exemplar_size is 64, of which the network makes 8 .* leaves 2"),
        ({"exemplar_size": 127, "search_size": 120}, "model.search_size is 120, and model.exemplar_size 127"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, message):
    with pytest.raises(UsageError, match=message):
        head(**sizes)


def test_losses_by_hand():
    """One cell, in the middle of a crop of 255: of five anchors the square one is the target's, (95.5, 159.5) on both
    axes, those of ratio 1/2 and 2 share 64 * 45.25 of 64 * (2 * 64 - 45.25), or 0.55, and the others 0.41.
    """
    outputs = torch.zeros(1, 5, 1, 1, 6)
    outputs[0, 2, 0, 0] = torch.tensor([0.0, math.log(3), 0.05, -1, 0, 0])
    losses = head().losses(outputs, torch.tensor([[95.5, 95.5, 159.5, 159.5]]))
    assert losses["cross_entropy"].item() == pytest.approx(-math.log(3 / 4))
    # Smooth L1, quadratic below 1/9: 4.5 * 0.05^2, and 1 - 1/18.
    assert losses["smooth_l1"].item() == pytest.approx(4.5 * 0.05**2 + 17 / 18, rel=1e-5)


def test_losses_of_a_pair_without_the_target_are_those_of_its_anchors():
    losses = head().losses(torch.zeros(1, 5, 1, 1, 6), torch.tensor([[0.0, 0, 20, 20]]))
    assert losses["cross_entropy"].item() == pytest.approx(math.log(2))
    assert losses["smooth_l1"].item() == 0


def test_other_anchors_are_the_most_mistaken_ones():
    outputs = torch.zeros(1, 5, 17, 17, 6)
    outputs[..., 0] = 20.0  # sure that the target is nowhere
    outputs[0, 0, 0, 0] = torch.tensor([0.0, 20, 0, 0, 0, 0])  # but in a corner
    box = torch.tensor([[95.5, 95.5, 159.5, 159.5]])
    target = (outputs[0, 2, 8, 8], outputs[0, 2, 8, 7])
    for place in target:
        place[:2] = torch.tensor([0.0, 20.0])
    loss = head().losses(outputs, box)["cross_entropy"].item()
    outputs[0, 0, 0, 0, 1] = -20.0
    without = head().losses(outputs, box)["cross_entropy"].item()
    assert loss - without == pytest.approx(20 / 64, rel=0.3)  # one of at most 64 that is wrong by 20


@BOTH
def test_gradients_reach_the_features_of_both_crops_and_both_branches(correlation):
    network = head(correlation=correlation)
    first, second = torch.rand(2, 3, 6, 6, requires_grad=True), torch.rand(2, 3, 22, 22, requires_grad=True)
    outputs = network(network.remember(first), second)
    losses = network.losses(outputs, torch.tensor([[95.5, 95.5, 159.5, 159.5]] * 2))
    sum(losses.values()).backward()
    assert first.grad.abs().sum() > 0 and second.grad.abs().sum() > 0
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def planted(box, anchor=(2, 8, 8), scale=1.0) -> torch.Tensor:
    """Outputs (1, 1, 5, 17, 17, 6) that say for certain: at this anchor, and the box is there."""
    outputs = torch.zeros(5, 17, 17, 6, dtype=torch.float64)
    outputs[..., 0] = 100.0
    grid = anchor_grid(17, stride=8, search_size=255).double()
    outputs[anchor] = torch.cat((torch.tensor([0.0, 100.0 * scale]), encode(torch.tensor(box), grid[anchor])))
    return outputs[None, None]


BEFORE = np.array([[100.0, 110, 160, 150]])


@pytest.mark.parametrize("anchor", [(0, 0, 0), (2, 8, 8), (4, 3, 16)])
def test_a_planted_box_is_found_as_it_is(anchor):
    box = [70.0, 80.0, 131.5, 117.25]
    found = head().locate(planted(box, anchor), BEFORE, AS_FOUND)
    assert found.boxes[0] == pytest.approx(box, abs=1e-4) and found.scores[0] == pytest.approx(1)
    assert found.boxes.dtype == found.scores.dtype == np.float64


def test_a_target_that_stays_gets_no_drift():
    """Offsets of zero, and the likeliest anchor is the one in the middle."""
    outputs = torch.zeros(1, 1, 5, 17, 17, 6)
    found = head().locate(outputs, BEFORE, TrackerSettings(window=0.4))
    assert found.boxes.reshape(2, 2).mean(axis=0) == pytest.approx([127.5, 127.5])
    assert found.scores[0] == 0.5


def test_targets_are_found_alone():
    boxes = [[70.0, 80.0, 131.5, 117.25], [10.0, 20.0, 50.0, 90.0]]
    outputs = torch.cat([planted(box) for box in boxes])
    found = head().locate(outputs, np.repeat(BEFORE, 2, axis=0), AS_FOUND)
    assert found.boxes == pytest.approx(np.array(boxes), abs=1e-4)


def test_the_size_moves_to_the_one_found():
    # 60 x 40 before, and 30 x 80 found around (115, 100); half of the way is 45 x 60.
    settings = TrackerSettings(window=0, shape_penalty=0, scale_rate=0.5)
    found = head().locate(planted([100.0, 60, 130, 140]), BEFORE, settings)
    assert found.boxes[0] == pytest.approx([115 - 22.5, 70, 115 + 22.5, 130], abs=1e-4)


def test_a_change_of_shape_lowers_a_score():
    # 60 x 40 before: ratio 2/3, and the side with context sqrt(110 * 90). Found: 40 x 60, as large, of ratio 3/2.
    settings = TrackerSettings(window=0, shape_penalty=0.2, scale_rate=1)
    found = head().locate(planted([110.0, 100, 150, 160]), BEFORE, settings)
    lowered = math.exp(-0.2 * ((3 / 2) ** 2 - 1))  # of 1; the sides move that share of 20 pixels
    sides = found.boxes[0, 2:] - found.boxes[0, :2]
    assert sides == pytest.approx([60 - 20 * lowered, 40 + 20 * lowered], abs=1e-4)
    assert found.scores[0] == pytest.approx(1)  # the network is as sure as before
    # Twice as large, of the same ratio: by the factor 2.
    twice = head().locate(planted([70.0, 90, 190, 170]), BEFORE, settings).boxes[0]
    assert twice[2:] - twice[:2] == pytest.approx(np.array([60, 40]) * (1 + math.exp(-0.2)), abs=1e-4)
    # As large, but not with context: 30 x 80 for 60 x 40, sqrt(85 * 135) for sqrt(110 * 90), at 4 times the ratio.
    narrow = head().locate(planted([100.0, 60, 130, 140]), BEFORE, settings).boxes[0]
    share = math.exp(-0.2 * (4 * math.sqrt(85 * 135 / (110 * 90)) - 1))
    assert narrow[2:] - narrow[:2] == pytest.approx([60 - 30 * share, 40 + 40 * share], abs=1e-4)


def test_a_window_prefers_the_middle():
    # Sure of a place at the border, a little less of the middle one.
    outputs = planted([0.0, 0, 60, 40], (2, 0, 0)).clone()
    outputs[0, 0, 2, 8, 8, 1] = outputs[0, 0, 2, 8, 8, 0] + 2  # a score of 0.88
    far = head().locate(outputs, BEFORE, AS_FOUND).boxes[0]
    near = head().locate(outputs, BEFORE, TrackerSettings(window=0.3, shape_penalty=0)).boxes[0]
    assert far[:2] == pytest.approx([0, 0], abs=1e-4)
    assert near.reshape(2, 2).mean(axis=0) == pytest.approx([127.5, 127.5])


def test_nonsense_is_no_infinite_box():
    outputs = torch.full((1, 1, 5, 17, 17, 6), 100.0)
    assert np.isfinite(head().locate(outputs, BEFORE, TrackerSettings()).boxes).all()


@BOTH
def test_it_learns_two_pairs(correlation):
    """A white square that has moved, and one that has become a bar; crops of 64 and 128 pixels, maps of stride 8."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 16, 8, stride=8), nn.ReLU())
    network = SiamRPNHead([16], exemplar_size=64, search_size=128, width=16, correlation=correlation)
    exemplars, searches = torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 128, 128)
    exemplars[:, :, 16:48, 16:48] = 1
    boxes = torch.tensor([[60.0, 68, 92, 100], [40, 50, 88, 78]])
    for search, (x1, y1, x2, y2) in zip(searches, boxes.int().tolist(), strict=True):
        search[:, y1:y2, x1:x2] = 1
    optimizer = torch.optim.Adam([*backbone.parameters(), *network.parameters()], 3e-3)
    totals = []
    for _ in range(60):
        losses = network.losses(network(network.remember(backbone(exemplars)), backbone(searches)), boxes)
        totals.append(sum(losses.values()))
        optimizer.zero_grad()
        totals[-1].backward()
        optimizer.step()
    assert totals[-1] < 0.3 * totals[0]
    network.eval()
    outputs = network(network.remember(backbone(exemplars)), backbone(searches))[:, None]
    found = network.locate(outputs, np.tile([48.0, 48, 80, 80], (2, 1)), AS_FOUND)
    assert _overlap(found.boxes, boxes.numpy()).min() > 0.7


def _overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    shared = (np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])).clip(0).prod(axis=1)
    areas = (one[:, 2:] - one[:, :2]).prod(axis=1) + (other[:, 2:] - other[:, :2]).prod(axis=1)
    return shared / (areas - shared)


def test_five_anchors_are_the_papers():
    assert RATIOS == (1 / 3, 1 / 2, 1, 2, 3)
