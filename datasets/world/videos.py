"""Videos of the drawn world: one target that moves, turns and grows, and others that hide it or look like it."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from .bodies import REACHES, SHAPE_NAMES, Body, Plate, below_middle, cut_out
from .dice import Dice
from .scenes import (
    APART,
    CAMERA_HEIGHT,
    LEAST_VISIBLE,
    Backdrop,
    Plan,
    Scene,
    focal_length,
    is_difficult,
    plan_backdrop,
    plan_body,
)
from .textures import TURN

FRAMES = 48
_KNOT = 12  # frames from one point that steers a path to the next


class _Path(NamedTuple):
    """A body and where it is in each frame, float64 (T,)."""

    body: Body
    x: np.ndarray  # pixels
    y: np.ndarray
    reach: np.ndarray  # pixels
    turn: np.ndarray  # of 1024 steps a turn


class Frame(Scene):
    """One frame, a scene like any other; `target_id` is the target's number in `ids`, 0 where nothing of it is seen."""

    def __init__(self, plan: Plan, dice: Dice, target: int) -> None:
        super().__init__(plan, dice)
        self.target_id = 1 + self._kept.index(target) if target in self._kept else 0


class Video:
    """A video of `frames` frames whose target is well in sight in the first, and in sight in about half or more.

    What its objects look like, where they go and what is seen of the target is known without drawing a frame.
    """

    def __init__(self, dice: Dice, frames: int = FRAMES, size: tuple[int, int] = (256, 256)) -> None:
        self.size, self._dice, self._frames = size, dice, frames
        self._backdrop = plan_backdrop(dice, size)
        self._pan = _glide(dice, frames, dice.uniform(-40.0, 40.0) * size[1] / 256, size[1] / 12, size[1] / 3)
        self._target, self._others = self._plan_paths(0)
        attempt = 1
        while not self._is_fair():
            self._target, self._others = self._plan_paths(attempt)
            attempt += 1

    def __len__(self) -> int:
        """Number of frames."""
        return self._frames

    def frame(self, number: int) -> Frame:
        """A frame with its image and the truth of all its objects."""
        bodies = [self._body(path, number) for path in (*self._others, self._target)]
        order = sorted(range(len(bodies)), key=lambda index: -bodies[index].distance)
        plan = Plan(self.size, self._frame_backdrop(number), tuple(bodies[index] for index in order))
        return Frame(plan, self._dice.fork(1, number), order.index(len(self._others)))

    def target(self, number: int) -> tuple[np.ndarray, bool]:
        """The target's box in a frame, float32 (4,), and whether it is visible there; see `boxes` and `visible`."""
        plate, share, pixels = self._seen(number)
        height, width = self.size
        box = np.clip(plate.extent(), 0, (width, height, width, height)).astype(np.float32)
        return box, not is_difficult(np.array(share, np.float32), np.array(pixels))

    @property
    def boxes(self) -> np.ndarray:
        """float32 (T, 4): xyxy of the target, hidden parts too, cut at the border; without area where it is outside."""
        return self._track[0]

    @property
    def visible(self) -> np.ndarray:
        """Whether the target is seen, bool (T,): a fifth of its pixels or more, and 25 at least (not `difficult`)."""
        return self._track[1]

    @cached_property
    def _track(self) -> tuple[np.ndarray, np.ndarray]:
        truths = [self.target(number) for number in range(self._frames)]
        return np.stack([box for box, _ in truths]), np.array([visible for _, visible in truths], bool)

    def _seen(self, number: int) -> tuple[Plate, float, int]:
        """The target cut out, and the share and number of its pixels that are neither hidden nor outside."""
        plate = cut_out(self._body(self._target, number))
        found = plate.overlap(self.size)
        if found is None:
            return plate, 0.0, 0
        (rows, columns), inner = found
        free = plate.mask[inner].copy()
        for path in self._others:
            other = self._body(path, number)
            if other.distance < plate.body.distance:
                _hide(free, rows.start, columns.start, cut_out(other))
        pixels = int(np.count_nonzero(free))
        return plate, pixels / plate.area, pixels

    # --- plans ---

    def _is_fair(self) -> bool:
        """What should be followed must be seen at first, and then in half of the frames: every sixth is looked at."""
        shares = [self._seen(number)[1] for number in range(0, self._frames, _KNOT // 2)]
        return shares[0] >= 0.9 and sum(share >= LEAST_VISIBLE for share in shares) >= len(shares) / 2

    def _plan_paths(self, attempt: int) -> tuple[_Path, list[_Path]]:
        """The target and the others: each stays nearer or farther than the target ever is."""
        dice = self._dice.fork(0, attempt)
        label = dice.below(len(SHAPE_NAMES))
        side, focal = min(self.size), focal_length(self.size)
        middle = side * dice.uniform(0.065, 0.13)
        target = self._plan_path(dice, plan_body(dice, self.size, middle, label), growth=1.6, stray=0.12)
        nearest, farthest = (REACHES[label] * focal / float(edge) for edge in (target.reach.max(), target.reach.min()))
        others, distances = [], [nearest, farthest]
        for number in range(dice.between(3, 7) if attempt < 20 else 0):
            nearer = number == 0 or dice.chance(0.3)
            distance = nearest * dice.uniform(0.5, 0.85) if nearer else farthest * dice.uniform(1.15, 1.9)
            if min(abs(distance - other) for other in distances) < APART or distance > self._backdrop.wall - APART:
                continue
            kind = label if number < 3 else dice.below(len(SHAPE_NAMES))
            body = plan_body(dice, self.size, REACHES[kind] * focal / distance, kind)
            if dice.chance(0.5):
                body = body._replace(texture=target.body.texture)
            path = self._plan_path(dice, body, growth=1.0, stray=0.1)
            others.append(path if others else _crossing(path, target, dice))
            distances.append(distance)
        return target, others

    def _plan_path(self, dice: Dice, body: Body, growth: float, stray: float) -> _Path:
        """A path for `body`: up to `growth` times as large and as small, and a share `stray` of the image outside."""
        height, width = self.size
        across, down = (0.5 + stray) * width, (0.5 + stray) * height
        x = _glide(dice, self._frames, width * dice.uniform(-0.3, 0.3), 0.34 * width, across)
        y = _glide(dice, self._frames, height * dice.uniform(-0.3, 0.3), 0.2 * height, down)
        size = _glide(dice, self._frames, 0.0, 0.6 * (growth - 1), growth - 1)
        reach = body.reach * np.where(size < 0, 1 / (1 - size), 1 + size)
        turn = body.turn + _glide(dice, self._frames, 0.0, TURN / 12, TURN)
        return _Path(body, x + width / 2, y + height / 2, reach, turn)

    def _body(self, path: _Path, number: int) -> Body:
        """A path's body as it is in a frame, above the ground."""
        body, reach = path.body, float(path.reach[number])
        scale = reach / body.reach
        body = body._replace(
            reach=reach,
            metres=body.metres / scale,
            distance=body.distance / scale,
            turn=int(np.floor(path.turn[number])),
            x=float(path.x[number] - self._pan[number]),
        )
        ground = self._backdrop.horizon + focal_length(self.size) * CAMERA_HEIGHT / body.distance
        return body._replace(y=min(float(path.y[number]), ground - below_middle(body)))

    def _frame_backdrop(self, number: int) -> Backdrop:
        return self._backdrop._replace(pan=float(self._pan[number]))


def _crossing(path: _Path, target: _Path, dice: Dice) -> _Path:
    """`path`, moved so that it passes before the target somewhere in the middle of the video."""
    frames = np.arange(len(path.x))
    meeting = len(frames) // 4 + dice.below(len(frames) // 2 + 1)
    near = 0.4 * path.body.reach
    right = target.x[meeting] - path.x[meeting] + dice.uniform(-near, near)
    down = target.y[meeting] - path.y[meeting] + dice.uniform(-near, near)
    speed = path.body.reach * dice.uniform(0.05, 0.12) * dice.choice((-1, 1))  # so that it doesn't stay there
    return path._replace(x=path.x + right + (frames - meeting) * speed, y=path.y + down)


def _hide(free: np.ndarray, top: int, left: int, plate: Plate) -> None:
    """Clear the pixels of `free`, a part of the image that begins at (`top`, `left`), that lie behind `plate`."""
    found = plate._replace(top=plate.top - top, left=plate.left - left).overlap(free.shape)
    if found:
        np.copyto(free[found[0]], 0, where=plate.mask[found[1]].view(bool))


def _glide(dice: Dice, frames: int, start: float, step: float, limit: float) -> np.ndarray:
    """A smooth way through the frames, float64 (T,), from about `start`: a cubic B-spline.

    The points that steer it are `step` apart at most, and none is farther from 0 than `limit`.
    """
    points = [start, start]
    while len(points) < frames // _KNOT + 4:
        onwards = dice.uniform(-step, step)
        inside = abs(points[-1] + onwards) <= limit
        points.append(points[-1] + (onwards if inside else -onwards))
    steering = np.array(points)
    knot = np.arange(frames) // _KNOT
    t = np.arange(frames) % _KNOT / _KNOT
    rest = 1 - t
    weights = (
        rest * rest * rest,
        3 * t * t * t - 6 * t * t + 4,
        3 * rest * rest * rest - 6 * rest * rest + 4,
        t * t * t,
    )
    way = np.zeros(frames)
    for place, weight in enumerate(weights):
        way += weight * steering[knot + place] / 6
    return way
