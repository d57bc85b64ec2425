"""Eigen's two networks: their sizes, what reads what, and what learns from what."""

from functools import partial

import pytest
import torch

from foveal.backbones import count_parameters
from foveal.core.errors import UsageError
from foveal.tasks.build import build_backbone
from foveal.tasks.depth.eigen2014 import build_eigen2014
from foveal.tasks.depth.eigen2015 import build_eigen2015
from foveal.tasks.depth.full_image import FullImageView
from foveal.tasks.depth.head import resized

PAPERS = (228, 304)  # pixels of the images for NYU Depth


def made(build, name, *, device="cpu", size=64, channels=1, **options):
    with torch.device(device):
        backbone, head = build(
            partial(build_backbone, name, weights=None), name, size=size, channels=channels, **options
        )
    return backbone.eval(), head.eval()


def raw_maps(backbone, head, images):
    return head(backbone(images), images)


def test_the_coarse_network_of_2014_is_the_papers():
    _, head = made(build_eigen2014, "alexnet", device="meta", size=PAPERS)
    assert head.coarse.hidden.in_features == 256 * 6 * 8  # conv5, pooled, of figure 1
    assert head.coarse.hidden.out_features == 4096
    assert head.coarse.maps.out_features == 57 * 76  # 55 x 74 without padding
    assert head.coarse.dropout.p == 0.5


def test_the_fine_network_of_2014_is_the_papers():
    _, head = made(build_eigen2014, "alexnet", device="meta")
    fine = count_parameters(head.image) + count_parameters(head.fine)
    assert fine == (9 * 9 * 3 * 63 + 63) + (5 * 5 * 64 * 64 + 64) + (5 * 5 * 64 + 1)


def test_a_cell_of_the_fine_network_sees_45_pixels_and_the_whole_coarse_map_the_image():
    backbone, head = made(build_eigen2014, "alexnet", size=128, width=16)
    images = torch.randn(1, 3, 128, 128, requires_grad=True)
    for layer in (head.image, head.fine):
        for parameter in layer.parameters():
            parameter.data.abs_()  # so that no part of a field is hidden by a ReLU
    maps = head([x.detach() for x in backbone(images)], images + 10)
    (seen,) = torch.autograd.grad(maps["depth"][0, 0, 16, 16], images, create_graph=False)
    rows = seen.abs().sum(dim=(0, 1, 3)).nonzero()
    assert 40 <= rows.max() - rows.min() + 1 <= 45  # max pools pass the gradient to one of their three inputs
    (seen,) = torch.autograd.grad(raw_maps(backbone, head, images)["coarse_depth"][0, 0, 16, 16], images)
    rows = seen.abs().sum(dim=(0, 1, 3)).nonzero()
    assert rows.max() - rows.min() + 1 > 100


def test_the_fine_network_reads_the_image_and_the_coarse_map():
    backbone, head = made(build_eigen2014, "alexnet", width=16)
    images = torch.randn(1, 3, 64, 64)
    features = backbone(images)
    depth = head(features, images)["depth"]
    assert not torch.allclose(depth, head(features, images + 1)["depth"])  # another image, the same coarse map
    assert not torch.allclose(depth, head([x + 1 for x in features], images)["depth"])  # and the other way about


def test_the_fine_networks_loss_teaches_the_coarse_network_of_2014_nothing():
    backbone, head = made(build_eigen2014, "alexnet", width=16)
    maps = raw_maps(backbone, head, torch.randn(1, 3, 64, 64))
    maps["depth"].square().sum().backward(retain_graph=True)
    coarse = [*backbone.parameters(), *head.coarse.parameters()]
    assert all(parameter.grad is None for parameter in coarse)
    assert all(parameter.grad is not None for parameter in head.fine.parameters())
    maps["coarse_depth"].square().sum().backward()
    assert all(parameter.grad is not None for parameter in coarse)


def test_2014_gives_one_number_a_pixel_and_nothing_else():
    with pytest.raises(UsageError, match="eigen2014 gives one number a pixel, but this output reads 80"):
        made(build_eigen2014, "alexnet", device="meta", channels=80)
    with pytest.raises(UsageError, match="eigen2014 gives depth alone; for normals or labels take eigen2015"):
        made(build_eigen2014, "alexnet", device="meta", normals=True)


