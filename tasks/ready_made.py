"""Networks that torchvision publishes with their weights, by names such as `imagenet/resnet50`, as tasks that predict
before anybody has trained anything.

Each task's `published.py` says which networks it composes, under torchvision's names (`networks`), the classes and the
preprocessing of their weights (`class_names`, `preprocessing`), and puts the weights into place (`fill`).
"""

import hashlib
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torchvision.models import WeightsEnum, get_model_weights

from ..backbones.weights import DownloadError, Weights, WeightsError, cached_file, download_file, read_file
from ..core.errors import MachineError, ModelFileError, unknown
from ..core.task import Task, versions
from . import READY_MADE, published, task_class

_IN_A_BATCH = {"classification": 32, "detection": 4, "segmentation": 4}  # images that a laptop's memory holds
_SCORES = {"acc@1": "top-1", "box_map": "AP", "miou": "mIoU"}  # of torchvision's tables, and what they are called here


class ReadyMade(NamedTuple):
    """A network and its published weights."""

    name: str  # imagenet/resnet50
    task: str
    options: Any  # of the task: what composes it
    entry: WeightsEnum  # torchvision's: where the weights are, and what they were evaluated with

    @property
    def class_names(self) -> list[str]:
        """The classes, by class number."""
        return published(self.task).class_names(self.entry)

    @property
    def score(self) -> tuple[str, float]:
        """What torchvision measured on the validation images: the metric's name and its value, in percent."""
        (values,) = self.entry.meta["_metrics"].values()
        return next((_SCORES[name], value) for name, value in values.items() if name in _SCORES)


def list_ready_made(pattern: str = "*") -> dict[str, ReadyMade]:
    """Those whose names match a shell pattern."""
    models = {}
    for data_set, task in READY_MADE.items():
        for network, options in published(task).networks().items():
            name = f"{data_set}/{network}"
            if fnmatchcase(name, pattern):
                models[name] = ReadyMade(name, task, options, get_model_weights(network)["DEFAULT"])
    return models


def find_ready_made(name: str) -> ReadyMade:
    """The one of this name; raises UsageError for a name that there is not."""
    models = list_ready_made()
    if name not in models:
        raise unknown("checkpoint or ready-made model", name, models, "`foveal list models` shows the latter.")
    return models[name]


def load_ready_made(name: str, weights: str | Path | None = None) -> Task:
    """The task, in evaluation mode, on the CPU; `weights` is a file to be read in place of torchvision's.

    Raises UsageError for a name that there is not, MachineError where the download fails, ModelFileError for a file
    that is damaged or of another network.
    """
    model = find_ready_made(name)
    file = weights_file(model, weights)
    if weights is not None:
        model = model._replace(entry=_entry_of(file, model.entry))
    task = build_ready_made(model)
    read = _read(file)
    try:
        published(model.task).fill(task, read, model.options, model.class_names)
    except ModelFileError as error:
        raise ModelFileError(f"{file}: {error}") from error
    return task.eval()


def build_ready_made(model: ReadyMade) -> Task:
    """The task without its weights."""
    preprocessing = published(model.task).preprocessing(model.entry, model.options)
    task = task_class(model.task).build(model.options, class_names=model.class_names, preprocessing=preprocessing)
    task.recipe = {"task": model.task, "data": {"batch_size": _IN_A_BATCH[model.task]}}
    return task


def describe(model: ReadyMade) -> dict[str, Any]:
    """What there is to know of it without its weights: entries as in a checkpoint's `foveal`, and `published`."""
    metric, percent = model.score
    return {
        "task": model.task,
        "model": asdict(model.options),
        "class_names": model.class_names,
        "preprocessing": dict(published(model.task).preprocessing(model.entry, model.options)),
        "parameters": model.entry.meta["num_params"],
        "published": {
            metric: f"{percent:.1f} %",
            "as": model.entry.url,
            "size": f"{model.entry.meta['_file_size']:,.0f} MB",
        },
        "file": f"{cached_file(model.entry)}{'' if is_downloaded(model) else ' (not here yet)'}",
        "versions": versions(),
    }


def weights_file(model: ReadyMade, given: str | Path | None = None) -> Path:
    """The file with the weights: the `given` one, or torchvision's, downloaded if it is not in torch's cache.

    Raises MachineError where the download fails.
    """
    if given is not None:
        return Path(given).expanduser()
    try:
        return download_file(model.entry, f"weights of {model.name}", "give the file as --weights FILE")
    except DownloadError as error:
        raise MachineError(str(error)) from error


def is_downloaded(model: ReadyMade) -> bool:
    """Whether torch's cache has the weights."""
    return cached_file(model.entry).exists()


def _read(file: Path) -> Weights:
    try:
        weights = read_file(file)
    except WeightsError as error:
        raise ModelFileError(str(error)) from error
    for key, value in weights.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ModelFileError(f"{file}: {key} holds NaN or infinite values; its training has failed.")
    return weights


def _entry_of(file: Path, default: WeightsEnum) -> WeightsEnum:
    """Of several that torchvision has published for a network, the one that is in the file: it was evaluated with
    other sizes, perhaps, than the newest.
    """
    entries = list(type(default))
    if len(entries) == 1 or not file.is_file():
        return default
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return next((entry for entry in entries if digest.startswith(_digest_in(entry.url))), default)


def _digest_in(url: str) -> str:
    """The beginning of the file's SHA-256, with which torchvision's names end."""
    return url.rpartition("-")[2].partition(".")[0]
