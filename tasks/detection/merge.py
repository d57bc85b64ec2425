"""One set of boxes from several looks at an image: mirrored, at other sizes, in tiles."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from ...core.tiles import Tile
from ...core.types import Prediction
from .suppression import Candidates, Suppression

Run = Callable[[torch.Tensor, list[tuple[int, int]]], list[Candidates]]

_NEAR_BORDER = 0.01  # of a tile's side, at least two pixels: a box that ends there was cut
_COVERED = 0.5  # of a cut box, by a larger one: the same object
_PAIRS_AT_ONCE = 2**24


def predict_augmented(
    run: Run,
    images: torch.Tensor,
    shapes: Sequence[tuple[int, int]],
    *,
    flip: bool,
    scales: Sequence[float],
    suppression: Suppression,
) -> list[Candidates]:
    """What `run` finds in `images`, uint8 (N, 3, H, W), at each of the `scales`, and mirrored too with `flip`.

    `shapes`: (h, w) of each image without what pads it. `run` takes such images and shapes, and gives boxes in pixels
    of what it was given; the results are in pixels of `images`. One look alone is returned as it is.
    """
    looks: list[list[Candidates]] = []
    for scale in scales:
        scaled, sizes = (images, list(shapes)) if scale == 1 else _scaled(images, shapes, scale)
        found = run(scaled, sizes)
        if flip:
            mirrored = run(_mirrored(scaled, sizes), sizes)
            looks.append(_resized(_flipped_back(mirrored, sizes), sizes, shapes))
        looks.append(_resized(found, sizes, shapes))
    if len(looks) == 1:
        return looks[0]
    return [join(parts, suppression) for parts in zip(*looks, strict=True)]


def join(parts: Sequence[Candidates], suppression: Suppression) -> Candidates:
    """What stays of the candidates of several looks at one image."""
    return suppression(Candidates(*(torch.cat(column) for column in zip(*parts, strict=True))))


def flip_boxes(boxes: torch.Tensor, width: float) -> torch.Tensor:
    """Boxes (K, 4), xyxy, of an image `width` pixels wide as they lie in its mirror image."""
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    return torch.stack((width - x2, y1, width - x1, y2), dim=-1)


def scale_boxes(boxes: torch.Tensor, before: tuple[int, int], after: tuple[int, int]) -> torch.Tensor:
    """Boxes (K, 4), xyxy, of an image of the size `before` (H, W) once it is resized to `after`."""
    return boxes * boxes.new_tensor([after[1] / before[1], after[0] / before[0]] * 2)


class BoxJoiner:
    """Collects what was found in the tiles of an image of `size` (H, W), a few numbers each, for `join_tiles`."""

    def __init__(self, size: tuple[int, int], suppression: Suppression) -> None:
        self._size = size
        self._suppression = suppression
        self._parts: list[Prediction] = []
        self._offsets: list[tuple[int, int]] = []

    def add(self, prediction: Prediction, tile: Tile) -> None:
        """Take what was found in the next tile."""
        self._parts.append(prediction)
        self._offsets.append((tile.top, tile.left))

    def result(self) -> Prediction:
        """The boxes of the image; those of an image that is one tile as they are."""
        if len(self._parts) == 1:
            return self._parts[0]
        return join_tiles(self._parts, self._offsets, self._size, suppression=self._suppression)


def join_tiles(
    parts: Sequence[Prediction],
    offsets: Sequence[tuple[int, int]],
    size: tuple[int, int],
    *,
    suppression: Suppression,
) -> Prediction:
    """One prediction for an image of `size` (H, W) from those of its tiles, each of its own size, at `offsets` (top,
    left).

    A box that ends at a border inside of the image may be of a part of an object. It goes where a box of the class
    that is no smaller covers more than half of it (intersection over the smaller area), whatever their scores; all
    others suppress each other as usual. However many stay: `suppression.most` is for one tile.
    """
    names = dict(zip(*(_joined(parts, key) for key in ("labels", "names")), strict=True))
    found = Candidates(*(torch.cat([part[key] for part in parts]) for key in ("boxes", "scores", "labels")))
    moves = torch.tensor([(left, top, left, top) for top, left in offsets], dtype=torch.float32)
    counts = torch.tensor([len(part["labels"]) for part in parts])
    found = found._replace(boxes=found.boxes + moves.repeat_interleave(counts, dim=0))
    cut = torch.cat([_is_cut(part, offset, size) for part, offset in zip(parts, offsets, strict=True)])

    suppression = replace(suppression, most=max(1, len(cut)))
    whole = suppression(Candidates(*(column[~cut] for column in found)))
    pieces = _uncovered(Candidates(*(column[cut] for column in found)), whole, suppression.class_agnostic)
    boxes, scores, labels = (torch.cat(columns) for columns in zip(whole, pieces, strict=True))
    order = scores.argsort(descending=True, stable=True)
    return Prediction(
        path=parts[0]["path"],
        size=size,
        boxes=boxes[order],
        labels=labels[order],
        scores=scores[order],
        names=[names[label] for label in labels[order].tolist()],
    )


def _scaled(
    images: torch.Tensor, shapes: Sequence[tuple[int, int]], scale: float
) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Each image resized by itself, so that nothing of its padding gets in; padded with 0 as before."""
    sizes = [(max(1, round(height * scale)), max(1, round(width * scale))) for height, width in shapes]
    most = tuple(max(side) for side in zip(*sizes, strict=True))
    result = images.new_zeros(*images.shape[:2], *most)
    for number, (shape, size) in enumerate(zip(shapes, sizes, strict=True)):
        image = images[number : number + 1, :, : shape[0], : shape[1]].float()
        resized = F.interpolate(image, size, mode="bilinear", antialias=True)[0]
        result[number, :, : size[0], : size[1]] = resized.round().clamp(0, 255).to(images.dtype)
    return result, sizes


