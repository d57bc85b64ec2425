"""Faster R-CNN: torchvision's numbers with torchvision's weights, and the variants on one map."""

from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.detection.image_list import ImageList

from foveal.core.errors import UsageError
from foveal.tasks.build import build_backbone
from foveal.tasks.detection.faster_rcnn import build_c4
from foveal.tasks.detection.options import AnchorOptions, DetectionOptions
from foveal.tasks.detection.published import faster_rcnn_keys

NUM_CLASSES = 6
SHAPES = [(160, 192), (160, 170)]  # the second is padded


def random_state(theirs):
    """Draw weights so that scores differ, and statistics so that maps keep their scale."""
    for name, weights in theirs.named_parameters():
        if name.startswith(("rpn.head", "roi_heads", "backbone.fpn")) and weights.ndim > 1:
            nn.init.xavier_uniform_(weights)
        if "bbox_pred" in name or "cls_score" in name:
            nn.init.normal_(weights, std=0.02)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    theirs.backbone.train()(torch.rand(2, 3, 160, 192))
    return theirs.eval()


@pytest.fixture(scope="module")
def pair(torchvision_detector, build_detector, run_both):
    options = {"num_classes": NUM_CLASSES + 1, "min_size": 160, "max_size": 192}
    theirs = random_state(torchvision_detector("fasterrcnn_resnet50_fpn", **options))
    ours = build_detector("fasterrcnn_fpn", "resnet50", num_classes=NUM_CLASSES, size=160)
    return run_both(theirs, ours, faster_rcnn_keys, [torch.rand(3, *shape) for shape in SHAPES])


@pytest.fixture(scope="module")
def targets(make_targets):
    return partial(make_targets, num_classes=NUM_CLASSES, step=5)


@torch.no_grad()
def test_boxes_labels_and_scores_are_those_of_torchvision(pair):
    for expected, found in zip(pair.detected, pair.head.detect(pair.outputs), strict=True):
        assert len(found.scores) == len(expected["scores"]) > 20
        assert torch.equal(found.labels + 1, expected["labels"])  # there 0 is the background
        torch.testing.assert_close(found.boxes, expected["boxes"], atol=1e-4, rtol=0)
        torch.testing.assert_close(found.scores, expected["scores"], atol=1e-4, rtol=0)


def test_the_random_detector_says_something(pair):
    scores = pair.detected[0]["scores"]
    assert len(scores.unique()) > 0.9 * len(scores)
    assert len(torch.cat([image["labels"] for image in pair.detected]).unique()) > 2


SOME = [[10.0, 12.0, 60.0, 70.0], [80.0, 20.0, 190.0, 150.0], [30.0, 90.0, 44.0, 101.0], [2.0, 3.0, 160.0, 140.0]]
NAMES = {
    "rpn_objectness": "loss_objectness",
    "rpn_box": "loss_rpn_box_reg",
    "classification": "loss_classifier",
    "box": "loss_box_reg",
}


@torch.no_grad()
@pytest.mark.parametrize("boxes", [(SOME, SOME[:1]), (SOME[1:], []), ([], [])], ids=["both", "one", "none"])
def test_losses_are_those_of_torchvision(pair, targets, boxes):
    theirs = pair.theirs
    shifted = [{**target, "labels": target["labels"] + 1} for target in targets(*boxes)]
    for module in (theirs, theirs.rpn, theirs.roi_heads):
        module.training = True  # of these alone: batch norms stay in evaluation mode
    torch.manual_seed(5)
    expected = theirs(pair.images, shifted)
    theirs.eval()
    torch.manual_seed(5)
    found = pair.head.losses(pair.outputs, targets(*boxes))
    assert set(found) == set(NAMES)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[NAMES[name]], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_losses_do_not_depend_on_the_mode_of_the_head(pair, targets):
    values = []
    for mode in (False, True):
        pair.head.train(mode)
        torch.manual_seed(1)
        values.append([float(value) for value in pair.head.losses(pair.outputs, targets(SOME, [])).values()])
    pair.head.eval()
    assert values[0] == values[1]


@torch.no_grad()
def test_an_image_with_ten_thousand_objects_has_losses(pair, targets):
    many = torch.rand(10_000, 4) * 150
    boxes = torch.cat([many[:, :2].minimum(many[:, 2:]), many[:, :2].maximum(many[:, 2:]) + 2], dim=1)
    crowded = {"boxes": boxes, "labels": torch.arange(10_000) % NUM_CLASSES}
    losses = pair.head.losses(pair.outputs, [crowded, *targets([])])
    assert all(value.isfinite() for value in losses.values())


