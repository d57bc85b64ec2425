"""Edges on pictures, and the curve of precision by recall, for people."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ...core.plots import sized_to_see
from ...core.types import Prediction
from .thin import suppress_non_maxima

if TYPE_CHECKING:
    from .berkeley import Scores

_COLOUR = np.array((200, 30, 30), np.float32)  # of what is found
_FAINT = np.array((240, 170, 60), np.float32)  # of what is less likely
_PALE = 0.45  # of the image, beside white


def draw_edges(image: np.ndarray, prediction: Prediction) -> np.ndarray:
    """`image` uint8 RGB (H, W, 3), pale, with the edges that are found in red, and in orange, the fainter the less
    likely, all others; uint8 (H', W', 3), the image at a size to look at (see `sized_to_see`).

    Of what is found in a width of three pixels or more, the highest across the edge is red: what the benchmark counts.
    """
    picture = sized_to_see(image)
    edges, size = np.asarray(prediction["edges"]), picture.shape[:2]
    found = _at_size(_lines(edges, prediction["threshold"]), size)[..., None] > 0
    paper = 255 - _PALE * (255 - picture.astype(np.float32))
    strength = np.where(found, 1, _at_size(edges, size)[..., None])
    drawn = paper * (1 - strength) + np.where(found, _COLOUR, _FAINT) * strength
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)


def _lines(edges: np.ndarray, threshold: float) -> np.ndarray:
    """Where lines are found, 1, and elsewhere 0, float32 (H, W)."""
    found = edges >= threshold
    if cv2.erode(found.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).any():
        found = suppress_non_maxima(edges) >= threshold
    return found.astype(np.float32)


def _at_size(edges: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map of another size, in which a line of one pixel is still there."""
    height, width = size
    shrink = max(edges.shape[0] / height, edges.shape[1] / width)
    if shrink > 1:
        side = int(np.ceil(shrink))
        edges = cv2.dilate(edges, np.ones((side, side), np.uint8))
    return cv2.resize(edges, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def plot_curve(scores: "Scores | None", path: str) -> None:
    """Precision by recall of `berkeley.Scores`, with the point of the best threshold, on lines of equal F."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for f in np.arange(0.1, 1, 0.1):
        recalls = np.geomspace(f / (2 - f), 1, 100)  # at the lowest of these precision is 1
        axes.plot(recalls, f * recalls / (2 * recalls - f), color="0.8", linewidth=0.8, zorder=1)
        place = {"xy": (1.0, f / (2 - f)), "xytext": (3, 0), "textcoords": "offset points"}
        axes.annotate(f"F {f:.1f}", **place, fontsize=7, color="0.5")
    if scores is not None:
        curve = [point for point in scores.curve if point.recall > 0 or point.precision > 0]
        label = f"ODS {scores.ods.f:.3f}  OIS {scores.ois.f:.3f}\nAP {scores.ap:.3f}  R50 {scores.r50:.3f}"
        axes.plot([p.recall for p in curve], [p.precision for p in curve], linewidth=1.8, zorder=3, label=label)
        axes.plot(scores.ods.recall, scores.ods.precision, "o", zorder=4)
        axes.legend(loc="lower left", fontsize=8, frameon=False)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.01))
    figure.savefig(path, dpi=130)
