"""Whether a recipe holds what it may: names, then choices, then types, then ranges. Imports no torch.

`types` says what there may be: an entry's name to its type, or a section's to its dataclass. Names are checked first,
and here, because that costs nothing; then jsonargparse checks the types. A recipe holds names and plain values only: an
entry such as `class_path`, which would import what a file says, is an unknown name.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..backbones.catalogue import UnknownBackboneError, find_family
from ..core.errors import UsageError, unknown
from ..datasets import FORMATS
from ..tasks import augmentation_names, own_backbones, ranges

# Lowest and highest of what has a limit that its type does not say; those of the `model` section are its task's.
_RANGES = {
    "seed": (0, 2**32 - 1),
    "data.size": (8, 8192),
    "data.images": (1, 10**9),
    "data.ignore_value": (0, 65535),
    "data.depth_scale": (1e-9, 1e9),
    "data.aspect_buckets": (1, 64),
    "data.batch_size": (1, 65536),
    "data.images_per_person": (1, 1024),
    "data.num_workers": (0, 256),
    "optimizer.lr": (1e-12, 1e30),
    "optimizer.weight_decay": (0, 1e6),
    "optimizer.momentum": (0, 0.9999),
    "optimizer.clip_norm": (0, 1e30),
    "optimizer.ema": (0, 0.999999),
    "schedule.warmup_epochs": (0, 1e6),
    "trainer.max_epochs": (1, 10**6),
    "trainer.accumulate_grad_batches": (1, 10**6),
    "trainer.check_val_every_n_epoch": (1, 10**6),
    "trainer.threads": (1, 1024),
}


def check_names(
    values: Mapping[str, Any], types: Mapping[str, Any], where: Callable[[str], str], above: str = ""
) -> None:
    """Raise UsageError, with the nearest names, for an entry that there is not; `where` names its place."""
    for key, value in values.items():
        full = f"{above}{key}"
        if key not in types:
            raise UsageError(f"{where(full)}{unknown('entry', full, [above + name for name in types])}")
        section = types[key]
        if isinstance(section, type) and is_dataclass(section):
            inner = get_type_hints(section)
            if not isinstance(value, dict):
                held = ", ".join(inner)
                raise UsageError(
                    f"{where(full)}'{full}' is a section and holds entries ({held}), not the value {value!r}."
                )
            check_names(value, inner, where, above=f"{full}.")


def check_registries(task: str, values: Mapping[str, Any]) -> None:
    """Raise UsageError for a backbone, a data format or an augmentation that there is not: the commonest mistakes."""
    name, augment = (values.get("data", {}).get(entry) for entry in ("format", "augment"))
    if isinstance(name, str) and name not in FORMATS:
        raise unknown("data format", name, FORMATS, "`foveal list datasets` shows them all.")
    if isinstance(augment, str) or (isinstance(augment, list) and all(isinstance(name, str) for name in augment)):
        augmentation_names(task, augment)
    backbone = values.get("model", {}).get("backbone")
    if backbone not in own_backbones(task):
        _check_backbone(backbone)
    sources = values.get("data", {}).get("sources") or []
    if not isinstance(sources, list):
        raise UsageError(f"data.sources is {sources!r}; it must be a list, [{{format: NAME, root: PATH}}].")
    for source in sources:
        if not isinstance(source, dict) or set(source) != {"format", "root"}:
            raise UsageError(f"data.sources holds {source!r}; each must be {{format: NAME, root: PATH}}.")
    for name in (values.get("data", {}).get("format"), *(source["format"] for source in sources)):
        if name is not None and name not in FORMATS:
            raise unknown("data format", str(name), FORMATS, "`foveal list datasets` shows them all.")
        if name is not None and FORMATS[name].task not in (task, "any"):
            fitting = [other for other, format in FORMATS.items() if format.task in (task, "any")]
            raise UsageError(
                f"The data format {name} is for {FORMATS[name].task}; for {task} there are {', '.join(fitting)}."
            )


def _check_backbone(name: Any) -> None:
    try:
        if isinstance(name, str):
            find_family(name)
    except UnknownBackboneError as error:
        raise UsageError(f"{error} `foveal list backbones` shows them all.") from error


def make_parser(types: Mapping[str, Any]) -> Any:
    """The parser of a recipe, jsonargparse's."""
    from jsonargparse import ArgumentParser, set_parsing_settings

    # Nothing here has a class for a type, so nothing is ever imported; this keeps it so if that should change.
    set_parsing_settings(
        import_path_denylist=["*"], import_path_allowlist=["foveal"], instantiate_subclass_spec_in_any=False
    )
    parser = ArgumentParser(exit_on_error=False, default_env=False)
    parser.add_argument("--task", type=str, help="what to learn")
    parser.add_argument("--seed", type=int, default=0, help="start of all random numbers: the same seed, the same run")
    for name, section in types.items():
        if isinstance(section, type) and is_dataclass(section):
            parser.add_class_arguments(section, name)
    return parser


