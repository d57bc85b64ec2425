"""The plots by which trackers are compared (Wu et al. 2013, figure 4): several in one, the best one first."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .metrics import OVERLAP_THRESHOLDS, PIXEL_THRESHOLDS, SHARE_THRESHOLDS, Curves

_LINES = ("-", "--", "-.", ":")
_COLOURS = 10  # that matplotlib has


def plot_success(trackers: Mapping[str, Curves], path: str | Path) -> None:
    """A PNG of success by overlap threshold; in brackets behind each name the area under its curve."""
    rows = {name: (curves.success, curves.numbers()["success"]) for name, curves in trackers.items()}
    _plot(rows, OVERLAP_THRESHOLDS, ("overlap threshold", "success", "area under the curve"), path)


def plot_precision(trackers: Mapping[str, Curves], path: str | Path) -> None:
    """A PNG of precision by centre error in pixels; in brackets behind each name that at 20 pixels."""
    rows = {name: (curves.precision, curves.numbers()["precision"]) for name, curves in trackers.items()}
    _plot(rows, PIXEL_THRESHOLDS, ("centre error in pixels", "precision", "at 20 pixels"), path)


def plot_normalised_precision(trackers: Mapping[str, Curves], path: str | Path) -> None:
    """A PNG of precision by centre error in shares of the target's size; in brackets the area under each curve."""
    rows = {
        name: (each.normalised_precision, each.numbers()["normalised_precision"]) for name, each in trackers.items()
    }
    labels = ("centre error by size of the target", "normalised precision", "area under the curve")
    _plot(rows, SHARE_THRESHOLDS, labels, path)


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Names by falling score; of equal ones in their own order."""
    return sorted(scores, key=lambda name: -scores[name])


def _plot(
    rows: Mapping[str, tuple[np.ndarray, float]], thresholds: np.ndarray, labels: Sequence[str], path: str | Path
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    names = ranked({name: score for name, (_, score) in rows.items()})
    for place, name in enumerate(names):
        curve, score = rows[name]
        label = f"{' '.join(name.split())} [{score:.3f}]".replace("$", r"\$")  # $ begins mathematics in matplotlib
        line = _LINES[place // _COLOURS % len(_LINES)]
        axes.plot(thresholds, curve, line, color=f"C{place % _COLOURS}", linewidth=1.8, label=label, zorder=100 - place)
    axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, thresholds[-1]), ylim=(0, 1.01))
    axes.grid(alpha=0.25)
    if names:
        lines = axes.get_lines()
        options = {"fontsize": 8, "frameon": False, "title": labels[2], "title_fontsize": 8}
        figure.legend(lines, [str(line.get_label()) for line in lines], loc="outside right upper", **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of a script that the font has no letters for
        figure.savefig(path, dpi=130, format="png", bbox_inches="tight")
