"""Boundary F1 and trimaps of squares, counted pixel by pixel."""

import numpy as np
import pytest

from foveal.tasks.segmentation.boundaries import borders, boundary_f1, trimap

PIXEL = 1 / 50  # of the diagonal of an image of 30 x 40 pixels


def square(shift: int = 0, value: int = 1) -> np.ndarray:
    """A square of 8 x 8 pixels, `shift` columns to the right."""
    image = np.zeros((30, 40), np.uint8)
    image[4:12, 4 + shift : 12 + shift] = value
    return image


def test_a_square_has_28_border_pixels_and_its_ground_32():
    found = borders(square())
    assert (found & (square() == 1)).sum() == 28  # the outermost of 8 x 8
    assert (found & (square() == 0)).sum() == 32  # 8 along each side, and no corner


def test_the_edge_of_an_image_is_no_border():
    assert not borders(np.ones((5, 5), np.uint8)).any()


@pytest.mark.parametrize("pixels", [1, 2, 5])
def test_a_square_within_the_tolerance_is_met(pixels):
    assert boundary_f1(square(pixels), square(), num_classes=2, tolerance=pixels * PIXEL).tolist() == [1, 1]


def test_a_square_beyond_the_tolerance_is_met_where_its_sides_run_on():
    # Three columns to the right, one pixel allowed. Of the square's 28 pixels, 6 of the upper side and 6 of the lower
    # are met, and the first and last but one of its right side, which lie beside these of the other: 14 of 28. Of the
    # ground's 32, the same 6 + 6, and 2 of the right side. Mirrored, so is precision.
    scores = boundary_f1(square(3), square(), num_classes=2, tolerance=PIXEL)
    assert scores.tolist() == pytest.approx([14 / 32, 14 / 28])


def test_precision_and_recall_are_weighed_against_each_other():
    # A second square, far away: precision of the class 28 / 56 at a recall of 1; ground 32 / 64 likewise.
    predicted = square()
    predicted[18:26, 24:32] = 1
    expected = [2 * 0.5 / 1.5] * 2
    assert boundary_f1(predicted, square(), num_classes=2, tolerance=PIXEL).tolist() == pytest.approx(expected)
    assert boundary_f1(square(), predicted, num_classes=2, tolerance=PIXEL).tolist() == pytest.approx(expected)


def test_a_diagonal_step_is_farther_than_a_pixel():
    truth, predicted = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint8)
    truth[5, 5] = predicted[6, 6] = 1
    assert boundary_f1(predicted, truth, num_classes=2, tolerance=1.41 * PIXEL)[1] == 0
    assert boundary_f1(predicted, truth, num_classes=2, tolerance=1.42 * PIXEL)[1] == 1


def test_missed_and_invented_classes_are_0_and_classes_of_neither_nan():
    scores = boundary_f1(square(value=2), square(value=1), num_classes=4)
    assert scores[:3].tolist() == [1, 0, 0] and np.isnan(scores[3])


def test_images_without_borders_have_no_score():
    assert np.isnan(boundary_f1(np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8), num_classes=2)).all()


def test_a_border_across_a_band_of_ignored_pixels_is_met_inside_of_it():
    # As in Pascal VOC: three columns between two regions are ignored, and the border was predicted in their midst.
    truth = np.zeros((30, 40), np.uint8)
    truth[:, 20:] = 1
    predicted = truth.copy()
    truth[:, 19:22] = 255  # the true regions end with columns 18 and 22, the predicted ones with 19 and 20
    assert boundary_f1(predicted, truth, num_classes=2, tolerance=2 * PIXEL).tolist() == [1, 1]
    # One pixel is enough for the first, and recall of the second is 0; none of the predicted ones is asked to be right.
    assert boundary_f1(predicted, truth, num_classes=2, tolerance=PIXEL).tolist() == pytest.approx([1, 0], abs=1e-9)


def test_what_is_predicted_inside_ignored_regions_is_not_judged():
    truth = square()
    truth[14:28, 14:38] = 255
    predicted = truth.copy()
    predicted[14:28, 14:38] = 0
    beside = boundary_f1(predicted, truth, num_classes=2, tolerance=PIXEL)
    predicted[18:26, 20:28] = 1  # a square within the ignored region
    assert boundary_f1(predicted, truth, num_classes=2, tolerance=PIXEL)[1] == beside[1] == 1


@pytest.mark.parametrize(("width", "first", "last"), [(1, 4, 5), (2, 3, 6), (3, 2, 7), (9, 0, 9)])
def test_a_trimap_has_so_many_columns_on_either_side_of_a_border(width, first, last):
    truth = np.zeros((4, 10), np.uint8)
    truth[:, 5:] = 1
    expected = np.zeros((4, 10), bool)
    expected[:, first : last + 1] = True
    assert np.array_equal(trimap(truth, width), expected)


def test_a_trimap_around_ignored_pixels_lies_beside_them():
    truth = np.zeros((4, 11), np.uint8)
    truth[:, 7:] = 1
    truth[:, 4:7] = 255
    counted = trimap(truth, 2) & (truth != 255)
    assert np.flatnonzero(counted[0]).tolist() == [2, 3, 7, 8]


def test_without_a_border_a_trimap_is_empty():
    assert not trimap(np.zeros((6, 6), np.uint8), 3).any()
