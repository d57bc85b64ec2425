"""torchvision's published detectors as a start: every weight in its place, classes by their names."""

from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.detection.image_list import ImageList

from foveal.core.data import DataOptions, preprocessing
from foveal.core.errors import ModelFileError, UsageError
from foveal.tasks.build import build_backbone
from foveal.tasks.detection.heads import HEADS
from foveal.tasks.detection.options import DetectionOptions
from foveal.tasks.detection.published import PUBLISHED, detector_weights, load_detector, published_preprocessing

CATEGORIES = torchvision.models.get_model_weights("fasterrcnn_resnet50_fpn")["COCO_V1"].meta["categories"]


def theirs(name):
    """A published detector with random weights, batch norms included."""
    torch.manual_seed(0)
    network = getattr(torchvision.models.detection, name)(weights=None, weights_backbone=None, num_classes=91)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def ours(head, backbone, class_names, size=96):
    options = DetectionOptions(head=head, backbone=backbone)
    make_backbone = partial(build_backbone, backbone, weights=None)
    parts = HEADS[head](make_backbone, options, num_classes=len(class_names), size=size)
    return nn.ModuleDict(dict(zip(("backbone", "head"), parts, strict=True))).eval(), options


@pytest.fixture(scope="module")
def faster_rcnn():
    return theirs("fasterrcnn_resnet50_fpn")


def test_a_file_of_torchvision_fills_the_whole_detector(faster_rcnn, tmp_path):
    torch.save(faster_rcnn.state_dict(), tmp_path / "published.pth")
    options = DetectionOptions(weights=str(tmp_path / "published.pth"))
    weights = detector_weights(options)
    model, _ = ours("fasterrcnn_fpn", "resnet50", CATEGORIES[1:])
    load_detector(model, weights, options, CATEGORIES[1:])
    images = ImageList(torch.rand(1, 3, 96, 128), [(96, 128)])
    for module in faster_rcnn.modules():  # as published: nothing is added to the variance
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    with torch.no_grad():
        maps = faster_rcnn.backbone(images.tensors)
        proposals, _ = faster_rcnn.rpn(images, maps)
        expected, _ = faster_rcnn.roi_heads(maps, proposals, images.image_sizes)
        outputs = model["head"](model["backbone"](images.tensors), images)
    torch.testing.assert_close(outputs.maps["3"], maps["3"], atol=1e-5, rtol=1e-5)
    found = model["head"].detect(outputs)[0]
    torch.testing.assert_close(found.scores, expected[0]["scores"], atol=1e-4, rtol=0)
    assert model["backbone"].bn1.running_var[0] == pytest.approx(
        float(weights["backbone.body.bn1.running_var"][0]) - 1e-5
    )


def test_classes_that_coco_has_go_on_with_its_rows_and_others_begin_anew(faster_rcnn):
    names = ["tapir", "zebra", "person"]
    model, options = ours("fasterrcnn_fpn", "resnet50", names)
    predictor = model["head"].roi_heads.box_predictor
    fresh = predictor.cls_score.weight[1].clone()
    weights = faster_rcnn.state_dict()
    load_detector(model, weights, options, names)
    published = weights["roi_heads.box_predictor.cls_score.weight"]
    assert torch.equal(predictor.cls_score.weight[0], published[0])  # background
    assert torch.equal(predictor.cls_score.weight[1], fresh)
    assert torch.equal(predictor.cls_score.weight[2], published[CATEGORIES.index("zebra")])
    boxes = weights["roi_heads.box_predictor.bbox_pred.weight"].view(91, 4, -1)
    assert torch.equal(predictor.bbox_pred.weight.view(4, 4, -1)[3], boxes[CATEGORIES.index("person")])


@pytest.mark.parametrize(
    ("head", "backbone", "key"),
    [
        ("ssd", "vgg16", "head.classification_head.module_list.1.weight"),
        ("retinanet", "resnet50", "head.classification_head.cls_logits.weight"),
        ("fcos", "resnet50", "head.classification_head.cls_logits.weight"),
    ],
)
def test_rows_of_anchors_and_classes(head, backbone, key):
    published = PUBLISHED[head, backbone]
    network = theirs(published.name)
    model, options = ours(head, backbone, ["dog", "tapir"], size=300)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    load_detector(model, network.state_dict(), options, ["dog", "tapir"])
    own, wanted = model.state_dict()[published.keys(key)], network.state_dict()[key]
    first = int(published.background)
    own, before = (x.view(-1, 2 + first, *x.shape[1:]) for x in (own, fresh[published.keys(key)]))
    assert torch.equal(own[:, first], wanted.view(-1, 91, *wanted.shape[1:])[:, CATEGORIES.index("dog")])
    assert torch.equal(own[:, first + 1], before[:, first + 1])


@pytest.mark.parametrize(("head", "backbone"), list(PUBLISHED))
def test_every_published_detector_has_a_place_for_every_weight(head, backbone):
    published = PUBLISHED[head, backbone]
    with torch.device("meta"):
        network = getattr(torchvision.models.detection, published.name)(weights=None, weights_backbone=None)
        model, _ = ours(head, backbone, CATEGORIES[1:] if published.background else CATEGORIES, size=300)
    shapes = {published.keys(key): value.shape for key, value in network.state_dict().items()}
    assert shapes == {key: value.shape for key, value in model.state_dict().items()}


def test_weights_of_another_network_are_refused(faster_rcnn):
    weights = faster_rcnn.state_dict()
    del weights["rpn.head.bbox_pred.bias"]
    model, options = ours("fasterrcnn_fpn", "resnet50", ["dog"])
    with pytest.raises(
        ModelFileError, match=r"do not fit this detector \(1 keys, the first: head.rpn.head.bbox_pred.b"
    ):
        load_detector(model, weights, options, ["dog"])


def test_weights_of_a_backbone_are_left_to_it(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    assert detector_weights(DetectionOptions(backbone="resnet18", weights=str(tmp_path / "resnet18.pth"))) is None
    assert detector_weights(DetectionOptions(weights="imagenet")) is None


def test_coco_for_a_detector_that_nobody_published():
    options = DetectionOptions(backbone="resnet18", weights="coco")
    with pytest.raises(
        UsageError, match="torchvision publishes no fasterrcnn_fpn on resnet18; there are fasterrcnn_fpn"
    ):
        published_preprocessing(options, preprocessing(DataOptions()))


def test_ssd_is_normalised_as_it_was_trained():
    options = DetectionOptions(head="ssd", backbone="vgg16", weights="coco")
    changed = published_preprocessing(options, preprocessing(DataOptions()))
    transform = torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None).transform
    assert changed["mean"] == transform.image_mean and changed["std"] == transform.image_std


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("backbone.fpn.inner_blocks.2.weight", "head.neck.inner_blocks.2.0.weight"),
        ("rpn.head.conv.bias", "head.rpn.head.conv.0.0.bias"),
    ],
)
def test_names_from_before_torchvision_0_13_which_the_published_file_has(old, new):
    assert PUBLISHED["fasterrcnn_fpn", "resnet50"].keys(old) == new
