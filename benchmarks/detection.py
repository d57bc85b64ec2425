"""Faster R-CNN and SSD beside torchvision's own: the same weights, the same images.

    python benchmarks/detection.py [training] [inference] [folder] [metrics] [--size PIXELS] [--batch N] [--rounds N]
                                   [--images N] [--precision 32|bf16]

`training`: a step of Faster R-CNN with ResNet-50 and a pyramid, forward, backward and SGD, ours and torchvision's in
turn; the goal is 3 % more time at most. Of ours it names the share outside of the network: the padding and normalising
of images, anchors, matching, sampling and suppression. `inference`: the same for a forward pass and its boxes.

`folder`: `foveal predict` on a folder of drawn JPEG files of 640 x 480, written to disk, against torchvision's usual
loop, one image at a time by Pillow, with results kept in a list, for SSD300 and for Faster R-CNN. The goals are 3 times
as many images a second for SSD300, twice as many for Faster R-CNN. Printed too is how many of torchvision's surest
boxes foveal finds as well (IoU 0.9, same class), since the two resize images differently.

`metrics`: COCO's twelve numbers of 500 images with 100 detections each, by pycocotools and by hotcoco.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.ops import box_iou
from torchvision.transforms.functional import to_tensor

from foveal.core.data import DataOptions, preprocessing
from foveal.core.input_list import list_inputs
from foveal.core.predict import Running, find_device, predict_files
from foveal.core.run_folder import RunFolder
from foveal.core.writers import NAMES, FolderWriter
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.detection.average_precision import Found, Truth, average_precision
from foveal.tasks.detection.options import DetectionOptions
from foveal.tasks.detection.published import PUBLISHED
from foveal.tasks.detection.task import DetectionTask

CLASSES = [f"class {number}" for number in range(20)]
PARTS = ("training", "inference", "folder", "metrics")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--size", type=int, default=320, help="of the shorter side, for training and inference")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--images", type=int, default=16, help="files of the folder")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of foveal, for the folder")
    given = parser.parse_args()
    device = find_device("auto")
    if "training" in given.parts:
        compare_steps(given, device)
    if "inference" in given.parts:
        compare_passes(given, device)
    if "folder" in given.parts:
        for head, backbone, size, resize in (
            ("ssd", "vgg16", 300, "squash"),
            ("fasterrcnn_fpn", "resnet50", 800, "shorter"),
        ):
            compare_folders(head, backbone, size, resize, given, device)
    if "metrics" in given.parts:
        compare_metrics()


def make_pair(
    head: Any, backbone: str, size: int, resize: Any, device: torch.device
) -> tuple[DetectionTask, nn.Module]:
    """Ours and torchvision's with the same random weights."""
    torch.manual_seed(0)
    published = PUBLISHED[head, backbone]
    make = getattr(torchvision.models.detection, published.name)
    options = {} if head == "ssd" else {"min_size": size, "max_size": int(size * 5 / 3)}
    theirs = make(weights=None, weights_backbone=None, num_classes=len(CLASSES) + 1, **options)
    for name, module in theirs.named_modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics of their own, so that maps keep their scale
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if name.endswith(("cls_score", "cls_logits")) and isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=0.02)  # scores that differ
    wanted = preprocessing(DataOptions(size=size, resize=resize))
    wanted["mean"], wanted["std"] = theirs.transform.image_mean, theirs.transform.image_std
    ours = DetectionTask(DetectionOptions(backbone=backbone, head=head), class_names=CLASSES, preprocessing=wanted)
    ours.load_state_dict({published.keys(key): value for key, value in theirs.state_dict().items()})
    return ours.to(device), theirs.to(device)


def make_batch(size: int, number: int, device: torch.device) -> Any:
    """Drawn images of 4 to 3, with their objects, ready for the network."""
    height, width = size, size * 4 // 3
    world = ShapesWorld("detection", "train", images=number, size=(height, width))
    samples = [world[index] for index in range(number)]
    images = torch.stack([torch.from_numpy(sample["image"]).permute(2, 0, 1) for sample in samples])
    keys = ("boxes", "labels", "crowd", "difficult")
    truths = {key: [torch.from_numpy(sample[key]).to(device) for sample in samples] for key in keys}
    return {
        "image": images.to(device),
        "path": [sample["path"] for sample in samples],
        "size": [(height, width)] * number,
        "shape": [(height, width)] * number,
        **truths,
    }


