"""Depth files: metres out of 16-bit PNG and NumPy arrays; and splits of the videos that most depth maps come from.

Shared by the formats for depth. A PNG holds whole numbers, and nothing in it says how many of them are a metre: the
recipe does (`data.depth_scale`), a file `depth_scale.txt` at the root, or the layout where it is a known one. An array
of floats holds metres.
"""

import math
import os
from collections.abc import Collection, Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from ..core.errors import DataError, MachineError, UsageError
from ..core.image_headers import Fault, cut, damaged, is_cut, read_header
from ..core.images import MAX_PIXELS, ImageError, ImagePath, read_bytes
from ..core.options import SPLITS
from .findings import Findings
from .groups import draw_groups, without_test
from .splits import random_split

# The others are among them so that they are refused with a reason, and not passed over.
DEPTH_SUFFIXES = frozenset((".png", ".npy", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".exr", ".pfm"))
SCALE_FILE = "depth_scale.txt"
KNOWN_SCALES = "KITTI's maps have 256, TUM's 5000, those in millimetres 1000"
# Median depths that are so many times apart are of unlike scales, for scenes are not: centimetres taken for metres are
# 100 times too far, less the factor by which one scene is nearer than another.
SCALES_APART = 30.0

_NPY = b"\x93NUMPY"
_PNG = b"\x89PNG\r\n\x1a\n"
_REMEDY = "save the depths themselves as 16-bit grey PNG, or as .npy in metres"


def read_depth(path: ImagePath, scale: float | None = None) -> dict[str, np.ndarray]:
    """`depth`, float32 (H, W): metres, and 0 where the file has 0, NaN, an infinity or a negative number.

    Whole numbers, of a PNG or an array, are divided by `scale`. Raises ImageError for a file that cannot be read as a
    depth map, DataError for whole numbers without a scale.
    """
    name, data = os.fsdecode(path), read_bytes(path)
    try:
        values = _array(data) if data.startswith(_NPY) else _png(data)
    except Fault as fault:
        raise ImageError(name, fault.code, fault.reason) from None
    if values.dtype.kind == "f":
        return {"depth": as_metres(values)}
    if scale is None:
        raise DataError(
            f"'{name}' holds whole numbers: say with data.depth_scale how many are a metre ({KNOWN_SCALES})."
        )
    return {"depth": as_metres(values, scale)}


