"""The boxes that SiamRPN starts from, and what it is told about them: numbers by hand."""

import math

import pytest
import torch
from torchvision.ops import box_convert, box_iou

from foveal.tasks.tracking.anchors import RATIOS, anchor_grid, choose, decode, encode


def boxes(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def test_the_grid_lies_around_the_middle_of_the_crop():
    grid = anchor_grid(17, stride=8, search_size=255)
    assert grid.shape == (5, 17, 17, 4) and grid.dtype == torch.float32
    centres = box_convert(grid, "xyxy", "cxcywh")[..., :2]
    # Rows first: of one row all y are equal. The first is 8 * 8 pixels before the middle, 127.5.
    assert centres[2, 0, 0].tolist() == [63.5, 63.5] and centres[2, 0, 1].tolist() == [71.5, 63.5]
    assert torch.equal(centres[:, 8, 8], torch.full((5, 2), 127.5))
    turned = 255 - grid.flip(1, 2)[..., [2, 3, 0, 1]]  # by half a turn around the middle of the crop
    assert torch.allclose(turned, grid)


@pytest.mark.parametrize("cells", [1, 2, 17, 24])
def test_the_mean_of_all_anchors_is_the_middle(cells):
    grid = anchor_grid(cells, stride=8, search_size=271)
    assert torch.allclose(grid.mean(dim=(0, 1, 2)).view(2, 2).mean(dim=0), torch.full((2,), 135.5))


def test_anchors_have_the_area_of_a_square_and_the_proportions_asked_for():
    width, height = box_convert(anchor_grid(1, stride=8, search_size=255)[:, 0, 0], "xyxy", "xywh")[:, 2:].T
    assert torch.allclose(height / width, torch.tensor(RATIOS))
    assert torch.allclose(height * width, torch.full((5,), 4096.0))
    assert (width[2], height[2]) == (64, 64)


def test_offsets_by_hand():
    # The anchor: middle (50, 50), 20 wide and 40 high. The box: middle (60, 40), as wide and half as high.
    offsets = encode(boxes([50, 30, 70, 50]), boxes([40, 30, 60, 70]))
    assert torch.allclose(offsets, boxes([10 / 20, -10 / 40, 0, -math.log(2)]))


def test_decoding_is_the_way_back():
    torch.manual_seed(0)
    grid = anchor_grid(17, stride=8, search_size=255).double().flatten(end_dim=2)
    corners = 255 * torch.rand(len(grid), 2, dtype=torch.float64)
    given = torch.cat((corners, corners + 1 + 200 * torch.rand(len(grid), 2, dtype=torch.float64)), dim=1)
    assert torch.allclose(decode(encode(given, grid), grid), given, atol=1e-9)


def test_offsets_of_nonsense_are_no_infinite_boxes():
    anchor = boxes([0, 0, 64, 64])
    assert (decode(boxes([0, 0, 1e6, 1e6]), anchor)[..., 2:] - 32).allclose(torch.tensor(32000.0))
    assert (decode(boxes([0, 0, -1e6, -1e6]), anchor).diff(dim=1)[:, 1:] > -64).all()


# Four squares of 10 x 10, moved to the right by 0, 2, 4 and 9: of the first they share 10, 8, 6 and 1 columns.
ROW = boxes([0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10], [9, 0, 19, 10])


def test_overlaps_by_hand():
    overlaps = box_iou(ROW[:1], ROW)[0]
    assert torch.allclose(overlaps, torch.tensor([10 / 10, 8 / 12, 6 / 14, 1 / 19]))


def test_what_overlaps_in_part_is_not_learnt_from():
    chosen = choose(ROW, ROW[:1], torch.zeros(1, 4))
    assert chosen.target.tolist() == [[True, True, False, False]]  # 1 and 0.67, above 0.6
    assert chosen.other.tolist() == [[False, False, False, True]]  # 0.05, below 0.3; 0.43 lies between


def test_a_target_that_no_anchor_matches_has_the_nearest():
    # 30 x 10: of the squares the first three lie within it, 100 of 300 shared, and the last as well.
    wide = boxes([0, 0, 30, 10])
    far = boxes([40, 40, 50, 50], [0, 0, 10, 20])  # shares nothing; and 100 of 400
    chosen = choose(torch.cat((ROW[:1], far)), wide, torch.zeros(1, 3))
    assert chosen.target.tolist() == [[True, False, False]] and chosen.other.tolist() == [[False, True, True]]


def test_a_target_outside_of_all_anchors_has_none():
    chosen = choose(ROW, boxes([100, 100, 110, 110]), torch.zeros(1, 4))
    assert not chosen.target.any() and chosen.other.all()


def test_at_most_16_with_the_target_and_64_in_all():
    moved = torch.arange(40)[:, None] * torch.tensor([0.05, 0, 0.05, 0]) + ROW[:1]  # at most by 1.95: all above 0.6
    far = ROW[:1] + 100 + torch.arange(80)[:, None]
    mistaken = torch.arange(120.0)[None]  # the last are the most mistaken
    chosen = choose(torch.cat((moved, far)), ROW[:1], mistaken)
    assert chosen.target[0].nonzero().flatten().tolist() == list(range(16))  # the nearest
    assert chosen.other[0].nonzero().flatten().tolist() == list(range(120 - 48, 120))


def test_each_pair_has_its_own_choice():
    both = choose(ROW, ROW[[0, 3]], torch.zeros(2, 4))
    for row, each in enumerate((0, 3)):
        alone = choose(ROW, ROW[[each]], torch.zeros(1, 4))
        assert torch.equal(both.target[row], alone.target[0]) and torch.equal(both.other[row], alone.other[0])
