"""Boxes on pictures, for people."""

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...core.plots import INK, PAPER, load_font, shorten, sized_to_see
from ...core.types import Prediction

_GOLDEN = 0.618034  # of the circle of hues, from one class to the next: neighbours differ, and none comes back
_TONES = ((0.80, 1.0), (0.95, 0.78), (0.55, 1.0), (0.70, 0.90))  # saturation and value
_LEAST_LUMA = 95  # of 255: a darker colour looks black as a thin line
_CROWDED = 40  # boxes: from here on, smaller letters
_HIDDEN = 0.35  # of a tag, by others: it is left out
_TAGGED = 0.15  # of the picture: when tags hide more, no more are drawn

Colour = tuple[int, int, int]


class _Rectangle(NamedTuple):
    x1: float
    y1: float
    x2: float
    y2: float


class Mark(NamedTuple):
    """A box to be drawn."""

    box: np.ndarray  # (4,), xyxy in pixels of the image, finite numbers
    text: str  # of its tag
    colour: Colour
    dashed: bool = False


def class_colour(label: int) -> Colour:
    """RGB of a class, always the same for its number, unlike that of its neighbours."""
    saturation, value = _TONES[label % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb((0.02 + label * _GOLDEN) % 1, saturation, value)
    luma = _luma((255 * red, 255 * green, 255 * blue))
    white = max(0.0, (_LEAST_LUMA - luma) / (255 - luma))
    red, green, blue = (255 * (value + (1 - value) * white) for value in (red, green, blue))
    return round(red), round(green), round(blue)


def draw_boxes(image: np.ndarray, prediction: Prediction, class_names: Sequence[str]) -> np.ndarray:
    """`image` uint8 RGB (H, W, 3) with each box in the colour of its class, and a tag with its name and score; uint8
    (H', W', 3), the image at a size to look at (see `sized_to_see`).

    Where all scores are 1, as in the truth, or there are none, tags have names alone. Surer boxes lie above others. A
    tag stays inside of the picture. The surest box of each class gets one first, then the others, but for those whose
    tag would be hidden or find the picture full of tags: their colour says the class.
    """
    boxes = np.asarray(prediction["boxes"], np.float64).reshape(-1, 4)
    order = np.argsort(-_scores(prediction), kind="stable")
    rows = order[np.isfinite(boxes[order]).all(axis=1)].tolist()
    labels = [int(prediction["labels"][row]) for row in rows]
    marks = [
        Mark(boxes[row], _tag_text(prediction, row, class_names), class_colour(label))
        for row, label in zip(rows, labels, strict=True)
    ]
    return draw_marks(image, marks, _surest_of_each_class_first(labels))


def draw_marks(image: np.ndarray, marks: Sequence[Mark], tagged: Sequence[int]) -> np.ndarray:
    """`image` with `marks`, the first of which lie above the others; sizes as in `draw_boxes`.

    `tagged` are numbers of marks, in the order in which they get a tag, as long as there is room.
    """
    picture = sized_to_see(image)
    factors = np.array([picture.shape[1] / image.shape[1], picture.shape[0] / image.shape[0]] * 2)
    marks = [mark._replace(box=mark.box * factors) for mark in marks]
    drawn = Image.fromarray(picture)
    canvas = ImageDraw.Draw(drawn)
    side = max(picture.shape[:2])
    for mark in reversed(marks):
        _draw_outline(canvas, mark, drawn.size, max(2, round(side / 500)))
    font = load_font(round(max(11, side / (45 if len(marks) < _CROWDED else 75))))
    taken: list[_Rectangle] = []
    room = _TAGGED * picture.shape[0] * picture.shape[1]
    for mark in (marks[number] for number in tagged):
        if taken and sum((tag.x2 - tag.x1) * (tag.y2 - tag.y1) for tag in taken) > room:
            break
        tag, text = _place_tag(mark.box, mark.text, font, drawn.size, taken)
        if tag is not None:
            taken.append(tag)
            canvas.rectangle(tag, mark.colour)
            middle = ((tag.x1 + tag.x2) / 2, (tag.y1 + tag.y2) / 2)
            canvas.text(middle, text, _readable_on(mark.colour), font, anchor="mm")
    return np.asarray(drawn)


def _scores(prediction: Prediction) -> np.ndarray:
    scores = prediction.get("scores")
    return np.ones(len(prediction["labels"])) if scores is None else np.asarray(scores, np.float64)


def _surest_of_each_class_first(labels: Sequence[int]) -> list[int]:
    first = {label: number for number, label in reversed(list(enumerate(labels)))}
    return sorted(range(len(labels)), key=lambda number: first[labels[number]] != number)


def _draw_outline(canvas: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int], width: int) -> None:
    # Continuous coordinates: the last pixel of a box lies before its right edge. A dark line around the coloured one
    # keeps it apart from a ground of its own colour.
    x1, y1, x2, y2 = np.round(mark.box - [0, 0, 1, 1])
    x1, y1 = min(max(x1, 0), size[0] - 1), min(max(y1, 0), size[1] - 1)
    x2, y2 = min(max(x2, x1), size[0] - 1), min(max(y2, y1), size[1] - 1)
    if mark.dashed:
        _draw_dashes(canvas, _Rectangle(x1, y1, x2, y2), width, mark.colour)
        return
    canvas.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=INK)
    canvas.rectangle((x1, y1, x2, y2), outline=mark.colour, width=width)


