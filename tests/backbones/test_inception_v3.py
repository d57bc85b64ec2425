"""Inception-v3 by its published numbers, and against torchvision's with the same weights."""

import pytest
import torch
import torchvision
from torch import nn

from foveal.backbones import create_backbone
from foveal.backbones.measure import count_parameters, receptive_field

CLASSIFIER = 2048 * 1000 + 1000


@pytest.fixture(scope="module")
def shapeless():
    with torch.device("meta"):
        return create_backbone("inception_v3")


def test_parameters(shapeless):
    with torch.device("meta"):
        auxiliary = torchvision.models.Inception3(init_weights=False).AuxLogits
    assert count_parameters(shapeless) + CLASSIFIER == 23_834_568
    assert count_parameters(shapeless) + CLASSIFIER + count_parameters(auxiliary) == 27_161_264


def test_stages(shapeless):
    assert (shapeless.channels, shapeless.strides) == ((64, 192, 288, 768, 2048), (2, 4, 8, 16, 32))
    maps = shapeless(torch.empty(1, 3, 299, 299, device="meta"))
    assert [tuple(m.shape[2:]) for m in maps] == [(147, 147), (71, 71), (35, 35), (17, 17), (8, 8)]


def test_receptive_field(shapeless):
    """1311 pixels: Araujo, Norris, Sim, Computing receptive fields of convolutional neural networks, 2019, table."""
    assert receptive_field(shapeless)[-1] == 1311


def test_long_kernels_stand_where_maps_have_12_to_20_pixels(shapeless):
    long = {
        name: {layer.kernel_size for layer in shapeless.get_submodule(name).modules() if isinstance(layer, nn.Conv2d)}
        for name in shapeless.layers
    }
    assert {name for name, kernels in long.items() if (1, 7) in kernels and (7, 1) in kernels} == {
        *("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7a")
    }


def test_auxiliary_classifier_reads_the_last_map_of_17(shapeless):
    assert shapeless.auxiliary == ("Mixed_6e",)
    _, (read,) = shapeless.forward_with(torch.empty(1, 3, 299, 299, device="meta"), shapeless.auxiliary)
    assert tuple(read.shape) == (1, 768, 17, 17)


@torch.no_grad()
@pytest.mark.parametrize("size", [(75, 75), (97, 112)])
def test_maps_are_torchvisions(size):
    torch.manual_seed(0)
    theirs = torchvision.models.Inception3(init_weights=False, transform_input=True)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.02, 0.1)
    ours = create_backbone("inception_v3").eval()
    lacking = set(theirs.state_dict()) - set(ours.state_dict())
    assert {key.split(".")[0] for key in lacking} == {"AuxLogits", "fc"}
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if key not in lacking})
    expected = {}
    for name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c", "avgpool"):
        theirs.get_submodule(name).register_forward_hook(lambda _m, _x, out, name=name: expected.update({name: out}))
    images = torch.randn(2, 3, *size)
    theirs.eval()(images)
    maps = ours(images)
    pooled = maps[-1].mean(dim=(2, 3), keepdim=True)
    assert pooled.std() > 0.01
    for got, want in zip([*maps, pooled], expected.values(), strict=True):
        assert (got - want).abs().max() < 1e-5


def test_published_file_fits(tmp_path):
    """It has the auxiliary classifier, which no layer of the backbone is."""
    theirs = torchvision.models.Inception3(init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "inception_v3.pth")
    backbone = create_backbone("inception_v3", weights=tmp_path / "inception_v3.pth")
    assert torch.equal(
        backbone.state_dict()["Mixed_7c.branch_pool.conv.weight"], theirs.Mixed_7c.branch_pool.conv.weight
    )
