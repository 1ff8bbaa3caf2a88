"""`pypi-insiders doctor`."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

import click

from pypi_insiders.cli.common import CommonCommand, is_quiet
from pypi_insiders.cli.verdicts import echo_verdicts
from pypi_insiders.config.paths import default_paths
from pypi_insiders.doctor import Finding, Verdict, examine
from pypi_insiders.repositories import access_check, registry

_GRAVE = (Verdict.PROBLEM, Verdict.WARNING)


@click.command(cls=CommonCommand)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option("--verify", is_flag=True, help="Read every published file and compare its hash.")
@click.option("--access", is_flag=True, hidden=True)
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, verify: bool, access: bool) -> None:
    """Check for common problems.

    Settings, git, systemd, disks, the published files, the units, the index, the sandbox for
    builds, the index for all other names, the clock, what pip, uv and PDM use in this shell, lock
    files below this directory, and whether each repository can be read: not from this shell, but
    from a unit like the watcher's. Exit status 1 if there is a problem; what may be as it should be
    is a warning.
    """
    if access:
        _print_access()
        return
    found = examine(default_paths(), datetime.now().astimezone(), verify=verify)
    findings: list[Finding] = []
    if as_json:
        findings.extend(found)
        _print_json(findings)
    else:
        # Line by line: some checks take seconds.
        kept = _kept(found, findings)
        shown = (item for item in kept if item.verdict in _GRAVE) if is_quiet() else kept
        echo_verdicts((item.verdict, item.line, item.hint) for item in shown)
    ctx.exit(1 if any(item.verdict == Verdict.PROBLEM for item in findings) else 0)


def _kept(found: Iterator[Finding], findings: list[Finding]) -> Iterator[Finding]:
    for item in found:
        findings.append(item)
        yield item


def _print_access() -> None:
    """Tell which repositories can be read from this process: this runs in a unit."""
    watched = registry.load(default_paths().repositories)
    click.echo(access_check.as_json(access_check.ask(watched.values())))


def _print_json(findings: list[Finding]) -> None:
    click.echo(json.dumps([asdict(item) for item in findings], indent=2))
