"""`foveal predict` on a folder beside its limits and beside the loop that people write; and on a million files.

    python benchmarks/predict.py [speed] [million] [--networks NAME,...] [--sizes WxH,...] [--images N] [--batch N]
                                 [--precision 32|bf16] [--compile] [--engine torch|onnx|openvino] [--rounds N]
                                 [--files N]

`speed`: for each network (resnet50, mobilenet_v2: classification; deeplabv3: segmentation; ssd300: detection) and each
size of drawn JPEG files, images a second of (a) the model alone on ready batches, (b) reading alone on all cores, (c)
the usual loop, one image at a time by Pillow, in float32, and of foveal with all that it writes, in turn. On a CPU (a)
and (b) share the cores: the limit is one image in the sum of their times, and the goal 0.9 of that; on a GPU it is the
slower of both, and the goal 0.95. Against (c) the goal is 2.5 times, and 8 times with openvino.

`million`: a folder of hard links to a few JPEGs, predicted by a network of one number: memory above a run over 1,000
files, seconds to the first result, and the rate of the last 10,000 files beside that of the first. The goals are 40 MB,
5 s and 0.98.
"""

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from foveal.core.data import DataOptions, preprocessing
from foveal.core.engine_options import ENGINES
from foveal.core.engines import accelerate
from foveal.core.input_list import list_inputs
from foveal.core.pool import Done, Pool
from foveal.core.predict import Running, find_device, predict_files
from foveal.core.reading import Reading, parts_of
from foveal.core.run_folder import RunFolder
from foveal.core.task import Task
from foveal.core.writers import NAMES, FolderWriter
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.classification.options import ClassificationOptions
from foveal.tasks.classification.task import ClassificationTask
from foveal.tasks.detection.options import DetectionOptions
from foveal.tasks.detection.task import DetectionTask
from foveal.tasks.segmentation.options import SegmentationOptions
from foveal.tasks.segmentation.task import SegmentationTask

PARTS = ("speed", "million")
NETWORKS = ("resnet50", "mobilenet_v2", "deeplabv3", "ssd300")
CLASSES = [f"class {number}" for number in range(1000)]
SIDES = {"resnet50": 224, "mobilenet_v2": 224, "deeplabv3": 384, "ssd300": 300}  # of the network's input


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--sizes", default="500x375,4000x3000")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--engine", choices=ENGINES, default="torch")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--one", help=argparse.SUPPRESS)  # of `million`: the folder of a run in its own process
    given = parser.parse_args()
    if given.one:
        predict_links(Path(given.one))
        return
    if "speed" in given.parts:
        for name in given.networks.split(","):
            for size in given.sizes.split(","):
                width, height = map(int, size.split("x"))
                compare(name, width, height, given)
    if "million" in given.parts:
        compare_memory(given.files)


# --- speed ------------------------------------------------------------------------------------------------------------


