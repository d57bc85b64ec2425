"""`foveal list KIND [PATTERN]`: what there is to name in a recipe."""

from fnmatch import fnmatch

from ..core.errors import UsageError
from .main import CommandParser


def run(arguments: list[str]) -> int:
    """Print a line for each; 0 if there is any."""
    parser = CommandParser("foveal list", __doc__)
    parser.add_argument("kind", metavar="KIND", choices=tuple(_LISTS), help=", ".join(_LISTS))
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", default="*", help="such as 'resnet*'")
    given = parser.parse_args(arguments)
    entries = {name: what for name, what in _LISTS[given.kind]().items() if fnmatch(name, given.pattern)}
    if not entries:
        raise UsageError(f"No {given.kind} match '{given.pattern}'; `foveal list {given.kind}` shows them all.")
    width = max(map(len, entries))
    for name, what in entries.items():
        print(f"{name:<{width}}  {what}".rstrip())
    return 0


def _backbones() -> dict[str, str]:
    from ..backbones.catalogue import FAMILIES, find_family, list_backbones

    families = {name: FAMILIES[find_family(name)] for name in list_backbones()}
    return {name: f"{family.source:<11}  {family.paper}" for name, family in families.items()}


def _recipes() -> dict[str, str]:
    from ..configs import describe_recipe, list_recipes

    return {name: describe_recipe(name) for name in list_recipes()}


def _tasks() -> dict[str, str]:
    from ..tasks import TASKS

    return TASKS


def _datasets() -> dict[str, str]:
    from ..datasets import FORMATS

    return {name: f"{format.task:<14}  {format.about}" for name, format in FORMATS.items()}


_LISTS = {"backbones": _backbones, "recipes": _recipes, "tasks": _tasks, "datasets": _datasets}
