"""What every segmentation head does, on every kind of backbone."""

import subprocess
import sys
from typing import get_args

import pytest
import torch

from foveal.core.errors import UsageError
from foveal.tasks.segmentation.head import segment
from foveal.tasks.segmentation.heads import HEADS, build_auxiliary
from foveal.tasks.segmentation.options import HeadName, SegmentationOptions

SIZES = {"resnet18": (37, 70), "vgg11_bn": (64, 33), "unet": (21, 40)}
HOMES = {
    "unet_padded": ("vgg11_bn", "unet"),
    "unet_valid": ("unet",),
    "segnet": ("vgg11_bn",),
    "deconvnet": ("vgg11_bn",),
}
ON = [(name, backbone) for name in HEADS for backbone in HOMES.get(name, ("resnet18", "vgg11_bn"))]
OF_STRIDES = [name for name in HEADS if name not in HOMES and not name.startswith("unet")]


def size_for(name, backbone):
    return (224, 250) if name == "deconvnet" else SIZES[backbone]


def test_a_recipe_may_name_every_head():
    assert get_args(HeadName) == tuple(HEADS)


@pytest.mark.parametrize("name, backbone", ON)
def test_logits_and_those_of_a_second_head_have_the_size_of_the_image(build_segmenter, name, backbone):
    network, head = build_segmenter(name, backbone, device="meta")
    size = size_for(name, backbone)
    heads = [head.eval()]
    with torch.device("meta"):
        if name not in ("unet_valid", "unetpp"):
            heads.append(build_auxiliary(network, SegmentationOptions(auxiliary=0.4), num_classes=3).eval())
        outputs = segment(network.eval(), heads, torch.zeros(1, 3, *size))
    assert [tuple(each.shape) for each in outputs] == [(1, 3, *size)] * len(heads)


@pytest.mark.parametrize("name", HEADS)
def test_everything_that_may_learn_gets_a_gradient(build_segmenter, name):
    home = HOMES.get(name, ("resnet18",))[0]
    backbone, head = build_segmenter(name, home, **({"channels": 8} if name == "deconvnet" else {}))
    outputs = segment(backbone, [head], torch.randn(2, 3, *((224, 224) if name == "deconvnet" else (32, 64))))
    torch.stack([logits.square().mean() for logits in outputs]).sum().backward()
    for key, parameter in [*backbone.named_parameters(), *head.named_parameters()]:
        assert not parameter.requires_grad or parameter.grad is not None, key


def test_in_training_unetpp_gives_the_logits_of_all_its_networks(build_segmenter):
    backbone, head = build_segmenter("unetpp", "resnet18", channels=2)
    images = torch.randn(1, 3, 64, 64)
    assert len(segment(backbone.train(), [head.train()], images)) == 4
    assert len(segment(backbone.eval(), [head.eval()], images)) == 1
    features = backbone(images)
    assert torch.equal(head.supervised(features)[0], head(features))


def test_a_second_head_needs_a_second_map(build_segmenter):
    backbone, _ = build_segmenter("fcn", "resnet18", device="meta")
    backbone.channels = backbone.channels[-1:]
    with pytest.raises(UsageError, match="reads a single map, and the second head reads the one before it: set it to"):
        build_auxiliary(backbone, SegmentationOptions(auxiliary=0.4), num_classes=3)


@pytest.mark.parametrize("name", OF_STRIDES)
def test_a_backbone_without_the_strides_is_refused_with_both_lists(build_segmenter, name):
    with pytest.raises(UsageError, match=r"maps of the strides .*32, but the backbone resnet20 has 1, 2, 4;"):
        build_segmenter(name, "resnet20", device="meta")


def test_the_auxiliary_head_reads_the_map_before_the_last(build_segmenter):
    backbone, _ = build_segmenter("fcn", "resnet50", device="meta")
    auxiliary = build_auxiliary(backbone, SegmentationOptions(auxiliary=0.4), num_classes=3)
    assert auxiliary.layers[0].in_channels == 1024


def test_without_weight_there_is_no_auxiliary_head(build_segmenter):
    backbone, _ = build_segmenter("fcn", "resnet18", device="meta")
    assert build_auxiliary(backbone, SegmentationOptions(auxiliary=0.0), num_classes=3) is None


def test_the_options_import_no_torch():
    program = "import sys; import foveal.tasks.segmentation.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
