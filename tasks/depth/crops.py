"""The parts of an image that published figures of depth count: figures of unlike crops can't be compared."""

from typing import Literal

import numpy as np

from ...core.errors import unknown

CropName = Literal["none", "eigen", "garg", "nyu"]

_NYU_SIZE = (480, 640)
_NYU = (45, 471, 41, 601)
# Top, bottom, left and right in shares of height and width.
_SHARES = {
    "none": (0.0, 1.0, 0.0, 1.0),
    # KITTI, as Eigen, Puhrsch and Fergus 2014 do it: Godard et al. 2017 found it by trial (monodepth's `eigen_crop`).
    "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
    # KITTI, Garg et al. 2016: of 370 x 1224 pixels rows 151 to 365 and columns 43 to 1179; of most newer figures.
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
}
CROPS: tuple[CropName, ...] = ("none", "eigen", "garg", "nyu")


def crop_box(name: str, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the part called `name`, of an image of `height` and `width`.

    `nyu` is Eigen's for NYU Depth V2, rows 45 to 470 and columns 41 to 600 of 480 x 640, where both the Kinect's
    projection and the labels are; of other sizes the same share. Raises UsageError for an unknown name.
    """
    if name not in CROPS:
        raise unknown("crop", name, CROPS, "Set model.crop to one of them.")
    if name == "nyu":
        (whole_height, whole_width), (top, bottom, left, right) = _NYU_SIZE, _NYU
        rows = slice(top * height // whole_height, bottom * height // whole_height)
        return rows, slice(left * width // whole_width, right * width // whole_width)
    top, bottom, left, right = _SHARES[name]
    return slice(int(top * height), int(bottom * height)), slice(int(left * width), int(right * width))


def crop_mask(name: str, height: int, width: int) -> np.ndarray:
    """Bool (H, W): which pixels count. Raises UsageError for an unknown name."""
    mask = np.zeros((height, width), bool)
    mask[crop_box(name, height, width)] = True
    return mask
