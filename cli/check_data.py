"""`foveal check-data RECIPE|FORMAT PATH`: what is wrong with a data set, file by file."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..configs import find_recipe, list_recipes
from ..core.errors import DataError, UsageError, unknown
from ..datasets import FORMATS, taken_by
from .main import CommandParser
from .recipe import Recipe, parse_data, parse_recipe

if TYPE_CHECKING:
    from ..datasets.check import Report
    from ..datasets.scan import Watch

_EPILOG = """By default every image is decoded, JPEG files at a fraction of their size, and every mask, edge and depth
map is read. What is worth knowing and not wrong is shown last: with nothing else, the command ends with 0.

formats:
  """

# Entries of a recipe that say what the data are.
_ENTRIES = {
    "data.splits": "shares of train, val and test, where the data set has no splits: '[0.65, 0.1, 0.25]'",
    "data.mask_values": "what the values of masks stand for: '{0: background, 255: road}'",
    "data.ignore_value": "the value of mask pixels that count for nothing",
    "data.depth_scale": "steps of a 16-bit depth file to the metre",
    "data.images": "how many images the drawn world has",
    "seed": "draws the splits, as in training (default: 0)",
    "task": "what the drawn world is drawn for",
}


def run(arguments: list[str]) -> int:
    """Look and report; 0 if nothing is wrong."""
    formats = "\n  ".join(f"{name:<18} {format.about}" for name, format in FORMATS.items())
    parser = CommandParser("foveal check-data", __doc__, epilog=_EPILOG + formats)
    parser.add_argument("what", metavar="RECIPE|FORMAT", help="a recipe, by name or as a YAML file, or a format below")
    parser.add_argument("path", metavar="PATH", nargs="?", help="the data set (default: the recipe's data.root)")
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--quick", action="store_true", help="headers and bytes of images alone; no masks and maps")
    depth.add_argument("--full", action="store_true", help="decode every image in full")
    parser.add_argument("--all", action="store_true", help="show all places, not ten of each kind")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    parser.add_argument("--fix", type=Path, metavar="OUT", help="write a copy without the faults, and a log of changes")
    parser.add_argument("--data.root", dest="root", metavar="DIR", help="the same as PATH")
    for name, meaning in _ENTRIES.items():
        parser.add_argument(f"--{name}", dest=name, metavar="X", help=meaning)
    given = parser.parse_args(arguments)
    from ..datasets.mend import UNMENDABLE, require_mendable

    recipe = _recipe_of(given)
    if given.fix is not None:
        _require_place(recipe, given.fix)
    report = _check(recipe, "quick" if given.quick else "full" if given.full else "usual")
    mendable = all(finding.code not in UNMENDABLE for finding in report.findings)
    changes = _fix(report, recipe, given.fix) if given.fix is not None and mendable else None
    if given.json:
        print(json.dumps(_as_dict(report, given.fix, changes), indent=2))
    else:
        from .check_tables import print_report

        print_report(report, everything=given.all)
        if changes is not None:
            print(f"A copy without these faults is in {given.fix}; its changes.csv lists {changes} changes.")
    if given.fix is not None:
        require_mendable(report.findings)
    _raise_if_wrong(report, offer_fix=given.fix is None and mendable)
    return 0


def _recipe_of(given: Any) -> Recipe:
    """The data that are meant, with the options of the command line."""
    if given.path is not None and given.root is not None:
        raise UsageError(f"The data set is given twice, as {given.path} and as --data.root {given.root}; give one.")
    overrides = [(name, value) for name in _ENTRIES if (value := getattr(given, name)) is not None]
    root = given.path if given.path is not None else given.root
    if root is not None:
        if not Path(root).expanduser().exists():
            raise UsageError(f"{root}: there is no such folder or file.")
        overrides.append(("data.root", root))
    if given.what in FORMATS:
        recipe = parse_data(given.what, overrides)
    elif given.what in list_recipes() or given.what.endswith((".yaml", ".yml")):
        find_recipe(given.what)
        recipe = parse_recipe(given.what, overrides)
    else:
        known = [*FORMATS, *list_recipes()]
        raise unknown("recipe or data format", given.what, known, "`foveal check-data --help` shows the formats.")
    kind = FORMATS[recipe.data.format]
    if recipe.data.root is None and not kind.embedded:
        raise UsageError(f"The data format {recipe.data.format} reads {kind.about}: say where, as PATH.")
    if recipe.task == "any":
        raise UsageError(f"The format {recipe.data.format} is for every task: say which with --task.")
    return recipe


def _options(recipe: Recipe) -> dict[str, Any]:
    """Entries of the recipe that describe its data; the reader refuses those that are not for it."""
    entries = ("images", "mask_values", "ignore_value", "depth_scale")
    given = {name: value for name in entries if (value := getattr(recipe.data, name)) is not None}
    if "task" in taken_by(recipe.data.format):
        given["task"] = recipe.task
    return given


def _check(recipe: Recipe, mode: Any) -> "Report":
    from ..core.bars import progress_bar
    from ..datasets.check import check_dataset

    with progress_bar() as bar:
        report = check_dataset(
            recipe.data.format,
            recipe.data.root,
            fractions=recipe.data.splits,
            seed=recipe.seed,
            options=_options(recipe),
            mode=mode,
            watch=_watch(bar),
        )
    if recipe.data.sources:
        report.remarks.append("The sets in data.sources were not looked at: give each with its format and PATH.")
    if recipe.data.classes:
        report.remarks.append("All classes were looked at, whatever data.classes chooses.")
    return report


def _watch(bar: Any) -> "Watch":
    """What is told of the work under way, shown in a bar: one line for each title."""
    lines: dict[str, Any] = {}
    began: dict[str, float] = {}

    def watch(title: str, done: int, total: int) -> None:
        if not done or title not in lines:
            for line in lines.values():
                bar.remove_task(line)
            lines.clear()
            lines[title], began[title] = bar.add_task(title, total=total, rate=""), time.perf_counter()
        rate = done / max(time.perf_counter() - began[title], 1e-6)
        bar.update(lines[title], completed=done, rate=f"{rate:.0f}/s")

    return watch


def _require_place(recipe: Recipe, out: Path) -> None:
    from ..datasets.check import base_of
    from ..datasets.mend import require_place

    if FORMATS[recipe.data.format].embedded:
        raise UsageError(f"--fix: the format {recipe.data.format} has no files to copy.")
    require_place(base_of(recipe.data.root), out)


def _fix(report: "Report", recipe: Recipe, out: Path) -> int:
    from ..datasets.check import splits_are_drawn
    from ..datasets.mend import write_copy

    root = str(recipe.data.root)
    common = {"fractions": recipe.data.splits, "seed": recipe.seed, "options": _options(recipe)}
    dropped = dict(report.dropped)
    # Drawn anew without some images, the splits could tear apart pictures that are nearly the same.
    if report.alike and splits_are_drawn(report.format, root, common):
        dropped = report.alike | dropped
    return write_copy(report.format, root, out, findings=report.findings, dropped=dropped, truths=report.truths)


def _as_dict(report: "Report", out: Path | None, changes: int | None) -> dict[str, Any]:
    splits = {
        split: numbers | {"classes": dict(zip(report.class_names, report.counts.get(split, ()), strict=False))}
        for split, numbers in report.numbers.items()
    }
    findings = [
        {"code": finding.code, "file": finding.file, "place": finding.place, "text": finding.text}
        | {"action": finding.action}
        for finding in report.findings
    ]
    entry = {"format": report.format, "task": report.task, "root": report.root, "mode": report.mode, "splits": splits}
    entry |= {"remarks": report.remarks, "wrong": len(report.wrong()), "findings": findings}
    return entry if changes is None else entry | {"fixed": {"out": str(out), "changes": changes}}


def _raise_if_wrong(report: "Report", *, offer_fix: bool) -> None:
    wrong = Counter(finding.code for finding in report.wrong())
    if not wrong:
        return
    count = wrong.total()
    kinds = ", ".join(f"{number} {code}" for code, number in wrong.most_common(5)) + ", ..." * (len(wrong) > 5)
    remedy = "; --fix OUT writes a copy without them" if offer_fix else ""
    raise DataError(f"{report.root or report.format}: {count} fault{'s' * (count != 1)} ({kinds}){remedy}.")
