"""What the commands of both services have in common."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path

import click

from pypi_insiders.cli import common, completers, pointing
from pypi_insiders.cli.common import is_live, note, verbosity
from pypi_insiders.config.paths import Paths, default_paths
from pypi_insiders.config.settings import load_settings
from pypi_insiders.repositories import data_directories, intervals, lookup, registry
from pypi_insiders.systemd import (
    following,
    journalctl,
    server_secrets,
    service_status,
    systemctl,
    unit_files,
    unit_names,
)
from pypi_insiders.systemd.control import Setup
from pypi_insiders.systemd.journalctl import Position
from pypi_insiders.systemd.unit_names import SERVER, WATCHER, Part
from pypi_insiders.util import log
from pypi_insiders.util.errors import InsidersError

no_block = click.option("--no-block", is_flag=True, help="Do not wait for the end of the update.")
_LOG_OPTIONS = (
    click.option("-f", "--follow", is_flag=True, help="Follow the log."),
    click.option("-n", "--lines", metavar="N", help="Show the last N entries."),
    click.option(
        "-p",
        "--priority",
        metavar="LEVEL",
        shell_complete=completers.priorities,
        help="Show entries of this priority or higher.",
    ),
    click.option("--since", metavar="TIME", help="Show entries since TIME: yesterday, -1h, ..."),
)


def log_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of journalctl that `logs` has."""
    # As decorators apply from the last one up, so that the help has the order of the table.
    for option in reversed(_LOG_OPTIONS):
        function = option(function)
    return function


def setup_of(paths: Paths, part: Part) -> Setup:
    """Return the input of the units of a service.

    Raises:
        InsidersError: the settings, or for the watcher repos.toml, cannot be read; or the user
            manager is not running.
    """
    own = intervals.load(paths) if part == WATCHER else {}
    return Setup(paths, load_settings(paths.settings), systemctl.manager(), own)


def start(part: Part, begin: Callable[..., None], *, no_block: bool = True, **how: bool) -> None:
    """Start a service in some way, wait for the update if it runs one, and report its state."""
    paths = default_paths()
    setup = setup_of(paths, part)
    # Who installs right after `watcher enable` would get a public package.
    is_waited_for = part == WATCHER and not no_block
    failure = None
    # Before the units: a confined service sees only directories that exist when it starts.
    data_directories.create(paths)
    if is_waited_for:
        # Before the start: what the update logs first comes while `start` is under way.
        place, running_since = journalctl.newest(), following.running_since()
    begin(part, setup, **how)
    if is_waited_for:
        failure = wait(place)
        if running_since and _has_changed(setup.paths.repositories, running_since):
            # That update had read the list before.
            place = journalctl.newest()
            systemctl.call("start", "--no-block", part.service)
            failure = wait(place)
    now = datetime.now().astimezone()
    look = service_status.look(part, now, setup.manager)
    common.report(look.line)
    if part == SERVER and look.has_failed:
        failure = InsidersError(
            "the index was started, and is failing", "see why: `pypi-insiders server logs`"
        )
    if part == SERVER:
        try:
            server_secrets.demand_hook_secret(setup.settings, paths)
        except InsidersError as error:
            note(f"{error.message}: {error.hint}")
    if systemctl.is_lingering() is False:
        note(f"lingering is off: the {part.name} stops when you log out (`loginctl enable-linger`)")
    # Last: though the update failed, the service was started, and its state is of use.
    if failure:
        raise failure


def _has_changed(path: Path, since: float) -> bool:
    """Return whether a file was written since then, in seconds of the epoch."""
    try:
        return path.stat().st_mtime >= since
    except OSError:
        return False


def wait(place: Position | None, unit: str = WATCHER.service) -> InsidersError | None:
    """Wait for the end of an update, live on a terminal; return why it failed."""
    display: AbstractContextManager[Callable[[str], None]] = nullcontext(lambda _line: None)
    if is_live() and verbosity(click.get_current_context()) >= 0:
        # Here, as rich is needed on a terminal only.
        from pypi_insiders.cli.progress import live_line

        display = live_line()
    try:
        with display as show:
            following.follow(place, show, unit)
    except InsidersError as error:
        return error
    except KeyboardInterrupt:
        # Ctrl-C ends the wait only: the update runs in a unit, and not on this terminal.
        note("the update continues; `pypi-insiders watcher stop` stops it")
        raise
    return None


def end(part: Part, how: Callable[[Part], bool], done: str) -> None:
    """Stop or disable a service, if it is installed, and report it."""
    # Before the stop: it asks where the index listens.
    is_pointing = part == SERVER and pointing.does_shell_point(default_paths())
    was_installed = how(part)
    common.report(f"{part.name}: {done if was_installed else 'not installed'}")
    if was_installed and is_pointing:
        pointing.warn_of_shell("stopped")


def show_log(
    part: Part, options: dict[str, str | bool | None], repository: str | None = None
) -> None:
    """Become journalctl, with its own options, for a service or what it said of one repository."""
    given = [
        f"--{option}" if value is True else f"--{option}={value}"
        for option, value in options.items()
        if value not in (None, False)
    ]
    # Where there is none, that is said better than by journalctl.
    if not unit_files.is_installed(systemctl.manager().unit_path, part):
        note(f"{part.name}: not installed; see `pypi-insiders {part.name} start`")
    if repository is None:
        journalctl.logs(part.identifier, part.units, given)
    names, is_logged = _in_journal(repository)
    # What systemd says of its own units, which may have failed before an update could log.
    units = [unit for item in names for unit in unit_names.of_repository(item).units]
    is_logged = is_logged or not set(units).isdisjoint(journalctl.logged("USER_UNIT"))
    if not is_logged:
        # An update by hand logs on its terminal.
        show = f"`pypi-insiders show {names[0]}`"
        note(f"the watcher has logged nothing about {names[0]}; of an update by hand see {show}")
        if not options["follow"]:
            return
    fields = [f"{log.REPOSITORY_FIELD}={item}" for item in names]
    journalctl.logs(part.identifier, units, given, fields)


def _in_journal(repository: str) -> tuple[list[str], bool]:
    """Return the names of a repository in the journal, also of one that is no longer watched.

    Returns:
        The names, and whether the journal has any of them.

    Raises:
        InsidersError: it has none, and the repository is not watched either.
    """
    watched = registry.load(default_paths().repositories)
    wanted = lookup.meant(watched, repository).casefold()
    logged = journalctl.logged(log.REPOSITORY_FIELD)
    if found := [name for name in logged if name.casefold() == wanted]:
        return found, True
    return [item.name for item in lookup.select(watched, (repository,))], False
