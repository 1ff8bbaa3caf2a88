"""`pypi-insiders export`."""

from pathlib import Path

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, checked, note
from pypi_insiders.config import validators
from pypi_insiders.config.paths import default_paths
from pypi_insiders.config.settings import load_settings
from pypi_insiders.util.errors import UsageError
from pypi_insiders.util.formatting import counted


@click.command(cls=CommonCommand)
@click.argument(
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    shell_complete=completers.directories,
)
@click.option(
    "--fallback-url",
    metavar="URL",
    callback=checked(validators.parse_fallback_url),
    help="Index for names that ours does not hold.",
)
@click.option("--no-fallback", is_flag=True, help="Such names are not found.")
def export(directory: Path, fallback_url: str | None, no_fallback: bool) -> None:
    """Write the index to DIR as plain files.

    Any web server, object store or CDN can serve them; nginx.conf is what nginx needs to know. Only
    what has changed is touched, so call it again after each update. Without an option, the fallback
    is that of config.toml.
    """
    from pypi_insiders.server.export import export as export_to

    if no_fallback and fallback_url is not None:
        raise UsageError("--fallback-url and --no-fallback exclude each other", "give one of them")
    paths = default_paths()
    settings = load_settings(paths.settings).server
    fallback_url = None if no_fallback else fallback_url or settings.fallback
    if settings.auth:
        note("the web server must ask for passwords itself: the exported files know none")
    done = export_to(
        paths,
        directory,
        fallback_url,
        on_wait=lambda: note("another export is running; waiting for it to end"),
    )
    if done.new or done.removed:
        change = f"{done.new} new, {done.removed} removed"
    else:
        change = f"{counted(done.pages, 'page')} changed" if done.pages else "nothing changed"
    held = f"{counted(done.projects, 'project')}, {counted(done.files, 'file')}"
    click.echo(f"exported {held} to {directory} ({change})")
