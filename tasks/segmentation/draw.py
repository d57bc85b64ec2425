"""Masks on pictures, for people."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...core.masks import BACKGROUND, voc_colors
from ...core.plots import INK, PAPER, load_font, shorten, sized_to_see
from ...core.types import Prediction
from ...datasets.masks import IGNORE

_FRAME = (150, 156, 162)  # around the legend's colours, some of which are as light as the paper
_FEWEST_ROWS = 8  # of a frame's legend, where its classes need more than a third of the frame's height


def draw_mask(image: np.ndarray, prediction: Prediction, class_names: Sequence[str]) -> np.ndarray:
    """`image` uint8 RGB (H, W, 3), half in the colours of its classes, with outlines in their full colours, and below
    it a legend of the classes that are there and their shares of the pixels; uint8 (H', W', 3), the image at a size to
    look at (see `sized_to_see`).

    The colours are those of the mask's PNG. A class named background stays as the image is; where nothing is known, the
    image is grey and hatched. A frame's legend has room for all classes, so that a video's pictures are of one size.
    """
    picture = sized_to_see(image)
    mask = cv2.resize(np.asarray(prediction["mask"]), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    coloured = _coloured(picture, mask, class_names)
    return _above_legend(coloured, _entries(prediction), [*class_names, "unknown"] if "frame" in prediction else ())


class _Entry(NamedTuple):
    """A line of the legend."""

    name: str
    share: str  # of the image's pixels
    colour: tuple[int, ...] | None  # None for a hatched square
    square: bool = True


def _entries(prediction: Prediction) -> list[_Entry]:
    total, colours = prediction["mask"].numel(), voc_colors().tolist()
    columns = (prediction["names"], prediction["pixels"].tolist(), prediction["labels"].tolist())
    entries = [
        _Entry(" ".join(name.split()), _percent(count / total), PAPER if name == BACKGROUND else tuple(colours[label]))
        for name, count, label in zip(*columns, strict=True)
    ]
    unknown = total - int(prediction["pixels"].sum())
    return [*entries, _Entry("unknown", _percent(unknown / total), None)] if unknown else entries


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"


# --- the image --------------------------------------------------------------------------------------------------------


def _coloured(picture: np.ndarray, mask: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    colours = voc_colors()[mask]
    coloured = cv2.addWeighted(picture, 0.5, colours, 0.5, 0)
    # Each class has its own half of the line between two.
    around = np.ones((1 + 2 * max(1, round(max(mask.shape) / 600)),) * 2, np.uint8)
    lines = cv2.dilate(mask, around) != cv2.erode(mask, around)
    coloured[lines] = colours[lines]
    if BACKGROUND in class_names:
        plain = mask == class_names.index(BACKGROUND)
        coloured[plain] = picture[plain]
    unknown = mask == IGNORE
    if unknown.any():
        coloured[unknown] = _hatched(picture)[unknown]
    return coloured


def _hatched(picture: np.ndarray) -> np.ndarray:
    """`picture` in grey, half as bright, with lighter stripes across."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) // 2
    step = max(8, max(grey.shape) // 80)
    stripes = np.add.outer(*(np.arange(side) for side in grey.shape)) % step < step / 4
    return cv2.cvtColor(np.where(stripes, grey + 100, grey).astype(np.uint8), cv2.COLOR_GRAY2RGB)


# --- the legend -------------------------------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """Of a legend: pixels, but for `rows` and `columns`."""

    font: ImageFont.FreeTypeFont
    line: int  # height of a row
    gap: int  # between its parts
    column: int  # width
    columns: int
    rows: int


def _above_legend(picture: np.ndarray, entries: Sequence[_Entry], reserved: Sequence[str]) -> np.ndarray:
    """`picture` above columns of `entries`, or with room for the names `reserved` where there are some."""
    layout = _layout(picture, [" ".join(name.split()) for name in reserved] or [entry.name for entry in entries])
    if reserved:
        layout = layout._replace(rows=min(layout.rows, max(_FEWEST_ROWS, picture.shape[0] // 3 // layout.line)))
    room = layout.rows * layout.columns
    if len(entries) > room:
        entries = [*entries[: room - 1], _Entry(f"and {len(entries) - room + 1} more", "", None, square=False)]
    width = max(picture.shape[1], layout.column * layout.columns)
    sheet = Image.new("RGB", (width, picture.shape[0] + layout.rows * layout.line + layout.gap), PAPER)
    sheet.paste(Image.fromarray(picture), ((width - picture.shape[1]) // 2, 0))
    for place, entry in enumerate(entries):
        column, row = divmod(place, layout.rows)
        top = picture.shape[0] + layout.gap // 2 + row * layout.line
        _draw_entry(sheet, entry, column * layout.column, top, layout)
    return np.asarray(sheet)


def _layout(picture: np.ndarray, names: Sequence[str]) -> _Layout:
    line = max(22, round(max(picture.shape[:2]) / 34))
    font, gap = load_font(round(line * 0.62)), line // 3
    room = max(picture.shape[1], 10 * line)
    name = max((font.getlength(name) for name in names), default=0)
    # A square of colour, the name and the share.
    column = min(room, gap + round(font.size) + gap + round(name) + gap + round(font.getlength("100.0 %")) + 2 * gap)
    columns = room // column
    return _Layout(font, line, gap, column, columns, -(-len(names) // columns))


def _draw_entry(sheet: Image.Image, entry: _Entry, left: int, top: int, layout: _Layout) -> None:
    canvas, font, gap = ImageDraw.Draw(sheet), layout.font, layout.gap
    side, middle, right = round(font.size), top + layout.line / 2, left + layout.column - 2 * gap
    corner = (left + gap, top + (layout.line - side) // 2)
    if entry.square and entry.colour is None:
        sheet.paste(Image.fromarray(_hatched(np.full((side, side, 3), 160, np.uint8))), corner)
    if entry.square:
        canvas.rectangle((*corner, corner[0] + side - 1, corner[1] + side - 1), entry.colour, _FRAME)
    name = left + gap + side + gap
    canvas.text((right, middle), entry.share, INK, font, anchor="rm")
    room = right - font.getlength(entry.share) - gap - name
    canvas.text((name, middle), shorten(entry.name, font, room), INK, font, anchor="lm")
