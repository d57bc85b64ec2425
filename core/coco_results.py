"""Boxes and masks in the format of COCO's results (Lin et al., "Microsoft COCO", ECCV 2014; cocodataset.org, "Results
Format").
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .formats import Format, Formats, Item
from .input_list import InputList, number_in_name
from .masks import BACKGROUND
from .outlines import parts
from .run_folder import GrowingFile, RunFolder
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

    def __init__(self, run: RunFolder, wanted: Formats, inputs: InputList) -> None:
        super().__init__(run, wanted, inputs)
        self._numbered = inputs.numbered
        categories = [{"id": number, "name": name} for number, name in enumerate(self.class_names, start=1)]
        head = f'{{"categories": {json.dumps(categories)},\n"images": ['
        self._results = run.growing("coco_results.json", head=b"[", tail=b"\n]\n")
        self._images = run.growing("coco_images.json", head=head.encode("ascii"), tail=b"\n]}\n")

    def write(self, item: Item) -> None:
        """Add the boxes, or the parts of the mask, of one image or frame."""
        number = number_in_name(item.name) if self._numbered else item.number
        prediction = item.prediction
        height, width = prediction["size"]
        frame = {"frame": prediction["frame"]} if "frame" in prediction else {}
        _add(self._images, {"id": number, "file_name": item.name, "height": height, "width": width, **frame})
        entries = _boxes(prediction) if "boxes" in prediction else _parts(prediction)
        for entry in entries:
            _add(self._results, {"image_id": number, **entry})


def _add(file: GrowingFile, entry: Mapping[str, Any]) -> None:
    """Add an entry to a list in a JSON file, which is whole after every flush."""
    separator = b"\n" if file.empty else b",\n"
    # ASCII: a name that is not UTF-8 is written as escapes, and reads back as the same name.
    file.write(separator + json.dumps(entry, ensure_ascii=True).encode("ascii"))


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
