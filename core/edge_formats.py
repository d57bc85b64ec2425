"""Maps of edges in files: how sure each pixel is, which are edges at the threshold, and these as lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .formats import Format, Item
from .images import write_image
from .mask_formats import PixelFiles
from .masks import read_mask
from .report_page import text
from .run_folder import write_file
from .types import Prediction

if TYPE_CHECKING:
    from .lines import Line


class Edges(PixelFiles):
    """`edges/` with a grey PNG of the file's size an image, a.jpg.png for a.jpg: probabilities times 255, or 65,535 in
    16 bits.
    """

    KEY = "edges"
    FOLDER = "edges"

    def write(self, item: Item) -> str:
        """Have the PNG written."""
        path = self._path(item, ".png")
        self._run.later(_write_edges, path, item.prediction["edges"].numpy(), self._wanted.bits)
        return self._below(path)


def _write_edges(path: Path, edges: np.ndarray, bits: int) -> None:
    # As a sum, of which the second part is nothing: in one pass, without an array in between, rounded to the nearest.
    kind = cv2.CV_8U if bits == 8 else cv2.CV_16U
    write_image(path, cv2.addWeighted(edges, 2**bits - 1, edges, 0, 0, dtype=kind))


def read_edges(path: Path) -> np.ndarray:
    """The probabilities that `Edges` has written, float32 (H, W), in steps of the file's bits; raises OSError where
    they are gone or damaged.
    """
    levels = read_mask(path)
    return (levels / np.iinfo(levels.dtype).max).astype(np.float32)


class Binary(Format):
    """`binary/` with a PNG an image: 255 where the edges reach the threshold, else 0."""

    NAMES = ("binary",)
    OF = ("edges",)

    def write(self, item: Item) -> None:
        """Have the PNG written."""
        path = self.run.place("binary", (item.whole,), ".png", later=True)
        self.run.later(_write_binary, path, item.prediction)


def _write_binary(path: Path, prediction: Prediction) -> None:
    write_image(path, _found(prediction).view(np.uint8) * np.uint8(255))


class Svg(Format):
    """`svg/` with a drawing an image: the lines of its edges at the threshold, in pixels of the file."""

    NAMES = ("svg",)
    OF = ("edges",)

    def write(self, item: Item) -> None:
        """Have the drawing written."""
        path = self.run.place("svg", (item.whole,), ".svg", later=True)
        self.run.later(_write_svg, path, item.prediction, item.name)


def _write_svg(path: Path, prediction: Prediction, name: str) -> None:
    height, width = prediction["size"]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n'
        f"<title>{text(name)}</title>\n"
        '<g fill="none" stroke="#000" stroke-width="1" stroke-linecap="round" stroke-linejoin="round">\n'
    )
    paths = (
        f'<path d="M{" ".join(f"{x:g},{y:g}" for x, y in line.points.tolist())}{"Z" * line.closed}"/>\n'
        for line in _lines(prediction)
    )
    write_file(path, "".join([head, *paths, "</g>\n</svg>\n"]).encode())


class GeoJson(Format):
    """`geojson/` with a collection of LineStrings an image: the lines of its edges at the threshold, in pixels of the
    file, x to the right and y down, with their length in pixels and the mean probability of their pixels.
    """

    NAMES = ("geojson",)
    OF = ("edges",)

    def write(self, item: Item) -> None:
        """Have the collection written."""
        path = self.run.place("geojson", (item.whole,), ".geojson", later=True)
        self.run.later(_write_geojson, path, item.prediction)


def _write_geojson(path: Path, prediction: Prediction) -> None:
    edges = prediction["edges"].numpy().ravel()
    features = ",\n".join(_feature(line, edges) for line in _lines(prediction))
    write_file(path, f'{{"type": "FeatureCollection", "features": [\n{features}\n]}}\n'.encode("ascii"))


def _feature(line: "Line", edges: np.ndarray) -> str:
    length = float(np.hypot(*np.diff(line.points, axis=0).T).sum())
    properties = {"length": round(length, 2), "mean": round(float(edges[line.pixels].mean()), 6)}
    geometry = {"type": "LineString", "coordinates": line.points.tolist()}
    return json.dumps({"type": "Feature", "properties": properties, "geometry": geometry})


def _lines(prediction: Prediction) -> Iterator["Line"]:
    from .lines import trace  # which imports numba

    return trace(_found(prediction))


def _found(prediction: Prediction) -> np.ndarray:
    """Which pixels are edges: bool (H, W)."""
    return prediction["edges"].numpy() >= prediction["threshold"]
