"""What verification is like, in two plots: TAR by FAR, and the distances of pairs of one person and of two."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .far import Roc
from .verification import checked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES = ("-", "--", "-.", ":")
_COLOURS = 10  # that matplotlib has
_BINS = 60
_LEAST_FAR = 1e-6  # that is drawn


def plot_roc(curves: Mapping[str, Roc], path: str | Path) -> None:
    """A PNG of the true accept rate by the false accept rate, on a logarithmic axis, a line for each name.

    A line begins where one pair of two people is called the same: nothing is known of smaller rates.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    least = 1.0
    for place, (name, curve) in enumerate(curves.items()):
        known = curve.far > 0
        far, tar = curve.far[known], curve.tar[known]
        label = " ".join(name.split()).replace("$", r"\$")  # $ begins mathematics in matplotlib
        line = _LINES[place // _COLOURS % len(_LINES)]
        axes.plot(far, tar, line, color=f"C{place % _COLOURS}", linewidth=1.8, label=label, zorder=100 - place)
        least = min(least, float(far[0]))
    axes.set_xscale("log")
    axes.set(xlabel="false accept rate", ylabel="true accept rate", ylim=(0, 1.01))
    axes.set_xlim(10 ** np.floor(np.log10(min(0.1, max(least, _LEAST_FAR)))), 1)
    axes.grid(alpha=0.25)
    if curves:
        lines = axes.get_lines()
        figure.legend(lines, [str(line.get_label()) for line in lines], loc="outside right upper", fontsize=8,
                      frameon=False)  # fmt: skip
    _save(figure, path)


def plot_distances(distances: np.ndarray, same: np.ndarray, threshold: float | None, path: str | Path) -> None:
    """A PNG of the distances (P,) of pairs of one person (`same`, bool) and of two, each as a share of its own, and the
    threshold below which a pair is called the same, if there is one.
    """
    from matplotlib.figure import Figure

    distances, same = checked(distances, same)
    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.add_subplot()
    shown = distances[np.isfinite(distances)]
    low, high = (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1e-3, _BINS + 1)
    for kind, name, colour in ((same, "one person", "C0"), (~same, "two people", "C1")):
        values = distances[kind]
        if len(values):
            weights, label = np.full(len(values), 100 / len(values)), f"{name}, {len(values):,} pairs"
            axes.hist(
                values, edges.tolist(), weights=weights, histtype="stepfilled", alpha=0.55, color=colour, label=label
            )
    if threshold is not None and np.isfinite(threshold):
        axes.axvline(threshold, color="0.2", linestyle="--", label=f"threshold {threshold:.3f}")
    axes.set(xlabel="distance (1 - cosine)", ylabel="% of the pairs")
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8, frameon=False)
    _save(figure, path)


def _save(figure: "Figure", path: str | Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of a script that the font has no letters for
        figure.savefig(path, dpi=130, format="png", bbox_inches="tight")
