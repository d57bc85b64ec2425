"""How fast pairs of crops reach the training of a tracker, and how many frames a tracker follows a second.

    python benchmarks/tracking.py [pairs] [tracker] [--frames N] [--rounds N] [--workers N] [--device NAME]

`pairs`: drawn videos of 1280 x 720, as JPEG files in a folder a sequence, the usual form of GOT-10k. Pairs of 127 and
255 pixels are cut from whole frames and from the crops that `foveal prepare tracking` makes of them once. Beside them
stands what nobody can save who reads the same files: to decode two of them, chosen alike, and nothing else. All
three run in turn, round after round, in one process and with `--workers`; printed are pairs a second, the best of the
rounds, and in shares of decoding alone, by the clock, and without workers by the processor's time too, which other work
on the machine does not lengthen. The goal: cutting from whole frames is eight tenths as fast as decoding them, and
prepared crops give three times as many pairs.

`tracker`: SiamFC with its AlexNet and with dilated ResNet-50, of random weights, follows one target, and 64 in the same
frame, through frames of the same size that are decoded already; printed are frames and targets a second.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from foveal.core.data import limit_threads
from foveal.core.images import read_image
from foveal.datasets import open_dataset
from foveal.datasets.frame_folder import write_split
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.tracking.options import TrackingOptions
from foveal.tasks.tracking.pairs import MOTIONS, Pairs, Views
from foveal.tasks.tracking.prepare import finish_folder, write_crops
from foveal.tasks.tracking.region import Region, context_square

PARTS = ("pairs", "tracker")
SIZE = (720, 1280)
EXEMPLAR, SEARCH, PREPARED = 127, 255, 511  # pixels
TARGETS = (1, 64)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--frames", type=int, default=192, help="drawn frames; a sequence has 48")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="of the tracker")
    given = parser.parse_args()
    cv2.setNumThreads(0)  # in this process as in a loader's
    if "pairs" in given.parts:
        measure_pairs(given)
    if "tracker" in given.parts:
        measure_tracker(given)


# --- pairs ------------------------------------------------------------------------------------------------------------


class Decoded(torch.utils.data.Dataset):
    """The frames of pairs, decoded and forgotten: no pair is faster read from these files."""

    def __init__(self, paths: list[str], partners: np.ndarray) -> None:
        self.paths, self.partners = paths, partners

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> int:
        frames = {index, int(self.partners[index])}  # one frame is read once by pairs too
        return sum(read_image(self.paths[frame]).shape[0] for frame in frames)


class Drawn(torch.utils.data.Dataset):
    """Pairs as a loader asks for them, of a seed of their own each time."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs, self.seed = pairs, 0

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.pairs.draw(index, self.seed)


def measure_pairs(given: argparse.Namespace) -> None:
    """A line for each source of pairs and number of workers."""
    with tempfile.TemporaryDirectory() as folder:
        raw, prepared = Path(folder, "raw"), Path(folder, "prepared")
        world = ShapesWorld("tracking", images=given.frames, size=SIZE)
        write_split((world[index] for index in range(len(world))), raw, split="train", class_names=world.class_names)
        frames = open_dataset("frame_folder", raw, split="train", fractions=(1.0, 0.0, 0.0))
        began = time.perf_counter()
        done = write_crops(frames, prepared, "train", exemplar_size=EXEMPLAR, search_size=PREPARED, tell=lambda: None)
        finish_folder(prepared, ["train"])
        rate = done.frames / (time.perf_counter() - began)
        crops = open_dataset("frame_folder", prepared, split="train", fractions=(1.0, 0.0, 0.0))
        print(f"{len(frames)} frames of {SIZE[1]} x {SIZE[0]}, {kilobytes(raw):.0f} kB each")
        print(f"their crops of {PREPARED} x {PREPARED}: {kilobytes(prepared):.0f} kB each, made at {rate:.0f} frames/s")
        for workers in (0, given.workers):
            compare(frames, crops, workers, given.rounds)


def compare(frames: Any, crops: Any, workers: int, rounds: int) -> None:
    """Print the rates with so many workers."""
    views = Views(context_square, search_region, EXEMPLAR, SEARCH)
    cut = {
        name: Pairs(dataset, views, motion=MOTIONS["siamrpn"])
        for name, dataset in (("whole frames", frames), ("prepared", crops))
    }
    paths = [frames.path(int(row)) for row in np.flatnonzero(frames.visible)]
    partners = np.random.default_rng(0).permuted(np.arange(len(paths)))
    sources = {"decoding": Decoded(paths, partners), **{name: Drawn(pairs) for name, pairs in cut.items()}}
    loaders = {name: loader(source, workers) for name, source in sources.items()}
    clocks = {"by the clock": time.perf_counter} | ({} if workers else {"of the processor": time.process_time})
    for title, clock in clocks.items():
        rates: dict[str, list[float]] = {name: [] for name in loaders}
        for _ in range(rounds):
            for name, batches in loaders.items():
                rates[name].append(timed(batches, len(paths), clock))
        best = {name: max(values) for name, values in rates.items()}
        listed = ", ".join(f"{name} {rate:.0f} ({rate / best['decoding']:.2f})" for name, rate in best.items())
        print(f"{workers} workers, pairs a second {title}: {listed}")


def loader(source: Any, workers: int) -> DataLoader:
    """Batches as lists: what is measured is reading and cutting."""
    return DataLoader(
        source, batch_size=16, num_workers=workers, collate_fn=list, worker_init_fn=limit_threads,
        persistent_workers=workers > 0,
    )  # fmt: skip


def timed(batches: DataLoader, count: int, clock: Callable[[], float]) -> float:
    """How many of `count` items a second."""
    began = clock()
    for _ in batches:
        pass
    return count / (clock() - began)


def search_region(box: np.ndarray) -> Region:
    """SiamFC's."""
    return context_square(box).times(SEARCH / EXEMPLAR)


def kilobytes(folder: Path) -> float:
    """The mean size of the JPEG files in a folder."""
    return float(np.mean([path.stat().st_size for path in folder.rglob("*.jpg")])) / 1000


# --- the tracker ------------------------------------------------------------------------------------------------------


def measure_tracker(given: argparse.Namespace) -> None:
    """A line for each network and number of targets."""
    from foveal.tasks.tracking.task import TrackingTask

    world = ShapesWorld("tracking", images=12, size=SIZE)
    frames = [world[index]["image"] for index in range(len(world))]
    rng = np.random.default_rng(0)
    for backbone in ("siamfc_alexnet", "resnet50"):
        task = TrackingTask(TrackingOptions(backbone=backbone)).to(given.device).eval()
        for count in TARGETS:
            corners = rng.uniform((0, 0), (SIZE[1] - 100, SIZE[0] - 100), (count, 2))
            boxes = np.concatenate((corners, corners + rng.uniform(40, 100, (count, 2))), axis=1)
            tracker = task.tracker()
            tracker.init(frames[0], boxes)
            tracker.update(frames[1])  # the first is slower: memory, kernels
            rate = max(followed(tracker, frames) for _ in range(given.rounds))
            print(f"{backbone} on {given.device}, {count} targets: {rate:.2f} frames/s, {rate * count:.0f} targets/s")


def followed(tracker: Any, frames: list[np.ndarray], seconds: float = 3.0) -> float:
    """Frames a second, over so many seconds; the tracker answers arrays, so that what a GPU does is done."""
    began, count = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds:
        tracker.update(frames[count % len(frames)])
        count += 1
    return count / took


if __name__ == "__main__":
    main()
