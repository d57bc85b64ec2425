"""Maps of images, a value or some for each pixel: predicted mirrored and at other sizes, enlarged to the file's size in
strips, and blended of tiles.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from .tiles import Tile, Tiling
from .types import Batch, Prediction

_STRIP = 2**22  # values at a time: 16 MiB


def of_one_shape(batch: Batch) -> Iterator[tuple[list[int], torch.Tensor]]:
    """The batch's images, without what pads them, in groups of one size, with their numbers: what a network says of an
    image must not depend on the others of its batch.
    """
    numbers: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, shape in enumerate(batch["shape"]):
        numbers[shape].append(number)
    for (height, width), members in numbers.items():
        yield members, batch["image"][members][:, :, :height, :width]


# --- looks at an image ------------------------------------------------------------------------------------------------


def probabilities_augmented(
    predict: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, *, flip: bool, scales: Sequence[float]
) -> torch.Tensor:
    """The mean of what `predict` says of `images`, uint8 (N, 3, H, W), at each of the `scales`, and mirrored too with
    `flip`: probabilities (N, C, H, W).

    `predict` takes such images, and gives probabilities of any height and width. One look alone is returned as it is.
    """
    looks = len(scales) * (2 if flip else 1)
    if looks == 1 and scales[0] == 1:
        return predict(images)
    total = torch.zeros((), device=images.device)
    for scale in scales:
        scaled = images if scale == 1 else _scaled(images, scale)
        total = total + _resized(predict(scaled), images.shape[2:])
        if flip:
            total = total + _resized(predict(scaled.flip(-1)).flip(-1), images.shape[2:])
    return total / looks


def _scaled(images: torch.Tensor, scale: float) -> torch.Tensor:
    size = [max(1, round(side * scale)) for side in images.shape[2:]]
    resized = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(images.dtype)


def _resized(probabilities: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """(N, C, h, w) to (N, C, *size), float32."""
    if probabilities.shape[2:] == tuple(size):
        return probabilities.float()
    return F.interpolate(probabilities.float(), tuple(size), mode="bilinear", align_corners=False)


# --- the size of the file ---------------------------------------------------------------------------------------------


def enlarged(probabilities: torch.Tensor, size: tuple[int, int]) -> Iterator[tuple[int, torch.Tensor]]:
    """Probabilities (C, h, w) bilinear to `size` (H, W) in strips, each with its first row: float32 (C, rows, W).

    The strips together are what `F.interpolate` gives, without corners aligned. They are on the same device.
    """
    classes, (height, width) = len(probabilities), size
    rows = max(1, _STRIP // (classes * width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        if probabilities.shape[1:] == size:
            yield top, probabilities[:, top:bottom].float()
        else:
            yield top, _enlarged_rows(probabilities, top, bottom, size)


def _enlarged_rows(probabilities: torch.Tensor, top: int, bottom: int, size: tuple[int, int]) -> torch.Tensor:
    before, height = probabilities.shape[1], size[0]
    # Of the middles of rows, in rows of `probabilities`. Rounded as torch does it in one step (a fused multiplication
    # and addition of float32), or else a place near row 500 would be off by 3e-5 of a row.
    scale = float(np.float32(before) / np.float32(height))
    places = np.maximum((np.arange(top, bottom) + 0.5) * scale - 0.5, 0).astype(np.float32)
    upper = places.astype(np.int64)
    lower = np.minimum(upper + 1, before - 1)
    first, last = upper[0], lower[-1]
    wide = F.interpolate(
        probabilities[None, :, first : last + 1].float(), (int(last - first + 1), size[1]), mode="bilinear"
    )[0]
    shares = torch.from_numpy((places - upper).astype(np.float32)).to(wide.device)
    ends = [wide[:, torch.from_numpy(rows - first).to(wide.device)] for rows in (upper, lower)]
    return torch.lerp(ends[0], ends[1], shares[:, None])


# --- tiles ------------------------------------------------------------------------------------------------------------


def tiling(tile: int, overlap: float, *, size: int, divisor: int) -> Tiling:
    """Tiles of `tile` pixels of the file, which become `size` pixels of the network's input. They begin, where their
    steps have room for it, at multiples of `divisor` pixels of the input.
    """
    return Tiling(tile, overlap, grid=Fraction(tile * divisor, size).numerator)


def tile_prediction(probabilities: torch.Tensor, path: str, size: tuple[int, int]) -> Prediction:
    """What goes from a tile of `size` (H, W) to `TileBlender`: probabilities (C, h, w), at any resolution and on any
    device. What is made of them is made where they are joined.
    """
    none = torch.zeros(0)
    return Prediction(path=path, size=size, labels=none.long(), scores=none, names=[], probabilities=probabilities)


class MapBuilder(Protocol):
    """Makes the prediction of an image of values that come part by part."""

    def add(self, probabilities: torch.Tensor, top: int, left: int) -> None:
        """Take the final values, float32 (C, h, w) on any device, of a part that no other part overlaps."""
        ...

    def prediction(self, path: str) -> Prediction:
        """The prediction, once all parts are there."""
        ...


class TileBlender:
    """Joins tiles into one map without seams: where they overlap, one fades out while the other fades in.

    `tiles` are all tiles of the image, row by row, as `Tiling.tiles` gives them without the whole. From a tile's edge
    inside of the image, where the network saw the least around a pixel, a quarter of what it shares with its neighbour
    counts for nothing; over the next half its weight rises as half a cosine. What no later tile reaches goes to
    `builder` at once: held are one tile, and what the next tile and the next row of tiles overlap. The work is done on
    the device of the probabilities.
    """

    def __init__(self, tiles: Sequence[Tile], builder: MapBuilder) -> None:
        self._rows = _spans((tile.top, tile.height) for tile in tiles)
        self._columns = _spans((tile.left, tile.width) for tile in tiles)
        self._builder = builder
        self._path = ""
        self._below = torch.zeros(0)  # (C, rows, W), sums in what the next row of tiles overlaps
        self._beside = torch.zeros(0)  # (C, height, columns), in what the next tile overlaps

    def add(self, prediction: Prediction, tile: Tile) -> None:
        """Take the next tile's probabilities, of the pixels of the file or fewer."""
        rows, columns = self._rows[tile.top], self._columns[tile.left]
        block = _resized(prediction["probabilities"][None], (tile.height, tile.width))[0]
        block = block * rows.weights.to(block.device)[:, None] * columns.weights.to(block.device)
        if not self._path:
            self._path = prediction["path"]
            self._below = block.new_zeros(len(block), *self._room_below())
        if columns.shared:
            block[:, :, : columns.shared] += self._beside
        self._beside = block[:, :, columns.own :].clone()
        block = block[:, :, : columns.own]
        below = self._below[:, :, tile.left : tile.left + columns.own]
        block[:, : rows.shared] += below[:, : rows.shared]
        below[:, : tile.height - rows.own] = block[:, rows.own :]
        self._builder.add(block[:, : rows.own], tile.top, tile.left)

    def result(self) -> Prediction:
        """The prediction for the image."""
        return self._builder.prediction(self._path)

    def _room_below(self) -> tuple[int, int]:
        width = max(left + len(span.weights) for left, span in self._columns.items())
        return max(span.shared for span in self._rows.values()), width


