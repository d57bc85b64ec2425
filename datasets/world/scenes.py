"""Scenes of the drawn world: bodies at known distances, over a ground and before a wall or the sky, with their truth.

The camera is a pinhole 1.2 m above the ground that looks level: a thing of R metres at z metres is f R / z pixels
large, with f = (H + W) / 2, and touches the ground f 1.2 / z pixels below the horizon. What lies nearer hides what lies
farther, light comes from one side, and haze grows with distance.

A scene is planned first, which is cheap and settles everything, and its truth and its picture are drawn from the plan
when they are asked for.
"""

from functools import cached_property
from math import floor
from typing import NamedTuple

import cv2
import numpy as np

from .bodies import REACHES, SHAPE_NAMES, Body, Plate, below_middle, cut_out
from .boundaries import annotate
from .dice import Dice
from .textures import (
    CLOUDS,
    LEVELS,
    LIGHT_OF_DAY,
    NOISE_STRENGTHS,
    SIDE,
    TURN,
    cosine,
    draw_colour,
    hazy,
    lit,
    palette,
    sample,
    sensor_noise,
    sine,
    texture_numbers,
)

EMPTY = 0.06  # of the scenes hold no body at all
MOST_BODIES = 12
CAMERA_HEIGHT = 1.2  # metres
SKY = 60.0  # metres: as far as the world goes
LEAST_VISIBLE = 0.2  # of an object's pixels; with less in sight it is difficult
FEWEST_PIXELS = 25  # in sight; with fewer an object is difficult
APART = 0.42  # metres between two bodies' distances: more than any two lean towards each other


class Surface(NamedTuple):
    """What covers the ground, the wall or the sky."""

    texture: int
    colours: tuple[np.ndarray, np.ndarray]  # of the texture's first and last shade
    texels: float  # of the texture on a metre
    place: tuple[int, int]  # texels by which it is shifted


class Backdrop(NamedTuple):
    """Everything in a scene but the bodies."""

    horizon: float  # its row, in pixels
    wall: float  # metres to what stands behind everything
    is_open: bool  # the sky stands there, and no wall
    ground: Surface
    back: Surface
    haze: np.ndarray  # its colour
    clear: float  # metres at which haze takes half of the colour
    light: int  # the direction that it comes from, 0 to 1023 of a full turn
    noise: int  # of the sensor, 0 to 2
    blur: int  # pixels along the lens's blur, 3 or 5
    pan: float  # pixels by which the camera has turned to the right


class Plan(NamedTuple):
    """A scene before it is drawn; `bodies` go from the farthest to the nearest."""

    size: tuple[int, int]  # height and width of the image, pixels
    backdrop: Backdrop
    bodies: tuple[Body, ...]


class Scene:
    """A drawn scene. Its objects are the bodies of which at least one pixel is in sight, from far to near.

    `ids` uint8 (H, W): 0 for the background, 1 + n for the n-th object; `boxes` float32 (N, 4), xyxy around the visible
    pixels; `labels` int64 (N,), numbers of `SHAPE_NAMES`; `distances` float32 (N,), metres; `visible` float32 (N,), the
    share of the object's pixels that is neither hidden nor cut off; `difficult` bool (N,): less than `LEAST_VISIBLE` of
    it or fewer than `FEWEST_PIXELS` pixels are visible.

    `image`, `mask`, `depth` and `annotators` are drawn on first use.
    """

    def __init__(self, plan: Plan, dice: Dice) -> None:
        self._plan, self._dice = plan, dice
        self._plates = [cut_out(body) for body in plan.bodies]
        ids, seen = _paint_ids(self._plates, plan.size)
        self._kept = kept = [number for number, count in enumerate(seen) if count]
        bodies = [plan.bodies[number] for number in kept]
        self.ids = ids if len(kept) == len(seen) else _renumbered(ids, kept)
        self.labels = np.array([body.label for body in bodies], np.int64)
        self.distances = np.array([body.distance for body in bodies], np.float32)
        pixels = np.array([seen[number] for number in kept], np.int64)
        self.visible = (pixels / np.array([self._plates[number].area for number in kept])).astype(np.float32)
        self.difficult = is_difficult(self.visible, pixels)
        self.boxes = np.zeros((len(kept), 4), np.float32)
        for row, number in enumerate(kept):
            self.boxes[row] = _box(self.ids, row + 1, self._plates[number])

    @cached_property
    def image(self) -> np.ndarray:
        """uint8 (H, W, 3), RGB."""
        size, backdrop, bodies = self._plan
        canvas = np.empty(size, np.int32)
        first = _paint_back(canvas, backdrop)
        _paint_ground(canvas, backdrop, first)
        for body in bodies:
            _paint_shadow(canvas[first:], backdrop, body, _ground_row(backdrop, body, size) - first)
        for plate in self._plates:
            plate.paint(canvas, backdrop.light, backdrop.haze, floor(256 * _haze(backdrop, plate.body.distance)))
        image = cv2.cvtColor(canvas.view(np.uint8).reshape(*size, 4), cv2.COLOR_BGRA2BGR)
        image = cv2.GaussianBlur(image, (backdrop.blur, backdrop.blur), 0)
        more, less = sensor_noise(size, backdrop.noise, (self._dice.below(SIDE), self._dice.below(SIDE)))
        return cv2.subtract(cv2.add(image, more), less)

    @cached_property
    def mask(self) -> np.ndarray:
        """int64 (H, W): 0 for the background, 1 + label on an object."""
        table = np.zeros(256, np.uint8)
        table[1 : len(self.labels) + 1] = self.labels + 1
        return cv2.LUT(self.ids, table).astype(np.int64)

    @cached_property
    def depth(self) -> np.ndarray:
        """float32 (H, W), metres along the camera's axis."""
        size, backdrop = self._plan.size, self._plan.backdrop
        depth = np.repeat(_row_depths(size, backdrop)[:, None], size[1], axis=1)
        for plate in self._plates:
            if found := plate.overlap(size):
                np.copyto(depth[found[0]], plate.depth(found[1]), where=plate.mask[found[1]].view(bool))
        return depth

    @property
    def camera(self) -> np.ndarray:
        """float32 (3,): the focal length, and where the camera's axis meets the image: x, and y, on the horizon, both 0
        in the middle of the first pixel.
        """
        (height, width), backdrop = self._plan.size, self._plan.backdrop
        return np.array([focal_length((height, width)), (width - 1) / 2, backdrop.horizon - 0.5], np.float32)

    @cached_property
    def annotators(self) -> np.ndarray:
        """Bool (5, H, W): the visible boundaries as five people would mark them, see `annotate`."""
        return annotate(self.ids, self.boxes, self._dice.fork(5))


