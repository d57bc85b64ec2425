"""Segmentation beside its peers.

    python benchmarks/segmentation.py [metrics] [--size PIXELS] [--batch N] [--classes C] [--rounds N]

`metrics`: adding a batch of predictions to mIoU, ours and torchmetrics' `JaccardIndex` in turn, on one thread, with
masks of int64, as a task has them, and for ours of uint8 too. Of the same batch: how far the two mIoU are apart, and
what the measures of borders take. The goal is 20 times torchmetrics' speed.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from torchmetrics import JaccardIndex

from foveal.tasks.segmentation.metrics import SegmentationMetrics

PARTS = ("metrics",)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    if "metrics" in given.parts:
        compare_metrics(given)


def compare_metrics(given: argparse.Namespace) -> None:
    """Three lines: the medians and the median of the rounds' ratios, the difference of mIoU, the price of borders."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    predicted, truth = make_masks(given)
    names = [f"class {number}" for number in range(given.classes)]
    ours, bytewise = SegmentationMetrics(names), SegmentationMetrics(names)
    theirs: Any = JaccardIndex(task="multiclass", num_classes=given.classes, ignore_index=255)
    small = predicted.to(torch.uint8), truth.to(torch.uint8)
    borders = {
        "boundary F1": SegmentationMetrics(names, boundary_tolerance=0.0075),
        "trimap IoU": SegmentationMetrics(names, trimap_width=5),
    }
    times = in_turn(
        {
            "ours": lambda: ours.update(predicted, truth),
            "ours, uint8": lambda: bytewise.update(*small),
            "torchmetrics": lambda: theirs.update(predicted, truth),
        },
        given.rounds,
    )
    what = f"mIoU of {given.batch} x {given.size} x {given.size}, {given.classes} classes: "
    medians = ", ".join(f"{side} {1000 * statistics.median(values):.1f} ms" for side, values in times.items())
    ratios = " and ".join(
        f"{statistics.median(b / a for a, b in zip(times[side], times['torchmetrics'], strict=True)):.0f}"
        for side in ("ours", "ours, uint8")
    )
    print(f"{what}{medians}; {ratios} times as fast", flush=True)
    own, other = ours.compute().numbers["miou"], float(theirs.compute())
    print(f"mIoU {own:.6f}, torchmetrics {other:.6f}, difference {abs(own - other):.1e}", flush=True)
    taken = in_turn({name: lambda x=x: x.update(predicted, truth) for name, x in borders.items()}, given.rounds // 5)
    print(", ".join(f"with {name} {1000 * statistics.median(values):.0f} ms" for name, values in taken.items()))


def make_masks(given: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and masks, int64 (N, H, W): sixteen discs an image, ten pixels off, with an ignored rim each."""
    rng = np.random.default_rng(0)
    predicted, truth = (np.zeros((given.batch, given.size, given.size), np.uint8) for _ in range(2))
    for own, asked in zip(predicted, truth, strict=True):
        for _ in range(16):
            number, radius = int(rng.integers(given.classes)), int(given.size * rng.uniform(0.03, 0.15))
            x, y = (int(value) for value in rng.integers(given.size, size=2))
            cv2.circle(asked, (x, y), radius, number, -1)
            cv2.circle(asked, (x, y), radius, 255, 3)
            cv2.circle(own, (x + 8, y + 6), radius, number, -1)
    return torch.from_numpy(predicted).long(), torch.from_numpy(truth).long()


def in_turn(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round after two that are thrown away; sides change places, so that none is always first."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 2):
        for side in list(sides)[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            sides[side]()
            times[side].append(time.perf_counter() - start)
    return {side: values[2:] for side, values in times.items()}


if __name__ == "__main__":
    main()