def compare(name: str, width: int, height: int, given: argparse.Namespace) -> None:
    """Print the four rates of one network and one size."""
    device = find_device("auto")
    task, theirs = make_task(name), make_theirs(name).to(device).eval()
    chosen = {"engine": given.engine, "compiled": given.compile, "precision": given.precision}
    accelerate(task, device, **chosen, batch_size=given.batch)
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder) / "in", given.images, width, height)
        few = files[: max(8, given.images // 8)]  # the usual loop is slow
        running = Running(device=device, batch_size=given.batch, precision=given.precision)
        ready = read_batches(task, files, running)
        ways: dict[str, Callable[[], float]] = {
            "model": lambda: rate(sum(len(each["path"]) for each in ready), lambda: run_model(task, ready, running)),
            "reading": lambda: rate(len(files), lambda: sum(1 for _ in batches_of(task, files, running, cores()))),
            "loop": lambda: rate(len(few), lambda: usual_loop(name, theirs, few, device, Path(folder) / "loop.jsonl")),
            "foveal": lambda: rate(len(files), lambda: predict_folder(task, Path(folder), running)),
        }
        measured = {way: [] for way in ways}
        for turn in range(given.rounds + 1):
            for way, measure in ways.items():
                value = measure()
                if turn:  # the first round warms up
                    measured[way].append(value)
    median = {way: statistics.median(values) for way, values in measured.items()}
    limit = min(median["model"], median["reading"])
    if device.type == "cpu":
        limit = 1 / (1 / median["model"] + 1 / median["reading"])
    engine = f"{given.engine}{' compiled' * given.compile} {given.precision}, {device.type}"
    print(
        f"{name}, {width} x {height}, {engine}: model {median['model']:.1f}, reading {median['reading']:.1f}, usual "
        f"loop {median['loop']:.1f}, foveal {median['foveal']:.1f} images a second; {median['foveal'] / limit:.2f} of "
        f"the limit, {median['foveal'] / median['loop']:.1f} times the loop",
        flush=True,
    )


def make_task(name: str) -> Task:
    """The network in foveal, of random weights that keep maps in scale."""
    torch.manual_seed(0)
    wanted = preprocessing(DataOptions(size=SIDES[name], resize="crop" if name in NETWORKS[:2] else "squash"))
    if name == "deeplabv3":
        options = SegmentationOptions(backbone="resnet50", head="deeplabv3")
        return SegmentationTask(options, class_names=CLASSES[:21], preprocessing=wanted).eval()
    if name == "ssd300":
        options = DetectionOptions(backbone="vgg16", head="ssd")
        return DetectionTask(options, class_names=CLASSES[:20], preprocessing=wanted).eval()
    return ClassificationTask(ClassificationOptions(backbone=name), class_names=CLASSES, preprocessing=wanted).eval()


def make_theirs(name: str) -> nn.Module:
    """The network of the same kind by torchvision."""
    if name == "deeplabv3":
        return torchvision.models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None)
    if name == "ssd300":
        return torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None, num_classes=21)
    return torchvision.models.get_model(name, weights=None)


def write_files(folder: Path, number: int, width: int, height: int) -> list[Path]:
    """Drawn scenes as JPEG files: sixteen different ones, the rest links to them."""
    folder.mkdir()
    world = ShapesWorld("detection", "test", images=16, size=(height, width))
    files = [folder / f"{index:06d}.jpg" for index in range(number)]
    for index, file in enumerate(files):
        if index < len(world):
            Image.fromarray(world[index]["image"]).save(file, quality=90)
        else:
            os.link(files[index % len(world)], file)
    return files


def batches_of(task: Task, files: list[Path], running: Running, workers: int) -> Iterator[Any]:
    """What the processes of a run read."""
    reading = Reading((task.transform("none"),), None, running.batch_size, preprocessings=(task.preprocessing,))
    with tempfile.TemporaryDirectory() as folder, Pool(reading, workers, 100) as pool:
        inputs = list_inputs([str(files[0].parent)], Path(folder) / "list")
        for result in pool.run(job for job, _ in reading.jobs(inputs.read())):
            if isinstance(result, Done):
                yield result.value


def read_batches(task: Task, files: list[Path], running: Running) -> list[Any]:
    """At most four of them."""
    found = []
    for read in batches_of(task, files[: 4 * running.batch_size], running, 0):
        for (batch,) in read.parts(running.device, running.batch_size):
            batch.pop("part")
            found.append(batch)
        if len(found) == 4:
            break
    return found


@torch.inference_mode()
def run_model(task: Task, ready: list[Any], running: Running) -> None:
    """`task.predict` on ready batches, in parts that suit the device."""
    task.to(running.device).to(memory_format=torch.channels_last)
    size = running.together
    with torch.autocast(running.device.type, torch.bfloat16, enabled=running.precision == "bf16"):
        for batch in ready:
            for part in parts_of(batch, size):
                task.predict(part)


