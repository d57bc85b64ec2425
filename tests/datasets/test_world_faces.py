"""The pen of faces: repeatability, landmarks that lie on the features, and identities that outlast pose and light."""

import hashlib

import numpy as np
import pytest

from foveal.datasets.world.faces import draw_face, face_landmarks, face_pose
from foveal.datasets.world.pens import halved

SOME = [(identity, view) for identity in range(40) for view in range(3)]


def test_a_portrait_is_square_rgb_and_the_same_again():
    portrait = draw_face(3, 5, size=64)
    assert portrait.shape == (64, 64, 3)
    assert portrait.dtype == np.uint8
    assert np.array_equal(portrait, draw_face(3, 5, size=64))


def test_identity_view_and_seed_each_make_another_picture():
    portraits = [draw_face(*key, size=48, seed=seed).tobytes() for key in ((0, 0), (0, 1), (1, 0)) for seed in (0, 1)]
    assert len(set(portraits)) == 6


def test_a_larger_portrait_shows_the_same():
    """Its landmarks are twice as far, and reduced it differs from the small one by little more than the noise."""
    np.testing.assert_allclose(face_landmarks(2, 1, size=224), 2 * face_landmarks(2, 1, size=112), rtol=1e-5)
    large, small = halved(draw_face(2, 1, size=224)), draw_face(2, 1, size=112)
    assert np.abs(large.astype(int) - small).mean() < 8


@pytest.mark.parametrize("size", [32, 112, 161])
def test_landmarks_are_in_the_picture_and_in_their_order(size):
    for identity, view in SOME[::4]:
        points = face_landmarks(identity, view, size=size)
        assert points.dtype == np.float32
        assert points.shape == (5, 2)
        assert points.min() > 0
        assert points.max() < size
        left_eye, right_eye, nose, left_corner, right_corner = points
        assert left_eye[0] < right_eye[0]
        assert left_corner[0] < right_corner[0]
        assert max(left_eye[1], right_eye[1]) < nose[1]
        assert (left_eye[1] + right_eye[1]) / 2 < (left_corner[1] + right_corner[1]) / 2


def test_landmarks_follow_the_pose():
    """The line of the eyes has the view's roll; the nose's tip lies to the side, along that line, that the yaw says."""
    for identity, view in SOME:
        yaw, pitch, roll = face_pose(identity, view)
        assert abs(yaw) <= 32
        assert abs(pitch) <= 15
        left_eye, right_eye, nose = face_landmarks(identity, view).astype(np.float64)[:3]
        across = (right_eye - left_eye) / np.linalg.norm(right_eye - left_eye)
        assert np.degrees(np.arctan2(across[1], across[0])) == pytest.approx(roll, abs=0.1)
        aside = (nose - (left_eye + right_eye) / 2) @ across
        assert abs(yaw) < 1 or np.sign(aside) == np.sign(yaw)


def test_landmarks_lie_on_the_features():
    """A pupil is darker than the cheek under it, and so is the line between the lips, in most lights."""
    pupils, mouths = [], []
    for identity, view in SOME:
        portrait, points = draw_face(identity, view, size=224), face_landmarks(identity, view, size=224)
        eyes, corners = points[:2], points[3:]
        cheeks = [_grey(portrait, place) for place in 0.5 * (eyes + corners)]
        pupils += [_grey(portrait, eye) < cheek for eye, cheek in zip(eyes, cheeks, strict=True)]
        x, y = (int(value) for value in corners.mean(0))
        mouths.append(portrait[y - 5 : y + 6, x].mean(-1).min() < np.mean(cheeks))
    assert np.mean(pupils) > 0.95
    assert np.mean(mouths) > 0.95


def _grey(portrait: np.ndarray, place: np.ndarray) -> float:
    """The mean grey of the 3 x 3 pixels around a place."""
    x, y = (int(value) for value in place)
    return float(portrait[y - 1 : y + 2, x - 1 : x + 2].mean())


def test_identities_outlast_pose_and_light_and_pixels_alone_do_not_tell_them():
    """Of 60 people six views are known; each of two others is given to the person of the most similar picture.

    Chance is 1 of 60. Raw pixels find few. Turned upright, cut out by the landmarks and freed of brightness and tint,
    the same pixels find at least twice as many: what is left is who it is.
    """
    people, known, views = 60, 6, 8
    raw, cut = (np.zeros((people, views, count)) for count in (28 * 28 * 3, 14 * 14 * 3))
    for person in range(people):
        for view in range(views):
            portrait = draw_face(person, view, size=56).astype(np.float64)
            raw[person, view] = portrait[::2, ::2].ravel()
            cut[person, view] = _cut_out(portrait, face_landmarks(person, view, size=56)).ravel()
    by_pixels, by_face = _found(raw, known), _found(cut, known)
    assert by_pixels < 0.3
    assert by_face > max(0.35, 2 * by_pixels)


def _cut_out(portrait: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face on a grid of 14 x 14 places that moves with its landmarks, without mean colour and contrast."""
    eyes, mouth = (points[0] + points[1]) / 2, (points[3] + points[4]) / 2
    across, down = np.linspace(-1.2, 1.2, 14), np.linspace(-1.6, 1.9, 14)
    places = eyes + across[:, None] * (points[1] - points[0]) + down[:, None, None] * (mouth - eyes)
    x, y = np.clip(places, 0, len(portrait) - 1).astype(int).transpose(2, 0, 1)
    face = portrait[y, x] - portrait[y, x].mean((0, 1))
    return face / face.std()


def _found(features: np.ndarray, known: int) -> float:
    """The share of the other views whose nearest known one is of the same person."""
    gallery = features[:, :known].reshape(-1, features.shape[-1])
    probes = features[:, known:]
    nearest = [[np.abs(gallery - probe).mean(1).argmin() // known for probe in of_one] for of_one in probes]
    return float((np.array(nearest) == np.arange(len(features))[:, None]).mean())


def test_views_of_one_differ_as_much_as_two_people():
    """The mean difference of pixels: within an identity at least two thirds of that between identities."""
    portraits = np.array([[draw_face(who, view, size=32) for view in range(6)] for who in range(24)]).astype(np.float64)
    within = np.abs(portraits[:, :3] - portraits[:, 3:]).mean()
    between = np.abs(portraits[:12] - portraits[12:]).mean()
    assert 2 / 3 < within / between < 1


def test_no_byte_changes_unnoticed():
    """A digest over some small portraits: data sets that were drawn must be drawn the same again."""
    drawn = b"".join(draw_face(identity, identity, size=40).tobytes() for identity in range(24))
    assert hashlib.sha256(drawn).hexdigest()[:16] == "421e341a4a4eea25"
