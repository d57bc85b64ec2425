"""Following targets from frame to frame: plain classes that know neither Lightning nor the task.

tracker = Tracker(embed, head)
tracker.init(image, box)
box, score = tracker.update(next_image)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...core.errors import UsageError
from .crops import crop, mean_colour
from .head import Found, TrackingHead
from .options import TrackerSettings
from .redetection import look_everywhere
from .region import Region
from .response import ResponseHead
from .search import Grid, Part, Search, alone, part, together

_MOST_OF_FRAME = 4  # sides of a box in those of the frame

Embed = Callable[[torch.Tensor], torch.Tensor]

# Of crops that the network sees at once, 8 of 255 x 255 and 64: more need memory and are no faster, nor even as fast
# on a processor.
_PIXELS, _PIXELS_OF_A_GPU = 2**19, 2**22


@dataclass(frozen=True)
class _Target:
    """What is kept of a target between frames."""

    box: np.ndarray  # float64 (4,)
    template: torch.Tensor  # of the head, without the dimension of targets
    fill: np.ndarray  # the colour beyond the border of the frame
    largest: np.ndarray  # float64 (2,), pixels: no box gets wider and higher than the frame, or than it was at first
    lost: bool = False


class TrackerBatch:
    """Follows any number of targets, each in frames of its own or several in one; the network sees them all at once.

    `embed` maps images, uint8 RGB (N, 3, H, W) on `device`, to features (N, C, h, w), in evaluation mode. `settings`
    as in a recipe. `lost`: a target with a score below is lost: its size stays as it was, no template is made of what
    is there, and with `settings.redetect` it is looked for all over the frame (`redetection.py`).

    Targets are called by slots, any whole numbers. Boxes are xyxy in pixels of the frames; a box that is answered is
    a pixel wide and high at least, and as much of it lies in the frame.
    """

    def __init__(
        self,
        embed: Embed,
        head: TrackingHead,
        settings: TrackerSettings | None = None,
        *,
        device: torch.device | str = "cpu",
        lost: float = 0.0,
    ) -> None:
        self._embed, self._head, self._device = embed, head, device
        self._settings = settings or TrackerSettings()
        self._threshold = lost
        self._factors = self._settings.factors if head.scale_steps else (1.0,)
        self._targets: dict[int, _Target] = {}

    def init(self, slots: Sequence[int], images: Sequence[np.ndarray], boxes: np.ndarray) -> None:
        """Start to follow what `boxes` (N, 4) hold in `images`, uint8 RGB (H, W, 3) each, anew if a slot is in use.

        Raises UsageError for a box that is not finite, has no size or lies outside of its frame, and for what is no
        such image.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        for image, box in zip(images, boxes, strict=True):
            _check_image(image)
            _check_box(box, image)
        colours = {id(image): mean_colour(image) for image in images}
        fills = [colours[id(image)] for image in images]
        templates = self._remember(images, boxes, fills)
        for slot, image, box, fill, template in zip(slots, images, boxes, fills, templates, strict=True):
            largest = np.maximum(_frame(image), box[2:] - box[:2])
            self._targets[slot] = _Target(box.copy(), template, fill, largest)

    def update(self, slots: Sequence[int], images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Where the targets of `slots` are in `images`, of any size: boxes float64 (N, 4) and scores float64 (N,).

        The same array for several targets is one frame, and targets near one another in it are looked at together.
        Raises UsageError for a slot that was not started.
        """
        targets = [self._target(slot) for slot in slots]
        for image in images:
            _check_image(image)
        if not targets:
            return np.zeros((0, 4)), np.zeros(0)
        with torch.inference_mode():
            found = self._search(targets, images)
            after = [
                self._moved(target, box, score, image)
                for target, box, score, image in zip(targets, found.boxes, found.scores, images, strict=True)
            ]
            scores = found.scores.copy()
            if self._settings.redetect:
                self._find_again(after, scores, images)
            self._renew(after, images)
        self._targets.update(zip(slots, after, strict=True))
        return np.stack([target.box for target in after]), scores

    def lost(self, slots: Sequence[int]) -> np.ndarray:
        """Which targets of `slots` were not found in their last frames: bool (N,)."""
        return np.array([self._target(slot).lost for slot in slots], dtype=bool)

    def drop(self, slots: Sequence[int]) -> None:
        """Follow these no more, and free what is kept of them."""
        for slot in slots:
            self._targets.pop(slot, None)

    def _target(self, slot: int) -> _Target:
        if slot not in self._targets:
            raise UsageError(
                f"There is no target {slot} to follow; call init with an image and the target's box before update."
            )
        return self._targets[slot]

    def _search(self, targets: Sequence[_Target], images: Sequence[np.ndarray]) -> Found:
        """Boxes, in pixels of the frames, and scores, around the places where the targets were."""
        head, size = self._head, self._head.search_size
        regions = [head.search_region(target.box) for target in targets]
        frames = _numbered(images)
        if isinstance(head, ResponseHead):
            grid = Grid(size, head.stride, self._factors[0])
            searches = together(regions, frames, grid)
        else:
            grid = Grid(size, 1, 1.0)
            searches = alone(regions, frames, size)
        maps = self._features(
            [
                (images[search.members[0]], search.region.times(factor), search.size, targets[search.members[0]].fill)
                for search in searches
                for factor in self._factors
            ]
        )
        return self._compare(targets, regions, searches, maps, grid)

    def _compare(
        self,
        targets: Sequence[_Target],
        regions: Sequence[Region],
        searches: Sequence[Search],
        maps: Sequence[torch.Tensor],
        grid: Grid,
    ) -> Found:
        """Each template with its part of the maps, one map for each search and factor."""
        scales = len(self._factors)
        parts: list[list[torch.Tensor]] = [[] for _ in targets]
        offsets = np.zeros((len(targets), scales, 2))
        seen = list(regions)
        for number, search in enumerate(searches):
            for member in search.members:
                if len(search.members) > 1:
                    seen[member] = search.part_region(regions[member], grid.search_size)
                for scale, factor in enumerate(self._factors):
                    where = part(search, regions[member], factor, grid)
                    parts[member].append(_cut_part(maps[number * scales + scale], where, search.size, grid))
                    offsets[member, scale] = where.offset
        features = torch.stack([each for target in parts for each in target])
        templates = torch.stack([target.template for target in targets]).repeat_interleave(scales, dim=0)
        outputs = self._head(templates, features).unflatten(0, (len(targets), scales))
        size = grid.search_size
        boxes = np.stack([region.from_frame(each.box, size) for region, each in zip(seen, targets, strict=True)])
        if isinstance(self._head, ResponseHead):
            found = self._head.locate(outputs, boxes, self._settings, offsets=offsets)
        else:
            found = self._head.locate(outputs, boxes, self._settings)
        return found._replace(
            boxes=np.stack([region.to_frame(box, size) for region, box in zip(seen, found.boxes, strict=True)])
        )

    def _moved(self, target: _Target, box: np.ndarray, score: float, image: np.ndarray) -> _Target:
        """The target in its next frame."""
        lost = bool(score < self._threshold)
        if lost:
            box = _around(box, target.box)
        return replace(target, box=_kept(box, image, target.largest), lost=lost)

    def _find_again(self, targets: list[_Target], scores: np.ndarray, images: Sequence[np.ndarray]) -> None:
        """Look for those that are lost all over their frames; changes `targets` and `scores` where one is found."""
        frames = _numbered(images)
        for frame in sorted({frames[index] for index, target in enumerate(targets) if target.lost}):
            members = [index for index, target in enumerate(targets) if target.lost and frames[index] == frame]
            found = look_everywhere(
                self._head,
                self._features,
                images[members[0]],
                torch.stack([targets[index].template for index in members]),
                np.stack([targets[index].box for index in members]),
                targets[members[0]].fill,
                self._settings,
            )
            for index, box, score in zip(members, found.boxes, found.scores, strict=True):
                if score > max(self._threshold, scores[index]):
                    kept = _kept(_around(box, targets[index].box), images[index], targets[index].largest)
                    targets[index], scores[index] = replace(targets[index], box=kept, lost=False), score

    def _renew(self, targets: list[_Target], images: Sequence[np.ndarray]) -> None:
        """Mix the templates of targets that are not lost with what is in their boxes now, by `template_rate`."""
        follows = getattr(self._head, "follows", False)  # a head that compares with the frame before
        rate = 1.0 if follows else self._settings.template_rate
        members = [index for index, target in enumerate(targets) if not target.lost]
        if rate == 0 or not members:
            return
        fresh = self._remember(
            [images[index] for index in members],
            np.stack([targets[index].box for index in members]),
            [targets[index].fill for index in members],
        )
        for index, template in zip(members, fresh, strict=True):
            mixed = template if rate == 1 else torch.lerp(targets[index].template, template, rate)
            targets[index] = replace(targets[index], template=mixed)

    def _remember(
        self, images: Sequence[np.ndarray], boxes: np.ndarray, fills: Sequence[np.ndarray]
    ) -> Sequence[torch.Tensor]:
        """The templates of targets."""
        head = self._head
        if not len(boxes):
            return []
        with torch.inference_mode():
            maps = self._features(
                [
                    (image, head.exemplar_region(box), head.exemplar_size, fill)
                    for image, box, fill in zip(images, boxes, fills, strict=True)
                ]
            )
            return list(head.remember(torch.stack(maps)))

    def _features(self, wanted: Sequence[tuple[np.ndarray, Region, int, np.ndarray]]) -> list[torch.Tensor]:
        """The maps (C, h, w) of crops: image, region, size and fill of each. Those of one size go through together."""
        maps: dict[int, torch.Tensor] = {}
        pixels = _PIXELS if torch.device(self._device).type == "cpu" else _PIXELS_OF_A_GPU
        by_size: dict[int, list[int]] = {}
        for index, (_, _, size, _) in enumerate(wanted):
            by_size.setdefault(size, []).append(index)
        for size, members in by_size.items():
            most = max(1, pixels // size**2)
            for start in range(0, len(members), most):
                chunk = members[start : start + most]
                crops = np.stack([crop(*wanted[index]) for index in chunk])
                images = torch.from_numpy(crops).to(self._device).permute(0, 3, 1, 2)  # channels last, the faster order
                maps.update(zip(chunk, self._embed(images), strict=True))
        return [maps[index] for index in range(len(wanted))]


class Tracker:
    """`TrackerBatch` for the targets of one sequence of frames; see there for the arguments."""

    def __init__(
        self,
        embed: Embed,
        head: TrackingHead,
        settings: TrackerSettings | None = None,
        *,
        device: torch.device | str = "cpu",
        lost: float = 0.0,
    ) -> None:
        self._batch = TrackerBatch(embed, head, settings, device=device, lost=lost)
        self._slots = range(0)
        self._single = False  # whether it was given a box, not a list of them

    def init(self, image: np.ndarray, boxes: np.ndarray) -> None:
        """Start, or start anew, with the boxes (N, 4) or the one box (4,) in an image, uint8 RGB (H, W, 3).

        Raises UsageError for boxes that can't be followed.
        """
        boxes = np.asarray(boxes, np.float64)
        if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4 or not len(boxes):
            raise UsageError(f"The boxes have the shape {boxes.shape}, but a tracker takes (4,) or (N, 4), xyxy.")
        count = len(boxes) if boxes.ndim == 2 else 1
        self._batch.drop(self._slots)
        self._batch.init(range(count), [image] * count, boxes)
        self._slots, self._single = range(count), boxes.ndim == 1

    def update(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
        """Boxes float64 of the shape that `init` was given, and scores, 0 to 1: (N,), or a number for one box.

        Raises UsageError before `init`.
        """
        self._require_start()
        boxes, scores = self._batch.update(self._slots, [image] * len(self._slots))
        return (boxes[0], float(scores[0])) if self._single else (boxes, scores)

    @property
    def lost(self) -> np.ndarray | bool:
        """Whether the targets were not found in the last frame: bool (N,), or one for one box."""
        self._require_start()
        lost = self._batch.lost(self._slots)
        return bool(lost[0]) if self._single else lost

    def _require_start(self) -> None:
        if not self._slots:
            raise UsageError("The tracker has no target; call init with an image and a box before update.")


def _numbered(images: Sequence[np.ndarray]) -> list[int]:
    """A number for each image, the same for the same array."""
    numbers: dict[int, int] = {}
    return [numbers.setdefault(id(image), len(numbers)) for image in images]


def _cut_part(features: torch.Tensor, where: Part, size: int, grid: Grid) -> torch.Tensor:
    """A member's part of the map (C, h, w) of a crop of `size` pixels."""
    if size == grid.search_size:
        return features
    cells = features.shape[-1] - (size - grid.search_size) // grid.stride
    return features[:, where.row : where.row + cells, where.column : where.column + cells]


def _around(box: np.ndarray, sized: np.ndarray) -> np.ndarray:
    """A box with the middle of `box` and the size of `sized`."""
    middle, half = (box[:2] + box[2:]) / 2, (sized[2:] - sized[:2]) / 2
    return np.concatenate([middle - half, middle + half])


def _kept(box: np.ndarray, image: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The box with a size from a pixel to `largest`, moved so that a pixel of it lies in the image."""
    size = np.clip(box[2:] - box[:2], 1, largest)
    middle = np.clip((box[:2] + box[2:]) / 2, 1 - size / 2, _frame(image) - 1 + size / 2)
    if np.array_equal(size, box[2:] - box[:2]) and np.array_equal(middle, (box[:2] + box[2:]) / 2):
        return box  # as it is: no rounding where nothing changes
    return np.concatenate([middle - size / 2, middle + size / 2])


def _frame(image: np.ndarray) -> np.ndarray:
    return np.array([image.shape[1], image.shape[0]], np.float64)


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise UsageError(
            f"The image is {image.dtype} of the shape {image.shape}, but a tracker takes uint8 RGB (H, W, 3); convert "
            "it first."
        )


def _check_box(box: np.ndarray, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    inside = np.isfinite(box).all() and (box[:2] < (width, height)).all() and (box[2:] > 0).all()
    if not inside or not (box[2:] > box[:2]).all():
        numbers = ", ".join(f"{value:g}" for value in box)
        raise UsageError(
            f"The target's box is ({numbers}) in a frame of {width} x {height} pixels, but it must be x1, y1, x2, y2 "
            "with x1 < x2 and y1 < y2, and lie in the frame, at least in part; give the box that holds the target."
        )
    if (box[2:] - box[:2] > _MOST_OF_FRAME * np.array([width, height])).any():
        raise UsageError(
            f"The target's box is {box[2] - box[0]:g} x {box[3] - box[1]:g} pixels large, more than {_MOST_OF_FRAME} "
            f"times the frame's {width} x {height}; give the box that holds the target."
        )
