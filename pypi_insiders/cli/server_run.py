"""`pypi-insiders server run`."""

from pathlib import Path
from socket import socket

import click

from pypi_insiders.cli.common import CommonCommand, checked, complain
from pypi_insiders.config import validators
from pypi_insiders.config.paths import default_paths
from pypi_insiders.config.settings import ServerSettings, load_settings
from pypi_insiders.server.run import refuse, serve
from pypi_insiders.systemd import sockets
from pypi_insiders.util.errors import InsidersError


@click.command("run", cls=CommonCommand)
@click.option(
    "--host",
    metavar="ADDRESS",
    callback=checked(validators.parse_host),
    help="IP address to listen on, or localhost for both loopback addresses.",
)
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Port to listen on (0: a free one).",
)
@click.option(
    "--dist-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the files to serve.",
)
@click.option(
    "--fallback-url",
    metavar="URL",
    callback=checked(validators.parse_fallback_url),
    help="Index for projects that are not served here.",
)
def run(
    host: str | None, port: int | None, dist_dir: Path | None, fallback_url: str | None
) -> None:
    """Run the index in the foreground, without systemd.

    Prints its URL. Options that are not given are read from config.toml. The unit runs this too.
    """
    inherited = sockets.inherited()
    try:
        _serve(inherited, host, port, dist_dir, fallback_url)
    except InsidersError as error:
        if not inherited:
            raise
        # Clients in the queue of systemd's socket get the reason, and do not wait for nothing.
        complain(error.message, error.hint)
        paths = default_paths()
        refuse(error, inherited, paths, lambda: load_settings(paths.settings).server)
        click.get_current_context().exit(error.exit_status)


def _serve(
    inherited: list[socket],
    host: str | None,
    port: int | None,
    dist_dir: Path | None,
    fallback_url: str | None,
) -> None:
    """Serve on the sockets of systemd, or else on those that the options and settings name."""
    paths = default_paths()

    def load() -> ServerSettings:
        settings = load_settings(paths.settings).server
        return settings if fallback_url is None else settings._replace(fallback_url=fallback_url)

    settings = load()
    listening = inherited or sockets.bind_host(
        host or settings.host, settings.port if port is None else port
    )
    if not inherited:
        # Nobody would start it again.
        settings = settings._replace(idle_timeout_s=0)
    directory = dist_dir or paths.distributions
    serve(
        paths, settings, directory, listening, lambda url: click.echo(f"{url}/simple/"),
        load=load if inherited else None,  # without systemd, SIGHUP: the terminal is gone
    )  # fmt: skip
