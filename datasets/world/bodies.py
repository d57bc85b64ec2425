"""The things in the drawn world: flat bodies of eight shapes, cut out, lit from one side and placed at a distance."""

from functools import cache
from math import floor, sqrt
from typing import NamedTuple

import cv2
import numpy as np

from .textures import LEVELS, LIGHT_OF_DAY, TURN, cosine, lit, palette, sample, sine

SHAPE_NAMES = ("disc", "square", "triangle", "star", "ring", "cross", "crescent", "heart")
# Metres from the middle of a body to its farthest point, by class: what makes distance readable from a picture.
REACHES = (0.36, 0.42, 0.46, 0.52, 0.46, 0.46, 0.42, 0.42)

_FRACTION_BITS = 4  # corners are placed to 1/16 pixel


class Body(NamedTuple):
    """One flat thing. Places in pixels are continuous: 0 is the image's left and top edge."""

    label: int  # the number of its shape
    x: float  # pixels, of its middle
    y: float
    distance: float  # metres, of its middle
    metres: float  # metres that a pixel covers at that distance
    reach: float  # pixels from its middle to its farthest point
    turn: int  # 0 to 1023, of a full turn
    lean: int  # 0 to 1023: the direction in which it leans away from the camera
    squeeze: float  # up to 1: how much narrower leaning makes it
    texture: int
    texels: float  # of the texture on a metre
    place: tuple[int, int]  # where on the texture its middle lies, in texels
    colours: tuple[np.ndarray, np.ndarray]  # of the texture's first and last shade
    bevel: float  # how far its rounded rim reaches in, of its reach


