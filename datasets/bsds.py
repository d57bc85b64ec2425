"""BSDS500: `images/train/2092.jpg` and `groundTruth/train/2092.mat`, the boundaries that several people drew.

Arbelaez, Maire, Fowlkes and Malik, "Contour Detection and Hierarchical Image Segmentation", PAMI 2011. A file of truth
holds `groundTruth`, a cell of structs, one an annotator, with `Segmentation`, the number of the region of each pixel,
and `Boundaries`, 1 on the border of a region.
"""

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..core.errors import DataError, MachineError
from ..core.images import write_image
from .files import require_folder, subfolders
from .findings import Findings
from .listing import files_there
from .mat import read_variable
from .paired import Folders, PairedFiles, find_pairs

_FOLDERS = Folders(
    images=("images", "image", "imgs", "img"),
    truths=("groundtruth", "ground_truth", "gt"),
    truth_suffixes=frozenset((".mat",)),
    what=".mat file",
)
# Where the two folders lie, seen from the root: in the published archive, BSR_bsds500.tgz, at the last.
_PLACES = ("", "data", "BSDS500", "BSDS500/data", "BSR/BSDS500/data")
_HEADER = b"MATLAB 5.0 MAT-file, written by foveal".ljust(116)  # scipy's has the time, and no two files were alike


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> PairedFiles:
    """One split of BSDS500 or of a data set of its kind; see `find_pairs` for the layouts, and for what it raises.

    `root` is the folder that holds images/ and groundTruth/, or one that the published archive was unpacked into.
    """
    folder = require_folder(root)
    place, noted = _place(folder), Findings()
    common = {"split": split, "fractions": fractions, "seed": seed, "findings": noted}
    _, paths, truths = find_pairs(folder / place, _FOLDERS, **common)
    prefix = f"{place}/" if place else ""
    findings.extend(finding._replace(file=prefix + finding.file) for finding in noted)
    paths, truths = [prefix + name for name in paths], [prefix + name for name in truths]
    files_there(folder, [*paths, *truths], findings)  # which notes links that lead out
    return PairedFiles(folder, paths, truths, read_annotators)


def read_annotators(path: str) -> dict[str, np.ndarray]:
    """`annotators`, bool (A, H, W): the pixels that each marked; `edges`, float32 (H, W): the share of them who did.

    Raises DataError for a file that is damaged, or that does not hold drawings of one size made of 0 and 1.
    """
    drawings = _drawings(path, read_variable(path, "groundTruth"))
    for number, drawing in enumerate(drawings, 1):
        if drawing.ndim != 2 or drawing.shape != drawings[0].shape or not drawing.size:
            sizes = " and ".join(dict.fromkeys(_size(shown) for shown in (drawings[0], drawing)))
            raise DataError(
                f"'{path}' has Boundaries of {sizes} (annotator {number}): expected those of all annotators to be as "
                "large as the image; correct it, or leave it out."
            )
        if ((drawing != 0) & (drawing != 1)).any():
            raise DataError(
                f"'{path}' has Boundaries of {drawing.min()} to {drawing.max()} (annotator {number}): expected 1 on a "
                "boundary and 0 elsewhere; correct it, or leave it out."
            )
    annotators = np.empty((len(drawings), *drawings[0].shape), bool)
    for marks, drawing in zip(annotators, drawings, strict=True):
        marks[:] = drawing
    return {"edges": annotators.mean(axis=0, dtype=np.float32), "annotators": annotators}


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes images as JPEG below `root/images/split`, and files that MATLAB opens below `root/groundTruth/split`.

    Of a sample without `annotators`, one has marked the pixels with a share of a half or more. `Segmentation` numbers
    the connected areas between the boundaries, from 1, and is 0 on the boundaries themselves, where nobody said which
    region a pixel belongs to.
    """
    images, truths = root / "images" / split, root / "groundTruth" / split
    for folder in (images, truths):
        folder.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples):
        write_image(images / f"{number:06d}.jpg", sample["image"])
        annotators = sample["annotators"] if "annotators" in sample else sample["edges"][None] >= 0.5
        _write_annotators(truths / f"{number:06d}.mat", annotators)


def _place(folder: Path) -> str:
    """Where below `folder` images/ and groundTruth/ lie; "" where they are nowhere, which `find_pairs` then says."""
    for place in _PLACES:
        names = {name.lower() for name in subfolders(folder / place)} if (folder / place).is_dir() else set()
        if names.intersection(_FOLDERS.images) and names.intersection(_FOLDERS.truths):
            return place
    return ""


def _drawings(path: str, truth: Any) -> list[np.ndarray]:
    """`Boundaries` of each annotator, out of a cell of structs or of an array of structs."""
    structs = truth if isinstance(truth, list) else []
    if all(isinstance(cell, list) for cell in structs):
        structs = [struct for cell in structs for struct in cell]
    fields = [struct.get("Boundaries") for struct in structs if isinstance(struct, dict)]
    drawings = [drawing for drawing in fields if isinstance(drawing, np.ndarray)]
    if not drawings or len(drawings) != len(structs):
        raise DataError(
            f"'{path}' has no annotators: expected groundTruth, a cell array with a struct for each, whose Boundaries "
            "is a matrix; correct it, or leave it out."
        )
    return drawings


def _size(drawing: np.ndarray) -> str:
    return " x ".join(map(str, drawing.shape[1::-1] + drawing.shape[2:]))


def _write_annotators(path: Path, annotators: np.ndarray) -> None:
    from scipy.io import savemat

    cells = np.empty((1, len(annotators)), object)
    for number, marks in enumerate(annotators):
        regions = cv2.connectedComponents((~marks).astype(np.uint8), connectivity=4)[1]
        boundaries = marks.astype(np.uint8)
        cells[0, number] = {"Segmentation": np.minimum(regions, 65535).astype(np.uint16), "Boundaries": boundaries}
    buffer = io.BytesIO()
    savemat(buffer, {"groundTruth": cells}, do_compression=True)
    try:
        path.write_bytes(_HEADER + buffer.getvalue()[len(_HEADER) :])
    except OSError as error:
        raise MachineError(f"'{path}' cannot be written: {error.strerror}.") from error
