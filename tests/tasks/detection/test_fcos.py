"""FCOS: which point finds which box, and its losses and boxes, against numbers worked out by hand."""

import math
from functools import partial

import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from foveal.core.errors import UsageError
from foveal.tasks.detection import fcos
from foveal.tasks.detection.dense import DenseOutputs
from foveal.tasks.detection.fcos import assign
from foveal.tasks.detection.matching import BELOW
from foveal.tasks.detection.options import AnchorOptions


@pytest.fixture(scope="module")
def build(build_detector):
    return partial(build_detector, "fcos", backbone="resnet18", channels=64)


@pytest.fixture(scope="module")
def built(build):
    torch.manual_seed(0)
    return build()


@pytest.fixture(scope="module")
def head(built):
    return built[1]


def square(x, y, stride):
    """What stands for the point (x, y) of a map of `stride`."""
    return [x - stride / 2, y - stride / 2, x + stride / 2, y + stride / 2]


LARGE, SMALL = [0.0, 0.0, 60.0, 60.0], [8.0, 8.0, 28.0, 28.0]  # their centres: (30, 30) and (18, 18)


@pytest.mark.parametrize(
    ("x", "y", "found"),
    [
        (16, 16, 1),  # in both, but 14 pixels from the large one's centre: more than 1.5 * 8
        (24, 24, 1),  # 6 from both centres: the smaller box wins
        (32, 32, 0),  # outside of the small one
        (28, 24, 0),  # on the small one's edge is outside of it
        (48, 30, BELOW),  # in the large one, 18 from its centre
        (0, 0, BELOW),  # on the edge of the large one
    ],
)
@pytest.mark.parametrize("turned", [False, True], ids=["large first", "small first"])
def test_two_boxes_and_a_point_of_the_finest_map(x, y, found, turned):
    boxes = torch.tensor([SMALL, LARGE] if turned else [LARGE, SMALL])
    anchors = torch.tensor([square(x, y, 8), square(500, 500, 128)])
    expected = 1 - found if turned and found != BELOW else found
    assert assign(anchors, [1, 1], boxes).tolist() == [expected, BELOW]


@pytest.mark.parametrize(
    ("side", "found"),
    [
        (100, [0, BELOW, BELOW]),  # the farthest side is 50 away: up to 64 for stride 8
        (128, [BELOW, BELOW, BELOW]),  # 64: as in the paper's own code and torchvision's, the limits are nobody's
        (140, [BELOW, 0, BELOW]),  # 70: from 64 to 128 for stride 16
        (400, [BELOW, BELOW, 0]),  # 200: from 128 for stride 32
        (8000, [BELOW, BELOW, 0]),  # which is the coarsest map, and so without an upper limit
    ],
)
def test_the_farthest_side_says_which_map_finds_a_box(side, found):
    centre = side / 2
    anchors = torch.tensor([square(centre, centre, stride) for stride in (8, 16, 32)])
    assert assign(anchors, [1, 1, 1], torch.tensor([[0.0, 0.0, side, side]])).tolist() == found


def test_boxes_of_nearly_the_same_area_are_told_apart():
    # torchvision subtracts areas from 10^8, where float32 goes in steps of 8.
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.1], [0.0, 0.0, 40.0, 40.0]])
    assert assign(torch.tensor([square(20, 20, 8), square(0, 0, 16)]), [1, 1], boxes).tolist() == [1, BELOW]


def test_without_boxes_every_point_is_background():
    assert assign(torch.tensor([square(8, 8, 8)]), [1], torch.zeros(0, 4)).tolist() == [BELOW]


def test_points_in_parts_are_assigned_as_at_once(monkeypatch):
    torch.manual_seed(0)
    points = torch.rand(400, 2) * 200
    strides = torch.tensor([8.0] * 300 + [16.0] * 100)[:, None]
    anchors = torch.cat([points - strides / 2, points + strides / 2], dim=1)
    corners = torch.rand(50, 2) * 150
    boxes = torch.cat([corners, corners + torch.rand(50, 2) * 100], dim=1)
    at_once = assign(anchors, [300, 100], boxes)
    assert len(at_once.unique()) > 20
    monkeypatch.setattr(fcos, "_NUMBERS_AT_ONCE", 1400)  # seven points
    assert torch.equal(assign(anchors, [300, 100], boxes), at_once)


def outputs_of(logits, deltas=(0.5, 1.25, 1.5, 0.75), centerness=0.0, shape=(100, 100)):
    """What the network says of two points: (4, 10) of the finest map, and a far one of the coarsest."""
    anchors = torch.tensor([square(4.0, 10.0, 8), square(64.0, 64.0, 128)])
    answers = {
        "cls_logits": torch.tensor(logits)[None],
        "bbox_regression": torch.tensor([deltas, (0.0,) * 4])[None],
        "bbox_ctrness": torch.tensor([[centerness], [-9.0]])[None],
    }
    return DenseOutputs(answers, [anchors], [1, 0, 0, 0, 1], [shape])


