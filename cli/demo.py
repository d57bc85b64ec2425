"""`foveal demo [TASK]`: draw a small data set, train on it, predict on new images, and put truth beside prediction."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ..tasks import TASKS, Demo, demo
from .main import CommandParser

if TYPE_CHECKING:
    import numpy as np

    from ..core.task import Task
    from ..datasets.shapes import ShapesWorld

_ROWS = 8  # of the sheet
_FRESH_SEED = 1  # of the images to predict: another world than that of the training


def run(arguments: list[str]) -> int:
    """Show a task from data to pictures; 0 at the end."""
    parser = CommandParser("foveal demo", __doc__)
    parser.add_argument("task", metavar="TASK", nargs="?", default="classification", help=", ".join(TASKS))
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new or empty folder (default: runs/demo_TASK)")
    given = parser.parse_args(arguments)
    shown = demo(given.task)
    folder = given.out or Path("runs") / f"demo_{given.task}"
    if given.out is None and (folder / "data").is_dir():  # an earlier demonstration, which nobody will miss
        shutil.rmtree(folder)
    _demonstrate(given.task, shown, folder)
    return 0


def _demonstrate(task: str, shown: Demo, folder: Path) -> None:
    from ..core.folders import make_folder, require_empty
    from .draw_data import draw
    from .train import run as train

    require_empty(folder)
    make_folder(folder)
    data, fresh, trained = folder / "data", folder / "fresh", folder / "run"
    scenes = {"portraits": shown.portraits, "level": shown.level}
    asked = "".join(f" --{name}" for name, wanted in scenes.items() if wanted)
    drawn = f"foveal draw-data {shown.format} {data} --images {shown.images} --size {shown.size}{asked}"
    _say(1, "draw a data set", drawn)
    draw(shown.format, data, images=shown.images, size=shown.size, **scenes)
    line = [shown.recipe, "--data.format", shown.format, "--data.root", str(data), "--out", str(trained)]
    line += ["--trainer.max_epochs", str(shown.epochs)] if shown.epochs is not None else []
    _say(2, "train", f"foveal train {' '.join(line)}")
    train(line)
    _say(3, "predict on images that it has not seen", f"foveal predict {trained} {fresh} --out {folder / 'results'}")
    world = _write_fresh(task, shown, fresh)
    _predict(trained, fresh, folder / "results")
    sheet = folder / "sheet.png"
    _write_sheet(trained, world, shown.frames, sheet)
    print(f"\nImage, truth and prediction side by side: {sheet}")
    print(f"With data of your own:\n  {shown.next}\n  foveal predict runs/NAME PHOTOS --out results --draw")


def _say(step: int, what: str, command: str) -> None:
    print(f"\n{step}. {what[0].upper()}{what[1:]}:  {command}", flush=True)


def _write_fresh(task: str, shown: Demo, folder: Path) -> "ShapesWorld":
    from ..core.images import write_image
    from ..datasets import reader
    from ..datasets.shapes import ShapesWorld

    scenes = {"portraits": shown.portraits, "level": shown.level}
    world = ShapesWorld(task, "test", images=_ROWS * shown.frames, size=shown.size, seed=_FRESH_SEED, **scenes)
    folder.mkdir()
    if shown.frames > 1:
        samples = (world[index] for index in range(len(world)))
        reader(shown.format).write_split(samples, folder.parent, split=folder.name, class_names=world.class_names)
        return world
    for index in range(len(world)):
        write_image(folder / f"{index:02d}.png", world[index]["image"])
    return world


def _predict(trained: Path, fresh: Path, results: Path) -> None:
    from .predict import run as predict

    predict([str(trained), str(fresh), "--out", str(results), "--draw", "--num-workers", "0"])


def _write_sheet(trained: Path, world: "ShapesWorld", frames: int, sheet: Path) -> None:
    import torch

    from ..core.data import collate, to_tensor
    from ..core.images import write_image
    from ..core.plots import draw_sheet
    from ..tasks import load

    task = load(trained)
    if task.SEQUENTIAL:
        write_image(sheet, draw_sheet(_followed(task, world, frames), ("to follow", "truth", "prediction")))
        return
    if task.HAS_CLASSES and world.class_names and task.class_names != world.class_names:  # sorted as files tell
        world = world.with_classes({name: name for name in task.class_names})
    samples, prepare = [world[index] for index in range(len(world))], task.transform("none")
    inputs = [
        {key: sample[key] for key in ("path", "size")}
        | {"image": to_tensor(prepare({"image": sample["image"]}, seed=0)["image"])}
        for sample in samples
    ]
    with torch.inference_mode():
        predictions = task.predict(collate(inputs))
    rows = [
        (sample["image"], task.draw(sample["image"], task.truth(sample)), task.draw(sample["image"], prediction))
        for sample, prediction in zip(samples, predictions, strict=True)
    ]
    write_image(sheet, draw_sheet(rows, ("image", "truth", "prediction")))


def _followed(task: "Task", world: "ShapesWorld", length: int) -> list[tuple["np.ndarray", ...]]:
    """Of each drawn video of `length` frames the first, and the last that shows the target: true and found boxes."""
    import torch

    from ..core.data import collate, to_tensor

    rows = []
    for row in range(_ROWS):
        samples = [world[row * length + frame] for frame in range(length)]
        number = max(frame for frame, sample in enumerate(samples) if len(sample["boxes"]))
        first, last = samples[0], samples[number]
        task.prediction_options.targets = {"video": first["boxes"].tolist()}
        frames = [
            {"path": "video", "size": sample["size"], "image": to_tensor(sample["image"]), "frame": frame}
            for frame, sample in enumerate(samples[: number + 1])
        ]
        with torch.inference_mode():
            found = task.predict(collate(frames))[-1]
        truth = task.draw(last["image"], task.truth(last))
        rows.append((task.draw(first["image"], task.truth(first)), truth, task.draw(last["image"], found)))
    return rows
