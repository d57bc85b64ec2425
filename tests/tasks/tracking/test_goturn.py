"""GOTURN: what it looks at, its units, its loss by hand, and that it learns."""

import numpy as np
import pytest
import torch
from torch import nn

from foveal.core.errors import UsageError
from foveal.tasks.tracking.goturn import GoturnHead
from foveal.tasks.tracking.options import TrackerSettings

BOX = np.array([20.0, 40, 60, 60])  # 40 x 20 around (40, 50)


def head(**changes) -> GoturnHead:
    torch.manual_seed(0)
    return GoturnHead([3], **{"exemplar_size": 64, "search_size": 64, "width": 32} | changes)


def test_both_crops_are_the_box_twice_as_wide_and_high():
    for region in (head().exemplar_region(BOX), head().search_region(BOX)):
        assert region == (40, 50, 80, 40)
    # Where the target was, it takes the middle half of the square that the crop is squashed to.
    assert head().search_region(BOX).from_frame(BOX, 64).tolist() == [16, 16, 48, 48]


def test_it_follows_from_frame_to_frame():
    assert GoturnHead.follows and not GoturnHead.scale_steps


def test_layers_are_the_papers():
    with torch.device("meta"):  # 113 million weights, none of which is made
        layers = [layer for layer in GoturnHead([256]).layers if isinstance(layer, nn.Linear)]
    # conv5 of CaffeNet has 256 channels of 6 x 6 cells, for each crop.
    assert [layer.weight.shape for layer in layers] == [(4096, 18432), (4096, 4096), (4096, 4096), (4, 4096)]


@pytest.mark.parametrize("cells", [(29, 29), (18, 31), (6, 5)])
def test_maps_of_all_sizes_fit(cells):
    features = torch.rand(2, 3, *cells)
    templates = head().remember(features)
    assert templates.shape == (2, 3, 6, 6)
    assert head()(templates, features).shape == (2, 4)


def test_a_margin_is_cut_off():
    inner = torch.rand(1, 3, 12, 12)
    spoilt = nn.functional.pad(inner, (2, 2, 2, 2), value=9.0)
    assert torch.equal(head(margin=2).remember(spoilt), head().remember(inner))


def test_a_margin_that_leaves_nothing_is_refused():
    with pytest.raises(UsageError, match=r"64 pixels has 8 cells in a row, and model.margin cuts off 4"):
        head(margin=4)


def test_loss_by_hand():
    # Of a crop of 64 pixels the box is (2.5, 2.5, 7.5, 10) tenths; the answers are off by 0.5, 0, 0 and 2.5.
    losses = head().losses(torch.tensor([[3.0, 2.5, 7.5, 7.5]]), torch.tensor([[16.0, 16, 48, 64]]))
    assert losses["l1"].item() == pytest.approx((0.5 + 2.5) / 4)


def test_tenths_of_the_crop_become_pixels():
    outputs = torch.tensor([[[2.5, 2.5, 7.5, 10.0]], [[5.0, 0.0, 2.5, 0.0]]])
    found = head().locate(outputs, np.zeros((2, 4)), TrackerSettings())
    # Corners the wrong way round are turned, and a box without height gets a pixel: none of these can be looked around.
    assert found.boxes.tolist() == [[16, 16, 48, 64], [16, 0, 32, 1]]
    assert found.scores.tolist() == [1, 1] and found.boxes.dtype == np.float64


def test_it_starts_where_the_target_was():
    untrained = head().eval()
    features = torch.rand(4, 3, 8, 8)
    found = untrained.locate(untrained(untrained.remember(features), features)[:, None], BOX[None], TrackerSettings())
    assert np.abs(found.boxes - [16, 16, 48, 48]).max() < 2  # pixels, of 64


def test_gradients_reach_the_features_of_both_crops():
    first, second = torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(2, 3, 8, 8, requires_grad=True)
    network = head()
    sum(network.losses(network(network.remember(first), second), torch.zeros(2, 4)).values()).backward()
    assert first.grad.abs().sum() > 0 and second.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_it_learns_two_pairs():
    """A white square that moves to the right and down in one pair, and stays and grows in the other."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.ReLU())
    network = GoturnHead([8], exemplar_size=64, search_size=64, width=64, dropout=0.0)
    exemplars, searches = torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 64, 64)
    boxes = torch.tensor([[24.0, 32, 56, 64], [12, 12, 52, 52]])
    exemplars[:, :, 16:48, 16:48] = 1
    for search, (x1, y1, x2, y2) in zip(searches, boxes.int().tolist(), strict=True):
        search[:, y1:y2, x1:x2] = 1
    optimizer = torch.optim.Adam([*backbone.parameters(), *network.parameters()], 2e-3)
    losses = []
    for _ in range(60):
        outputs = network(network.remember(backbone(exemplars)), backbone(searches))
        losses.append(network.losses(outputs, boxes)["l1"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.2 * losses[0]
    network.eval()
    outputs = network(network.remember(backbone(exemplars)), backbone(searches))[:, None]
    found = network.locate(outputs, np.tile([16.0, 16, 48, 48], (2, 1)), TrackerSettings())
    assert _overlap(found.boxes, boxes.numpy()).min() > 0.7


def _overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    shared = (np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])).clip(0).prod(axis=1)
    areas = (one[:, 2:] - one[:, :2]).prod(axis=1) + (other[:, 2:] - other[:, :2]).prod(axis=1)
    return shared / (areas - shared)
