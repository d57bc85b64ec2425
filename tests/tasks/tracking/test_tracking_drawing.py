"""Drawn targets: each in its own colour with name and score, lost ones grey and dashed."""

import numpy as np
import pytest
import torch

from foveal.tasks.detection import draw
from foveal.tasks.detection.draw import class_colour
from foveal.tasks.tracking.draw import _LOST, draw_tracks

GREEN = np.full((400, 600, 3), (40, 120, 60), np.uint8)
BOXES = [[100, 150, 300, 250], [400, 60, 500, 300]]


def prediction(boxes=BOXES, scores=(0.9, 0.42), lost=(False, False)) -> dict:
    count = len(boxes)
    return {
        "path": "clip.mp4",
        "size": (400, 600),
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "scores": torch.tensor(scores[:count], dtype=torch.float32),
        "labels": torch.arange(count),
        "names": [f"target {number + 1}" for number in range(count)],
        "lost": torch.tensor(lost[:count], dtype=torch.bool),
    }


@pytest.fixture
def tags(monkeypatch) -> list[str]:
    """The texts of the tags that are drawn."""
    texts = []
    place = draw._place_tag
    monkeypatch.setattr(draw, "_place_tag", lambda *given: (texts.append(given[1]), place(*given))[1])
    return texts


def is_colour(picture: np.ndarray, colour) -> np.ndarray:
    return (picture == np.array(colour)).all(axis=2)


def test_each_target_has_its_own_colour_on_its_own_pixels():
    picture = draw_tracks(GREEN, prediction())
    for label, (x1, y1, x2, y2) in enumerate(BOXES):
        rows, columns = is_colour(picture, class_colour(label))[y1:, :].nonzero()  # without the tag above it
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, y2 - y1 - 1, x1, x2 - 1)
    assert np.array_equal(picture[155:245, 105:295], GREEN[155:245, 105:295])


def test_tags_say_name_and_score(tags):
    draw_tracks(GREEN, prediction())
    assert tags == ["target 1 0.90", "target 2 0.42"]


def test_a_frame_without_scores_has_names_alone(tags):
    draw_tracks(GREEN, prediction(scores=(1.0, 1.0)))
    assert tags == ["target 1", "target 2"]


def test_a_lost_target_is_called_so(tags):
    draw_tracks(GREEN, prediction(lost=(True, False)))
    assert tags == ["target 1 lost", "target 2 0.42"]


def test_a_lost_targets_box_is_grey_and_dashed():
    picture = draw_tracks(GREEN, prediction(lost=(True, False)))
    assert not is_colour(picture, class_colour(0)).any()
    for edge in (picture[249, 100:300], picture[150:250, 100], picture[150:250, 299]):
        dashed = is_colour(edge[None], _LOST)[0]
        assert dashed[0] and dashed[-1] and 0.35 < dashed.mean() < 0.7  # a dash at both ends, and gaps as long
        assert (edge[~dashed] == GREEN[0, 0]).all(axis=1).mean() > 0.5


def test_small_and_far_boxes_are_no_fault():
    boxes = [[10, 10, 11, 11], [700, 500, 800, 600], [-50, -50, -10, -10], [50, 50, 50, 50]]
    lost = prediction(boxes, scores=(0.5,) * 4, lost=(True,) * 4)
    assert draw_tracks(GREEN, lost).shape == GREEN.shape
    nowhere = prediction([[float("nan")] * 4], lost=(True,))
    assert np.array_equal(draw_tracks(GREEN, nowhere), GREEN)


def test_no_target_leaves_the_frame_as_it_is_and_none_is_changed():
    before = GREEN.copy()
    assert np.array_equal(draw_tracks(GREEN, prediction([])), GREEN)
    draw_tracks(GREEN, prediction(lost=(True, False)))
    assert np.array_equal(GREEN, before)


def test_a_small_frame_is_enlarged_with_its_boxes():
    picture = draw_tracks(np.zeros((100, 120, 3), np.uint8), prediction([[30, 40, 60, 80]]))
    _, columns = is_colour(picture, class_colour(0))[82:160].nonzero()  # below the tag
    assert picture.shape == (200, 240, 3) and (columns.min(), columns.max()) == (60, 119)