def usual_loop(name: str, network: nn.Module, files: list[Path], device: torch.device, out: Path) -> None:
    """One image at a time, by Pillow, in float32, and a line of JSON each."""
    side = SIDES[name]
    resize = [v2.Resize(256), v2.CenterCrop(224)] if name in NETWORKS[:2] else [v2.Resize((side, side))]
    scale = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    normalise = [] if name == "ssd300" else [v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    prepare = v2.Compose([*resize, *scale, *normalise])
    with out.open("w") as lines, torch.no_grad():
        for file in files:
            image = prepare(Image.open(file).convert("RGB")).to(device)
            found = network([image]) if name == "ssd300" else network(image[None])
            lines.write(json.dumps({"path": str(file), "result": plain(name, found, file)}) + "\n")


def plain(name: str, found: Any, file: Path) -> Any:
    """What the usual loop keeps."""
    if name == "ssd300":
        return {key: value.tolist() for key, value in found[0].items()}
    if name == "deeplabv3":
        mask = found["out"][0].argmax(dim=0).to(torch.uint8).cpu().numpy()
        whole = Image.fromarray(mask).resize(Image.open(file).size, Image.Resampling.NEAREST)
        whole.save(file.parents[1] / "mask.png")
        return mask.shape
    scores, labels = found[0].softmax(dim=0).topk(5)
    return [labels.tolist(), scores.tolist()]


def predict_folder(task: Task, folder: Path, running: Running) -> None:
    """`foveal predict`, without its start."""
    with RunFolder(folder / "out", {}, NAMES, overwrite=True) as run:
        writer = FolderWriter(run, list_inputs([str(folder / "in")], run.inputs))
        predict_files(task, writer, running)
        writer.finish({})


def rate(count: int, work: Callable[[], Any]) -> float:
    """Images a second."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


# --- a million files --------------------------------------------------------------------------------------------------


def compare_memory(number: int) -> None:
    """Print the memory, start and rates of a run over `number` files beside one over 1,000."""
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for count in (1_000, number):
            link_files(Path(folder) / str(count) / "in", count)
            line = [sys.executable, __file__, "--one", str(Path(folder) / str(count))]
            found[count] = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    few, many = found[1_000], found[number]
    print(
        f"{number:,} files: {many['megabytes']:.0f} MB, {many['megabytes'] - few['megabytes']:.0f} MB above 1,000; "
        f"listed in {many['listing']:.1f} s, first result {many['first']:.1f} s after that; {many['rate']:.0f} files a "
        f"second, the last 10,000 at {many['last'] / many['start']:.2f} of the first's rate"
    )


def link_files(folder: Path, number: int) -> None:
    """Hard links to a small JPEG, 50,000 to each copy: a file system takes 65,000."""
    folder.mkdir(parents=True)
    source = folder
    for index in range(number):
        if index % 50_000 == 0:
            source = folder.parent / f"{index}.jpg"
            Image.fromarray(ShapesWorld("detection", images=1, size=64)[0]["image"]).save(source)
        os.link(source, folder / f"{index:07d}.jpg")


def predict_links(folder: Path) -> None:
    """Predict a folder of links, and print what it took as JSON."""
    torch.set_num_threads(1)
    task = ClassificationTask(
        ClassificationOptions(backbone="lenet5"),
        class_names=["a", "b"],
        preprocessing=preprocessing(DataOptions(size=32, grey=True)),
    )
    times: list[float] = []
    with RunFolder(folder / "out", {}, NAMES) as run:
        began = time.perf_counter()
        inputs = list_inputs([str(folder / "in")], run.inputs)
        listed = time.perf_counter()
        writer = FolderWriter(run, inputs)
        with noted(writer, times):
            predict_files(task, writer, Running(device=torch.device("cpu"), batch_size=100))
        writer.finish({})
    size = len(times)
    tenth = max(1, min(100, size // 3))  # batches of 100
    found = {
        "megabytes": memory(),
        "listing": listed - began,
        "first": times[0] - listed,
        "rate": 100 * size / (times[-1] - listed),
        "start": tenth / (times[tenth] - times[0]),
        "last": tenth / (times[-1] - times[-1 - tenth]),
    }
    print(json.dumps(found))


@contextmanager
def noted(writer: FolderWriter, times: list[float]) -> Iterator[None]:
    """When each batch was done."""
    finish = writer.finish_inputs

    def note(count: int, offset: int) -> None:
        finish(count, offset)
        times.append(time.perf_counter())

    writer.finish_inputs = note
    yield
    writer.finish_inputs = finish


def memory() -> float:
    """The largest memory of this process so far, and of those that read for it, in MB."""
    own = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024  # type: ignore[index]
    return own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


if __name__ == "__main__":
    main()
