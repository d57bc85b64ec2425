"""`foveal predict CKPT PATH...`: results for image and video files, as JSON lines and CSV, drawn or in the formats of
others on request.

A run that was stopped or killed goes on when the same command is given again.
"""

import hashlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import DataError, Interrupted, UsageError
from ..core.inputs import find_checkpoint
from ..core.options import PredictionOptions
from ..core.stop import Stop
from ..tasks import is_ready_made
from .main import CommandParser

if TYPE_CHECKING:
    import torch

    from ..core.input_list import InputList
    from ..core.run_folder import RunFolder
    from ..core.task import Task

_RESULTS = ("precision", "batch_size", "every", "exact", "draw", "report", "crop_margin")  # what results depend on
_TASK_OPTIONS = tuple(field.name for field in fields(PredictionOptions))


def run(arguments: list[str]) -> int:
    """Predict; 0 if every file could be read (or no more than --max-bad could not), 3 otherwise."""
    parser = CommandParser("foveal predict", __doc__)
    _add_arguments(parser)
    _add_task_options(parser)
    given = parser.parse_args(arguments)
    _check_numbers(given)
    if not re.fullmatch(r"auto|cpu|mps|gpu|cuda(:\d+)?", given.device):
        raise UsageError(f"--device is {given.device}; give auto, cpu, cuda, cuda:N, gpu or mps.")
    if given.overlap is not None and given.tile is None:
        raise UsageError("--overlap is that of tiles, and there are none; give --tile PIXELS too.")
    given.leave_out = given.out
    if given.shard:
        given.out = given.out / "shard-{}-of-{}".format(*given.shard)
    if not is_ready_made(given.checkpoint):
        find_checkpoint(given.checkpoint)
    return _predict(given)


def _add_arguments(parser: CommandParser) -> None:
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="CKPT",
        help="a .ckpt file, the folder of a run (its best.ckpt), or a ready-made model, as imagenet/resnet50 (`foveal "
        "list models` shows them all)",
    )
    add(
        "paths",
        metavar="PATH",
        nargs="+",
        help="image and video files, folders, globs, zip and tar archives, s3://... and other addresses, @list.txt "
        "with a path a line, or - for such a list from standard input",
    )
    add("--out", type=Path, default=Path("predictions"), metavar="DIR", help="folder for the results")
    add("--weights", type=Path, metavar="FILE", help="of a ready-made model, in place of the download")
    add("--draw", action="store_true", help="also write each image or video with its results to OUT/pictures")
    add("--formats", type=_names, default=(), metavar="LIST", help="of boxes: coco,yolo,crops; of masks: coco; parquet")
    add("--report", action="store_true", help="also make a page to look at, of pictures and counts: OUT/report.html")
    add("--save-crops", action="store_true", help="also cut each box out of its image: OUT/crops/CLASS")
    add("--crop-margin", type=float, default=0.0, metavar="SHARE", help="of its sides, around each crop (default: 0)")
    add("--every", type=int, default=1, metavar="N", help="of videos each N-th frame (default: 1)")
    add("--batch-size", type=int, metavar="N", help="images a step (default: as in training)")
    add("--num-workers", type=int, metavar="N", help="processes that read images (default: by the cores)")
    add("--timeout", type=float, default=120.0, metavar="S", help="seconds that reading a file may take (default: 120)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N, gpu or mps")
    add("--precision", choices=("32", "bf16"), default="32", help="bf16 is faster on most GPUs (default: 32)")
    add("--exact", action="store_true", help="decode large JPEGs in full, not at a half, a quarter or an eighth")
    add("--max-bad", type=int, default=0, metavar="N", help="unreadable files that are still a success")
    add(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="only the I-th of N parts, into OUT/shard-I-of-N; see `foveal merge`",
    )
    add("--overwrite", action="store_true", help="replace the results in --out")


