"""NYU Depth V2: the labelled set in one MATLAB file of version 7.3, which is HDF5; or HDF5 files with a frame each.

Silberman, Hoiem, Kohli and Fergus, "Indoor Segmentation and Support Inference from RGBD Images", ECCV 2012:
`nyu_depth_v2_labeled.mat` holds 1449 images of 640 x 480 pixels with depth maps in metres, whose holes are filled.
MATLAB counts columns first, so that HDF5's `images` are (N, 3, W, H) and `depths` (N, W, H). A frame of that file is
called by it and its number from 0: "nyu_depth_v2_labeled.mat#000012".

Files of a frame each, `train/SCENE/00001.h5` with `rgb` (3, H, W) and `depth` (H, W), are those of Ma and Karaman,
"Sparse-to-Dense: Depth Prediction from Sparse Depth Samples and a Single Image", ICRA 2018.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, MachineError
from ..core.image_headers import Fault
from ..core.images import MAX_PIXELS
from .depths import as_metres, draw_scenes
from .files import ImageFiles, describe_contents, images_below, require_folder
from .findings import Findings
from .groups import own_splits
from .hdf5 import dataset, lies_elsewhere, opened, require_h5py
from .listing import files_there
from .mat import read_variable
from .splits import require_own_split

_SUFFIXES = frozenset((".h5", ".hdf5"))
_SPLITS = "splits.mat"  # the official split into 795 and 654 images: numbers from 1, in an older MATLAB file
_LONGEST_NAME = 1000  # letters of a scene


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> "NyuFrames":
    """One split of the labelled file, of a folder with it, or of a folder of .h5 files at any depth.

    The labelled file is split as `splits.mat` beside it says, if there is one, with val drawn from train; .h5 files by
    folders train, val and test. What is drawn are whole scenes, as the labelled file names them, or folders, where
    there are enough; see `draw_scenes`. Raises UsageError where h5py is missing, DataError for files that cannot be
    used, MissingSplit for a test that is not there.
    """
    require_h5py()
    path = Path(root).expanduser().absolute()
    file = path if path.is_file() else _labelled_file(require_folder(path))
    draw = {"split": split, "fractions": fractions, "seed": seed, "findings": findings}
    return _open_frames(path, **draw) if file is None else _open_labelled(file, **draw)


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes a file a frame, `root/split/drawn/00000.h5`, in which nothing is lost."""
    h5py, folder = require_h5py(), root / split / "drawn"
    folder.mkdir(parents=True, exist_ok=True)
    packed = {"compression": "gzip", "shuffle": True}
    for number, sample in enumerate(samples):
        target = folder / f"{number:05d}.h5"
        try:
            with h5py.File(target, "w") as file:
                file.create_dataset("rgb", data=sample["image"].transpose(2, 0, 1), **packed)
                file.create_dataset("depth", data=sample["depth"].astype(np.float32), **packed)
        except OSError as error:
            raise MachineError(f"'{target}' cannot be written: {error}.") from error


class NyuFrames(ImageFiles):
    """Frames of HDF5 files, each with a file of its own. Neither this nor a copy of it holds an open file."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The image, uint8 (H, W, 3), its path, size and depth; raises ImageError for a file that cannot be used."""
        with opened(self.path(index)) as file:
            rgb, depth = _of_one(file)
            image, metres = rgb[()], as_metres(depth[()])
        image = np.ascontiguousarray(image.transpose(1, 2, 0) if image.shape[0] == 3 else image)
        return {"image": image, "path": self.path(index), "size": image.shape[:2], "depth": metres}

    def truth(self, index: int) -> dict[str, Any]:
        """`depth`, float32 (H, W): metres, 0 where nothing was measured."""
        with opened(self.path(index)) as file:
            return {"depth": as_metres(_of_one(file)[1][()])}

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of a frame, without reading it."""
        with opened(self.path(index)) as file:
            return _of_one(file)[1].shape


class LabelledFrames(NyuFrames):
    """Frames of one file: a path is the file's with the number of the frame."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """As in NyuFrames."""
        path = self.path(index)
        name, _, number = path.rpartition("#")
        with opened(name) as file:
            images, depths = _of_many(file)
            image = np.ascontiguousarray(images[int(number)].transpose(2, 1, 0))
            metres = as_metres(np.ascontiguousarray(depths[int(number)].T))
        return {"image": image, "path": path, "size": image.shape[:2], "depth": metres}

    def truth(self, index: int) -> dict[str, Any]:
        """As in NyuFrames."""
        name, _, number = self.path(index).rpartition("#")
        with opened(name) as file:
            return {"depth": as_metres(np.ascontiguousarray(_of_many(file)[1][int(number)].T))}

    def size(self, index: int) -> tuple[int, int]:
        """As in NyuFrames."""
        with opened(self.path(index).rpartition("#")[0]) as file:
            return _of_many(file)[1].shape[:0:-1]


# --- arrays -----------------------------------------------------------------------------------------------------------


def _of_one(file: Any) -> tuple[Any, Any]:
    """The arrays `rgb`, (3, H, W) or (H, W, 3), and `depth`, (H, W), of an open file."""
    rgb, depth = dataset(file, "rgb", 3, "u"), dataset(file, "depth", 2, "f")
    first = rgb.shape[0] == 3
    if not (first or rgb.shape[2] == 3) or depth.shape != (rgb.shape[1:] if first else rgb.shape[:2]):
        raise _unlike(rgb, depth, "(3, H, W) and (H, W)")
    return _checked(rgb, depth.shape), depth


