"""Drawn boxes: their place and colour, and tags that stay inside of the picture and say the class."""

import itertools

import numpy as np
import pytest
import torch

from foveal.tasks.detection import draw
from foveal.tasks.detection.draw import class_colour, draw_boxes

NAMES = ["cell", "a nucleus with a very long name"]
GREY = np.full((400, 600, 3), 128, np.uint8)


def prediction(boxes, labels=None, scores=None) -> dict:
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.zeros(len(boxes), dtype=torch.int64) if labels is None else torch.tensor(labels)
    given = {} if scores is None else {"scores": torch.tensor(scores, dtype=torch.float32)}
    return {"path": "a.jpg", "size": (400, 600), "boxes": boxes, "labels": labels, "names": [], **given}


@pytest.fixture
def tags(monkeypatch) -> list[tuple]:
    """The tags that are drawn: (rectangle, text)."""
    placed = []

    def record(*arguments):
        tag, text = place(*arguments)
        placed.append((tag, text))
        return tag, text

    place = draw._place_tag
    monkeypatch.setattr(draw, "_place_tag", record)
    return placed


def test_a_box_is_drawn_on_its_own_pixels_in_the_colour_of_its_class():
    picture = draw_boxes(GREY, prediction([[100, 150, 300, 250]], [0], [0.9]), NAMES)
    coloured = (picture == class_colour(0)).all(axis=2)
    rows, columns = coloured[150:250].nonzero()  # without the tag above it
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 99, 100, 299)
    assert np.array_equal(picture[160:240, 110:290], GREY[160:240, 110:290])  # what is inside stays to be seen


def test_nothing_found_leaves_the_image_as_it_is():
    assert np.array_equal(draw_boxes(GREY, prediction([], scores=[]), NAMES), GREY)


def test_the_image_given_is_not_changed():
    before = GREY.copy()
    draw_boxes(GREY, prediction([[0, 0, 600, 400]], scores=[0.5]), NAMES)
    assert np.array_equal(GREY, before)


@pytest.mark.parametrize(("x", "y"), list(itertools.product((0, 1, 250, 560, 598), (0, 1, 200, 380, 398))))
@pytest.mark.parametrize("label", [0, 1])
def test_a_tag_stays_inside_of_the_picture(tags, x, y, label):
    draw_boxes(GREY, prediction([[x, y, x + 2, y + 2], [x, y, 600, 400]], [label, label], [0.9, 0.8]), NAMES)
    assert len(tags) == 2
    for tag, _ in tags:
        assert tag.x1 >= 0 and tag.y1 >= 0 and tag.x2 <= 599 and tag.y2 <= 399


def test_a_tag_says_name_and_score(tags):
    draw_boxes(GREY, prediction([[100, 100, 200, 200]], scores=[0.874]), NAMES)
    assert tags[0][1] == "cell 0.87"


@pytest.mark.parametrize("scores", [None, [1.0, 1.0]])
def test_truth_has_names_alone(tags, scores):
    draw_boxes(GREY, prediction([[10, 100, 60, 200], [300, 100, 400, 200]], scores=scores), NAMES)
    assert [text for _, text in tags] == ["cell", "cell"]


def test_a_name_too_long_for_the_picture_is_cut(tags):
    draw_boxes(np.zeros((300, 120, 3), np.uint8), prediction([[0, 50, 100, 100]], [1], [0.5]), NAMES)
    ((tag, text),) = tags
    assert text.endswith("…") and text.startswith("a nucl") and tag.x2 <= 119


def test_two_boxes_in_one_place_have_tags_side_by_side(tags):
    draw_boxes(GREY, prediction([[100, 100, 200, 200], [100, 100, 200, 201]], scores=[0.9, 0.8]), NAMES)
    (one, _), (other, _) = tags
    assert one.y2 <= other.y1 or other.y2 <= one.y1 or one.x2 <= other.x1 or other.x2 <= one.x1


def test_the_surer_box_lies_above():
    picture = draw_boxes(GREY, prediction([[100, 100, 200, 200], [100, 100, 200, 200]], [1, 0], [0.5, 0.9]), NAMES)
    assert picture[150, 100].tolist() == list(class_colour(0))


def test_hundreds_of_boxes_leave_most_of_the_picture_to_be_seen(tags):
    corner = np.random.default_rng(0).uniform(0, 1, (400, 2)) * (540, 340)
    boxes = np.concatenate((corner, corner + 30), axis=1)
    labels = [0] * 399 + [1]
    picture = draw_boxes(GREY, prediction(boxes, labels, np.linspace(0.9, 0.3, 400)), NAMES)
    shown = [tag for tag, _ in tags if tag is not None]
    assert sum((tag.x2 - tag.x1) * (tag.y2 - tag.y1) for tag in shown) < 0.2 * 400 * 600
    assert tags[1][1].startswith("a nucleus")  # each class has a tag, however unsure
    assert (picture == GREY).all(axis=2).mean() > 0.2


def test_colours_stay_and_differ():
    colours = np.array([class_colour(label) for label in range(40)], np.int64)
    assert class_colour(7) == tuple(colours[7])
    apart = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 999 * np.eye(40, dtype=int)
    assert apart.min() >= 30
    assert min(apart[label, label + 1] for label in range(39)) >= 150  # of neighbours


@pytest.mark.parametrize("label", range(0, 80, 3))
def test_letters_can_be_read_on_every_colour(label):
    def luminance(colour):  # WCAG 2.1, relative luminance
        share = np.array(colour) / 255
        linear = np.where(share <= 0.03928, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    colour = class_colour(label)
    darker, lighter = sorted((luminance(colour), luminance(draw._readable_on(colour))))
    assert (lighter + 0.05) / (darker + 0.05) >= 3  # WCAG's least for large letters


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((40, 60), (160, 240)), ((1, 1), (240, 240)), ((3000, 4500), (1333, 2000)), ((1, 3000), (1, 2000))],
)
def test_pictures_have_a_size_to_look_at(size, drawn):
    box = [[0, 0, size[1], size[0]]]
    assert draw_boxes(np.zeros((*size, 3), np.uint8), prediction(box, scores=[0.5]), NAMES).shape == (*drawn, 3)


def test_boxes_of_an_enlarged_image_are_enlarged():
    picture = draw_boxes(np.zeros((100, 120, 3), np.uint8), prediction([[30, 40, 60, 80]], scores=[0.5]), NAMES)
    _, columns = (picture[80:160] == class_colour(0)).all(axis=2).nonzero()
    assert picture.shape[:2] == (200, 240) and (columns.min(), columns.max()) == (60, 119)


def test_a_box_that_is_no_number_or_outside_is_no_fault():
    boxes = [[float("nan"), 0, 10, 10], [700, 500, 800, 600], [-50, -50, -10, -10], [50, 50, 50, 50]]
    assert draw_boxes(GREY, prediction(boxes, scores=[0.9, 0.8, 0.7, 0.6]), NAMES).shape == GREY.shape
