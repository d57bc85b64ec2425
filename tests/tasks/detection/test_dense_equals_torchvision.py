"""RetinaNet and FCOS give what torchvision's give with the same random weights on the same images."""

from functools import partial

import pytest
import torch
from torch import nn

from foveal.tasks.detection.published import fcos_keys, retinanet_keys

NUM_CLASSES = 7  # no background among them: labels are 0 to 6
KEYS = {"retinanet": retinanet_keys, "fcos": fcos_keys}
SHAPES = [(160, 192), (160, 170)]  # the second is padded


def random_state(theirs):
    """Draw weights so that scores differ, and statistics so that maps keep their scale."""
    for name, weights in theirs.named_parameters():
        if name.startswith("head") and weights.ndim == 4:
            nn.init.kaiming_normal_(weights)
        if "cls_logits" in name:
            nn.init.normal_(weights, mean=-1.5 if weights.ndim == 1 else 0.0, std=0.01)
        if "bbox" in name:
            nn.init.normal_(weights, mean=0.5 if weights.ndim == 1 else 0.0, std=0.01)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    theirs.backbone.train()(torch.rand(2, 3, 160, 192))
    return theirs.eval()


@pytest.fixture(scope="module", params=list(KEYS))
def pair(request, torchvision_detector, build_detector, run_both):
    sizes = {"min_size": 160, "max_size": 192}
    theirs = random_state(torchvision_detector(f"{request.param}_resnet50_fpn", num_classes=NUM_CLASSES, **sizes))
    ours = build_detector(request.param, "resnet50", num_classes=NUM_CLASSES, size=160)
    return run_both(theirs, ours, KEYS[request.param], [torch.rand(3, *shape) for shape in SHAPES])


@pytest.fixture(scope="module")
def targets(make_targets):
    return partial(make_targets, num_classes=NUM_CLASSES, step=3)


def test_boxes_labels_and_scores(pair):
    for expected, found in zip(pair.detected, pair.head.detect(pair.outputs), strict=True):
        assert len(found.scores) == len(expected["scores"]) > 20
        assert torch.equal(found.labels, expected["labels"])
        torch.testing.assert_close(found.boxes, expected["boxes"], atol=1e-4, rtol=0)
        torch.testing.assert_close(found.scores, expected["scores"], atol=1e-4, rtol=0)


def test_the_random_detectors_say_something(pair):
    scores = pair.detected[0]["scores"]
    assert len(scores.unique()) > 0.9 * len(scores)
    labels = torch.cat([image["labels"] for image in pair.detected])
    assert labels.min() == 0 and len(labels.unique()) > 3


SOME = [[10.0, 12.0, 60.0, 70.0], [80.0, 20.0, 190.0, 150.0], [30.0, 90.0, 44.0, 101.0], [2.0, 3.0, 160.0, 140.0]]


@pytest.mark.parametrize("boxes", [(SOME, SOME[:1]), (SOME[1:], []), ([], [])], ids=["both", "one", "none"])
def test_losses(pair, targets, boxes):
    pair.theirs.training = True  # of the detector alone, as its batch norms stay in evaluation mode
    try:
        with torch.no_grad():
            expected = pair.theirs(pair.images, targets(*boxes))
    finally:
        pair.theirs.training = False
    found = pair.head.losses(pair.outputs, targets(*boxes))
    renamed = {"bbox_regression": "box_regression", "bbox_ctrness": "centerness"}
    assert list(found) == [renamed.get(name, name) for name in expected]
    for name, value in expected.items():
        torch.testing.assert_close(found[renamed.get(name, name)], value, atol=1e-5, rtol=1e-5)


def test_it_does_not_matter_whether_the_head_is_in_training_mode(pair, targets):
    before = pair.head.losses(pair.outputs, targets(SOME, []))
    pair.head.train()
    after = pair.head.losses(pair.outputs, targets(SOME, []))
    pair.head.eval()
    assert {name: value.item() for name, value in before.items()} == {
        name: value.item() for name, value in after.items()
    }


def test_keys_of_published_files_from_before_torchvision_0_13():
    assert retinanet_keys("backbone.fpn.inner_blocks.2.weight") == "head.pyramid.inner_blocks.2.0.weight"
    assert fcos_keys("backbone.fpn.layer_blocks.0.bias") == "head.pyramid.layer_blocks.0.0.bias"
    # The third convolution, behind two convolutions with a ReLU each.
    old, new = "head.regression_head.conv.4.bias", "head.subnets.regression_head.conv.2.0.bias"
    assert retinanet_keys(old) == new
    # In FCOS a group norm stands between: these names never changed.
    assert fcos_keys(old) == "head.subnets.regression_head.conv.4.bias"
