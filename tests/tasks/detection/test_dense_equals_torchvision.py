"""RetinaNet and FCOS give what torchvision's give with the same random weights on the same images."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.detection.image_list import ImageList

from foveal.tasks.build import build_backbone
from foveal.tasks.detection.fcos import build_fcos
from foveal.tasks.detection.options import DetectionOptions
from foveal.tasks.detection.published import fcos_keys, retinanet_keys
from foveal.tasks.detection.retinanet import build_retinanet

NUM_CLASSES = 7  # no background among them: labels are 0 to 6
BUILDERS = {"retinanet": (build_retinanet, retinanet_keys), "fcos": (build_fcos, fcos_keys)}
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


@pytest.fixture(scope="module", params=list(BUILDERS))
def pair(request):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    theirs = random_state(
        getattr(torchvision.models.detection, f"{request.param}_resnet50_fpn")(
            weights=None,
            weights_backbone=None,
            num_classes=NUM_CLASSES,
            min_size=160,
            max_size=192,
            image_mean=[0.0] * 3,
            image_std=[1.0] * 3,
        )
    )
    build, keys = BUILDERS[request.param]
    make_backbone = partial(build_backbone, "resnet50", weights=None)
    backbone, head = build(make_backbone, DetectionOptions(head=request.param), num_classes=NUM_CLASSES, size=160)
    ours = nn.ModuleDict({"backbone": backbone, "head": head}).eval()
    ours.load_state_dict({keys(key): value for key, value in theirs.state_dict().items()})
    images = [torch.rand(3, *shape) for shape in SHAPES]
    padded = nn.functional.pad(images[1], (0, 192 - 170))
    batch = ImageList(torch.stack([images[0], padded]), SHAPES)
    with torch.no_grad():
        outputs = head(backbone(batch.tensors), batch)
        detected = theirs(images)
    return SimpleNamespace(theirs=theirs, head=head, images=images, outputs=outputs, detected=detected)


def targets(*boxes):
    return [
        {"boxes": torch.tensor(own).reshape(-1, 4), "labels": torch.arange(len(own)) * 3 % NUM_CLASSES} for own in boxes
    ]


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
def test_losses(pair, boxes):
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


def test_it_does_not_matter_whether_the_head_is_in_training_mode(pair):
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
