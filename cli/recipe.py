"""From a recipe file and `--section.entry value` options to checked options of every section. Imports no torch."""

from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from ..configs import find_recipe
from ..core.errors import UsageError
from ..core.options import DataOptions, OptimizerOptions, ScheduleOptions, TrainerOptions
from ..datasets import FORMATS, not_taken_by
from ..tasks import TASKS, options_class
from .checks import check_names, check_ranges, check_registries, check_types, make_parser, type_of


@dataclass
class Recipe:
    """A whole recipe, checked."""

    task: str
    model: Any  # of the task's own class
    seed: int = 0
    data: DataOptions = field(default_factory=DataOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, every default written out; a tuple as a list, as YAML has it."""
        values = asdict(self)
        values["data"]["splits"] = list(values["data"]["splits"])
        return values


def parse_recipe(name: str, overrides: list[tuple[str, str]]) -> Recipe:
    """The recipe called `name` (or the file of that name) with the options of the command line, checked.

    Raises UsageError with the file or the option, the entry, what came, and what is allowed.
    """
    path = find_recipe(name)
    values = _read_yaml(path)
    task = dict(overrides).get("task", values.get("task"))
    if not isinstance(task, str):
        raise UsageError(f"{path}: the entry 'task' is missing; give one of {', '.join(TASKS)}.")
    types = _types(task)
    given = {key for key, _ in overrides}
    _leave_out_foreign(values, dict(overrides).get("data.format"))
    for key, text in overrides:
        _set(values, key, text, type_of(key, types))
    check_names(values, types, lambda key: "" if key in given else f"{path}: ")
    check_registries(task, values)
    checked = check_types(values, types, lambda key: f"--{key}" if key in given else f"{path}: {key}")
    check_ranges(checked)
    return Recipe(**checked)


def change_model(task: str, model: Any, overrides: list[tuple[str, str]], free: tuple[str, ...]) -> Any:
    """The options `model` of `task` with those of `overrides`, which may be of the entries `free`, checked.

    Raises UsageError as `parse_recipe` does, and for an entry that is not free.
    """
    values, types = {"task": task, "model": asdict(model)}, _types(task)
    for key, text in overrides:
        if key not in [f"model.{name}" for name in free]:
            allowed = ", ".join(f"--model.{name}" for name in free) or "none"
            raise UsageError(f"--{key} is for training; of a recipe's entries evaluation takes {allowed}.")
        _set(values, key, text, type_of(key, types))
    checked = check_types(values, types, lambda key: f"--{key}")
    check_ranges(checked)
    return checked["model"]


def parse_data(format: str, overrides: list[tuple[str, str]]) -> Recipe:
    """A recipe of nothing but data in `format`, for a command that trains nothing: its `model` is None.

    Raises UsageError as `parse_recipe` does.
    """
    types = {"task": str, "seed": int, "data": DataOptions, "trainer": TrainerOptions}
    values: dict[str, Any] = {"task": FORMATS[format].task, "data": {"format": format}}
    for key, text in overrides:
        _set(values, key, text, type_of(key, types))
    check_names(values, types, lambda _: "")
    checked = check_types(values, types, lambda key: f"--{key}")
    check_ranges(checked)
    return Recipe(model=None, **checked)


def options_help(name: str) -> str:
    """All entries of the recipe's sections, as the options that set them, with types, defaults and meanings."""
    values = _read_yaml(find_recipe(name))
    types = _types(values.get("task", ""))
    parser = make_parser(types)
    parser.prog = f"foveal train {name}"
    parser.set_defaults(_entries(values, types))
    return parser.format_help()


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """The entries of nested sections under dotted names: {"data": {"size": 32}} to {"data.size": 32}."""
    entries: dict[str, Any] = {}
    for key, value in values.items():
        entries |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return entries


def _entries(values: dict[str, Any], types: dict[str, Any], above: str = "") -> dict[str, Any]:
    """As `flat`, but an entry that is a mapping by its own type, such as weights of losses, stays one."""
    entries: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, dict) and is_dataclass(type_of(above + key, types))
        entries |= _entries(value, types, f"{above}{key}.") if inner else {above + key: value}
    return entries


def _types(task: str) -> dict[str, Any]:
    """What a recipe of `task` may hold: its entries, and the dataclasses of its sections."""
    return {
        "task": str,
        "seed": int,
        "model": options_class(task),
        "data": DataOptions,
        "optimizer": OptimizerOptions,
        "schedule": ScheduleOptions,
        "trainer": TrainerOptions,
    }


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it is not UTF-8 text, or nested without end"
        raise UsageError(f"{path}{place}: not valid YAML ({problem}).") from error
    if not isinstance(values, dict):
        kind = type(values).__name__
        raise UsageError(f"{path}: a recipe is a mapping of sections (task, model, data, ...), not {kind}.")
    return {key: {} if value is None else value for key, value in values.items()}  # `model:` alone is an empty section


def _leave_out_foreign(values: dict[str, Any], format: str | None) -> None:
    """Take out what a recipe says to the reader of its own format, where the command line names another one."""
    data = values.get("data")
    if format in FORMATS and isinstance(data, dict):
        for name in not_taken_by(format) & data.keys():
            del data[name]


def _set(values: dict[str, Any], key: str, text: str, kind: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UsageError(
                f"--{key}: '{section}' is a value, not a section; `foveal train RECIPE --help` shows the entries."
            )
    if kind is str or kind == str | None:  # as it stands: a folder may be called `photos #2` or `2024-01-01`
        values[last] = None if text == "null" and kind is not str else text
        return
    try:
        values[last] = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"--{key}: '{text}' is not a valid value.") from error
