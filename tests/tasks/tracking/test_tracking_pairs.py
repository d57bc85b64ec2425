"""Pairs of crops: which frames make them, where their target is, and what is changed."""

import pickle

import numpy as np
import pytest

from foveal.core.errors import DataError, UsageError
from foveal.datasets.frames import Frames, Rows
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.tracking.crops import crop, mean_colour
from foveal.tasks.tracking.options import AUGMENTATIONS
from foveal.tasks.tracking.pairs import MOTIONS, Motion, Pairs, Views, crop_around, moved
from foveal.tasks.tracking.region import Region, around, context_square
from foveal.tasks.tracking.transforms import AUGMENTATIONS as TRANSFORMS
from foveal.tasks.tracking.transforms import transform


def double(box: np.ndarray) -> Region:
    return context_square(box).times(2)


VIEWS = Views(context_square, double, 40, 80)
PREPROCESSING = {"size": 256, "resize": "keep", "grey": False, "mean": [0.5] * 3, "std": [0.5] * 3}


class Drawn(Frames):
    """Frames of sequences in memory: a red rectangle, its box, on grey that is another one in each sequence."""

    def __init__(self, lengths=(12, 3, 1), hidden=()):
        sequences = np.repeat(np.arange(len(lengths)), lengths)
        frames = np.concatenate([np.arange(length) for length in lengths])
        left, top = 20 + 5 * frames, 30 + 2 * frames + sequences
        boxes = np.stack((left, top, left + 16 + frames, top + 24 - frames), axis=1)
        visible = ~np.isin(np.arange(len(frames)), hidden)
        names = [f"{sequence}/{frame}.png" for sequence, frame in zip(sequences, frames, strict=True)]
        rows = Rows(sequences, frames, np.where(visible[:, None], boxes, 0), visible)
        super().__init__("/nowhere", names, [f"s{number}" for number in range(len(lengths))], rows)

    def __getitem__(self, index):
        image = np.full((120, 160, 3), 60 + 20 * self.labels[index], np.uint8)
        x1, y1, x2, y2 = self.boxes[index].astype(int)
        image[y1:y2, x1:x2] = (250, 0, 0)
        return {"image": image, "path": self.path(index), "size": (120, 160), **self.truth(index)}


class Unknowing:
    """The same, but one must ask for each frame whether its target is visible."""

    def __init__(self, dataset):
        self.class_names, self.labels, self.asked, self._dataset = dataset.class_names, dataset.labels, [], dataset

    def __len__(self):
        return len(self._dataset)

    def __getitem__(self, index):
        return self._dataset[index]

    def path(self, index):
        return self._dataset.path(index)

    def truth(self, index):
        self.asked.append(index)
        return self._dataset.truth(index)


def number(path: str) -> tuple[int, int]:
    sequence, frame = path.removeprefix("/nowhere/").removesuffix(".png").split("/")
    return int(sequence), int(frame)


# --- which frames -----------------------------------------------------------------------------------------------------


def test_each_frame_with_its_target_is_an_exemplar_once():
    pairs = Pairs(Drawn(hidden=(0, 4)), VIEWS)
    assert len(pairs) == 14
    found = [number(pairs.draw(index, 7)["path"]) for index in range(len(pairs))]
    assert found == [(0, frame) for frame in range(12) if frame not in (0, 4)] + [(1, 0), (1, 1), (1, 2), (2, 0)]
    assert pairs.labels.tolist() == [0] * 10 + [1] * 3 + [2]
    assert [number(pairs.path(index)) for index in range(len(pairs))] == found
    assert pairs.truth(0)["frame"] == 1
    assert pairs.class_names == ["s0", "s1", "s2"]
    assert pairs.fingerprint() == Drawn(hidden=(0, 4)).fingerprint()


def partners(pairs: Pairs, index: int, draws: int = 200) -> set[int]:
    """The frames of all the partners that are drawn, told by their box: a frame's width is 16 + its number."""
    found = set()
    for seed in range(draws):
        pair = pairs.draw(index, seed)
        width, height = pair["box2"][2:] - pair["box2"][:2]
        found.add(round(40 * (width / (width + height)) - 16))  # width + height is 40 in all frames
    return found


def test_partners_are_near_visible_and_others():
    hidden = Drawn(hidden=(0, 4))
    assert partners(Pairs(hidden, VIEWS, max_distance=2), 4) == {5, 7, 8}  # of frame 6; 4 is hidden
    assert partners(Pairs(hidden, VIEWS, max_distance=100), 4) == {1, 2, 3, 5, 7, 8, 9, 10, 11}
    assert partners(Pairs(hidden, VIEWS, max_distance=0), 4) == {6}
    assert partners(Pairs(hidden, VIEWS), 13) == {0}  # a sequence of one frame


