"""FCN and DeepLab v3 give what torchvision's give with the same random weights on the same images."""

from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn

from foveal.tasks.segmentation.heads import build_auxiliary
from foveal.tasks.segmentation.options import SegmentationOptions
from foveal.tasks.segmentation.published import torchvision_keys

NUM_CLASSES = 5
NAMES = {"fcn": "fcn_resnet50", "deeplabv3": "deeplabv3_resnet50"}


def random_state(theirs, images):
    """Draw scores that differ, and statistics so that maps keep their scale."""
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        theirs.train()(images)
    return theirs.eval()


@pytest.fixture(scope="module", params=list(NAMES))
def pair(request, build_segmenter):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images = torch.randn(2, 3, 72, 56)
    make = getattr(torchvision.models.segmentation, NAMES[request.param])
    theirs = make(weights=None, weights_backbone=None, num_classes=NUM_CLASSES, aux_loss=True)
    theirs = random_state(theirs, images)
    backbone, head = build_segmenter(request.param, "resnet50", num_classes=NUM_CLASSES, output_stride=8)
    auxiliary = build_auxiliary(backbone, SegmentationOptions(auxiliary=0.5), num_classes=NUM_CLASSES)
    whole = nn.ModuleDict({"backbone": backbone, "head": head, "auxiliary": auxiliary}).eval()
    whole.load_state_dict({torchvision_keys(key): value for key, value in theirs.state_dict().items()})
    with torch.no_grad():
        return SimpleNamespace(
            expected=theirs(images), found=dict(zip(["out", "aux"], _run(whole, images), strict=True)), whole=whole
        )


def _run(whole, images):
    features = whole["backbone"](images)
    logits = [whole[name](features) for name in ("head", "auxiliary")]
    return [nn.functional.interpolate(each, images.shape[2:], mode="bilinear") for each in logits]


@pytest.mark.parametrize("output", ["out", "aux"])
def test_the_logits_are_torchvisions(pair, output):
    torch.testing.assert_close(pair.found[output], pair.expected[output], atol=1e-5, rtol=0)


@pytest.mark.parametrize("output", ["out", "aux"])
def test_the_random_logits_differ_from_place_to_place(pair, output):
    assert pair.expected[output].std(dim=(2, 3)).min() > 0.01


def test_its_own_batch_norm_lets_deeplab_learn_from_a_single_image(build_segmenter):
    backbone, head = build_segmenter("deeplabv3", "resnet18")
    features = [torch.randn(1, channels, 4, 4) for channels in backbone.channels]
    assert head.train()(features).isfinite().all()
