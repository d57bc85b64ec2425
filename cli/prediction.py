"""What `foveal predict` does once its command line is understood."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import DataError, Interrupted, UsageError
from ..core.folders import digest_of
from ..core.inputs import find_checkpoint
from ..core.options import PredictionOptions
from ..core.run_folder import PAIRS
from ..core.sequences import list_sequences
from ..core.stop import Stop
from ..tasks import is_ready_made
from .comparison import caution, compare, find_pairs, listed_pairs
from .targets import find_targets

if TYPE_CHECKING:
    import torch

    from ..core.depth_files import Camera
    from ..core.input_list import InputList
    from ..core.predict import Running
    from ..core.run_folder import RunFolder
    from ..core.sharing import SharedBackbone
    from ..core.task import Task
    from ..core.writers import FolderWriter

# What results depend on.
_RESULTS = ("precision", "engine", "compile", "batch_size", "every", "exact", "draw", "report", "crop_margin")
_FILES = ("gallery", "detector")  # that options name
_WISHES = {"crops": "--save-crops", "ply": "--focal or --intrinsics"}  # that ask for a format too
FEW = 4  # images a step, where they are as large as their files
_TASK_OPTIONS = tuple(field.name for field in fields(PredictionOptions))


@dataclass
class _Model:
    """One of the models of a command line, and where its results go."""

    name: str  # as it was given
    task: "Task"
    formats: tuple[str, ...]
    out: Path


def predict(given: Any) -> int:
    """Predict with each of `given.models`; returns the exit code 0.

    Raises DataError where more files than `given.max_bad` could not be read, and what else may end a run.
    """
    import cv2

    from ..core.fit import quiet
    from ..core.predict import find_device
    from ..core.run_folder import RunFolder
    from ..core.writers import NAMES

    quiet()
    cv2.setNumThreads(0)  # readers are processes and writers threads of their own
    device = find_device(given.device)
    models = _load(given)
    few = FEW if given.detector is not None else None
    given.batch_size = given.batch_size or few or _trained_batch_size(models[0].task) or 32
    with ExitStack() as stack:
        runs = [
            stack.enter_context(RunFolder(model.out, _identity(given, model, device), NAMES, overwrite=given.overwrite))
            for model in models
        ]
        for model, run in zip(models, runs, strict=True):
            if run.summary is not None:
                _say(f"Done already: this very command has left {model.out}; --overwrite does it again.")
        left = [(model, run) for model, run in zip(models, runs, strict=True) if run.summary is None]
        done = iter(_run(given, left, device) if left else [])
        summaries = [run.summary or next(done) for run in runs]
        wrong = sum(compare(given.pairs, model.task, model.out, _say) for model in models if given.pairs is not None)
    worst = max(range(len(summaries)), key=lambda number: summaries[number]["failed"])
    code = verdict(summaries[worst], runs[worst].path, given.max_bad)
    if wrong > given.max_bad:
        raise DataError(f"{wrong} pair{'s' * (wrong > 1)} could not be compared; {PAIRS} in {given.out} says why.")
    return code


def verdict(summary: dict[str, Any], out: Path, max_bad: int) -> int:
    """0; raises DataError where more files could not be read than are allowed."""
    if summary["failed"] > max_bad:
        files = summary["inputs"]["images"] + summary["inputs"]["videos"]
        of = f"of {files} files" if summary["failed"] <= files else "files and frames"
        raise DataError(
            f"{summary['failed']} {of} could not be read; failures.jsonl in {out} names them with the "
            "reason. All others are written."
        )
    return 0


def _load(given: Any) -> list[_Model]:
    from ..tasks import load

    tasks = [load(name, weights=given.weights) for name in given.models]
    _check_options(given, tasks)
    if any(task.SEQUENTIAL for task in tasks):
        given.sequences = list_sequences(given.paths, given.out)
        given.targets = find_targets(given.sequences, given.box, given.select)
    if given.gallery is None and any(task.COMPARES for task in tasks):
        given.pairs = find_pairs(given.paths)
    if given.pairs is not None and given.shard:
        raise UsageError("--shard is for many images; what is compared is compared in one run: leave it out.")
    for task in tasks:
        task.predict_by(_task_options(given, task))
    _check_formats(given, tasks)
    models: list[_Model] = []
    taken: list[Path] = []
    for name, task in zip(given.models, tasks, strict=True):
        out = given.out if len(tasks) == 1 else _free(given.out / _short(name), taken)
        taken.append(out)
        shard = "shard-{}-of-{}".format(*given.shard) if given.shard else ""
        models.append(_Model(name, task, _formats(given, task), out / shard))
    return models


def _short(name: str) -> str:
    """A name for a folder: of a run its own, of a file its stem, of a ready-made model the last part."""
    path = Path(os.path.abspath(name))
    return path.parent.name if path.name in ("best.ckpt", "last.ckpt") else path.name.removesuffix(".ckpt") or "root"


def _free(folder: Path, taken: Sequence[Path]) -> Path:
    number, free = 1, folder
    while free in taken:
        number += 1
        free = folder.with_name(f"{folder.name}~{number}")
    return free


def _run(given: Any, left: Sequence[tuple[_Model, "RunFolder"]], device: "torch.device") -> list[dict[str, Any]]:
    """Predict what is not predicted yet; returns the summaries."""
    from ..core.predict import Running, predict_together

    inputs = _inputs(given, [run for _, run in left])
    tasks = [model.task for model, _ in left]
    names = ("batch_size", "num_workers", "precision", "every", "exact", "timeout")
    running = Running(device=device, **{name: getattr(given, name) for name in names})
    shared = _ready(given, tasks, running)  # before a writer begins the run: an engine's refusal leaves nothing behind
    writers = [_writer(given, model, run, own) for (model, run), own in zip(left, inputs, strict=True)]
    done = min(writer.done for writer in writers)
    rest = f", {done} are done already" if done else ""
    with Stop() as stop:
        place = left[0][0].out if len(left) == 1 else given.out
        _say(f"{_counted(inputs[0])} to predict{rest}; results in {place}")
        try:
            predict_together(tasks, writers, running, stop.check)
        except Interrupted as error:
            done = min(writer.stop() for writer in writers)
            files = len(inputs[0])
            raise Interrupted(f"{error} {done} of {files} files are done; the same command goes on.") from None
    for each in shared:
        _say(f"The backbone that {each.tasks} models have in common ran once for them: {each.saved:.1f} s saved.")
    saved = round(sum(each.saved for each in shared), 3)
    return [_finish(given, model, writer, saved) for (model, _), writer in zip(left, writers, strict=True)]


def _ready(given: Any, tasks: Sequence["Task"], running: "Running") -> list["SharedBackbone"]:
    """Let what was asked for compute the networks; returns the backbones that several have in common."""
    from ..core.engines import accelerate
    from ..core.sharing import share_backbones

    if given.engine == "torch" and not given.compile:
        return [] if tasks[0].SEQUENTIAL else share_backbones(tasks)  # one goes through a batch, and then the other
    chosen = {"engine": given.engine, "compiled": given.compile, "precision": given.precision}
    for task in tasks:
        accelerate(task, running.device, **chosen, batch_size=running.together, say=_say)
    return []


def _inputs(given: Any, runs: Sequence["RunFolder"]) -> list["InputList"]:
    """Of each run the list of its inputs, which is listed once."""
    from ..core.input_list import InputList, find_doubled, list_inputs, take_shard, write_list

    begun = next((run for run in runs if run.state is not None), None)
    if begun is not None and begun.state is not None:
        listed = InputList.from_plain(begun.state["inputs"], begun.inputs)
    else:
        named = given.sequences if given.targets is not None else listed_pairs(given.pairs)
        listed = (
            write_list(runs[0].inputs, named)
            if named is not None
            else list_inputs(given.paths, runs[0].inputs, leave_out=given.out)
        )
        listed = find_doubled(listed) if {"yolo", "crops"}.intersection(_format_names(given)) else listed
        listed = take_shard(listed, *given.shard) if given.shard else listed
    for run in runs:
        if run.state is None and run.inputs != listed.file:
            shutil.copyfile(listed.file, run.inputs)
    return [InputList.from_plain(listed.as_plain(), run.inputs) for run in runs]


def _writer(given: Any, model: _Model, run: "RunFolder", inputs: "InputList") -> "FolderWriter":
    from ..core.formats import Formats
    from ..core.report import Report
    from ..core.writers import FolderWriter

    task = model.task
    options = task.prediction_options
    formats = Formats(
        model.formats,
        task.class_names,
        given.crop_margin,
        options.bits,
        depth_scale=options.depth_scale,
        camera=_camera(options),
        about={**task.about(), "model": _described(model)},
    )
    report = Report(task.draw, _described(model)) if given.report else None
    draw = task.draw if given.draw else None
    return FolderWriter(run, inputs, every=given.every, draw=draw, formats=formats, report=report)


def _camera(options: PredictionOptions) -> "Camera | None":
    from ..core.depth_files import Camera

    if options.intrinsics is not None:
        return Camera(*options.intrinsics)
    return Camera(options.focal, options.focal) if options.focal is not None else None


def _finish(given: Any, model: _Model, writer: "FolderWriter", saved: float) -> dict[str, Any]:
    from ..core.engines import engine_versions
    from ..core.task import versions

    shared = {"shared_seconds": saved} if saved else {}
    used = {**versions(), **engine_versions(given.engine)}
    summary = writer.finish({"task": model.task.name, "versions": used, **shared})
    what = "images and frames" if writer.inputs.videos else "images"
    _say(
        f"Done: {summary['predicted']} {what} predicted, {summary['failed']} unreadable, {summary['seconds']:.1f} s "
        f"({summary['rate']:.0f} images/s); results in {model.out}"
    )
    if said := caution(model.task):
        _say(said)
    return summary


def _identity(given: Any, model: _Model, device: "torch.device") -> dict[str, Any]:
    """What the results depend on."""
    relative = any(not os.path.isabs(path) for path in given.paths)
    return {
        "paths": given.paths,
        **({"working folder": os.getcwd()} if relative else {}),
        "checkpoint": _digest_of(model.name, given.weights),
        "device": device.type,
        **({"shard": given.shard} if given.shard else {}),
        **{name: getattr(given, name) for name in _RESULTS},
        "formats": list(model.formats),
        **{option(name): value for name, value in asdict(model.task.prediction_options).items() if name != "targets"},
        **({"--box": _said_boxes(given.targets)} if given.targets else {}),
        **({"pairs": given.pairs.digest} if given.pairs is not None else {}),
        **{f"{name} file": digest_of(getattr(given, name)) for name in _FILES if getattr(given, name) is not None},
    }


def _said_boxes(targets: dict[str, list[list[float]]]) -> Any:
    """The boxes as a command line has them; of several sequences a digest."""
    if len(targets) > 1:
        return hashlib.sha256(json.dumps(targets).encode()).hexdigest()
    boxes = next(iter(targets.values()))
    return [",".join(f"{value:g}" for value in (x1, y1, x2 - x1, y2 - y1)) for x1, y1, x2, y2 in boxes]


def _digest_of(name: str, weights: Path | None) -> str:
    """A digest of the weights; of a ready-made model its name too, for a file of weights says no more."""
    if not is_ready_made(name):
        return digest_of(find_checkpoint(name))
    from ..tasks.ready_made import find_ready_made, weights_file

    return f"{name} {digest_of(weights_file(find_ready_made(name), weights))}"


def _say(text: str) -> None:
    """A line for people, who may have gone: a run does not end with the terminal that it was started from."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for as long as the process lives


