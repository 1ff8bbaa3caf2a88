"""Show what an update is doing, live on a terminal, through rich."""

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pypi_insiders.making import Report


@contextmanager
def live() -> "Iterator[Report]":
    """Show one line for each repository at which something happens; the lines vanish in the end."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[step]}", style="cyan", markup=False),
        TimeElapsedColumn(),
    )
    tasks: dict[str, TaskID] = {}
    lock = Lock()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def report(repository: str, step: str | None) -> None:
            with lock:
                if step is None:
                    if repository in tasks:
                        progress.remove_task(tasks.pop(repository))
                elif repository in tasks:
                    progress.update(tasks[repository], step=step)
                else:
                    tasks[repository] = progress.add_task(repository, total=None, step=step)

        yield report
