"""Mask files: a class number for each pixel, out of the values or the colours that the file holds.

Shared by the formats for segmentation.

Files are read as they were stored, and never through colours where numbers are meant: a palette PNG by its indices
(OpenCV can only give their colours, so Pillow decodes), grey of 1, 2, 4, 8 and 16 bits by its values, so that a 1-bit
file holds 0 and 1. The header and the end of a file are checked before it is decoded, as in `core/images.py`.
"""

import io
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, PngImagePlugin, TiffImagePlugin

from ..core.errors import DataError
from ..core.image_headers import Fault, Header, cut, damaged, is_cut, read_header
from ..core.images import MAX_PIXELS, ImageError, ImagePath, read_bytes

IGNORE = 255  # the class number of pixels that count for nothing
MAX_CLASSES = 255  # 0 .. 254
# JPEG is among them so that its masks are refused with a reason, and not passed over.
MASK_SUFFIXES = frozenset((".png", ".gif", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg"))


class Legend(NamedTuple):
    """What the values of mask files stand for, and their colours where those say it; `legend` makes one."""

    numbers: np.ndarray  # int16 (65536,): the class number of each value; IGNORE; -1 for a value that means nothing
    meaning: str  # the same for people: "0 background, 1 road"
    remedy: str  # what to do about a mask with another value
    codes: np.ndarray  # int64 (K,), rising: colours, 65536 R + 256 G + B; none where masks in colour are refused
    code_numbers: np.ndarray  # int64 (K,): the class number of each colour
    palettes: bool = False  # palettes count by their colours, not by their indices


def legend(
    values: Mapping[int, int],
    class_names: Sequence[str],
    remedy: str,
    colors: Mapping[tuple[int, int, int], int] | None = None,
    palettes: bool = False,
) -> Legend:
    """A Legend: `values` gives values 0..65535 their class numbers, `colors` does the same for RGB colours."""
    numbers = np.full(65536, -1, np.int16)
    numbers[list(values.keys())] = list(values.values())
    coded = sorted((red << 16 | green << 8 | blue, number) for (red, green, blue), number in (colors or {}).items())
    codes, code_numbers = np.array(coded, np.int64).reshape(-1, 2).T
    shown = [f"{value} {'ignored' if number == IGNORE else class_names[number]}" for value, number in values.items()]
    meaning = ", ".join(shown if len(shown) <= 12 else [*shown[:10], "...", shown[-1]])
    return Legend(numbers, meaning, remedy, codes, code_numbers, palettes)


def read_mask(path: ImagePath, legend: Legend) -> dict[str, np.ndarray]:
    """`mask`, int64 (H, W): class numbers, and IGNORE where a pixel counts for nothing.

    Raises ImageError for a file that cannot be read as a mask, DataError for one with values that mean nothing.
    """
    pixels, palette = _read_pixels(path)
    if not len(legend.codes) or (pixels.ndim == 2 and not (legend.palettes and palette is not None)):
        values = _grey(path, pixels)
        mask = legend.numbers[: 256**values.itemsize].astype(np.int64)[values]
        if mask.min() < 0:
            raise _unknown(path, values[mask < 0], legend)
    elif palette is None:
        codes = _codes(pixels)
        mask = _numbers_of_colors(codes, legend)
        if mask.min() < 0:
            raise _unknown(path, codes[mask < 0], legend, colors=True)
    else:
        codes = np.append(_codes(palette), np.full(256 - len(palette), -1))  # -1: an index without a colour
        mask = _numbers_of_colors(codes, legend)[pixels]
        if mask.min() < 0:
            raise _unknown(path, codes[pixels[mask < 0]], legend, colors=True)
    return {"mask": mask}


def read_values(path: ImagePath) -> np.ndarray:
    """The numbers in a mask file, uint8 or uint16 (H, W): indices of a palette, or grey values as stored.

    Colour whose three channels are equal everywhere is grey. Raises ImageError for a file that cannot be read, other
    colour and lossy formats among them.
    """
    return _grey(path, _read_pixels(path)[0])


def _unknown(path: ImagePath, values: np.ndarray, legend: Legend, colors: bool = False) -> DataError:
    kind, prefix = ("colours", "the colours of ") if colors else ("values", "")
    return DataError(
        f"'{os.fsdecode(path)}' has {kind} that stand for no class, {_described(values, colors)}: expected "
        f"{prefix}{legend.meaning}; {legend.remedy}."
    )


def _described(values: np.ndarray, colors: bool) -> str:
    """The commonest of some values with their counts: "7 (120 pixels), 9 (1 pixel) and 3 more"."""
    found, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:5]
    shown = [
        f"{_color(value) if colors else value} ({count:,} pixel{'s' * (count != 1)})"
        for value, count in zip(found[order].tolist(), counts[order].tolist(), strict=True)
    ]
    return ", ".join(shown) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def _color(code: int) -> str:
    return "no colour" if code < 0 else f"({code >> 16}, {code >> 8 & 255}, {code & 255})"


def _codes(colors: np.ndarray) -> np.ndarray:
    """65536 R + 256 G + B of uint8 (..., 3), int64."""
    red, green, blue = (colors[..., channel].astype(np.int64) for channel in range(3))
    return red << 16 | green << 8 | blue


def _numbers_of_colors(codes: np.ndarray, legend: Legend) -> np.ndarray:
    """Class numbers of colours, int64; -1 for those that the legend does not have."""
    places = np.searchsorted(legend.codes, codes)
    places[places == len(legend.codes)] = 0
    return np.where(legend.codes[places] == codes, legend.code_numbers[places], -1)


def _grey(path: ImagePath, pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        return pixels
    first = pixels[..., 0]
    if not (pixels == first[..., None]).all():
        raise ImageError(os.fsdecode(path), "UNSUPPORTED", "is a mask in colour (RGB); " + _ONE_NUMBER)
    return first


_ONE_NUMBER = "save it as a PNG with one number a pixel: grey or with a palette, where the class number is the value"


# --- pixels as stored -------------------------------------------------------------------------------------------------


def _read_pixels(path: ImagePath) -> tuple[np.ndarray, np.ndarray | None]:
    """Indices or grey values (H, W), or RGB (H, W, 3) uint8; and the palette of indices, uint8 (K, 3)."""
    name = os.fsdecode(path)
    data = read_bytes(path)
    try:
        kind, header = read_header(data, MAX_PIXELS)
        if kind not in _DECODERS:
            listed = ", ".join(_DECODERS)
            reason = f"is a {kind} file, but masks are read from {listed} alone, which keep every number as it was"
            raise Fault("UNSUPPORTED", f"{reason}; write the mask anew as PNG")
        if header.orientation > 1:
            raise Fault("UNSUPPORTED", "is a mask with an EXIF orientation, which masks do not have; save it without")
        if is_cut(kind, data, header):
            raise cut(kind)
        return _decoded(data, kind, header)
    except Fault as fault:
        raise ImageError(name, fault.code, fault.reason) from None


# Not Image.open: it warns of, or refuses, sizes that are allowed here.
_DECODERS: dict[str, Any] = {
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}


def _decoded(data: bytes, kind: str, header: Header) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        picture = _DECODERS[kind](io.BytesIO(data))
        bits = _bits(picture, data, kind)
        picture.load()
        pixels = np.asarray(picture)
        whole = kind != "PNG" or _has_all_rows(data, header, bits)
    except Exception:  # Pillow's plugins raise whatever the bytes led to
        raise damaged(kind) from None
    if not whole or pixels.shape[:2] != (header.height, header.width):
        raise damaged(kind)
    mode = picture.mode
    if mode == "P":
        return pixels, np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if mode in ("1", "L"):  # Pillow stretches 2 and 4 bits to 0..255
        return pixels.astype(np.uint8) // {2: 85, 4: 17}.get(bits, 1), None
    if mode.startswith("I;16"):
        return pixels.astype(np.uint16), None
    if mode in ("LA", "PA"):
        return pixels[..., 0], None
    if mode in ("RGB", "RGBA") and bits <= 8:
        return pixels[..., :3], None
    raise Fault("UNSUPPORTED", f"is a mask in colour ({bits} bits a channel, mode {mode}); {_ONE_NUMBER}")


def _bits(picture: Any, data: bytes, kind: str) -> int:
    """Bits a channel, as stored."""
    if kind == "PNG":
        return data[24]
    return picture.tag_v2.get(258, (1,))[0] if kind == "TIFF" else 8


def _has_all_rows(data: bytes, header: Header, bits: int) -> bool:
    """Whether a PNG's compressed data are as long as its picture: Pillow fills rows that are not there with zeros."""
    bits *= {2: 3, 4: 2, 6: 4}.get(data[25], 1)  # channels
    passes = _ADAM7 if data[28] else ((0, 0, 1, 1),)
    needed = 0
    for left, top, right, down in passes:
        width, height = -(-(header.width - left) // right), -(-(header.height - top) // down)
        needed += height * (1 + (width * bits + 7) // 8) if width > 0 else 0
    at, packed = 8, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            packed.append(data[at + 8 : at + 8 + length])
        at += 12 + length
    return len(zlib.decompressobj().decompress(b"".join(packed), needed)) == needed


# First column and row, and steps between columns and rows, of an interlaced PNG's seven pictures (W3C PNG, 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
