"""The bar that every long job shows at a terminal. Imports no torch."""

from collections.abc import Iterator
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

Thing = TypeVar("Thing")
Given = TypeVar("Given", covariant=True)


class Numbered(Protocol[Given]):
    """What has a length and is asked by number: a list, or a data set."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> Given:
        """One of them."""
        ...


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


def progress(things: Numbered[Thing], title: str) -> Iterator[Thing]:
    """Give `things` one after another, under a bar."""
    with progress_bar() as bar:
        line = bar.add_task(title, total=len(things), rate="")
        for number in range(len(things)):
            yield things[number]
            bar.update(line, completed=number + 1, rate=f"{(bar.tasks[line].speed or 0):.0f}/s")
