"""Surface normals: of a depth map whose camera is known, and how far two maps of them are apart.

A normal is a unit vector in the camera's coordinates, x to the right, y down and z forward, that points to the camera's
side of its surface: that of a wall before the camera is (0, 0, -1), that of the ground (0, -1, 0). (0, 0, 0) stands for
not known.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torchmetrics import Metric

from ...core.errors import UsageError

ANGLES = (11.25, 22.5, 30.0)  # degrees, of Fouhey, Gupta and Hebert 2013
# Of its inverse depth, by which a pixel's two differences may differ: more is a crease or a border, and no noise.
_ALIKE = 0.02
_BINS = 18_000  # of 0 to 180 degrees


def normals_from_depth(depth: np.ndarray, focal: float, centre: tuple[float, float] | None = None) -> np.ndarray:
    """float32 (H, W, 3) of a depth map float (H, W), metres along the camera's axis, 0 or no distance where not known.

    `focal`: pixels of this very map, which are square; `centre`: where the camera's axis meets it, (x, y), 0 in the
    middle of its first pixel, by default its middle. A pixel without a known neighbour, on its row or its column, gets
    0. On a plane the result is exact, for there the inverse depth is linear in the pixels; between two surfaces the
    difference to the nearer one in depth is taken, so that a border is not taken for a steep slope.

    Raises UsageError for a focal length that is not above 0.
    """
    if not 0 < focal < np.inf:
        raise UsageError(f"The focal length is {focal:g}; give the pixels of the image it has, a number above 0.")
    height, width = depth.shape
    x, y = ((width - 1) / 2, (height - 1) / 2) if centre is None else centre
    inverse = np.full(depth.shape, np.nan)
    known = np.isfinite(depth) & (depth > 0)
    inverse[known] = 1 / depth[known].astype(np.float64)
    across, down = _slope(inverse, 1) * focal, _slope(inverse, 0) * focal
    # A plane n . P = d, of points P = Z r on the rays r = ((u - x) / f, (v - y) / f, 1), is 1 / Z = n . r / d.
    right, low = (np.arange(width) - x) / focal, ((np.arange(height) - y) / focal)[:, None]
    away = np.stack([across, down, inverse - across * right - down * low], axis=-1)
    normals = -away / np.linalg.norm(away, axis=-1, keepdims=True)
    return np.nan_to_num(normals).astype(np.float32)


def true_normals(sample: Mapping[str, Any], focal: float | None = None) -> np.ndarray:
    """float32 (H, W, 3) of a sample at the size of its file: its own `normals`, or those of its `depth`.

    The camera is the sample's `camera`, where it has one; else `focal` is its focal length, see `normals_from_depth`,
    and None stands for half of height and width together: of a square image, a view of 53 degrees.
    """
    if "normals" in sample:
        return _array(sample["normals"]).astype(np.float32, copy=False)
    depth = _array(sample["depth"])
    if "camera" in sample:
        own, x, y = _array(sample["camera"]).tolist()
        return normals_from_depth(depth, own, (x, y))
    return normals_from_depth(depth, sum(depth.shape) / 2 if focal is None else focal)


def _array(values: Any) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _slope(inverse: np.ndarray, axis: int) -> np.ndarray:
    """The change from one pixel to the next along an axis: the mean of both sides' where they agree, else the smaller,
    or the only one; NaN where there is none.
    """
    step = np.diff(inverse, axis=axis)
    rim = [(0, 0), (0, 0)]
    rim[axis] = (0, 1)
    ahead = np.pad(step, rim, constant_values=np.nan)
    behind = np.pad(step, [pair[::-1] for pair in rim], constant_values=np.nan)
    up, back = np.abs(ahead), np.abs(behind)
    alike = (np.abs(ahead - behind) <= _ALIKE * inverse) | (up == back)  # NaN is not
    one = np.where(np.isnan(behind) | (up < back), ahead, behind)
    return np.where(alike, (ahead + behind) / 2, one)


class NormalMetrics(Metric):
    """The angles between predicted and true normals, over all pixels of all images together, as Fouhey et al. 2013 and
    Eigen and Fergus 2015 count them; over several processes too.

    The mean and the shares are exact; the median, of which no pixel is kept, is right to 0.01 degrees.
    """

    full_state_update = False

    degrees: torch.Tensor
    within: torch.Tensor
    bins: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("degrees", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("within", default=torch.zeros(len(ANGLES), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("bins", default=torch.zeros(_BINS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, normals: np.ndarray, truth: np.ndarray) -> None:
        """Add an image: both float (H, W, 3); those predicted may have any length, those that are true have the length
        1, or 0 where they are not known.
        """
        angles = angles_between(normals, truth)
        counts, _ = np.histogram(angles, _BINS, (0, 180))
        self.degrees += float(angles.sum())
        self.within += torch.tensor([int((angles < angle).sum()) for angle in ANGLES]).to(self.within.device)
        self.bins += torch.from_numpy(counts).to(self.bins.device)

    def compute(self) -> dict[str, float]:
        """`normals_mean` and `normals_median` in degrees, and the shares of pixels `normals_11_25`, `normals_22_5` and
        `normals_30` that are less than so many degrees off; -1 where nothing is known.
        """
        names = ("normals_11_25", "normals_22_5", "normals_30")
        counts = self.bins.cpu().numpy()
        pixels = int(counts.sum())
        if not pixels:
            return dict.fromkeys(("normals_mean", "normals_median", *names), -1.0)
        middle = int(np.searchsorted(np.cumsum(counts), pixels / 2))
        shares = (self.within.cpu().double() / pixels).tolist()
        mean, median = float(self.degrees.cpu()) / pixels, (middle + 0.5) * 180 / _BINS
        return {"normals_mean": mean, "normals_median": median, **dict(zip(names, shares, strict=True))}

    def _apply(self, fn: Callable, *arguments: object) -> "NormalMetrics":
        """Apple's GPUs know no float64: there the sums stay on the CPU."""
        if fn(torch.zeros(1)).device.type == "mps":
            return self
        return super()._apply(fn, *arguments)  # type: ignore[return-value]


def angles_between(normals: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Degrees, float64 (P,), of the pixels whose truth is known; a prediction without a direction is 180 off."""
    known = _lengths(truth) > 0.5
    found, asked = normals[known].astype(np.float64), truth[known].astype(np.float64)
    length = _lengths(found)
    none = ~(np.isfinite(length) & (length > 0))
    length[none] = 1
    found /= length[:, None]
    # By the tangent of half the angle: a cosine can't tell angles below 0.03 degrees from nothing in float32.
    angles = np.degrees(2 * np.arctan2(_lengths(found - asked), _lengths(found + asked)))
    return np.where(none, 180.0, angles)


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
