"""FCN: the paper's sizes, its upsampling and its sums."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foveal.core.errors import UsageError
from foveal.tasks.segmentation.fcn import BilinearDeconvolution, SkipFCNHead
from foveal.tasks.segmentation.head import segment


def upsample(x, factor):
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_fcn32s_on_vgg16_without_upsampling_has_134346581_parameters(build_segmenter):
    backbone, head = build_segmenter("fcn32s", "vgg16", num_classes=21, device="meta")
    assert count(backbone, head) - count(head.last_upsampling) == 134_346_581


def test_a_dense_deconvolution_of_64_x_64_has_1806336_weights():
    assert count(BilinearDeconvolution(21, 32, dense=True)) == 21 * 21 * 64 * 64 == 1_806_336


@pytest.mark.parametrize("skips", [1, 2])
def test_a_skip_adds_a_score_layer_and_a_deconvolution_of_4_x_4(build_segmenter, skips):
    networks = [build_segmenter(name, "vgg16", num_classes=21, device="meta") for name in ("fcn32s", "fcn16s", "fcn8s")]
    without_last = [count(*network) - count(network[1].last_upsampling) for network in networks]
    channels = {1: 512, 2: 256}[skips]  # of pool4 and pool3
    assert without_last[skips] - without_last[skips - 1] == channels * 21 + 21 + 21 * 21 * 4 * 4


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "by_channel"])
@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_a_deconvolution_starts_as_bilinear_upsampling_up_to_the_border(factor, dense):
    x = torch.randn(2, 3, 5, 4)
    found = BilinearDeconvolution(3, factor, dense=dense)(x)
    torch.testing.assert_close(found, upsample(x, factor), atol=1e-5, rtol=0)


def test_the_kernel_of_factor_2_is_a_tent():
    kernel = BilinearDeconvolution(1, 2, dense=True).weight[0, 0]
    side = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(kernel, torch.outer(side, side))


def test_only_the_last_deconvolution_stays_as_it_is(build_segmenter):
    _, head = build_segmenter("fcn8s", "resnet18", device="meta")
    assert [each.weight.requires_grad for each in head.upsamplings] == [True, True]
    assert not head.last_upsampling.weight.requires_grad


def test_scores_start_at_zero(build_segmenter):
    backbone, head = build_segmenter("fcn8s", "resnet18")
    assert not segment(backbone, [head], torch.randn(1, 3, 64, 64))[0].any()


def head_that_passes_on(skips, strides):
    """A head whose scores are the single channel of each map."""
    head = SkipFCNHead([1] * len(strides), strides, 1, skips=skips)
    for score in head.scores:
        nn.init.ones_(score.weight)
    return head


def test_fcn16s_adds_the_coarse_scores_to_those_of_stride_16():
    fine, coarse = torch.randn(1, 1, 6, 4), torch.randn(1, 1, 3, 2)
    found = head_that_passes_on(1, [16, 32])([fine, coarse])
    torch.testing.assert_close(found, upsample(upsample(coarse, 2) + fine, 16), atol=1e-5, rtol=0)


def test_fcn8s_adds_three_maps():
    finest, fine, coarse = torch.randn(1, 1, 12, 8), torch.randn(1, 1, 6, 4), torch.randn(1, 1, 3, 2)
    found = head_that_passes_on(2, [8, 16, 32])([finest, fine, coarse])
    expected = upsample(upsample(upsample(coarse, 2) + fine, 2) + finest, 8)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_fcn32s_reads_the_last_map_alone():
    fine, coarse = torch.full((1, 1, 6, 4), torch.nan), torch.randn(1, 1, 3, 2)
    torch.testing.assert_close(head_that_passes_on(0, [16, 32])([fine, coarse]), upsample(coarse, 32))


@pytest.mark.parametrize(("coarse", "wanted"), [((2, 2), (5, 5)), ((3, 3), (5, 5))], ids=["smaller", "larger"])
def test_maps_whose_sizes_are_no_doubles_meet_in_their_first_corner(coarse, wanted):
    x = torch.arange(float(coarse[0])).view(1, 1, -1, 1).expand(1, 1, *coarse)
    head = head_that_passes_on(1, [16, 32])
    nn.init.zeros_(head.scores[1].weight)
    found = head([torch.zeros(1, 1, *wanted), x])[0, 0, 8::16, 8]  # below the middles of the finer cells
    doubled = {2: [0.0, 0.25, 0.75, 1.0, 1.0], 3: [0.0, 0.25, 0.75, 1.25, 1.75]}[coarse[0]]
    middles = torch.tensor(doubled)
    torch.testing.assert_close(found[1:4], middles[1:4] + (middles[2:5] - middles[1:4]) / 32)


def test_on_a_vgg_the_skips_read_pool3_and_pool4(build_segmenter):
    backbone, head = build_segmenter("fcn8s", "vgg11", channels=8)
    with torch.no_grad():
        maps, (pool3, pool4) = backbone.eval().forward_with(torch.randn(1, 3, 70, 90), ("features.10", "features.15"))
        assert torch.equal(head.pool(maps[0]), pool3) and torch.equal(head.pool(maps[1]), pool4)


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (100, 70)])
@pytest.mark.parametrize("backbone", ["vgg11", "resnet18"])
@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_logits_have_the_size_of_the_image_whatever_it_is(build_segmenter, name, backbone, size):
    network, head = build_segmenter(name, backbone, device="meta")
    (logits,) = segment(network.eval(), [head.eval()], torch.zeros(1, 3, *size, device="meta"))
    assert logits.shape == (1, 3, *size)


def test_a_padded_image_keeps_its_places(build_segmenter):
    class Shrink(nn.Module):
        def forward(self, images):
            return [F.avg_pool2d(images, 16), F.avg_pool2d(images, 32)]

    image = torch.zeros(1, 1, 40, 40)
    image[:, :, :, :20] = 1
    (logits,) = segment(Shrink(), [head_that_passes_on(0, [16, 32])], image)
    # The cells, of 32 pixels, have the means 20 / 32 and 0: half of the way lies at the pixel 32.
    torch.testing.assert_close(logits[0, 0, 0, 31:33].mean(), torch.tensor(10 / 32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet18", "output_stride": 8}, r"model.output_stride is 8, but the head fcn8s on resnet18"),
        ({"backbone": "resnet18", "channels": 64}, r"model.channels is 64, but the head fcn8s on resnet18"),
        ({"backbone": "vgg11", "multi_grid": [1, 2]}, r"model.multi_grid is \[1, 2\], but the head fcn8s on vgg11"),
    ],
)
def test_an_entry_that_would_change_nothing_is_refused(build_segmenter, options, message):
    with pytest.raises(UsageError, match=message):
        build_segmenter("fcn8s", **options, device="meta")
