"""Distances in colour beside their picture, for people."""

from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw

from ...core.depth_files import to_colours
from ...core.plots import INK, PAPER, load_font, sized_to_see
from ...core.types import Prediction

_UNKNOWN = (128, 128, 128)  # no colour of the table is grey
_ENDS = 2, 98  # percentiles at which the colours end: a few pixels that are far off do not take them all
_LEAST = 1.02  # of the far end by the near one


class _Range(NamedTuple):
    near: float  # metres
    far: float
    nearer: bool  # some pixels are
    farther: bool


def draw_depth(image: np.ndarray, prediction: Prediction) -> np.ndarray:
    """`image` uint8 RGB (H, W, 3) and its distances in colour, bright what is near and dark what is far, in even steps
    of their logarithm, with normals where there are some, above a legend in metres; uint8 (H', W', 3), each at a size
    to look at (see `sized_to_see`).

    Pictures stand beside one another, those that are wider than high below one another. What is not known is grey. The
    size depends on the image's alone.
    """
    picture = sized_to_see(image)
    depth = cv2.resize(np.asarray(prediction["depth"]), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    ends = _range(depth)
    panels = [picture, _coloured(depth, ends)]
    if "normals" in prediction:
        colours = to_colours(np.asarray(prediction["normals"]))
        panels.append(cv2.resize(colours, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT))
    axis = 0 if picture.shape[1] > picture.shape[0] else 1
    return _above_legend(np.concatenate(panels, axis), ends, max(picture.shape[:2]))


def _range(depth: np.ndarray) -> _Range | None:
    """Between which distances the colours change; None where nothing is known."""
    known = depth[depth > 0]
    if not known.size:
        return None
    near, far = (float(end) for end in np.percentile(known, _ENDS))
    if far < near * _LEAST:
        middle = (near * far) ** 0.5
        near, far = middle / _LEAST**0.5, middle * _LEAST**0.5
    return _Range(near, far, nearer=bool(known.min() < near), farther=bool(known.max() > far))


def _coloured(depth: np.ndarray, ends: _Range | None) -> np.ndarray:
    if ends is None:
        return np.full((*depth.shape, 3), _UNKNOWN, np.uint8)
    known = depth > 0
    place = np.log(np.where(known, depth, ends.near) / ends.near) / np.log(ends.far / ends.near)
    colours = _table()[np.rint(place.clip(0, 1) * 255).astype(np.uint8)]
    colours[~known] = _UNKNOWN
    return colours


def _table() -> np.ndarray:
    """The table inferno of matplotlib from its bright end, uint8 (256, 3) RGB: lightness alone says how near."""
    levels = np.arange(255, -1, -1, dtype=np.uint8)
    return cv2.applyColorMap(levels[None], cv2.COLORMAP_INFERNO)[0, :, ::-1]


def _above_legend(picture: np.ndarray, ends: _Range | None, longest: int) -> np.ndarray:
    """`picture` above a bar from near to far with its numbers."""
    line = max(22, round(longest / 30))
    font = load_font(round(line * 0.62))
    height, width = picture.shape[0], max(picture.shape[1], 10 * line)
    sheet = Image.new("RGB", (width, height + round(2.5 * line)), PAPER)
    sheet.paste(Image.fromarray(picture), ((width - picture.shape[1]) // 2, 0))
    canvas, gap = ImageDraw.Draw(sheet), line // 3
    left, right, middle = gap + font.getlength("near "), width - gap - font.getlength(" far"), height + 0.75 * line
    bar = cv2.resize(_table()[None], (round(right) - round(left), round(0.7 * line)), interpolation=cv2.INTER_LINEAR)
    sheet.paste(Image.fromarray(bar), (round(left), round(height + 0.4 * line)))
    canvas.text((gap, middle), "near", INK, font, anchor="lm")
    canvas.text((width - gap, middle), "far", INK, font, anchor="rm")
    marks = _marks(ends)
    if sum(font.getlength(f"{words}  ") for _, _, words in marks) > right - left:
        del marks[1:-1]  # the one in the middle
    for share, anchor, words in marks:
        canvas.text((left + share * (right - left), height + 1.75 * line), words, INK, font, anchor=anchor)
    return np.asarray(sheet)


def _marks(ends: _Range | None) -> list[tuple[float, str, str]]:
    """The numbers below the bar: where, which of their sides is there, and what they say."""
    if ends is None:
        return [(0.5, "mm", "no distance is known")]
    near, middle, far = (_metres(value) for value in (ends.near, (ends.near * ends.far) ** 0.5, ends.far))
    return [
        (0, "lm", ("≤ " if ends.nearer else "") + near),
        (0.5, "mm", middle),
        (1, "rm", ("≥ " if ends.farther else "") + far),
    ]


def _metres(value: float) -> str:
    return f"{value:.3g} m" if value < 1000 else f"{value:,.0f} m"
