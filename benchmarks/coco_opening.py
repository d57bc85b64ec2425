"""How long a COCO file takes to open, against `json.load` of it, and what each loader worker pays for it in memory.

    python benchmarks/coco_opening.py [IMAGES]

Writes a file like COCO's instances_train2017.json (by default 118,287 images with 860,001 objects, whose outlines have
55 numbers on average; empty image files beside it) into a temporary folder. Then, each in a process of its own and in
turn, the least of three: processor seconds of `json.load`, and of `open_dataset`, once whole and once without looking
for the image files. And the private memory (USS) of each of four forked workers that have read the truth of every image
once, beside a data set that keeps the parsed JSON, as pycocotools.COCO does. The goals: at most 1.5 times `json.load`,
and no copy of the annotations in a worker.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from foveal.datasets import open_dataset, reader
from foveal.datasets.coco_entries import read_contents
from foveal.datasets.findings import Findings

IMAGES, WORKERS, ROUNDS = 118_287, 4, 3
OBJECTS = 860_001 / IMAGES  # to the image


def write(root: Path, images: int) -> Path:
    """A file of `images` images, the same every time."""
    rng = np.random.default_rng(0)
    (root / "train").mkdir()
    (root / "annotations").mkdir()
    file = root / "annotations" / "instances_train.json"
    heads = []
    for number in range(images):
        name = f"{number:012d}.jpg"
        (root / "train" / name).touch()
        heads.append({"license": 3, "file_name": name, "height": 480, "width": 640, "id": 2 * number + 9})
    categories = [{"supercategory": "thing", "id": number, "name": f"class {number}"} for number in range(1, 81)]
    with file.open("w") as text:
        text.write(f'{{"images": {json.dumps(heads)}, "categories": {json.dumps(categories)}, "annotations": [')
        for number in range(round(images * OBJECTS)):
            text.write((", " if number else "") + json.dumps(_annotation(number, images, rng)))
        text.write("]}")
    return file


def _annotation(number: int, images: int, rng: np.random.Generator) -> dict[str, Any]:
    left, top = rng.integers(0, 400, 2)
    width, height = rng.integers(10, 80, 2)
    corners = max(3, round(rng.gamma(2.0, 13.7)))
    angles = np.sort(rng.random(corners)) * 2 * np.pi
    outline = np.stack([left + width * (1 + np.cos(angles)) / 2, top + height * (1 + np.sin(angles)) / 2], axis=1)
    return {
        "segmentation": [outline.round(2).ravel().tolist()],
        "area": round(float(width * height) * 0.785, 4),
        "iscrowd": 0,
        "image_id": 2 * int(rng.integers(images)) + 9,
        "bbox": [float(left), float(top), float(width), float(height)],
        "category_id": int(rng.integers(1, 81)),
        "id": 1000 + number,
    }


def parsed(file: Path) -> float:
    """Processor seconds of `json.load`."""
    began = time.process_time()
    with file.open() as text:
        json.load(text)
    return time.process_time() - began


def opened(file: Path) -> float:
    """Processor seconds of `open_dataset`."""
    reader("coco")  # whose imports are no part of it
    began = time.process_time()
    open_dataset("coco", file.parent.parent, split="train", fractions=(1.0, 0.0, 0.0))
    return time.process_time() - began


def read(file: Path) -> float:
    """Processor seconds of the same without looking for image files."""
    began = time.process_time()
    read_contents(file, file.name, Findings(), masks=False)
    return time.process_time() - began


class ListOfDicts:
    """The peer: annotations as parsed, grouped by image."""

    def __init__(self, file: Path) -> None:
        document = json.loads(file.read_text())
        self.images, self.annotations = document["images"], defaultdict(list)
        for annotation in document["annotations"]:
            self.annotations[annotation["image_id"]].append(annotation)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def truth(self, index: int) -> dict[str, np.ndarray]:
        """Boxes and categories of an image."""
        annotations = self.annotations[self.images[index]["id"]]
        boxes = np.array([annotation["bbox"] for annotation in annotations], np.float32).reshape(-1, 4)
        return {"boxes": boxes, "labels": np.array([annotation["category_id"] for annotation in annotations])}


def ours_in_workers(file: Path) -> float:
    """MiB that each worker holds for itself alone."""
    return _private(open_dataset("coco", file.parent.parent, split="train", fractions=(1.0, 0.0, 0.0)))


def peer_in_workers(file: Path) -> float:
    """The same for the peer."""
    return _private(ListOfDicts(file))


def _private(dataset: Any) -> float:
    """Mean USS in MiB of workers that have read all, less that of workers that have read nothing."""
    used = []
    for number in (0, len(dataset)):
        pipes = [os.pipe() for _ in range(WORKERS)]
        for _, send in pipes:
            if not os.fork():
                for index in range(number):
                    dataset.truth(index)
                os.write(send, str(_uss()).encode())
                os._exit(0)
        sums = [int(os.read(receive, 32)) for receive, _ in pipes]
        for _ in pipes:
            os.wait()
        used.append(sum(sums) / WORKERS / 2**10)
    return used[1] - used[0]


def _uss() -> int:
    """KiB of this process's memory that no other process shares."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def main(images: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder), images)
        print(f"{images:,} images, {file.stat().st_size / 2**20:,.0f} MiB of JSON")
        rounds = [[_run(what, file) for what in (parsed, opened, read)] for _ in range(ROUNDS)]
        ours, peer = _run(ours_in_workers, file), _run(peer_in_workers, file)
    json_load, opening, reading = (min(seconds) for seconds in zip(*rounds, strict=True))
    print(f"json.load                          {json_load:7.2f} s")
    print(f"open_dataset                       {opening:7.2f} s, {opening / json_load:.2f} times json.load")
    print(f"  without looking for image files  {reading:7.2f} s, {reading / json_load:.2f} times json.load")
    print(f"each worker, ours                  {ours:7.1f} MiB of its own")
    print(f"each worker, a list of dicts       {peer:7.1f} MiB of its own")


def _run(what: Callable[[Path], float], file: Path) -> float:
    """What a function of this file says in a process of its own."""
    return float(subprocess.check_output([sys.executable, __file__, what.__name__, str(file)]))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(globals()[sys.argv[1]](Path(sys.argv[2])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