class Plate(NamedTuple):
    """A body cut out: which pixels it would cover if nothing hid it and the image went on."""

    body: Body
    mask: np.ndarray  # uint8 (h, w), 0 or 1, with an empty rim
    top: int  # row of the image on which the mask begins, below 0 too
    left: int
    rim: int  # pixels
    area: int  # pixels

    def overlap(self, size: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """The part of an image of `size` (H, W) that the mask lies on, and that part of the mask; None if outside."""
        height, width = self.mask.shape
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.top + height, size[0]), min(self.left + width, size[1])
        if top >= bottom or left >= right:
            return None
        inner = slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left)
        return (slice(top, bottom), slice(left, right)), inner

    def extent(self) -> tuple[int, int, int, int]:
        """Xyxy of the whole body, whether or not it is hidden or outside of the image."""
        left, top, width, height = cv2.boundingRect(self.mask)
        return left + self.left, top + self.top, left + width + self.left, top + height + self.top

    def depth(self, inner: tuple[slice, slice]) -> np.ndarray:
        """Distance in metres, float32, of a part of the mask's pixels."""
        body = self.body
        slope = sqrt(1 - body.squeeze * body.squeeze) / body.squeeze * body.metres
        rows, columns = self._offsets(inner)
        down = rows * (slope * sine(body.lean)) + body.distance
        return (down[:, None] + columns * (slope * cosine(body.lean))).astype(np.float32)

    def paint(self, canvas: np.ndarray, light: int, haze: np.ndarray, amount: int) -> None:
        """Paint the body on `canvas`, int32 (H, W) of packed colours: `light` is the direction it comes from."""
        found = self.overlap(canvas.shape)
        if found is None:
            return
        outer, inner = found
        colours = lit(palette(*self.body.colours), haze, amount)
        index = self._light(light)[inner] << 6
        index |= self._shades(inner)
        np.copyto(canvas[outer], colours.take(index), where=self.mask[inner].view(bool))

    def _offsets(self, inner: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """How far the middles of rows and of columns lie from the body's middle, float64."""
        rows = np.arange(inner[0].start, inner[0].stop) + (self.top + 0.5 - self.body.y)
        columns = np.arange(inner[1].start, inner[1].stop) + (self.left + 0.5 - self.body.x)
        return rows, columns

    def _shades(self, inner: tuple[slice, slice]) -> np.ndarray:
        """The texture on a part of the mask; it turns, leans and grows with the body."""
        body = self.body
        a, b, c, d = _matrix(body)
        scale = body.reach * body.metres * body.texels * 65536 / (a * d - b * c)
        rows, columns = self._offsets(inner)
        down, right = np.floor(rows * 256).astype(np.int64), np.floor(columns * 256).astype(np.int64)
        u_right, u_down, v_right, v_down = (floor(part * scale) for part in (d, -b, -c, a))
        u = ((down * u_down >> 8) + (body.place[0] << 16)).astype(np.int32)[:, None]
        v = ((down * v_down >> 8) + (body.place[1] << 16)).astype(np.int32)[:, None]
        u = u + (right * u_right >> 8).astype(np.int32)
        v = v + (right * v_right >> 8).astype(np.int32)
        return sample(body.texture, u, v, floor(body.metres * body.texels * 65536))

    def _light(self, direction: int) -> np.ndarray:
        """Levels of light, int32 of the mask's shape: brighter towards it, and where the rounded rim faces it."""
        width = 2 * self.rim + 1
        soft = cv2.boxFilter(self.mask, cv2.CV_32S, (width, width), normalize=False, borderType=cv2.BORDER_CONSTANT)
        near = max(self.rim // 2, 1)
        right, down = _whole(near * cosine(direction)), _whole(near * sine(direction))
        level = np.zeros(self.mask.shape, np.int32)
        inside = slice(near, -near)
        height, length = self.mask.shape
        towards = soft[near + down : height - near + down, near + right : length - near + right]
        away = soft[near - down : height - near - down, near - right : length - near - right]
        level[inside, inside] = (away - towards) * 26 // (width * width)
        rows, columns = self._offsets((slice(0, height), slice(0, length)))
        strength = 7 / self.body.reach
        level += np.floor(rows * (strength * sine(direction))).astype(np.int32)[:, None]
        level += np.floor(columns * (strength * cosine(direction))).astype(np.int32) + LIGHT_OF_DAY + 2
        return np.clip(level, 0, LEVELS - 1, out=level)


def cut_out(body: Body) -> Plate:
    """The pixels that a body covers."""
    inner = body._replace(reach=body.reach - 0.5)  # `fillPoly` adds the pixels that the outline itself runs through
    corners = [_corners(inner, outline) for outline in _outlines()[body.label]]
    rim = max(1, floor(body.bevel * body.reach))
    margin = rim // 2 + 2
    left, top = (floor(float(side.min())) - margin for side in corners[0])
    right, bottom = (floor(float(side.max())) + margin + 2 for side in corners[0])
    mask = np.zeros((bottom - top, right - left), np.uint8)
    places = [np.stack([x - left, y - top], axis=1) * 2**_FRACTION_BITS for x, y in corners]
    polygons = [np.floor(place).astype(np.int32) for place in places]
    cv2.fillPoly(mask, polygons, 1, lineType=cv2.LINE_8, shift=_FRACTION_BITS)
    return Plate(body, mask, top, left, rim, cv2.countNonZero(mask))


def below_middle(body: Body) -> float:
    """How many pixels a body's lowest corner lies below its middle."""
    return float(_corners(body._replace(x=0.5, y=0.5), _outlines()[body.label][0])[1].max())


def _corners(body: Body, outline: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """X and y of an outline's corners, where 0 is the middle of the image's first pixel, as OpenCV has it."""
    a, b, c, d = _matrix(body)
    right, down = outline
    return right * a + down * b + (body.x - 0.5), right * c + down * d + (body.y - 0.5)


def _matrix(body: Body) -> tuple[float, float, float, float]:
    """What takes a shape of reach 1 to the image, by rows: turned, then squeezed in the direction it leans in."""
    turn_x, turn_y = cosine(body.turn) * body.reach, sine(body.turn) * body.reach
    lean_x, lean_y = cosine(body.lean), sine(body.lean)
    less = body.squeeze - 1
    xx, xy, yy = 1 + less * lean_x * lean_x, less * lean_x * lean_y, 1 + less * lean_y * lean_y
    return (
        xx * turn_x + xy * turn_y,
        xy * turn_x - xx * turn_y,
        xy * turn_x + yy * turn_y,
        yy * turn_x - xy * turn_y,
    )


def _whole(value: float) -> int:
    return floor(value + 0.5)


# --- shapes -----------------------------------------------------------------------------------------------------------


@cache
def _outlines() -> tuple[tuple[tuple[np.ndarray, np.ndarray], ...], ...]:
    """Of every shape its outline, and that of its hole if it has one: x and y of corners, reach 1."""
    arm = 0.36
    long = sqrt(1 - arm * arm)
    cross = [(arm, -arm), (long, -arm), (long, arm), (arm, arm), (arm, long), (-arm, long)]
    cross += [(-x, -y) for x, y in cross]
    star = [_on_circle(TURN * step // 10 - TURN // 4, 0.44 if step % 2 else 1.0) for step in range(10)]
    hollow = [(0.5 + 0.7725 * cosine(step), 0.7725 * sine(step)) for step in range(TURN - 224, 223, -12)]
    crescent = [_on_circle(step, 1.0) for step in range(140, TURN - 139, 12)] + hollow
    shapes = (
        [_regular(48, 0)],
        [_regular(4, TURN // 8)],
        [_regular(3, -TURN // 4)],
        [star],
        [_regular(48, 0), _regular(48, 0, 0.55)],
        [cross],
        [crescent],
        [[_on_heart(step) for step in range(0, TURN, 16)]],
    )
    return tuple(tuple(_arrays(outline) for outline in shape) for shape in shapes)


def _arrays(points: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    both = np.array(points, np.float64)
    return both[:, 0].copy(), both[:, 1].copy()


def _on_circle(step: int, radius: float) -> tuple[float, float]:
    return radius * cosine(step), radius * sine(step)


def _regular(corners: int, start: int, radius: float = 1.0) -> list[tuple[float, float]]:
    return [_on_circle(start + TURN * corner // corners, radius) for corner in range(corners)]


def _on_heart(step: int) -> tuple[float, float]:
    """The well-known curve 16 sin³ t, 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, which is 17 high below its middle."""
    side = sine(step)
    height = 13 * cosine(step) - 5 * cosine(2 * step) - 2 * cosine(3 * step) - cosine(4 * step)
    return 16 * side * side * side / 17, -height / 17