@pytest.mark.parametrize("draws", [1, 4])
def test_sequences_give_as_many_pairs_each_with_exemplars_evenly_spread(draws):
    pairs = Pairs(Drawn(), VIEWS, per_sequence=4)
    assert len(pairs) == 12 and pairs.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for seed in range(draws):
        found = [number(pairs.draw(index, seed)["path"]) for index in range(12)]
        assert [frame // 3 for _, frame in found[:4]] == [0, 1, 2, 3]  # a quarter of twelve frames each
        assert {sequence for sequence, _ in found[4:8]} == {1} and {frame for _, frame in found[8:]} == {0}
    assert len({pairs.draw(0, seed)["path"] for seed in range(30)}) == 3


def test_a_data_set_that_has_to_be_asked_is_asked_sequence_by_sequence():
    known, asking = Drawn(hidden=(0, 4)), Unknowing(Drawn(hidden=(0, 4)))
    pairs = Pairs(asking, VIEWS, max_distance=3)
    assert len(pairs) == 16 and asking.asked == []
    paths = [number(pairs.draw(index, 1)["path"]) for index in range(12)]
    assert paths == [(0, max(frame, 1) if frame != 4 else 3) for frame in range(12)]
    assert asking.asked == list(range(12))  # once, and the other sequences not yet
    assert partners(pairs, 6) == partners(Pairs(known, VIEWS, max_distance=3), 4) == {3, 5, 7, 8, 9}


def test_a_sequence_whose_target_is_never_seen_gives_its_turn_to_the_next():
    pairs = Pairs(Unknowing(Drawn(hidden=(12, 13, 14))), VIEWS)
    assert number(pairs.draw(13, 0)["path"]) == (2, 0)
    with pytest.raises(DataError, match="In none of 16 frames a target is visible"):
        Pairs(Drawn(hidden=range(16)), VIEWS)
    with pytest.raises(DataError, match="In none of 3 sequences a target is visible"):
        Pairs(Unknowing(Drawn(hidden=range(16))), VIEWS).draw(0, 0)


def test_frames_of_a_subset_are_still_told_apart_by_their_numbers():
    dataset = Drawn().subset(np.array([0, 5, 11, 12]))
    assert partners(Pairs(dataset, VIEWS, max_distance=5), 0) == {5}
    assert partners(Pairs(dataset, VIEWS, max_distance=5), 2) == {11}


# --- where the target is ----------------------------------------------------------------------------------------------


def red(crop: np.ndarray) -> np.ndarray:
    """How red each pixel is, 0 on grey and 1 on the target, (H, W)."""
    colours = crop.astype(float)
    return np.clip((colours[..., 0] - colours[..., 1]) / 250, 0, 1)


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("regions", [(context_square, double), (lambda box: around(box, 2),) * 2])
def test_the_box_is_where_the_target_is(motion, regions):
    pairs = Pairs(Drawn(), Views(*regions, 63, 90), motion=MOTIONS[motion])
    for index in range(12):
        pair = pairs.draw(index, index)
        assert pair["image"].shape == (63, 63, 3) and pair["image2"].shape == (90, 90, 3)
        assert pair["box2"].shape == (4,) and pair["box2"].dtype == np.float32 and pair["size"] == (120, 160)
        found = red(pair["image2"])
        x1, y1, x2, y2 = pair["box2"].round().astype(int).clip(0, 90)
        assert (found[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2] > 0.95).all()
        found[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = 0
        assert found.max() < 0.05


def test_without_motion_both_targets_are_in_the_middle():
    for index in range(8):
        pair = Pairs(Drawn(), VIEWS).draw(index, index)
        assert (pair["box2"][:2] + pair["box2"][2:]) / 2 == pytest.approx([40, 40], abs=1e-4)
        rows, columns = np.nonzero(red(pair["image"]) > 0.5)
        assert [columns.mean() + 0.5, rows.mean() + 0.5] == pytest.approx([20, 20], abs=0.6)


def test_a_shift_and_a_stretch_stay_within_their_limits_and_use_them():
    box, rng, found = np.array([10.0, 20, 50, 80]), np.random.default_rng(3), []
    plain = context_square(box)
    for _ in range(500):
        region = moved(box, context_square, Motion(shift=0.15, stretch=0.1), rng)
        across, down = region.width / plain.width, region.height / plain.height
        found.append((across, down, *(region.from_frame(box, 200)[:2] + region.from_frame(box, 200)[2:]) / 2 - 100))
    lowest, highest = np.min(found, axis=0), np.max(found, axis=0)
    assert (lowest[:2] >= 0.9).all() and (lowest[:2] < 0.91).all() and (highest[:2] <= 1.1).all()
    assert (lowest[2:] >= -30).all() and (lowest[2:] < -29).all() and (highest[2:] <= 30.0001).all()
    assert np.abs(np.corrcoef(np.array(found).T) - np.eye(4)).max() < 0.15  # each by itself


def test_the_motion_model_of_goturn():
    box, rng = np.array([0.0, 0, 100, 40]), np.random.default_rng(0)
    regions = [moved(box, lambda box: around(box, 2), MOTIONS["goturn"], rng) for _ in range(4000)]
    shifts = np.array([((region.x - 50) / 100, (region.y - 20) / 40) for region in regions])
    factors = np.array([(region.width / 200, region.height / 80) for region in regions])
    # The mean of a Laplace distribution's distance from its middle is its scale.
    assert np.abs(shifts).mean(axis=0) == pytest.approx([1 / 5, 1 / 5], rel=0.06)
    assert np.abs(factors - 1).mean(axis=0) == pytest.approx([1 / 15, 1 / 15], rel=0.06)
    assert factors.min() >= 0.6 - 1e-9 and factors.max() <= 1.4 + 1e-9
    assert (np.abs(shifts) <= factors + 1e-9).all() and np.abs(shifts).max() > 0.8


def test_beyond_the_border_is_the_mean_colour_and_inside_nothing_depends_on_it():
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    for side in (11.0, 30.0, 39.0, 65.3):
        for x in np.arange(-10, 71, 2.7):
            for y in (4.0, 25.0, 46.0):
                region = Region(float(x), y, side, side * 0.8)
                expected = crop(image, region, 16, mean_colour(image))
                assert (crop_around(image, region, 16) == expected).all()


def test_a_pair_is_a_function_of_its_number_and_the_seed():
    pairs = Pairs(Drawn(), VIEWS, motion=MOTIONS["siamrpn"])
    first = pairs.draw(3, 2**64 - 1)
    pairs.draw(5, 1)
    again = pickle.loads(pickle.dumps(Pairs(Drawn(), VIEWS, motion=MOTIONS["siamrpn"]))).draw(3, 2**64 - 1)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert any(not np.array_equal(first[key], pairs.draw(3, 1)[key]) for key in first)
    assert not np.array_equal(pairs.draw(4, 1)["box2"], pairs.draw(3, 1)["box2"])
    assert np.array_equal(pairs[3]["image2"], pairs.draw(3, 0)["image2"])
    with pytest.raises(IndexError):
        pairs[16]


def test_pairs_of_the_drawn_world():
    world = ShapesWorld("tracking", "train", images=96, size=64)
    pairs = Pairs(world, VIEWS, per_sequence=2, max_distance=5)
    for index in range(4):
        pair = pairs.draw(index, 5)
        assert pair["path"].startswith("shapes/train/0000") and (pair["box2"][2:] > pair["box2"][:2]).all()
    assert pairs.labels.tolist() == [0, 0, 1, 1]


# --- colours ----------------------------------------------------------------------------------------------------------


def colourful() -> dict:
    rng = np.random.default_rng(0)
    sides = {"image": 24, "image2": 48}
    pair = {key: rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8) for key, side in sides.items()}
    pair = {key: value.repeat(8, axis=0).repeat(8, axis=1) for key, value in pair.items()}
    return {**pair, "box2": np.array([1, 2, 3, 4], np.float32), "path": "a", "size": (9, 9)}


def test_the_names_are_those_of_the_options():
    assert tuple(TRANSFORMS) == tuple(MOTIONS) == AUGMENTATIONS
    with pytest.raises(UsageError, match="There is no augmentation 'photo'"):
        transform(PREPROCESSING, "photo")


@pytest.mark.parametrize("name", ["none", "siamfc", "goturn"])
def test_what_is_random_at_the_cutting_alone_changes_no_pixel(name):
    pair = colourful()
    changed = transform(PREPROCESSING, name)(pair, 3)
    assert changed.keys() == pair.keys() and all(changed[key] is pair[key] for key in pair)


def test_frames_stay_as_they_are():
    frame = {"image": colourful()["image2"], "path": "a", "size": (48, 48), "boxes": np.float32([[1, 2, 30, 40]])}
    for name in AUGMENTATIONS:
        changed = transform(PREPROCESSING, name)(frame, 3)
        assert (changed["image"] == frame["image"]).all() and changed["boxes"].tolist() == [[1, 2, 30, 40]]


def grey(image: np.ndarray) -> bool:
    return bool((np.ptp(image, axis=2) == 0).all())


def test_colours_change_independently_and_both_are_grey_or_none():
    pair, change, both = colourful(), transform(PREPROCESSING, "siamrpn"), 0
    same = {**pair, "image2": pair["image"]}
    for seed in range(60):
        changed = change(same, seed)
        assert changed["box2"] is pair["box2"] and changed["image"].shape == (24, 24, 3)
        assert grey(changed["image"]) == grey(changed["image2"])
        both += grey(changed["image"])
        assert not np.array_equal(changed["image"], changed["image2"])
    assert 7 <= both <= 25  # a quarter of 60 is 15
    again = pickle.loads(pickle.dumps(change))(pair, 11)
    assert all(np.array_equal(again[key], change(pair, 11)[key]) for key in ("image", "image2"))


def test_blur_is_for_the_search_crop_and_moves_nothing():
    dot = np.zeros((65, 65, 3), np.uint8)
    dot[32, 32] = 255
    change, blurred = transform(PREPROCESSING, "siamrpn"), 0
    for seed in range(60):
        changed = change({"image": dot, "image2": dot}, seed)
        exemplar, search = (changed[key].max(axis=2) for key in ("image", "image2"))
        assert np.count_nonzero(exemplar > 5) == 1
        rows, columns = np.nonzero(search > 5)
        blurred += len(rows) > 1
        assert abs(rows.mean() - 32) <= 0.5 and abs(columns.mean() - 32) <= 0.5
    assert 4 <= blurred <= 20  # a fifth of 60 is 12
