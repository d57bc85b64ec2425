"""The Berkeley benchmark: by hand, and beside what its own program wrote for five images of BSDS500."""

import cv2
import numpy as np
import pytest

from foveal.core.errors import DataError
from foveal.core.images import ImageError
from foveal.tasks.edges.berkeley import (
    Counts,
    Point,
    count_files,
    count_matches,
    summarise,
    tables,
    thresholds,
)

IMAGES = ("2018", "3063", "5096", "6046", "8068")


def counts(*rows: tuple[int, int, int, int]) -> Counts:
    """From a row a threshold."""
    return Counts(*(np.array(column) for column in zip(*rows, strict=True)))


def numbers(text: str) -> np.ndarray:
    """The numbers of a table."""
    return np.array([[float(word) for word in line.split()] for line in text.splitlines()])


def two_lines() -> tuple[np.ndarray, np.ndarray]:
    """A map with one sure and one unsure line of 10 pixels, and annotators who drew the first, both, and neither."""
    edges, annotators = np.zeros((30, 40), np.float32), np.zeros((3, 30, 40), bool)
    edges[10, 10:20], edges[20, 10:20] = 0.9, 0.4
    annotators[0] = annotators[1] = edges == np.float32(0.9)
    annotators[1] |= edges == np.float32(0.4)
    return edges, annotators


def test_thresholds_are_evenly_spaced():
    assert thresholds(3).tolist() == [0.25, 0.5, 0.75]
    assert thresholds()[[0, -1]].tolist() == pytest.approx([0.01, 0.99])


def test_two_lines_counted_by_hand():
    found = count_matches(*two_lines(), thresholds=thresholds(3))
    # Annotators marked 10 + 20 pixels. Above 0.25 both lines are found: 10 and 20 of theirs, and all 20 are somebody's.
    assert np.stack(found, 1).tolist() == [[30, 30, 20, 20], [20, 30, 10, 10], [20, 30, 10, 10]]


@pytest.mark.parametrize(("shift", "matched"), [(1, 10), (3, 10), (4, 9), (14, 0)])
def test_a_line_may_lie_the_distance_away(shift, matched):
    edges, annotators = np.zeros((60, 80), np.float32), np.zeros((1, 60, 80), bool)  # the diagonal is 100 pixels
    edges[30, 30:40], annotators[0, 30, 30 + shift : 40 + shift] = 1, True
    found = count_matches(edges, annotators, thresholds=thresholds(1), max_distance=0.03)
    assert found.matched_truth == found.matched_found == matched


def test_a_thick_line_is_thinned_unless_told_otherwise():
    edges, annotators = np.zeros((30, 40), np.float32), np.zeros((1, 30, 40), bool)
    edges[9:12, 5:35], annotators[0, 10, 5:35] = 1, True
    assert count_matches(edges, annotators, thresholds=thresholds(1)).found == 28  # a pixel less at either end
    assert count_matches(edges, annotators, thresholds=thresholds(1), thin=False).found == 90


def test_the_levels_of_an_8_bit_map_are_compared_as_exact_as_can_be():
    levels = np.full((1, 1), 51, np.uint8)  # 0.2
    drawn = np.ones((1, 1, 1), bool)
    assert count_matches(levels, drawn, thresholds=np.array([51 / 255, 0.2000001])).found.tolist() == [1, 0]
    assert count_matches(levels / 255, drawn, thresholds=np.array([51 / 255, 0.2000001])).found.tolist() == [1, 0]


@pytest.mark.parametrize("size", [(1, 1), (12, 9)])
def test_a_black_map_scores_nothing_and_neither_does_one_that_nobody_drew_for(size):
    black, white, drawn = np.zeros(size, np.float32), np.ones(size, np.float32), np.ones((2, *size), bool)
    for edges, annotators in ((black, drawn), (black, ~drawn), (white, ~drawn), (white, drawn[:0])):
        scores = summarise([count_matches(edges, annotators, thresholds=thresholds(5))], thresholds(5))
        assert scores.ods == Point(pytest.approx(1 / 6), 0, 0, 0)
        assert (scores.ois.f, scores.ap, scores.r50) == (0, 0, 0)


def test_one_pixel_that_is_there_scores_all():
    one = np.ones((1, 1), np.float32)
    scores = summarise([count_matches(one, np.ones((1, 1, 1), bool), thresholds=thresholds(5))], thresholds(5))
    assert scores.ods[1:] == (1, 1, 1)
    assert scores.ois == (1, 1, 1)


def test_a_map_of_another_size_is_named_with_both():
    with pytest.raises(DataError, match=r"'a\.png' of 4 x 3 pixels for annotators' drawings of 5 x 3"):
        count_matches(np.zeros((3, 4)), np.zeros((1, 3, 5), bool), thresholds=thresholds(5), name="'a.png'")


@pytest.mark.parametrize("value", [-0.5, 255.0, np.nan])
def test_values_that_are_no_shares_are_refused(value):
    with pytest.raises(DataError, match=r"values of .* expected floating-point numbers of 0 to 1"):
        count_matches(np.full((3, 4), value), np.zeros((1, 3, 4), bool), thresholds=thresholds(5))


