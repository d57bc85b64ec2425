"""The numbers of depth by hand, their alignments, crops and caps; and that nothing of an image is kept."""

import copy
import math

import numpy as np
import pytest
import torch

from foveal.core.errors import NumericalError, UsageError
from foveal.tasks.depth.align import ALIGNMENTS, fit_line
from foveal.tasks.depth.crops import CROPS, crop_box, crop_mask
from foveal.tasks.depth.metrics import ERRORS, NUMBERS, DepthMetrics


def measured(prediction, truth, **options) -> dict[str, dict[str, float]]:
    metrics = DepthMetrics(**options)
    metrics.update(np.asarray(prediction, np.float32), np.asarray(truth, np.float32), name="1.jpg")
    return metrics.compute()


def test_the_nine_numbers_by_hand():
    # Errors 1, -1 and 0 of 2, 4 and 5 metres; ratios 3/2, 4/3 and 1.
    found = measured([[3, 3, 5]], [[2, 4, 5]])["none"]
    a, b = math.log(3 / 2), math.log(3 / 4)
    mean = (a + b) / 3
    expected = {
        "abs_rel": (1 / 2 + 1 / 4) / 3,
        "sq_rel": (1 / 2 + 1 / 4) / 3,
        "rmse": math.sqrt(2 / 3),
        "rmse_log": math.sqrt((a**2 + b**2) / 3),
        "log10": (math.log10(3 / 2) + math.log10(4 / 3)) / 3,
        "silog": 100 * math.sqrt((a**2 + b**2) / 3 - mean**2),
        "delta1": 1 / 3,
        "delta2": 1.0,  # 1.5 < 1.5625
        "delta3": 1.0,
    }
    assert found == pytest.approx(expected) and tuple(found) == NUMBERS


@pytest.mark.parametrize(
    ("factor", "within"), [(1.2, (1, 1, 1)), (1.26, (0, 1, 1)), (1.9, (0, 0, 1)), (2.0, (0, 0, 0))]
)
def test_what_a_common_factor_does(factor, within):
    truth = np.array([[1.0, 2.0, 4.0, 8.0]])
    for prediction in (truth * factor, truth / factor):
        numbers = measured(prediction, truth)
        assert tuple(numbers["none"][f"delta{power}"] for power in (1, 2, 3)) == within
        assert numbers["none"]["rmse_log"] == pytest.approx(math.log(factor), rel=1e-5)
        assert numbers["none"]["silog"] == pytest.approx(0, abs=1e-4)
        for alignment in ("median", "scale_shift", "log"):  # all of which take the factor out
            assert [numbers[alignment][name] for name in ERRORS] == pytest.approx([0] * 6, abs=1e-4)


def test_exactly_a_quarter_off_is_not_within():
    assert [measured([[1.25]], [[1]])["none"][f"delta{power}"] for power in (1, 2, 3)] == [0, 1, 1]


def test_a_perfect_map():
    truth = np.random.default_rng(0).uniform(0.5, 60, (20, 30))
    for numbers in measured(truth, truth).values():
        assert [numbers[name] for name in NUMBERS] == pytest.approx([0] * 6 + [1] * 3, abs=1e-6)


def test_alignments_by_hand():
    prediction, truth = np.array([1.0, 2.0, 4.0]), np.array([3.0, 5.0, 9.0])
    assert ALIGNMENTS["none"](prediction, truth).tolist() == [1, 2, 4]
    assert ALIGNMENTS["median"](prediction, truth).tolist() == [2.5, 5, 10]
    assert ALIGNMENTS["scale_shift"](prediction, truth) == pytest.approx([3, 5, 9])  # 2 p + 1
    assert ALIGNMENTS["log"](prediction, 3 * prediction**2) == pytest.approx([3, 12, 48])
    assert fit_line(prediction, truth) == pytest.approx((2, 1))
    # Against numpy's least squares where there is no exact fit.
    random = np.random.default_rng(1)
    prediction, truth = random.uniform(1, 9, 50), random.uniform(1, 9, 50)
    assert fit_line(prediction, truth) == pytest.approx(np.polyfit(prediction, truth, 1))


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("value", [0.0, -2.0, 1.0, 7.3])
def test_a_flat_prediction_gives_numbers(alignment, value):
    numbers = measured(np.full((4, 5), value), np.linspace(1, 9, 20).reshape(4, 5))[alignment]
    assert all(math.isfinite(number) for number in numbers.values())
    if alignment == "scale_shift":
        assert numbers["rmse"] == pytest.approx(np.linspace(1, 9, 20).std(), rel=1e-5)  # of the mean


def test_an_alignment_that_goes_below_the_ground_is_raised_to_the_least_depth():
    # The line through (1, 1), (1, 1) and (9, 2) with a prediction of -20: scale 1/8 and -20 / 8 + 7 / 8 < 0.
    numbers = measured([[1, 1, 9, 0]], [[5, 5, 1, 5]], min_depth=0.5)["scale_shift"]
    assert math.isfinite(numbers["rmse_log"])


