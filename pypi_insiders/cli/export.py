"""`pypi-insiders export`."""

from functools import partial
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
@click.argument("target", metavar="DIR|URL", shell_complete=completers.directories)
@click.option(
    "--fallback-url",
    metavar="URL",
    callback=checked(validators.parse_fallback_url),
    help="Index for projects that are not served here.",
)
@click.option("--no-fallback", is_flag=True, help="Answer 404 for such projects.")
def export(target: str, fallback_url: str | None, no_fallback: bool) -> None:
    """Write the index to DIR, or to a bucket, as plain files.

    Any web server, object store or CDN can serve them. DIR also gets an nginx.conf for nginx. Only
    changed files are written, so run it again after each update. The fallback index is by default
    that of config.toml.

    URL is s3://BUCKET/PREFIX, or with gs or az. The credentials are those of the environment.
    """
    # Here, as TAB completes the arguments without it.
    from pypi_insiders.server.exporting import bucket, directory

    if no_fallback and fallback_url is not None:
        raise UsageError("--fallback-url and --no-fallback exclude each other", "give one of them")
    is_bucket = bucket.is_url(target)
    if is_bucket and (no_fallback or fallback_url is not None):
        raise UsageError(
            "--fallback-url and --no-fallback are for nginx.conf, which only DIR gets",
            "let the web server or CDN redirect unknown projects",
        )
    paths = default_paths()
    settings = load_settings(paths.settings).server
    if fallback_url is None:
        fallback_url = settings.fallback
    # Empty: as the setting, none. It would be written as a redirect to the page itself.
    if no_fallback or not fallback_url:
        fallback_url = None
    if settings.auth:
        warn("the exported files have no passwords: the web server must ask for them")
    on_wait = partial(note, "another export is running; waiting for it to end")
    if is_bucket:
        done = bucket.export(paths, target, on_wait)
    else:
        done = directory.export(paths, Path(target), fallback_url, on_wait)
    if done.new or done.removed:
        change = f"{done.new} new, {done.removed} removed"
    else:
        change = f"{counted(done.pages, 'page')} changed" if done.pages else "nothing changed"
    held = f"{counted(done.projects, 'project')}, {counted(done.files, 'file')}"
    report(f"exported {held} to {target} ({change})")
