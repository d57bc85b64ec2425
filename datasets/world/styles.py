"""Pictures with a marked style: what a style transfer takes its brush, palette and scale from.

Each has its own palette, scale and direction. The kinds take turns, so the first six already differ in everything.
"""

from collections.abc import Callable

import cv2
import numpy as np

from .dice import Dice
from .pens import Colour, blank, colour_of, cosine, fill, fill_each, halved, mixed, shaded, sine, uniforms

STYLE_KINDS: tuple[str, ...] = ("stripes", "dots", "brush_strokes", "mosaic", "hatching", "waves")

Placing = Callable[[np.ndarray, np.ndarray], np.ndarray]

_STREAM = 6  # ends the key of every stream here; never 0, which SeedSequence does not tell from a shorter key


def draw_style(index: int, *, size: tuple[int, int] = (256, 256), seed: int = 0) -> tuple[np.ndarray, str]:
    """The picture of this number, uint8 (H, W, 3) RGB for `size` (H, W), and its kind.

    The kind is `STYLE_KINDS[index % len(STYLE_KINDS)]`. A larger size shows more of the same style, not a larger scale.
    """
    kind = STYLE_KINDS[index % len(STYLE_KINDS)]
    dice = Dice(seed, index, _STREAM)
    palette = _palette(dice)
    canvas = blank(*size, palette[0])
    _KINDS[kind](canvas, palette, dice)
    grain = cv2.cvtColor(dice.bytes(*size) // 24, cv2.COLOR_GRAY2RGB)
    picture = cv2.add(halved(canvas), grain)  # stops at 255, as the next stops at 0
    return cv2.subtract(picture, np.full_like(picture, 5)), kind


# --- palettes and fields ----------------------------------------------------------------------------------------------


def _palette(dice: Dice) -> list[Colour]:
    """Six colours that go together: the ground, neighbours of one hue and two accents, with a common tint."""
    hue, spread = dice.uniform(), dice.uniform(0.04, 0.1)
    accent = hue + dice.choice((0.5, 0.42, 0.58, 0.33))
    tint = colour_of(hue + 0.02, 0.35, 0.75)
    ground = (0.3, 0.22) if dice.chance(0.4) else (0.08, 0.95)
    tones = [
        colour_of(hue, dice.uniform(0.5, 0.85), dice.uniform(0.5, 0.75)),
        colour_of(hue + spread, dice.uniform(0.35, 0.7), dice.uniform(0.7, 0.9)),
        colour_of(hue - spread, dice.uniform(0.5, 0.85), dice.uniform(0.3, 0.5)),
        colour_of(accent, dice.uniform(0.6, 0.9), dice.uniform(0.75, 0.95)),
        colour_of(accent + spread, dice.uniform(0.2, 0.45), dice.uniform(0.85, 0.97)),
    ]
    return [colour_of(hue + spread, *ground), *(mixed(tone, tint, 0.2) for tone in dice.shuffled(tones))]


class _Field:
    """A smooth function of place, -1 to 1: a sum of three plane waves."""

    def __init__(self, dice: Dice, wavelength: float):
        self._waves = [
            (*_direction(dice.uniform()), wavelength * dice.uniform(0.8, 1.6), dice.uniform()) for _ in range(3)
        ]

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        total = np.zeros(x.shape)
        for dx, dy, length, phase in self._waves:
            total += sine((x * dx + y * dy) / length + phase)
        return total / 3


def _direction(turns: float) -> tuple[float, float]:
    return float(cosine(turns)), float(sine(turns))


def _turned(canvas: np.ndarray, turns: float) -> Placing:
    """Map (along, across) a direction, counted from the picture's middle, to places (..., 2)."""
    height, width = canvas.shape[0] / 2, canvas.shape[1] / 2
    dx, dy = _direction(turns)

    def place(along: np.ndarray, across: np.ndarray) -> np.ndarray:
        places = np.empty((*along.shape, 2))
        places[..., 0] = width / 2 + along * dx - across * dy
        places[..., 1] = height / 2 + along * dy + across * dx
        return places

    return place


def _grid(canvas: np.ndarray, step: float, turns: float) -> np.ndarray:
    """The points of a square grid that covers all of the picture, turned: float64 (R, C, 2)."""
    reach = int((canvas.shape[0] + canvas.shape[1]) / 4 / step) + 2
    line = np.arange(-reach, reach + 1) * step
    return _turned(canvas, turns)(*np.meshgrid(line, line))


def _seen(canvas: np.ndarray, places: np.ndarray, margin: float) -> np.ndarray:
    """Which of the places (..., 2) are in the picture, or at most `margin` outside: bool (...)."""
    x, y = places[..., 0], places[..., 1]
    height, width = canvas.shape[0] / 2, canvas.shape[1] / 2
    return (x > -margin) & (x < width + margin) & (y > -margin) & (y < height + margin)


def _tones(dice: Dice, field: np.ndarray, turns: float, jitter: float) -> np.ndarray:
    """A number of the palette's tones, 1 to 5, for each value of a field: in turn as it rises, and some astray."""
    return np.floor((field + 1) * turns + uniforms(dice, len(field)) * jitter).astype(np.int64) % 5 + 1


# --- the kinds --------------------------------------------------------------------------------------------------------


def _stripes(canvas: np.ndarray, palette: list[Colour], dice: Dice) -> None:
    """Bands with a soft swing, in a rhythm of widths that repeats, with a thin line along some of them."""
    place = _turned(canvas, dice.uniform())
    reach = (canvas.shape[0] + canvas.shape[1]) / 4 + 8
    along = np.arange(-reach, reach + 6, 6.0)
    swing = dice.uniform(0, 7) * sine(along / dice.uniform(90, 220) + dice.uniform())
    scale = dice.uniform(6, 20)
    rhythm = [(colour, scale * dice.uniform(0.35, 1.3), dice.chance(0.5)) for colour in palette[: dice.between(3, 6)]]
    across, number = -reach - 8, 0
    while across < reach + 8:
        colour, width, lined = rhythm[number % len(rhythm)]
        fill(canvas, _ribbon(place, along, across + swing, width), colour)
        if lined:
            fill(canvas, _ribbon(place, along, across + swing + 0.4 * width, 0.15 * width), palette[-number % 6])
        across, number = across + width, number + 1


def _ribbon(place: Placing, along: np.ndarray, across: np.ndarray, width: float) -> np.ndarray:
    return np.concatenate([place(along, across), place(along, across + width)[::-1]])


def _dots(canvas: np.ndarray, palette: list[Colour], dice: Dice) -> None:
    """A turned grid of discs whose size and colour follow smooth fields, as in a coarse print."""
    step = dice.uniform(9, 20)
    places = _grid(canvas, step, dice.uniform())
    places[1::2] += (places[0, 1] - places[0, 0]) / 2
    places = places[_seen(canvas, places, step)]
    x, y = places[:, 0], places[:, 1]
    tone, colours = _Field(dice, 130)(x, y), _Field(dice, 110)(x, y)
    radii = step * (0.32 + 0.2 * tone)
    turns = np.arange(16) / 16
    ring = np.stack([cosine(turns), sine(turns)], -1)
    discs = places[:, None] + radii[:, None, None] * ring
    chosen = _tones(dice, colours, 2.0, 1.2)
    for number in range(1, 6):
        fill(canvas, list(discs[chosen == number]), palette[number])
    for number in range(1, 6):
        fill(canvas, list((places[:, None] + 0.45 * radii[:, None, None] * ring)[chosen == number]), palette[-number])


def _brush_strokes(canvas: np.ndarray, palette: list[Colour], dice: Dice) -> None:
    """Thick strokes that lie over each other along a smooth field; each bristle and each half has its own shade."""
    length, width = dice.uniform(34, 60), dice.uniform(9, 16)
    places = _grid(canvas, width * 1.15, dice.uniform())
    places = places[_seen(canvas, places, length / 2)]
    places = places + (uniforms(dice, *places.shape) - 0.5) * width
    order = np.argsort(uniforms(dice, len(places)), kind="stable")
    spines, normals = _spines(places[order], _Field(dice, 240), length, dice.uniform())
    edges = np.linspace(-1, 1, _BRISTLES + 1)[:, None, None] * _PROFILE[:, None] * (width / 2)
    sides = spines[:, None] + edges * normals[:, None]  # (strokes, edges, 7, 2)
    bristles = np.concatenate([sides[:, :-1], sides[:, 1:, ::-1]], 2)
    halves = bristles[:, :, np.clip(np.arange(14), 3, 10)]  # from the middle on; the same number of points
    tones = _Field(dice, 150)(spines[:, 3, 0], spines[:, 3, 1])
    chosen = _tones(dice, tones, 2.2, 1.6)
    light = 0.72 + 0.5 * uniforms(dice, len(spines), _BRISTLES, 2, 1)
    colours = np.array(palette)[chosen][:, None, None] * light
    fill_each(canvas, np.stack([bristles, halves], 2).reshape(-1, 14, 2), colours.reshape(-1, 3))


_PROFILE = np.array([0.55, 0.92, 1.0, 1.0, 0.97, 0.85, 0.5])  # a stroke's width from its start to its end
_BRISTLES = 5


def _spines(places: np.ndarray, field: _Field, length: float, base: float) -> tuple[np.ndarray, np.ndarray]:
    """The middle lines (N, 7, 2) of strokes that follow the field from `places`, and the unit vectors across them."""
    spots, normals, here = [], [], places
    for _ in range(7):
        turns = base + 0.22 * field(here[:, 0], here[:, 1])
        spots.append(here)
        normals.append(np.stack([-sine(turns), cosine(turns)], -1))
        here = here + length / 6 * np.stack([cosine(turns), sine(turns)], -1)
    return np.stack(spots, 1) - (spots[3] - places)[:, None], np.stack(normals, 1)


def _mosaic(canvas: np.ndarray, palette: list[Colour], dice: Dice) -> None:
    """Tiles with uneven corners and joints between them; the colour of a tile follows a smooth field."""
    step = dice.uniform(10, 19)
    corners = _grid(canvas, step, dice.uniform())
    corners = corners + (uniforms(dice, *corners.shape) - 0.5) * step * dice.uniform(0.25, 0.6)
    tiles = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]], 2).reshape(-1, 4, 2)
    middles = (tiles[:, 0] + tiles[:, 1] + tiles[:, 2] + tiles[:, 3]) / 4
    seen = _seen(canvas, middles, step)
    tiles, middles = tiles[seen], middles[seen]
    tiles = middles[:, None] + (tiles - middles[:, None]) * (1 - 2.4 / step)
    field = _Field(dice, dice.uniform(110, 200))(middles[:, 0], middles[:, 1])
    light = 0.8 + 0.35 * uniforms(dice, len(tiles), 1)
    fill_each(canvas, tiles, np.array(palette)[_tones(dice, field, 4.5, 1.3)] * light)


