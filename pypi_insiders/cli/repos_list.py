"""`pypi-insiders repos list`."""

from datetime import datetime
from typing import Any

import click

from pypi_insiders.cli.common import CommonCommand, json_option, none_watched
from pypi_insiders.cli.table import echo_table
from pypi_insiders.config.paths import default_paths
from pypi_insiders.reporting import json_output, snapshot
from pypi_insiders.reporting.judge_repositories import why_unserved
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.status import RepositoryStatus
from pypi_insiders.util.errors import InsidersError

_COLUMNS = ("repository", "project", "version", "url")


@click.command("list", cls=CommonCommand)
@json_option
def list_(as_json: bool) -> None:
    """List the watched repositories and the versions that are served."""
    # Files only: a list should not start the index, as `status` does.
    seen = snapshot.take(default_paths(), datetime.now().astimezone())
    if isinstance(seen.watched, InsidersError):
        raise seen.watched
    rows = [_members(seen, seen.watched[item.name], item) for item in seen.standings]
    if as_json:
        click.echo(json_output.document({"repositories": rows}))
    elif not rows:
        none_watched()
    else:
        keys = ("name", "project", "served_version", "url")
        cells = [[str(row[key] or "-") for key in keys] for row in rows]
        # Without it a repository with `-` for its version looks as if it were only new.
        reasons = [[f"not served: {row['reason']}"] if row["reason"] else [] for row in rows]
        echo_table(_COLUMNS, list(zip(cells, reasons, strict=True)), ("url",))


def _members(seen: Snapshot, watched: Repository, item: RepositoryStatus) -> dict[str, Any]:
    version = item.newest.version if item.newest else None
    return {
        "name": item.name,
        "url": watched.remote,
        "project": item.project,
        "served_version": version,
        "tag": item.newest.tag if item.newest else None,
        "keep": watched.keep,
        "reason": why_unserved(seen, item),
        # Deprecated (`help json`).
        "distribution": item.project,
        "version": version,
    }
