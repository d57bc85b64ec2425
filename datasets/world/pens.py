"""What faces and styles are drawn with: polygons on a canvas of twice the picture's size, colours, and sines.

Of OpenCV only `fillPoly` is used, with corners in whole sixteenths of a pixel, and the canvas is reduced by means in
whole numbers: smooth edges, the same everywhere.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from .dice import Dice

Colour = tuple[int, ...]

_STEPS = 4096  # directions in a full turn
_SINES = np.array([round(math.sin(2 * math.pi * step / _STEPS) * 2**14) for step in range(_STEPS)]) / 2**14


def sine(turns: float | np.ndarray) -> np.ndarray:
    """The sine of an angle, or an array of them, in full turns, from a table: the same everywhere."""
    return _SINES[np.floor(np.asarray(turns) * _STEPS + 0.5).astype(np.int64) % _STEPS]


def cosine(turns: float | np.ndarray) -> np.ndarray:
    """As `sine`."""
    return sine(np.asarray(turns) + 0.25)


def blank(height: int, width: int, colour: Sequence[int]) -> np.ndarray:
    """A canvas for a picture of this size, all of one colour: uint8 (2 * height, 2 * width, C)."""
    canvas = np.empty((2 * height, 2 * width, len(colour)), np.uint8)
    canvas[0] = colour
    canvas[1:] = canvas[0]  # row by row: far faster than pixel by pixel
    return canvas


def fill(canvas: np.ndarray, outlines: np.ndarray | Sequence[np.ndarray], colour: Sequence[int]) -> None:
    """Fill polygons, each (N, 2) of (x, y) in pixels of the finished picture, on a canvas of twice its size.

    Where polygons of one call overlap they cut each other out: two circles make a ring.
    """
    many = [outlines] if isinstance(outlines, np.ndarray) else outlines
    cv2.fillPoly(canvas, [_sixteenths(outline) for outline in many], colour, shift=4)


def fill_each(canvas: np.ndarray, outlines: np.ndarray, colours: np.ndarray) -> None:
    """Fill polygons (N, P, 2) one after the other, each in its own colour (N, C), 0 to 255 and more (which is 255)."""
    places = _sixteenths(outlines)
    shades = np.minimum(np.floor(colours + 0.5), 255).tolist()
    for place, shade in zip(places, shades, strict=True):
        cv2.fillPoly(canvas, [place], shade, shift=4)


def _sixteenths(outline: np.ndarray) -> np.ndarray:
    """Pixels of the picture as OpenCV's 1/16 pixels of a canvas twice as large, counted from a pixel's middle."""
    return np.floor(outline * 32 - 7.5).astype(np.int32)


def halved(canvas: np.ndarray) -> np.ndarray:
    """A canvas of uint8 (2H, 2W, C) as (H, W, C): means of four, rounded."""
    height, width, channels = canvas.shape
    rows = np.add(canvas[0::2], canvas[1::2], dtype=np.uint16)
    picture = np.empty((height // 2, width // 2, channels), np.uint8)
    for channel in range(channels):  # twice as fast as all at once: numpy's inner loop is then a row
        sums = rows[:, 0::2, channel] + rows[:, 1::2, channel]
        picture[..., channel] = (sums + 2) >> 2
    return picture


def colour_of(hue: float, saturation: float, value: float) -> Colour:
    """RGB, 0 to 255, of a hue in turns (0 red, 1/3 green, 2/3 blue) and a saturation and value of 0 to 1."""
    channels = []
    for offset in (5, 3, 1):
        place = (offset + hue * 6) % 6
        channels.append(int(255 * value * (1 - saturation * max(0.0, min(place, 4 - place, 1.0))) + 0.5))
    return tuple(channels)


def shaded(colour: Sequence[int], factor: float) -> Colour:
    """A darker (`factor` below 1) or lighter colour."""
    return tuple(min(255, int(value * factor + 0.5)) for value in colour)


def mixed(first: Sequence[int], second: Sequence[int], share: float) -> Colour:
    """`share` of the second colour in the first."""
    return tuple(int(a + (b - a) * share + 0.5) for a, b in zip(first, second, strict=True))


def uniforms(dice: Dice, *shape: int) -> np.ndarray:
    """float64 of `shape`, 0 up to 1, in steps of 1/65536."""
    pairs = dice.bytes(*shape, 2).astype(np.float64)
    return (pairs[..., 0] * 256 + pairs[..., 1]) / 65536