# The first point is 4 from its left, 10 from its top, 12 from its right, 6 from its bottom: the deltas above, times 8.
OBJECT = [{"boxes": torch.tensor([[0.0, 0.0, 16.0, 16.0]]), "labels": torch.tensor([0])}]


def test_the_centerness_to_be_learnt(head):
    # sqrt(4/12 * 6/10) = sqrt(0.2). Cross-entropy of a logit of 1: ln(1 + e) - 1 * target.
    value = head.losses(outputs_of([[0.0], [0.0]], centerness=1.0), OBJECT)["centerness"].item()
    assert value == pytest.approx(math.log(1 + math.e) - math.sqrt(0.2), rel=1e-5)


def test_the_focal_loss_of_two_points(head):
    # The object's point with p = 1/2: 0.25 * (1/2)^2 * ln 2. The other with p = 1/4: 0.75 * (1/4)^2 * ln(4/3).
    expected = 0.25 / 4 * math.log(2) + 0.75 / 16 * math.log(4 / 3)
    losses = head.losses(outputs_of([[0.0], [-math.log(3)]]), OBJECT)
    assert losses["classification"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("deltas", "loss"),
    [
        ((0.5, 1.25, 1.5, 0.75), 0.0),  # the box itself
        ((0.5, 1.25, 1.5, -0.25), 0.5),  # its upper half: an IoU of 1/2, and nothing around both
        ((0.5, 1.25, 1.5, 2.75), 0.5),  # twice as high
    ],
)
def test_the_loss_of_the_box_is_1_less_giou(head, deltas, loss):
    found = head.losses(outputs_of([[0.0], [0.0]], deltas), OBJECT)["box_regression"].item()
    assert found == pytest.approx(loss, abs=1e-5)


def test_an_image_without_objects_has_the_focal_loss_alone(head):
    nothing = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}]
    losses = head.losses(outputs_of([[0.0], [0.0]]), nothing)
    assert losses["classification"].item() == pytest.approx(2 * 0.75 / 4 * math.log(2), rel=1e-5)
    assert (losses["box_regression"].item(), losses["centerness"].item()) == (0, 0)


def test_a_score_is_the_geometric_mean_of_class_and_centerness(head):
    # Class 1 with p = 0.8, centerness 0.5: sqrt(0.4). The box is cut at the image's right side.
    (found,) = head.detect(outputs_of([[-9.0, math.log(4)], [-9.0, -9.0]], shape=(100, 12)))
    assert found.scores.tolist() == pytest.approx([math.sqrt(0.4)])
    assert found.labels.tolist() == [1]
    torch.testing.assert_close(found.boxes, torch.tensor([[0.0, 0.0, 12.0, 16.0]]))


def test_the_numbers_of_suppression(build, head):
    assert (head.suppression.score, head.suppression.iou, head.suppression.most) == (0.2, 0.6, 100)
    own = build(score=0.3, nms_iou=0.7, most=9)[1].suppression
    assert (own.score, own.iou, own.most) == (0.3, 0.7, 9)


@pytest.mark.parametrize("anchors", [{"sizes": [[8.0]]}, {"ratios": [[1.0]]}])
def test_anchors_are_refused(build, anchors):
    with pytest.raises(UsageError, match=rf"model\.anchors\.{next(iter(anchors))}.*fcos has no anchors"):
        build(anchors=AnchorOptions(**anchors))


@pytest.mark.parametrize("channels", [100, 32])  # torch normalises no group of a single number
def test_channels_that_the_group_norms_cannot_divide_are_refused(build, channels):
    with pytest.raises(UsageError, match=rf"model\.channels is {channels}.*64 or more"):
        build(channels=channels)


def forward(built, size):
    backbone, head = built
    images = torch.randn(1, 3, *size)
    return head(backbone(images), ImageList(images, [size]))


def test_one_point_a_place_on_maps_of_strides_8_to_128(built):
    outputs = forward(built, (128, 256))
    assert outputs.anchors_of_maps == [16 * 32, 8 * 16, 4 * 8, 2 * 4, 1 * 2]
    widths = [part[0, 2].item() - part[0, 0].item() for part in outputs.anchors[0].split(outputs.anchors_of_maps)]
    assert widths == [8, 16, 32, 64, 128]


def test_outputs_are_float32_under_autocast(built):
    with torch.autocast("cpu", torch.bfloat16):
        outputs = forward(built, (64, 64))
        losses = built[1].losses(outputs, OBJECT)
    assert {value.dtype for value in (*outputs.answers.values(), *losses.values())} == {torch.float32}


def test_an_image_with_ten_thousand_boxes_trains(build, monkeypatch):
    backbone, head = build()
    monkeypatch.setattr(fcos, "_NUMBERS_AT_ONCE", 2**20)
    corners = torch.rand(10_000, 2) * 40
    boxes = torch.cat([corners, corners + 2 + torch.rand(10_000, 2) * 20], dim=1)
    outputs = forward((backbone, head), (64, 64))
    losses = head.losses(outputs, [{"boxes": boxes, "labels": torch.arange(10_000) % 2}])
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in backbone.parameters())
