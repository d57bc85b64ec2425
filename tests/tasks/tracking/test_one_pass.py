"""One pass over sequences of three frames, by hand; and from which score on a target is there."""

import numpy as np
import pytest

from foveal.tasks.tracking.one_pass import Followed, OnePass, best_threshold

BOX = [10.0, 10, 20, 20]
THIRD = [15.0, 10, 25, 20]  # overlaps BOX by 50 of 150, its middle is 5 pixels off
FAR = [80.0, 80, 90, 90]
NOTHING = [np.nan] * 4
SIZE = (100, 100)
OF_ONE = 20 / 21  # the area under the success curve of a box that is right
OF_THIRD = 7 / 21  # above 0, 0.05, ... 0.30


def followed(found, truth=(BOX, BOX, BOX), visible=(True, True, True), **more) -> Followed:
    return Followed("a", np.array(found), np.array(truth), np.array(visible), more.pop("size", SIZE), **more)


def summary(*sequences: Followed) -> dict[str, float]:
    run = OnePass()
    for sequence in sequences:
        run.add(sequence)
    numbers = run.summary()
    assert all(type(value) is float and np.isfinite(value) for value in numbers.values())
    return numbers


def check(numbers: dict[str, float], **expected: float) -> None:
    assert {name: numbers[name] for name in expected} == pytest.approx(expected)


def test_three_frames():
    numbers = summary(followed([BOX, THIRD, BOX]))
    check(numbers, success=(2 * OF_ONE + OF_THIRD) / 3, precision=1, ao=(1 / 3 + 1) / 2, sr50=0.5, sr75=0.5)
    # The error of the second is half of the box's width: at 0.5 all three are within, before two.
    expected = {"normalised_precision": (50 * 2 / 3 + 1) / 51, "normalised_precision_at_0.2": 2 / 3}
    check(numbers, **expected, fps=-1, fps_with_decoding=-1)


def test_a_lost_target():
    check(summary(followed([BOX, FAR, FAR])), success=OF_ONE / 3, precision=1 / 3, ao=0, sr50=0, sr75=0)


def test_a_frame_without_truth_does_not_count():
    for nothing in (NOTHING, [10.0, 10, 10, 20]):
        numbers = summary(followed([BOX, THIRD, BOX], truth=(BOX, nothing, BOX)))
        check(numbers, success=OF_ONE, precision=1, ao=1)


def test_an_absent_target_does_not_count_whatever_its_box_says():
    numbers = summary(followed([BOX, BOX, THIRD], truth=(BOX, FAR, BOX), visible=(True, False, True)))
    check(numbers, success=(OF_ONE + OF_THIRD) / 2, ao=1 / 3)


def test_it_begins_where_the_target_is_first_seen():
    sequence = followed([NOTHING, FAR, THIRD], visible=(False, True, True))
    assert sequence.start() == 1
    # The box of frame 1 was given, whatever the tracker says there.
    check(summary(sequence), success=(OF_ONE + OF_THIRD) / 2, precision=1, ao=1 / 3)


def test_a_target_that_leaves_the_frame():
    # Half of the true box is outside, and so is that of the found one which is right but for it.
    truth, found = [-10.0, 10, 10, 20], [-30.0, 10, 10, 20]
    numbers = summary(followed([BOX, found, found], truth=(BOX, truth, truth)))
    check(numbers, ao=1, success=(OF_ONE + 2 * 10 / 21) / 3)  # 200 of 400 is above 0, ... 0.45


def test_one_frame_has_nothing_to_count():
    alone = followed([BOX], truth=[BOX], visible=[True])
    assert set(summary(alone).values()) == {-1.0}
    assert summary(alone, followed([BOX, FAR, FAR])) == summary(followed([BOX, FAR, FAR]))


def test_nothing_at_all_has_nothing_to_count():
    assert set(summary().values()) == {-1.0}
    never = followed([BOX] * 3, visible=(False,) * 3)
    assert never.start() is None and set(summary(never).values()) == {-1.0}
    run = OnePass()
    run.add(never)
    assert len(run) == 1 and run.curves() is None and run.lost_threshold() is None and run.attribute_rows() == []


def test_a_tracker_that_says_nan_is_wrong():
    numbers = summary(followed([BOX, NOTHING, NOTHING]))
    check(numbers, success=OF_ONE / 3, precision=1 / 3, normalised_precision=1 / 3, ao=0, sr50=0)


def test_sequences_count_alike_for_otb_and_frames_for_got10k():
    long = followed([BOX] * 5, truth=[BOX] * 5, visible=[True] * 5)  # 4 frames behind the first, all right
    short = followed([BOX, FAR], truth=[BOX] * 2, visible=[True] * 2)  # 1, wrong
    numbers = summary(long, short)
    check(numbers, precision=(1 + 1 / 2) / 2, ao=4 / 5, sr50=4 / 5)


