"""PSPNet: means over parts of the map."""

import torch
from torch import nn

from foveal.tasks.segmentation.pspnet import PSPNetHead


def test_the_means_are_over_1_2_3_and_6_parts_a_side_and_have_a_quarter_of_the_channels_each(build_segmenter):
    backbone, head = build_segmenter("pspnet", "resnet50", device="meta")
    x = torch.zeros(2, 2048, 12, 18, device="meta")
    assert backbone.strides == (8, 8)
    assert [tuple(mean(x).shape) for mean in head.means] == [(2, 512, bins, bins) for bins in (1, 2, 3, 6)]
    assert (head.layers[0].in_channels, head.layers[0].out_channels) == (4096, 512)


def test_of_the_numbers_0_to_15_the_four_quarters_have_the_means_2_5_4_5_10_5_and_12_5():
    head = PSPNetHead([4], [8], 3).eval()
    mean = head.means[1]
    nn.init.constant_(mean[1].weight, 0.25)  # of four equal channels
    found = mean(torch.arange(16.0).view(1, 1, 4, 4).expand(1, 4, 4, 4))
    torch.testing.assert_close(found[0, 0], torch.tensor([[2.5, 4.5], [10.5, 12.5]]), atol=1e-3, rtol=0)


def test_each_place_knows_the_whole_map():
    head = PSPNetHead([4], [8], 3, width=8).eval()
    for weights in head.parameters():
        nn.init.uniform_(weights, 0.1, 0.2)  # no ReLU is silent
    x = torch.zeros(1, 4, 20, 20)
    before = head([x])
    x[0, :, 19, 19] = 100
    assert (head([x]) - before).min() > 0


def test_it_learns_from_a_single_image_and_from_maps_with_fewer_cells_than_parts():
    assert PSPNetHead([4], [8], 3)([torch.randn(1, 4, 2, 5)]).shape == (1, 3, 2, 5)
