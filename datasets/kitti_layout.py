"""Where KITTI's depth benchmark keeps its maps and their images: a drive's in two trees, of two downloads.

Uhrig et al., "Sparsity Invariant CNNs", 3DV 2017, and its development kit's readme: the annotated maps are
`train/2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02/0000000005.png`, `val/...`, and their images those of
the raw data, `2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000005.png` (Geiger et al., "Vision meets
Robotics: The KITTI Dataset", IJRR 2013), once both are unpacked into one folder.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import DataError
from .depths import draw_scenes
from .files import images_below, subfolders
from .findings import Findings
from .groups import own_splits
from .splits import require_own_split

SCALE = 256.0  # steps of a PNG to the metre
_MAPS = "proj_depth/groundtruth"
_DATE = len("2011_09_26")


def find_drives(folder: Path) -> dict[str, list[str]]:
    """Of each split that `folder` has, its drives with annotated maps, relative to it; none where it is no KITTI."""
    found = {}
    for split, name in own_splits(folder).items():
        drives = [f"{name}/{drive}" for drive in subfolders(folder / name)]
        drives = [drive for drive in drives if (folder / drive / _MAPS).is_dir()]
        if drives:
            found[split] = drives
    return found


def drive_pairs(
    folder: Path,
    drives: dict[str, list[str]],
    *,
    split: str,
    fractions: Sequence[float],
    seed: int,
    findings: Findings,
) -> tuple[list[str], list[str]]:
    """The images and maps of a split, relative to `folder`; `drives` as `find_drives` gives them.

    Val is drawn from train over drives, where it has none of its own. Maps without an image are counted and noted; an
    image without a map is as it should be: a drive's first and last five have none. Raises DataError where no map has
    an image, MissingSplit for a test that is not there.
    """
    source = drives[require_own_split(folder, split, drives)]
    pairs, scenes = [], []
    for drive in source:
        of_drive = _pairs(folder, drive, findings)
        pairs += of_drive
        scenes += [os.path.basename(drive)] * len(of_drive)
    if not pairs:
        name = os.path.basename(source[0])
        raise DataError(
            f"'{folder}' holds KITTI's depth maps, but no image of theirs: unpack the raw data into it, so that there "
            f"is {name[:_DATE]}/{name}/image_02/data/*.png."
        )
    chosen = draw_scenes(scenes, split, drives, fractions, seed, where=folder, findings=findings)
    return [pairs[index][0] for index in chosen], [pairs[index][1] for index in chosen]


def _pairs(folder: Path, drive: str, findings: Findings) -> list[tuple[str, str]]:
    name = os.path.basename(drive)
    pairs = []
    for camera in subfolders(folder / drive / _MAPS):
        maps = images_below(folder / drive / _MAPS / camera, frozenset((".png",)))
        places = (f"{drive}/{camera}/data", f"{name[:_DATE]}/{name}/{camera}/data")
        images = {
            os.path.splitext(image)[0]: f"{place}/{image}"
            for place in places
            if (folder / place).is_dir()
            for image in images_below(folder / place)
        }
        found = [stem for stem in (os.path.splitext(file)[0] for file in maps) if stem in images]
        pairs += [(images[stem], f"{drive}/{_MAPS}/{camera}/{stem}.png") for stem in found]
        if len(found) < len(maps):
            text = f"{len(maps) - len(found)} of its {len(maps)} depth maps have no image in '{places[1]}'"
            findings.note("NO_IMAGE", f"{drive}/{_MAPS}/{camera}", text, action="noted")
    return pairs
