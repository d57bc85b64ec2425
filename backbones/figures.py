"""Size and shape of every backbone, measured once and kept, so that a table of them costs no torch.

`docs/make_backbones.py` writes `figures.csv`; a test compares each line with the network.
"""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_suffix(".csv")


class Figures(NamedTuple):
    """What a backbone weighs; its classifier is not counted."""

    parameters: int
    multiply_adds: int  # for an image of 224 x 224 pixels
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    smallest_image: int  # pixels, height and width
    weights: str  # what weights="imagenet" loads, with its top-1 accuracy where the publisher gives one, or ""
    licence: str  # of these weights


@cache
def figures() -> dict[str, Figures]:
    """By name, for foveal's own catalogue; networks of `timm/` and of other packages are not in it."""
    with FILE.open(newline="") as file:
        return {row.pop("name"): _parse(row) for row in csv.DictReader(file)}


def _parse(row: dict[str, str]) -> Figures:
    numbers = {key: int(row[key]) for key in ("parameters", "multiply_adds", "smallest_image")}
    tuples = {key: tuple(map(int, row[key].split())) for key in ("strides", "channels")}
    return Figures(**{**row, **numbers, **tuples})
