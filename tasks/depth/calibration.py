"""Scale and shift between a network's distances and those of a place: found from a few that are known, and stored in
the checkpoint.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

from ...core.checkpoint import AtomicCheckpointIO, read_checkpoint
from ...core.errors import DataError, ModelFileError

ENTRY = "calibration"  # of a checkpoint's entry `foveal`
_SPREAD = 0.02  # of predicted distances: nearer to one another, they say nothing of scale apart from shift


class Calibration(TypedDict):
    """metres = scale x metres of the network + shift."""

    scale: float
    shift: float  # metres


def calibrated(depth: torch.Tensor, calibration: Calibration | None) -> torch.Tensor:
    """`depth` in the metres of the place; the same tensor where there is no calibration. 0, not known, stays 0."""
    if calibration is None:
        return depth
    return torch.where(depth == 0, depth, depth * calibration["scale"] + calibration["shift"])


def fit_calibration(predicted: np.ndarray, measured: np.ndarray) -> Calibration:
    """The scale and shift with the least squares of errors in metres, from two points or more, both (K,).

    Raises DataError where the points can't tell them: they lie at one predicted distance, or farther is nearer.
    """
    predicted, measured = predicted.astype(np.float64), measured.astype(np.float64)
    spread = (predicted.max() - predicted.min()) / predicted.max()
    if spread < _SPREAD:
        raise DataError(
            f"The {len(predicted)} points lie at nearly one distance for the network, {predicted.min():.3f} to "
            f"{predicted.max():.3f} m: measure one that is near and one that is far."
        )
    away = predicted - predicted.mean()
    scale = float(away @ measured / (away @ away))
    shift = float(measured.mean() - scale * predicted.mean())
    if scale <= 0:
        raise DataError(
            f"The scale came out as {scale:.4g}: what was measured as farther is nearer for the network; check x, y "
            "and metres of the points."
        )
    return Calibration(scale=scale, shift=shift)


def read_calibration(entry: Mapping[str, Any]) -> Calibration | None:
    """That of a checkpoint's entry `foveal`, or None; raises ModelFileError for one that is no scale and shift."""
    found = entry.get(ENTRY)
    if found is None:
        return None
    try:
        scale, shift = float(found["scale"]), float(found["shift"])
    except (TypeError, KeyError, ValueError):
        scale = shift = math.nan
    if not (0 < scale < math.inf and math.isfinite(shift)):
        raise ModelFileError(f"The checkpoint's calibration is {found!r}; it must be a scale above 0 and a shift.")
    return Calibration(scale=scale, shift=shift)


def store_calibration(path: Path, calibration: Calibration | None, out: Path) -> None:
    """Write the checkpoint `path` to `out`, which may be the same, with another calibration, or without one.

    All else stays, so that a training can still go on from it. Raises MachineError where `out` cannot be written; what
    was there is then untouched.
    """
    contents = read_checkpoint(path)
    contents["foveal"].pop(ENTRY, None)
    if calibration is not None:
        contents["foveal"][ENTRY] = dict(calibration)
    AtomicCheckpointIO().save_checkpoint(contents, out)
