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
_CLASSES = 40  # rows of the table of classes
_BAR = 24  # letters for the largest class

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
    mode = {"quick": "headers of images only", "usual": "", "full": "every image decoded in full"}[report.mode]
    console.print(Text(f"{report.format} {report.root or ''}".strip() + (f" ({mode})" if mode else ""), style="bold"))
    if report.numbers:
        console.print(_numbers(report))
    if report.class_names and any(map(any, report.counts.values())):
        console.print(_classes(report, everything))
    for remark in report.remarks:
        console.print(Text(remark))
    for wrong in (True, False):
        _print_findings(console, [f for f in report.findings if (f.action != "noted") == wrong], everything)
    if not report.wrong():
        images = sum(numbers["images"] for numbers in report.numbers.values())
        console.print(Text(f"Nothing is wrong with these {images:,} images.", style="bold"))


def _numbers(report: "Report") -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column("")
    for split in report.numbers:
        table.add_column(split, justify="right")
    for name in dict.fromkeys(name for numbers in report.numbers.values() for name in numbers):
        values = [_shown(name, numbers.get(name)) for numbers in report.numbers.values()]
        table.add_row(name.replace("_", " "), *values)
    return Padding(table, (1, 0, 0, 0))


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name == "sizes":
        shown = list(dict.fromkeys(f"{width} x {height}" for height, width in value))
        return " / ".join(shown)
    if name == "formats":
        return ", ".join(f"{count:,} {kind}" for kind, count in value.items()) if len(value) > 1 else next(iter(value))
    if name.startswith("share"):
        return f"{100 * value:.1f} %"
    if isinstance(value, list):
        return " / ".join(_number(number) for number in value)
    return _number(value)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _classes(report: "Report", everything: bool) -> Padding:
    """A row a class: its number in each split, and a bar for all of them."""
    names, totals = report.class_names, [sum(of_class) for of_class in zip(*report.counts.values(), strict=True)]
    order = (
        sorted(range(len(names)), key=lambda number: -totals[number]) if len(names) > _CLASSES else range(len(names))
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column("class", max_width=30, overflow="ellipsis", no_wrap=True)
    for split in report.counts:
        table.add_column(split, justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    shown = list(order) if everything else list(order)[:_CLASSES]
    for number in shown:
        bar = "█" * max(round(_BAR * totals[number] / max(max(totals), 1)), 1) if totals[number] else ""
        share = f"{100 * totals[number] / max(sum(totals), 1):.1f} %"
        counts = [f"{counts[number]:,}" for counts in report.counts.values()]
        table.add_row(Text(names[number]), *counts, share, Text(bar, style="dim"))
    if len(shown) < len(names):
        table.add_row(Text(f"{len(names) - len(shown)} more; --all shows them", style="dim"))
    return Padding(table, (1, 0, 0, 0))


def _print_findings(console: Console, findings: Sequence["Finding"], everything: bool) -> None:
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.code, finding.action), []).append(finding)
    for (code, action), of_kind in kinds.items():
        console.print()
        head = Text(f"{code} ({len(of_kind):,})", style="" if action == "noted" else "bold red")
        console.print(head + Text(f"  {_MEANINGS[action]}", style="not bold dim"))
        for finding in of_kind if everything else of_kind[:_PLACES]:
            console.print(Padding(Text(str(finding)), (0, 0, 0, 2)))
        if not everything and len(of_kind) > _PLACES:
            console.print(Text(f"  and {len(of_kind) - _PLACES:,} more; --all shows them", style="dim"))
    if findings:
        console.print()
