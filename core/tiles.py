"""Large images in parts: where the parts lie, so that a small object is not lost when its image is made smaller."""

from typing import NamedTuple


class Tile(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def cut_tiles(size: tuple[int, int], side: int, overlap: float) -> list[Tile]:
    """Tiles that cover an image of `size` (H, W), row by row, each inside of it, and at last the whole image.

    A tile has `side` pixels a side, or the image's where that has fewer; neighbours share at least `overlap` (0 to
    below 1) of a tile's side, and lie evenly. An image that one tile covers is one tile.
    """
    height, width = size
    tiles = [
        Tile(top, left, min(side, height), min(side, width))
        for top in _starts(height, side, overlap)
        for left in _starts(width, side, overlap)
    ]
    # The whole image, for objects larger than a tile.
    return [*tiles, Tile(0, 0, height, width)] if len(tiles) > 1 else tiles


def _starts(length: int, side: int, overlap: float) -> list[int]:
    room = length - side
    if room <= 0:
        return [0]
    steps = -(-room // max(1, int(side * (1 - overlap))))
    return [number * room // steps for number in range(steps + 1)]