def _add_task_options(parser: CommandParser) -> None:
    """Those of PredictionOptions, each None where it is not given."""
    add = parser.add_argument_group("of some tasks").add_argument
    add("--top-k", type=int, metavar="K", help="classes to name (default: 5)")
    add("--score", type=float, metavar="S", help="leave out what is less sure (default: what validation found best)")
    add("--nms-iou", type=float, metavar="IOU", help="boxes of a class that overlap by more are one object")
    add("--nms", choices=("hard", "soft"), help="soft lowers the scores of such boxes instead (default: hard)")
    add("--class-agnostic", action="store_true", default=None, help="so do boxes of different classes")
    add("--flip", action="store_true", default=None, help="predict each image mirrored too, and join the results")
    add("--scales", type=_numbers, metavar="LIST", help="predict at these sizes, as 0.75,1,1.25, and join the results")
    add("--tile", type=int, metavar="PIXELS", help="predict squares of this side, and join the results")
    add("--overlap", type=float, metavar="SHARE", help="of neighbouring tiles, at least (default: 0.2)")
    add("--crf", type=int, metavar="STEPS", help="of a fully connected CRF, which draws outlines to the image's")
    add("--probabilities", action="store_true", default=None, help="also write those of all classes, a .npy each")


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard is {text}; it must be I/N, as 2/8 for the second of eight parts.")
    return int(match[1]), int(match[2])


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(name) for name in _names(text))


# What each number may be.
_ONE_OR_MORE: tuple[Callable[[float], bool], str] = (lambda value: value >= 1, "1 or more")
_SHARE: tuple[Callable[[float], bool], str] = (lambda value: 0 <= value <= 1, "from 0 to 1")
_BOUNDS: dict[str, tuple[Callable[[float], bool], str]] = {
    "top_k": _ONE_OR_MORE,
    "batch_size": _ONE_OR_MORE,
    "every": _ONE_OR_MORE,
    "timeout": (lambda value: value > 0, "above 0"),
    "max_bad": (lambda value: value >= 0, "0 or more"),
    "score": _SHARE,
    "nms_iou": _SHARE,
    "crop_margin": (lambda value: 0 <= value <= 10, "from 0 to 10"),
    "tile": (lambda value: value >= 32, "32 or more pixels"),
    "overlap": (lambda value: 0 <= value <= 0.9, "from 0 to 0.9"),
    "crf": (lambda value: 0 <= value <= 100, "from 0 to 100"),
}


def _check_numbers(given: Any) -> None:
    for name, (good, expected) in _BOUNDS.items():
        value = getattr(given, name)
        if value is not None and not good(value):
            raise UsageError(f"{_option(name)} is {value}; it must be {expected}.")
    if given.scales is not None and not (given.scales and all(0.1 <= scale <= 10 for scale in given.scales)):
        raise UsageError("--scales takes one number or more from 0.1 to 10, with commas between.")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _predict(given: Any) -> int:
    from ..core.fit import quiet
    from ..core.predict import find_device
    from ..core.run_folder import RunFolder
    from ..core.writers import NAMES
    from ..tasks import load

    quiet()
    device = find_device(given.device)
    task = load(given.checkpoint, weights=given.weights)
    task.prediction_options = _task_options(given, task)
    given.formats = _formats(given, task)
    given.batch_size = given.batch_size or _trained_batch_size(task) or 32
    with RunFolder(given.out, _identity(given, task, device), NAMES, overwrite=given.overwrite) as run:
        summary = run.summary
        if summary is None:
            summary = _run(given, run, task, device)
        else:
            _say(f"Done already: this very command has left {given.out}; --overwrite does it again.")
    return _verdict(given, summary)


def _run(given: Any, run: "RunFolder", task: "Task", device: "torch.device") -> dict[str, Any]:
    """Predict what is not predicted yet; returns the summary."""
    from ..core.formats import Formats
    from ..core.input_list import InputList, list_inputs, take_shard
    from ..core.predict import Running, predict_files
    from ..core.report import Report
    from ..core.task import versions
    from ..core.writers import FolderWriter

    if run.state is None:
        inputs = list_inputs(given.paths, run.inputs, leave_out=given.leave_out)
        inputs = take_shard(inputs, *given.shard) if given.shard else inputs
    else:
        inputs = InputList.from_plain(run.state["inputs"], run.inputs)
    formats = Formats(given.formats, task.class_names, given.crop_margin)
    report = Report(task.draw, _described(given, task)) if given.report else None
    draw = task.draw if given.draw else None
    writer = FolderWriter(run, inputs, every=given.every, draw=draw, formats=formats, report=report)
    _say(f"{_counted(inputs)} to predict{_rest(writer.done)}; results in {given.out}")
    running = Running(
        device=device,
        batch_size=given.batch_size,
        num_workers=given.num_workers,
        precision=given.precision,
        every=given.every,
        exact=given.exact,
        timeout=given.timeout,
    )
    with Stop() as stop:
        try:
            predict_files(task, writer, running, stop.check)
        except Interrupted as error:
            done = writer.stop()
            raise Interrupted(f"{error} {done} of {len(inputs)} files are done; the same command goes on.") from None
    summary = writer.finish({"task": task.name, "versions": versions()})
    what = "images and frames" if inputs.videos else "images"
    _say(
        f"Done: {summary['predicted']} {what} predicted, {summary['failed']} unreadable, {summary['seconds']:.1f} s "
        f"({summary['rate']:.0f} images/s); results in {given.out}"
    )
    return summary


