"""Images and maps of their edges of one name in two folders: `images/1.jpg` and `edges/1.png`, white where an edge is.

The grey level of a pixel is the share of annotators who marked it: 0 is nobody, white is all of them.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..core.errors import MachineError
from ..core.images import ImageError, decode_image, inspect_image, read_bytes, write_image
from .findings import Findings
from .listing import files_there
from .masks import MASK_SUFFIXES
from .paired import Folders, PairedFiles, find_pairs

_FOLDERS = Folders(
    images=("images", "image", "imgs", "img", "rgb"),
    truths=(
        *("edges", "edge", "edge_maps", "edge_map", "edgemaps", "gt", "groundtruth", "ground_truth"),
        *("boundaries", "boundary", "contours"),
    ),
    truth_suffixes=MASK_SUFFIXES,
    what="map of edges",
)
_KINDS = ("PNG", "BMP", "GIF")


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> PairedFiles:
    """One split of two folders; see `find_pairs` for the layouts and what it raises, `read_edges` for the maps."""
    folder, paths, truths = find_pairs(root, _FOLDERS, split=split, fractions=fractions, seed=seed, findings=findings)
    files_there(folder, [*paths, *truths], findings)  # which notes links that lead out
    return PairedFiles(folder, paths, truths, read_edges)


def read_edges(path: str) -> dict[str, np.ndarray]:
    """`edges`, float32 (H, W): grey levels as shares of white, 0 to 1.

    Levels of 16 bits are read as they are, fewer bits and palettes by the grey they show. A map whose highest level is
    1 was saved without stretching True to white: there, 1 is an edge. Raises ImageError for a file that cannot be read,
    that shows colours, or whose format changes levels, as JPEG does.
    """
    data, name = read_bytes(path), os.fsdecode(path)
    kind, _ = inspect_image(data, name)
    if kind not in _KINDS:
        reason = f"is a {kind} file, but edge maps are read from {', '.join(_KINDS)} alone, which keep every grey level"
        raise ImageError(name, "UNSUPPORTED", f"{reason}; write the map anew as grey PNG")
    pixels, white = decode_image(data, name), 255
    if kind == "PNG" and data[24] == 16:  # bits a channel, of which `decode_image` keeps eight
        deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH)
        pixels, white = np.asarray(deep), 65535
    levels = pixels[..., 0]
    if not (pixels == levels[..., None]).all():
        raise ImageError(name, "UNSUPPORTED", "is an edge map in colour; save it in grey, white where there is an edge")
    return {"edges": levels / np.float32(1 if levels.max() == 1 else white)}


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes images as JPEG and edge maps as grey PNG below `root/split`.

    Maps have 8 bits where these hold every share as it is, as they do for fifths and thirds, and 16 bits else, which
    are at most 1/131070 away (a map whose highest share is below 1.5/65535 becomes one without an edge).
    """
    images, truths = root / split / "images", root / split / "edges"
    for folder in (images, truths):
        folder.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples):
        write_image(images / f"{number:06d}.jpg", sample["image"])
        _write_edges(truths / f"{number:06d}.png", sample["edges"])


def _write_edges(path: Path, edges: np.ndarray) -> None:
    levels = np.rint(edges * 255.0).astype(np.uint8)
    # A highest level of 1 means white to the reader.
    if levels.max() == 1 or not np.array_equal(levels / np.float32(255), edges):
        levels = np.rint(edges * 65535.0).astype(np.uint16)
        levels *= levels.max() > 1
    try:
        path.write_bytes(cv2.imencode(".png", levels)[1].tobytes())
    except OSError as error:
        raise MachineError(f"'{path}' cannot be written: {error.strerror}.") from error