def _hatching(canvas: np.ndarray, palette: list[Colour], dice: Dice) -> None:
    """Pen strokes in two or three directions: each layer where the tone is darker than its share."""
    step = dice.uniform(5.5, 8.5)
    tone, base = _Field(dice, dice.uniform(130, 220)), dice.uniform()
    inks = [colour for colour in palette[1:] if abs(sum(colour) - sum(palette[0])) > 150] or palette[1:]
    for layer in range(3):
        turns = base + (0, 0.17, 0.33)[layer]
        places = _grid(canvas, step, turns)
        places = places + (uniforms(dice, *places.shape) - 0.5) * step * 0.6
        places = places[
            _seen(canvas, places, step) & (tone(places[..., 0], places[..., 1]) > (-0.75, -0.1, 0.25)[layer])
        ]
        dx, dy = _direction(turns)
        long = step * (1.2 + 0.9 * uniforms(dice, len(places), 1))
        thick = 0.35 + 0.5 * uniforms(dice, len(places), 1) + 0.35 * (tone(places[:, 0], places[:, 1]) + 1)[:, None]
        way, across = long * np.array([dx, dy]), thick * np.array([-dy, dx])
        strokes = np.stack([places - way, places + across, places + way, places - across], 1)
        fill_each(canvas, strokes, np.broadcast_to(inks[layer % len(inks)], (len(strokes), 3)))


