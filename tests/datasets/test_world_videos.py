"""Videos of the drawn world: what is said of the target without drawing agrees with the frames."""

import hashlib

import numpy as np
import pytest

from foveal.datasets.world.dice import Dice
from foveal.datasets.world.videos import FRAMES, Video


@pytest.fixture(scope="module")
def videos() -> list[Video]:
    """Twelve videos of the usual length, small."""
    return [Video(Dice(0, number), size=(128, 160)) for number in range(12)]


def test_target_agrees_with_the_drawn_ids(videos):
    seen_whole = 0
    for video in videos:
        for number in range(0, FRAMES, 5):
            frame, box = video.frame(number), video.boxes[number]
            pixels = int((frame.ids == frame.target_id).sum()) if frame.target_id else 0
            share = frame.visible[frame.target_id - 1] if frame.target_id else 0
            assert video.visible[number] == (share >= 0.2 and pixels >= 25)
            if frame.target_id:
                around = frame.boxes[frame.target_id - 1]  # of the visible pixels: inside of the whole extent
                assert (around[:2] >= box[:2]).all() and (around[2:] <= box[2:]).all()
                if share == 1:
                    assert around.tolist() == box.tolist()
                    seen_whole += 1
    assert seen_whole > 30


def test_boxes_are_inside_and_move_smoothly(videos):
    for video in videos:
        boxes, (height, width) = video.boxes, video.size
        assert boxes.dtype == np.float32 and boxes.shape == (FRAMES, 4) and np.isfinite(boxes).all()
        assert boxes.min() >= 0 and (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()
        assert (boxes[:, 2:] >= boxes[:, :2]).all()
        assert np.abs(np.diff(boxes, axis=0)).max() <= 9  # pixels a frame
        steps = np.diff(boxes.astype(np.float64), axis=0)
        assert np.abs(np.diff(steps, axis=0)).max() <= 5  # and no jerk, but for whole pixels and shapes that turn


def test_target_is_seen_at_first_hidden_at_times_and_seen_again(videos):
    assert all(video.visible[0] and video.visible.mean() > 0.4 for video in videos)
    hidden = [video for video in videos if not video.visible.all()]
    back = [video for video in hidden if (np.diff(video.visible.astype(int)) == 1).any()]
    assert len(hidden) >= 4 and len(back) >= 3
    assert 0.6 < np.mean([video.visible.mean() for video in videos]) < 0.97


def test_targets_leave_the_frame_and_change_size():
    videos = [Video(Dice(1, number), size=(96, 96)) for number in range(30)]
    areas = [np.prod(video.boxes[:, 2:] - video.boxes[:, :2], axis=1) for video in videos]
    assert sum((area == 0).any() for area in areas) >= 1
    assert sum(area[0] / max(area.max(), 1) < 0.75 for area in areas) >= 5


def test_others_look_like_the_target(videos):
    alike = 0
    for video in videos:
        frame = video.frame(0)
        alike += int((frame.labels == frame.labels[frame.target_id - 1]).sum()) > 1
    assert alike >= 9


def test_a_frame_does_not_depend_on_the_frames_before_it(videos):
    again = Video(Dice(0, 3), size=(128, 160))
    last, first = again.frame(30), again.frame(2)
    assert (videos[3].frame(2).image == first.image).all() and (videos[3].frame(30).image == last.image).all()
    assert (first.image != last.image).any() and len(again) == FRAMES


def test_wall_and_ground_move_with_the_camera_and_noise_anew():
    video = Video(Dice(0, 1), frames=3, size=(64, 64))
    images = [video.frame(number).image.astype(int) for number in range(3)]
    assert 0 < np.abs(images[0] - images[1]).mean() < 30
    assert len(video.boxes) == len(video.visible) == 3


def test_bytes_are_those_of_every_other_machine():
    # Another digest means another picture or truth: raise shapes.VERSION with it.
    video = Video(Dice(0, 2), size=(96, 128))
    parts = (video.boxes, video.visible, video.frame(7).image, video.frame(40).ids)
    assert hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16] == "435e9eeb6cc1acfb"
