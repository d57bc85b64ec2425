"""`foveal train RECIPE`: from a recipe to a run folder."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..configs import find_recipe, list_recipes
from ..core.errors import Interrupted, MissingSplit, UsageError
from .main import CommandParser
from .recipe import Recipe, flat, options_help, parse_recipe

if TYPE_CHECKING:
    from ..core.data import DataModule, Dataset, Split
    from ..core.task import Task

_OF_FORMATS = (
    "images",
    "portraits",
    "level",
    "mask_values",
    "ignore_value",
    "depth_scale",
)  # entries that some formats take
_EPILOG = """Every entry of a recipe is an option too: --data.root DIR, --model.backbone NAME, --optimizer.lr X ...
`foveal train RECIPE --help` shows all of RECIPE's with their meaning.

recipes:
  """


def run(arguments: list[str]) -> int:
    """Train; 0 at the end."""
    arguments, overrides = split_overrides(arguments)
    parser = CommandParser("foveal train", __doc__, epilog=_EPILOG + "\n  ".join(list_recipes()), add_help=False)
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
    find_recipe(given.recipe)
    require_root(dict(overrides).get("data.root"))  # before anything that takes time
    recipe = parse_recipe(given.recipe, overrides)
    if given.resume and given.overwrite:
        raise UsageError("--resume goes on with a run and --overwrite replaces it; give one of them.")
    if given.print_config:
        print(_yaml(recipe), end="")
        return 0
    if given.resume and not (given.out and (given.out / "last.ckpt").is_file()):
        raise UsageError(
            f"--resume: there is no last.ckpt in {given.out or '--out'}; give the folder of a run that was stopped."
        )
    # The checkpoint names the folders, and may be used from any other.
    if recipe.data.root is not None:
        recipe.data.root = _absolute(recipe.data.root)
    for source in recipe.data.sources or ():
        source["root"] = _absolute(source["root"])
    folder = given.out or _free_folder(find_recipe(given.recipe).stem)
    return _train(recipe, folder, overwrite=given.overwrite, resume=given.resume)


def require_root(root: str | None) -> None:
    """Raise UsageError where the `data.root` of a command line is nowhere."""
    if root not in (None, "null") and not Path(root).expanduser().exists():
        raise UsageError(f"{root}: there is no such folder or file; give your images as --data.root.")


def _absolute(root: str) -> str:
    require_root(root)
    return str(Path(root).expanduser().absolute())


def _train(recipe: Recipe, folder: Path, *, overwrite: bool, resume: bool) -> int:
    _refuse_folder_in_data(folder, recipe)
    from ..core.fit import clear_folder, fit, prepare_folder, quiet
    from ..core.optim import check_multipliers

    quiet()
    prepare_folder(folder, overwrite=overwrite, resume=resume)
    import lightning.pytorch as pl

    pl.seed_everything(recipe.seed, verbose=False)
    data = open_data(recipe)
    held_out = _held_out_split(data, recipe)
    task = _build_task(recipe, data)
    check_multipliers(task, recipe.optimizer.multipliers)
    counts = {split: len(data.dataset(split)) for split in ("train", "val")}
    last = folder / "last.ckpt" if resume else None
    if last is not None:
        _refuse_another_run(last, task)
    if overwrite:
        clear_folder(folder, task)
    (folder / "recipe.yaml").write_text(_yaml(recipe), encoding="utf-8")
    classes = f", {len(task.class_names)} classes" if task.HAS_CLASSES else ""
    print(f"{counts['train']} images to train, {counts['val']} to validate{classes}; run in {folder}", flush=True)
    fit(task, data, recipe.trainer, folder, clip_norm=recipe.optimizer.clip_norm, resume=last)
    _report(task, data, recipe, folder, held_out)
    return 0


def _build_task(recipe: Recipe, data: "DataModule") -> "Task":
    from ..core.data import preprocessing
    from ..tasks import task_class

    task = task_class(recipe.task).build(
        recipe.model,
        class_names=data.class_names,
        training=data.dataset("train"),
        preprocessing=preprocessing(recipe.data),
    )
    task.recipe, task.fingerprints = recipe.as_dict(), data.fingerprints()
    task.optimizer_options, task.schedule_options = recipe.optimizer, recipe.schedule
    data.transform, data.training_data = task.transform, task.training_data
    return task


def _held_out_split(data: "DataModule", recipe: Recipe) -> "Split":
    # Opened before the training: a broken test split must not come out after hours.
    try:
        data.dataset("test")
    except MissingSplit as error:
        if recipe.data.with_val:
            raise UsageError(f"data.with_val would leave no image unseen; leave it out. {error}") from error
        return "val"
    return "test"


def _report(task: "Task", data: "DataModule", recipe: Recipe, folder: Path, split: "Split") -> None:
    # The best weights, once, on images that had no say in training.
    from ..core.fit import test

    try:
        value = test(task, data, recipe.trainer, split, folder)[task.metric]
    except (KeyboardInterrupt, SystemExit) as error:
        raise Interrupted(f"Trained, but the test was cut short: `foveal evaluate {folder}` repeats it.") from error
    if remark := task.remark():
        print(f"foveal: {remark}", file=sys.stderr)
    score = f"{100 * value:.2f} %" if value >= 0 else "unknown, for want of truth,"
    print(f"Done: {task.metric} {score} on {len(data.dataset(split))} {split} images; checkpoints in {folder}")


def _refuse_folder_in_data(folder: Path, recipe: Recipe) -> None:
    root = recipe.data.root
    if root is not None and Path(root).is_dir() and folder.resolve().is_relative_to(Path(root).resolve()):
        raise UsageError(
            f"{folder}: a run within data.root ({root}) would be taken for images; give an --out outside of it."
        )


def _refuse_another_run(last: Path, task: "Task") -> None:
    # A run goes on only as itself: other classes would be learnt under the old numbers, and another draw of the splits
    # would train on what was held out.
    from ..core.checkpoint import read_checkpoint

    saved = read_checkpoint(last)["foveal"]
    before, now = flat(saved["recipe"]), flat(task.recipe)
    free = ("trainer.", "data.num_workers", "data.root", "model.weights")
    changes = [
        f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and not key.startswith(free)
    ]
    if saved["class_names"] != task.class_names:
        changes.append("the classes are others")
    elif saved.get("fingerprints") != task.fingerprints:
        changes.append("the images or their labels have changed")
    if changes:
        raise UsageError(
            f"--resume: this is not the run in {last.parent} ({'; '.join(changes)}); give the same recipe and data, or "
            "begin another run."
        )


def open_data(recipe: Recipe) -> "DataModule":
    """The DataModule of a recipe; its data set is opened when it is first asked for."""
    from ..core.data import DataModule

    return DataModule(partial(open_split, recipe), recipe.data, seed=recipe.seed)


def open_split(recipe: Recipe, split: "Split") -> "Dataset":
    """One split of a recipe's data; imports no torch. Raises what `datasets.open_dataset` raises.

    `train` holds the images of `val` too where the recipe says so.
    """
    from ..datasets import FORMATS, Source, open_sources
    from ..datasets.mixed import mix

    data = recipe.data
    sources = [Source(data.format, data.root), *(Source(**source) for source in data.sources or ())]
    options = {name: getattr(data, name) for name in _OF_FORMATS}
    given = {name: value for name, value in options.items() if value is not None}
    if any(FORMATS[source.format].task == "any" for source in sources):
        given["task"] = recipe.task
    wanted = {"fractions": data.splits, "seed": recipe.seed, "options": given, "classes": data.classes}
    if split == "train" and data.with_val:
        return mix([open_sources(sources, split=part, **wanted) for part in ("train", "val")])
    return open_sources(sources, split=split, **wanted)


def split_overrides(arguments: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """`--section.entry value` and `--section.entry=value` set the recipe; everything else is argparse's.

    Returns both, the former as pairs of entry and text.
    """
    rest, overrides = [], []
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        name, equals, value = argument.partition("=")
        if not name.startswith("--") or not ("." in name or name in ("--seed", "--task")):
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
    while (folder := Path("runs") / (name if number == 1 else f"{name}-{number}") / "recipe.yaml").exists():
        number += 1
    return folder.parent


def _yaml(recipe: Recipe) -> str:
    import yaml

    return yaml.safe_dump(recipe.as_dict(), sort_keys=False, default_flow_style=None, width=120)