def test_frames_a_second_without_decoding_and_with():
    # The first frame, which is no step of the tracker, takes 9 seconds.
    first = followed([BOX] * 3, seconds=np.array([9, 0.1, 0.3]), decoding=np.array([9, 0.2, 0.2]))
    check(summary(first), fps=2 / 0.4, fps_with_decoding=2 / 0.8)
    second = followed([BOX] * 3, seconds=np.array([np.nan, 0.6, np.nan]))
    check(summary(first, second), fps=3 / 1.0, fps_with_decoding=2 / 0.8)


def test_rows_of_sequences_and_of_attributes():
    run = OnePass()
    run.add(followed([BOX] * 3, attributes=("IV",))._replace(name="right"))
    run.add(followed([BOX, FAR, FAR])._replace(name="lost"))
    right, lost = run.rows()
    assert right["name"] == "right" and right["frames"] == 2 and right["ao"] == 1
    assert lost["name"] == "lost" and lost["frames"] == 2 and lost["ao"] == 0
    by_name = {row["name"]: row for row in run.attribute_rows()}
    assert by_name.keys() == {"IV", "LR"}  # boxes of 100 pixels
    assert (by_name["IV"]["sequences"], by_name["IV"]["ao"]) == (1, 1)
    assert (by_name["LR"]["sequences"], by_name["LR"]["ao"]) == (2, 0.5)
    assert run.curves().success.tolist() == pytest.approx([(1 + 1 / 3) / 2] * 20 + [0])


def test_the_best_threshold_by_hand():
    overlap, visible = np.array([0.9, 0.8, 0.1, 0.6, 0.0]), np.array([True, True, True, True, False])
    # Right: 0.9, 0.8, 0.4; wrong: 0.5 and 0.2. From 0.8: 2/3 - 0; from 0.4: 1 - 1/2.
    scores = np.array([0.9, 0.8, 0.5, 0.4, 0.2])
    assert best_threshold(scores, overlap, visible) == pytest.approx((0.8 + 0.5) / 2)


def test_of_two_thresholds_that_tell_as_well_the_lower():
    # From 0.9: 1/2 - 0; from 0.3: 1 - 1/2.
    scores, overlap = np.array([0.9, 0.5, 0.3, 0.1]), np.array([1.0, 0, 1, 0])
    assert best_threshold(scores, overlap, np.ones(4, bool)) == pytest.approx(0.2)


def test_the_threshold_is_the_best_of_all_that_a_plain_loop_tries():
    rng = np.random.default_rng(1)
    scores, overlap, visible = rng.random(200).round(2), rng.random(200), rng.random(200) < 0.8
    scores[overlap > 0.5] += 0.3
    good = visible & (overlap > 0.5)

    def gain(threshold: float) -> float:
        return float((scores[good] >= threshold).mean() - (scores[~good] >= threshold).mean())

    found = best_threshold(scores, overlap, visible)
    assert found is not None
    assert gain(found) == pytest.approx(max(gain(float(score)) for score in scores))


def test_an_absent_target_is_not_found_whatever_overlaps():
    assert best_threshold(np.array([0.9, 0.1]), np.array([1.0, 1.0]), np.array([True, False])) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("scores", "overlap"),
    [
        ([], []),
        ([0.9, 0.8], [1.0, 1.0]),  # all found
        ([0.9, 0.8], [0.0, 0.0]),  # all missed
        ([0.5, 0.5], [1.0, 0.0]),  # the same score
        ([0.1, 0.9], [1.0, 0.0]),  # the wrong way round
        ([np.nan, np.nan], [1.0, 0.0]),
    ],
)
def test_nothing_to_tell(scores, overlap):
    assert best_threshold(np.array(scores), np.array(overlap), np.ones(len(scores), bool)) is None


def test_a_score_that_is_nan_is_that_of_a_lost_target():
    assert best_threshold(np.array([0.7, np.nan]), np.array([1.0, 0.0]), np.ones(2, bool)) == 0.7


def test_a_run_tells_its_threshold_without_the_first_frame_and_those_whose_truth_is_not_known():
    run = OnePass()
    # The first frame has score 0, as it was not asked for; of the last the box is not known.
    truth, scores = (BOX, BOX, BOX, NOTHING), np.array([0, 0.8, 0.2, 0.6])
    run.add(followed([BOX, BOX, FAR, FAR], truth=truth, visible=[True] * 4, scores=scores))
    assert run.lost_threshold() == pytest.approx(0.5)
    run.add(followed([BOX, BOX, FAR], visible=(True, True, False), scores=np.array([0, 0.7, 0.6])))
    assert run.lost_threshold() == pytest.approx(0.65)
