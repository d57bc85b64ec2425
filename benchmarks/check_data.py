"""How fast `foveal check-data` looks at images: JPEG files of 640 x 480 a minute, in its three ways.

    python benchmarks/check_data.py [IMAGES]

Draws the files (smooth colours under noise, at quality 90, about 85 KB each), runs each way three times, and prints the
best. The goal: 10,000 a minute and more on two cores with `--quick`. The peer is a loop over Pillow's `load` in one
thread, which is what finds a truncated JPEG there (`verify` does nothing for one).
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from foveal.datasets.check import check_dataset
from foveal.datasets.scan import Mode

WAYS: dict[str, Mode] = {"--quick": "quick", "(default)": "usual", "--full": "full"}


def main(images: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), images)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        print(f"{images} JPEG files of 640 x 480, {cores} cores")
        peer = rate(lambda: load(Path(folder)), images)
        print(f"{'Pillow, load':<16} {peer:10,.0f} images a minute")
        for name, mode in WAYS.items():
            speed = rate(lambda mode=mode: check(folder, mode), images)
            print(f"{name:<16} {speed:10,.0f} images a minute   {speed / peer:5.2f} times Pillow")


def draw(folder: Path, images: int) -> None:
    """Write pictures of two classes, no two alike."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir()
    for number in range(images):
        colors = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = cv2.resize(colors, (640, 480), interpolation=cv2.INTER_CUBIC)
        noise = rng.integers(-12, 13, (480, 640, 1), dtype=np.int16)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        (folder / "ab"[number % 2] / f"{number:06d}.jpg").write_bytes(data.tobytes())


def check(folder: str, mode: Mode) -> None:
    """Look at all of them; nothing may be found."""
    report = check_dataset(
        "image_folder", folder, fractions=(0.65, 0.10, 0.25), seed=0, options={}, mode=mode, watch=lambda *_: None
    )
    assert not report.findings, report.findings[:3]


def load(folder: Path) -> None:
    """Decode each, as people do."""
    for path in folder.glob("*/*.jpg"):
        with Image.open(path) as image:
            image.load()


def rate(work: Callable[[], None], images: int) -> float:
    """Images a minute, at the best of three runs."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return 60 * images / min(seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
