"""Boxes of several looks at an image become one set: mirrored, at other sizes, in tiles."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from foveal.core.tiles import Tile, Tiling
from foveal.core.types import Prediction
from foveal.tasks.detection.merge import BoxJoiner, flip_boxes, join, join_tiles, predict_augmented, scale_boxes
from foveal.tasks.detection.suppression import Candidates, Suppression

SUPPRESSION = Suppression(score=0.05, iou=0.5, most=100)


def test_a_flipped_box_lies_as_far_from_the_other_side():
    assert flip_boxes(torch.tensor([[1.0, 2, 4, 8]]), width=10).tolist() == [[6, 2, 9, 8]]


def test_a_scaled_box_goes_by_height_and_width():
    assert scale_boxes(torch.tensor([[1.0, 2, 4, 8]]), before=(10, 10), after=(5, 30)).tolist() == [[3, 1, 12, 4]]


def test_joined_copies_are_one_and_others_stay():
    one = Candidates(torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]]), torch.tensor([0.9, 0.6]), torch.tensor([0, 1]))
    two = Candidates(torch.tensor([[0.0, 0, 10, 11]]), torch.tensor([0.8]), torch.tensor([0]))
    both = join([one, two], SUPPRESSION)
    assert both.boxes.tolist() == one.boxes.tolist() and both.labels.tolist() == [0, 1]


# --- test-time augmentation -------------------------------------------------------------------------------------------


def bright(images: torch.Tensor, shapes) -> list[Candidates]:
    """A detector of one bright rectangle: the box around pixels above 127, where it does not lie in the padding."""
    found = []
    for image, (height, width) in zip(images, shapes, strict=True):
        rows, columns = (image[0] > 127).nonzero(as_tuple=True)
        assert rows.max() < height and columns.max() < width
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        found.append(Candidates(torch.tensor([box]).float(), torch.tensor([0.9]), torch.tensor([0])))
    return found


@pytest.fixture
def images() -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Two images with a rectangle each, the second padded from 40 x 60 to 80 x 100."""
    batch = torch.zeros(2, 3, 80, 100, dtype=torch.uint8)
    batch[0, :, 20:40, 60:90] = 255
    batch[1, :, 4:20, 8:24] = 255
    return batch, [(80, 100), (40, 60)]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5,), (0.5, 1.0, 2.0)])
def test_a_detector_that_is_right_stays_right_however_often_it_looks(images, flip, scales):
    found = predict_augmented(bright, *images, flip=flip, scales=scales, suppression=SUPPRESSION)
    assert [len(candidates.labels) for candidates in found] == [1, 1]
    torch.testing.assert_close(found[0].boxes, torch.tensor([[60.0, 20, 90, 40]]), atol=1, rtol=0)
    torch.testing.assert_close(found[1].boxes, torch.tensor([[8.0, 4, 24, 20]]), atol=1, rtol=0)


def test_an_image_is_looked_at_once_for_each_size_and_side(images):
    seen = []

    def record(batch, shapes):
        seen.append((tuple(batch.shape), shapes[1], batch.dtype, bool((batch[0] > 127).float().mean() > 0)))
        return bright(batch, shapes)

    predict_augmented(record, *images, flip=True, scales=(0.5, 1.0), suppression=SUPPRESSION)
    half, whole = ((2, 3, 40, 50), (20, 30)), ((2, 3, 80, 100), (40, 60))
    assert seen == [(*look, torch.uint8, True) for look in (half, half, whole, whole)]


def test_a_mirrored_look_finds_what_the_other_missed(images):
    def left_half_only(batch, shapes):
        found = bright(batch, shapes)
        return [
            Candidates(*(column[each.boxes[:, 2] < shape[1] / 2] for column in each))
            for each, shape in zip(found, shapes, strict=True)
        ]

    once = predict_augmented(left_half_only, *images, flip=False, scales=(1.0,), suppression=SUPPRESSION)
    twice = predict_augmented(left_half_only, *images, flip=True, scales=(1.0,), suppression=SUPPRESSION)
    assert [len(each.labels) for each in once] == [0, 1]
    assert [each.boxes.tolist() for each in twice] == [[[60, 20, 90, 40]], [[8, 4, 24, 20]]]