def _verdict(given: Any, summary: dict[str, Any]) -> int:
    if summary["failed"] > given.max_bad:
        files = summary["inputs"]["images"] + summary["inputs"]["videos"]
        raise DataError(
            f"{summary['failed']} of {files} files could not be read; {given.out}/failures.jsonl names them with the "
            "reason. All others are written."
        )
    return 0


def _identity(given: Any, task: "Task", device: "torch.device") -> dict[str, Any]:
    """What the results depend on."""
    relative = any(not os.path.isabs(path) for path in given.paths)
    return {
        "paths": given.paths,
        **({"from": os.getcwd()} if relative else {}),
        "checkpoint": _model(given),
        "device": device.type,
        **({"shard": given.shard} if given.shard else {}),
        **{name: getattr(given, name) for name in _RESULTS},
        "formats": list(given.formats),
        **{_option(name): value for name, value in asdict(task.prediction_options).items()},
    }


def _model(given: Any) -> str:
    """A digest of the weights; of a ready-made model its name too, for a file of weights says no more."""
    if not is_ready_made(given.checkpoint):
        return _digest(find_checkpoint(given.checkpoint))
    from ..tasks.ready_made import find_ready_made, weights_file

    return f"{given.checkpoint} {_digest(weights_file(find_ready_made(given.checkpoint), given.weights))}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _say(text: str) -> None:
    """A line for people, who may have gone: a run does not end with the terminal that it was started from."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for as long as the process lives


def _rest(done: int) -> str:
    return f", {done} are done already" if done else ""


def _task_options(given: Any, task: "Task") -> PredictionOptions:
    """What was given on the command line; raises UsageError for what means nothing to the task."""
    wanted = {name: getattr(given, name) for name in _TASK_OPTIONS if getattr(given, name) is not None}
    for name in wanted:
        if name not in task.PREDICTION_OPTIONS:
            taken = ", ".join(_option(other) for other in task.PREDICTION_OPTIONS) or "none of these options"
            raise UsageError(f"{_option(name)} means nothing to {task.name}; it takes {taken}.")
    return PredictionOptions(**wanted)


def _formats(given: Any, task: "Task") -> tuple[str, ...]:
    """The formats that were asked for; raises UsageError for one that can't hold what the task finds."""
    from ..core.writers import FORMATS, OF_ALL_TASKS, check_formats

    check_formats(given.formats)
    names = (*given.formats, *(["crops"] if given.save_crops else []))
    for name in names:
        if name not in (*task.FORMATS, *OF_ALL_TASKS):
            option = f"--formats {name}" if name in given.formats else "--save-crops"
            taken = ",".join((*task.FORMATS, *OF_ALL_TASKS))
            raise UsageError(
                f"{option} is of {FORMATS[name].subject()}, and {task.name} finds none; it takes --formats {taken}."
            )
    return names


def _described(given: Any, task: "Task") -> str:
    """The model in a few words."""
    model = task.recipe.get("model", {})
    parts = [model[key] for key in ("head", "backbone") if isinstance(model.get(key), str)]
    return ", ".join([given.checkpoint, *parts, f"{len(task.class_names)} classes"])


def _trained_batch_size(task: "Task") -> int | None:
    size = task.recipe.get("data", {}).get("batch_size")
    return size if isinstance(size, int) and size > 0 else None


def _counted(inputs: "InputList") -> str:
    images, videos = f"{inputs.images} images", f"{inputs.videos} video{'s' * (inputs.videos > 1)}"
    counted = f"{images} and {videos}" if inputs.images and inputs.videos else videos if inputs.videos else images
    return counted + (f" ({inputs.left_out} hidden files left out)" if inputs.left_out else "")