def is_difficult(visible: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Which objects a person would not ask for, bool (N,), by the share and the number of their visible pixels."""
    return (visible < LEAST_VISIBLE) | (pixels < FEWEST_PIXELS)


def draw_scene(dice: Dice, size: tuple[int, int] = (256, 256), *, level: bool = False) -> Scene:
    """A scene of up to `MOST_BODIES` bodies of 8 to 150 pixels, for an image of 256 x 256; `size` is (H, W)."""
    return Scene(plan_scene(dice, size, level=level), dice)


def draw_portrait(dice: Dice, size: tuple[int, int], label: int, *, level: bool = False) -> Scene:
    """A scene with one large body, of the class `label`, which may be cut off at a border by a little."""
    backdrop = plan_backdrop(dice, size, level=level)
    side = min(size)
    body = plan_body(dice, size, reach=side * dice.uniform(0.16, 0.46), label=label)
    x, y = (dice.uniform(0.6 * body.reach, length - 0.6 * body.reach) for length in (size[1], size[0]))
    y = min(y, _ground_row(backdrop, body, size) - below_middle(body))
    return Scene(Plan(size, backdrop, (body._replace(x=x, y=y),)), dice)


# --- plans ------------------------------------------------------------------------------------------------------------


def plan_scene(dice: Dice, size: tuple[int, int], *, level: bool = False) -> Plan:
    """Backdrop and bodies of a scene."""
    backdrop = plan_backdrop(dice, size, level=level)
    wanted = 0 if dice.chance(EMPTY) else dice.between(1, MOST_BODIES)
    bodies: list[Body] = []
    for _ in range(wanted):
        body = _plan_apart(dice, size, backdrop, bodies)
        if body is not None:
            bodies.append(_placed(dice, size, backdrop, body, bodies))
    return Plan(size, backdrop, tuple(sorted(bodies, key=lambda body: -body.distance)))


def plan_backdrop(dice: Dice, size: tuple[int, int], *, level: bool = False) -> Backdrop:
    """Ground, wall or sky, haze, light and camera; with `level` one whose axis meets the middle of the image."""
    is_open = dice.chance(0.5)
    first = draw_colour(dice, 150, 245, 70)
    haze = first if dice.chance(0.7) else first * 2 // 3
    horizon = size[0] * dice.uniform(0.25, 0.6)
    return Backdrop(
        horizon=size[0] / 2 if level else horizon,
        wall=SKY if is_open else dice.uniform(7.0, 26.0),
        is_open=is_open,
        ground=_surface(dice, texels=dice.uniform(40.0, 110.0)),
        back=_sky(dice, haze) if is_open else _surface(dice, texels=dice.uniform(15.0, 60.0)),
        haze=haze,
        clear=dice.uniform(18.0, 120.0),
        light=dice.between(TURN * 9 // 16, TURN * 15 // 16),  # from above, more or less
        noise=dice.below(NOISE_STRENGTHS),
        blur=3 if dice.chance(0.8) else 5,
        pan=0.0,
    )


def plan_body(dice: Dice, size: tuple[int, int], reach: float, label: int | None = None) -> Body:
    """A body in the image's middle, `reach` pixels from its middle to its farthest point."""
    label = dice.below(len(SHAPE_NAMES)) if label is None else label
    metres = REACHES[label] * dice.uniform(0.94, 1.06) / reach
    first = draw_colour(dice, 60, 250, 230)
    second = first * dice.between(35, 70) // 100 if dice.chance(0.5) else draw_colour(dice, 40, 250, 230)
    return Body(
        label=label,
        x=size[1] / 2,
        y=size[0] / 2,
        distance=metres * focal_length(size),
        metres=metres,
        reach=reach,
        turn=dice.below(TURN) if dice.chance(0.35) else dice.between(-TURN // 16, TURN // 16),
        lean=dice.below(TURN),
        squeeze=dice.uniform(0.93, 1.0),
        texture=dice.below(texture_numbers()),
        texels=dice.uniform(60.0, 260.0),
        place=(dice.below(SIDE), dice.below(SIDE)),
        colours=(first, second),
        bevel=dice.uniform(0.1, 0.6),
    )


def focal_length(size: tuple[int, int]) -> float:
    """Of the camera, in pixels of an image of `size` (H, W)."""
    return (size[0] + size[1]) / 2


def _surface(dice: Dice, texels: float) -> Surface:
    first = draw_colour(dice, 60, 240, 130)
    second = first * dice.between(55, 85) // 100
    return Surface(dice.below(texture_numbers()), (first, second), texels, (dice.below(SIDE), dice.below(SIDE)))


def _sky(dice: Dice, haze: np.ndarray) -> Surface:
    top = draw_colour(dice, 110, 235, 150)
    return Surface(dice.choice(CLOUDS), (top, (top + 2 * haze) // 3), 2.0, (dice.below(SIDE), dice.below(SIDE)))


def _plan_apart(dice: Dice, size: tuple[int, int], backdrop: Backdrop, others: list[Body]) -> Body | None:
    """A body whose distance is its own, or None where four throws gave none. Small ones are more frequent."""
    least, most = max(4.0, min(size) / 64), 0.29 * min(size)
    for _ in range(4):
        root = dice.uniform()
        body = plan_body(dice, size, least + (most - least) * root * root)
        free = all(abs(body.distance - other.distance) >= APART for other in others)
        if free and body.distance < backdrop.wall - APART:
            return body
    return None


def _placed(dice: Dice, size: tuple[int, int], backdrop: Backdrop, body: Body, others: list[Body]) -> Body:
    """`body` near another one, on the ground or in the air; never below the ground."""
    height, width = size
    ground = _ground_row(backdrop, body, size) - below_middle(body)
    way = dice.uniform()
    if others and way < 0.4:
        other = dice.choice(others)
        near = 0.9 * (body.reach + other.reach)
        x, y = other.x + dice.uniform(-near, near), other.y + dice.uniform(-near, near)
    else:
        x = dice.uniform(-0.04 * width, 1.04 * width)
        y = ground if way < 0.75 else dice.uniform(-0.03 * height, 1.03 * height)
    return body._replace(x=x, y=min(y, ground))


# --- painting ---------------------------------------------------------------------------------------------------------


def _paint_ids(plates: list[Plate], size: tuple[int, int]) -> tuple[np.ndarray, list[int]]:
    """Who is seen where, uint8 (H, W): 1 + the number of the plate; and how many pixels of each plate are."""
    ids = np.zeros(size, np.uint8)
    parts = [plate.overlap(size) for plate in plates]
    for number, (plate, part) in enumerate(zip(plates, parts, strict=True)):
        if part:
            np.copyto(ids[part[0]], number + 1, where=plate.mask[part[1]].view(bool), casting="unsafe")
    seen = [_count(ids[part[0]], number + 1) if part else 0 for number, part in enumerate(parts)]
    return ids, seen


def _count(ids: np.ndarray, number: int) -> int:
    return int(np.count_nonzero(ids == number))


def _renumbered(ids: np.ndarray, kept: list[int]) -> np.ndarray:
    table = np.zeros(256, np.uint8)
    table[np.array(kept, np.int64) + 1] = np.arange(1, len(kept) + 1)
    return cv2.LUT(ids, table)


def _box(ids: np.ndarray, number: int, plate: Plate) -> tuple[int, int, int, int]:
    outer, _ = plate.overlap(ids.shape) or ((slice(0, 0), slice(0, 0)), None)
    left, top, width, height = cv2.boundingRect((ids[outer] == number).view(np.uint8))
    left, top = left + outer[1].start, top + outer[0].start
    return left, top, left + width, top + height


def _haze(backdrop: Backdrop, distance: float) -> float:
    """The share of the colour that haze takes at a distance in metres."""
    return distance / (distance + backdrop.clear)


def _ground_row(backdrop: Backdrop, body: Body, size: tuple[int, int]) -> float:
    """The row, in pixels, at which the ground is as far away as a body."""
    return backdrop.horizon + focal_length(size) * CAMERA_HEIGHT / body.distance


def _row_depths(size: tuple[int, int], backdrop: Backdrop) -> np.ndarray:
    """Metres to the background in each row, float32 (H,)."""
    below = np.arange(size[0]) + (0.5 - backdrop.horizon)
    ground = focal_length(size) * CAMERA_HEIGHT / np.maximum(below, 1e-3)
    return np.minimum(ground, backdrop.wall).astype(np.float32)


def _paint_back(canvas: np.ndarray, backdrop: Backdrop) -> int:
    """Paint the sky or the wall above the ground, and say at which row the ground begins."""
    height, width = canvas.shape
    first = int((_row_depths(canvas.shape, backdrop) == np.float32(backdrop.wall)).sum())
    back = backdrop.back
    step = floor(back.texels * backdrop.wall * 65536 / focal_length(canvas.shape))
    rows = np.arange(first, dtype=np.int32)[:, None]
    columns = np.arange(width, dtype=np.int32) + floor(backdrop.pan)
    index = sample(back.texture, columns * step + (back.place[0] << 16), rows * step + (back.place[1] << 16), step)
    if backdrop.is_open:
        table = hazy(palette(*back.colours), backdrop.haze)
        levels = rows * floor((LEVELS - 1) * _haze(backdrop, backdrop.wall)) // max(first, 1)
    else:
        table = lit(palette(*back.colours), backdrop.haze, floor(256 * _haze(backdrop, backdrop.wall)))
        across, down = floor(10 * cosine(backdrop.light)), floor(8 * sine(backdrop.light))
        levels = LIGHT_OF_DAY + (columns - width // 2) * across // width + (rows - height // 2) * down // height
    canvas[:first] = table.take(index | (levels << 6))
    return first


def _paint_ground(canvas: np.ndarray, backdrop: Backdrop, first: int) -> None:
    """Paint the ground from row `first` on, in perspective; rows of one copy of the texture at a time."""
    width = canvas.shape[1]
    depths = _row_depths(canvas.shape, backdrop)[first:].astype(np.float64)
    ground, focal = backdrop.ground, focal_length(canvas.shape)
    table = hazy(palette(*ground.colours), backdrop.haze)
    steps = np.floor(depths * (ground.texels * 65536 / focal)).astype(np.int64)
    columns = np.arange(width, dtype=np.int32) + floor(backdrop.pan - width / 2)
    v = (np.floor(depths * (-ground.texels * 65536)).astype(np.int64) + (ground.place[1] << 16)).astype(np.int32)
    levels = np.floor((LEVELS - 1) * depths / (depths + backdrop.clear)).astype(np.int32) << 6
    copies = np.maximum(steps >> 16, 1)
    begin = 0
    while begin < len(depths):
        power = 1 << (int(copies[begin]).bit_length() - 1)
        rows = slice(begin, begin + int((copies[begin:] >= power).sum()))
        u = columns * steps[rows, None].astype(np.int32) + (ground.place[0] << 16)
        index = sample(ground.texture, u, v[rows, None], int(steps[begin])) | levels[rows, None]
        canvas[first + rows.start : first + rows.stop] = table.take(index)
        begin = rows.stop


def _paint_shadow(ground: np.ndarray, backdrop: Backdrop, body: Body, row: float) -> None:
    """Darken the ground, int32 (H, W) of packed colours, below a body; `row` is where it stands or hangs above."""
    for share, keep in ((0.95, 1), (0.6, 2)):
        across = floor(share * body.reach) + 1
        down = max(1, floor(share * body.reach * min(CAMERA_HEIGHT / body.distance, 0.35)))
        x, y = floor(body.x - 0.35 * body.reach * cosine(backdrop.light)), floor(row)
        top, left = max(y - down, 0), max(x - across, 0)
        part = ground[top : max(y + down + 1, 0), left : max(x + across + 1, 0)]
        if not part.size:
            continue
        rows = np.arange(top - y, top - y + part.shape[0])[:, None]
        columns = np.arange(left - x, left - x + part.shape[1])
        inside = rows * rows * (across * across) + columns * columns * (down * down) <= across * across * down * down
        darker = ((part >> 1) & 0x7F7F7F7F) + ((part >> 2) & 0x3F3F3F3F)
        if keep == 1:
            darker += (part >> 3) & 0x1F1F1F1F
        np.copyto(part, darker, where=inside)