def test_scores_of_two_images_by_hand():
    # Recall, precision: 0.8, 0.5 and 0.4, 1.0 of the first; 0.6, 0.6 and 0.2, 0.5 of the second.
    images = [
        counts((80, 100, 50, 100), (40, 100, 40, 40)),
        counts((60, 100, 60, 100), (20, 100, 10, 20)),
    ]
    scores = summarise(images, np.array([0.25, 0.75]))
    # Together: 140 of 200 and 110 of 200; 60 of 200 and 50 of 60.
    assert [point[1:3] for point in scores.curve] == [(0.7, 0.55), (0.3, pytest.approx(5 / 6))]
    # F is 0.616 at the first threshold, and a little higher a few steps towards the second.
    line = [(0.7 - 0.4 * step / 100, 0.55 + (5 / 6 - 0.55) * step / 100) for step in range(101)]
    assert scores.ods.f == pytest.approx(max(2 * r * p / (r + p) for r, p in line))
    assert scores.ods.threshold == pytest.approx(0.28)
    # The best of the first image is at 0.25 (F 0.615; 0.571 at 0.75), that of the second too (0.6).
    assert scores.ois == pytest.approx((0.7, 0.55, 2 * 0.7 * 0.55 / 1.25))
    # Recalls of 0.30 to 0.70 in steps of 0.01: 41 of a line from 5/6 to 0.55.
    assert scores.ap == pytest.approx(0.41 * (5 / 6 + 0.55) / 2, abs=0.01)
    assert scores.r50 == 0.7  # precision is higher than a half everywhere


def test_the_best_lies_on_the_line_between_two_thresholds():
    # 1.0, 0.2 and 0.2, 1.0 have F of 1/3; in their middle is 0.6, 0.6.
    scores = summarise([counts((10, 10, 2, 10), (2, 10, 2, 2))], np.array([0.2, 0.4]))
    assert scores.ods == pytest.approx((0.3, 0.6, 0.6, 0.6))
    assert scores.images == (scores.ods,)
    assert scores.ois.f == pytest.approx(1 / 3)  # it takes thresholds as they are
    assert scores.r50 == pytest.approx(1 - 0.8 * 3 / 8)


def test_of_equal_thresholds_the_highest_is_an_images_best():
    same = counts((5, 10, 5, 10), (5, 10, 5, 10))
    other = same._replace(matched_found=np.array([5, 5]), found=np.array([10, 10]), matched_truth=np.array([5, 5]))
    assert summarise([same, other], np.array([0.3, 0.6])).ods.threshold == 0.3
    twice = counts((5, 10, 5, 10), (50, 100, 50, 100))  # equal F, other sums
    assert summarise([twice, counts((0, 10, 0, 10), (0, 10, 0, 10))], np.array([0.3, 0.6])).ois.recall == 50 / 110


@pytest.fixture(scope="module")
def published(real_data):
    """What the benchmark's own program wrote, as text by the names of its files, and our counts of the same images."""
    folder = real_data / "bsds500" / "bench"
    maps = [str(folder / "png" / f"{name}.png") for name in IMAGES]
    truths = [str(folder / "groundTruth" / f"{name}.mat") for name in IMAGES]
    counted = list(count_files(maps, truths, thresholds=thresholds(5), threads=2))
    return {path.name: path.read_text() for path in (folder / "expected").iterdir()}, counted, maps, truths


def test_every_number_is_that_of_the_benchmarks_own_program(published):
    expected, counted, *_ = published
    written = tables(summarise(counted, thresholds(5)))
    assert set(written) == set(expected)
    for name, text in expected.items():
        # Its solver draws lots; ours is exact.
        assert np.abs(numbers(written[name]) - numbers(text)).max() < 0.0015, name
        assert [len(line) for line in written[name].splitlines()] == [len(line) for line in text.splitlines()]


def test_threads_and_order_change_no_count(published):
    _, counted, maps, truths = published
    backwards = list(count_files(maps[::-1], truths[::-1], thresholds=thresholds(5), threads=1))[::-1]
    for ours, theirs in zip(counted, backwards, strict=True):
        assert np.array_equal(np.stack(ours), np.stack(theirs))


def test_files_that_cannot_be_scored_are_named(tmp_path, published):
    truth = published[3][0]
    coloured, small = tmp_path / "coloured.png", tmp_path / "small.png"
    cv2.imwrite(str(coloured), np.full((481, 321, 3), (0, 0, 255), np.uint8))
    cv2.imwrite(str(small), np.zeros((10, 20), np.uint8))
    for path, error, words in (
        (coloured, DataError, "coloured.png' is in colour"),
        (small, DataError, "small.png' of 20 x 10 pixels for annotators' drawings of 321 x 481"),
        (tmp_path / "missing.png", ImageError, "missing.png"),
    ):
        with pytest.raises(error, match=words):
            list(count_files([str(path)], [truth], thresholds=thresholds(5)))
