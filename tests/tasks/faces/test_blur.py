"""Blurred faces: what is left of them, and that the rest of the picture stays."""

import numpy as np

from foveal.tasks.faces.blur import blur_faces


def stripes():
    image = np.zeros((120, 160, 3), np.uint8)
    image[:, ::2] = 255
    return image


def test_stripes_of_a_face_are_gone_and_those_far_away_are_not():
    image = stripes()
    blurred = blur_faces(image, [np.array([60, 40, 100, 80])])
    face = blurred[40:80, 60:100].astype(int)
    assert np.abs(np.diff(face, axis=1)).max() < 12  # of 255 before
    assert abs(face.mean() - 127.5) < 12
    assert np.array_equal(blurred[:, :40], image[:, :40])
    assert np.array_equal(blurred[:20], image[:20])
    assert np.array_equal(image, stripes())  # a copy was changed


def test_all_pixels_of_the_box_depend_on_sixteen_means_alone():
    """Whatever is exchanged within a cell, nothing in the box changes."""
    first = np.random.default_rng(0).integers(0, 256, (72, 72, 3), dtype=np.uint8)
    box = np.array([16, 16, 56, 56])  # 1.8 times as large: all of the picture, in cells of 18 x 18 pixels
    second = np.concatenate([first[17::-1], first[35:17:-1], first[53:35:-1], first[:53:-1]])
    assert np.array_equal(blur_faces(first, [box])[16:56, 16:56], blur_faces(second, [box])[16:56, 16:56])


def test_boxes_at_the_border_and_outside():
    image = stripes()
    assert blur_faces(image, [np.array([-20, -20, 15, 15])])[:15, :15].std() < 10
    for nothing in ([200, 200, 240, 240], [50, 50, 50, 80], [np.nan, 0, 10, 10]):
        assert np.array_equal(blur_faces(image, [np.array(nothing)]), image)
    assert np.array_equal(blur_faces(image, []), image)
