"""SiamFC: where a response lies, and how the highest becomes a box."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.core.errors import UsageError
from foveal.tasks.tracking.embedding import UnpaddedAlexNet
from foveal.tasks.tracking.options import TrackerSettings
from foveal.tasks.tracking.response import upsample
from foveal.tasks.tracking.siamfc import SiamFCHead

ONE = TrackerSettings(scales=1, window=0.0)
BOX = np.array([[100.0, 110.0, 155.0, 145.0]])  # in the middle of a search crop of 255


def middle(found):
    return ((found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - 127.5).tolist()


def responses(*peaks, scales=1, height=1.0):
    """(1, scales, 1, 17, 17): zeros, with a peak at each (scale, row, column)."""
    out = torch.zeros(1, scales, 1, 17, 17)
    for scale, row, column in peaks:
        out[0, scale, 0, row, column] = height
    return out


def test_the_response_is_the_correlation_of_the_paper_with_gain_and_bias():
    torch.manual_seed(0)
    head = SiamFCHead((4,), exemplar_size=31, search_size=63, margin=1)
    assert (head.gain.item(), head.bias.item()) == (pytest.approx(1e-3), 0)
    with torch.no_grad():
        head.gain.fill_(2.0), head.bias.fill_(-3.0)
    exemplar, search = torch.randn(2, 4, 5, 5), torch.randn(2, 4, 9, 9)
    template = head.remember(exemplar)
    found = head(template, search)
    assert torch.equal(template, exemplar[:, :, 1:-1, 1:-1]) and found.shape == (2, 1, 5, 5)
    for row in range(5):
        for column in range(5):
            part = search[:, :, row + 1 : row + 4, column + 1 : column + 4]
            assert torch.allclose(found[:, 0, row, column], 2 * (template * part).sum(dim=(1, 2, 3)) - 3, atol=1e-4)


def test_an_image_that_moves_by_whole_cells_moves_the_response_by_as_many():
    torch.manual_seed(0)
    network, head = UnpaddedAlexNet(channels=8).eval(), SiamFCHead((8,))
    image = torch.randn(1, 3, 320, 320)
    with torch.no_grad():
        template = head.remember(network(image[:, :, 96:223, 96:223])[0])
        still = head(template, network(image[:, :, 32:287, 32:287])[0])
        moved = head(template, network(image[:, :, 16:271, 40:295])[0])  # the target is 16 lower, and 8 to the left
        own = template.square().sum() * head.gain
    assert still.shape == (1, 1, 17, 17)
    assert torch.allclose(moved[:, :, 2:, :-1], still[:, :, :-2, 1:], atol=1e-4)
    assert still[0, 0, 8, 8].item() == pytest.approx(own.item(), rel=1e-4)  # the exemplar is the crop's middle
    assert moved[0, 0, 10, 7].item() == pytest.approx(own.item(), rel=1e-4)


@pytest.mark.parametrize(("row", "column"), [(8, 8), (8, 9), (3, 12), (16, 0)])
def test_a_cell_stands_for_a_displacement_of_its_distance_from_the_middle_times_the_stride(row, column):
    found = SiamFCHead((4,)).locate(responses((0, row, column)), BOX, ONE)
    assert middle(found) == [[8 * (column - 8), 8 * (row - 8)]]  # the paper's stride * r - (255 - 127) / 2
    assert (found.boxes[:, 2:] - found.boxes[:, :2]).tolist() == [[55, 35]]
    assert found.scores.tolist() == [pytest.approx(1 / (1 + np.exp(-1)))]


def test_the_upsampled_grid_has_each_cell_and_is_symmetric():
    line = torch.arange(5.0).expand(1, 1, 5, 5)
    fine = upsample(line, 4)
    assert fine.shape == (1, 1, 17, 17)
    assert torch.equal(fine[..., ::4, ::4], line)
    assert torch.allclose(fine.flip(-1), 4 - fine, atol=1e-6)
    between = responses((0, 8, 8), (0, 8, 9), (0, 4, 8), (0, 4, 9))  # two rows of two: nothing is higher than a middle
    between[0, 0, 0, 4] /= 2
    assert middle(SiamFCHead((4,)).locate(between, BOX, ONE)) == [[4, 0]]


def test_a_place_is_found_at_a_sixteenth_of_a_cell():
    # A parabola with its top 3/16 of a cell to the right and 5/16 up; the interpolation is exact on it.
    cells = torch.arange(17.0) - 8
    out = -((cells - 3 / 16).square()[None, :] + (cells + 5 / 16).square()[:, None])
    (found,) = middle(SiamFCHead((4,)).locate(out[None, None, None], BOX, ONE))
    assert found == [pytest.approx(1.5, abs=1e-9), pytest.approx(-2.5, abs=1e-9)]


def test_the_size_goes_a_share_of_the_way_to_the_best_scale():
    head, settings = SiamFCHead((4,)), TrackerSettings(scales=3, scale_step=1.1, scale_rate=0.5, window=0)
    larger = head.locate(responses((2, 8, 10), scales=3), BOX, settings)
    assert middle(larger) == [[pytest.approx(16 * 1.1), 0]]  # two cells of a crop that shows 1.1 times as much
    assert (larger.boxes[0, 2:] - larger.boxes[0, :2]).tolist() == [pytest.approx(55 * 1.05), pytest.approx(35 * 1.05)]
    smaller = head.locate(responses((0, 8, 8), scales=3), BOX, settings)
    assert smaller.boxes[0, 2] - smaller.boxes[0, 0] == pytest.approx(55 * (1 + 0.5 * (1 / 1.1 - 1)))


@pytest.mark.parametrize("shift", [0.0, -7.0, 7.0])  # a logit's zero means nothing to the penalty
def test_other_scales_have_to_be_better_by_the_penalty(shift):
    head, settings = SiamFCHead((4,)), TrackerSettings(scale_penalty=0.9, window=0)
    out = responses((1, 8, 8), scales=3)
    for height, changes in ((1.05, False), (1.15, True)):
        out[0, 2, 0, 4, 4] = height
        found = head.locate(out + shift, BOX, settings)
        assert (found.boxes[0, 2] - found.boxes[0, 0] > 55.1) == changes
        assert (middle(found)[0][0] < -1) == changes
        best = height if changes else 1.0
        assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-best - shift)), rel=1e-4)  # without the penalty


def test_a_near_response_beats_a_far_one_by_the_window():
    head = SiamFCHead((4,))
    cells = torch.arange(17.0) - 8

    def hill(column):
        return torch.exp(-((cells[None, :] - column).square() + cells[:, None].square()) / 4)

    out = torch.maximum(hill(1), 1.05 * hill(7))[None, None, None]
    assert middle(head.locate(out, BOX, ONE))[0][0] == pytest.approx(56, abs=0.5)
    assert middle(head.locate(out, BOX, replace(ONE, window=0.3)))[0][0] == pytest.approx(8, abs=2)
    there = BOX + np.array([56.0, 0, 56, 0])  # the window is where the target was
    assert middle(head.locate(out, there, replace(ONE, window=0.3)))[0][0] == pytest.approx(56, abs=2)


@pytest.mark.parametrize("window", [0.0, 0.176])
@pytest.mark.parametrize("level", [0.0, 3.0])
def test_where_all_looks_alike_the_box_stays(window, level):
    torch.manual_seed(0)
    out = torch.full((1, 3, 1, 17, 17), level) + 1e-7 * torch.randn(1, 3, 1, 17, 17) * level
    found = SiamFCHead((4,)).locate(out, BOX, TrackerSettings(window=window))
    assert np.abs(found.boxes - BOX).max() <= (0.5 if window or not level else 70)  # a sixteenth of a cell
    assert np.array_equal(found.boxes[:, 2:] - found.boxes[:, :2], BOX[:, 2:] - BOX[:, :2])


def test_an_offset_of_the_crop_goes_into_the_place():
    head, settings = SiamFCHead((4,)), TrackerSettings(scales=3, scale_step=1.25, window=0)
    offsets = np.array([[[9.0, 9.0], [1.0, 2.0], [-3.0, 4.0]]])
    assert middle(head.locate(responses((1, 8, 8), scales=3), BOX, settings, offsets=offsets)) == [[1, 2]]
    assert middle(head.locate(responses((2, 8, 9), scales=3), BOX, settings, offsets=offsets)) == [[6.25, 5]]
    flat = head.locate(responses(scales=3), BOX, TrackerSettings(), offsets=offsets)
    assert np.abs(middle(flat)).max() <= 0.25  # the window's top, to a sixteenth of a cell


def test_the_loss_counts_cells_near_the_target_as_positive():
    head = SiamFCHead((4,))
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0]]) + 127.5 - 20 + torch.tensor([[16.0, 0.0, 16.0, 0.0]])
    right = torch.full((1, 1, 17, 17), -20.0)
    right[0, 0, 8, 8:13] = right[0, 0, 7:10, 9:12] = right[0, 0, 6:11, 10] = 20.0  # two cells around (8, 10)
    assert head.losses(right, boxes)["logistic"].item() < 1e-6
    assert head.losses(torch.zeros(1, 1, 17, 17), boxes)["logistic"].item() == pytest.approx(np.log(2))
    assert head.losses(right.bfloat16(), boxes.bfloat16())["logistic"].dtype == torch.float32


def test_the_regions_are_the_papers():
    head = SiamFCHead((4,))
    exemplar = head.exemplar_region(np.array([10.0, 10.0, 50.0, 110.0]))
    assert (exemplar.x, exemplar.y) == (30, 60)
    assert exemplar.width**2 == pytest.approx((40 + 70) * (100 + 70))  # (w + 2p)(h + 2p), p = (w + h) / 4
    assert head.search_region(np.array([10.0, 10.0, 50.0, 110.0])).width == pytest.approx(exemplar.width * 255 / 127)


def test_sizes_without_a_middle_are_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"search_size is 260, .* multiple of 16, .* take 255 or 271"):
        SiamFCHead((4,), search_size=260)
    with pytest.raises(UsageError, match="take 143 or 159"):
        SiamFCHead((4,), search_size=127)
    assert SiamFCHead((4,), search_size=271).cells == 19


def test_a_drawn_change_of_scale_is_found():
    torch.manual_seed(0)
    target = F.interpolate(torch.randn(1, 3, 10, 10), (60, 60), mode="bicubic")
    head, settings = SiamFCHead((3,)), TrackerSettings(scales=5, scale_step=1.15)

    def scene(factor, side):  # of crops that show `factor` times as much: the target is so much smaller in them
        size = round(60 / factor)
        out = torch.zeros(1, 3, side, side)
        start = (side - size) // 2
        part = F.interpolate(target, (size, size), mode="bilinear", antialias=True)
        out[:, :, start : start + size, start : start + size] = part
        return F.normalize(F.avg_pool2d(out, 8), dim=(1, 2, 3))  # of one length, so that no scale is the brighter

    template = head.remember(scene(1, 127))
    for change in (1.15**-1, 1.0, 1.15, 1.15**2):
        maps = torch.cat([scene(factor / change, 255) for factor in settings.factors])
        outputs = head(template.expand(5, -1, -1, -1), maps)[None]
        box = head.locate(outputs, BOX, settings).boxes[0]
        assert (box[2] - box[0]) / 55 == pytest.approx(1 + 0.59 * (change - 1))
