"""From probabilities to the mask of an image.

All classes of all pixels as float32 may be larger than the memory: 9 GB for 21 classes of 12,000 x 9,000 pixels. So
they are made and used strip by strip, and of each pixel one byte stays.
"""

import os
import tempfile
from collections.abc import Sequence

import numpy as np
import torch

from ...core.errors import MachineError
from ...core.maps import enlarged
from ...core.types import Prediction

_IN_MEMORY = 2**28  # bytes of probabilities; more are kept in a file


class MaskBuilder:
    """The mask of an image of `size` (H, W) and what goes with it, from probabilities that come part by part.

    With `keep`, the probabilities of all classes are kept as float16; where they have more than 256 MB, in a file
    without a name in the folder for temporary files, that goes when nobody holds them any more. Raises MachineError
    where there is no room for it.
    """

    def __init__(self, size: tuple[int, int], class_names: Sequence[str], *, keep: bool = False) -> None:
        self._size = size
        self._class_names = list(class_names)
        self._mask = torch.empty(size, dtype=torch.uint8)
        self._pixels = torch.zeros(len(class_names), dtype=torch.int64)
        self._sums = torch.zeros(len(class_names), dtype=torch.float64)
        self._probabilities = _room((len(class_names), *size)) if keep else None

    def add(self, probabilities: torch.Tensor, top: int, left: int) -> None:
        """Take the final probabilities, float32 (C, h, w) on any device, of a part that no other part overlaps."""
        best, labels = probabilities.max(dim=0)
        if best.device.type == "mps":  # which has no float64
            best, labels = best.cpu(), labels.cpu()
        rows, columns = (slice(first, first + side) for first, side in zip((top, left), labels.shape, strict=True))
        self._mask[rows, columns] = labels.to(torch.uint8)
        if self._probabilities is not None:
            self._probabilities[:, rows, columns] = probabilities.half()
        labels, classes = labels.flatten(), len(self._class_names)
        self._pixels += torch.bincount(labels, minlength=classes).cpu()
        self._sums += torch.bincount(labels, best.flatten().double(), minlength=classes).cpu()

    def prediction(self, path: str) -> Prediction:
        """The prediction, once all parts are there."""
        prediction = mask_prediction(self._mask, self._pixels, self._sums, path, self._class_names)
        if self._probabilities is not None:
            prediction["probabilities"] = self._probabilities
        return prediction


def mask_prediction(
    mask: torch.Tensor, pixels: torch.Tensor, sums: torch.Tensor, path: str, class_names: Sequence[str]
) -> Prediction:
    """The prediction that is `mask`, uint8 (H, W), with its classes by falling number of `pixels`, int64 (C,); `sums`,
    (C,), are those of the probabilities of each class's pixels.
    """
    order = pixels.argsort(descending=True, stable=True)
    order = order[pixels[order] > 0]
    labels: list[int] = order.tolist()
    return Prediction(
        path=path,
        size=(mask.shape[0], mask.shape[1]),
        labels=order,
        scores=(sums[order] / pixels[order]).float(),
        names=[class_names[label] for label in labels],
        mask=mask,
        pixels=pixels[order],
    )


def to_prediction(
    probabilities: torch.Tensor, path: str, size: tuple[int, int], class_names: Sequence[str], *, keep: bool = False
) -> Prediction:
    """The prediction for an image of `size` (H, W) from probabilities (C, h, w) on any device; with `keep`, it holds
    those of all pixels.
    """
    mask = MaskBuilder(size, class_names, keep=keep)
    for top, strip in enlarged(probabilities, size):
        mask.add(strip, top, 0)
    return mask.prediction(path)


def _room(shape: tuple[int, ...]) -> torch.Tensor:
    """Room for float16, in memory or a file."""
    size = int(np.prod(shape)) * 2
    if size <= _IN_MEMORY:
        return torch.empty(shape, dtype=torch.float16)
    try:
        with tempfile.TemporaryFile() as file:
            # Taken now: a disk that is found full in writing to a mapped file would end the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return torch.from_numpy(np.memmap(file, np.float16, "w+", shape=shape))
    except OSError as error:
        raise MachineError(
            f"The probabilities of {shape[0]} classes for {shape[2]} x {shape[1]} pixels are a file of "
            f"{size / 1e9:,.1f} GB, and {tempfile.gettempdir()} has no room for it ({error.strerror}); set TMPDIR to "
            "another folder, or leave out --probabilities."
        ) from error
