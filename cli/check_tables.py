"""What `foveal check-data` shows: numbers of each split, classes, and what was found, kind by kind."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ..datasets.check import Report
    from ..datasets.findings import Finding

_PLACES = 10  # of one kind that are shown
_CLASSES = 24  # rows of the table of classes
_BAR = 24  # letters for the largest class

_UNITS = {"classification": "images", "detection": "objects", "segmentation": "pixels"}

# What a finding's action means for whoever reads it.
_MEANINGS = {
    "refused": "training refuses this",
    "left out": "left out in training",
    "mended": "mended in training",
    "kept": "used in training as it is",
    "noted": "worth knowing, not wrong",
}


def print_report(report: "Report", *, everything: bool) -> None:
    """Print all of it; `everything`: all places and classes, however many."""
    console = Console()
    mode = {"quick": " (headers of images only)", "usual": "", "full": " (every image decoded in full)"}[report.mode]
    console.print(Text(f"{report.format} {report.root or ''}".strip() + mode, style="bold"))
    if report.numbers:
        console.print()
        console.print(_numbers(report))
    if report.class_names and any(map(any, report.counts.values())):
        console.print()
        console.print(_classes(report, everything))
    for remark in report.remarks:
        console.print()
        console.print(Text(remark))
    for wrong in (True, False):
        _print_findings(console, [f for f in report.findings if (f.action != "noted") == wrong], everything)
    console.print()
    if not report.wrong():
        images = sum(numbers["images"] for numbers in report.numbers.values())
        console.print(Text(f"Nothing is wrong with these {images:,} images.", style="bold"))


def _table(first: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column(first, max_width=34, overflow="ellipsis", no_wrap=True)
    return table


def _numbers(report: "Report") -> Table:
    """A row a number, a column a split; three numbers are the least, the median and the largest."""
    table = _table("(least / median / most)")
    for split in report.numbers:
        table.add_column(split, justify="right")
    columns = [_with_one_size(numbers) for numbers in report.numbers.values()]
    if not all("size" in numbers for numbers in columns):
        columns = list(report.numbers.values())
    for name in dict.fromkeys(name for numbers in columns for name in numbers):
        table.add_row(name.replace("_", " "), *(_shown(name, numbers.get(name)) for numbers in columns))
    return table


def _with_one_size(numbers: dict[str, Any]) -> dict[str, Any]:
    """The same numbers with `size` in place of three sizes that are one."""
    sizes = {name: value for name, value in numbers.items() if name.endswith("_size")}
    if not sizes or len({tuple(value) for value in sizes.values()}) > 1:
        return numbers
    first = {"images": numbers["images"], "size": next(iter(sizes.values()))}
    return first | {name: value for name, value in numbers.items() if name not in sizes}


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name.endswith("size"):
        return f"{value[1]} x {value[0]}"
    if name == "formats":
        return ", ".join(f"{count:,} {kind}" for kind, count in value.items()) if len(value) > 1 else next(iter(value))
    if name.startswith("share"):
        return f"{100 * value:.1f} %"
    if isinstance(value, list):
        return " / ".join(_number(number) for number in value)
    return _number(value)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _classes(report: "Report", everything: bool) -> Table:
    """A row a class: its number in each split, and a bar for all of them; of many, the commonest and the rarest."""
    names, totals = report.class_names, [sum(of_class) for of_class in zip(*report.counts.values(), strict=True)]
    table = _table(f"class ({_UNITS.get(report.task, 'objects')})")
    for split in report.counts:
        table.add_column(split, justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    rows: list[int | None] = list(range(len(names)))
    if len(names) > _CLASSES and not everything:
        order = sorted(range(len(names)), key=lambda number: -totals[number])
        rows = [*order[: _CLASSES // 2], None, *order[-_CLASSES // 2 :]]
    for number in rows:
        if number is None:
            table.add_row(Text(f"... {len(names) - _CLASSES} more (--all)", style="dim"))
            continue
        bar = "█" * max(round(_BAR * totals[number] / max(totals)), 1) if totals[number] else ""
        share = f"{100 * totals[number] / sum(totals):.1f} %"
        counts = [f"{counts[number]:,}" for counts in report.counts.values()]
        table.add_row(Text(names[number]), *counts, share, Text(bar, style="dim"))
    return table


def _print_findings(console: Console, findings: Sequence["Finding"], everything: bool) -> None:
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.code, finding.action), []).append(finding)
    for (code, action), of_kind in kinds.items():
        console.print()
        head = Text(f"{code} ({len(of_kind):,})", style="bold" if action == "noted" else "bold red")
        console.print(head.append(f"  {_MEANINGS[action]}", style="not bold dim"))
        for finding in of_kind if everything else of_kind[:_PLACES]:
            console.print(Padding(Text(str(finding)), (0, 0, 0, 2), expand=False))
        if not everything and len(of_kind) > _PLACES:
            console.print(Text(f"  ... {len(of_kind) - _PLACES:,} more; --all shows them", style="dim"))
