"""What several tests of segmenters need: networks as a recipe builds them."""

from functools import partial

import pytest
import torch

from foveal.tasks.build import build_backbone
from foveal.tasks.segmentation.heads import HEADS
from foveal.tasks.segmentation.options import SegmentationOptions


def _build_segmenter(head, backbone, *, num_classes=3, weights=None, device="cpu", **options):
    options = SegmentationOptions(backbone=backbone, head=head, weights=weights, **options)
    with torch.device(device):
        return HEADS[head](partial(build_backbone, backbone, weights=weights), options, num_classes=num_classes)


@pytest.fixture(scope="session")
def build_segmenter():
    """The function that builds a backbone and a head: (names of head and backbone, further options). With `device` meta
    they have shapes alone.
    """
    return _build_segmenter