def test_one_look_is_left_as_it_is(images):
    found = [Candidates(torch.zeros(3, 4), torch.zeros(3), torch.zeros(3).long())] * 2
    same = predict_augmented(lambda *_: found, *images, flip=False, scales=(1.0,), suppression=SUPPRESSION)
    assert all(one is other for one, other in zip(same, found, strict=True))


# --- tiles ------------------------------------------------------------------------------------------------------------


def part(boxes, scores, labels=None, size=(100, 100)) -> Prediction:
    labels = labels or [0] * len(boxes)
    return Prediction(
        path="a.jpg",
        size=size,
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        scores=torch.tensor(scores, dtype=torch.float32),
        names=[f"class {label}" for label in labels],
    )


def test_boxes_move_with_their_tile_and_keep_their_names():
    parts = [part([[10, 10, 30, 30]], [0.5], [1]), part([[20, 40, 50, 60]], [0.9], [0]), part([], [], size=(100, 180))]
    whole = join_tiles(parts, [(0, 0), (0, 80), (0, 0)], (100, 180), suppression=SUPPRESSION)
    assert (whole["path"], whole["size"], whole["names"]) == ("a.jpg", (100, 180), ["class 0", "class 1"])
    assert whole["boxes"].tolist() == [[100, 40, 130, 60], [10, 10, 30, 30]]
    assert whole["scores"].tolist() == pytest.approx([0.9, 0.5])


def test_a_cut_box_goes_for_the_whole_one_whatever_their_scores():
    # An object from x = 85 to 115, of which the first tile (0 to 100) sees one half, and the second (80 to 180) all.
    parts = [part([[85, 10, 100, 40]], [0.99]), part([[5, 10, 35, 40]], [0.6])]
    whole = join_tiles(parts, [(0, 0), (0, 80)], (100, 180), suppression=SUPPRESSION)
    assert whole["boxes"].tolist() == [[85, 10, 115, 40]]
    assert whole["scores"].tolist() == pytest.approx([0.6])


def test_a_small_object_does_not_make_a_larger_cut_one_go():
    parts = [part([[50, 10, 100, 60]], [0.9]), part([[5, 20, 12, 27]], [0.6])]
    whole = join_tiles(parts, [(0, 0), (0, 80)], (100, 180), suppression=SUPPRESSION)
    assert len(whole["boxes"]) == 2


def test_a_box_at_the_border_of_the_image_is_not_cut():
    # The box ends at the left border of the image; the one around it is another object, of less score.
    parts = [part([[0, 10, 20, 30]], [0.9]), part([], []), part([[0, 0, 60, 60]], [0.6], size=(100, 180))]
    whole = join_tiles(parts, [(0, 0), (0, 80), (0, 0)], (100, 180), suppression=SUPPRESSION)
    assert len(whole["boxes"]) == 2


@pytest.mark.parametrize(("class_agnostic", "left"), [(False, 2), (True, 1)])
def test_classes_are_kept_apart_unless_told_otherwise(class_agnostic, left):
    parts = [part([[85, 10, 100, 40]], [0.9], [0]), part([[5, 10, 35, 40]], [0.6], [1])]
    suppression = Suppression(class_agnostic=class_agnostic)
    assert len(join_tiles(parts, [(0, 0), (0, 80)], (100, 180), suppression=suppression)["boxes"]) == left


def test_nothing_found_anywhere_is_nothing():
    whole = join_tiles([part([], []), part([], [])], [(0, 0), (0, 80)], (100, 180), suppression=SUPPRESSION)
    assert whole["boxes"].shape == (0, 4) and whole["names"] == []