def _waves(canvas: np.ndarray, palette: list[Colour], dice: Dice) -> None:
    """Rows of waves, the nearer before the farther, each with lines that follow its crest."""
    place = _turned(canvas, dice.uniform(-0.12, 0.12))
    reach = (canvas.shape[0] + canvas.shape[1]) / 4 + 8
    along = np.arange(-reach, reach + 5, 5.0)
    row, length = dice.uniform(15, 30), dice.uniform(45, 110)
    height, across, number = row * dice.uniform(0.4, 0.8), -reach - 8, 0
    while across < reach + row:
        crest = across + height * sine(along / length + dice.uniform()) * (
            1 + 0.5 * sine(along / (2.7 * length) + dice.uniform())
        )
        fill(canvas, _ribbon(place, along, crest, 2 * row + 3 * height), palette[1 + number % 5])
        for line in (0.18, 0.4, 0.66):
            ink = palette[0] if line < 0.3 else shaded(palette[1 + number % 5], 0.72 if line < 0.5 else 1.25)
            fill(canvas, _ribbon(place, along, crest + line * row, row * 0.09), ink)
        across, number = across + row * 0.8, number + 1


_KINDS: dict[str, Callable[[np.ndarray, list[Colour], Dice], None]] = {
    "stripes": _stripes,
    "dots": _dots,
    "brush_strokes": _brush_strokes,
    "mosaic": _mosaic,
    "hatching": _hatching,
    "waves": _waves,
}