def _given_options(given: Any) -> dict[str, Any]:
    return {name: getattr(given, name) for name in _TASK_OPTIONS if getattr(given, name) is not None}


def _check_options(given: Any, tasks: Sequence["Task"]) -> None:
    """Raise UsageError for an option that means nothing to any of the tasks, and for one that is for a single task."""
    sequential = [task.SEQUENTIAL for task in tasks]
    if (given.box or given.select) and not all(sequential):
        raise UsageError(f"{'--box' if given.box else '--select'} is for trackers, and {tasks[0].name} is none.")
    if any(sequential) and not all(sequential):
        raise UsageError("A tracker goes through videos frame by frame: give it a command without other models.")
    for name in _given_options(given):
        if not any(name in task.PREDICTION_OPTIONS for task in tasks):
            task = tasks[0]
            taken = ", ".join(option(other) for other in task.PREDICTION_OPTIONS) or "none of these options"
            raise UsageError(f"{option(name)} means nothing to {task.name}; it takes {taken}.")
    if len(tasks) > 1 and given.tile is not None:
        raise UsageError("--tile is for one model at a time: give each a command of its own.")
    if len(tasks) > 1 and given.weights is not None:
        raise UsageError("--weights is for one ready-made model: give each a command of its own.")


def _check_formats(given: Any, tasks: Sequence["Task"]) -> None:
    """Raise UsageError for a format that is unknown, or that can hold nothing that any of the tasks finds."""
    from ..core.writers import FORMATS, OF_ALL_TASKS, check_formats

    check_formats(given.formats)
    if given.blur_unknown and not (given.draw or given.report):
        raise UsageError("--blur-unknown is of drawn pictures; add --draw.")
    if given.blur_unknown and "crops" in _format_names(given):
        raise UsageError("--blur-unknown hides faces that --formats crops would write as they are: leave one out.")
    if "ply" in given.formats and given.focal is None and given.intrinsics is None:
        raise UsageError(
            "--formats ply needs the camera: give --focal PIXELS, its focal length in pixels of the image files, or "
            "--intrinsics FX,FY,CX,CY."
        )
    for name in _format_names(given):
        if name not in OF_ALL_TASKS and not any(name in task.formats() for task in tasks):
            wish = f"--formats {name}" if name in given.formats else _WISHES[name]
            taken = ",".join((*tasks[0].formats(), *OF_ALL_TASKS))
            raise UsageError(
                f"{wish} is of {FORMATS[name].subject()}, and {tasks[0].name} finds none; it takes --formats {taken}."
            )


