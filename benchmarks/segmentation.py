"""Segmentation beside its peers.

    python benchmarks/segmentation.py [models] [metrics] [--size PIXELS] [--batch N] [--classes C] [--rounds N]
                                      [--device cpu|cuda] [--precision 32|bf16]

`models`: a training step but for the optimizer, forward, cross-entropy and backward, ours and
segmentation_models.pytorch's in turn, in channels_last. UNet on ResNet-34 is the same network on both sides, and the
goal is 5 % more time at most. DeepLab v3+, at output stride 16, is not: both of our 3 x 3 convolutions behind the
pyramid are at stride 4, as in the paper, and one of theirs is at 16; theirs have no batch norm and ReLU behind the
depthwise convolution. Take two threads or more: with one, torch computes a 1 x 1 convolution otherwise than one that is
marked as dilated, as theirs are. `--size 256 --batch 2` suits a CPU.

`metrics`: adding a batch of predictions to mIoU, ours and torchmetrics' `JaccardIndex` in turn, on one thread, with
masks of int64, as a task has them, and for ours of uint8 too. Of the same batch: how far the two mIoU are apart, and
what the measures of borders take. The goal is 20 times torchmetrics' speed.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics import JaccardIndex

from foveal.backbones import count_parameters, create_backbone
from foveal.tasks.segmentation.head import segment
from foveal.tasks.segmentation.heads import HEADS
from foveal.tasks.segmentation.metrics import SegmentationMetrics
from foveal.tasks.segmentation.options import SegmentationOptions
from foveal.tasks.segmentation.unet import UNetHead

PARTS = ("models", "metrics")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of the models")
    given = parser.parse_args()
    if "models" in given.parts:
        compare_models(given)
    if "metrics" in given.parts:
        compare_metrics(given)


class Segmenter(nn.Module):
    """A backbone and a head of ours as the task runs them: images to logits of their size."""

    def __init__(self, backbone: nn.Module, head: Any) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return segment(self.backbone, [self.head], images)[0]


def compare_models(given: argparse.Namespace) -> None:
    """A line for each pair of networks."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(given.batch, 3, given.size, given.size, generator=generator)
    images = images.to(given.device, memory_format=torch.channels_last)
    mask = torch.randint(given.classes, (given.batch, given.size, given.size), generator=generator).to(given.device)
    for what, make in MODELS.items():
        pair = [each.to(given.device, memory_format=torch.channels_last).train() for each in make(given.classes)]
        steps = [training_step(each, images, mask, given) for each in pair]
        own, other = (count_operations(step) for step in steps)
        times = in_turn(dict(zip(("ours", "theirs"), steps, strict=True)), given.rounds)
        ratios = [a / b for a, b in zip(times["ours"], times["theirs"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        medians = ", ".join(f"{side} {1000 * statistics.median(values):.0f} ms" for side, values in times.items())
        print(f"{what}, {given.batch} x {given.size} x {given.size}, {given.classes} classes: {medians};", end=" ")
        print(f"ours / theirs {middle:.3f} (quartiles {low:.3f} and {high:.3f}),", end=" ")
        print(f"in multiply-adds {own / other:.3f};", end=" ")
        print("parameters " + " and ".join(f"{count_parameters(each):,}" for each in pair), flush=True)


def count_operations(step: Callable[[], None]) -> int:
    """Of convolutions, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def training_step(
    network: nn.Module, images: torch.Tensor, mask: torch.Tensor, given: argparse.Namespace
) -> Callable[[], None]:
    """A function that takes one step, to its end on the device."""
    device = torch.device(given.device)

    def run() -> None:
        network.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=given.precision == "bf16"):
            loss = nn.functional.cross_entropy(network(images), mask)
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def make_unets(classes: int) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs on ResNet-34, with random weights."""
    backbone = create_backbone("resnet34")
    head = UNetHead(backbone.channels, backbone.strides, classes, upsampling="nearest")
    return Segmenter(backbone, head), smp.Unet("resnet34", encoder_weights=None, classes=classes)


def make_deeplabs(name: str, classes: int) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs at output stride 16, with the paper's rates there."""
    options = SegmentationOptions(backbone=name, head="deeplabv3plus", output_stride=16)
    ours = Segmenter(*HEADS[options.head](partial(create_backbone, name), options, num_classes=classes))
    theirs = smp.DeepLabV3Plus(name, encoder_weights=None, classes=classes, decoder_atrous_rates=(6, 12, 18))
    return ours, theirs


MODELS = {
    "UNet on ResNet-34": make_unets,
    "DeepLab v3+ on ResNet-34": partial(make_deeplabs, "resnet34"),
    "DeepLab v3+ on MobileNet v2": partial(make_deeplabs, "mobilenet_v2"),
}


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
