"""What the drawn world's surfaces look like: a small stock of patterns, their colours, and a camera's noise.

A pattern is a square tile that repeats without a seam, of 64 shades; with each come smaller and smaller copies, so that
far surfaces do not flicker. Which colour a shade has, how much light falls on it and how much haze lies before it is
then one look-up in a table of 64 x 64 colours. Everything is computed in whole numbers.
"""

from functools import cache
from math import pi, sin

import numpy as np

from .dice import Dice

SIDE = 256  # texels along a tile
SHADES = 64
LEVELS = 64  # of light or haze, in a table of colours
TURN = 1024  # steps of a full turn
LIGHT_OF_DAY = 24  # the level of a table of `lit` that leaves colours as they are
_COPIES = 6  # a tile and its copies of a half, a quarter, ... the side
_EACH = 4  # tiles a family
_NOISE_SIDE = 512

# Whole numbers first: sine differs in its last bits from one machine to the next, and its 15 leading bits do not.
_SINE = tuple(round(sin(2 * pi * step / TURN) * 2**14) / 2**14 for step in range(TURN))


def sine(step: int) -> float:
    """The sine of `step` of the 1024 steps of a turn, in 1/16384, the same on every machine."""
    return _SINE[step % TURN]


def cosine(step: int) -> float:
    """The cosine, as `sine`."""
    return _SINE[(step + TURN // 4) % TURN]


# --- patterns ---------------------------------------------------------------------------------------------------------


def texture_numbers() -> int:
    """How many textures there are."""
    return len(_FAMILIES) * _EACH


def sample(texture: int, u: np.ndarray, v: np.ndarray, step: int) -> np.ndarray:
    """Shades, uint8 0 to 63, of a texture at places `u` to the right and `v` down, int32 in 1/65536 texel.

    `u` and `v` have shapes that broadcast; beyond the tile it repeats. `step` is the distance in 1/65536 texel from one
    pixel to the next: where it is more than one texel, a smaller copy is read.
    """
    copy = min(max(step.bit_length() - 17, 0), _COPIES - 1)
    mask = (SIDE >> copy) - 1
    rows = ((v >> (16 + copy)) & mask) << (8 - copy)
    return _tiles()[texture][copy].take(rows + ((u >> (16 + copy)) & mask))


@cache
def _tiles() -> tuple[tuple[np.ndarray, ...], ...]:
    """Of every texture its copies, each flat, uint8; made once a process."""
    dice = Dice(0, 7)
    tiles = [family(dice.fork(number, each)) for number, family in enumerate(_FAMILIES) for each in range(_EACH)]
    return tuple(_with_copies(tile, dice.fork(99, number)) for number, tile in enumerate(tiles))


def _with_copies(tile: np.ndarray, dice: Dice) -> tuple[np.ndarray, ...]:
    """`tile`, int64 of any range, as 64 shades with a little grain, and its smaller copies."""
    low, high = int(tile.min()), int(tile.max())
    shades = (tile - low) * 60 // max(high - low, 1) + dice.bytes(SIDE, SIDE) % 4
    copies = [shades.astype(np.uint8).ravel()]
    for _ in range(_COPIES - 1):
        shades = (shades[::2, ::2] + shades[1::2, ::2] + shades[::2, 1::2] + shades[1::2, 1::2] + 2) >> 2
        copies.append(shades.astype(np.uint8).ravel())
    return tuple(copies)


def _smooth(dice: Dice, cells: int) -> np.ndarray:
    """int64 (SIDE, SIDE) around 0 to 255: hills of SIDE / `cells` texels, without a seam."""
    hills = dice.bytes(cells, cells).astype(np.int64) << 8
    while len(hills) < SIDE:
        hills = np.repeat(np.repeat(hills, 2, axis=0), 2, axis=1)
        for axis in (0, 1, 0, 1):
            hills = (hills + np.roll(hills, 1, axis)) >> 1
    return hills >> 8


def _places() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.indices((SIDE, SIDE))
    return rows, columns


def _wave(phase: np.ndarray) -> np.ndarray:
    """A triangle wave, 0 to 127, of a phase of which 256 is a period."""
    return np.abs((phase & 255) - 128)


def _noise(dice: Dice) -> np.ndarray:
    cells = 8 << dice.below(3)
    return 4 * _smooth(dice, cells) + 2 * _smooth(dice, 2 * cells) + _smooth(dice, 4 * cells)


def _clouds(dice: Dice) -> np.ndarray:
    return 8 * _smooth(dice, 4) + 4 * _smooth(dice, 8) + 2 * _smooth(dice, 16) + _smooth(dice, 32)


def _stripes(dice: Dice) -> np.ndarray:
    rows, columns = _places()
    across, down = 2 + dice.below(7), dice.below(5)
    wave = _wave(across * columns + down * rows + _smooth(dice, 8) // 4)
    return np.clip(wave, 44, 84) * 4 + _smooth(dice, 32) // 8


def _checks(dice: Dice) -> np.ndarray:
    rows, columns = _places()
    side = 3 + dice.below(3)
    return 120 * (((rows >> side) ^ (columns >> side)) & 1) + _smooth(dice, 16) // 4


def _bricks(dice: Dice) -> np.ndarray:
    rows, columns = _places()
    course = rows >> 5
    column = (columns + 32 * (course & 1)) & 255
    joint = ((rows & 31) < 3) | ((column & 63) < 3)
    colour = dice.bytes(8, 4).astype(np.int64)[course, column >> 6]
    return np.where(joint, 0, 120 + colour // 2 + _smooth(dice, 64) // 4)


def _speckle(dice: Dice) -> np.ndarray:
    cells = 16 << dice.below(3)
    spots = _smooth(dice, cells)
    high = int(np.sort(spots, axis=None)[SIDE * SIDE * 3 // 4])
    return np.clip((spots - high) * 12, 0, 160) + _smooth(dice, 8) // 6


def _gradient(dice: Dice) -> np.ndarray:
    rows, columns = _places()
    return 2 * _wave((columns, rows, rows + columns, columns - rows)[dice.below(4)]) + _smooth(dice, 4) // 4


def _marble(dice: Dice) -> np.ndarray:
    rows, columns = _places()
    warp = 3 * _smooth(dice, 4) + 2 * _smooth(dice, 8) + _smooth(dice, 16)
    return _wave(warp + (rows if dice.chance(0.5) else columns)) + _smooth(dice, 32) // 6


_FAMILIES = (_noise, _clouds, _stripes, _checks, _bricks, _speckle, _gradient, _marble)
CLOUDS = tuple(range(_FAMILIES.index(_clouds) * _EACH, (_FAMILIES.index(_clouds) + 1) * _EACH))  # for the sky


# --- colours ----------------------------------------------------------------------------------------------------------
# A colour is red, green, blue and a 0: with four bytes a pixel, a look-up moves one number instead of three.


def draw_colour(dice: Dice, low: int, high: int, vivid: int) -> np.ndarray:
    """A colour, int32 (4,): brightest channel from `low` to `high`, `vivid` of 256 the largest distance from grey."""
    value, hue, strength = dice.between(low, high), dice.below(6 * 256), dice.below(vivid + 1)
    wheel = [min(max(abs((hue + shift) % 1536 - 768) - 256, 0), 256) for shift in (0, 1024, 512)]
    return np.array([*(value * (65536 - strength * (256 - part)) >> 16 for part in wheel), 0], np.int32)


def palette(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The colour of each shade, int32 (256,), four numbers each: from one colour to another."""
    return (first + (second - first) * np.arange(SHADES, dtype=np.int32)[:, None] // (SHADES - 1)).ravel()


def lit(colours: np.ndarray, haze: np.ndarray, amount: int) -> np.ndarray:
    """A table of a palette under 64 levels of light, behind `amount` of 256 of the colour `haze`.

    Dark at level 0, as they are at `LIGHT_OF_DAY`, and shining at the last. Packed colours, int32 (4096,): look up
    64 level + shade.
    """
    level = np.arange(LEVELS, dtype=np.int32)[:, None]
    light = colours * (level * 7 + (256 - 7 * LIGHT_OF_DAY))
    light >>= 8
    light += np.maximum(level - 50, 0) * 9
    np.minimum(light, 255, out=light)
    light *= 256 - amount
    light += np.tile(haze * amount, SHADES)
    light >>= 8
    return light.astype(np.uint8).view(np.int32).ravel()


def hazy(colours: np.ndarray, haze: np.ndarray) -> np.ndarray:
    """A table like that of `lit` behind more and more of the colour `haze`: none at level 0, nothing else at 63."""
    level = np.arange(LEVELS, dtype=np.int32)[:, None]
    table = colours * (LEVELS - 1 - level) + np.tile(haze, SHADES) * level
    return (table // (LEVELS - 1)).astype(np.uint8).view(np.int32).ravel()


# --- camera -----------------------------------------------------------------------------------------------------------

NOISE_STRENGTHS = 3


def sensor_noise(size: tuple[int, int], strength: int, place: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """What a camera's sensor adds and what it takes away, uint8 (H, W, 3) each; `strength` is 0, 1 or 2.

    `place`: rows and columns by which the stock of noise is shifted.
    """
    height, width = size
    row, column = place[0] % _NOISE_SIDE, place[1] % _NOISE_SIDE
    repeats = (-(-(row + height) // _NOISE_SIDE), -(-(column + width) // _NOISE_SIDE), 1)
    part = np.s_[row : row + height, column : column + width]
    more, less = _noises()[strength]
    if repeats == (1, 1, 1):
        return more[part], less[part]
    return np.tile(more, repeats)[part], np.tile(less, repeats)[part]


@cache
def _noises() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """For each strength what is added and what is taken away: the sum of four bytes is nearly Gaussian."""
    four = Dice(0, 8).bytes(4, _NOISE_SIDE, _NOISE_SIDE, 3)
    centred = four.sum(axis=0, dtype=np.int32) - 510  # standard deviation 148
    noises = [centred * strength // 148 for strength in (2, 4, 6)]
    return tuple((np.maximum(noise, 0).astype(np.uint8), np.maximum(-noise, 0).astype(np.uint8)) for noise in noises)
