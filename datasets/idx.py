"""MNIST's format, and that of its followers (Fashion-MNIST, KMNIST, EMNIST): all images of a split in one file.

A file is a magic number (two zero bytes, 8 for unsigned bytes, the number of dimensions), each dimension as a 32-bit
number, most significant byte first, then the values (Y. LeCun, C. Cortes, C. Burges, The MNIST Database of Handwritten
Digits).
"""

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..core.errors import DataError
from .arrays import ImageArrays
from .files import require_folder
from .findings import Findings
from .splits import require_classes, split_train

_PREFIXES = {"train": "train", "val": "train", "test": "t10k"}
_MOST_BY_GZIP = 1032  # no deflate stream unpacks to more bytes per byte (zlib's documentation)


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> ImageArrays:
    """One split of the folder with MNIST's four files, packed with gzip or not; val is drawn from train.

    Classes are 0 to the largest training label. Raises DataError.
    """
    folder = require_folder(root)
    images, labels, file = _read_pair(folder, _PREFIXES[split])
    largest = labels if split != "test" else _read_pair(folder, "train")[1]
    class_names = [str(number) for number in range(int(largest.max()) + 1)]
    require_classes(class_names, f"'{folder}'")
    if labels.max() >= len(class_names):
        raise DataError(f"'{folder}': label {labels.max()} of test is on no training image; remove it from test.")
    dataset = ImageArrays(file, images, labels, class_names)
    if split == "test":
        return dataset
    return dataset.subset(split_train(dataset.labels, split, fractions, seed, class_names))


def write_split(samples: Iterable[Mapping[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Write samples, which must be of one size, in grey; those for val go behind those for train, as in MNIST."""
    prefix = _PREFIXES[split]
    images, labels = [], []
    if split == "val" and (root / f"{prefix}-images-idx3-ubyte").exists():
        before = _read_pair(root, prefix)
        images, labels = list(before[0]), before[1].tolist()
    for sample in samples:
        images.append(cv2.cvtColor(sample["image"], cv2.COLOR_RGB2GRAY))
        labels.append(sample["label"])
    _write_idx(root / f"{prefix}-images-idx3-ubyte", np.array(images, np.uint8))
    _write_idx(root / f"{prefix}-labels-idx1-ubyte", np.array(labels, np.uint8))


def _write_idx(file: Path, values: np.ndarray) -> None:
    header = struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape)
    file.write_bytes(header + values.tobytes())


def _read_pair(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Images (N, H, W), labels (N,), and the images' file."""
    image_file, label_file = _find(folder, prefix, "images", 3), _find(folder, prefix, "labels", 1)
    images, labels = _read_idx(image_file, dimensions=3), _read_idx(label_file, dimensions=1)
    if len(images) != len(labels):
        raise DataError(f"'{image_file}' has {len(images)} images, '{label_file}' {len(labels)} labels: get both anew.")
    return images, labels, str(image_file)


def _find(folder: Path, prefix: str, what: str, dimensions: int) -> Path:
    stem = f"{prefix}-{what}"
    for joint in ("-", "."):
        for packed in ("", ".gz"):
            file = folder / f"{stem}{joint}idx{dimensions}-ubyte{packed}"
            if file.is_file():
                return file
    raise DataError(
        f"There is no {stem}-idx{dimensions}-ubyte (or .gz) in '{folder}': pass MNIST's folder with --data.root."
    )


def _read_idx(file: Path, dimensions: int) -> np.ndarray:
    """The array in a file, uint8; checked before anything of the size it claims is read."""
    packed = file.suffix == ".gz"
    try:
        with gzip.open(file) if packed else file.open("rb") as stream:
            shape = _read_header(file, stream.read(4 + 4 * dimensions), dimensions)
            count, most = math.prod(shape), file.stat().st_size * (_MOST_BY_GZIP if packed else 1)
            values = stream.read(count + 1) if count <= most else b""
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"'{file}' is damaged or cut off ({error}): get it anew.") from None
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None
    if len(values) != count:
        found = "more" if len(values) > count else f"{len(values)}" if values else "fewer"
        raise DataError(f"'{file}' claims {count} values ({' x '.join(map(str, shape))}) and has {found}: get it anew.")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read_header(file: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"'{file}' is cut off: {len(header)} bytes are no whole header; get it anew.")
    magic, *shape = struct.unpack(f">I{dimensions}I", header)
    if magic != 0x800 + dimensions:
        raise DataError(f"'{file}' begins with {magic:#010x}, not {0x800 + dimensions:#010x}: it is no such IDX file.")
    if 0 in shape:
        raise DataError(f"'{file}' holds nothing ({' x '.join(map(str, shape))}): get it anew.")
    return tuple(shape)