def test_scale_1_of_2015_on_vgg16_is_the_papers():
    _, head = made(build_eigen2015, "vgg16", device="meta", size=PAPERS)
    assert head.view.grid == (14, 19)  # table of figure 1: 64 maps of 14 x 19
    hidden, maps = 512 * 7 * 9 * 4096 + 4096, 4096 * 64 * 14 * 19 + 64 * 14 * 19
    assert count_parameters(head.view) == hidden + maps


def test_scales_2_and_3_of_2015_have_convolutions_of_their_own_for_each_output():
    _, head = made(build_eigen2015, "vgg16", device="meta", normals=True, labels=40)
    for name, last in (("depth", 1), ("normals", 3), ("labels", 40)):
        two = [(96 + 64, 64), (64, 64), (64, 64), (64, last)]  # layers 2.2 to 2.5
        three = [(96 + 1 + 3 + 40, 64), (64, 64), (64, last)]  # layers 3.2 to 3.4
        for stack, layers in ((head.scale2[name], two), (head.scale3[name], three)):
            assert count_parameters(stack) == sum(25 * a * b + b for a, b in layers)


def test_in_2015_a_change_of_a_coarser_scale_reaches_all_outputs():
    backbone, head = made(build_eigen2015, "resnet18", width=16, normals=True, labels=4)
    images = torch.randn(1, 3, 64, 64)
    features = backbone(images)
    before = head(features, images)
    after = head([x + 1 for x in features], images)  # scale 1 alone
    assert len(before) == 6
    assert not [name for name in before if torch.allclose(before[name], after[name], atol=1e-6)]
    head.scale2["normals"][-1].bias.data[0] += 1  # an output of scale 2: all of scale 3 read it
    after = head(features, images)
    changed = {name for name in before if not torch.allclose(before[name], after[name], atol=1e-6)}
    assert changed == {"depth", "normals", "labels", "coarse_normals"}


def test_in_2015_scale_3_teaches_the_scales_before_it_nothing():
    backbone, head = made(build_eigen2015, "resnet18", width=16, normals=True)
    maps = raw_maps(backbone, head, torch.randn(1, 3, 64, 64))
    (maps["depth"].square().sum() + maps["normals"].square().sum()).backward(retain_graph=True)
    before = [*backbone.parameters(), *head.view.parameters(), *head.image2.parameters(), *head.scale2.parameters()]
    assert all(parameter.grad is None for parameter in before)
    (maps["coarse_depth"].square().sum() + maps["coarse_normals"].square().sum()).backward()
    assert all(parameter.grad is not None for parameter in before)


def test_of_a_large_map_the_fully_connected_layer_reads_means_of_squares():
    # 16 x 16 cells of 2,048 channels, ResNet-50's of 512 pixels, become 8 x 8 of 512.
    with torch.device("meta"):
        view = FullImageView(2048, (16, 16), maps=1, grid=(128, 128))
        assert view.square == 2
        assert view.hidden.in_features == 512 * 8 * 8
        assert view(torch.zeros(2, 2048, 16, 16)).shape == (2, 1, 128, 128)
        assert FullImageView(512, (7, 9), maps=1, grid=(2, 2)).square == 1
        assert FullImageView(512, (9, 9), maps=1, grid=(2, 2)).hidden.in_features == 512 * 5 * 5
    small = FullImageView(1, (9, 9), maps=1, grid=(1, 1), width=1)
    assert small(torch.zeros(1, 1, 9, 9)).shape == (1, 1, 1, 1)


def test_what_refines_begins_by_repeating_what_it_is_told():
    backbone, head = made(build_eigen2014, "alexnet", width=16)
    head.fine[-1].weight.data.round_()  # without the noise that is added to it
    maps = raw_maps(backbone, head, torch.randn(2, 3, 64, 64))
    assert torch.allclose(maps["depth"], maps["coarse_depth"], atol=1e-5)


def test_scale_3_of_2015_begins_by_repeating_scale_2():
    backbone, head = made(build_eigen2015, "resnet18", width=16, normals=True, labels=4)
    for stack in head.scale3.values():
        stack[-1].weight.data.round_()  # without the noise that is added to it
    maps = raw_maps(backbone, head, torch.randn(2, 3, 64, 64))
    expected = {name: maps[f"coarse_{name}"] for name in ("depth", "normals", "labels")}
    expected["normals"] = torch.nn.functional.normalize(expected["normals"], dim=1)
    for name, x in expected.items():
        assert torch.allclose(maps[name], resized(x, (32, 32)), atol=1e-5), name
