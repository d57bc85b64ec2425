"""Drawn masks: colours on their own pixels, lines between classes, what is unknown, and a legend that can be read."""

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.core.masks import write_mask
from foveal.core.types import Prediction
from foveal.datasets.masks import IGNORE
from foveal.tasks.segmentation import draw
from foveal.tasks.segmentation.draw import draw_mask

NAMES = ["background", "cell", "nucleus"]
CELL, NUCLEUS = (128, 0, 0), (0, 128, 0)  # VOC's first two
GREY = np.full((300, 400, 3), 100, np.uint8)


def prediction(mask: np.ndarray, names=NAMES, **entries) -> Prediction:
    values, counts = np.unique(mask[mask != IGNORE], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return Prediction(
        path="a.jpg",
        size=mask.shape,
        labels=torch.from_numpy(values[order].astype(np.int64)),
        scores=torch.ones(len(order)),
        names=[names[value] for value in values[order]],
        mask=torch.from_numpy(mask),
        pixels=torch.from_numpy(counts[order]),
        **entries,
    )


def halves(left: int, right: int, size=(300, 400)) -> np.ndarray:
    mask = np.full(size, left, np.uint8)
    mask[:, size[1] // 2 :] = right
    return mask


@pytest.fixture
def legend(monkeypatch) -> list[tuple]:
    """The entries that are drawn: (name, share, colour)."""
    drawn = []

    def record(sheet, entry, left, top, layout):
        assert left + layout.column <= sheet.width and top + layout.line <= sheet.height
        drawn.append(entry[:3])
        place(sheet, entry, left, top, layout)

    place = draw._draw_entry
    monkeypatch.setattr(draw, "_draw_entry", record)
    return drawn


def test_a_class_is_half_in_its_colour_and_background_stays():
    picture = draw_mask(GREY, prediction(halves(1, 0)), NAMES)
    assert (picture[:300, :199] == (114, 50, 50)).all()  # (100 + 128) / 2 and (100 + 0) / 2
    assert (picture[:300, 199] == CELL).all()  # the line
    assert (picture[:300, 200:] == 100).all()


@pytest.mark.parametrize(("width", "line"), [(400, 1), (2000, 3)])
def test_each_of_two_classes_has_its_half_of_the_line(width, line):
    image = np.full((300, width, 3), 100, np.uint8)
    picture = draw_mask(image, prediction(halves(1, 2, (300, width))), NAMES)
    middle = width // 2
    assert (picture[:300, middle - line : middle] == CELL).all()
    assert (picture[:300, middle : middle + line] == NUCLEUS).all()
    assert (picture[:300, : middle - line] == (114, 50, 50)).all()
    assert (picture[:300, middle + line :] == (50, 114, 50)).all()


def test_what_is_unknown_is_grey_and_hatched():
    image = np.full((300, 400, 3), (200, 100, 0), np.uint8)
    picture = draw_mask(image, prediction(halves(IGNORE, 0)), NAMES)
    unknown = picture[:300, :200].astype(int)
    assert (unknown == unknown[..., :1]).all()
    # 0.299 * 200 + 0.587 * 100 = 118.5, half of it, and 100 more on each stripe, a quarter of the pixels
    assert set(np.unique(unknown)) == {59, 159}
    assert 0.2 < (unknown[..., 0] == 159).mean() < 0.3
    assert (picture[:300, 200:] == (200, 100, 0)).all()


def test_class_0_has_a_colour_unless_it_is_the_background():
    names = ["road", "sky"]
    picture = draw_mask(GREY, prediction(halves(0, 1), names), names)
    assert (picture[:300, :199] == 50).all()  # VOC's first colour is black


def test_the_legend_names_what_is_there_with_its_share(legend):
    mask = np.zeros((300, 400), np.uint8)
    mask[:, :100], mask[0, 399], mask[:30, 100:200] = 2, 1, IGNORE  # 30,000, 1 and 3,000 of 120,000 pixels
    draw_mask(GREY, prediction(mask), NAMES)
    assert legend == [
        ("background", "72.5 %", (255, 255, 255)),
        ("nucleus", "25.0 %", NUCLEUS),
        ("cell", "< 0.1 %", CELL),
        ("unknown", "2.5 %", None),
    ]


def test_the_legend_has_the_colours_of_the_png(tmp_path):
    names = [f"class {number}" for number in range(21)]
    mask = (np.arange(300 * 400) % 21).astype(np.uint8).reshape(300, 400)
    write_mask(tmp_path / "mask.png", mask)
    colours = np.asarray(Image.open(tmp_path / "mask.png").convert("RGB"))
    below = draw_mask(GREY, prediction(mask, names), names)[300:]
    for column in range(21):
        assert (below == colours[0, column]).all(axis=2).sum() >= 100  # a square of 12 pixels at least


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((64, 64), (256, 256)), ((300, 400), (300, 400)), ((3000, 4500), (1333, 2000)), ((1, 3000), (1, 2000))],
)
def test_pictures_have_a_size_to_look_at_and_letters_to_read(size, drawn):
    picture = np.zeros((*size, 3), np.uint8)
    result = draw_mask(picture, prediction(np.ones(size, np.uint8)), NAMES)
    layout = draw._layout(result[: drawn[0]], ["cell"])
    assert result.shape[1] == drawn[1]
    assert result.shape[0] == drawn[0] + layout.line + layout.gap  # of one row
    assert layout.font.size >= max(13, drawn[1] / 60)
    assert (result[drawn[0] :] == (28, 33, 38)).all(axis=2).any()  # ink


@pytest.mark.parametrize("size", [(1, 1), (900, 2)])
def test_narrow_images_have_legends_as_wide_as_words(legend, size):
    picture = draw_mask(np.zeros((*size, 3), np.uint8), prediction(np.ones(size, np.uint8)), NAMES)
    assert picture.shape[1] > 100 and legend == [("cell", "100.0 %", CELL)]


def test_pixels_of_an_enlarged_image_are_squares_of_a_class():
    mask = np.zeros((60, 60), np.uint8)
    mask[10:20, 30:40] = 1
    picture = draw_mask(np.full((60, 60, 3), 100, np.uint8), prediction(mask), NAMES)
    rows, columns = (picture[:240] != 100).any(axis=2).nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 79, 120, 159)
    assert len(rows) == 40 * 40


def test_all_frames_of_a_video_are_of_one_size(legend):
    names = [f"class {number}" for number in range(100)]
    one = draw_mask(GREY, prediction(np.zeros((300, 400), np.uint8), names, frame=0), names)
    mask = (np.arange(300 * 400) % 100).astype(np.uint8).reshape(300, 400)
    many = draw_mask(GREY, prediction(mask, names, frame=1), names)
    assert one.shape == many.shape and one.shape[0] < 600
    assert legend[0][:2] == ("class 0", "100.0 %")
    named = len(legend) - 2
    assert legend[-1][0] == f"and {100 - named} more" and named >= 10


def test_a_photograph_names_all_of_many_classes(legend):
    names = [f"class {number}" for number in range(100)]
    mask = (np.arange(300 * 400) % 100).astype(np.uint8).reshape(300, 400)
    draw_mask(GREY, prediction(mask, names), names)
    assert [name for name, *_ in legend] == names


def test_the_image_given_is_not_changed():
    before = GREY.copy()
    draw_mask(GREY, prediction(halves(1, IGNORE)), NAMES)
    assert np.array_equal(GREY, before)