def _draw_dashes(canvas: ImageDraw.ImageDraw, box: _Rectangle, width: int, colour: Colour) -> None:
    x1, y1, x2, y2 = box
    dashes = [
        (left, top, right, top + width - 1) for left, right in _dashes(x1, x2, width) for top in (y1, y2 - width + 1)
    ]
    dashes += [
        (left, top, left + width - 1, bottom) for top, bottom in _dashes(y1, y2, width) for left in (x1, x2 - width + 1)
    ]
    for left, top, right, bottom in dashes:
        canvas.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=INK)
    for dash in dashes:
        canvas.rectangle(dash, fill=colour)


def _dashes(first: float, last: float, width: int) -> list[tuple[float, float]]:
    """First and last pixel of each dash from `first` to `last`: one at both ends, and gaps as long as a dash."""
    count = max(1, round((last - first + 1) / (4 * width)) // 2)
    edges = np.round(np.linspace(first, last + 1, 2 * count + 2)).tolist()  # of dash, gap, dash, ..., dash
    return [(start, max(start, end - 1)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _tag_text(prediction: Prediction, row: int, class_names: Sequence[str]) -> str:
    name = " ".join(class_names[int(prediction["labels"][row])].split())
    scores = _scores(prediction)
    return name if (scores == 1).all() else f"{name} {scores[row]:.2f}"


def _place_tag(
    box: np.ndarray, text: str, font: ImageFont.FreeTypeFont, size: tuple[int, int], taken: Sequence[_Rectangle]
) -> tuple[_Rectangle | None, str]:
    """Where a tag hides the fewest others, and its text, cut to the picture's width; None where too much is hidden, or
    the picture has no room.
    """
    margin = max(2, round(font.size / 5))
    text = shorten(text, font, size[0] - 2 * margin - 1)
    width, height = round(font.getlength(text)) + 2 * margin, round(font.size * 1.3)
    room = np.array([size[0] - 1 - width, size[1] - 1 - height])
    if (room < 0).any():
        return None, text
    x1, y1, x2, y2 = np.round(box)
    # Above and below, then inside, then above a tag that is there already; each at the left and at the right.
    tops = (y1 - height, y2, y1, y2 - height, y1 - 2 * height)
    wanted = np.array([(left, top) for top in tops for left in (x1, x2 - width)])
    places = wanted.clip(0, room)
    hidden = _shared(places, np.array([width, height]), taken) / (width * height)
    pushed = np.abs(places - wanted)[:, 1] > 1  # by the picture's border: another place is better, if there is one
    best = int((hidden + 0.1 * pushed).argmin())
    left, top = places[best].tolist()
    return _Rectangle(left, top, left + width, top + height) if hidden[best] < _HIDDEN else None, text


def _shared(places: np.ndarray, side: np.ndarray, taken: Sequence[_Rectangle]) -> np.ndarray:
    """Pixels that rectangles with their left upper corners at `places` (P, 2) have in common with others; (P,)."""
    if not taken:
        return np.zeros(len(places))
    others = np.array(taken)
    corner = np.minimum(places[:, None] + side, others[None, :, 2:])
    return (corner - np.maximum(places[:, None], others[None, :, :2])).clip(0).prod(axis=2).sum(axis=1)


def _readable_on(colour: Colour) -> Colour:
    return INK if _luma(colour) > 130 else PAPER


def _luma(colour: tuple[float, float, float]) -> float:
    return float(np.dot(colour, (0.299, 0.587, 0.114)))