def compare_steps(given: argparse.Namespace, device: torch.device) -> None:
    """A training step, ours and theirs in turn."""
    ours, theirs = make_pair("fasterrcnn_fpn", "resnet50", given.size, "shorter", device)
    batch = make_batch(given.size, given.batch, device)
    pairs = zip(batch["boxes"], batch["labels"], strict=True)
    targets = [{"boxes": boxes, "labels": labels + 1} for boxes, labels in pairs]
    images = [image.float() / 255 for image in batch["image"]]

    def step(network: nn.Module, losses: Callable[[], dict[str, torch.Tensor]]) -> Callable[[], None]:
        # At the full price, but the weights stay: random ones would soon propose nothing, and a step be cheap.
        optimizer = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9)

        def run() -> None:
            optimizer.zero_grad()
            torch.stack(list(losses().values())).sum().backward()
            optimizer.step()

        return run

    ours.train(), theirs.train()
    sides = {
        "ours": step(ours, lambda: ours.losses(batch)),
        "theirs": step(theirs, lambda: theirs(images, targets)),
        "network": step(ours, lambda: network_alone(ours, batch)),
    }
    report("training step, Faster R-CNN R50-FPN", sides, given, device)


def network_alone(task: DetectionTask, batch: Any) -> dict[str, torch.Tensor]:
    """Convolutions, RoI align and linear layers of a training step, and nothing else."""
    head: Any = task.head
    features = task.backbone(task.normalise(batch["image"]))
    maps = head.neck({str(level): x for level, x in enumerate(features)})
    answers = [x.sum() for answer in head.rpn.head(list(maps.values())) for x in answer]
    side = batch["image"].shape[2] / 2
    proposals = [torch.rand(512, 4, device=task.device) * side + torch.tensor([0, 0, side, side], device=task.device)]
    regions = head.roi_heads.box_roi_pool(maps, proposals * len(batch["path"]), batch["shape"])
    answers += [x.sum() for x in head.roi_heads.box_predictor(head.roi_heads.box_head(regions))]
    return {"sum": torch.stack(answers).sum()}


def compare_passes(given: argparse.Namespace, device: torch.device) -> None:
    """Boxes of a batch, ours and theirs in turn."""
    ours, theirs = make_pair("fasterrcnn_fpn", "resnet50", given.size, "shorter", device)
    batch = make_batch(given.size, given.batch, device)
    images = [image.float() / 255 for image in batch["image"]]
    ours.eval(), theirs.eval()
    shapes = batch["shape"]
    sides = {"ours": lambda: ours.head.detect(ours(batch["image"], shapes)), "theirs": lambda: theirs(images)}
    with torch.inference_mode():
        found, expected = sides["ours"](), sides["theirs"]()
        difference = max(float((a.boxes - b["boxes"]).abs().max()) for a, b in zip(found, expected, strict=True))
        report("inference, Faster R-CNN R50-FPN", sides, given, device)
    print(f"largest difference of boxes {difference:.1e} pixels")


