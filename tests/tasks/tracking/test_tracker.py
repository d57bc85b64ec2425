"""Trackers: what they follow, that they stay where nothing moves, crops that targets share, targets that are lost."""

from dataclasses import replace
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.core.errors import UsageError
from foveal.tasks.tracking.cfnet import CFNetHead
from foveal.tasks.tracking.embedding import UnpaddedAlexNet
from foveal.tasks.tracking.head import Found, TrackingHead
from foveal.tasks.tracking.options import TrackerSettings
from foveal.tasks.tracking.region import around
from foveal.tasks.tracking.search import Grid, part, together
from foveal.tasks.tracking.siamfc import SiamFCHead
from foveal.tasks.tracking.tracker import Tracker, TrackerBatch

BOX = np.array([60.0, 50.0, 92.0, 74.0])


class Embed:
    """Means of 8 x 8 pixels, less grey; counts the crops and the pixels that it sees."""

    def __init__(self):
        self.crops, self.pixels, self.calls = 0, 0, 0

    def __call__(self, images):
        assert images.dtype == torch.uint8 and images.shape[1] == 3
        self.calls, self.crops = self.calls + 1, self.crops + len(images)
        self.pixels += images[:, 0].numel()
        return F.avg_pool2d((images.float() - 128) / 64, 8)


def head(**options):
    """Small crops, so that tests are fast; a gain that makes scores tell."""
    made = SiamFCHead((3,), **{"exemplar_size": 63, "search_size": 127, **options})
    made.requires_grad_(False)
    made.gain.fill_(0.15), made.bias.fill_(-3.0)
    return made


