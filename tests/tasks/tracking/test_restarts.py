"""VOT's protocol with a tracker that does what a script says."""

import math

import numpy as np
import pytest

from foveal.tasks.tracking.restarts import Restarts, combine, run_with_restarts

BOX = np.array([10.0, 10, 20, 20])
HALF = np.array([10.0, 10, 20, 15])  # overlaps by half
FAR = np.array([50.0, 50, 60, 60])


class Scripted:
    """Says BOX but in the frames that `says` has something else for; frames know their number by their grey."""

    def __init__(self, says: dict[int, np.ndarray]) -> None:
        self.says, self.seen = says, []

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        self.seen.append(("init", int(image[0, 0, 0]), box.tolist()))

    def update(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        number = int(image[0, 0, 0])
        self.seen.append(("update", number, None))
        return self.says.get(number, BOX), 1.0


def frames(count: int) -> list[np.ndarray]:
    return [np.full((100, 100, 3), number, np.uint8) for number in range(count)]


def run(count: int, says: dict[int, np.ndarray], boxes: np.ndarray | None = None) -> tuple[Restarts, Scripted]:
    tracker = Scripted(says)
    boxes = np.tile(BOX, (count, 1)) if boxes is None else boxes
    return run_with_restarts(tracker, frames(count), boxes), tracker


def test_no_failure_and_ten_frames_that_do_not_count():
    # Half an overlap in frames 1 to 9, which don't count, and in the first that does, 10; 11 is right.
    result, _ = run(12, dict.fromkeys(range(1, 11), HALF))
    assert result == Restarts(accuracy=0.75, failures=0, frames=12, counted=2, starts=(0,), failed=())
    assert result.reliability() == 1


def test_five_frames_behind_a_failure_it_begins_anew():
    result, tracker = run(30, {12: FAR, 27: HALF})
    assert result.failed == (12,) and result.starts == (0, 17)
    # 10 and 11 before the failure; 27, 28 and 29 behind the ten of the restart.
    assert result.counted == 5 and result.accuracy == pytest.approx((1 + 1 + 0.5 + 1 + 1) / 5)
    expected = [0, *range(1, 13), 17, *range(18, 30)]
    assert [number for _, number, _ in tracker.seen] == expected
    assert [what for what in tracker.seen if what[0] == "init"] == [
        ("init", 0, BOX.tolist()),
        ("init", 17, BOX.tolist()),
    ]
    assert result.reliability() == pytest.approx(math.exp(-30 * 1 / 30))
    assert result.reliability(100) == pytest.approx(math.exp(-100 / 30))


def test_a_tracker_that_fails_at_once_always():
    result, _ = run(14, dict.fromkeys(range(14), FAR))
    assert result.starts == (0, 6, 12) and result.failed == (1, 7, 13)
    assert result.accuracy == -1 and result.counted == 0


def test_a_failure_at_the_end_has_no_restart():
    result, _ = run(8, {4: FAR})
    assert result.starts == (0,) and result.failed == (4,)


def test_nan_is_a_failure():
    assert run(3, {2: np.full(4, np.nan)})[0].failed == (2,)


def test_boxes_that_overlap_outside_the_frame_alone_have_lost_the_target():
    boxes = np.tile([90.0, 10, 120, 20], (2, 1))
    assert run(2, {1: np.array([100.0, 10, 120, 20])}, boxes)[0].failed == (1,)


def test_nothing_is_asked_of_frames_without_a_box_and_a_restart_waits_for_one():
    boxes = np.tile(BOX, (16, 1))
    boxes[[0, 3, 9, 10]] = np.nan
    boxes[4] = [5, 5, 5, 5]
    result, tracker = run(16, {3: FAR, 4: FAR, 5: FAR}, boxes)
    assert result.starts == (1, 11) and result.failed == (5,)  # 10 would have been the frame
    assert ("update", 3, None) in tracker.seen
    assert result.frames == 15


def test_no_target_at_all():
    result, tracker = run(3, {}, np.full((3, 4), np.nan))
    assert result == Restarts(-1.0, 0.0, 0, 0) and tracker.seen == [] and result.reliability() == 1


def test_several_sequences_weigh_by_their_length():
    both = combine([Restarts(0.6, 1, 100, 80), Restarts(0.3, 4, 50, 20), Restarts(-1, 0, 0, 0)])
    assert both[:4] == pytest.approx(((60 + 15) / 150, (100 + 200) / 150, 75, 100))
    assert both.reliability() == pytest.approx(math.exp(-30 * 2 / 75))


def test_a_sequence_without_accuracy_counts_its_failures_alone():
    both = combine([Restarts(0.6, 0, 100, 80), Restarts(-1, 3, 50, 0)])
    assert both.accuracy == pytest.approx(0.6) and both.failures == 1
    assert combine([]) == Restarts(-1.0, 0.0, 0, 0)
