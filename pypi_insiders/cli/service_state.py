"""Print the state of a service, for `server status` and `watcher status`."""

from datetime import datetime

import click

from pypi_insiders.cli.common import verbosity
from pypi_insiders.cli.verdicts import echo_hint
from pypi_insiders.reporting import json_output, service_report
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.systemd import service_status, systemctl
from pypi_insiders.systemd.service_status import Condition
from pypi_insiders.systemd.unit_names import Part
from pypi_insiders.util.formatting import two_columns
from pypi_insiders.util.plain_text import printable

_INDENT = "  "


def show(
    ctx: click.Context, part: Part, *, as_json: bool, repository: Repository | None = None
) -> None:
    """Print the state of a service, and exit with the status of `systemctl status`.

    Args:
        ctx: of the command.
        part: the service.
        as_json: print it for scripts.
        repository: show the units of this one, and not those of all.
    """
    now = datetime.now().astimezone()
    look = (
        service_status.look(part, now)
        if repository is None
        else service_status.look_at_one(repository.name, now)
    )
    if as_json:
        click.echo(json_output.document(service_report.members(look, repository)))
        ctx.exit(look.condition)
    # systemctl prints twenty lines about two units, and the address is in none of them.
    head = service_report.head(look) if repository is None else f"{repository.name}: {look.state}"
    click.echo(head)
    for line in two_columns(list(service_report.rows(look, now))):
        click.echo(f"{_INDENT}{printable(line)}")
    if hint := service_report.hint(look, repository):
        echo_hint(hint, _INDENT)
    # Of units that do not exist systemctl has nothing to print but an error.
    if verbosity(ctx) > 0 and look.condition != Condition.NOT_INSTALLED:
        click.echo()
        systemctl.print_status(look.part.units)
    ctx.exit(look.condition)
