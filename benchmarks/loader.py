"""How fast images reach a training: foveal's loader against torchvision's reference transforms with PIL.

    python benchmarks/loader.py [IMAGES] [ROUNDS] [--folder DIR]

The usual ImageNet pipeline on both sides: JPEG files of 500 x 375 pixels to batches of 64 crops of 224 x 224, random in
place, size and shape, half of them mirrored. The peer is torchvision's `references/classification` with its defaults
(PIL, `presets.py`): RandomResizedCrop, RandomHorizontalFlip, PILToTensor, to float, Normalize. foveal hands over uint8
and normalises on the device; the time that takes here, on a CPU, is counted as well, in a column of its own. The files
are photographs from DIR, or else drawn.

Both run in turn, round after round; printed are images a second by the clock, the best of the rounds, and without
workers by the processor's time too, which other work on the machine does not lengthen. The goal: 2.5 times as many.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision.transforms as T
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from foveal.core.data import DataModule, limit_threads, preprocessing
from foveal.core.images import read_image
from foveal.core.inputs import IMAGE_SUFFIXES, walk_images
from foveal.core.options import DataOptions
from foveal.datasets import open_dataset
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.classification.transforms import transform

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=int, nargs="?", default=1000)
    parser.add_argument("rounds", type=int, nargs="?", default=3)
    parser.add_argument("--folder", help="photographs to use, at any depth")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        size = write_images(Path(root), given.images, given.folder)
        print(f"{given.images} JPEG files of 500 x 375, {size / 1000:.0f} kB each")
        for workers in (0, 1, 2):
            compare(root, workers, given.rounds)


def write_images(root: Path, number: int, folder: str | None) -> float:
    """Two classes of JPEG files under `root`; the mean of their sizes in bytes."""
    photographs = sorted(walk_images(folder, IMAGE_SUFFIXES)) if folder else []
    world = ShapesWorld("detection", images=number, size=(375, 500))
    sizes = []
    for index in range(number):
        image = read_image(photographs[index % len(photographs)]) if photographs else world[index]["image"]
        image = cv2.resize(image, (500, 375), interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        path = root / "train" / "ab"[index % 2] / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
        sizes.append(len(data))
    return statistics.mean(sizes)


def compare(root: str, workers: int, rounds: int) -> None:
    """Print a line for a number of workers."""
    loaders = {"peer": peer(root, workers), "foveal": ours(root, workers)}
    clocks = {"by the clock": time.perf_counter} | ({} if workers else {"of processor": time.process_time})
    for title, clock in clocks.items():
        rates: dict[str, list[float]] = {"peer": [], "foveal": [], "normalised": []}
        for _ in range(rounds):
            for name, loader in loaders.items():
                rates[name].append(rate(loader, clock))
            rates["normalised"].append(rate(loaders["foveal"], clock, normalise=True))
        best = {name: max(values) for name, values in rates.items()}
        ours_times, all_times = best["foveal"] / best["peer"], best["normalised"] / best["peer"]
        print(
            f"{workers} workers, a second {title}: PIL {best['peer']:.0f} images, foveal {best['foveal']:.0f}, "
            f"{ours_times:.2f} times as many; normalised on the CPU {best['normalised']:.0f}, {all_times:.2f} times",
            flush=True,
        )


def peer(root: str, workers: int) -> DataLoader:
    """The loader of torchvision's references."""
    steps = [
        T.RandomResizedCrop(224),
        T.RandomHorizontalFlip(),
        T.PILToTensor(),
        T.ConvertImageDtype(torch.float),
        T.Normalize(MEAN, STD),
    ]
    data = ImageFolder(f"{root}/train", T.Compose(steps))
    return DataLoader(
        data,
        batch_size=64,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=limit_threads,
    )


def ours(root: str, workers: int) -> DataLoader:
    """Foveal's, with the transform of classification's recipes less the change of colours."""
    options = DataOptions(root=root, size=224, batch_size=64, num_workers=workers, augment="crops", splits=(1, 0, 0))
    data = DataModule(
        lambda split: open_dataset("image_folder", root, split=split, fractions=(0.999, 0.001, 0)), options
    )
    data.transform = lambda augment: transform(preprocessing(options), augment)
    return data.train_dataloader()


def rate(loader: DataLoader, clock: Callable[[], float], normalise: bool = False) -> float:
    """Images a second over one epoch."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (MEAN, STD))
    count, began = 0, clock()
    for batch in loader:
        images = batch["image"] if isinstance(batch, dict) else batch[0]
        if normalise:
            images = (images.float() - mean) / std
        count += len(images)
    return count / (clock() - began)


if __name__ == "__main__":
    np.random.seed(0)
    torch.manual_seed(0)
    limit_threads(0)  # without workers, both sides have one thread, as each worker has
    main()