def check_types(values: dict[str, Any], types: Mapping[str, Any], where: Callable[[str], str]) -> dict[str, Any]:
    """Every entry of a recipe, sections as their dataclasses; raises UsageError for a value of another type."""
    _check_values(values, types, where)
    from jsonargparse import ArgumentError

    parser = make_parser(types)
    try:
        checked = parser.instantiate(parser.parse_object(values))
    except (ArgumentError, TypeError, ValueError) as error:
        raise UsageError(f"{where('recipe')}: {' '.join(str(error).split())}") from error
    return {name: checked[name] for name in types}


def check_ranges(checked: Mapping[str, Any]) -> None:
    """Raise UsageError for a number that is out of its range; NaN is out of every one."""
    named = ranges(checked["task"]) if "model" in checked else {}  # a data set may be of a task that is yet to come
    model = {f"model.{name}": limits for name, limits in named.items()}
    for key, (low, high) in (_RANGES | model).items():
        value = _value_of(key, checked)
        if value is not None and not low <= value <= high:
            raise UsageError(f"{key} is {value}; it must be from {low} to {high}.")
    trainer, splits = checked["trainer"], checked["data"].splits
    if not all(0 <= share <= 1 for share in splits) or abs(sum(splits) - 1) > 1e-6:
        raise UsageError(f"data.splits is {list(splits)}; give three shares (train, val, test) whose sum is 1.")
    if not (splits[0] and splits[1]):
        raise UsageError(f"data.splits is {list(splits)}; the shares of train and val must be above 0.")
    if trainer.max_steps != -1 and trainer.max_steps < 1:
        raise UsageError(f"trainer.max_steps is {trainer.max_steps}; it must be 1 or more, or -1 for no limit.")
    for name in ("limit_train_batches", "limit_val_batches"):
        limit = getattr(trainer, name)
        if not (limit >= 1 if isinstance(limit, int) else 0 < limit <= 1):
            raise UsageError(f"trainer.{name} is {limit}; give a whole number from 1, or a share above 0.0 up to 1.0.")


def type_of(key: str, types: Mapping[str, Any]) -> Any:
    """The type of the entry `section.entry`; None where there is no such entry."""
    kind: Any = None
    for name in key.split("."):
        kind = types.get(name)
        types = get_type_hints(kind) if isinstance(kind, type) and is_dataclass(kind) else {}
    return kind


def _check_values(
    values: Mapping[str, Any], types: Mapping[str, Any], where: Callable[[str], str], above: str = ""
) -> None:
    # jsonargparse takes null for "not given", needs a tenth of a second to be imported, and says it in Python's words.
    for key, value in values.items():
        kind = types[key]
        if isinstance(value, Mapping) and is_dataclass(kind):
            _check_values(value, get_type_hints(kind), where, above=f"{above}{key}.")
        elif not _fits(value, kind):
            came = "null" if value is None else repr(value)
            raise UsageError(f"{where(above + key)} is {came}; it must be {_describe(kind)}.")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(part, get_args(kind)[0]) for part in value)
    if get_origin(kind) is dict:
        key, part = get_args(kind)
        return isinstance(value, dict) and all(_fits(k, key) and _fits(v, part) for k, v in value.items())
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        return isinstance(value, list | tuple) and len(value) == len(parts) and all(map(_fits, value, parts))
    if kind is float and isinstance(value, str):  # YAML takes 1e-3 for text
        return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value) is not None
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _value_of(key: str, values: Any) -> Any:
    for name in key.split("."):
        values = values.get(name) if isinstance(values, Mapping) else getattr(values, name, None)
    return values


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_describe(part) for part in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list of {len(get_args(kind))} numbers"
    if get_origin(kind) is list:
        return f"a list [...], each {_describe(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        key, value = map(_describe, get_args(kind))
        return f"a map {{...}} of {key} to {value}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}[kind]
