"""`foveal evaluate CKPT`: the metrics of a checkpoint on a data set, by default on the test images of its own."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import DataError, ModelFileError, UsageError
from ..core.inputs import find_checkpoint
from .main import CommandParser
from .recipe import Recipe, change_model
from .train import open_data, split_overrides

if TYPE_CHECKING:
    from rich.table import Table


def run(arguments: list[str]) -> int:
    """Print the metrics; 0 at the end."""
    choices = "of depth --model.crop and --model.cap, of edges --model.max_distance: docs/depth.md, docs/edges.md"
    parser = CommandParser(
        "foveal evaluate", __doc__, epilog=f"Entries of the recipe that say how to evaluate: {choices}"
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="a .ckpt file, or the folder of a run (its best.ckpt)")
    parser.add_argument("--data.root", dest="root", metavar="DIR", help="another data set of the same classes")
    parser.add_argument(
        "--data.format", dest="format", metavar="NAME", help="how it is stored, if otherwise than in training"
    )
    parser.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        default="test",
        help="which images (default: test); all: every image of a set without splits of its own",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="images a step (default: as in training)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "gpu", "mps"), default="auto")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write metrics.json and plots there too")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    rest, overrides = split_overrides(arguments)
    own = [(key, text) for key, text in overrides if not key.startswith("model.")]  # declared above
    given = parser.parse_args([*rest, *(f"--{key}={text}" for key, text in own)])
    given.changes = [entry for entry in overrides if entry not in own]
    if given.batch_size is not None and given.batch_size < 1:
        raise UsageError(f"--batch-size is {given.batch_size}; it must be 1 or more.")
    find_checkpoint(given.checkpoint)
    metrics = _evaluate(given)
    if given.json:
        print(json.dumps(metrics, indent=2))
    else:
        _print_table(metrics)
    return 0


def _evaluate(given: Any) -> dict[str, Any]:
    from ..core.fit import test
    from ..core.folders import make_folder
    from ..core.options import TrainerOptions
    from ..tasks import load

    if given.out is not None:
        make_folder(given.out)
    task = load(given.checkpoint)
    if given.changes:
        task.evaluate_by(change_model(task.name, task.options, given.changes, task.EVALUATION_OPTIONS))
    recipe = _recipe_of(task, given, Recipe)
    data = open_data(recipe)
    data.transform = task.transform
    if given.split == "all":
        _refuse_own_splits(data, recipe)
    split = "test" if given.split == "all" else given.split
    dataset = data.dataset(split)
    if task.HAS_CLASSES and dataset.class_names != task.class_names:
        raise DataError(
            f"{recipe.data.root}: its classes are {_short(dataset.class_names)}, but the checkpoint knows "
            f"{_short(task.class_names)}; evaluate it on a data set with the same class names."
        )
    if given.split != "all" and _same_data(recipe, task) and data.fingerprints() != task.fingerprints:
        print(
            "foveal: The data set is not what it was in training: if its splits are drawn, they are drawn anew, and "
            "this score may count images that were trained on.",
            file=sys.stderr,
        )
    device = TrainerOptions(accelerator="gpu" if given.device == "cuda" else given.device)
    metrics: dict[str, Any] = dict(test(task, data, device, split, given.out))
    metrics |= {"images": len(dataset), "split": given.split, "checkpoint": str(given.checkpoint)}
    metrics["per_class"], metrics["tables"] = task.per_class(), task.tables()
    if remark := task.remark():
        print(f"foveal: {remark}", file=sys.stderr)
    if given.out is not None:
        (given.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return metrics


def _refuse_own_splits(data: Any, recipe: Any) -> None:
    # The shares of train and val are 0 here: a drawn val has no image, and a train of the set's own can't give one.
    try:
        data.dataset("val")
    except DataError:
        return
    except UsageError:
        pass
    raise UsageError(f"--split all: {recipe.data.root} has splits of its own; give train, val or test.")


def _same_data(recipe: Any, task: Any) -> bool:
    before, now = task.recipe.get("data", {}).get("root"), recipe.data.root
    return before == now or (before and now and Path(before).resolve() == Path(now).resolve())


def _recipe_of(task: Any, given: Any, recipe_class: type) -> Any:
    from ..core.options import DataOptions

    saved = dict(task.recipe.get("data", {}))
    if not saved and given.root is None:
        raise UsageError(f"{given.checkpoint}: it names no data set; give --data.root and --data.format.")
    if given.format is not None:  # another may have no use for what the one of the training took
        from ..datasets import not_taken_by

        saved = {key: value for key, value in saved.items() if key not in not_taken_by(given.format)}
    saved |= {key: value for key, value in (("root", given.root), ("format", given.format)) if value is not None}
    if given.batch_size:
        saved["batch_size"] = given.batch_size
    if given.split == "all":
        saved["splits"] = (0.0, 0.0, 1.0)
    try:
        options = DataOptions(**saved)
    except TypeError as error:
        raise ModelFileError(f"{given.checkpoint}: its recipe was edited or damaged ({error}).") from error
    return recipe_class(task=task.name, model=task.options, seed=task.recipe.get("seed", 0), data=options)


def _print_table(metrics: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    print(f"{metrics['checkpoint']} on {metrics['images']} {metrics['split']} images")
    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in metrics.items():
        if isinstance(value, float):
            table.add_row(name.replace("_", " "), f"{value:.4f}")
    for name, value in metrics["per_class"].items():
        table.add_row(escape(f"class {name}"), "no image" if value is None else f"{value:.4f}")
    Console().print(table)
    for title, columns in metrics["tables"].items():
        Console().print(_side_by_side(title, columns))


def _side_by_side(title: str, columns: dict[str, dict[str, float | None]]) -> "Table":
    from rich.table import Table

    table = Table()
    table.add_column(title)
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    for row in next(iter(columns.values()), {}):
        table.add_row(row.replace("_", " "), *(_number(numbers[row]) for numbers in columns.values()))
    return table


def _number(value: float | None) -> str:
    return "too few" if value is None else f"{value:.4f}"


def _short(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" … ({len(names)})" if len(names) > 6 else "")