def _task_options(given: Any, task: "Task") -> PredictionOptions:
    """Of what was given on the command line, what means something to the task."""
    wanted = _given_options(given)
    return PredictionOptions(**{name: wanted[name] for name in wanted if name in task.PREDICTION_OPTIONS})


def _formats(given: Any, task: "Task") -> tuple[str, ...]:
    """Of the formats that were asked for, those that can hold what the task finds."""
    from ..core.writers import OF_ALL_TASKS

    wanted = (*_format_names(given), *task.ALWAYS)
    return tuple(dict.fromkeys(name for name in wanted if name in (*task.formats(), *OF_ALL_TASKS)))


def _format_names(given: Any) -> tuple[str, ...]:
    camera = given.focal is not None or given.intrinsics is not None
    return (*given.formats, *(["crops"] if given.save_crops else []), *(["ply"] if camera else []))


def option(name: str) -> str:
    """How a command line calls an entry."""
    return f"--{name.replace('_', '-')}"


def _described(model: _Model) -> str:
    """The model in a few words."""
    recipe = model.task.recipe.get("model", {})
    parts = [recipe[key] for key in ("head", "backbone") if isinstance(recipe.get(key), str)]
    classes = len(model.task.class_names)
    return ", ".join([model.name, *parts, *([f"{classes} classes"] if classes else [])])


def _trained_batch_size(task: "Task") -> int | None:
    size = task.recipe.get("data", {}).get("batch_size")
    return size if isinstance(size, int) and size > 0 else None


def _counted(inputs: "InputList") -> str:
    images, videos = f"{inputs.images} images", f"{inputs.videos} video{'s' * (inputs.videos > 1)}"
    counted = f"{images} and {videos}" if inputs.images and inputs.videos else videos if inputs.videos else images
    return counted + (f" ({inputs.left_out} hidden files left out)" if inputs.left_out else "")
