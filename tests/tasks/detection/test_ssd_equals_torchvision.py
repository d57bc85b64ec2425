"""SSD300 gives what torchvision's gives with the same random weights on the same images."""

import pytest
import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from foveal.tasks.detection.published import ssd300_vgg16_keys

NUM_CLASSES = 7  # no background among them: labels are 0 to 6
SIZE = (300, 300)


def random_state(theirs):
    """Draw weights so that scores differ, and of some classes fewer than 400 are high enough."""
    for name, weights in theirs.named_parameters():
        if weights.ndim == 4 and "classification" in name:
            nn.init.normal_(weights, std=0.01)
        elif weights.ndim == 4:
            nn.init.kaiming_normal_(weights)
        if name == "backbone.scale_weight":
            nn.init.uniform_(weights, 10, 30)
        if "regression" in name:
            nn.init.normal_(weights, std=0.01)
        if "classification" in name and weights.ndim == 1:
            weights.data.view(-1, NUM_CLASSES + 1)[:] = torch.tensor([8.0, 3, 2, 2, 1, 0, 0, 0])
    return theirs.eval()


@pytest.fixture(scope="module")
def pair(torchvision_detector, build_detector, run_both):
    theirs = random_state(torchvision_detector("ssd300_vgg16", num_classes=NUM_CLASSES + 1))
    ours = build_detector("ssd", "vgg16", num_classes=NUM_CLASSES, size=300)
    return run_both(theirs, ours, ssd300_vgg16_keys, torch.randn(2, 3, *SIZE))


@pytest.mark.parametrize("image", [0, 1])
def test_boxes_labels_and_scores_are_torchvisions(pair, image):
    ours, theirs = pair.head.detect(pair.outputs)[image], pair.detected[image]
    assert len(ours.boxes) == 200 and len(ours.labels.unique()) > 2  # no empty comparison
    assert torch.equal(ours.labels + 1, theirs["labels"])
    torch.testing.assert_close(ours.boxes, theirs["boxes"], atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.scores, theirs["scores"], atol=1e-4, rtol=0)


def test_of_some_classes_all_sure_candidates_were_compared_of_others_the_best(pair):
    scores = pair.outputs.logits.softmax(dim=2)[..., 1:]
    sure = (scores > 0.01).sum(dim=1)
    assert sure.min() < 400 < sure.max()


def objects(seed, number):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(number, 2, generator=generator) * 200
    sides = 10 + torch.rand(number, 2, generator=generator) * 90
    return torch.cat([corners, corners + sides], dim=1), torch.arange(number) % NUM_CLASSES


@pytest.mark.parametrize("numbers", [(3, 5), (1, 20)])
def test_the_losses_are_torchvisions(pair, numbers):
    truth = [objects(seed, number) for seed, number in enumerate(numbers)]
    pair.theirs.train()
    with torch.no_grad():
        theirs = pair.theirs(list(pair.images), [{"boxes": boxes, "labels": labels + 1} for boxes, labels in truth])
    pair.theirs.eval()
    ours = pair.head.losses(pair.outputs, [{"boxes": boxes, "labels": labels} for boxes, labels in truth])
    torch.testing.assert_close(ours["classification"], theirs["classification"], atol=0, rtol=1e-5)
    torch.testing.assert_close(ours["localisation"], theirs["bbox_regression"], atol=0, rtol=1e-5)


def test_the_default_boxes_are_torchvisions(pair):
    images = ImageList(pair.images, [SIZE, SIZE])
    maps = [torch.zeros(1, 1, side, side) for side in (38, 19, 10, 5, 3, 1)]
    expected = pair.theirs.anchor_generator(images, maps)[0]
    assert torch.equal(pair.outputs.default_boxes, expected)