@torch.no_grad()
def test_the_last_stage_of_resnet101_reads_regions_of_14_cells_and_gives_2048_numbers_each(build_detector):
    backbone, head = build_detector("fasterrcnn_c4", "resnet101", size=96)
    stage = head.roi_heads.box_head.stage
    convolutions = [name for name, x in stage.named_modules() if isinstance(x, nn.Conv2d) and "downsample" not in name]
    assert len(convolutions) == 9  # conv5_x
    assert backbone.channels == (1024,) and backbone.strides == (16,)
    assert stage.eval()(torch.zeros(2, 1024, 14, 14)).shape == (2, 2048, 7, 7)
    assert head.roi_heads.box_head(torch.zeros(2, 1024, 14, 14)).shape == (2, 2048)


def test_nine_anchors_a_place_make_18_objectness_and_36_box_numbers_in_the_paper(build_detector):
    # Ours has one number of objectness an anchor, a sigmoid in place of the paper's softmax of two.
    _, head = build_detector("fasterrcnn_c4", "vgg16", size=96)
    assert head.rpn.anchor_generator.sizes == ((128.0, 256.0, 512.0),)
    assert head.rpn.head.cls_logits.out_channels == 9
    assert head.rpn.head.bbox_pred.out_channels == 36


@pytest.mark.parametrize(
    ("variant", "name", "strides"),
    [
        ("fpn", "resnet18", (4, 8, 16, 32)),
        ("fpn", "mobilenet_v2", (4, 8, 16, 32)),
        ("fpn", "swin_t", (4, 8, 16, 32)),
        ("c4", "resnet18", (16,)),
        ("c4", "mobilenet_v2", (16,)),
        ("c4", "vgg11", (16,)),
        ("dc5", "resnet50", (16,)),
        ("dc5", "mobilenet_v2", (16,)),
    ],
)
def test_every_variant_trains_and_detects(build_detector, targets, variant, name, strides):
    options = {"channels": 32, "regions": 16, "score": 0.0}
    backbone, head = build_detector(f"fasterrcnn_{variant}", name, num_classes=3, size=96, **options)
    assert backbone.strides == strides
    images = ImageList(torch.rand(2, 3, 96, 128), [(96, 128), (90, 100)])
    backbone.train(), head.train()
    losses = head.losses(head(backbone(images.tensors), images), targets([[5.0, 5.0, 60.0, 70.0]], []))
    torch.stack(list(losses.values())).sum().backward()
    without = [key for key, x in (*backbone.named_parameters(), *head.named_parameters()) if x.grad is None]
    assert without == []
    backbone.eval(), head.eval()
    with torch.no_grad():
        found = head.detect(head(backbone(images.tensors), images))
    assert all(len(own.boxes) for own in found)
    assert found[1].boxes[:, 2].max() <= 100 and found[1].boxes[:, 3].max() <= 90


@pytest.mark.parametrize(
    ("variant", "name", "sentence"),
    [
        ("fpn", "lenet5", "reads maps of the strides 4, 8, 16, 32, but the backbone lenet5 has 1, 2, 4"),
        ("c4", "lenet5", "but the last map of lenet5 has 4|strides 16, but the backbone lenet5"),
        ("dc5", "densenet121", "output_stride is 16, but densenet121 can't be dilated"),
    ],
)
def test_a_backbone_that_does_not_fit_is_refused(build_detector, variant, name, sentence):
    with pytest.raises(UsageError, match=sentence):
        build_detector(f"fasterrcnn_{variant}", name, num_classes=3, size=96)


def test_anchors_of_the_recipe(build_detector):
    anchors = AnchorOptions([[8], [16], [32], [64], [96]], [[1.0]])
    _, head = build_detector("fasterrcnn_fpn", "resnet18", size=96, anchors=anchors)
    assert head.rpn.anchor_generator.num_anchors_per_location() == [1] * 5
    assert head.rpn.anchor_generator.sizes == ((8.0,), (16.0,), (32.0,), (64.0,), (96.0,))


@torch.no_grad()
def test_fc6_and_fc7_come_from_the_weights_of_a_vgg(tmp_path):
    torch.manual_seed(0)
    whole = torchvision.models.vgg11()
    torch.save(whole.state_dict(), tmp_path / "vgg11.pth")
    options = DetectionOptions(backbone="vgg11", weights=str(tmp_path / "vgg11.pth"))
    make_backbone = partial(build_backbone, "vgg11", weights=options.weights)
    _, head = build_c4(make_backbone, options, num_classes=2, size=96)
    x = torch.rand(2, 512, 7, 7)
    expected = whole.classifier[:6].eval()(x.flatten(1))
    torch.testing.assert_close(head.roi_heads.box_head.eval()(x), expected)
