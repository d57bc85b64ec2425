"""The recipes that come with foveal: one self-contained YAML each, `configs/<task>/<head>_<backbone>_<dataset>.yaml` or
shorter.

The first comment lines of a recipe say the command, the time and the score to expect. Imports no torch.
"""

from pathlib import Path

from ..core.errors import UsageError, unknown

_FOLDER = Path(__file__).parent


def list_recipes() -> list[str]:
    """Names of all recipes, as `task/name`."""
    return sorted(path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.glob("*/*.yaml"))


def find_recipe(name: str) -> Path:
    """The file of a recipe: one of ours by name, or any path of a YAML file; raises UsageError if there is neither."""
    if name in list_recipes():
        return _FOLDER / f"{name}.yaml"
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise UsageError(f"{name}: there is no such recipe file (looked from {Path.cwd()}).")
        return Path(name)
    raise unknown("recipe", name, list_recipes(), "`foveal list recipes` shows them all; a file's name ends in .yaml.")


def describe_recipe(name: str) -> str:
    """What the comment at the head of a recipe says below its first line, the command: data, time, score."""
    lines = find_recipe(name).read_text(encoding="utf-8").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# ").strip())
    return " ".join(comment[1:])
