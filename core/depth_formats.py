"""Distances in files: a map in 16 bits an image, and what its numbers mean; arrays of metres, normals, point clouds."""

import json
import os
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .depth_files import Camera, fits, to_colours, to_steps
from .errors import MachineError, UsageError
from .formats import Format, Formats, Item
from .images import ImageError, write_image
from .input_list import InputList
from .mask_formats import PixelFiles
from .run_folder import DEPTH_ABOUT, DEPTH_SCALE, RunFolder, write_file
from .types import Prediction

_ROWS = 2**20  # pixels of a point cloud that are worked out at once
# What the colours of a normal map's PNG mean; see `depth_files.to_colours`.
_NORMALS = {
    "vectors": "unit length, towards the camera; x to the right, y down, z forward",
    "red": "127.5 (1 + x)",
    "green": "127.5 (1 - y)",
    "blue": "127.5 (1 - z)",
    "not_known": [0, 0, 0],
}


class Depth(PixelFiles):
    """`depth/` with a grey 16-bit PNG of the file's size an image, a.jpg.png for a.jpg, and beside the folder
    `depth_scale.txt`, with how many of its steps are a metre, and `depth.json`, which says what the numbers mean.

    A map with a distance that 16 bits do not hold is an array of metres, a.jpg.npy.
    """

    KEY = "depth"
    FOLDER = "depth"

    def __init__(self, run: RunFolder, wanted: Formats) -> None:
        super().__init__(run, wanted)
        self._said = False  # what the numbers mean

    def write(self, item: Item) -> str:
        """Have the map written, and with the first one what it means."""
        if not self._said:
            self._say("normals" in item.prediction)
        depth, steps = item.prediction["depth"].numpy(), self._wanted.depth_scale
        if fits(depth, steps):
            path = self._path(item, ".png")
            self._run.later(_write_steps, path, depth, steps)
        else:
            path = self._path(item, ".npy")
            self._run.later(write_metres, path, depth)
        return self._below(path)

    def _say(self, normals: bool) -> None:
        scale = f"{self._wanted.depth_scale:.10g}\n"
        with self._run.whole(DEPTH_SCALE) as path:
            path.write_text(scale, encoding="ascii")
        with self._run.whole(DEPTH_ABOUT) as path:
            path.write_text(json.dumps(_about(self._wanted, normals), indent=1) + "\n", encoding="ascii")
        self._said = True


def _about(wanted: Formats, normals: bool) -> dict[str, Any]:
    """What `depth.json` says, the same for all runs of a command, and so for all its shards."""
    camera = wanted.camera
    return {
        "schema": 1,
        "unit": "metre",
        "direction": "larger is farther",
        "distance": "along the camera's axis, not along the ray of the pixel",
        "not_known": 0,
        "png_steps_per_metre": wanted.depth_scale,
        "npy": "float32, metres",
        **({"normals": _NORMALS} if normals else {}),
        "camera": dict(camera._asdict(), unit="pixels of the file") if camera is not None else None,
        **wanted.about,
    }


def _write_steps(path: Path, depth: np.ndarray, steps: float) -> None:
    write_image(path, to_steps(depth, steps))


def write_metres(path: Path, depth: np.ndarray) -> None:
    """Write metres, float32 (H, W), as a .npy file; raises MachineError where that fails."""
    file = BytesIO()
    np.save(file, depth, allow_pickle=False)
    write_file(path, file.getvalue())


class Normals(PixelFiles):
    """`normals/` with a colour PNG of the file's size an image: red to the right, green up, blue towards the camera."""

    KEY = "normals"
    FOLDER = "normals"

    def write(self, item: Item) -> str:
        """Have the PNG written."""
        path = self._path(item, ".png")
        self._run.later(_write_normals, path, item.prediction["normals"].numpy())
        return self._below(path)


def _write_normals(path: Path, normals: np.ndarray) -> None:
    write_image(path, to_colours(normals))


class Npy(Format):
    """`npy/` with an array an image, a.jpg.npy for a.jpg: metres, float32 (H, W), 0 where nothing is known."""

    NAMES = ("npy",)
    OF = ("depth",)

    def write(self, item: Item) -> None:
        """Have the array written."""
        path = self.run.place("npy", (item.whole,), ".npy", later=True)
        self.run.later(write_metres, path, item.prediction["depth"].numpy())


class Ply(Format):
    """`ply/` with a cloud of points an image, binary: a point for each pixel whose distance is known, in metres from
    the camera, x to the right, y down and z forward, with the pixel's colour and, where there is one, its normal.
    """

    NAMES = ("ply",)
    OF = ("depth",)

    def __init__(self, run: RunFolder, wanted: Formats, inputs: InputList) -> None:
        super().__init__(run, wanted, inputs)
        if wanted.camera is None:
            raise UsageError(
                "The format ply needs the camera: give --focal PIXELS, its focal length in pixels of the image files, "
                "or --intrinsics FX,FY,CX,CY."
            )
        self._camera = wanted.camera

    def write(self, item: Item) -> None:
        """Have the cloud written."""
        path = self.run.place("ply", (item.whole,), ".ply", later=True)
        self.run.later(_write_points, path, item, self._camera)


def _write_points(path: Path, item: Item, camera: Camera) -> None:
    prediction = item.prediction
    try:
        image = item.image
    except ImageError:  # gone since: its points stand
        image = None
    try:
        with path.open("wb") as file:
            _write_cloud(file, prediction, image, camera)
    except OSError as error:
        raise MachineError(f"'{os.fsdecode(path)}' cannot be written: {error.strerror or error}.") from error


def _write_cloud(file: BinaryIO, prediction: Prediction, image: np.ndarray | None, camera: Camera) -> None:
    depth = prediction["depth"].numpy()
    normals = prediction["normals"].numpy() if "normals" in prediction else None
    fields = [(name, "<f4") for name in ("x", "y", "z", *(("nx", "ny", "nz") if normals is not None else ()))]
    fields += [(name, "u1") for name in ("red", "green", "blue") if image is not None]
    words = {"<f4": "float", "u1": "uchar"}
    properties = "".join(f"property {words[kind]} {name}\n" for name, kind in fields)
    file.write(
        "ply\nformat binary_little_endian 1.0\ncomment metres from the camera; x to the right, y down, z forward\n"
        f"element vertex {np.count_nonzero(depth)}\n{properties}end_header\n".encode("ascii")
    )
    rows = max(1, _ROWS // depth.shape[1])
    for top in range(0, len(depth), rows):
        file.write(_points(depth, normals, image, camera, np.dtype(fields), slice(top, top + rows)).tobytes())


def _points(
    depth: np.ndarray,
    normals: np.ndarray | None,
    image: np.ndarray | None,
    camera: Camera,
    kind: np.dtype,
    rows: slice,
) -> np.ndarray:
    """Those of some rows of the image, row by row."""
    down, across = np.nonzero(depth[rows])
    down += rows.start
    found = np.empty(len(down), kind)
    cx, cy = camera.centre((depth.shape[0], depth.shape[1]))
    found["z"] = z = depth[down, across]
    found["x"] = (across - cx) / camera.fx * z
    found["y"] = (down - cy) / camera.fy * z
    if normals is not None:
        found["nx"], found["ny"], found["nz"] = normals[:, down, across]
    if image is not None:
        found["red"], found["green"], found["blue"] = image[down, across].T
    return found
