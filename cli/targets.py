"""What `foveal predict` follows: the boxes of targets in the first frames of videos and folders of frames.

Imports no torch, and OpenCV where a frame or a file is read: a command line is checked before.
"""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.inputs import Input

Box = tuple[float, float, float, float]

# As the formats have them: frame_folder from pixel 0; GOT-10k's groundtruth.txt, and OTB's beside img/, from pixel 1.
_IN_FOLDER = ("groundtruth.txt", "groundtruth_rect.txt", "boxes.txt")
_MOST_OF_FRAME = 4  # sides of a box in those of the frame


def parse_box(text: str) -> Box:
    """X,Y,W,H of a command line or a line of a file as xyxy; raises UsageError."""
    try:
        x, y, width, height = (float(part) for part in re.split(r"[,;\s]+", text.strip()))
    except ValueError:
        x = y = width = height = math.nan
    if not all(map(math.isfinite, (x, y, width, height))) or min(width, height) <= 0:
        raise UsageError(
            f"--box is {text}; it takes X,Y,W,H: the left and top edge, width and height in pixels, the latter two "
            "above 0."
        )
    return x, y, x + width, y + height


def find_targets(inputs: Sequence[Input], boxes: Sequence[Box], select: bool) -> dict[str, list[list[float]]]:
    """Of each input, by its path, the boxes xyxy to follow: those given, those drawn in a window with `select`, or else
    the first line of the file of boxes in the folder of frames or beside the video.

    Raises UsageError where an input has none, boxes are given for several inputs, or one lies outside of its frame;
    DataError for a first frame that cannot be read, where it has to be, and for a file that does not begin with a box.
    """
    if boxes and select:
        raise UsageError("--box and --select both say what to follow: leave one of them out.")
    if boxes and len(inputs) > 1:
        raise UsageError(
            f"--box is for one sequence, and here are {len(inputs)}: give each a file of boxes "
            f"({_beside(inputs[0].path)[0][0]}), or a command of its own."
        )
    return {given.path: _of_one(given.path, boxes, select) for given in inputs}


def _of_one(path: str, boxes: Sequence[Box], select: bool) -> list[list[float]]:
    if not boxes and not select:
        return [_from_file(path)]
    first = _first_frame(path)
    if select:
        from .select_box import select_boxes

        boxes = [parse_box(",".join(f"{value:.1f}" for value in box)) for box in select_boxes(first)]
        said = (f"--box {x1:g},{y1:g},{x2 - x1:g},{y2 - y1:g}" for x1, y1, x2, y2 in boxes)
        print(f"What was selected, for another time: {' '.join(said)}", flush=True)
    for box in boxes:
        _check_inside(box, first.shape[:2], "--box")
    return [list(box) for box in boxes]


def _first_frame(path: str) -> np.ndarray:
    from ..core.frames import read_frames
    from ..core.images import ImageError

    try:
        image = next((image for _, image in read_frames(path)), None)
    except ImageError as error:
        raise DataError(str(error)) from error
    if isinstance(image, np.ndarray):
        return image
    raise DataError(f"{path}: its first frame cannot be read{f' ({image.reason})' if image is not None else ''}.")


def _beside(path: str) -> list[tuple[str, float]]:
    """Where the file of boxes of a sequence may be, and the number that it gives the first pixel."""
    if not path.endswith("/"):
        return [(f"{os.path.splitext(path)[0]}.txt", 0.0)]
    folder = path.rstrip("/")
    above = os.path.dirname(folder)
    known = [os.path.join(folder, name) for name in ("absence.label", "meta_info.ini")]
    got10k = any(map(os.path.isfile, [*known, os.path.join(above, "list.txt")]))
    otb = [(os.path.join(above, _IN_FOLDER[1]), 1.0)] if os.path.basename(folder) == "img" else []
    inside = [(os.path.join(folder, name), float(got10k and name == _IN_FOLDER[0])) for name in _IN_FOLDER]
    return [*inside, *otb, (f"{folder}.txt", 0.0)]


def _from_file(path: str) -> list[float]:
    """The first box of the file of boxes, xyxy. Whether it lies in the frame is said when that is read."""
    from ..datasets.box_files import check_boxes, read_lines
    from ..datasets.findings import Findings

    for file, origin in _beside(path):
        if os.path.isfile(file):
            lines = read_lines(Path(file))[:1] or [b""]
            no_size, no_findings = (0, 0), Findings()
            boxes, good = check_boxes(lines, np.ones(1, bool), file, origin=origin, size=no_size, findings=no_findings)
            if good[0]:
                return boxes[0].tolist()
            first = lines[0].decode(errors="replace").strip() or "empty"
            raise DataError(f"{file}: its first line is {first[:80]}; expected x,y,w,h of what to follow.")
    raise UsageError(
        f"{path}: what is to be followed? Give --box X,Y,W,H in its first frame, --select to draw it in a window, or a "
        f"file of boxes ({_beside(path)[0][0]})."
    )


def _check_inside(box: Sequence[float], size: tuple[int, ...], where: str) -> None:
    height, width = size
    x1, y1, x2, y2 = box
    if not (x1 < width and y1 < height and x2 > 0 and y2 > 0):
        raise UsageError(
            f"{where}: the box {x1:g},{y1:g},{x2 - x1:g},{y2 - y1:g} lies outside of the first frame, which is {width} "
            f"pixels wide and {height} high; give x, y, width and height within it."
        )
    if x2 - x1 > _MOST_OF_FRAME * width or y2 - y1 > _MOST_OF_FRAME * height:
        raise UsageError(
            f"{where}: the box {x1:g},{y1:g},{x2 - x1:g},{y2 - y1:g} is more than {_MOST_OF_FRAME} times as large as "
            f"the first frame, which is {width} pixels wide and {height} high."
        )
