"""NASNet-A by its published numbers, and its cells against timm's, which has the large network."""

from importlib import import_module

import pytest
import torch
from torch import nn

from foveal.backbones import create_backbone
from foveal.backbones.backbone import Backbone
from foveal.backbones.measure import count_parameters
from foveal.backbones.nasnet import Cell, build_nasnet

# timm's order of a cell's modules differs from cell to cell; this is ours.
ORDER = (
    *("conv_prev_1x1", "path_1", "path_2", "final_path_bn", "conv_1x1"),
    *(f"comb_iter_{block}_{side}" for block in range(5) for side in ("left", "right")),
)


@pytest.fixture(scope="module")
def shapeless():
    with torch.device("meta"):
        return create_backbone("nasnet_mobile")


def test_parameters(shapeless):
    assert count_parameters(shapeless) + 1056 * 1000 + 1000 == 5_289_978


def test_parameters_of_the_large_network():
    with torch.device("meta"):
        large = build_nasnet(3, repeats=6, filters=168, stem=96, skips=True).module
    assert count_parameters(large) + 4032 * 1000 + 1000 == 88_753_150


def test_levels_and_auxiliary_classifier(shapeless):
    assert (shapeless.channels, shapeless.strides) == ((32, 44, 264, 528, 1056), (2, 4, 8, 16, 32))
    maps, (read,) = shapeless.forward_with(torch.empty(2, 3, 224, 224, device="meta"), shapeless.auxiliary)
    assert [m.shape[2] for m in maps] == [111, 56, 28, 14, 7]
    assert tuple(read.shape) == (2, 528, 14, 14)


def test_cells(shapeless):
    cells = [name for name in shapeless.layers if isinstance(shapeless.get_submodule(name), Cell)]
    assert cells == [
        *("cell_stem_0", "cell_stem_1", "cell_0", "cell_1", "cell_2", "cell_3", "reduction_cell_0"),
        *("cell_4", "cell_5", "cell_6", "cell_7", "reduction_cell_1", "cell_8", "cell_9", "cell_10", "cell_11"),
    ]
    assert shapeless.get_submodule("cell_11").blocks[0][0][1].kernel_size == (5, 5)


def test_a_cell_reads_the_two_before_it():
    torch.manual_seed(0)
    network = build_nasnet(3, repeats=2, filters=8, stem=8).module.eval()
    cell = network.get_submodule("cell_1")
    current, before = torch.randn(2, 48, 5, 6), torch.randn(2, 16, 5, 6)
    output, passed = cell((current, before))
    assert passed is current
    assert not torch.equal(output, cell((current, before + 1))[0])
    assert not torch.equal(output, cell((current + 1, before))[0])


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Give timm's weights to ours, cell by cell in our order of their modules."""
    for name, module in ours.named_children():
        if not list(module.parameters()):
            continue
        state = theirs.get_submodule(name).state_dict()
        if name != "conv0":
            state = {key: state[key] for part in ORDER for key in state if key.startswith(f"{part}.")}
        module.load_state_dict(dict(zip(module.state_dict(), state.values(), strict=True)))


@torch.no_grad()
@pytest.mark.parametrize("size", [(67, 67), (67, 99)])
def test_all_cells_are_timms(size):
    """A narrow NASNet-A large: sizes are odd at each reduction, where padding as in TensorFlow is symmetric too."""
    torch.manual_seed(0)
    theirs = import_module("timm.models.nasnet").NASNetALarge(stem_size=24, num_features=24 * 16, num_classes=0).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.1, 0.5)
    network = build_nasnet(3, repeats=6, filters=16, stem=24, skips=True)
    copy_weights(network.module, theirs)
    for module in network.module.modules():
        if isinstance(module, nn.AvgPool2d) and module.stride == 2:
            module.count_include_pad = True  # as in timm; TensorFlow averages over the pixels that exist
    images = torch.randn(1, 3, *size)
    expected = theirs.forward_features(images)
    assert expected.std() > 0.1
    torch.testing.assert_close(Backbone(network).eval()(images)[-1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(33, 33), (97, 131), (64, 225)])
def test_any_size(shapeless, size):
    maps = shapeless(torch.empty(2, 3, *size, device="meta"))
    assert [m.shape[1] for m in maps] == list(shapeless.channels)


def test_drop_path_drops_operations():
    with torch.device("meta"):
        backbone = create_backbone("nasnet_mobile", stochastic_depth=0.32)
    cells = [module for module in backbone.modules() if isinstance(module, Cell)]
    assert [cell.stochastic_depth.p for cell in cells] == pytest.approx([0.02 * number for number in range(1, 17)])


def test_signal_and_gradient_in_training():
    torch.manual_seed(0)
    backbone = create_backbone("nasnet_mobile")
    maps = backbone(torch.randn(4, 3, 67, 67))
    assert all(0.1 < feature_map.std() < 10 for feature_map in maps)
    sum((m * torch.randn_like(m)).mean() for m in maps).backward()
    assert all(parameter.grad.count_nonzero() for parameter in backbone.parameters())
