"""A head in space: where its places are in the picture, and how the light falls on it.

Places on a head are (x, y) or (x, y, z): to the right, down and out of the picture, from the middle of the head, with
half the width of a middling head as the unit.
"""

from functools import cached_property

import numpy as np

from .pens import Colour, blank, cosine, fill, sine
from .people import Moment, Person

NOSE = 0.24  # how far the tip of the nose stands out


class Head:
    """A person in a moment, and the canvas of twice the picture's size that they are drawn on.

    The canvas has a fourth channel: 255 where the head is, whose relief takes the light, and 0 for the background.
    """

    def __init__(self, person: Person, moment: Moment, size: int):
        self.person, self.moment, self.size = person, moment, size
        values = moment.values
        self.unit = 0.285 * size * values["scale"]
        self.middle = size * (0.5 + values["x"]), size * (0.52 + values["y"])
        (nod, lift), (ahead, aside), (upright, tilt) = (
            (float(cosine(values[name] / 360)), float(sine(values[name] / 360))) for name in ("pitch", "yaw", "roll")
        )
        self._upright, self._tilt = upright, tilt
        # Nodded, then turned: the eyes stay level. For the outline without the narrowing, for a head is round.
        self._turned = (ahead, lift * aside, nod * aside), (0.0, nod, -lift)
        self._turned_rim = (1.0, 0.0, aside), (0.0, 1.0, -lift)
        self._face, self._rim = self._rolled(self._turned), self._rolled(self._turned_rim)

    @cached_property
    def canvas(self) -> np.ndarray:
        """What is drawn on, the backdrop's colour at first: uint8 (2 * size, 2 * size, 4)."""
        return blank(self.size, self.size, (*self.moment.backdrop, 0))

    def fill(self, outline: np.ndarray | list[np.ndarray], colour: Colour, part: int = 255) -> None:
        """Fill one polygon of pixels (N, 2), or several that cut each other out."""
        fill(self.canvas, outline, (*colour, part))

    def on_face(self, places, lift: float = 0.0) -> np.ndarray:
        """Pixels (N, 2) of places (N, 2) on the face's surface, or `lift` before it."""
        x, y = np.asarray(places, np.float64).T
        return self._flat(self._face, x, y, surface(x, y) + lift)

    def on_rim(self, places) -> np.ndarray:
        """Pixels (N, 2) of places (N, 3) on the head's outline, or on what hangs beside it."""
        return self._flat(self._rim, *np.asarray(places, np.float64).T)

    def on_body(self, places) -> np.ndarray:
        """Pixels (N, 2) of places (N, 2) on neck and shoulders, which stay upright."""
        return np.array(self.middle) + self.unit * places

    def _rolled(self, rows):
        (a, b), scale = rows, self.unit
        across = tuple(scale * (p * self._upright - q * self._tilt) for p, q in zip(a, b, strict=True))
        return across, tuple(scale * (p * self._tilt + q * self._upright) for p, q in zip(a, b, strict=True))

    def _flat(self, rows, x, y, z) -> np.ndarray:
        pixels = np.empty((len(x), 2))
        for axis, (a, b, c) in enumerate(rows):
            pixels[:, axis] = a * x + b * y + c * z + self.middle[axis]
        return pixels

    # --- light --------------------------------------------------------------------------------------------------------

    def lit(self, drawn: np.ndarray) -> np.ndarray:
        """A drawn picture, uint8 (size, size, 4), under the moment's light, with noise: uint8 (size, size, 3)."""
        values, dice, size = self.moment.values, self.moment.dice, self.size
        light = _direction(values["azimuth"], values["elevation"])
        head = drawn[..., 3].astype(np.float32) / 255
        facing = self._facing(light)
        ramp = np.arange(size, dtype=np.float32) / size - 0.5
        behind = 0.62 + 0.35 * (ramp[None, :] * light[0] + ramp[:, None] * light[1])
        key = (facing * head + behind * (1 - head)) * (1.1 * values["key"])
        shine = facing * facing
        shine *= shine
        shine *= shine
        shine *= shine
        shine *= head * (18 * values["key"])
        noise = dice.bytes(3, size, size).astype(np.int16) + dice.bytes(3, size, size) - 255
        strength = dice.uniform(0.01, 0.06)
        picture = np.empty((size, size, 3), np.uint8)
        for channel, warm in enumerate((1 + values["warmth"], 1.0, 1 - values["warmth"])):
            colour = drawn[..., channel] * (values["ambient"] * (2 - warm) + key * warm) + shine
            colour -= np.maximum(colour - 180, 0) * 0.5  # as film does: light skin in strong light keeps its shapes
            colour += noise[channel].astype(np.float32) * strength + 0.5
            picture[..., channel] = np.clip(colour, 0, 255)  # cut to whole numbers: 0.5 was added
        return picture

    def _facing(self, light: tuple[float, float, float]) -> np.ndarray:
        """How much the head's surface faces the light at each pixel, 0 to 1: float32 (size, size)."""
        line = np.arange(self.size, dtype=np.float32) + np.float32(0.5)
        right, down = (line[None, :] - self.middle[0]) / self.unit, (line[:, None] - self.middle[1]) / self.unit
        u, v = right * self._upright + down * self._tilt, down * self._upright - right * self._tilt
        du, dv = u * 0.9, v * 0.55
        for x, y, lift, wide, high, rise in self._bumps():
            place = x, y, float(surface(x, y)) + lift
            a, b = (sum(weight * value for weight, value in zip(row, place, strict=True)) for row in self._turned)
            p, q = (u - a) / wide, (v - b) / high
            bump = p * p + q * q + 1
            bump = (4 * rise) / (bump * bump * bump)
            du += bump * p / wide
            dv += bump * q / high
        slope = du * du + dv * dv
        deep = np.sqrt(np.maximum(1 - u * u * 0.7 - v * v * 0.35, 0.08))
        length = np.sqrt(slope + deep * deep)
        # The light is in the head's upright frame: a tilt of the head does not turn it.
        across, along = (
            light[0] * self._upright + light[1] * self._tilt,
            light[1] * self._upright - light[0] * self._tilt,
        )
        return np.maximum(du * across + dv * along + deep * light[2], 0) / length

    def _bumps(self):
        """What stands out of the round, or lies deep: x, y, lift, width, height and rise."""
        shape = self.person.shape
        eye, nose, chin = (shape["eye_gap"], shape["eye_y"]), shape["nose_y"], shape["chin"]
        return (
            (0, nose - 0.02, NOSE, 0.13, 0.13, 0.16),
            (0, nose - 0.3, 0.1, 0.11, 0.3, 0.1),
            (-eye[0], eye[1], 0, 0.26, 0.2, -0.1),
            (*eye, 0, 0.26, 0.2, -0.1),
            (-0.55, 0.35, 0, 0.3, 0.25, 0.06),
            (0.55, 0.35, 0, 0.3, 0.25, 0.06),
            (0, chin - 0.18, 0.1, 0.25, 0.2, 0.09),
        )


def surface(x, y):
    """The depth of the face's surface at (x, y)."""
    return 0.85 * np.sqrt(np.maximum(0.03, 1 - x * x / 1.12 - y * y / 1.9))


def _direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """The unit vector towards a light: right, down, out of the picture."""
    level = float(cosine(elevation / 360))
    return level * float(sine(azimuth / 360)), -float(sine(elevation / 360)), level * float(cosine(azimuth / 360))
