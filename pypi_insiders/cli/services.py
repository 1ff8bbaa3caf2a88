"""`pypi-insiders server` and `pypi-insiders watcher`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import Group, checked, note, parse_fallback_url, verbosity

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from socket import socket

    from pypi_insiders.config.settings import ServerSettings
    from pypi_insiders.systemd.control import Setup
    from pypi_insiders.systemd.following import JournalPosition
    from pypi_insiders.systemd.unit_files import Part
    from pypi_insiders.util.errors import InsidersError


def _part(name: str) -> "Part":
    from pypi_insiders.systemd.unit_files import SERVER, WATCHER

    return {part.name: part for part in (SERVER, WATCHER)}[name]


def _setup() -> "Setup":
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.config.settings import load_settings
    from pypi_insiders.systemd.control import Setup

    paths = default_paths()
    return Setup(paths, load_settings(paths.settings))


def _no_block(function: Callable[..., None]) -> Callable[..., None]:
    told = "Do not wait for the end of the update."
    return click.option("--no-block", is_flag=True, help=told)(function)


def _as_it_is(function: Callable[..., None]) -> Callable[..., None]:
    return function


def _verbs(name: str, what: str, first: str) -> Group:
    """Make the group of commands that one service has.

    Args:
        name: of the part.
        what: what the commands say they start and stop.
        first: what `start` does beyond that.
    """
    group = Group(name, help=f"Run {what}, as systemd units of the user.")

    def verb(text: str, verb_name: str) -> Callable[[Callable[..., None]], click.Command]:
        return group.command(verb_name, help=text)

    waits = "\n\nWaits until the update is over, and exits with 1 if it failed." if first else ""
    blocking = _no_block if first else _as_it_is

    @verb(
        f"Start {what} now{first}.{waits}\n\nInstalls its units, or refreshes them where they are "
        "stale.",
        "start",
    )
    @blocking
    def start(*, no_block: bool = False) -> None:
        from pypi_insiders.systemd import control

        _started(name, control.start, no_block=no_block, at_login=False)

    @verb(f"Stop {what}.\n\nIf it is enabled, it starts again at the next login.", "stop")
    def stop() -> None:
        from pypi_insiders.systemd import control

        _told(name, control.stop(_part(name)), "stopped")

    @verb(f"Restart {what}{first}.{waits}\n\nIts settings are read again.", "restart")
    @blocking
    def restart(*, no_block: bool = False) -> None:
        from pypi_insiders.systemd import control

        _started(name, control.restart, no_block=no_block)

    @verb(
        f"Show the state of {what}.\n\nExit status: 0 running, 3 stopped, 4 not installed.",
        "status",
    )
    @click.option("--json", "as_json", is_flag=True, help="For scripts; times are in UTC.")
    @click.pass_context
    def status(ctx: click.Context, as_json: bool) -> None:
        ctx.exit(_show(name, as_json=as_json))

    @verb(f"Show the log of {what}.\n\nIt is kept in the journal.", "logs")
    @click.option("-f", "--follow", is_flag=True, help="Go on as lines come in.")
    @click.option("-n", "--lines", metavar="N", help="Only the last N lines.")
    @click.option("-p", "--priority", metavar="LEVEL", help="Only lines as grave as err, ...")
    @click.option("--since", metavar="TIME", help="Only lines from then on: yesterday, -1h, ...")
    def logs(repository: str | None = None, **options: str | bool | None) -> None:
        _show_log(name, repository, options)

    @verb(f"Start {what} now{first}, and at every login.{waits}", "enable")
    @blocking
    def enable(*, no_block: bool = False) -> None:
        from pypi_insiders.systemd import control

        _started(name, control.start, no_block=no_block, at_login=True)

    @verb(f"Stop {what} and no longer start it at login.", "disable")
    def disable() -> None:
        from pypi_insiders.systemd import control

        _told(name, control.disable(_part(name)), "disabled")

    return group


def _show(name: str, *, as_json: bool) -> int:
    """Show the state of a service; tell the exit status that says the same."""
    import json
    from datetime import datetime

    from pypi_insiders.reporting import status as everything
    from pypi_insiders.systemd import service_status, systemctl

    part = _part(name)
    look = service_status.look(part, datetime.now().astimezone())
    if as_json:
        click.echo(json.dumps(everything.service(look), indent=2))
        return look.condition
    click.echo(look.line)
    if look.condition != service_status.Condition.NOT_INSTALLED:
        systemctl.print_status(part.units)
    return look.condition


def _show_log(name: str, repository: str | None, options: dict[str, str | bool | None]) -> None:
    """Become journalctl, with its own options, for a service or what it said of one repository."""
    from pypi_insiders.systemd import systemctl
    from pypi_insiders.util import log

    given = [
        f"--{option}" if value is True else f"--{option}={value}"
        for option, value in options.items()
        if value not in (None, False)
    ]
    part = _part(name)
    systemctl.manager()  # where there is none, that is said better than by journalctl
    if repository is None:
        systemctl.logs(part.identifier, part.units, given)
    fields = [f"{log.REPOSITORY_FIELD}={item}" for item in _in_journal(repository)]
    systemctl.logs(part.identifier, (), given, fields)


def _in_journal(repository: str) -> list[str]:
    """Tell under which names the journal has a repository, also one that is not watched any more.

    Raises:
        InsidersError: it has none, and the repository is not watched either.
    """
    from pypi_insiders.config.paths import default_paths
    from pypi_insiders.repositories import registry
    from pypi_insiders.repositories.model import parse_name
    from pypi_insiders.systemd import systemctl
    from pypi_insiders.util import log

    wanted = parse_name(repository).casefold()
    logged = systemctl.logged(log.REPOSITORY_FIELD)
    if found := [name for name in logged if name.casefold() == wanted]:
        return found
    watched = registry.load(default_paths().repositories)
    return [item.name for item in registry.select(watched, (repository,))]


def _started(name: str, start: Callable[..., None], *, no_block: bool, **how: bool) -> None:
    """Start a service in some way, wait for the update if it runs one, and report its state."""
    from datetime import datetime

    from pypi_insiders.repositories import data_directories
    from pypi_insiders.systemd import following, service_status, systemctl
    from pypi_insiders.util.errors import InsidersError

    setup, part = _setup(), _part(name)
    is_waited_for = name == "watcher" and not no_block
    failure = None
    systemctl.manager()  # where there is none, that is said better than by journalctl
    data_directories.create(setup.paths)
    if is_waited_for:
        place, running_since = following.here(), following.running_since()
    start(part, setup, **how)
    if is_waited_for:
        failure = _wait(place)
        if running_since and _has_changed(setup.paths.repositories, running_since):
            # That update had read the list before.
            place = following.here()
            systemctl.call("start", "--no-block", part.service)
            failure = _wait(place)
    look = service_status.look(part, datetime.now().astimezone())
    click.echo(look.line)
    if name == "server" and look.has_failed:
        failure = InsidersError(
            "the index was started, and is failing", "see why: `pypi-insiders server logs`"
        )
    if systemctl.is_lingering() is False:
        note(f"lingering is off: the {name} stops when you log out (`loginctl enable-linger`)")
    if failure:
        raise failure


def _has_changed(path: Path, since: float) -> bool:
    """Return whether a file was written since then, in seconds of the epoch."""
    try:
        return path.stat().st_mtime >= since
    except OSError:
        return False


def _wait(place: "JournalPosition") -> "InsidersError | None":
    """Wait for the end of an update, live on a terminal; return why it failed."""
    from contextlib import nullcontext

    from pypi_insiders.cli.update import is_live
    from pypi_insiders.systemd import following
    from pypi_insiders.util.errors import InsidersError

    display: AbstractContextManager[Callable[[str], None]] = nullcontext(lambda _line: None)
    if is_live() and verbosity(click.get_current_context()) >= 0:
        from pypi_insiders.cli.progress import live_line

        display = live_line("update")
    try:
        with display as show:
            following.follow(place, show)
    except InsidersError as error:
        return error
    except KeyboardInterrupt:
        note("the update continues; `pypi-insiders watcher stop` stops it")
        raise
    return None


def _told(name: str, was_installed: bool, done: str) -> None:
    click.echo(f"{name}: {done if was_installed else 'not installed'}")


server = _verbs("server", "the package index", "")
watcher = _verbs("watcher", "the watcher of the repositories", ", with an update")
_watcher_logs = watcher.commands["logs"]
_watcher_logs.params.insert(
    0,
    click.Argument(
        ["repository"], metavar="[NS/PROJ]", required=False, shell_complete=completers.repositories
    ),
)
_watcher_logs.help = "Show the log of the watcher, or only what is about one repository.\n\n" + (
    "It is kept in the journal, also of what is not watched any more."
)


def _host(value: object) -> object:
    from pypi_insiders.config.settings import parse_host

    return parse_host(value)


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
        refuse(error, inherited, default_paths(), lambda: _setup().settings.server)
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

    from pypi_insiders.server.run import serve
    from pypi_insiders.systemd import sockets

    setup = _setup()

    def load() -> "ServerSettings":
        settings = _setup().settings.server
        return settings if fallback_url is None else replace(settings, fallback_url=fallback_url)

    settings = load()
    listening = inherited or sockets.bind_host(
        host or settings.host, settings.port if port is None else port
    )
    if not inherited:
        # Nobody would start it again.
        settings = replace(settings, idle_timeout_s=0)
    directory = dist_dir or setup.paths.distributions
    serve(
        setup.paths, settings, directory, listening, lambda url: click.echo(f"{url}/simple/"),
        load=load if inherited else None,  # without systemd, SIGHUP: the terminal is gone
    )  # fmt: skip
