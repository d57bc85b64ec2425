"""Large images in parts: where the parts lie, and who makes one result of theirs."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .types import Prediction


class Tile(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Tiling:
    """How a task wants images to be cut; goes to the processes that read them.

    Args:
        side: of a tile, in pixels of the file.
        overlap: least share of a tile's side, 0 to below 1, that its neighbour sees too.
        grid: tiles begin at multiples of so many pixels, so that a network's cells lie alike in tiles and in the whole
            image; 1 where that does not matter. Where a step from tile to tile is smaller than that, it is left.
        whole: the whole image is a tile too, for what is larger than a tile.
    """

    side: int
    overlap: float
    grid: int = 1
    whole: bool = False

    def tiles(self, size: tuple[int, int]) -> list[Tile]:
        """Tiles that cover an image of `size` (H, W), row by row, each inside of it; at last the whole, if wanted.

        A tile has `side` pixels a side, or the image's where that has fewer; for the sake of the grid the last ones of
        rows and columns may have fewer too. Neighbours lie evenly. An image that one tile covers is one tile.
        """
        height, width = size
        tiles = [
            Tile(top, left, min(self.side, height - top), min(self.side, width - left))
            for top in self._starts(height)
            for left in self._starts(width)
        ]
        return [*tiles, Tile(0, 0, height, width)] if self.whole and len(tiles) > 1 else tiles

    def _starts(self, length: int) -> list[int]:
        room = length - self.side
        if room <= 0:
            return [0]
        step = max(1, int(self.side * (1 - self.overlap)))
        grid = self.grid if self.grid <= step else 1
        cells = -(-room // grid)
        steps = -(-cells // (step // grid))
        return [number * cells // steps * grid for number in range(steps + 1)]


class Joiner(Protocol):
    """Makes one prediction of those of an image's tiles, which it is given one by one."""

    def add(self, prediction: Prediction, tile: Tile) -> None:
        """Take what was predicted for the next tile, in the order of `Tiling.tiles`."""
        ...

    def result(self) -> Prediction:
        """The prediction of the image, once all its tiles are there."""
        ...
