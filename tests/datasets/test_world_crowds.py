"""People before scenes: repeatable, in the picture, and with boxes and landmarks that belong to what was drawn."""

import numpy as np

from foveal.datasets.world.crowds import draw_crowd
from foveal.datasets.world.faces import cut_out_face, draw_face, face_box, face_landmarks

SOME = [draw_crowd(number, size=(120, 160)) for number in range(30)]


def test_the_same_again_and_other_pictures_for_other_numbers():
    again = draw_crowd(3, size=(120, 160))
    assert all(np.array_equal(one, other) for one, other in zip(again, SOME[3], strict=True))
    assert len({crowd.image.tobytes() for crowd in SOME}) == len(SOME)
    assert not np.array_equal(draw_crowd(3, size=(120, 160), seed=1).image, again.image)


def test_faces_are_in_the_picture_and_hide_no_other():
    counts = [len(crowd.boxes) for crowd in SOME]
    assert min(counts) == 0
    assert max(counts) > 2
    for image, boxes, landmarks in SOME:
        assert image.shape == (120, 160, 3)
        assert image.dtype == np.uint8
        assert boxes.dtype == landmarks.dtype == np.float32
        assert (boxes >= 0).all()
        assert (boxes[:, 2:] <= (160, 120)).all()
        for number, box in enumerate(boxes):
            points = landmarks[number]
            assert (points > box[:2]).all()
            assert (points < box[2:]).all()
            others = np.delete(boxes, number, axis=0)
            beside = (others[:, 0] >= box[2]) | (others[:, 2] <= box[0])
            apart = beside | (others[:, 1] >= box[3]) | (others[:, 3] <= box[1])
            assert apart.all()


def test_a_cut_out_is_the_portrait_with_its_background_marked():
    portrait, cover = cut_out_face(4, 2, size=64)
    assert np.array_equal(portrait, draw_face(4, 2, size=64))
    assert cover.dtype == np.uint8
    assert (cover[:3] == 0).all()
    x, y = face_landmarks(4, 2, size=64).mean(axis=0).astype(int)
    assert cover[y, x] == 255


def test_a_box_goes_around_the_face():
    """All of it is person, but for the corners; eyes and mouth are in it; and it grows with the picture."""
    for identity in range(10):
        box, (_, cover) = face_box(identity, 0, size=112), cut_out_face(identity, 0, size=112)
        left, top, right, bottom = box.astype(int)
        assert (cover[top : bottom + 1, left : right + 1] == 255).mean() > 0.85
        np.testing.assert_allclose(face_box(identity, 0, size=224), 2 * box, rtol=1e-5)
