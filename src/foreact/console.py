"""The one place that prints to people: progress and remarks on stderr, results on stdout."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

console = Console(stderr=True)
"""Progress, notices, errors."""
out = Console()
"""Results: what a user may pipe into a file."""


def warn(message: str) -> None:
    """Print a warning: one line, however long, with every character as it is."""
    console.print(f"warning: {message}", highlight=False, markup=False, soft_wrap=True)


def progress_bar(what: str, fields: str, *, disable: bool = False) -> Progress:
    """Return a bar that shows what is done of how much, some fields, and the time gone and left.

    Args:
        what: In front of the bar.
        fields: Behind the count, with the task's fields in rich's format, `{task.fields[failed]} failed`.
        disable: Show nothing.
    """
    return Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(fields),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=disable,
    )


def frame_progress() -> Progress:
    """Return a bar for frames: what, how many of how many, how many a second, and the time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} frames/s" if task.speed else "")
