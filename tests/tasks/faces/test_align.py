"""Alignment by five points: turns and scales worked out by hand, pixel by pixel where that can be said."""

import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from foveal.core.errors import DataError
from foveal.tasks.faces.align import align, cut_face, reference_landmarks, similarity
from foveal.tasks.faces.detector import Face


def noise(height=112, width=112):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_reference_is_the_published_one_half_a_pixel_on():
    """Published places count from a pixel's middle. At 160 the picture is the same, 160/112 as large."""
    assert reference_landmarks()[0] == pytest.approx((38.7946, 52.1963))
    assert reference_landmarks(160)[0] == pytest.approx((38.7946 * 160 / 112, 52.1963 * 160 / 112))
    assert reference_landmarks(224) == pytest.approx(2 * reference_landmarks(112))


def test_a_quarter_turn_twice_as_large_and_moved():
    """(1, 0) goes down to (0, 2) and (0, 1) to the left, both moved by (10, 20)."""
    source = np.array([(0, 0), (1, 0), (0, 1)])
    matrix = similarity(source, np.array([(10, 20), (10, 22), (8, 20)]))
    assert matrix == pytest.approx(np.array([[0, -2, 10], [2, 0, 20]]), abs=1e-12)


def test_of_points_that_do_not_fit_it_is_the_least_squares():
    """Against scikit-image's, which does the decomposition of Umeyama's paper."""
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(2, 5, 2)) * 30
    wanted = SimilarityTransform.from_estimate(source, target)
    assert similarity(source, target) == pytest.approx(wanted.params[:2])


def test_it_never_mirrors():
    """Mirrored points are turned as well as that goes; a mirror would have a negative determinant."""
    source = reference_landmarks()
    matrix = similarity(source * (-1, 1), source)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize("landmarks", [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.zeros((1, 2))])
def test_points_that_say_nothing_are_refused(landmarks):
    with pytest.raises(DataError):
        similarity(landmarks, landmarks)


def test_an_aligned_face_stays_as_it_is():
    image = noise()
    assert np.array_equal(align(image, reference_landmarks()), image)


def test_a_moved_face_is_cut_out_and_black_comes_from_outside():
    image = noise(112, 120)
    aligned = align(image, reference_landmarks() + np.array([10, -3]))
    assert np.array_equal(aligned[3:, :110], image[:109, 10:120])
    assert not aligned[:3].any()
    assert not aligned[:, 110:].any()


def test_an_upside_down_face_is_turned():
    image = noise()
    assert np.array_equal(align(image, 112 - reference_landmarks()), image[::-1, ::-1])


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_a_large_face_becomes_the_means_of_its_pixels(factor):
    """Not a few pixels of each square, as interpolation alone would take."""
    image = noise(112 * factor, 112 * factor)
    means = image.reshape(112, factor, 112, factor, 3).mean(axis=(1, 3))
    aligned = align(image, factor * reference_landmarks())
    assert np.abs(aligned - means).max() <= 1


def test_a_face_in_a_large_image_is_cut_from_its_surroundings():
    """The part around the face is reduced alone, with the same result as for the whole image."""
    image = np.zeros((500, 700, 3), np.uint8)
    image[100 : 100 + 336, 200 : 200 + 336] = noise(336, 336)
    means = image[100:436, 200:536].reshape(112, 3, 112, 3, 3).mean(axis=(1, 3))
    assert np.abs(align(image, 3 * reference_landmarks() + (200, 100)) - means).max() <= 1


def test_landmarks_outside_of_the_image_give_black():
    assert not align(noise(), reference_landmarks() + 1000).any()
    assert not align(noise(), reference_landmarks() * 1e12).any()


def test_of_a_face_without_landmarks_the_box_is_cut():
    image = noise(50, 60)
    face = Face(np.array([10, 5, 42, 37], np.float32), 1.0, None)
    assert np.array_equal(cut_face(image, face, 32), image[5:37, 10:42])
    assert np.array_equal(cut_face(noise(), face._replace(landmarks=reference_landmarks()), 112), noise())
    with pytest.raises(DataError, match="no pixel"):
        cut_face(image, face._replace(box=np.array([70, 5, 80, 37], np.float32)))