def test_pixels_that_are_not_known_never_count():
    nothing = [0, -1, np.nan, np.inf, -np.inf]
    wild = [np.nan, np.inf, 0, -7, 1e9]
    assert measured([[3, 3, 5, *wild]], [[2, 4, 5, *nothing]]) == measured([[3, 3, 5]], [[2, 4, 5]])


def test_the_numbers_are_means_over_images():
    metrics = DepthMetrics()
    metrics.update(np.full((1, 1), 3.0), np.full((1, 1), 2.0))  # 1/2 off
    metrics.update(np.full((10, 10), 4.0), np.full((10, 10), 4.0))
    metrics.update(np.full((10, 10), 4.0), np.zeros((10, 10)))  # nothing is known of it
    assert metrics.compute()["none"]["abs_rel"] == pytest.approx(1 / 4)
    assert metrics.protocol() == (
        "crop none, depths from 0.001 m, no cap, mean over 2 images, 1 images without a known depth left out"
    )
    metrics.reset()
    assert int(metrics.images) == int(metrics.empty) == 0


def test_without_a_known_depth_there_are_no_numbers():
    assert measured([[3, 3]], [[0, 0]])["median"] == dict.fromkeys(NUMBERS, -1.0)


def test_the_cap_leaves_out_truths_and_lowers_predictions():
    # The truth of 80 is at the cap, and the prediction of 200 becomes 80: an error of 10 of 70.
    numbers = measured([[200, 7, 3]], [[70, 80, 3]], max_depth=80)
    assert numbers["none"]["abs_rel"] == pytest.approx((10 / 70 + 0) / 2)
    # Aligned first: 200 and 3 have the median 101.5, and 70 and 3 one of 36.5.
    scale = 36.5 / 101.5
    expected = (abs(200 * scale - 70) / 70 + abs(3 * scale - 3) / 3) / 2
    assert numbers["median"]["abs_rel"] == pytest.approx(expected)
    numbers = measured([[0.2, 1]], [[1.0, 0.5]], min_depth=0.5)
    assert numbers["none"]["abs_rel"] == pytest.approx(0.5)  # 0.2 becomes 0.5; the truth of 0.5 does not count


def test_a_diverged_network_is_no_number():
    for bad in (np.nan, np.inf):
        with pytest.raises(NumericalError, match=r"1 depths predicted for '1.jpg' are NaN or infinite"):
            measured([[bad, 1]], [[1, 1]])


def test_published_crops():
    assert crop_box("nyu", 480, 640) == (slice(45, 471), slice(41, 601))
    assert crop_box("nyu", 240, 320) == (slice(22, 235), slice(20, 300))
    # monodepth's remark says [-218:-3, 44:1180] of 370 x 1224; its numbers, cut to whole ones, give this.
    assert crop_box("garg", 370, 1224) == (slice(151, 366), slice(43, 1180))
    assert crop_box("eigen", 375, 1242) == (slice(124, 342), slice(44, 1197))
    assert crop_box("none", 7, 5) == (slice(0, 7), slice(0, 5))
    assert [int(crop_mask(name, 480, 640).sum()) for name in ("none", "nyu")] == [307200, 426 * 560]
    with pytest.raises(UsageError, match="There is no crop 'gar'; the nearest are garg"):
        crop_box("gar", 9, 9)


@pytest.mark.parametrize("crop", CROPS)
def test_what_is_outside_of_a_crop_does_not_count(crop):
    random = np.random.default_rng(0)
    truth, prediction = random.uniform(1, 9, (2, 96, 128))
    changed = np.where(crop_mask(crop, 96, 128), prediction, 1e6)
    assert measured(changed, truth, crop=crop) == measured(prediction, truth, crop=crop)
    if crop != "none":
        assert measured(changed, truth) != measured(prediction, truth)


def test_two_processes_sum_up():
    random = np.random.default_rng(0)
    whole, parts = DepthMetrics(), [DepthMetrics(), DepthMetrics()]
    for number in range(6):
        pair = random.uniform(1, 9, (2, 8, 8))
        whole.update(*pair)
        parts[number % 2].update(*pair)
    merged = copy.deepcopy(parts[0])
    for state, reduction in merged._reductions.items():
        both = torch.stack([getattr(part, state) for part in parts])
        setattr(merged, state, reduction(both))
    for alignment, numbers in whole.compute().items():
        assert merged.compute()[alignment] == pytest.approx(numbers)


def test_the_sums_are_the_same_size_after_a_hundred_images():
    metrics = DepthMetrics()
    for _ in range(100):
        metrics.update(np.ones((4, 4)), np.full((4, 4), 2.0))
    assert metrics.sums.shape == (4, 9) and metrics.images.shape == ()
    assert metrics.compute()["none"]["abs_rel"] == 0.5


def test_wrong_options_are_said():
    for least, most in ((0, 10), (5, 5), (-1, None)):
        with pytest.raises(UsageError, match="give a least depth above 0, and a cap beyond it"):
            DepthMetrics(min_depth=least, max_depth=most)
    with pytest.raises(UsageError, match="There is no alignment 'mean'"):
        DepthMetrics(alignments=("none", "mean"))