def texture(seed, size=(24, 32)):
    """A target that looks alike nowhere: 3 x 4 patches of strong colours."""
    rng = np.random.default_rng(seed)
    colours = rng.choice([0, 255], (3, 4, 3)).astype(np.uint8)
    return np.kron(colours, np.ones((size[0] // 3, size[1] // 4, 1), np.uint8))


def frame(*places, size=(200, 260), seeds=(0, 1, 2)):
    """Grey, with a texture at each place (left, top), out of focus: sharp edges would fall between the cells."""
    image = np.full((*size, 3), 128, np.uint8)
    for (left, top), seed in zip(places, seeds, strict=False):
        image[top : top + 24, left : left + 32] = texture(seed)
    return cv2.GaussianBlur(image, (0, 0), 3)


def rings(growth=1.0):
    """A target that is symmetric about the middle of its box, and as bright in all sizes."""
    y, x = np.mgrid[0.5:200, 0.5:200] - 100.0
    light = 128 + 100 * np.cos(np.hypot(x, y) / (10 * growth))
    return np.repeat(light.round().astype(np.uint8)[..., None], 3, axis=2)


RINGS = np.array([68.0, 68.0, 132.0, 132.0])


def test_a_target_is_followed_and_its_box_keeps_the_shape_that_was_given():
    tracker = Tracker(Embed(), head())
    tracker.init(frame((60, 50)), BOX)
    for step in range(1, 9):
        box, score = tracker.update(frame((60 + 6 * step, 50 + 3 * step)))
        assert box.shape == (4,) and isinstance(score, float) and 0.5 < score <= 1
        assert np.abs(box - (BOX + np.array([6, 3, 6, 3]) * step)).max() < 2.5
    assert tracker.lost is False


def test_several_targets_are_followed_at_once():
    tracker = Tracker(Embed(), head())
    tracker.init(frame((20, 30), (180, 120)), np.array([[20.0, 30, 52, 54], [180, 120, 212, 144]]))
    for step in range(1, 6):
        boxes, scores = tracker.update(frame((20 + 5 * step, 30), (180, 120 - 5 * step)))
    assert boxes.shape == (2, 4) and scores.shape == (2,) and tracker.lost.tolist() == [False, False]
    assert np.abs(boxes - np.array([[45, 30, 77, 54], [180, 95, 212, 119]])).max() < 2.5


def test_a_symmetric_target_that_stays_is_found_exactly_where_it_was_for_500_frames():
    image = rings()
    tracker = Tracker(Embed(), head(exemplar_size=31, search_size=63), TrackerSettings(upsample=10))
    tracker.init(image, RINGS)
    for _ in range(500):
        found, _ = tracker.update(image)
    assert np.array_equal(found, RINGS)


def test_any_target_that_stays_comes_to_rest():
    tracker = Tracker(Embed(), head())
    image = frame((60, 50))
    tracker.init(image, BOX)
    boxes = [tracker.update(image)[0] for _ in range(100)]
    assert np.abs(boxes[99] - BOX).max() < 2
    assert np.array_equal(boxes[99], boxes[20])


def test_a_target_that_grows_gets_a_larger_box():
    tracker = Tracker(Embed(), head())
    tracker.init(rings(), RINGS)
    for step in range(1, 25):
        found, _ = tracker.update(rings(1.015**step))
    assert 1.3 < (found[2] - found[0]) / 64 < 1.45  # 1.43, at most two steps behind
    assert np.abs((found[:2] + found[2:]) / 2 - 100).max() < 1.1  # a step: a sixteenth of a cell, two pixels a pixel


def test_a_batch_follows_each_target_in_its_own_frames_as_a_tracker_does():
    batch, settings = TrackerBatch(Embed(), head()), TrackerSettings()
    starts, steps = [(60, 50), (100, 80), (150, 20)], [(5, 0), (0, 5), (-5, 5)]
    boxes = np.array([[x, y, x + 32, y + 24] for x, y in starts], np.float64)
    batch.init([7, 3, 5], [frame(start) for start in starts], boxes)
    singles = [Tracker(Embed(), head(), settings) for _ in starts]
    for single, start, box in zip(singles, starts, boxes, strict=True):
        single.init(frame(start), box)
    for time in range(1, 4):
        images = [frame((x + dx * time, y + dy * time)) for (x, y), (dx, dy) in zip(starts, steps, strict=True)]
        order = [2, 0] if time == 2 else [0, 1, 2]  # any of them, in any order
        found, scores = batch.update([(7, 3, 5)[index] for index in order], [images[index] for index in order])
        for row, index in enumerate(order):
            box, score = singles[index].update(images[index])
            assert np.allclose(found[row], box, atol=1e-6) and scores[row] == pytest.approx(score, abs=1e-6)
    assert batch.update([], [])[0].shape == (0, 4)


def test_the_network_sees_all_targets_and_scales_in_one_call():
    embed = Embed()
    batch = TrackerBatch(embed, head())
    images = [frame((60, 50)) for _ in range(4)]
    batch.init(range(4), images, np.tile(BOX, (4, 1)))
    assert (embed.calls, embed.crops) == (1, 4)
    batch.update(range(4), images)
    assert (embed.calls, embed.crops) == (2, 4 + 4 * 3)


@pytest.mark.parametrize(("gap", "shared"), [((13, 7), True), ((20, 10), True), ((130, 90), False)])
def test_near_targets_of_one_frame_share_their_search_images(gap, shared):
    embed, settings = Embed(), TrackerSettings(scale_rate=0.1)
    places = [(50, 40), (50 + gap[0], 40 + 24 + gap[1])]
    boxes = np.array([[x, y, x + 32, y + 24] for x, y in places], np.float64)
    tracker, singles = Tracker(embed, head(), settings), [Tracker(Embed(), head(), settings) for _ in places]
    tracker.init(frame(*places), boxes)
    for single, box in zip(singles, boxes, strict=True):
        single.init(frame(*places), box)
    for step in range(1, 5):
        embed.crops = embed.pixels = 0
        image = frame(*[(x + 4 * step, y + 2 * step) for x, y in places])
        found, _ = tracker.update(image)
        assert embed.crops == (3 if shared else 6)  # one for each scale
        assert (embed.pixels < 6 * 127**2) == shared
        alone = np.stack([single.update(image)[0] for single in singles])
        assert np.abs(found - alone).max() < (2 if shared else 1e-9)


def test_a_part_of_a_common_map_is_the_map_of_the_part():
    torch.manual_seed(0)
    network = UnpaddedAlexNet(channels=4).eval()
    image = torch.randn(1, 3, 400, 400)
    regions = [
        SiamFCHead((4,)).search_region(np.array([x, y, x + 63.5, y + 63.5])) for x, y in ((150, 150), (182, 166))
    ]
    grid = Grid(255, 8, 1.0)
    (search,) = together(regions, [0, 0], grid)
    assert search.size == 255 + 32 and search.members == [0, 1]
    left, top = round(search.region.x - search.size / 2), round(search.region.y - search.size / 2)
    with torch.no_grad():
        whole = network(image[:, :, top : top + search.size, left : left + search.size])[0]
        for region in regions:
            where = part(search, region, 1.0, grid)
            own = region.x - 127.5 + where.offset[0], region.y - 127.5 + where.offset[1]
            x, y = round(own[0]), round(own[1])
            assert np.abs(where.offset).max() <= 4  # half a stride
            assert (where.column, where.row) == ((x - left) // 8, (y - top) // 8)
            alone = network(image[:, :, y : y + 255, x : x + 255])[0]
            cut = whole[:, :, where.row : where.row + 22, where.column : where.column + 22]
            assert torch.allclose(cut, alone, atol=1e-5)


def test_crops_are_shared_only_by_targets_of_one_frame_and_size_that_are_near():
    grid = Grid(127, 8, 1 / 1.0375)
    near = [head().search_region(BOX + shift) for shift in (0, 10)]
    assert len(together(near, [0, 0], grid)) == 1
    assert len(together(near, [0, 1], grid)) == 2
    assert len(together([near[0], near[1].times(1.1)], [0, 0], grid)) == 2
    far = [head().search_region(BOX + np.array([shift, 0, shift, 0])) for shift in (0, 60)]
    assert len(together(far, [0, 0], grid)) == 2  # (127 + 112)^2 pixels are more than twice 127^2


@pytest.mark.parametrize("redetect", [False, True])
def test_a_lost_target_keeps_its_size_and_is_found_again_if_wanted(redetect):
    tracker = Tracker(Embed(), head(), TrackerSettings(redetect=redetect), lost=0.5)
    tracker.init(frame((20, 30), size=(300, 400)), np.array([20.0, 30, 52, 54]))
    tracker.update(frame((22, 30), size=(300, 400)))
    for _ in range(3):
        box, score = tracker.update(frame(size=(300, 400)))
        assert tracker.lost and score < 0.5
    size = box[2:] - box[:2]
    for _ in range(3):
        box, score = tracker.update(frame((333, 247), size=(300, 400)))
    assert tracker.lost != redetect and (score > 0.5) == redetect
    if redetect:
        assert np.abs(box - np.array([333, 247, 365, 271])).max() < 3
    else:
        assert np.allclose(box[2:] - box[:2], size)


def test_a_frame_is_looked_through_once_for_all_lost_targets_of_a_size():
    def looked_through(count):
        embed = Embed()
        tracker = Tracker(embed, head(), TrackerSettings(redetect=True), lost=0.5)
        places = [(20, 30), (200, 30), (20, 140)][:count]
        tracker.init(frame(*places), np.array([[x, y, x + 32, y + 24] for x, y in places], np.float64))
        embed.pixels = 0
        moved = frame(*[(x + 25, 250) for x, _ in places], size=(300, 260))
        boxes, _ = tracker.update(moved[50:])
        assert not tracker.lost.any()
        assert np.abs(boxes[:, :2] - [(x + 25, 200) for x, _ in places][:count]).max() < 4
        return embed.pixels - count * 3 * 127**2

    assert looked_through(2) == looked_through(1) > 0


def test_a_large_frame_is_looked_through_in_tiles(monkeypatch):
    monkeypatch.setattr("foveal.tasks.tracking.redetection._TILE", 64)
    for place in ((2, 3), (360, 1), (1, 270), (365, 272), (170, 133), (233, 111)):
        tracker = Tracker(Embed(), head(), TrackerSettings(redetect=True), lost=0.5)
        tracker.init(frame((180, 30), size=(300, 400)), np.array([180.0, 30, 212, 54]))
        box, score = tracker.update(frame(place, size=(300, 400)))
        assert score > 0.5
        assert np.abs(box[:2] - place).max() < 5  # a cell is 8 pixels of a crop


def test_the_template_follows_at_its_rate_and_not_while_the_target_is_lost():
    image, other = frame((60, 50)), frame((60, 50), seeds=(5,))
    scores = {}
    for rate in (0.0, 0.5):
        tracker = Tracker(Embed(), head(), TrackerSettings(template_rate=rate, scale_rate=0))
        tracker.init(image, BOX)
        scores[rate] = [tracker.update(other)[1] for _ in range(4)]
    assert scores[0.0][3] < 0.5 < scores[0.5][3] and scores[0.0][0] == scores[0.5][0]
    tracker = Tracker(Embed(), head(), TrackerSettings(template_rate=0.5, scale_rate=0), lost=0.999999)
    tracker.init(image, BOX)
    assert [tracker.update(other)[1] for _ in range(4)][3] < 0.5


def test_a_box_keeps_a_pixel_of_the_frame_and_of_size():
    class Away(Still):
        def locate(self, outputs, boxes, settings):
            return Found(boxes + np.array([500.0, -500, 400, -600]), np.ones(len(boxes)))

    tracker = Tracker(Embed(), Away())
    image = frame((60, 50))
    tracker.init(image, BOX)
    for _ in range(3):
        x1, y1, x2, y2 = tracker.update(image)[0]
        assert x2 - x1 >= 1 and y2 - y1 >= 1 and x1 == 260 - 1 and y2 == 1


class Still(TrackingHead):
    """Without scales or a map of responses: its box is where it was, its score how much the crop is the template."""

    name: ClassVar[str] = "still"
    exemplar_size, search_size = 32, 32

    def exemplar_region(self, box):
        return around(box, 1)

    def search_region(self, box):
        return around(box, 1)

    def remember(self, features):
        return features

    def forward(self, templates, features):
        return -(templates - features).square().mean(dim=(1, 2, 3))

    def locate(self, outputs, boxes, settings):
        assert outputs.shape == (len(boxes), 1) and np.allclose(boxes, [[0, 0, 32, 32]])
        return Found(boxes, outputs[:, 0].exp().double().numpy())


def test_a_head_without_scales_sees_one_crop_a_target_and_looks_over_the_frame_in_search_regions():
    embed = Embed()
    tracker = Tracker(embed, Still(), TrackerSettings(redetect=True), lost=0.5)
    tracker.init(frame((64, 48), size=(192, 256)), np.array([64.0, 48, 96, 72]))
    assert embed.crops == 1
    tracker.update(frame((64, 48), size=(192, 256)))
    assert embed.crops == 2
    box, score = tracker.update(
        frame((104, 54), size=(192, 256))
    )  # its middle is that of a region, 7.5 / 16 and 5.5 / 16
    assert embed.crops == 3 + 64
    assert box.tolist() == [104, 54, 136, 78] and score == 1


def test_a_head_that_compares_with_the_frame_before_gets_its_template_anew():
    class Follows(Still):
        follows = True

    scores = {}
    for made in (Still(), Follows()):
        tracker = Tracker(Embed(), made)
        tracker.init(frame((60, 50)), BOX)
        scores[type(made)] = [tracker.update(frame((60, 50), seeds=(5,)))[1] for _ in range(2)]
    assert scores[Follows][1] == 1 > scores[Still][1]


def test_a_correlation_filter_tracks_too():
    made = CFNetHead((3,), exemplar_size=63, search_size=127, ridge=0.1).requires_grad_(False)
    tracker = Tracker(Embed(), made, replace(TrackerSettings(), template_rate=0.01))
    tracker.init(frame((60, 50)), BOX)
    for step in range(1, 9):
        box, _ = tracker.update(frame((60 + 4 * step, 50 + 2 * step)))
    assert np.abs((box[:2] + box[2:]) / 2 - (76 + 32, 62 + 16)).max() < 4


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([10, 10, 10, 20], r"\(10, 10, 10, 20\) in a frame of 260 x 200 .* x1 < x2"),
        ([10, 10, np.nan, 20], "nan"),
        ([260, 10, 270, 20], "lie in the frame"),
        ([-20, 10, 0, 20], "lie in the frame"),
        ([10, 10, 20], r"shape \(3,\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
    ],
)
def test_a_box_that_holds_nothing_is_refused(box, said):
    with pytest.raises(UsageError, match=said):
        Tracker(Embed(), head()).init(frame((60, 50)), np.array(box, np.float64))


def test_what_comes_before_init_or_is_no_image_is_refused():
    tracker = Tracker(Embed(), head())
    with pytest.raises(UsageError, match="call init"):
        tracker.update(frame())
    with pytest.raises(UsageError, match="call init"):
        TrackerBatch(Embed(), head()).update([0], [frame()])
    with pytest.raises(UsageError, match=r"uint8 RGB \(H, W, 3\)"):
        tracker.init(frame()[..., 0], BOX)


def test_a_frame_of_another_size_than_the_first_is_no_matter():
    tracker = Tracker(Embed(), head())
    tracker.init(frame((60, 50)), BOX)
    box, _ = tracker.update(frame((60, 50), size=(90, 100)))
    assert np.abs(box - BOX).max() < 3
