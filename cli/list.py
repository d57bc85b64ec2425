"""`foveal list KIND [PATTERN]`: what there is to name in a recipe, and ready-made models to predict with."""

from fnmatch import fnmatch
from typing import TYPE_CHECKING

from ..core.errors import UsageError
from .main import CommandParser

if TYPE_CHECKING:
    from ..backbones.figures import Figures


def run(arguments: list[str]) -> int:
    """Print a line for each; 0 if there is any."""
    parser = CommandParser("foveal list", __doc__)
    parser.add_argument("kind", metavar="KIND", choices=tuple(_LISTS), help=", ".join(_LISTS))
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", default="*", help="such as 'resnet*'")
    given = parser.parse_args(arguments)
    entries = _LISTS[given.kind](given.pattern)
    if not entries:
        raise UsageError(f"No {given.kind} match '{given.pattern}'; `foveal list {given.kind}` shows them all.")
    width = max(map(len, entries))
    for name, what in entries.items():
        print(f"{name:<{width}}  {what}".rstrip())
    return 0


def _backbones(pattern: str) -> dict[str, str]:
    from ..backbones.catalogue import find_family, list_backbones
    from ..backbones.figures import figures

    rows = {"NAME": ("PARAMETERS", "MULTIPLY-ADDS", "STRIDES", "CHANNELS", "FROM", "WEIGHTS", "LICENCE", "PAPER")}
    for name in list_backbones(pattern):
        family = find_family(name)
        rows[name] = (*_figures(figures().get(name)), family.source, *_weights(figures().get(name)), family.paper)
    return {} if len(rows) == 1 else _aligned(rows)


def _figures(row: "Figures | None") -> tuple[str, str, str, str]:
    if row is None:
        return "", "", "", ""
    giga = f"{row.multiply_adds / 1e9:.3f} G"
    return f"{row.parameters:,}", giga, " ".join(map(str, row.strides)), " ".join(map(str, row.channels))


def _weights(row: "Figures | None") -> tuple[str, str]:
    return (row.weights, row.licence) if row else ("", "")


def _aligned(rows: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """The cells of each row in columns; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows.values(), strict=True)]
    align = [str.rjust, str.rjust, *[str.ljust] * (len(widths) - 2)]
    return {
        name: "  ".join(put(cell, width) for put, cell, width in zip(align, row, widths, strict=True))
        for name, row in rows.items()
    }


def _recipes(pattern: str) -> dict[str, str]:
    from ..configs import describe_recipe, list_recipes

    return {name: describe_recipe(name) for name in list_recipes() if fnmatch(name, pattern)}


def _models(pattern: str) -> dict[str, str]:
    from ..tasks.ready_made import is_downloaded, list_ready_made

    rows = {"NAME": ("CLASSES", "PARAMETERS", "SCORE", "DOWNLOAD", "TASK")}
    for name, model in list_ready_made(pattern).items():
        meta, (metric, percent) = model.entry.meta, model.score
        size = "is here" if is_downloaded(model) else f"{meta['_file_size']:,.0f} MB"
        classes = f"{len(model.class_names):,}"
        rows[name] = (classes, f"{meta['num_params']:,}", f"{metric} {percent:.1f} %", size, model.task)
    return {} if len(rows) == 1 else _aligned(rows)


def _tasks(pattern: str) -> dict[str, str]:
    from ..tasks import TASKS

    return {name: about for name, about in TASKS.items() if fnmatch(name, pattern)}


def _datasets(pattern: str) -> dict[str, str]:
    from ..datasets import FORMATS

    return {name: f"{form.task:<14}  {form.about}" for name, form in FORMATS.items() if fnmatch(name, pattern)}


_LISTS = {"backbones": _backbones, "models": _models, "recipes": _recipes, "tasks": _tasks, "datasets": _datasets}