class _Span(NamedTuple):
    """What tiles that begin at the same row, or column, have in common."""

    weights: torch.Tensor  # float32 (length,)
    shared: int  # rows at its beginning that tiles before it reach too
    own: int  # rows from its beginning that no later tile reaches


def _spans(pieces: Iterable[tuple[int, int]]) -> dict[int, _Span]:
    """By their starts, from (start, length); the weights of all add up to 1 in each row."""
    ordered = sorted(set(pieces))
    shared = [start + length - next_start for (start, length), (next_start, _) in pairwise(ordered)]
    befores, afters = [0, *shared], [*shared, 0]
    weights = [
        torch.minimum(_ramp(length, before), _ramp(length, after).flip(0))
        for (_, length), before, after in zip(ordered, befores, afters, strict=True)
    ]
    total = torch.zeros(sum(ordered[-1]), dtype=torch.float64)
    for (start, length), each in zip(ordered, weights, strict=True):
        total[start : start + length] += each
    return {
        start: _Span((each / total[start : start + length]).float(), before, length - after)
        for (start, length), each, before, after in zip(ordered, weights, befores, afters, strict=True)
    }


def _ramp(length: int, shared: int) -> torch.Tensor:
    """Weights from a tile's edge inwards, float64; with those of the neighbour, who shares as much, they add up to 1.

    With tiles of 256 pixels of photographs through a MobileNetV2 this came nearer to what the whole image gives than
    straight lines did, and than ramps over all that is shared.
    """
    margin = shared // 4
    place = (torch.arange(length, dtype=torch.float64) - margin + 1) / (shared - 2 * margin + 1)
    return (1 - torch.cos(math.pi * place.clamp(0, 1))) / 2
