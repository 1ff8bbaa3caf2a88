"""`pypi-insiders repos list`."""

import json
from datetime import datetime

import click

from pypi_insiders.cli.common import CommonCommand, none_watched
from pypi_insiders.cli.table import echo_table
from pypi_insiders.config.paths import default_paths
from pypi_insiders.reporting import snapshot
from pypi_insiders.reporting.judge_repositories import why_unserved
from pypi_insiders.util.errors import InsidersError


@click.command("list", cls=CommonCommand)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_(as_json: bool) -> None:
    """List the watched repositories and the versions that are served."""
    seen = snapshot.take(default_paths(), datetime.now().astimezone())
    if isinstance(seen.watched, InsidersError):
        raise seen.watched
    rows: list[dict[str, str | int | None]] = [
        {
            "name": item.name,
            "url": seen.watched[item.name].remote,
            "distribution": item.project,
            "version": item.newest.version if item.newest else None,
            "tag": item.newest.tag if item.newest else None,
            "keep": seen.watched[item.name].keep,
            "reason": why_unserved(seen, item),
        }
        for item in seen.standings
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        none_watched()
    else:
        columns = ("name", "distribution", "version", "url")
        cells = [[str(row[key] or "-") for key in columns] for row in rows]
        reasons = [[f"not served: {row['reason']}"] if row["reason"] else [] for row in rows]
        echo_table(columns, list(zip(cells, reasons, strict=True)))
