"""What several tests of detectors need: networks as a recipe builds them, and torchvision's with the same weights."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.detection.image_list import ImageList

from foveal.tasks.build import build_backbone
from foveal.tasks.detection.heads import HEADS
from foveal.tasks.detection.options import DetectionOptions


def _build_detector(head, backbone, *, num_classes=2, size=64, **options):
    make_backbone = partial(build_backbone, backbone, weights=None)
    options = DetectionOptions(backbone=backbone, head=head, **options)
    return HEADS[head](make_backbone, options, num_classes=num_classes, size=size)


@pytest.fixture(scope="session")
def build_detector():
    """The function that builds a random backbone and head: (names of head and backbone, further options)."""
    return _build_detector


def _torchvision_detector(name, **options):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    unchanged = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    make = getattr(torchvision.models.detection, name)
    return make(weights=None, weights_backbone=None, **unchanged, **options)


@pytest.fixture(scope="session")
def torchvision_detector():
    """The function that builds torchvision's random detector, for normalised images: (its name, further options)."""
    return _torchvision_detector


def _run_both(theirs, ours, keys, images):
    backbone, head = ours
    whole = nn.ModuleDict({"backbone": backbone, "head": head}).eval()
    whole.load_state_dict({keys(key): value for key, value in theirs.state_dict().items()})
    shapes = [tuple(image.shape[1:]) for image in images]
    height, width = (max(sides) for sides in zip(*shapes, strict=True))
    padded = [nn.functional.pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in images]
    batch = ImageList(torch.stack(padded), shapes)
    with torch.no_grad():
        outputs = head(backbone(batch.tensors), batch)
        detected = theirs(list(images))
    return SimpleNamespace(theirs=theirs, head=head, images=images, outputs=outputs, detected=detected)


@pytest.fixture(scope="session")
def run_both():
    """The function that gives our detector the weights of torchvision's, and both the same images: (theirs, our
    backbone and head, the function from their keys to ours, images). It returns theirs, our head, the images, our
    outputs and what theirs detected.
    """
    return _run_both


def _make_targets(*boxes, num_classes, step):
    return [
        {"boxes": torch.tensor(own).reshape(-1, 4), "labels": torch.arange(len(own)) * step % num_classes}
        for own in boxes
    ]


@pytest.fixture(scope="session")
def make_targets():
    """The function that makes a target an image: (lists of boxes, num_classes, step from one label to the next)."""
    return _make_targets
