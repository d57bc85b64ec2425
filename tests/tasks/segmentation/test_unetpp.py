"""UNet++: what its nodes read, deep supervision, and pruning."""

from functools import partial

import pytest
import torch

from foveal.backbones import create_backbone
from foveal.core.errors import UsageError
from foveal.tasks.segmentation.head import segment
from foveal.tasks.segmentation.options import SegmentationOptions
from foveal.tasks.segmentation.unetpp import UNetPlusPlusHead, build_unetpp

CHANNELS, STRIDES, WIDTHS = (3, 4, 5, 6, 7), (1, 2, 4, 8, 16), (8, 9, 10, 11)


@pytest.fixture
def head():
    return UNetPlusPlusHead(CHANNELS, STRIDES, 2, widths=WIDTHS).eval()


@pytest.fixture
def maps():
    return [torch.rand(2, width, 32 // stride, 48 // stride) for width, stride in zip(CHANNELS, STRIDES, strict=True)]


def test_a_triangle_of_ten_nodes_stands_on_five_maps(head):
    assert sorted(head.nodes) == ["0_1", "0_2", "0_3", "0_4", "1_1", "1_2", "1_3", "2_1", "2_2", "3_1"]


def test_a_node_reads_all_before_it_and_the_one_below(head):
    """Equation 1: map 0, nodes (0, 1) and (0, 2), and node (1, 2); at the foot, maps 3 and 4."""
    assert head.nodes["0_3"][0][0].in_channels == 3 + 8 + 8 + 9
    assert head.nodes["3_1"][0][0].in_channels == 6 + 7


def test_every_level_gives_a_map_of_full_size(head, maps):
    assert [x.shape for x in head.levels(maps)] == [(2, 2, 32, 48)] * 4


def test_maps_have_full_size_on_a_backbone_that_begins_at_stride_2():
    backbone = create_backbone("resnet18").eval()
    head = UNetPlusPlusHead(backbone.channels, backbone.strides, 3, widths=(4,)).eval()
    assert [x.shape for x in head.levels(backbone(torch.rand(1, 3, 64, 96)))] == [(1, 3, 64, 96)] * 4


def test_a_level_reads_no_coarser_maps_than_its_own(head, maps):
    changed = [*maps[:3], torch.rand_like(maps[3]), torch.rand_like(maps[4])]
    same = [torch.equal(*pair) for pair in zip(head.levels(maps), head.levels(changed), strict=True)]
    assert same == [True, True, False, False]


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_pruned_to_a_level_it_gives_that_levels_logits(head, maps, level):
    whole = head.levels(maps)[level - 1]
    head.prune(level)
    assert torch.equal(head(maps[: level + 1]), whole)


@pytest.mark.parametrize(("level", "nodes"), [(1, 1), (2, 3), (3, 6), (4, 10)])
def test_pruned_to_a_level_it_keeps_the_nodes_of_that_triangle(head, level, nodes):
    head.prune(level)
    assert (len(head.nodes), len(head.classifiers)) == (nodes, level)


def test_pruned_it_takes_all_maps_of_its_backbone_as_well(head, maps):
    head.prune(2)
    head_of_all, head_of_three = head(maps), head(maps[:3])
    assert torch.equal(head_of_all, head_of_three)


def test_the_last_level_is_the_result(head, maps):
    assert torch.equal(head(maps), head.levels(maps)[-1])


def test_maps_of_an_odd_size_meet():
    head = UNetPlusPlusHead((3, 4, 5), (2, 4, 8), 2, widths=(4,)).eval()
    maps = [torch.rand(1, 3, 35, 19), torch.rand(1, 4, 18, 10), torch.rand(1, 5, 9, 5)]
    assert [x.shape for x in head.levels(maps)] == [(1, 2, 70, 38)] * 2


def test_deep_supervision_teaches_every_parameter(head, maps):
    sum(x.square().mean() for x in head.train().levels(maps)).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize("level", [0, 5])
def test_a_level_that_there_is_not_is_refused(head, level):
    with pytest.raises(UsageError, match=f"level is {level}, .* levels 1 to 4"):
        head.prune(level)


def test_a_single_map_is_refused():
    with pytest.raises(UsageError, match=r"two or more maps .* given 1"):
        UNetPlusPlusHead((8,), (4,), 2)


def test_a_recipe_builds_it_on_all_maps_with_its_width_at_the_finest():
    backbone, head = build_unetpp(partial(create_backbone, "resnet18"), SegmentationOptions(channels=2), num_classes=3)
    assert [head.nodes[f"{level}_1"][0].out_channels for level in range(4)] == [2, 4, 8, 16]
    (logits,) = segment(backbone.eval(), [head.eval()], torch.rand(1, 3, 37, 70))
    assert logits.shape == (1, 3, 37, 70)
