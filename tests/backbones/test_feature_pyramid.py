"""The neck that stands in for a backbone: its contract, and its sums by torchvision's own pyramid."""

from collections import OrderedDict

import pytest
import torch
from torchvision.ops import FeaturePyramidNetwork

from foveal.backbones import FeaturePyramid, create_backbone
from foveal.tasks.classification.heads import LinearHead


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "mobilenet_v2", "densenet121", "swin_t", "convnext_tiny"])
@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_maps_of_one_width(name, size):
    with torch.device("meta"):
        pyramid = FeaturePyramid(create_backbone(name), out_channels=24).eval()
        plain = create_backbone(name).eval()
    images = torch.empty(2, 3, *size, device="meta")
    assert pyramid.channels == (24,) * len(plain.channels) and pyramid.strides == plain.strides
    assert [m.shape for m in pyramid(images)] == [(2, 24, *m.shape[2:]) for m in plain(images)]
    assert [info[1:] for info in pyramid.feature_info()] == [(24, stride) for stride in plain.strides]


def test_it_is_torchvisions_pyramid_over_our_maps():
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", levels=(1, 2, 3, 4))
    pyramid = FeaturePyramid(backbone, out_channels=16).eval()
    peer = FeaturePyramidNetwork([64, 128, 256, 512], 16)
    peer.load_state_dict(pyramid.pyramid.state_dict())
    images = torch.randn(1, 3, 96, 64)
    expected = peer(OrderedDict(zip("2345", backbone(images), strict=True)))
    torch.testing.assert_close(pyramid(images), list(expected.values()))


def test_a_head_takes_it_in_place_of_a_backbone():
    pyramid = FeaturePyramid(create_backbone("resnet18", levels=(1, 4)), out_channels=32)
    head = LinearHead(pyramid.channels, num_classes=5)
    head(pyramid(torch.randn(2, 3, 64, 64))).sum().backward()
    assert all(p.grad is not None for p in pyramid.backbone.parameters())
