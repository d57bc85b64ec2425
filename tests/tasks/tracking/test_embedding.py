"""The networks of trackers: the sizes of their maps, and that padding is cut off."""

from dataclasses import replace

import pytest
import torch

from foveal.core.data import DataOptions, preprocessing
from foveal.core.errors import UsageError
from foveal.tasks.tracking.embedding import UnpaddedAlexNet, build_embedding, cut
from foveal.tasks.tracking.options import TrackingOptions

_SEEN = preprocessing(DataOptions())


def built(name="siamfc_alexnet", **options):
    torch.manual_seed(0)
    return build_embedding(replace(TrackingOptions(), backbone=name, **options), _SEEN)


def cells(backbone, size):
    (x,) = backbone.to("meta")(torch.empty(2, 3, size, size, device="meta"))
    return tuple(x.shape[1:])


def test_the_alexnet_has_the_papers_sizes():
    network = UnpaddedAlexNet()
    assert (network.channels, network.strides) == ((128,), (8,))
    assert cells(network, 127) == (128, 6, 6)
    assert cells(network, 255) == (128, 22, 22)  # so that a response has 22 - 6 + 1 = 17
    # Table 1's filters, with half the inputs where there are two groups; biases in the last, which has no batch norm.
    filters = 96 * 3 * 121 + 256 * 48 * 25 + 384 * 256 * 9 + 384 * 192 * 9 + 128 * 192 * 9
    assert sum(p.numel() for p in network.parameters()) == filters + 2 * (96 + 256 + 384 + 384) + 128


def test_the_alexnet_sees_the_same_wherever_it_is():
    torch.manual_seed(0)
    network = UnpaddedAlexNet().eval()
    image = torch.randn(1, 3, 127 + 16, 127 + 8)
    with torch.no_grad():
        (whole,), (part,) = network(image), network(image[:, :, 16:, 8:])
    assert torch.allclose(whole[:, :, 2:, 1:], part, atol=1e-5)  # 16 pixels are 2 cells and 8 are 1


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("resnet18", (16, 32)), ("mobilenet_v2", (16, 32)), ("vgg11", (15, 31)), ("alexnet", (15, 31))],
)
def test_of_other_networks_a_response_has_17_cells_too(name, sizes):
    backbone, margin = built(name)
    assert backbone.strides == (8,) and margin == 4
    template, search = cells(backbone, 127), cells(backbone, 255)
    assert (template[1], search[1]) == sizes and template[0] == backbone.channels[0]
    assert (search[1] - 2 * margin) - (template[1] - 2 * margin) + 1 == 17


def test_the_stage_of_stride_16_is_dilated_unless_another_is_named():
    assert built("resnet18")[0].feature_info()[0].layer == "layer3.1"
    assert built("resnet18", stage=32)[0].feature_info()[0].layer == "layer4.1"
    plain = built("resnet18", stage=8)[0]
    assert plain.feature_info()[0].layer == "layer2.1" and plain.strides == (8,)
    with pytest.raises(UsageError, match="stage is 16, but alexnet has stages of the strides 8 for"):
        built("alexnet", stage=16)


def test_what_is_no_map_of_stride_8_is_refused_with_what_there_is():
    with pytest.raises(UsageError, match="lenet5 has those of the strides 1, 2, 4 and can't be dilated; take"):
        built("lenet5")
    with pytest.raises(UsageError, match="no such weights of siamfc_alexnet"):
        built(weights="imagenet")
    with pytest.raises(UsageError, match="choose from 0 to 3"):
        built(frozen_stages=9)


def test_options_reach_the_alexnet():
    backbone, margin = built(frozen_stages=1, activation="prelu", margin=1)
    assert margin == 1
    assert any(isinstance(each, torch.nn.PReLU) for each in backbone.modules())
    assert not backbone.get_submodule("conv1.0").weight.requires_grad
    assert backbone.get_submodule("conv2.0").weight.requires_grad


def test_weights_of_a_file_are_loaded(tmp_path):
    torch.save(built()[0].state_dict(), tmp_path / "alexnet.pth")
    torch.manual_seed(1)
    backbone, _ = build_embedding(replace(TrackingOptions(), weights=str(tmp_path / "alexnet.pth")), _SEEN)
    assert torch.equal(backbone.get_submodule("conv5").weight, built()[0].get_submodule("conv5").weight)


def test_a_margin_is_cut_off_on_every_side():
    assert cut(torch.arange(25).reshape(1, 1, 5, 5), 2).tolist() == [[[[12]]]]
    assert cut(torch.zeros(2, 3, 6, 8), 1).shape == (2, 3, 4, 6)
    assert cut(torch.zeros(2, 3, 6, 8), 0).shape == (2, 3, 6, 8)
