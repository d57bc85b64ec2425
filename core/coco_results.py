"""Boxes and masks in the format of COCO's results (Lin et al., "Microsoft COCO", ECCV 2014; cocodataset.org, "Results
Format").
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .formats import Format, Formats, Item
from .inputs import Input, is_video
from .masks import BACKGROUND
from .outlines import parts
from .types import Prediction


class Coco(Format):
    """`coco_results.json` in the format of COCO's results, and `coco_images.json` with what its numbers stand for.

    An entry is a box, or of a mask a connected part of a class: a polygon around exactly its pixels, with the score of
    the class. A class named background has no entries.

    The number of an image is the one in its file name, if all names are such as COCO's (000000123.jpg,
    COCO_val2014_000000123.jpg) and no number comes twice; else images count from 1 in the order of results. That of a
    class is its class number plus 1.
    """

    NAMES = ("coco_results.json", "coco_images.json")
    OF = ("boxes", "mask")

    def __init__(self, folder: Path, wanted: Formats, inputs: Sequence[Input]) -> None:
        super().__init__(folder, wanted, inputs)
        self._numbers = _numbers_in_names(inputs)
        self._count = 0
        categories = [{"id": number, "name": name} for number, name in enumerate(self.class_names, start=1)]
        self._results = _JsonList(folder / "coco_results.json", "[", "]")
        self._images = _JsonList(
            folder / "coco_images.json", f'{{"categories": {json.dumps(categories)},\n"images": [', "]}"
        )

    def write(self, item: Item) -> None:
        """Add the boxes, or the parts of the mask, of one image or frame."""
        self._count += 1
        number, prediction = self._numbers.get(item.name, self._count), item.prediction
        height, width = prediction["size"]
        frame = {"frame": prediction["frame"]} if "frame" in prediction else {}
        self._images.add({"id": number, "file_name": item.name, "height": height, "width": width, **frame})
        entries = _boxes(prediction) if "boxes" in prediction else _parts(prediction)
        for entry in entries:
            self._results.add({"image_id": number, **entry})

    def flush(self) -> None:
        """Leave whole JSON files, whatever happens next."""
        self._results.flush()
        self._images.flush()

    def close(self) -> None:
        """Finish both files."""
        self._results.close()
        self._images.close()


def _boxes(prediction: Prediction) -> Iterator[dict[str, Any]]:
    columns = (prediction[key].tolist() for key in ("labels", "scores", "boxes"))
    for label, score, (x1, y1, x2, y2) in zip(*columns, strict=True):
        box = [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]
        yield {"category_id": label + 1, "bbox": box, "score": round(score, 6)}


def _parts(prediction: Prediction) -> Iterator[dict[str, Any]]:
    mask = prediction["mask"].numpy()
    columns = (prediction["labels"].tolist(), prediction["scores"].tolist(), prediction["names"])
    for label, score, name in zip(*columns, strict=True):
        if name == BACKGROUND:
            continue
        for part in parts(mask, label):
            yield {
                "category_id": label + 1,
                "segmentation": [part.outline.ravel().tolist()],
                "bbox": list(part.box),
                "area": part.area,
                "score": round(score, 6),
            }


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
