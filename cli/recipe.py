"""From a recipe file and `--section.entry value` options to checked options of every section. Imports no torch.

Names are checked first, here, against the dataclasses that say what a section may hold; then jsonargparse checks the
types. A recipe holds names and plain values only: an entry such as `class_path`, which would import what a file says,
is an unknown name.
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from ..backbones.catalogue import list_backbones
from ..configs import find_recipe
from ..core.errors import UsageError, unknown
from ..core.options import DataOptions, OptimizerOptions, ScheduleOptions, TrainerOptions
from ..datasets import FORMATS
from ..tasks import TASKS, options_class


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

    Raises UsageError with the file, the entry, what came, and what is allowed.
    """
    path = find_recipe(name)
    values = _read_yaml(path)
    for key, text in overrides:
        _set(values, key, text)
    task = values.get("task")
    if not isinstance(task, str):
        raise UsageError(f"{path}: the entry 'task' is missing; give one of {', '.join(TASKS)}.")
    model = options_class(task)
    _check_names(values, Recipe, {"model": model}, where=f"{path}: ")
    _check_registries(values)
    recipe = _check_types(values, model, path)
    _check_numbers(recipe)
    return recipe


def options_help(name: str) -> str:
    """All entries of the recipe's sections, as the options that set them, with types, defaults and meanings."""
    path = find_recipe(name)
    values = _read_yaml(path)
    parser = _parser(options_class(values.get("task", "")))
    parser.prog = f"foveal train {name}"
    parser.set_defaults(_flat({key: value for key, value in values.items() if key != "task"}))
    return parser.format_help()


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it is not UTF-8 text"
        raise UsageError(f"{path}{place}: not valid YAML ({problem}).") from error
    if not isinstance(values, dict):
        raise UsageError(
            f"{path}: a recipe is a mapping of sections (task, model, data, ...), not {type(values).__name__}."
        )
    return values


def _set(values: dict[str, Any], key: str, text: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UsageError(
                f"--{key}: '{section}' is a value, not a section; `foveal train RECIPE --help` shows the entries."
            )
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--{key}: '{text}' is not a valid value.") from error


def _check_names(values: dict[str, Any], options: type, types: dict[str, type], where: str, above: str = "") -> None:
    hints = get_type_hints(options) | types
    known = [entry.name for entry in fields(options)]
    for key, value in values.items():
        full = f"{above}{key}"
        if key not in known:
            error = unknown("entry", full, [above + name for name in known])
            raise UsageError(f"{where}{error}")
        section = hints[key]
        if isinstance(section, type) and is_dataclass(section):
            if not isinstance(value, dict):
                names = ", ".join(entry.name for entry in fields(section))
                raise UsageError(f"{where}'{full}' is a section and holds entries ({names}), not the value {value!r}.")
            _check_names(value, section, {}, where, above=f"{full}.")


def _parser(model: type) -> Any:
    from jsonargparse import ArgumentParser, set_parsing_settings

    # Nothing here has a class for a type, so nothing is ever imported; this keeps it so if that should change.
    set_parsing_settings(
        import_path_denylist=["*"], import_path_allowlist=["foveal"], instantiate_subclass_spec_in_any=False
    )
    parser = ArgumentParser(exit_on_error=False, default_env=False)
    parser.add_argument("--task", type=str, help="what to learn")
    parser.add_argument(
        "--seed", type=int, default=0, help="start of all random numbers: the same seed gives the same run"
    )
    sections = (
        ("model", model),
        ("data", DataOptions),
        ("optimizer", OptimizerOptions),
        ("schedule", ScheduleOptions),
        ("trainer", TrainerOptions),
    )
    for name, options in sections:
        parser.add_class_arguments(options, name)
    return parser


def _check_types(values: dict[str, Any], model: type, path: Path) -> Recipe:
    from jsonargparse import ArgumentError

    parser = _parser(model)
    try:
        checked = parser.instantiate(parser.parse_object(values))
    except (ArgumentError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: {_one_line(error)}") from error
    return Recipe(**{entry.name: checked[entry.name] for entry in fields(Recipe)})


def _check_registries(values: dict[str, Any]) -> None:
    # Before the types, because it needs no jsonargparse: a misspelt name is the commonest mistake, and answers at once.
    backbone = values.get("model", {}).get("backbone")
    if isinstance(backbone, str) and backbone not in list_backbones():
        raise unknown("backbone", backbone, list_backbones(), "`foveal list backbones` shows them all.")
    stored = values.get("data", {}).get("format")
    if isinstance(stored, str) and stored not in FORMATS:
        raise unknown("data format", stored, FORMATS, "`foveal list datasets` shows them all.")


def _check_numbers(recipe: Recipe) -> None:
    positive = {
        "data.size": recipe.data.size,
        "data.batch_size": recipe.data.batch_size,
        "optimizer.lr": recipe.optimizer.lr,
        "trainer.max_epochs": recipe.trainer.max_epochs,
    }
    for name, value in positive.items():
        if value <= 0:
            raise UsageError(f"{name} is {value}; it must be above 0.")
    splits = recipe.data.splits
    if any(share < 0 for share in splits) or abs(sum(splits) - 1) > 1e-6:
        raise UsageError(f"data.splits is {list(splits)}; give three shares (train, val, test) whose sum is 1.")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.removeprefix("error: ").replace('Parser key "', "entry '").replace('":', "':", 1)


def _flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return flat
