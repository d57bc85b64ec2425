"""Boxes in the files of others: COCO's results, YOLO's text files, and objects cut out of their images."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .images import read_image, write_image
from .inputs import Input, is_video
from .types import Prediction
from .videos import read_frame


@dataclass(frozen=True)
class BoxFiles:
    """Which files of boxes are wanted, as in FORMATS; the names of all classes; and what a crop shows around its box,
    as a share of the box's sides.
    """

    formats: Sequence[str] = ()
    class_names: Sequence[str] = ()
    crop_margin: float = 0.0


class Item:
    """A prediction, the name that results about it take, and its picture."""

    def __init__(self, prediction: Prediction, name: str) -> None:
        self.prediction = prediction
        self.name = name

    @cached_property
    def image(self) -> np.ndarray:
        """The image or frame, uint8 (H, W, 3), RGB, read when it is first wanted; raises ImageError."""
        path, frame = self.prediction["path"], self.prediction.get("frame")
        return read_image(path) if frame is None else read_frame(path, frame)

    @property
    def stem(self) -> str:
        """The name without its suffix; that of a frame with its number behind it, clip_000012."""
        return self.numbered(os.path.splitext(self.name)[0])

    def numbered(self, name: str) -> str:
        """`name`, and behind it the number of the frame, if it is one."""
        frame = self.prediction.get("frame")
        return name if frame is None else f"{name}_{frame:06d}"


class BoxFormat:
    """Writes the boxes of predictions below `folder`; `NAMES` are the files and folders that it makes there."""

    NAMES: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path, wanted: BoxFiles, inputs: Sequence[Input]) -> None:
        self.folder = folder
        self.class_names = list(wanted.class_names)

    def write(self, item: Item) -> None:
        """Add the boxes of one image or frame; raises MachineError where that cannot be written."""
        raise NotImplementedError

    def flush(self) -> None:
        """Hand everything so far to the operating system."""

    def close(self) -> None:
        """Finish."""


class Coco(BoxFormat):
    """`coco_results.json` in the format of COCO's results, and `coco_images.json` with what its numbers stand for.

    The number of an image is the one in its file name, if all names are such as COCO's (000000123.jpg,
    COCO_val2014_000000123.jpg) and no number comes twice; else images count from 1 in the order of results. That of a
    class is its class number plus 1.
    """

    NAMES = ("coco_results.json", "coco_images.json")

    def __init__(self, folder: Path, wanted: BoxFiles, inputs: Sequence[Input]) -> None:
        super().__init__(folder, wanted, inputs)
        self._numbers = _numbers_in_names(inputs)
        self._count = 0
        categories = [{"id": number, "name": name} for number, name in enumerate(self.class_names, start=1)]
        self._results = _JsonList(folder / "coco_results.json", "[", "]")
        self._images = _JsonList(
            folder / "coco_images.json", f'{{"categories": {json.dumps(categories)},\n"images": [', "]}"
        )

    def write(self, item: Item) -> None:
        """Add the boxes of one image or frame."""
        self._count += 1
        number = self._numbers.get(item.name, self._count)
        height, width = item.prediction["size"]
        frame = {"frame": item.prediction["frame"]} if "frame" in item.prediction else {}
        self._images.add({"id": number, "file_name": item.name, "height": height, "width": width, **frame})
        for label, score, (x1, y1, x2, y2) in _rows(item.prediction):
            box = [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]
            self._results.add({"image_id": number, "category_id": label + 1, "bbox": box, "score": round(score, 6)})

    def flush(self) -> None:
        """Leave whole JSON files, whatever happens next."""
        self._results.flush()
        self._images.flush()

    def close(self) -> None:
        """Finish both files."""
        self._results.close()
        self._images.close()


class Yolo(BoxFormat):
    """`yolo/` with a text file an image: a line a box with its class number, the middle, width and height as shares of
    the image's sides, and the score. An image without boxes has an empty file. `yolo/classes.txt` names the classes.
    """

    NAMES = ("yolo",)

    def __init__(self, folder: Path, wanted: BoxFiles, inputs: Sequence[Input]) -> None:
        super().__init__(folder, wanted, inputs)
        (folder / "yolo").mkdir(parents=True, exist_ok=True)
        names = (" ".join(name.split()) + "\n" for name in self.class_names)
        (folder / "yolo" / "classes.txt").write_text("".join(names), encoding="utf-8", errors="surrogateescape")

    def write(self, item: Item) -> None:
        """Write the file of one image or frame."""
        height, width = item.prediction["size"]
        lines = [
            f"{label} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
            f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f} {score:.6f}\n"
            for label, score, (x1, y1, x2, y2) in _rows(item.prediction)
        ]
        _free(self.folder / "yolo", item, ".txt").write_text("".join(lines))


class Crops(BoxFormat):
    """`crops/` with a folder a class: each box cut out of its image, with a margin as a share of its sides."""

    NAMES = ("crops",)

    def __init__(self, folder: Path, wanted: BoxFiles, inputs: Sequence[Input]) -> None:
        super().__init__(folder, wanted, inputs)
        self._margin = wanted.crop_margin
        self._folders = _folder_names(self.class_names)

    def write(self, item: Item) -> None:
        """Cut out the boxes of one image or frame; raises ImageError where its file is gone."""
        for number, (label, _, box) in enumerate(_rows(item.prediction)):
            crop = _cut(item.image, box, self._margin)
            write_image(_free(self.folder / "crops" / self._folders[label], item, f"_{number}.jpg"), crop)


def short_name(name: str) -> str:
    """`name`, a path, with a last part that a file system takes: of more than 255 bytes, its beginning and a hash."""
    folder, file = os.path.split(name)
    data = os.fsencode(file)
    if len(data) <= 255:
        return name
    ending = os.path.splitext(file)[1]
    return os.path.join(
        folder, os.fsdecode(data[:200]) + f"~{hashlib.blake2b(data, digest_size=8).hexdigest()}{ending}"
    )


FORMATS: Mapping[str, type[BoxFormat]] = {"coco": Coco, "yolo": Yolo, "crops": Crops}


class _JsonList:
    """A JSON file that ends in a list, which grows without being held in memory, and is whole after every flush."""

    def __init__(self, path: Path, head: str, tail: str) -> None:
        self._file = path.open("wb")
        self._file.write(head.encode("ascii"))
        self._tail = f"\n{tail}\n".encode("ascii")
        self._first = True

    def add(self, value: Mapping[str, Any]) -> None:
        """Add an entry."""
        self._file.write(b"\n" if self._first else b",\n")
        # ASCII: a name that is not UTF-8 is written as escapes, and reads back as the same name.
        self._file.write(json.dumps(value, ensure_ascii=True).encode("ascii"))
        self._first = False

    def flush(self) -> None:
        """Write the end, and go back before it: the next entry, which is longer, takes its place."""
        place = self._file.tell()
        self._file.write(self._tail)
        self._file.flush()
        self._file.seek(place)

    def close(self) -> None:
        """Finish the file."""
        if not self._file.closed:
            self.flush()
            self._file.close()


def _rows(prediction: Prediction) -> Iterator[tuple[int, float, list[float]]]:
    columns = (prediction[key].tolist() for key in ("labels", "scores", "boxes"))
    return zip(*columns, strict=True)


def _numbers_in_names(inputs: Sequence[Input]) -> dict[str, int]:
    """By name, the numbers of images whose names are all such as COCO's; empty where they are not."""
    numbers = {}
    for image in inputs:
        stem = os.path.splitext(os.path.basename(image.name))[0]
        match = re.fullmatch(r"(?:COCO_\w+_)?(\d+)", stem, re.ASCII)
        if match is None or is_video(image.path):
            return {}
        numbers[image.name] = int(match.group(1))
    return numbers if len(set(numbers.values())) == len(numbers) else {}


def _free(folder: Path, item: Item, ending: str) -> Path:
    """Where a file about an image goes: a.txt for a.jpg, but a.png.txt for a.png beside it. Its folder is made."""
    whole = item.numbered(item.name)
    stems = chain((item.stem, whole), (f"{whole}~{number}" for number in count(2)))
    target = next(path for stem in stems if not (path := folder / short_name(f"{stem}{ending}")).exists())
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


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
