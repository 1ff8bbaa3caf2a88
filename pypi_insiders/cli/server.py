"""`pypi-insiders server`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pypi_insiders.cli import service
from pypi_insiders.cli.common import Group, checked, parse_fallback_url

if TYPE_CHECKING:
    from socket import socket

    from pypi_insiders.config.settings import ServerSettings


@click.group(cls=Group)
def server() -> None:
    """Run the package index, as systemd units of the user."""


@server.command()
def start() -> None:
    """Start the package index now.

    Installs its units, or refreshes them where they are out of date.
    """
    from pypi_insiders.systemd import control

    service.start("server", control.start, at_login=False)


@server.command()
def stop() -> None:
    """Stop the package index.

    If it is enabled, it starts again at the next login.
    """
    from pypi_insiders.systemd import control

    service.report("server", control.stop(service.part_of("server")), "stopped")


@server.command()
def restart() -> None:
    """Restart the package index.

    Its settings are read again.
    """
    from pypi_insiders.systemd import control

    service.start("server", control.restart)


@server.command()
@service.as_json
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show the state of the package index.

    Exit status: 0 running, 3 stopped, 4 not installed.
    """
    ctx.exit(service.show("server", as_json=as_json))


@server.command()
@service.log_options
def logs(**options: str | bool | None) -> None:
    """Show the log of the package index.

    It is kept in the journal.
    """
    service.show_log("server", options)


@server.command()
def enable() -> None:
    """Start the package index now, and at every login."""
    from pypi_insiders.systemd import control

    service.start("server", control.start, at_login=True)


@server.command()
def disable() -> None:
    """Stop the package index and no longer start it at login."""
    from pypi_insiders.systemd import control

    service.report("server", control.disable(service.part_of("server")), "disabled")


@server.command("password")
@click.argument("user")
@click.option("--remove", is_flag=True, help="Let this user in no longer.")
def password(user: str, remove: bool) -> None:
    """Set the password of a user who may read the index.

    Asks for it on a terminal; elsewhere it is the first line of standard input. It takes effect at
    once, where `auth = true` is set.
    """
    from pypi_insiders.config import passwords
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.util.files import locked

    paths = default_paths()
    if remove:
        _remove(user)
        return
    secret = _read_secret()
    with locked(paths.passwords_lock):
        passwords.save(paths.passwords, user, secret)
    click.echo(f"{user} has a password, in {paths.passwords}")


def _remove(user: str) -> None:
    from pypi_insiders.config import passwords
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.util.files import locked

    paths = default_paths()
    with locked(paths.passwords_lock):
        was_there = passwords.remove(paths.passwords, user)
    click.echo(f"{user} {'has no password any more' if was_there else 'had no password'}")


def _read_secret() -> str:
    import sys

    from pypi_insiders.util.errors import UsageError

    if sys.stdin.isatty():
        secret: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        try:
            # Bytes, as UTF-8 whatever the locale is: so it is hashed, and sent by clients.
            secret = sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UsageError("the password is not UTF-8", "write it as UTF-8") from error
    if not secret:
        raise UsageError("the password is empty", "write it on standard input")
    return secret


@server.command("token")
@click.option("--remove", is_flag=True, help="Make the token invalid, and no new one.")
def token(remove: bool) -> None:
    """Make a new token for uploads, and print it.

    It is stored hashed, so this is the only time that it is seen; the old one is no longer valid.
    Where `uploads = true` is set: user `__token__`, and the token as the password.
    """
    import secrets

    from pypi_insiders.config import passwords
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.util.files import locked

    if remove:
        _remove(passwords.UPLOADER)
        return
    paths, secret = default_paths(), secrets.token_urlsafe(32)
    with locked(paths.passwords_lock):
        passwords.save(paths.passwords, passwords.UPLOADER, secret)
    click.echo(secret)


def _host(value: object) -> object:
    from pypi_insiders.config.validators import parse_host

    return parse_host(value)


@server.command("run")
@click.option(
    "--host", callback=checked(_host), help="IP address, or localhost for both loopback addresses."
)
@click.option("--port", type=click.IntRange(0, 65535), help="0 picks a free one.")
@click.option(
    "--dist-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the distributions.",
)
@click.option(
    "--fallback-url",
    callback=checked(parse_fallback_url),
    help="Index for names that ours does not hold.",
)
def run(
    host: str | None, port: int | None, dist_dir: Path | None, fallback_url: str | None
) -> None:
    """Run the package index in the foreground, without systemd.

    Prints its URL. What is not given comes from config.toml. This is also what the unit runs.
    """
    from pypi_insiders.cli.common import complain
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.config.settings import load_settings
    from pypi_insiders.server.run import refuse
    from pypi_insiders.systemd import sockets
    from pypi_insiders.util.errors import InsidersError

    inherited = sockets.inherited()
    try:
        _serve(inherited, host, port, dist_dir, fallback_url)
    except InsidersError as error:
        if not inherited:
            raise
        complain(error.message, error.hint)
        paths = default_paths()
        refuse(error, inherited, paths, lambda: load_settings(paths.settings).server)
        click.get_current_context().exit(error.exit_status)


def _serve(
    inherited: "list[socket]",
    host: str | None,
    port: int | None,
    dist_dir: Path | None,
    fallback_url: str | None,
) -> None:
    """Serve on the sockets of systemd, or else on those that the options and settings name."""
    from dataclasses import replace

    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.config.settings import load_settings
    from pypi_insiders.server.run import serve
    from pypi_insiders.systemd import sockets

    paths = default_paths()

    def load() -> "ServerSettings":
        settings = load_settings(paths.settings).server
        return settings if fallback_url is None else replace(settings, fallback_url=fallback_url)

    settings = load()
    listening = inherited or sockets.bind_host(
        host or settings.host, settings.port if port is None else port
    )
    if not inherited:
        # Nobody would start it again.
        settings = replace(settings, idle_timeout_s=0)
    directory = dist_dir or paths.distributions
    serve(
        paths, settings, directory, listening, lambda url: click.echo(f"{url}/simple/"),
        load=load if inherited else None,  # without systemd, SIGHUP: the terminal is gone
    )  # fmt: skip
