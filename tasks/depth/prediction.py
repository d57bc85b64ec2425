"""From metres to the prediction of an image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...core.types import Prediction
from .calibration import Calibration, calibrated


def depth_prediction(
    depth: torch.Tensor, path: str, *, normals: torch.Tensor | None = None, calibration: Calibration | None = None
) -> Prediction:
    """The prediction that is `depth`, float32 (H, W), in metres, on the CPU, after `calibration`; `normals`, float32
    (3, H, W) of any length, become unit vectors.

    What is no distance (0, below 0, NaN, infinite) is 0, not known, and what is no direction is a 0 vector. `depth` may
    be changed in place.
    """
    depth = calibrated(depth.float(), calibration)
    depth[~((depth > 0) & (depth < torch.inf))] = 0
    found = Prediction(
        path=path,
        size=(depth.shape[0], depth.shape[1]),
        labels=torch.zeros(0, dtype=torch.int64),
        scores=torch.zeros(0),
        names=[],
        depth=depth,
        **_distances(depth.numpy()),
    )
    if normals is not None:
        found["normals"] = unit_vectors(normals.float())
    return found


def _distances(depth: np.ndarray) -> dict[str, Any]:
    """Ends and middle of the range, and the share of pixels that are in it."""
    known = depth[depth > 0]
    if not known.size:
        return {"nearest": 0.0, "median": 0.0, "farthest": 0.0, "known": 0.0}
    return {
        "nearest": float(known.min()),
        "median": float(np.median(known)),
        "farthest": float(known.max()),
        "known": known.size / depth.size,
    }


def unit_vectors(normals: torch.Tensor) -> torch.Tensor:
    """Vectors (3, H, W) at unit length; 0 for what has no direction."""
    lengths = normals.norm(dim=0)
    good = (lengths > 0) & (lengths < torch.inf)  # NaN is neither
    return torch.where(good, normals / torch.where(good, lengths, 1), 0)


def about_depth(min_depth: float, max_depth: float, calibration: Calibration | None) -> Mapping[str, Any]:
    """What `depth.json` says of a network whose distances are from `min_depth` to `max_depth` metres."""
    scale, shift = (calibration["scale"], calibration["shift"]) if calibration else (1.0, 0.0)
    ends = [max(0.0, scale * end + shift) for end in (min_depth, max_depth)]
    return {
        "alignment": "none" if calibration is None else "scale and shift, found by foveal calibrate",
        "calibration": dict(calibration) if calibration else None,
        "range": [round(end, 6) for end in ends],
    }