def report(what: str, sides: dict[str, Callable[[], Any]], given: argparse.Namespace, device: torch.device) -> None:
    """One line: medians, the median of the rounds' ratios, and the share outside of the network."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(given.rounds + 2):
        for side in list(sides)[:: 1 if number % 2 else -1]:
            times[side].append(clock(sides[side], device))
    times = {side: values[2:] for side, values in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["ours"], times["theirs"], strict=True))
    line = f"{what}, {given.batch} images of {given.size * 4 // 3} x {given.size}: "
    line += ", ".join(f"{side} {1000 * statistics.median(values):.0f} ms" for side, values in times.items())
    line += f"; ours / theirs {ratio:.3f}"
    if "network" in times:
        shares = [1 - network / whole for network, whole in zip(times["network"], times["ours"], strict=True)]
        line += f"; outside of the network {100 * statistics.median(shares):.0f} %"
    print(line, flush=True)


def clock(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare_folders(head: str, backbone: str, size: int, resize: str, given: Any, device: torch.device) -> None:
    """Images a second from files to boxes."""
    ours, theirs = make_pair(head, backbone, size, resize, device)
    ours.eval(), theirs.eval()
    score = 0.1
    ours.prediction_options.score = score
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        write_images(folder, given.images)
        files = sorted(folder.iterdir())
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        found, expected = [], []
        for number in range(max(2, given.rounds // 4)):
            start = time.perf_counter()
            found = foveal_folder(ours, folder, Path(name) / f"out{number}", given.precision, device)
            times["ours"].append(time.perf_counter() - start)
            start = time.perf_counter()
            expected = torchvision_folder(theirs, files, device)
            times["theirs"].append(time.perf_counter() - start)
    rates = {side: len(files) / min(values) for side, values in times.items()}
    ratio, common = rates["ours"] / rates["theirs"], agreement(found, expected, score)
    print(
        f"folder of {len(files)} files, {PUBLISHED[head, backbone].name}, foveal in {given.precision}: "
        f"foveal {rates['ours']:.2f} images a second, torchvision {rates['theirs']:.2f}, {ratio:.2f} times; "
        f"{100 * common:.1f} % of torchvision's boxes found",
        flush=True,
    )


def write_images(folder: Path, number: int) -> None:
    """Drawn scenes as JPEG files of 640 x 480."""
    folder.mkdir()
    world = ShapesWorld("detection", "test", images=number, size=(480, 640))
    for index in range(number):
        Image.fromarray(world[index]["image"]).save(folder / f"{index:04d}.jpg", quality=90)


def foveal_folder(task: DetectionTask, folder: Path, out: Path, precision: Any, device: torch.device) -> list[Any]:
    """What `foveal predict` does, and its predictions."""
    kept: list[Any] = []
    with RunFolder(out, {}, NAMES) as run:
        writer = FolderWriter(run, list_inputs([str(folder)], run.inputs))
        write = writer.write
        writer.write = lambda prediction, name: (kept.append(prediction), write(prediction, name))[1]
        predict_files(task, writer, Running(device=device, batch_size=4, num_workers=1, precision=precision))
        writer.finish({})
    return sorted(kept, key=lambda prediction: prediction["path"])


@torch.inference_mode()
def torchvision_folder(
    network: nn.Module, files: Sequence[Path], device: torch.device
) -> list[dict[str, torch.Tensor]]:
    """The usual loop."""
    results = []
    for file in files:
        image = to_tensor(Image.open(file).convert("RGB")).to(device)
        results.append({key: value.cpu() for key, value in network([image])[0].items()})
    return results


def agreement(found: Sequence[Any], expected: Sequence[dict[str, torch.Tensor]], score: float) -> float:
    """The share of `expected` boxes, of twice the least score, that are among `found`."""
    hits = total = 0
    for own, other in zip(found, expected, strict=True):
        sure = other["scores"] > 2 * score
        boxes, labels = other["boxes"][sure], other["labels"][sure] - 1
        near = (box_iou(boxes, own["boxes"]) > 0.9) & (labels[:, None] == own["labels"])
        hits, total = hits + int(near.any(dim=1).sum()), total + len(boxes)
    return hits / max(1, total)


def compare_metrics() -> None:
    """COCO's numbers by both tools."""
    rng = np.random.default_rng(0)
    found, truths = [], []
    for _ in range(500):
        corners = rng.uniform(0, 500, (100, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(5, 140, (100, 2))], axis=1)
        labels = rng.integers(0, len(CLASSES), 100)
        objects = boxes[:10] + rng.normal(0, 4, (10, 4))
        none = np.zeros(10, bool)
        found.append(Found(boxes, rng.random(100), labels))
        truths.append(Truth(objects, labels[:10], none, none, (objects[:, 2:] - objects[:, :2]).prod(axis=1)))
    seconds, numbers = {}, {}
    for name, fast in (("pycocotools", False), ("hotcoco", True)):
        start = time.perf_counter()
        numbers[name] = average_precision(found, truths, len(CLASSES), fast=fast).numbers
        seconds[name] = time.perf_counter() - start
    largest = max(abs(numbers["hotcoco"][key] - value) for key, value in numbers["pycocotools"].items())
    print(
        f"COCO's numbers of 500 images, 50,000 detections: pycocotools {seconds['pycocotools']:.2f} s, hotcoco "
        f"{seconds['hotcoco']:.2f} s, {seconds['pycocotools'] / seconds['hotcoco']:.0f} times; difference {largest:.1e}"
    )


if __name__ == "__main__":
    main()
