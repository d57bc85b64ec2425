"""The tasks, by name: each is a folder of its own. Importing this package imports no torch.

A folder `tasks/<name>/` holds `options.py` (without torch: `OPTIONS`, the recipe's `model` section, `AUGMENTATIONS`,
where there are such, those of them that a list may hold as `AUGMENTATION_STEPS` and networks of the task's own as
`BACKBONES`, `RANGES` of its numbers, and `DEMO`, what `foveal demo` shows) and `task.py` (the Lightning module:
`TASK`). Adding a task costs that folder and one line here.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.errors import ModelFileError, UsageError, unknown

if TYPE_CHECKING:
    from ..core.task import Task

TASKS = {
    "classification": "one class for the whole image",
    "detection": "a box and a class for each object",
    "segmentation": "a class for each pixel",
    "edges": "how likely each pixel is on an edge",
    "depth": "how many metres away each pixel is",
    "tracking": "where a target goes from frame to frame",
    "faces": "whose face it is, or whether two are of one person",
}

# Of the data set that a ready-made model was trained on: what it does.
READY_MADE = {"imagenet": "classification", "coco": "detection", "voc": "segmentation"}


def options_class(task: str) -> type:
    """The dataclass of the `model` section of `task`'s recipes; raises UsageError where there is no such task."""
    return _module(task, "options").OPTIONS


class Demo(NamedTuple):
    """What `foveal demo` shows of a task: in a few minutes on two cores at most."""

    recipe: str
    format: str  # in which the data set is drawn to disk: what a user's own data may look like
    images: int  # to draw, for all splits
    size: int  # pixels, their height and width
    next: str  # the command to type with one's own data
    portraits: bool = False  # one large body a picture, where many would take too long to learn
    level: bool = False  # scenes of one camera
    frames: int = 1  # of a drawn video; of a task of single images 1
    epochs: int | None = None  # where the recipe's own number is not meant for so few images


def demo(task: str) -> Demo:
    """The demonstration of `task`; raises UsageError where there is no such task."""
    return _module(task, "options").DEMO


def augmentations(task: str) -> tuple[str, ...]:
    """The names that `data.augment` may be for `task`."""
    return _module(task, "options").AUGMENTATIONS


def augmentation_names(task: str, augment: str | list[str]) -> list[str]:
    """The names in `data.augment`: one, or those of a list.

    Raises UsageError for a name that `task` does not have, and for a list with what is no single step of its.
    """
    known, steps = augmentations(task), getattr(_module(task, "options"), "AUGMENTATION_STEPS", ())
    names = [augment] if isinstance(augment, str) else augment
    for name in names:
        if name not in known:
            raise unknown("augmentation", name, known, "Set data.augment to one of them.")
        if not isinstance(augment, str) and steps and name not in steps:
            raise UsageError(f"data.augment is a list with {name}, which stands alone; it may hold {', '.join(steps)}.")
    if not isinstance(augment, str) and not steps:
        raise UsageError(f"data.augment is the list {augment}; {task} takes one name, of {', '.join(known)}.")
    return list(names)


def own_backbones(task: str) -> tuple[str, ...]:
    """Names that `model.backbone` may be for `task` beside those of all tasks."""
    return getattr(_module(task, "options"), "BACKBONES", ())


def ranges(task: str) -> dict[str, tuple[float, float]]:
    """Lowest and highest of the numbers in `task`'s `model` section, by their entries."""
    return _module(task, "options").RANGES


def task_class(task: str) -> "type[Task]":
    """The Lightning module of `task`; raises UsageError where there is no such task."""
    return _module(task, "task").TASK


def published(task: str) -> Any:
    """What `ready_made.py` asks of the task's module `published`."""
    return _module(task, "published")


def is_ready_made(path: str | Path) -> bool:
    """Whether what was given as a checkpoint is the name of a ready-made model, and not that of a file or folder."""
    return re.match(rf"({'|'.join(READY_MADE)})/.", Path(path).as_posix()) is not None and not Path(path).exists()


def load(path: str | Path, *, weights: str | Path | None = None) -> "Task":
    """Rebuild a trained task from its checkpoint, in evaluation mode, on the CPU.

    `path` is a `.ckpt` that foveal wrote, or the folder of a run (its `best.ckpt`). The file is read as data: nothing
    in it can run code, and names in it are looked up in foveal's own tables. Where there is no such file, `path` may
    also be the name of a ready-made model, such as "imagenet/resnet50", whose weights are downloaded once, or read from
    the file `weights`. Raises ModelFileError for a damaged or foreign file, MachineError where a download fails.
    """
    if is_ready_made(path):
        from .ready_made import load_ready_made

        return load_ready_made(Path(path).as_posix(), weights)
    if weights is not None:
        raise UsageError(f"{weights}: a file of weights goes with a ready-made model; {path} is or has a checkpoint.")
    from ..core.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(path)
    try:
        return task_class(checkpoint["foveal"]["task"]).from_checkpoint(checkpoint)
    except (UsageError, ModelFileError) as error:
        raise ModelFileError(f"{path}: {error}") from error


def _module(task: str, name: str) -> Any:
    if task not in TASKS:
        raise unknown("task", task, TASKS, "`foveal list tasks` shows them all.")
    return import_module(f".{task}.{name}", __name__)