def as_metres(values: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """float32 (H, W) of any numbers, divided by `scale`; 0, no measurement, for what is no distance."""
    with np.errstate(over="ignore", invalid="ignore"):  # too much for a float32: infinity, which is no distance either
        depth = values.astype(np.float32)
        if scale != 1:
            depth /= np.float32(scale)
    depth[~((depth > 0) & (depth < np.inf))] = 0  # NaN is neither
    return depth


def write_depth(path: Path, depth: np.ndarray, scale: float) -> Path:
    """Write metres (H, W) as 16-bit grey PNG, `scale` steps a metre; the path that was written.

    A depth is off by half a step at the most; one below half a step becomes a whole one, for 0 is no measurement. A map
    with a depth that 16 bits do not hold, beyond 65535 / `scale` metres, is written exactly: as float32, with .npy in
    place of the path's suffix. Raises MachineError where the file cannot be written.
    """
    steps = np.rint(depth.astype(np.float64) * scale)
    if steps.max(initial=0) > 65535:
        buffer, path = BytesIO(), path.with_suffix(".npy")
        np.save(buffer, depth.astype(np.float32), allow_pickle=False)
        encoded = buffer.getvalue()
    else:
        steps[depth > 0] = np.maximum(steps[depth > 0], 1)
        encoded = cv2.imencode(".png", steps.astype(np.uint16))[1].tobytes()
    try:
        path.write_bytes(encoded)
    except OSError as error:
        raise MachineError(f"'{path}' cannot be written: {error.strerror}.") from error
    return path


def find_scale(folder: Path, given: float | None, usual: float | None) -> float | None:
    """Steps of whole numbers to the metre: `given` by the recipe, or else of `folder`/depth_scale.txt, or `usual`.

    Raises UsageError for a number of the recipe that is no scale, DataError for a file that holds none.
    """
    if given is not None:
        if not 0 < given < math.inf:
            raise UsageError(f"data.depth_scale is {given:g}; it must be a number above 0 ({KNOWN_SCALES}).")
        return given
    file = folder / SCALE_FILE
    if not file.is_file():
        return usual
    try:
        text = file.read_bytes()[:100].strip().decode("ascii", "backslashreplace")
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 0 < scale < math.inf:
        raise DataError(f"'{file}' holds {text!r}: expected one number above 0, the steps of its depth files a metre.")
    return scale


def write_scale(folder: Path, scale: float) -> None:
    """Write the file that `find_scale` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCALE_FILE).write_text(f"{scale:g}\n", encoding="ascii")


def draw_scenes(
    scenes: Sequence[str],
    split: str,
    own: Collection[str],
    fractions: Sequence[float],
    seed: int,
    *,
    where: object,
    findings: Findings,
) -> np.ndarray:
    """Which frames are for `split`, int64 and rising. `scenes`: the video, or the room, of each frame, in their order.

    A split never shares a scene with another, where there are as many as splits with a share. Where there are fewer,
    frames drawn at random would lie beside their neighbours, which show nearly the same; so the frames are cut, as they
    come, into one run for each split, and that is noted. `own`, `where`: as in `draw_groups`.
    """
    if own and (split == "test" or "val" in own):
        return np.arange(len(scenes))
    fractions = without_test(fractions) if own else fractions
    count, needed = len(set(scenes)), sum(fraction > 0 for fraction in fractions)
    if count >= needed:
        return draw_groups(scenes, split, (), fractions, seed, what="scenes", where=where)
    shown = "one scene" if count == 1 else f"{count} scenes"
    text = f"{shown} for {needed} splits: its frames are cut into {needed} parts, one behind another"
    findings.note("FEW_SCENES", str(where), text, action="noted")
    sizes = [len(part) for part in random_split(len(scenes), fractions, seed).values()]
    ends, place = np.cumsum(sizes), SPLITS.index(split)
    return np.arange(ends[place] - sizes[place], ends[place])


def _png(data: bytes) -> np.ndarray:
    """uint16 (H, W), as stored."""
    if not data.startswith(_PNG):
        raise _foreign(data)
    kind, header = read_header(data, MAX_PIXELS)
    if header.orientation > 1:
        raise Fault("UNSUPPORTED", "is a depth map with an EXIF orientation, which those do not have; save it without")
    if is_cut(kind, data, header):
        raise cut(kind)
    bits, color = data[24], data[25]
    if color != 0:
        shown = "a palette" if color == 3 else "alpha" if color == 4 else "colours"
        raise Fault("UNSUPPORTED", f"is a PNG with {shown}, a picture of depths and not their numbers; {_REMEDY}")
    if bits != 16:
        raise Fault("UNSUPPORTED", f"is a PNG of {bits} bits, whose {2**bits} steps are too coarse; {_REMEDY}")
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None or values.dtype != np.uint16 or values.shape != (header.height, header.width):
        raise damaged(kind)
    return values


def _foreign(data: bytes) -> Fault:
    try:
        kind = f"a {read_header(data, MAX_PIXELS)[0]} file"
    except Fault as fault:
        if fault.code != "UNSUPPORTED":
            return fault
        kind = "in a format that is not read here"
    return Fault("UNSUPPORTED", f"is {kind}, and depth maps are PNG or NumPy files; {_REMEDY}")


def _array(data: bytes) -> np.ndarray:
    """The numbers (H, W) of a .npy file, whose header is believed only as far as the file goes."""
    file = BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(file)
    except Exception:  # numpy parses the header as Python, and lets through whatever that leads to
        raise damaged("NumPy") from None
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        kind = "objects" if dtype.hasobject else str(dtype)
        raise Fault("UNSUPPORTED", f"is an array of {kind}, and depths are numbers: save float32 in metres")
    inner = (
        shape[:-1] if len(shape) == 3 and shape[2] == 1 else shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    )
    if len(inner) != 2 or min(inner) < 1:
        raise Fault("UNSUPPORTED", f"is an array of the shape {shape}, and a depth map is (H, W)")
    if math.prod(inner) > MAX_PIXELS:
        limit = f"the limit is {MAX_PIXELS / 1e6:,.0f} million pixels"
        raise Fault("TOO_LARGE", f"has {inner[1]} x {inner[0]} pixels; {limit}; make it smaller or cut it into tiles")
    if len(data) - file.tell() < math.prod(inner) * dtype.itemsize:
        raise cut("NumPy")
    values = np.frombuffer(data, dtype, math.prod(inner), file.tell())
    return values.reshape(inner[::-1]).T if by_columns else values.reshape(inner)
