"""The crops of a data set on the disk, cut once: training then decodes small pictures in place of whole frames.

Imports no torch.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import numpy as np

from ...core.cores import number_of_cores
from ...core.errors import UsageError
from ...core.folders import make_folder, require_empty
from ...core.images import ImageError, write_image
from ...datasets.frames import box_line
from .pairs import crop_around
from .region import context_square

_SETTINGS = "prepared.json"  # of what and how the crops in a folder were cut
_UNFINISHED = ".unfinished"  # hidden, so that no reader takes a part for the whole
_BOXES = "groundtruth.txt"  # written last: where it is, its sequence is whole


class Written(NamedTuple):
    """What was done with the sequences of a split."""

    sequences: int
    frames: int
    earlier: int  # sequences that an earlier run had written
    unreadable: list[str]  # what is wrong with frames of which there is no crop


def claim_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Make a folder for crops, or go on with one that was begun with the same `settings`, plain values.

    Raises UsageError where something else is in it, MachineError where it cannot be written.
    """
    file = folder / _SETTINGS
    if file.is_file():
        try:
            found = json.loads(file.read_text())
        except ValueError:
            found = None
        if found != settings:
            raise UsageError(f"{folder} holds crops of other data or of another size; give another folder with --out.")
    else:
        require_empty(folder)
    make_folder(folder)
    file.write_text(json.dumps(settings, indent=2) + "\n")


def finish_folder(folder: Path, splits: Sequence[str]) -> None:
    """Let readers see the `splits` that were written, all at once."""
    for split in splits:
        if (folder / _UNFINISHED / split).is_dir():
            os.replace(folder / _UNFINISHED / split, folder / split)
    shutil.rmtree(folder / _UNFINISHED, ignore_errors=True)


def write_crops(
    dataset: Any, folder: Path, split: str, *, exemplar_size: int, search_size: int, tell: Callable[[], None]
) -> Written:
    """Write a square around the target of each frame of `dataset` into a `split` of `folder`, as a `frame_folder`.

    Its context, the square that SiamFC's exemplar shows, becomes `exemplar_size` pixels wide, and the whole crop is
    `search_size` pixels wide and high. A frame without a target, or one that can't be read, keeps its place and number:
    its crop is grey and its box NaN. `tell` is called after each frame.
    """

    def write(row: int, stem: str) -> str:
        target, grey = Path(f"{stem}.jpg"), np.full((search_size, search_size, 3), 128, np.uint8)
        if not len(dataset.truth(row)["boxes"]):
            write_image(target, grey)
            return box_line({"boxes": []}, 0.0)
        try:
            sample = dataset[row]
        except ImageError:
            write_image(target, grey)
            raise
        region = context_square(sample["boxes"][0]).times(search_size / exemplar_size)
        write_image(target, crop_around(sample["image"], region, search_size))
        return box_line({"boxes": region.from_frame(sample["boxes"], search_size).astype(np.float32)}, 0.0)

    return _write_split(dataset, folder, split, write, tell)


def copy_frames(dataset: Any, folder: Path, split: str, *, tell: Callable[[], None]) -> Written:
    """Write whole frames into a `split` of `folder`, as a `frame_folder`: files are copied, all else becomes JPEG."""

    def write(row: int, stem: str) -> str:
        path = dataset.path(row)
        if os.path.isfile(path):
            shutil.copyfile(path, stem + os.path.splitext(path)[1])
        else:
            write_image(f"{stem}.jpg", dataset[row]["image"])
        return box_line(dataset.truth(row), 0.0)

    return _write_split(dataset, folder, split, write, tell)


def _write_split(
    dataset: Any, folder: Path, split: str, write: Callable[[int, str], str], tell: Callable[[], None]
) -> Written:
    """`write` puts the frame of a row into a file of a given stem and returns its line of boxes."""
    stop, labels = Event(), np.asarray(dataset.labels)
    finished, place = (folder / split).is_dir(), folder / _UNFINISHED / split

    def work(number: int) -> Written:
        target, rows = place / dataset.class_names[number], np.flatnonzero(labels == number)
        if finished or (target / _BOXES).is_file():
            for _ in rows:
                tell()
            return Written(0, 0, 1, [])
        target.mkdir(parents=True, exist_ok=True)
        lines, unreadable = [], []
        for row in rows.tolist():
            if stop.is_set():
                return Written(0, 0, 0, [])
            try:
                lines.append(write(row, str(target / f"{dataset.truth(row)['frame'] + 1:06d}")))
            except ImageError as error:
                lines.append(box_line({"boxes": []}, 0.0))
                unreadable.append(str(error))
            tell()
        (target / f".{_BOXES}").write_text("".join(lines))
        os.replace(target / f".{_BOXES}", target / _BOXES)
        return Written(1, len(rows), 0, unreadable)

    # What is no file, of a video or the drawn world, is not for several threads at once.
    pool = ThreadPoolExecutor(number_of_cores() if len(dataset) and os.path.isfile(dataset.path(0)) else 1)
    try:
        done = list(pool.map(work, np.unique(labels).tolist()))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    unreadable = [text for one in done for text in one.unreadable]
    return Written(
        sum(one.sequences for one in done),
        sum(one.frames for one in done),
        sum(one.earlier for one in done),
        unreadable,
    )
