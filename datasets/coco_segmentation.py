"""COCO's polygons and run lengths as masks: one class number a pixel, drawn when it is asked for.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; polygons cover the pixels that the reference code
(pycocotools) says. It is given nothing that `coco_masks` has not checked: it would take all memory, or read what is not
its own.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as pycocotools_mask

from ..core.errors import DataError
from ..core.images import MAX_PIXELS, read_size, write_image
from .coco import mend as mend  # the same files, with the same faults
from .coco import read_split
from .coco_entries import Contents
from .files import ImageFiles
from .findings import Findings
from .masks import IGNORE, MAX_CLASSES
from .splits import digest

reference: Any = pycocotools_mask  # the types that it states are not those that it takes

_BACKGROUND = "background"
# Pixels along all outlines of an object: pycocotools takes about 100 bytes for each. A polygon of 5,000 corners that
# crosses an image of 800 pixels with every edge is as long.
_LONGEST = 2**22
_BLOCK = 2**20  # numbers that go into the fingerprint at once


class CocoMasks(ImageFiles):
    """Image files with the masks of the objects in each, drawn over one another.

    Class 0 is the background, which no object covers; categories follow in the order of their ids. Of objects that
    overlap, the one with fewer pixels lies on top, and of two alike the later in the file. Regions of a crowd
    (`iscrowd`) are IGNORE where no object lies on them.
    """

    PER_IMAGE = ("_spans", "_sizes")

    def __init__(self, root: str | os.PathLike, contents: Contents) -> None:
        assert contents.masks is not None
        names = [name for name in contents.class_names if name != _BACKGROUND]
        super().__init__(root, contents.names, [_BACKGROUND, *names])
        numbers = np.array([self.class_names.index(name) for name in contents.class_names], np.int64)
        ends = np.cumsum(contents.objects.counts)
        self._spans = np.stack([ends - contents.objects.counts, ends], axis=1)  # first object of an image, and the end
        self._sizes = contents.sizes.copy()
        self._masks = contents.masks
        self._numbers = np.where(contents.objects.crowd, IGNORE, numbers[contents.objects.labels])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The image with its mask; raises DataError where the JSON gives it another size."""
        sample = super().__getitem__(index)
        if sample["mask"].shape != sample["size"]:
            (height, width), (rows, columns) = sample["size"], sample["mask"].shape
            raise DataError(
                f"'{sample['path']}' has {width} x {height} pixels, but the COCO file gives it and its masks "
                f"{columns} x {rows}: correct the file, or the image (an EXIF turn has been applied)."
            )
        return sample

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of an image, from the COCO file or else from the head of its own."""
        if not self._sizes[index].all():
            self._sizes[index] = read_size(self.path(index))
        height, width = self._sizes[index].tolist()
        return height, width

    def truth(self, index: int) -> dict[str, Any]:
        """`mask`, int64 (H, W); raises DataError for masks of another size than the image's, or too large to draw."""
        height, width = self.size(index)
        if height * width > MAX_PIXELS:
            raise DataError(
                f"'{self.path(index)}' has {width} x {height} pixels in the COCO file; the limit is {MAX_PIXELS:,}: "
                "correct the file."
            )
        rows = np.arange(*self._spans[index])
        shapes = [self._shape(index, row, height, width) for row in rows.tolist()]
        areas = np.array([_area(shape) for shape in shapes], np.int64)
        on_top = np.where(self._numbers[rows] == IGNORE, -1, 0)  # a crowd lies below all else
        mask = np.zeros((height, width), np.int64)
        for at in np.lexsort((np.arange(len(rows)), -areas, on_top)).tolist():
            mask[_pixels(shapes[at])] = self._numbers[rows[at]]
        return {"mask": mask}

    def fingerprint(self) -> str:
        """A digest of names and masks."""
        blocks = chain(_blocks(self._masks.points, "<f4"), _blocks(self._masks.runs, "<u4"))
        return digest(chain(self._paths.tolist(), blocks), self._spans, self._numbers, self._masks.sizes)

    def _shape(self, index: int, row: int, height: int, width: int) -> "np.ndarray | dict[str, Any]":
        """An object as bool (H, W), or as pycocotools's run lengths."""
        drawn = self._masks.mask_of(row)
        if drawn is not None:
            if drawn.shape != (height, width):
                raise DataError(
                    f"An object of '{self.path(index)}' has a mask of {drawn.shape[1]} x {drawn.shape[0]} pixels in "
                    f"the COCO file, but its image has {width} x {height}: they must be of one size."
                )
            return drawn
        polygons = self._masks.polygons_of(row)
        outlines = sum(np.abs(polygon - np.roll(polygon, 1, axis=0)).max(axis=1).sum() for polygon in polygons)
        if outlines > _LONGEST:
            raise DataError(
                f"An object of '{self.path(index)}' has an outline of {outlines:,.0f} pixels in the COCO file, and "
                f"{_LONGEST:,} are the limit: leave it out."
            )
        # As decimals, 0.7 and not 0.69999999: that would be another corner of the reference's fifths of a pixel.
        points = [polygon.ravel().astype(np.str_).astype(np.float64).tolist() for polygon in polygons]
        return reference.merge(reference.frPyObjects(points, height, width))


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> CocoMasks:
    """One split of a COCO data set, as `coco.open_split` finds it; an object without a mask of use is left out.

    Raises DataError for more categories than a mask has numbers, and what `coco.open_split` raises.
    """
    folder, contents = read_split(root, split=split, fractions=fractions, seed=seed, findings=findings, masks=True)
    dataset = CocoMasks(folder, contents)
    if len(dataset.class_names) > MAX_CLASSES:
        raise DataError(
            f"The COCO file in '{folder}' has {len(contents.class_names):,} categories, and masks have numbers for "
            f"{MAX_CLASSES - 1}: merge some, or train a detector with the format coco."
        )
    return dataset


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Samples as `annotations/instances_<split>.json` and `<split>/000001.jpg` ..., an annotation for each connected
    region, as run lengths, which are exact where polygons are not.

    Class 0 is not written if it is the background; IGNORE is a crowd.
    """
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    first = 0 if class_names[0] == _BACKGROUND else 1  # a category's id is the number that reading it back gives
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names, first) if number]
    images, annotations = [], []
    for number, sample in enumerate(samples, 1):
        name, (height, width) = f"{number:06d}.jpg", sample["mask"].shape
        write_image(root / split / name, sample["image"])
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for found in _regions(sample["mask"], first):
            annotations.append({"id": len(annotations) + 1, "image_id": number, **found})
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document), encoding="utf-8")


def _area(shape: "np.ndarray | dict[str, Any]") -> int:
    return int(np.count_nonzero(shape) if isinstance(shape, np.ndarray) else reference.area(shape))


def _pixels(shape: "np.ndarray | dict[str, Any]") -> np.ndarray:
    return shape if isinstance(shape, np.ndarray) else reference.decode(shape).astype(bool)


def _blocks(numbers: np.ndarray, kind: str) -> Iterator[bytes]:
    for start in range(0, len(numbers), _BLOCK):
        yield numbers[start : start + _BLOCK].astype(kind).tobytes()


def _regions(mask: np.ndarray, first: int) -> Iterator[dict[str, Any]]:
    """Annotations of the connected regions of each class."""
    for value in np.unique(mask).tolist():
        category = 1 if value == IGNORE else value + first
        if category == 0:
            continue
        count, places, boxes, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8))
        for region in range(1, count):
            *box, area = boxes[region].tolist()
            part = places == region
            yield {
                "category_id": category,
                "segmentation": _lengths(part) if value == IGNORE else _packed(part),
                "bbox": box,
                "area": area,
                "iscrowd": int(value == IGNORE),
            }


def _packed(part: np.ndarray) -> dict[str, Any]:
    """COCO's string of run lengths, as its tools write objects."""
    packed = reference.encode(np.asfortranarray(part, np.uint8))
    return {"size": list(part.shape), "counts": packed["counts"].decode("ascii")}


def _lengths(part: np.ndarray) -> dict[str, Any]:
    """Plain run lengths down the columns, the first of pixels outside, as COCO's crowds have them."""
    changes = np.flatnonzero(np.diff(part.T.ravel(), prepend=False, append=~part[-1, -1]))
    return {"size": list(part.shape), "counts": np.diff(changes, prepend=0).tolist()}
