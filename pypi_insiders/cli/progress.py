"""Show what an update is doing, live on a terminal, through rich."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from pypi_insiders.update.progress import Activity
from pypi_insiders.util.plain_text import printable


def _progress() -> Progress:
    columns: tuple[ProgressColumn, ...] = (
        SpinnerColumn(),
        # No markup: rich would take brackets in a name or tag for its own.
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[step]}", style="cyan", markup=False),
        TimeElapsedColumn(),
    )
    # Whatever is printed meanwhile goes through rich, which would break it at the width of the
    # terminal: a line that is copied would be cut. The terminal wraps it, and keeps it whole.
    console = Console(stderr=True, soft_wrap=True)
    return Progress(*columns, console=console, transient=True)


@contextmanager
def live() -> Iterator[Callable[[str, Activity | None], None]]:
    """Show one line for each repository at which something happens; the lines vanish in the end.

    What is yielded must not be called in two threads at once.
    """
    tasks: dict[str, TaskID] = {}
    with _progress() as progress:

        def show(repository: str, step: Activity | None) -> None:
            text = printable(str(step))
            if step is None:
                progress.remove_task(tasks.pop(repository))
            elif repository in tasks:
                # At once: some steps are over before the next time that all is drawn anew.
                progress.update(tasks[repository], step=text, refresh=True)
            else:
                tasks[repository] = progress.add_task(repository, total=None, step=text)

        yield show


@contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """Show one line on an update that changes; it vanishes in the end."""
    with _progress() as progress:
        task = progress.add_task("update", total=None, step="")
        yield lambda step: progress.update(task, step=step, refresh=True)
