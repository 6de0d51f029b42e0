"""The one place that prints to people: progress and remarks on stderr, results on stdout."""

from rich.console import Console

console = Console(stderr=True)
"""Progress, notices, errors."""
out = Console()
"""Results: what a user may pipe into a file."""
