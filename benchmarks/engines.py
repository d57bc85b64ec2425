"""A network alone by each engine of `foveal predict`, in turn, beside torch as people use it.

    python benchmarks/engines.py [--networks NAME,...] [--batches N,...] [--images N] [--rounds N] [--threads N]

The peer is torch in float32, an image at a time, a channel after another, as in the usual loop. Weights are random,
with batch norms that have seen the images. Every engine computes all images, batch by batch, round after round, so that
other work on the machine slows all alike; of the rounds the fastest counts. Printed are images a second, how many times
the peer's that is by the clock and by the processor's time, the largest difference of the logits, as a share of their
deviation, and how many images, or pixels, have another first class than in float32.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from foveal.core.data import preprocessing
from foveal.core.engines import accelerate
from foveal.core.options import DataOptions
from foveal.core.task import Task
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.classification.options import ClassificationOptions
from foveal.tasks.classification.task import ClassificationTask
from foveal.tasks.segmentation.options import SegmentationOptions
from foveal.tasks.segmentation.task import SegmentationTask

CPU = torch.device("cpu")
NETWORKS = ("resnet50", "mobilenet_v2", "deeplabv3")


class Way(NamedTuple):
    """How a network is computed; `batch` is None for those that are asked for."""

    name: str
    engine: str = "torch"
    compiled: bool = False
    precision: Literal["32", "bf16"] = "32"
    batch: int | None = None


WAYS = (
    Way("torch, one by one", batch=1),
    Way("torch"),
    Way("torch bf16", precision="bf16"),
    Way("compiled", compiled=True),
    Way("compiled bf16", compiled=True, precision="bf16"),
    Way("onnx", engine="onnx"),
    Way("openvino", engine="openvino"),
    Way("openvino bf16", engine="openvino", precision="bf16"),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--batches", default="8,32")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{given.threads} threads, {processor()}, load {os.getloadavg()[0]:.1f}")
    for name in given.networks.split(","):
        compare(name, [int(batch) for batch in given.batches.split(",")], given.images, given.rounds)


def compare(name: str, batches: list[int], number: int, rounds: int) -> None:
    """Print a line for each way and batch."""
    images = draw(name, number)
    runs: dict[str, Callable[[], torch.Tensor]] = {}
    for way in WAYS:
        task = make_task(name, images[:16])
        began = time.perf_counter()
        accelerate(task, CPU, engine=way.engine, compiled=way.compiled, precision=way.precision, batch_size=batches[-1])
        if way.batch == 1:
            task.to(memory_format=torch.contiguous_format)
        print(f"  {name}, {way.name}: ready in {time.perf_counter() - began:.1f} s", flush=True)
        for batch in [way.batch] if way.batch else batches:
            runs[f"{way.name}, {batch} at once"] = lambda task=task, way=way, batch=batch: compute(
                task, way.precision, images, batch
            )
    wall, spent, answers = dict.fromkeys(runs, 1e9), dict.fromkeys(runs, 1e9), {}
    for turn in range(rounds + 1):
        for key, run in runs.items():
            before, used = time.perf_counter(), time.process_time()
            answers[key] = run()
            if turn:  # the first round warms up
                wall[key] = min(wall[key], time.perf_counter() - before)
                spent[key] = min(spent[key], time.process_time() - used)
    peer = next(iter(runs))
    for key in runs:
        off = (answers[key] - answers[peer]).abs().max() / answers[peer].std()
        others = (answers[key].argmax(dim=1) != answers[peer].argmax(dim=1)).float().mean() * 100
        print(
            f"{name:<13} {key:<30} {number / wall[key]:7.1f} images/s  {wall[peer] / wall[key]:5.2f} x  (of the "
            f"processor's time {spent[peer] / spent[key]:5.2f} x)  off by {off:.0e}, other classes {others:.2f} %",
            flush=True,
        )


@torch.inference_mode()
def compute(task: Task, precision: str, images: torch.Tensor, batch: int) -> torch.Tensor:
    """The logits of all images."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        layout = torch.contiguous_format if batch == 1 else torch.channels_last
        return torch.cat([task(part.clone(memory_format=layout)) for part in images.split(batch)]).float()


def draw(name: str, number: int) -> torch.Tensor:
    """Drawn scenes, as `collate` leaves them."""
    size = 384 if name == "deeplabv3" else 224
    world = ShapesWorld("detection", "test", images=number, size=size)
    return torch.stack([torch.from_numpy(world[index]["image"]) for index in range(number)]).permute(0, 3, 1, 2)


def make_task(name: str, images: torch.Tensor) -> Task:
    """The network with the weights of seed 0, and statistics of `images`."""
    torch.manual_seed(0)
    seen = preprocessing(DataOptions(size=images.shape[-1]))
    if name == "deeplabv3":
        options = SegmentationOptions(backbone="resnet50", head="deeplabv3")
        task: Task = SegmentationTask(options, class_names=[str(number) for number in range(21)], preprocessing=seen)
    else:
        classes = [str(number) for number in range(1000)]
        task = ClassificationTask(ClassificationOptions(backbone=name), class_names=classes, preprocessing=seen)
    task.train()
    with torch.no_grad():
        for part in images.split(8):
            task(part)
    return task.eval()


def processor() -> str:
    """Its name, and what it has for bfloat16."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = {line.split(":")[0].strip(): line.split(":")[-1].strip() for line in lines}
    fast = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    return f"{facts.get('model name', 'a processor')} with {' and '.join(fast) or 'nothing for bfloat16'}"


if __name__ == "__main__":
    main()
