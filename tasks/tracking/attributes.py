"""What makes a sequence hard to follow: attributes by which results are told apart.

OTB (Wu et al. 2015, table 2) names eleven. SV, FM, LR and partly OV follow from the boxes; the others (IV, OCC, DEF,
MB, IPR, OPR, BC) people saw, and its folders of sequences have no file of them. GOT-10k's and LaSOT's have files that
say some of it, see `read_attributes`.
"""

from pathlib import Path

import numpy as np

from .metrics import has_area

NAMES = {
    "IV": "illumination variation",
    "SV": "scale variation",
    "OCC": "occlusion",
    "DEF": "deformation",
    "MB": "motion blur",
    "FM": "fast motion",
    "IPR": "in-plane rotation",
    "OPR": "out-of-plane rotation",
    "OV": "out of view",
    "BC": "background clutter",
    "LR": "low resolution",
    "ARC": "aspect ratio change",
    "RM": "motion by more than the target's size",
    "ABS": "absent",
}
_RATIO = 2.0
_MOTION = 20.0  # pixels
_PIXELS = 400.0
_WHOLE = 8  # of cover.label: 0 is nothing to be seen of the target, 8 all of it


def box_attributes(truth: np.ndarray, visible: np.ndarray, size: tuple[int, int]) -> frozenset[str]:
    """The attributes of a sequence that boxes tell; each holds if one frame has it.

    - SV: the area of the box is more than twice or less than half of that in the first frame (Wu et al. 2015, who say
      "the ratio of the bounding boxes"; of areas by our reading).
    - FM: its middle moves by more than 20 pixels from one frame to the next (the same).
    - LR: it has less than 400 pixels (the same).
    - OV: it reaches over the border of the frame. Some data sets cut their boxes there, and hide it so.
    - ARC: width by height is more than twice or less than half of that in the first (Mueller et al. 2016, UAV123).
    - RM: its middle moves by more than the square root of its area in the frame before (Fan et al. 2019, LaSOT: "larger
      than the size of its bounding box"), which depends on no frame size.
    - ABS: the target is in some frame behind the first not there.

    `truth` float (T, 4), xyxy; `visible` bool (T,); `size` (H, W). Frames without a box have no attribute but ABS.
    """
    truth, visible = np.asarray(truth, np.float64), np.asarray(visible, bool)
    there = visible & has_area(truth)
    if not there.any():
        return frozenset()
    start = int(np.flatnonzero(there)[0])
    boxes = truth[there]
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas, shapes = widths * heights, widths / heights
    steps, before = _steps(truth, there)
    height, width = size
    found = {
        "SV": _varies(areas),
        "FM": bool((steps > _MOTION).any()),
        "LR": bool((areas < _PIXELS).any()),
        "OV": bool((boxes < 0).any() or (boxes[:, 2] > width).any() or (boxes[:, 3] > height).any()),
        "ARC": _varies(shapes),
        "RM": bool((steps > before).any()),
        "ABS": bool((~visible[start:]).any()),
    }
    return frozenset(name for name, holds in found.items() if holds)


def _varies(values: np.ndarray) -> bool:
    ratios = values / values[0]
    return bool(((ratios > _RATIO) | (ratios < 1 / _RATIO)).any())


def _steps(truth: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the middle moves between neighbours that both have a box, and the square root of the first one's area."""
    pairs = there[:-1] & there[1:]
    first, second = truth[:-1][pairs], truth[1:][pairs]
    moves = (second[:, :2] + second[:, 2:] - first[:, :2] - first[:, 2:]) / 2
    return np.hypot(moves[:, 0], moves[:, 1]), np.sqrt((first[:, 2:] - first[:, :2]).prod(axis=1))


def read_attributes(folder: Path) -> tuple[str, ...]:
    """What files in the folder of a sequence say of it, sorted; nothing where there are none, or none that are whole.

    GOT-10k: OCC where `cover.label` has a frame that shows a part of the target, OV where `cut_by_image.label` has one,
    and of `meta_info.ini` "motion: walking" and "class: animal" (`motion_class`, `major_class`). LaSOT: OCC by
    `full_occlusion.txt` (all of the target is hidden), OV by `out_of_view.txt`.
    """
    cover = _labels(folder / "cover.label")
    found = {
        "OCC": ((cover > 0) & (cover < _WHOLE)).any() or _labels(folder / "full_occlusion.txt").any(),
        "OV": _labels(folder / "cut_by_image.label").any() or _labels(folder / "out_of_view.txt").any(),
    }
    words = _words(folder / "meta_info.ini")
    named = [
        f"{name}: {words[key]}" for key, name in (("motion_class", "motion"), ("major_class", "class")) if key in words
    ]
    return tuple(sorted([*(name for name, holds in found.items() if holds), *named]))


def _labels(file: Path) -> np.ndarray:
    """Whole numbers, one a line or between commas, int64; none where the file is missing or holds something else."""
    try:
        return np.array(file.read_text("ascii").replace(",", " ").split(), np.float64).astype(np.int64)
    except (OSError, ValueError):
        return np.zeros(0, np.int64)


def _words(file: Path) -> dict[str, str]:
    """The lines "key: value" of a file, empty where it is missing."""
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    pairs = [line.partition(":") for line in lines]
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}
