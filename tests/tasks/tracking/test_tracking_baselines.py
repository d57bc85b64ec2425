"""Trackers without a network: by hand, on drawn scenes and at the borders."""

import cv2
import numpy as np
import pytest

from foveal.core.errors import UsageError
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.tracking import baselines
from foveal.tasks.tracking.baselines import OpenCVTracker, StaticBox, TemplateMatching, available, baseline
from foveal.tasks.tracking.evaluation import evaluate_tracker

WORLD = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
WORLD = cv2.resize(WORLD[::4, ::4], (400, 300), interpolation=cv2.INTER_CUBIC)


def view(x: int, y: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    """What a camera sees of the world from its pixel (x, y) on: a target moves by as much the other way."""
    return WORLD[y : y + size[0], x : x + size[1]].copy()


def test_a_static_box_stays():
    tracker, box = StaticBox(), np.array([1.5, 2, 3, 4])
    tracker.init(view(0, 0), box)
    box[0] = 7  # the caller's own
    for place in (0, 50):
        found, score = tracker.update(view(place, 0))
        assert found.tolist() == [1.5, 2, 3, 4] and score == 1
        found[:] = 0


def test_a_template_is_found_where_it_moved_to_with_the_fraction_of_its_box():
    tracker = TemplateMatching()
    tracker.init(view(50, 50), np.array([60.25, 40.5, 90.25, 60.5]))
    for x, y, expected in ((45, 53, [65.25, 37.5, 95.25, 57.5]), (45, 53, None), (30, 60, [80.25, 30.5, 110.25, 50.5])):
        found, score = tracker.update(view(x, y))
        assert expected is None or found.tolist() == expected
        assert score == pytest.approx(1, abs=1e-4)


def test_in_a_static_scene_nothing_drifts():
    image, box, tracker = view(50, 50), np.array([40.3, 40.7, 56.1, 52.9]), TemplateMatching()
    tracker.init(image, box)
    for _ in range(500):
        found, _ = tracker.update(image)
    assert found.tolist() == box.tolist()


def test_of_equal_places_the_nearest():
    stripes = np.zeros((100, 100, 3), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 200
    tracker, box = TemplateMatching(), np.array([40.0, 40, 60, 60])
    tracker.init(stripes, box)
    assert tracker.update(stripes)[0].tolist() == box.tolist()
    assert tracker.update(np.roll(stripes, 1, axis=1))[0].tolist() == [41, 40, 61, 60]


def test_it_looks_in_a_region_of_siamfcs_size():
    # A box of 20 x 20: its square with margin has a side of 40, the search region 80.3, of which 30 are on each side.
    black, tracker = np.zeros((200, 300, 3), np.uint8), TemplateMatching()
    patch, box = WORLD[:20, :20], np.array([140.0, 90, 160, 110])

    def scene(step: int) -> np.ndarray:
        image = black.copy()
        image[90:110, 140 + step : 160 + step] = patch
        return image

    for step, seen in ((30, True), (55, False)):
        tracker.init(scene(0), box)
        found, score = tracker.update(scene(step))
        assert (found.tolist() == [140 + step, 90, 160 + step, 110]) == seen
        assert (score > 0.99) == seen


def test_a_target_at_the_border_and_one_that_leaves():
    tracker = TemplateMatching()
    tracker.init(view(50, 50), np.array([-10.0, 50, 20, 70]))  # a third of it is outside
    found, score = tracker.update(view(45, 50))
    assert found.tolist() == [-5, 50, 25, 70] and score == pytest.approx(1, abs=1e-4)
    for x in range(45, 120, 5):
        found, score = tracker.update(view(x, 50))
    assert -15 <= found[0] < 160 and score < 0.9


def test_the_middle_stays_in_the_frame():
    # The patch is grey but for its last five columns, which are all that the second frame shows: at its left border.
    strip, tracker = view(0, 0)[50:70, :5], TemplateMatching()
    first, second = (np.full((120, 160, 3), 128, np.uint8) for _ in range(2))
    first[50:70, 30:35] = strip
    second[50:70, :5] = strip
    tracker.init(first, np.array([5.0, 50, 35, 70]))
    for _ in range(3):
        found, _ = tracker.update(second)
    assert found.tolist() == [-15, 50, 15, 70]  # -25, 50, 5, 70 is where the patch is


@pytest.mark.parametrize("box", [[10, 10, 10.6, 10.6], [159, 119, 160, 120], [0, 0, 160, 120], [0, 0, 400, 400]])
@pytest.mark.parametrize("make", [TemplateMatching, lambda: OpenCVTracker("MIL")])
def test_tiny_and_huge_boxes(box, make):
    tracker, image = make(), view(50, 50)
    tracker.init(image, np.array(box, np.float64))
    found, score = tracker.update(image)
    assert np.isfinite(found).all() and 0 <= score <= 1
    assert found[2:] - found[:2] == pytest.approx(np.array(box[2:]) - box[:2])


@pytest.mark.parametrize("make", [TemplateMatching, lambda: OpenCVTracker("MIL")])
def test_a_box_outside_stays_there_lost(make):
    tracker, image = make(), view(50, 50)
    tracker.init(image, np.array([200.0, 10, 220, 30]))
    found, score = tracker.update(image)
    assert found.tolist() == [200, 10, 220, 30] and score == 0


def test_a_patch_of_one_colour_is_found_nowhere():
    tracker, image = TemplateMatching(), np.full((50, 50, 3), 90, np.uint8)
    tracker.init(image, np.array([10.0, 10, 20, 20]))
    found, score = tracker.update(view(0, 0))
    assert found.tolist() == [10, 10, 20, 20] and score == 0


def test_a_frame_of_one_colour_has_no_target():
    tracker = TemplateMatching()
    tracker.init(view(0, 0), np.array([10.0, 10, 30, 30]))
    found, score = tracker.update(np.full((120, 160, 3), 90, np.uint8))
    assert found.tolist() == [10, 10, 30, 30] and score == 0


class Says:
    """Stands for a tracker of OpenCV, and writes down what it is given."""

    def __init__(self, found: bool, box: tuple[float, ...]) -> None:
        self.answer, self.given, self.blue = (found, box), (), -1

    def init(self, image: np.ndarray, box: tuple[int, ...]) -> None:
        self.given, self.blue = box, int(image[0, 0, 0])

    def update(self, image: np.ndarray) -> tuple[bool, tuple[float, ...]]:
        return self.answer


def test_whole_rectangles_for_opencv_and_back(monkeypatch):
    inner = Says(True, (15, 23, 20, 10))
    monkeypatch.setattr(baselines.cv2, "TrackerMIL_create", lambda: inner)
    tracker, image = OpenCVTracker("MIL"), np.zeros((100, 100, 3), np.uint8)
    image[..., 2] = 50
    tracker.init(image, np.array([10.25, 19.75, 30.25, 30.25]))
    assert inner.given == (10, 20, 20, 10) and all(type(value) is int for value in inner.given)
    assert inner.blue == 50  # OpenCV's order of colours
    found, score = tracker.update(image)
    assert found.tolist() == [15.25, 22.75, 35.25, 33.25] and score == 1
    inner.answer = (False, (0, 0, 0, 0))
    found, score = tracker.update(image)
    assert found.tolist() == [15.25, 22.75, 35.25, 33.25] and score == 0


def test_mil_follows():
    # Chance has its part in it; of 30 runs none was off by more than 1.
    tracker = OpenCVTracker("MIL")
    tracker.init(view(50, 50), np.array([60.0, 40, 90, 60]))
    for step in (4, 8):
        found, score = tracker.update(view(50 - step, 50))
    assert found == pytest.approx([68, 40, 98, 60], abs=5) and score == 1


def test_which_trackers_there_are_is_asked_of_opencv(monkeypatch):
    assert "MIL" in available()
    monkeypatch.setattr(baselines.cv2, "TrackerKCF_create", None, raising=False)
    with pytest.raises(UsageError, match=r"'KCF' .* are: MIL.*another build.*opencv-contrib-python-headless"):
        OpenCVTracker("KCF")
    with pytest.raises(UsageError, match="'nothing' is none of the trackers of this build of OpenCV, which are: MIL"):
        OpenCVTracker("nothing")
    monkeypatch.setattr(baselines.cv2, "TrackerKCF_create", lambda: Says(True, (0, 0, 1, 1)), raising=False)
    assert "KCF" in available()


class Clip:
    """Two sequences of three frames; the target of the second is first seen in its second frame."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict:
        sequence, frame = divmod(index, 3)
        box = [10.0 + 20 * frame, 10, 30 + 20 * frame, 30] if sequence == 0 else [10.0, 10, 30, 30]
        boxes = np.zeros((0, 4)) if (sequence, frame) == (1, 0) else np.array([box])
        path = f"{'ab'[sequence]}/{frame}.jpg"
        return {"image": np.zeros((50, 80, 3), np.uint8), "boxes": boxes, "sequence": sequence, "path": path}


def test_one_pass_of_a_static_box_by_hand():
    run = evaluate_tracker(StaticBox(), Clip())
    rows = {row["name"]: row for row in run.rows()}
    assert (rows["a"]["frames"], rows["a"]["ao"]) == (2, 0)
    assert (rows["b"]["frames"], rows["b"]["ao"]) == (1, 1)
    assert run.summary()["ao"] == pytest.approx(1 / 3) and run.summary()["fps"] > run.summary()["fps_with_decoding"] > 0


def test_a_template_is_better_than_nothing_on_drawn_videos():
    world = ShapesWorld("tracking", "test", images=3 * 48, size=64)
    template, static = (
        evaluate_tracker(tracker, world).summary()["ao"] for tracker in (TemplateMatching(), StaticBox())
    )
    assert template > static + 0.1


def test_trackers_by_their_names():
    assert isinstance(baseline("static")(), StaticBox) and isinstance(baseline("template")(), TemplateMatching)
    assert isinstance(baseline("MIL")(), OpenCVTracker)
    with pytest.raises(UsageError, match="the nearest are static"):
        baseline("statc")
