"""`pypi-insiders export`."""

from pathlib import Path

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, checked, note, report, warn
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
    help="Index for projects that are not served here.",
)
@click.option("--no-fallback", is_flag=True, help="Answer 404 for such projects.")
def export(directory: Path, fallback_url: str | None, no_fallback: bool) -> None:
    """Write the index to DIR as plain files.

    Any web server, object store or CDN can serve them. DIR also gets an nginx.conf for nginx. Only
    changed files are written, so run it again after each update. The fallback index is by default
    that of config.toml.
    """
    # Here, as TAB completes the arguments without it.
    from pypi_insiders.server.exporting.directory import export as export_to

    if no_fallback and fallback_url is not None:
        raise UsageError("--fallback-url and --no-fallback exclude each other", "give one of them")
    paths = default_paths()
    settings = load_settings(paths.settings).server
    if fallback_url is None:
        fallback_url = settings.fallback
    # Empty: as the setting, none. It would be written as a redirect to the page itself.
    if no_fallback or not fallback_url:
        fallback_url = None
    if settings.auth:
        warn("the exported files have no passwords: the web server must ask for them")
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
    report(f"exported {held} to {directory} ({change})")