def _of_many(file: Any) -> tuple[Any, Any]:
    """The arrays `images`, (N, 3, W, H), and `depths`, (N, W, H), of an open file."""
    images, depths = dataset(file, "images", 4, "u"), dataset(file, "depths", 3, "f")
    if images.shape[1] != 3 or depths.shape != (images.shape[0], *images.shape[2:]):
        raise _unlike(images, depths, "(N, 3, W, H) and (N, W, H)")
    return _checked(images, depths.shape[1:]), depths


def _unlike(images: Any, depths: Any, expected: str) -> Fault:
    shown = " and ".join(f"'{array.name[1:]}' {array.shape}" for array in (images, depths))
    return Fault("UNSUPPORTED", f"has arrays {shown}, which do not go together: expected {expected}")


def _checked(images: Any, size: tuple[int, int]) -> Any:
    if images.dtype != np.uint8:
        raise Fault("UNSUPPORTED", f"has images of {images.dtype}: expected uint8")
    if not images.size or size[0] * size[1] > MAX_PIXELS:
        raise Fault("TOO_LARGE", f"has images of the shape {images.shape}: expected 1 to {MAX_PIXELS:,} pixels each")
    return images


# --- splits -----------------------------------------------------------------------------------------------------------


def _labelled_file(folder: Path) -> Path | None:
    """The file with all frames in a folder, if there is one; raises DataError for several."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    labelled = [path for path in files if path.suffix.lower() == ".mat" and path.name.lower() != _SPLITS]
    if len(labelled) > 1:
        raise DataError(
            f"'{folder}' holds {len(labelled)} files .mat, '{labelled[0].name}' and others: pass the one with the "
            "images as --data.root."
        )
    single = [path for path in files if path.suffix.lower() in _SUFFIXES]
    if not labelled and len(single) == 1 and not own_splits(folder):
        with opened(str(single[0])) as file:
            labelled = single if file.get("images", getlink=True) is not None else []
    return labelled[0] if labelled else None


def _open_labelled(
    path: Path, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> LabelledFrames:
    with opened(str(path)) as file:
        count = len(_of_many(file)[0])
        scenes = _scenes(file, count)
    official = _official(path.parent / _SPLITS, count)
    rows = official[require_own_split(path, split, official)] if official else np.arange(count)
    of_rows = [scenes[row] for row in rows.tolist()]
    chosen = rows[draw_scenes(of_rows, split, official, fractions, seed, where=path, findings=findings)]
    return LabelledFrames(path.parent, [f"{path.name}#{number:06d}" for number in chosen.tolist()])


def _scenes(file: Any, count: int) -> list[str]:
    """The name of each frame's scene, where references to texts give it: MATLAB's cells. Or else of all the same."""
    h5py = require_h5py()
    cells = dataset(file, "scenes", 2, "O") if file.get("scenes", getlink=True) is not None else None
    if cells is None or cells.size != count or h5py.check_ref_dtype(cells.dtype) is not h5py.Reference:
        return [""] * count
    names = []
    for reference in cells[()].ravel():
        text = file[reference]
        if not isinstance(text, h5py.Dataset) or lies_elsewhere(text) or text.dtype != np.uint16:
            raise Fault("UNSUPPORTED", "has 'scenes' that are no text: expected the name of a scene for each image")
        names.append("".join(map(chr, text[:_LONGEST_NAME].ravel().tolist())))
    return names


def _official(path: Path, count: int) -> dict[str, np.ndarray]:
    """The frames for train and test by `splits.mat`, from 0 and rising; nothing where there is no such file."""
    if not path.is_file():
        return {}
    parts = {}
    for split, name in (("train", "trainNdxs"), ("test", "testNdxs")):
        numbers = read_variable(path, name)
        if not isinstance(numbers, np.ndarray) or numbers.dtype.kind not in "fiu":
            raise DataError(f"'{path}' has no numbers in {name}: expected those of images, from 1.")
        parts[split] = np.unique(numbers)
    both = np.concatenate(list(parts.values()))
    if not ((both >= 1) & (both <= count) & (both == np.rint(both))).all():
        raise DataError(
            f"'{path}' names images from {both.min():g} to {both.max():g}: expected whole numbers, 1 to {count}."
        )
    if len(np.unique(both)) < len(both):
        raise DataError(f"'{path}' has images that are both for train and for test: expected each in one.")
    return {split: numbers.astype(np.int64) - 1 for split, numbers in parts.items()}


def _open_frames(folder: Path, *, split: str, fractions: Sequence[float], seed: int, findings: Findings) -> NyuFrames:
    own = own_splits(folder)
    inside = own[require_own_split(folder, split, own)] if own else ""
    names = [f"{inside}/{name}" if inside else name for name in images_below(folder / inside, _SUFFIXES)]
    if not names:
        raise DataError(
            f"There is no file .h5 in '{folder / inside}', only {describe_contents(folder / inside)}: expected "
            "nyu_depth_v2_labeled.mat, or .h5 files with `rgb` and `depth` of a frame each."
        )
    files_there(folder, names, findings)  # which notes links that lead out
    scenes = [os.path.dirname(name) for name in names]
    chosen = draw_scenes(scenes, split, own, fractions, seed, where=folder / inside, findings=findings)
    return NyuFrames(folder, [names[index] for index in chosen])
