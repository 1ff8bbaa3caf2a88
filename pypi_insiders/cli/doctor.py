"""`pypi-insiders doctor`."""

import gc
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain

import click

from pypi_insiders.cli.common import CommonCommand, is_quiet, json_option
from pypi_insiders.cli.verdicts import echo_verdicts
from pypi_insiders.config.paths import default_paths
from pypi_insiders.doctor import Finding, Verdict, examine, grouped
from pypi_insiders.reporting import json_output
from pypi_insiders.repositories import access_check, registry, token_commands

_GRAVE = (Verdict.PROBLEM, Verdict.WARNING)


@click.command(cls=CommonCommand)
@json_option
@click.option("--verify", is_flag=True, help="Read every published file and compare its hash.")
@click.option("--access", is_flag=True, hidden=True)
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, verify: bool, access: bool) -> None:
    """Check for common problems.

    Checks settings, git, systemd, disks, published files, units, the index, the sandbox of builds,
    the fallback index, the clock, the settings of pip, uv and PDM in this shell, lock files below
    this directory, and whether the watcher can read each repository. Exits with 1 if a problem is
    found; warnings may be intended.
    """
    if access:
        _print_access()
        return
    # As in `status`.
    gc.disable()
    found = examine(default_paths(), datetime.now().astimezone(), verify=verify)
    findings: list[Finding] = []
    if as_json:
        # Whole, as half of an array is no JSON.
        findings.extend(chain.from_iterable(found))
        click.echo(json_output.document({"findings": list(map(_members, findings))}))
    else:
        # Check by check: some take seconds.
        shown = chain.from_iterable(map(grouped, _kept(found, findings)))
        grave = (item for item in shown if item.verdict in _GRAVE) if is_quiet() else shown
        echo_verdicts((item.verdict, item.line, item.hint) for item in grave)
    # Unlike `status` it has no 3: a stopped service is a warning among many here.
    ctx.exit(1 if any(item.verdict == Verdict.PROBLEM for item in findings) else 0)


def _kept(
    found: Iterator[Sequence[Finding]], findings: list[Finding]
) -> Iterator[Sequence[Finding]]:
    for items in found:
        findings.extend(items)
        yield items


def _print_access() -> None:
    """Print which repositories this process can read."""
    # `--access` is hidden, as `doctor` itself runs it in a unit that has what the watcher has.
    paths = default_paths()
    watched = registry.load(paths.repositories)
    replies = access_check.ask(watched.values(), token_commands.configured(paths))
    click.echo(access_check.as_json(replies))


def _members(item: Finding) -> dict[str, str | None]:
    return {
        "check": item.check,
        "severity": item.verdict,
        "repository": item.repository,
        "text": item.message,
        "hint": item.hint,
        # Deprecated (`help json`).
        "verdict": item.verdict,
        "message": item.message,
    }
