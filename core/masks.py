"""Masks of class numbers as people see them, alike in data sets, in results and in pictures."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from .errors import MachineError
from .images import ImagePath

BACKGROUND = "background"  # the name of a class that is nothing to look for: it has no objects and no colour


def write_mask(path: ImagePath, mask: np.ndarray) -> None:
    """Write class numbers (H, W), 0..255, as the indices of a PNG with VOC's palette, which viewers show in colour.

    A uint8 mask is packed as it lies, without a copy. Raises MachineError where the file cannot be written.
    """
    picture = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    picture.putpalette(voc_colors().tobytes())
    try:
        with open(path, "wb") as file:
            picture.save(file, "PNG", compress_level=4)  # half the time of the usual 6, and files a quarter larger
    except OSError as error:
        raise MachineError(f"'{os.fsdecode(path)}' cannot be written: {error.strerror or error}.") from error


def read_mask(path: Path) -> np.ndarray:
    """The class numbers that `write_mask` has written, uint8 (H, W); raises OSError where they are gone or damaged."""
    with path.open("rb") as file:
        return np.array(PngImagePlugin.PngImageFile(file))  # not Image.open, which refuses large ones


def voc_colors() -> np.ndarray:
    """The colours of Pascal VOC's masks, uint8 (256, 3) RGB, no two alike; 255, the border, is (224, 224, 192).

    The three lowest bits of a number are the highest of red, green and blue, the next three bits those below, and so on
    (VOC2012 development kit, VOClabelcolormap.m).
    """
    numbers = np.arange(256)[:, None]
    colors = np.zeros((256, 3), np.int64)
    for level in range(3):
        bits = numbers >> (3 * level + np.arange(3)) & 1
        colors |= bits << (7 - level)
    return colors.astype(np.uint8)
