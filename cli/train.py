"""`foveal train RECIPE`: from a recipe to a run folder."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..configs import find_recipe, list_recipes
from ..core.errors import UsageError
from .main import CommandParser
from .recipe import Recipe, options_help, parse_recipe

if TYPE_CHECKING:
    from ..core.data import DataModule

_EPILOG = """Every entry of a recipe is an option too: --data.root DIR, --model.backbone NAME, --trainer.max_epochs N
...
`foveal train RECIPE --help` shows all of RECIPE's with their meaning.

recipes:
  """


def run(arguments: list[str]) -> int:
    """Train; 0 at the end."""
    arguments, overrides = _split_overrides(arguments)
    parser = CommandParser(
        prog="foveal train", description=__doc__, epilog=_EPILOG + "\n  ".join(list_recipes()), add_help=False
    )
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="a name from `foveal list recipes`, or a YAML file")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder (default: runs/NAME, runs/NAME-2, ...)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, from its last.ckpt")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    parser.add_argument("--print_config", action="store_true", help="print the whole recipe, checked, and stop")
    parser.add_argument("-h", "--help", action="store_true", help="this text; behind a RECIPE, all of its entries too")
    given = parser.parse_args(arguments)
    if given.help:
        print(parser.format_help())
        if given.recipe:
            print(options_help(given.recipe))
        return 0
    if given.recipe is None:
        parser.error("RECIPE is missing")
    recipe = parse_recipe(given.recipe, overrides)
    if given.print_config:
        print(_yaml(recipe), end="")
        return 0
    if given.resume and not (given.out and (given.out / "last.ckpt").is_file()):
        raise UsageError(
            f"--resume: there is no last.ckpt in {given.out or '--out'}; give the folder of a run that was stopped."
        )
    folder = given.out or _free_folder(find_recipe(given.recipe).stem)
    return _train(recipe, folder, overwrite=given.overwrite, resume=given.resume)


def _train(recipe: Recipe, folder: Path, *, overwrite: bool, resume: bool) -> int:
    from ..core.fit import fit, prepare_folder, quiet

    quiet()
    prepare_folder(folder, overwrite=overwrite, resume=resume)
    import lightning.pytorch as pl

    from ..core.data import preprocessing
    from ..tasks import task_class

    pl.seed_everything(recipe.seed, verbose=False)
    data = open_data(recipe)
    task = task_class(recipe.task).build(
        recipe.model,
        class_names=data.class_names,
        class_counts=data.class_counts,
        preprocessing=preprocessing(recipe.data),
    )
    task.recipe = recipe.as_dict()
    task.optimizer_options, task.schedule_options = recipe.optimizer, recipe.schedule
    data.transform = task.transform
    counts = {split: len(data.dataset(split)) for split in ("train", "val")}
    print(
        f"{counts['train']} images to train, {counts['val']} to validate, {len(data.class_names)} classes; "
        f"run in {folder}"
    )
    (folder / "recipe.yaml").write_text(_yaml(recipe), encoding="utf-8")
    last = folder / "last.ckpt" if resume else None
    fit(task, data, recipe.trainer, folder, clip_norm=recipe.optimizer.clip_norm, resume=last)
    _report(task, data, recipe, folder)
    return 0


def _report(task, data: "DataModule", recipe: Recipe, folder: Path) -> None:
    # The best weights on the images that had no say in training, once, at the end.
    from ..core.errors import DataError
    from ..core.fit import test

    try:
        data.dataset("test")
        split = "test"
    except DataError:
        split = "val"
    metrics = test(task, data, recipe.trainer, split, folder)
    value = metrics[task.metric]
    print(
        f"Done: {task.metric} {100 * value:.2f} % on {len(data.dataset(split))} {split} images; checkpoints in {folder}"
    )


def open_data(recipe: Recipe) -> "DataModule":
    """The DataModule of a recipe; its data set is opened when it is first asked for."""
    from ..core.data import DataModule
    from ..datasets import open_dataset

    opener = partial(_open_split, open_dataset, recipe)
    return DataModule(opener, recipe.data, seed=recipe.seed)


def _open_split(open_dataset, recipe: Recipe, split: str):
    options = recipe.data
    return open_dataset(options.format, options.root, split=split, fractions=tuple(options.splits), seed=recipe.seed)


def _split_overrides(arguments: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    # `--section.entry value` and `--section.entry=value` set the recipe; everything else is argparse's.
    rest, overrides = [], []
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        name, equals, value = argument.partition("=")
        if not name.startswith("--") or not ("." in name or name == "--seed"):
            rest.append(argument)
            continue
        if not equals:
            if not queue or queue[0].startswith("--"):
                raise UsageError(f"{name}: a value is missing; write {name} VALUE.")
            value = queue.pop(0)
        overrides.append((name[2:], value))
    return rest, overrides


def _free_folder(name: str) -> Path:
    number = 1
    while (folder := Path("runs") / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


def _yaml(recipe: Recipe) -> str:
    import yaml

    return yaml.safe_dump(recipe.as_dict(), sort_keys=False, default_flow_style=None, width=120)