def _mirrored(images: torch.Tensor, shapes: Sequence[tuple[int, int]]) -> torch.Tensor:
    result = images.clone()
    for image, source, (_, width) in zip(result, images, shapes, strict=True):
        image[:, :, :width] = source[:, :, :width].flip(-1)
    return result


def _flipped_back(found: Sequence[Candidates], shapes: Sequence[tuple[int, int]]) -> list[Candidates]:
    pairs = zip(found, shapes, strict=True)
    return [candidates._replace(boxes=flip_boxes(candidates.boxes, width)) for candidates, (_, width) in pairs]


def _resized(
    found: Sequence[Candidates], before: Sequence[tuple[int, int]], after: Sequence[tuple[int, int]]
) -> list[Candidates]:
    return [
        candidates._replace(boxes=scale_boxes(candidates.boxes, old, new)) if old != new else candidates
        for candidates, old, new in zip(found, before, after, strict=True)
    ]


def _joined(parts: Sequence[Prediction], key: str) -> list:
    return [value for part in parts for value in (part[key] if key == "names" else part[key].tolist())]


def _is_cut(part: Prediction, offset: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """Which of a tile's boxes, bool (K,), end where the tile ends and the image goes on."""
    (height, width), (top, left) = part["size"], offset
    near = [max(2.0, _NEAR_BORDER * side) for side in (width, height)]
    x1, y1, x2, y2 = part["boxes"].unbind(dim=1)
    cut = torch.zeros(len(x1), dtype=torch.bool)
    if left > 0:
        cut |= x1 <= near[0]
    if top > 0:
        cut |= y1 <= near[1]
    if left + width < size[1]:
        cut |= x2 >= width - near[0]
    if top + height < size[0]:
        cut |= y2 >= height - near[1]
    return cut


def _uncovered(pieces: Candidates, whole: Candidates, class_agnostic: bool) -> Candidates:
    """Of `pieces` those that are neither part of a `whole` one nor of a larger piece."""
    step = max(1, _PAIRS_AT_ONCE // max(1, len(whole.labels)))
    chunks = [Candidates(*columns) for columns in zip(*(column.split(step) for column in pieces), strict=True)]
    seen = [_covered_by(chunk, whole, class_agnostic).any(dim=1) for chunk in chunks]
    remaining = ~torch.cat(seen)
    order = _areas(pieces.boxes).argsort(descending=True, stable=True)
    order = order[remaining[order]]
    kept: list[int] = []
    while len(order):
        kept.append(int(order[0]))
        largest, rest = (Candidates(*(column[index] for column in pieces)) for index in (order[:1], order[1:]))
        order = order[1:][~_covered_by(rest, largest, class_agnostic)[:, 0]]
    return Candidates(*(column[torch.tensor(kept, dtype=torch.int64)] for column in pieces))


def _covered_by(small: Candidates, large: Candidates, class_agnostic: bool) -> torch.Tensor:
    """Which boxes of `small` are covered by which of `large`; bool (S, L)."""
    corner = torch.minimum(small.boxes[:, None, 2:], large.boxes[None, :, 2:])
    shared = (corner - torch.maximum(small.boxes[:, None, :2], large.boxes[None, :, :2])).clamp(min=0).prod(dim=2)
    areas, others = _areas(small.boxes)[:, None], _areas(large.boxes)[None]
    covered = (shared > _COVERED * areas) & (others >= areas)
    return covered if class_agnostic else covered & (small.labels[:, None] == large.labels[None])


def _areas(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