def test_of_an_image_that_is_one_tile_all_stays_as_it_is():
    only = part([[10, 10, 30, 30], [10, 10, 30, 31]], [0.9, 0.8])  # which soft suppression would weaken once more
    joiner = BoxJoiner((100, 100), SUPPRESSION)
    joiner.add(only, Tile(0, 0, 100, 100))
    assert joiner.result() is only


def test_more_may_stay_than_of_one_tile():
    boxes = [[x, y, x + 5, y + 5] for x in range(10, 80, 8) for y in range(10, 80, 8)]
    parts = [part(boxes, [0.5] * 81), part(boxes, [0.5] * 81)]
    assert len(join_tiles(parts, [(0, 0), (0, 100)], (100, 200), suppression=SUPPRESSION)["boxes"]) == 162


def look(truth: torch.Tensor, labels: torch.Tensor, top: int, left: int, size: tuple[int, int]) -> Prediction:
    """A detector that finds every object in its tile, cut to it, but what is smaller than a fiftieth of the tile; and
    is surer of parts than of wholes.
    """
    height, width = size
    limits = torch.tensor([width, height, width, height])
    seen = (truth - torch.tensor([left, top, left, top])).clamp(min=0).minimum(limits)
    sides = seen[:, 2:] - seen[:, :2]
    large = (sides.min(dim=1).values > 0) & (sides.max(dim=1).values > max(size) / 50)
    share = sides.prod(dim=1) / (truth[:, 2:] - truth[:, :2]).prod(dim=1)
    return part(seen[large].tolist(), (1 - share[large] / 2).tolist(), labels[large].tolist(), size)


@pytest.mark.parametrize("seed", range(3))
def test_objects_on_borders_of_tiles_are_found_once(seed):
    rng = np.random.default_rng(seed)
    size, side, overlap = (1500, 2200), 640, 0.2
    # A grid of objects that lie apart, from 15 to 120 pixels, anywhere over the borders (tiles overlap by 128); and two
    # that are larger than a tile.
    places = [(x, y) for x in range(0, 2100, 150) for y in range(0, 700, 150)]
    sides = rng.uniform(15, 120, (len(places), 2))
    small = torch.tensor(
        [[x + 10, y + 10, x + 10 + w, y + 10 + h] for (x, y), (w, h) in zip(places, sides, strict=True)]
    )
    truth = torch.cat((small, torch.tensor([[30, 780, 1200, 1490], [1230, 790, 2195, 1440]]))).float()
    labels = torch.from_numpy(rng.integers(0, 3, len(truth)))
    joiner, found = BoxJoiner(size, SUPPRESSION), 0
    for tile in Tiling(side, overlap, whole=True).tiles(size):
        seen = look(truth, labels, tile.top, tile.left, (tile.height, tile.width))
        found += len(seen["boxes"])
        joiner.add(seen, tile)
    assert found > 1.5 * len(truth)
    whole = joiner.result()
    assert len(whole["boxes"]) == len(truth)
    overlaps, nearest = box_iou(truth, whole["boxes"]).max(dim=1)
    assert overlaps.min() > 0.99 and whole["labels"][nearest].equal(labels)


def test_ten_thousand_boxes_are_joined_in_bounded_memory():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 560, (100, 100, 2))
    corner[:, ::4, 0] = 620  # every fourth is cut
    boxes = np.concatenate((corner, np.minimum(corner + 20, 640)), axis=2)
    parts = [part(each.tolist(), rng.uniform(0.3, 1, 100).tolist(), size=(640, 640)) for each in boxes]
    offsets = [(row * 512, column * 512) for row in range(10) for column in range(10)]
    whole = join_tiles(parts, offsets, (5248, 5248), suppression=SUPPRESSION)
    assert 5_000 < len(whole["boxes"]) <= 10_000
