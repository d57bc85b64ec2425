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

SIZES = {"resnet18": (37, 70), "vgg11_bn": (64, 33)}


def test_a_recipe_may_name_every_head():
    assert get_args(HeadName) == tuple(HEADS)


@pytest.mark.parametrize("backbone", SIZES)
@pytest.mark.parametrize("name", HEADS)
def test_logits_and_those_of_the_auxiliary_head_have_the_size_of_the_image(build_segmenter, name, backbone):
    network, head = build_segmenter(name, backbone, device="meta")
    with torch.device("meta"):
        auxiliary = build_auxiliary(network, SegmentationOptions(auxiliary=0.4), num_classes=3)
        outputs = segment(network.eval(), [head.eval(), auxiliary.eval()], torch.zeros(1, 3, *SIZES[backbone]))
    assert [tuple(each.shape) for each in outputs] == [(1, 3, *SIZES[backbone])] * 2


@pytest.mark.parametrize("name", HEADS)
def test_everything_that_may_learn_gets_a_gradient(build_segmenter, name):
    backbone, head = build_segmenter(name, "resnet18")
    (logits,) = segment(backbone, [head], torch.randn(2, 3, 32, 64))
    logits.square().mean().backward()
    for key, parameter in [*backbone.named_parameters(), *head.named_parameters()]:
        assert not parameter.requires_grad or parameter.grad is not None, key


@pytest.mark.parametrize("name", HEADS)
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
