"""Matching in parts gives what torchvision's matchers give at once."""

import pytest
import torch
from torchvision.models.detection._utils import Matcher, SSDMatcher
from torchvision.ops import box_iou

from foveal.tasks.detection import matching
from foveal.tasks.detection.matching import BELOW, BETWEEN, match


def random_boxes(number, seed, side=100.0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(number, 2, generator=generator) * side
    return torch.cat([corners, corners + 1 + torch.rand(number, 2, generator=generator) * side / 2], dim=1)


@pytest.fixture(params=[2**24, 1000, 1], ids=["at once", "in parts", "one anchor at a time"])
def pairs_at_once(request, monkeypatch):
    monkeypatch.setattr(matching, "_PAIRS_AT_ONCE", request.param)


@pytest.mark.usefixtures("pairs_at_once")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("low", "high"), [(0.3, 0.7), (0.4, 0.5), (0.5, 0.5)])
@pytest.mark.parametrize("rescue", ["none", "ties"])
def test_it_is_the_matcher_of_torchvision(rescue, low, high, seed):
    anchors, boxes = random_boxes(300, seed), random_boxes(20, 10 + seed)
    boxes[3] = anchors[17]  # IoU of 1
    anchors[40] = anchors[41]  # two anchors that overlap a box alike
    expected = Matcher(high, low, allow_low_quality_matches=rescue == "ties")(box_iou(boxes, anchors))
    assert torch.equal(match(anchors, boxes, low=low, high=high, rescue=rescue), expected)


@pytest.mark.usefixtures("pairs_at_once")
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_matcher_of_torchvisions_ssd(seed):
    anchors, boxes = random_boxes(300, seed), random_boxes(20, 10 + seed)
    expected = SSDMatcher(0.5)(box_iou(boxes, anchors))
    assert torch.equal(match(anchors, boxes, low=0.5, high=0.5, rescue="best"), expected)


@pytest.mark.parametrize("rescue", ["none", "ties", "best"])
def test_without_boxes_every_anchor_is_background(rescue):
    matches = match(random_boxes(5, 0), torch.zeros(0, 4), low=0.4, high=0.5, rescue=rescue)
    assert matches.dtype == torch.int64 and matches.tolist() == [BELOW] * 5


def test_below_between_and_above():
    # Of the box's 100 pixels the anchors hold 39, 45 and 51, and nothing else.
    anchors = torch.tensor([[0.0, 0.0, 10.0, height] for height in (3.9, 4.5, 5.1)])
    matches = match(anchors, torch.tensor([[0.0, 0.0, 10.0, 10.0]]), low=0.4, high=0.5, rescue="none")
    assert matches.tolist() == [BELOW, BETWEEN, 0]


@pytest.mark.parametrize(
    ("rescue", "matcher"),
    [
        ("none", Matcher(0.5, 0.5, allow_low_quality_matches=False)),
        ("ties", Matcher(0.5, 0.5, allow_low_quality_matches=True)),
        ("best", SSDMatcher(0.5)),
    ],
)
def test_ten_thousand_boxes_never_meet_all_anchors_at_once(rescue, matcher, monkeypatch):
    pairs = []

    def recorded(boxes, anchors):
        pairs.append(len(boxes) * len(anchors))
        return box_iou(boxes, anchors)

    monkeypatch.setattr(matching, "box_iou", recorded)
    monkeypatch.setattr(matching, "_PAIRS_AT_ONCE", 2**20)
    anchors, boxes = random_boxes(1000, 0, side=1000.0), random_boxes(10_000, 1, side=1000.0)
    matches = match(anchors, boxes, low=0.5, high=0.5, rescue=rescue)
    assert torch.equal(matches, matcher(box_iou(boxes, anchors)))
    assert max(pairs) <= 2**20
