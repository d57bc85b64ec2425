"""RetinaNet: its anchors, and its losses and boxes against numbers worked out by hand."""

import math
from functools import partial

import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from foveal.core.errors import UsageError
from foveal.tasks.detection import matching
from foveal.tasks.detection.dense import DenseOutputs
from foveal.tasks.detection.options import AnchorOptions


@pytest.fixture(scope="module")
def build(build_detector):
    return partial(build_detector, "retinanet", backbone="resnet18", channels=16)


@pytest.fixture(scope="module")
def built(build):
    torch.manual_seed(0)
    return build()


@pytest.fixture(scope="module")
def head(built):
    return built[1]


def outputs_of(anchors, logits, deltas=None, shape=(100, 100)):
    """What the network says of a few anchors of one image, all of the finest map."""
    anchors, logits = torch.tensor(anchors), torch.tensor(logits)
    deltas = torch.zeros(len(anchors), 4) if deltas is None else torch.tensor(deltas)
    answers = {"cls_logits": logits[None], "bbox_regression": deltas[None]}
    return DenseOutputs(answers, [anchors], [len(anchors), 0, 0, 0, 0], [shape])


def one_object(label=0):
    return [{"boxes": torch.tensor([[0.0, 0.0, 10.0, 10.0]]), "labels": torch.tensor([label])}]


NO_OBJECT = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}]
ON, FAR = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]  # the object itself, and an anchor far from it


def test_the_focal_loss_of_two_anchors(head):
    # The object's anchor with p = 1/2: 0.25 * (1/2)^2 * ln 2. The other with p = 1/4: 0.75 * (1/4)^2 * ln(4/3).
    outputs = outputs_of([ON, FAR], [[0.0], [-math.log(3)]])
    expected = 0.25 / 4 * math.log(2) + 0.75 / 16 * math.log(4 / 3)
    assert head.losses(outputs, one_object())["classification"].item() == pytest.approx(expected, rel=1e-5)


def test_labels_count_from_0_without_background(head):
    # Sure of class 1, and of nothing else: next to no loss for an object of class 1, much for one of class 0.
    outputs = outputs_of([ON, FAR], [[-20.0, 20.0], [-20.0, -20.0]])
    assert head.losses(outputs, one_object(label=1))["classification"].item() == pytest.approx(0, abs=1e-6)
    # 0.25 * 20 that class 0 was missed, 0.75 * 20 that class 1 was seen.
    assert head.losses(outputs, one_object(label=0))["classification"].item() == pytest.approx(20, rel=1e-5)


def test_an_anchor_between_object_and_background_is_not_learnt_from(head):
    # It holds 45 of the object's 100 pixels: an IoU from 0.4 to below 0.5. It errs by 0.75 * 20, were it background.
    outputs = outputs_of([ON, [0.0, 0.0, 10.0, 4.5]], [[20.0], [20.0]])
    assert head.losses(outputs, one_object())["classification"].item() == pytest.approx(0, abs=1e-6)


def test_the_loss_of_the_box_is_l1(head):
    outputs = outputs_of([ON, FAR], [[0.0], [0.0]], [[0.1, -0.2, 0.3, -0.4], [9.0, 9.0, 9.0, 9.0]])
    assert head.losses(outputs, one_object())["box_regression"].item() == pytest.approx(1.0)


def test_an_image_without_objects_has_no_loss_of_boxes(head):
    losses = head.losses(outputs_of([ON, FAR], [[0.0], [0.0]]), NO_OBJECT)
    assert losses["box_regression"].item() == 0
    assert losses["classification"].item() == pytest.approx(2 * 0.75 / 4 * math.log(2), rel=1e-5)


def test_boxes_are_moved_scaled_and_cut_at_the_image(head):
    # The centre (5, 5) moves by 0.5 of the anchor's width to (10, 5); the width doubles: 0 to 20, cut at 14.
    deltas = [[0.5, 0.0, math.log(2), 0.0], [0.0, 0.0, 0.0, 0.0]]
    (found,) = head.detect(outputs_of([ON, FAR], [[2.0, -9.0], [-9.0, -9.0]], deltas, shape=(100, 14)))
    torch.testing.assert_close(found.boxes, torch.tensor([[0.0, 0.0, 14.0, 10.0]]))
    assert found.labels.tolist() == [0]
    assert found.scores.tolist() == pytest.approx([1 / (1 + math.exp(-2))])


def test_the_paper_numbers_of_suppression(head):
    kept = head.suppression
    assert (kept.score, kept.iou, kept.most) == (0.05, 0.5, 300)


def test_the_recipe_numbers_of_suppression(build):
    kept = build(score=0.3, nms_iou=0.7, most=9)[1].suppression
    assert (kept.score, kept.iou, kept.most) == (0.3, 0.7, 9)


def test_nine_anchors_a_place_from_32_pixels_to_812(head):
    generator = head.anchor_generator
    assert generator.sizes == ((32, 40, 50), (64, 80, 101), (128, 161, 203), (256, 322, 406), (512, 645, 812))
    assert generator.aspect_ratios == ((0.5, 1.0, 2.0),) * 5
    assert head.subnets.classification_head.cls_logits.out_channels == 9 * 2


def test_anchors_of_the_recipe(build):
    anchors = AnchorOptions(sizes=[[8], [16], [32], [64], [128]], ratios=[[1.0, 3.0]])
    head = build(anchors=anchors)[1]
    assert head.anchor_generator.sizes == ((8,), (16,), (32,), (64,), (128,))
    assert head.subnets.regression_head.bbox_reg.out_channels == 2 * 4


def test_a_backbone_without_the_strides_is_refused(build):
    with pytest.raises(UsageError, match=r"8, 16, 32.*lenet5"):
        build(backbone="lenet5")


def forward(built, size, number=1):
    backbone, head = built
    images = torch.randn(number, 3, *size)
    return head(backbone(images), ImageList(images, [size] * number))


def test_maps_of_strides_8_to_128(built):
    outputs = forward(built, (128, 256))
    assert outputs.anchors_of_maps == [9 * places for places in (16 * 32, 8 * 16, 4 * 8, 2 * 4, 1 * 2)]
    assert outputs.answers["cls_logits"].shape == (1, sum(outputs.anchors_of_maps), 2)
    assert outputs.anchors[0].shape == (sum(outputs.anchors_of_maps), 4)


def test_an_image_of_one_cell(build):
    backbone, head = build()
    outputs = forward((backbone.eval(), head), (32, 32))
    assert outputs.anchors_of_maps == [9 * 16, 9 * 4, 9, 9, 9]
    assert [len(found.boxes) for found in head.detect(outputs)] == [0]  # it starts with scores of 0.01


def test_outputs_are_float32_under_autocast(built):
    with torch.autocast("cpu", torch.bfloat16):
        outputs = forward(built, (64, 64))
        losses = built[1].losses(outputs, one_object())
    assert {value.dtype for value in (*outputs.answers.values(), *losses.values())} == {torch.float32}


def test_an_image_with_ten_thousand_boxes_trains(build, monkeypatch):
    backbone, head = build()
    monkeypatch.setattr(matching, "_PAIRS_AT_ONCE", 2**20)
    corners = torch.rand(10_000, 2) * 60
    boxes = torch.cat([corners, corners + 1 + torch.rand(10_000, 2) * 3], dim=1)
    outputs = forward((backbone, head), (64, 64))
    losses = head.losses(outputs, [{"boxes": boxes, "labels": torch.arange(10_000) % 2}])
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in backbone.parameters())
