"""Data sets for detection: image files with any number of boxes each, and what may be wrong with a box."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from ..core.images import read_size
from .files import ImageFiles
from .findings import Action
from .mixed import class_numbers

# Beyond the image by less is rounding, of a file with few digits or of a conversion, and is cut without a word.
ROUNDING = 0.5  # pixels


class Objects(NamedTuple):
    """The objects of all images, one behind another: those of the first image, then those of the second, ..."""

    counts: np.ndarray  # int64 (N,), objects of each image
    boxes: np.ndarray  # float32 (M, 4), xyxy in continuous pixels; shares of width and height where `relative`
    labels: np.ndarray  # int64 (M,), class numbers
    crowd: np.ndarray  # bool (M,): many objects under one box (COCO's iscrowd)
    difficult: np.ndarray  # bool (M,): there, but not to be asked for (VOC's difficult)
    area: np.ndarray | None = (
        None  # float32 (M,), square pixels, where it is not the box's (COCO's, of a mask); NaN: is
    )


class BoxFiles(ImageFiles):
    """Image files with the objects in each. `labels`: int64 (M,), the classes of all objects.

    `sizes`: (H, W) of each image, int (N, 2), as the annotations say; 0 where they don't. `relative`: boxes are shares
    of the image's width and height, as in YOLO's files. Images without an object are kept.
    """

    PER_IMAGE = ("counts", "_sizes")
    TRUTHS = ("counts", "boxes", "labels", "crowd", "difficult")

    def __init__(
        self,
        root: str | os.PathLike,
        paths: Sequence[str],
        class_names: Sequence[str],
        objects: Objects,
        *,
        sizes: np.ndarray | None = None,
        relative: bool = False,
    ) -> None:
        super().__init__(root, paths, class_names)
        self.counts = np.asarray(objects.counts, np.int64)
        self.boxes = np.asarray(objects.boxes, np.float32).reshape(-1, 4)
        self.labels = np.asarray(objects.labels, np.int64)
        self.crowd = np.asarray(objects.crowd, bool)
        self.difficult = np.asarray(objects.difficult, bool)
        unknown = np.full(len(self.labels), np.nan, np.float32)
        self.area = unknown if objects.area is None else np.asarray(objects.area, np.float32)
        self._sizes = np.zeros((len(self), 2), np.int64) if sizes is None else np.asarray(sizes, np.int64)
        self._relative = relative
        self._ends = np.cumsum(self.counts)

    def truth(self, index: int) -> dict[str, Any]:
        """`boxes` float32 (K, 4) in pixels, `labels` int64 (K,), `crowd` and `difficult` bool (K,), `area` float32 (K,)
        in square pixels.
        """
        part = slice(self._ends[index] - self.counts[index], self._ends[index])
        boxes = self.boxes[part].copy()
        if self._relative:
            height, width = self.size(index)
            boxes *= np.array([width, height, width, height], np.float32)
        return {
            "boxes": boxes,
            "labels": self.labels[part].copy(),
            "crowd": self.crowd[part].copy(),
            "difficult": self.difficult[part].copy(),
            "area": np.where(np.isnan(self.area[part]), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), self.area[part]),
        }

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The image with its truth; boxes are cut at the image's own border, whatever size the annotations gave it."""
        sample = super().__getitem__(index)
        height, width = sample["size"]
        boxes = np.clip(sample["boxes"], 0, np.array([width, height, width, height], np.float32))
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        objects = {key: sample[key][inside] for key in ("labels", "crowd", "difficult", "area")}
        return {**sample, "boxes": boxes[inside], **objects}

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of an image, from the annotations or else from the head of its file."""
        if not self._sizes[index].all():
            self._sizes[index] = read_size(self.path(index))
        height, width = self._sizes[index].tolist()
        return height, width

    def subset(self, indices: np.ndarray) -> Self:
        """The same data set with the images at `indices` alone."""
        part = super().subset(indices)
        ends = self._ends.tolist()
        rows = [
            np.arange(ends[index] - count, ends[index])
            for index, count in zip(indices, part.counts.tolist(), strict=True)
        ]
        part._keep(np.concatenate(rows) if rows else np.zeros(0, np.int64))
        part._ends = np.cumsum(part.counts)
        return part

    def with_classes(self, classes: Mapping[str, str]) -> Self:
        """The same images with the objects of the classes that are keys of `classes`, under the names that are its
        values: a subset, renamed, and merged where two keys have one value.

        Images that are left without an object stay in.
        """
        numbers, names = class_numbers(self.class_names, classes)
        part = self.subset(np.arange(len(self)))
        part.class_names, part.labels = names, numbers[self.labels]
        owners = np.repeat(np.arange(len(self)), self.counts)
        kept = part.labels >= 0
        part._keep(np.flatnonzero(kept))
        part.counts = np.bincount(owners[kept], minlength=len(self))
        part._ends = np.cumsum(part.counts)
        return part

    def _keep(self, rows: np.ndarray) -> None:
        for name in ("boxes", "labels", "crowd", "difficult", "area"):
            setattr(self, name, getattr(self, name)[rows])


# What `clean_boxes` says of a box: its row, a code, a sentence, what was done, and the new box where it was mended.
Report = Callable[[int, str, str, Action, Sequence[float] | None], None]


def clean_boxes(
    boxes: np.ndarray, sizes: np.ndarray, report: Report, *, rounding: float = ROUNDING
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that a loss and a metric can live with.

    `boxes`: float64 (M, 4), xyxy; `sizes`: (M, 2), (H, W) of the image of each, 0 where it is not known, 1 where boxes
    are shares of it. Returns the boxes clipped to their images, float64 (M, 4), and which of them are of use, bool
    (M,): not those with a NaN or infinite number, with a corner before its opposite one, without area, or wholly
    outside of the image. Every box that is left out, or clipped by more than `rounding`, is reported.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    finite = np.asarray(np.isfinite(boxes).all(axis=1))
    safe = np.where(finite[:, None], boxes, 0.0)
    heights, widths = np.where(sizes > 0, sizes, np.inf).T
    limits = np.stack([widths, heights, widths, heights], axis=1)
    clipped = np.clip(safe, 0, limits)
    extent, inside = safe[:, 2:] - safe[:, :2], clipped[:, 2:] - clipped[:, :2]
    faults = (
        ("NOT_FINITE", ~finite, "has a number that is NaN or infinite"),
        ("INVERTED", (extent < 0).any(axis=1), "ends before it begins"),
        ("NO_AREA", (extent == 0).any(axis=1), "has no area"),
        ("OUTSIDE", (inside <= 0).any(axis=1), "lies outside of its image"),
    )
    usable = np.ones(len(boxes), bool)
    for code, bad, what in faults:
        for row in np.flatnonzero(bad & usable).tolist():
            report(row, code, f"the box {_shown(boxes[row])} {what}{_image(code, sizes[row])}", "left out", None)
        usable &= ~bad
    beyond = usable & (np.abs(clipped - safe) > rounding).any(axis=1)
    for row in np.flatnonzero(beyond).tolist():
        text = f"the box {_shown(boxes[row])} sticks out of its image{_image('OUTSIDE', sizes[row])}"
        report(row, "STICKS_OUT", text, "mended", clipped[row].tolist())
    return clipped, usable


def _shown(box: np.ndarray) -> str:
    return "(" + ", ".join(f"{number:g}" for number in box.tolist()) + ")"


def _image(code: str, size: np.ndarray) -> str:
    return f" of {int(size[1])} x {int(size[0])} pixels" if code == "OUTSIDE" and size.min() > 1 else ""
