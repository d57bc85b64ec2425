"""Boxes in the files of others: YOLO's text files, and objects cut out of their images."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .formats import LONGEST, Format, Formats, Item, text_bytes, without_image
from .images import ImageError, write_image
from .input_list import InputList
from .run_folder import RunFolder, write_file
from .types import Prediction


class Yolo(Format):
    """`yolo/` with a text file an image: a line a box with its class number, the middle, width and height as shares of
    the image's sides, and the score. An image without boxes has an empty file. `yolo/classes.txt` names the classes.
    """

    NAMES = ("yolo",)
    OF = ("boxes",)

    def __init__(self, run: RunFolder, wanted: Formats, inputs: InputList) -> None:
        super().__init__(run, wanted, inputs)
        names = (" ".join(name.split()) + "\n" for name in self.class_names)
        write_file(run.path / "yolo" / "classes.txt", text_bytes("".join(names)))

    def write(self, item: Item) -> None:
        """Write the file of one image or frame."""
        height, width = item.prediction["size"]
        lines = [
            f"{label} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
            f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f} {score:.6f}\n"
            for label, score, (x1, y1, x2, y2) in _rows(item.prediction)
        ]
        # a.txt for a.jpg, but a.png.txt for a.png beside it.
        write_file(self.run.place("yolo", self.stems(item), ".txt"), "".join(lines).encode("ascii"))


class Crops(Format):
    """`crops/` with a folder a class: each box cut out of its image, with a margin as a share of its sides."""

    NAMES = ("crops",)
    OF = ("boxes",)

    def __init__(self, run: RunFolder, wanted: Formats, inputs: InputList) -> None:
        super().__init__(run, wanted, inputs)
        self._margin = wanted.crop_margin
        self._folders = _folder_names(self.class_names)

    def write(self, item: Item) -> None:
        """Have the boxes of one image or frame cut out, unless its file is gone."""
        crops = []
        for number, (label, _, box) in enumerate(_rows(item.prediction)):
            folder = f"crops/{self._folders[label]}"
            crops.append((self.run.place(folder, self.stems(item), f"_{number}.jpg", later=True), box))
        if crops:
            self.run.later(_write_crops, item, crops, self._margin)


def _write_crops(item: Item, crops: Sequence[tuple[Path, Sequence[float]]], margin: float) -> None:
    with without_image():
        for path, box in crops:
            crop = _cut(item.image, box, margin)
            if max(crop.shape) > LONGEST:
                raise ImageError(
                    item.prediction["path"], "TOO_LARGE", f"has a box longer than the {LONGEST:,} pixels of a JPEG"
                )
            write_image(path, crop)


def _rows(prediction: Prediction) -> Iterator[tuple[int, float, list[float]]]:
    columns = (prediction[key].tolist() for key in ("labels", "scores", "boxes"))
    return zip(*columns, strict=True)


def _folder_names(class_names: Sequence[str]) -> list[str]:
    """A name for a folder for each class, safe on every system, and unlike the others'."""
    taken: set[str] = set()
    folders = []
    for number, name in enumerate(class_names):
        safe = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]', "_", name).strip(". ")[:60] or "_"
        if safe.casefold() in taken:  # two classes that differ by what a folder's name cannot show
            safe = f"{safe}_{number}"
        taken.add(safe.casefold())
        folders.append(safe)
    return folders


def _cut(image: np.ndarray, box: Sequence[float], margin: float) -> np.ndarray:
    """The pixels that a box touches, with a margin, inside of the image: at least one."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box
    wide, high = margin * (x2 - x1), margin * (y2 - y1)
    left, top = (int(min(max(value, 0), side - 1)) for value, side in ((x1 - wide, width), (y1 - high, height)))
    right, bottom = (int(np.ceil(min(value, side))) for value, side in ((x2 + wide, width), (y2 + high, height)))
    return image[top : max(bottom, top + 1), left : max(right, left + 1)]
