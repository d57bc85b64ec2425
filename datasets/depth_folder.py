"""Images and depth maps of one name in two folders, `images/1.jpg` and `depth/1.png`, or both in train/ and val/.

KITTI's depth benchmark is read as it is unpacked, too: see `open_split`.
"""

import os
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..core.errors import UsageError
from ..core.images import write_image
from .depths import DEPTH_SUFFIXES, KNOWN_SCALES, SCALE_FILE, find_scale, read_depth, write_depth, write_scale
from .files import require_folder
from .findings import Findings
from .kitti_layout import SCALE as KITTI_SCALE
from .kitti_layout import drive_pairs, find_drives
from .listing import files_there
from .paired import Folders, PairedFiles, find_pairs

_KITTI_MAPS = "groundtruth_depth"  # beside image/ in its val_selection_cropped/
# Words in which the names of a pair may differ: "..._sync_image_0000000005_image_02" and
# "..._sync_groundtruth_depth_0000000005_image_02" of KITTI, "rgb_00001" and "depth_00001" of others; and "1.jpg.png",
# which `foveal predict` makes of 1.jpg.
_WORDS = frozenset((
    "image", "img", "rgb", "color", "colour", "depth", "groundtruth", "gt", "sync", "jpg", "jpeg", "png", "webp",
))  # fmt: skip


def open_split(
    root: str | os.PathLike,
    *,
    split: str,
    fractions: Sequence[float],
    seed: int,
    findings: Findings,
    depth_scale: float | None = None,
) -> PairedFiles:
    """One split of two folders; see `find_pairs` for the layouts, and `read_depth` for the files that are read.

    Names of a pair may differ in words such as rgb and depth. `depth_scale`: steps of whole numbers to the metre;
    without it, a `depth_scale.txt` at the root says it. KITTI's depth benchmark needs neither: its
    `val_selection_cropped/`, or its annotated maps with the raw data unpacked into the same folder (see
    `kitti_layout.py`). Raises UsageError for a wrong scale, and for PNG files without one: metres that are wrong by a
    factor would be learnt without a word.
    """
    folder = require_folder(root)
    common = {"split": split, "fractions": fractions, "seed": seed, "findings": findings}
    drives = find_drives(folder)
    if drives:
        paths, truths = drive_pairs(folder, drives, **common)
    else:
        folder, paths, truths = find_pairs(folder, _FOLDERS, **common)
    kitti = bool(drives) or any(_KITTI_MAPS in truth for truth in truths[:1])
    scale = find_scale(folder, depth_scale, KITTI_SCALE if kitti else None)
    pictures = [truth for truth in truths if truth.lower().endswith(".png")]
    if scale is None and pictures:
        raise UsageError(
            f"'{folder / pictures[0]}' holds whole numbers: say with --data.depth_scale, or in a {SCALE_FILE} at the "
            f"root, how many are a metre ({KNOWN_SCALES})."
        )
    files_there(folder, [*paths, *truths], findings)  # which notes links that lead out
    return PairedFiles(folder, paths, truths, partial(read_depth, scale=scale))


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes images as JPEG and depth maps as 16-bit PNG below `root/split`, and `depth_scale.txt`.

    With 256 steps to the metre, as KITTI has, depths of up to 255 metres are right to 2 mm; see `write_depth` for those
    beyond.
    """
    for name in ("images", "depth"):
        (root / split / name).mkdir(parents=True, exist_ok=True)
    write_scale(root, KITTI_SCALE)
    for number, sample in enumerate(samples):
        write_image(root / split / "images" / f"{number:06d}.jpg", sample["image"])
        write_depth(root / split / "depth" / f"{number:06d}.png", sample["depth"], KITTI_SCALE)


def _key(stem: str) -> str:
    """A path without suffix, less the words in which the names of a pair may differ."""
    folder, slash, name = stem.rpartition("/")
    return folder + slash + "_".join(part for part in re.split(r"[-_. ]", name) if part.lower() not in _WORDS)


_FOLDERS = Folders(
    images=("images", "image", "rgb", "imgs", "img", "color", "colour"),
    truths=("depth", "depths", "depth_maps", "depth_map", "depthmaps", _KITTI_MAPS, "groundtruth", "gt"),
    truth_suffixes=DEPTH_SUFFIXES,
    what="depth map",
    best=".npy",
    key=_key,
)
