"""The bar that every long job shows at a terminal. Imports no torch."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

Thing = TypeVar("Thing")


def progress_bar() -> Progress:
    """A bar on standard error: done of all, the task field `rate`, and time left; silent where that is no terminal."""
    console = Console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        refresh_per_second=4,
        disable=not console.is_terminal,
    )


def progress(things: Sequence[Thing], title: str) -> Iterator[Thing]:
    """Give `things` one after another, under a bar."""
    with progress_bar() as bar:
        line = bar.add_task(title, total=len(things), rate="")
        for number in range(len(things)):
            yield things[number]
            bar.update(line, completed=number + 1, rate=f"{(bar.tasks[line].speed or 0):.0f}/s")
