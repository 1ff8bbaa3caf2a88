"""Ask before something is removed for good."""

import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.plain_text import printable
from pypi_insiders.util.without_credentials import without_credentials

_Command = TypeVar("_Command", bound=Callable[..., None])

dry_run = click.option("--dry-run", is_flag=True, help="Show what would be removed, and stop.")


def options(command: _Command) -> _Command:
    """Add `--yes` and `--dry-run`."""
    yes = click.option("-y", "--yes", is_flag=True, help="Remove without asking.")
    return yes(dry_run(command))


def is_confirmed(removals: Sequence[str], *, yes: bool, dry_run: bool) -> bool:
    """List what is to be removed, and ask whether to go on.

    Args:
        removals: what goes, one line each; where nothing does, nothing is asked.
        yes: whether to go on without asking.
        dry_run: whether to list, and not to go on.

    Raises:
        UsageError: there is no terminal on which to ask. As of `gh`, a script has to give `--yes`:
            what is removed here does not come back.
        InsidersError: the user has said no.
    """
    # Before `yes`: given together, nothing is removed.
    if dry_run:
        for line in removals:
            click.echo(printable(f"would remove {line}"))
        if not removals:
            click.echo("nothing to remove")
        return False
    if yes or not removals:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        # A typed URL may hold a token, and the log of a CI job keeps the hint.
        words = map(without_credentials, sys.argv[1:])
        # Status 2, as for a wrong option: --yes is missing. A no of the user is 1.
        raise UsageError(
            "removing for good needs --yes where no terminal can ask; nothing was removed",
            f"`{shlex.join(['pypi-insiders', *words, '--yes'])}`, or --dry-run to list what goes",
        )
    # On standard error, as the question is: standard output may be a file.
    for line in removals:
        click.echo(printable(f"will remove {line}"), err=True)
    # Enter alone removes nothing.
    if not click.confirm("Remove for good?", default=False, err=True):
        raise InsidersError("nothing was removed")
    return True
