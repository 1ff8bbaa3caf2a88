"""Render, install and remove the unit files."""

import contextlib
import os
import re
import shlex
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from pypi_insiders import __version__
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import NOTIFY_VARIABLE, ServerSettings, Settings, WatcherSettings
from pypi_insiders.systemd import confinement
from pypi_insiders.systemd.confinement import Program
from pypi_insiders.systemd.systemctl import quote
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text, remove, write_atomic

_SOURCE = Path(__file__).with_name("units")
_MARK = "# Installed by pypi-insiders"
# Source: XDG Base Directory Specification.
_DEFAULT_DIRECTORIES = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_CACHE_HOME": ".cache",
}
# Sorts before `override.conf`, which `systemctl edit` writes: the person has the last word.
DROP_IN = "10-config.conf"


@dataclass(frozen=True)
class Part:
    """A service, and the unit that starts it when it is needed."""

    name: str
    """As the command line calls it."""
    trigger: str
    """The socket or timer: it is what is started, stopped and enabled."""
    service: str

    @property
    def identifier(self) -> str:
        """The `SyslogIdentifier=` of its lines."""
        return self.service.removesuffix(".service")

    @property
    def units(self) -> tuple[str, str]:
        """Both units; stopped in this order, so that nothing starts the service again."""
        return (self.trigger, self.service)


SERVER = Part("server", "pypi-insiders-server.socket", "pypi-insiders-server.service")
WATCHER = Part("watcher", "pypi-insiders-watcher.timer", "pypi-insiders-watcher.service")
PARTS = (SERVER, WATCHER)
# Tells the person what is wrong; the instance says who found out.
NOTIFIER = "pypi-insiders-notify@.service"
NOTIFIERS = NOTIFIER.replace("@", "@*")
REQUESTS = "pypi-insiders-notify.path"
SHARED = (NOTIFIER, REQUESTS)
"""Installed with either part."""
UNITS = (*SERVER.units, *WATCHER.units, *SHARED)
FORMER = ("pypi-insiders.slice",)
"""What older versions installed."""
FORMER_SLICES = (*FORMER, "pypi.slice")
"""The second is made by systemd itself, for the dash in the name. Source: systemd.slice(5)."""
_CONFINED = {"server": SERVER.service, "watcher": WATCHER.service, "notify": NOTIFIER}
# Since then a reload ends when the service says so. Source: systemd.service(5), `Type=`.
_NOTIFY_RELOAD = 253


def gone() -> Path:
    """Name the file by which the notifier remembers that it stopped the index.

    It does so where the program of the units, or its interpreter, is gone.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    return Path(runtime, "pypi-insiders/gone")


def installed_command() -> str:
    """Find this program, as `ExecStart=` wants it."""
    program, *rest = installed_words()
    return " ".join((quote(program), *rest))


def installed_words() -> tuple[str, ...]:
    """Find the absolute path of this program, or the words that run it.

    The path by which it was called is kept, links included: that of `uv tool` and `pipx` stays
    the same over upgrades.
    """
    called = Path(sys.argv[0]).absolute()
    if called.name == "pypi-insiders" and os.access(called, os.X_OK):
        return (str(called),)
    script = Path(sysconfig.get_path("scripts"), "pypi-insiders")
    if os.access(script, os.X_OK):
        return (str(script),)
    return (sys.executable, "-m", "pypi_insiders")


def render(
    command: str,
    paths: Paths | None,
    settings: Settings,
    program: Program | None = None,
    systemd: int = 0,
) -> dict[str, str]:
    """Render all units, and a drop-in for each setting that differs from what the unit says.

    Args:
        command: quoted, for `ExecStart=`.
        paths: handed to the services, so that they agree with this shell; `None`: each user has
            their own, as is right for a package.
        settings: those of `config.toml`.
        program: what the services run; `None`: they are not confined.
        systemd: the version of the manager; 0: any.

    Returns:
        Path below the unit directory, such as `pypi-insiders-watcher.timer` or
        `pypi-insiders-watcher.timer.d/10-config.conf`, to its text.
    """
    values = {
        "version": __version__,
        "command": command,
        "arguments": command.replace("$", "$$"),
        "environment": "\n".join(_environment(variables(paths)) if paths else ()),
        "type": _NEW_TYPE if systemd >= _NOTIFY_RELOAD else _OLD_TYPE,
    }
    texts = {unit: _render_unit(unit, values) for unit in UNITS}
    texts |= _in_files(_drop_ins(settings))
    return texts | (_confinement(paths, settings, program) if paths and program else {})


_OLD_TYPE = "Type=notify\nExecReload=/bin/sh -c 'kill -HUP $MAINPID'"
_NEW_TYPE = "Type=notify-reload"


def _confinement(paths: Paths, settings: Settings, program: Program) -> dict[str, str]:
    """Render the drop-ins of the services that are confined."""
    return {
        name: _render_unit(name, values)
        for kind, values in confinement.values(paths, settings, program).items()
        for name in (_confinement_of(_CONFINED[kind]),)
    }


def _confinement_of(unit: str) -> str:
    return f"{unit}.d/{confinement.DROP_IN}"


def render_drop_ins(
    paths: Paths,
    settings: Settings,
    environment: Mapping[str, str],
    program: Program | None = None,
) -> dict[str, str]:
    """Render what changes units that a package brings.

    Args:
        paths: handed to the services where they would find others.
        settings: those of `config.toml`.
        environment: what the manager hands to each service.
        program: as for `render`.

    Returns:
        As `render`, without the units.
    """
    home = environment.get("HOME", "")
    missing = {
        name: value
        for name, value in variables(paths).items()
        if value != (environment.get(name) or f"{home}/{_DEFAULT_DIRECTORIES[name]}")
    }
    drop_ins = _drop_ins(settings)
    for unit in UNITS:
        if missing and unit.endswith(".service"):
            drop_ins.setdefault(unit, ["[Service]"]).extend(_environment(missing))
    return _in_files(drop_ins) | (_confinement(paths, settings, program) if program else {})


def _in_files(drop_ins: Mapping[str, list[str]]) -> dict[str, str]:
    return {
        _drop_in_of(unit): f"{_MARK}, from config.toml.\n" + "\n".join(lines) + "\n"
        for unit, lines in drop_ins.items()
    }


def variables(paths: Paths) -> dict[str, str]:
    """Tell by which variables a service finds what this shell does."""
    return {
        "XDG_CONFIG_HOME": str(paths.config.parent),
        "XDG_DATA_HOME": str(paths.data.parent),
        "XDG_STATE_HOME": str(paths.state.parent),
        "XDG_CACHE_HOME": str(paths.cache.parent),
    }


def _environment(values: Mapping[str, str]) -> list[str]:
    return [f"Environment={quote(f'{name}={value}')}" for name, value in values.items()]


def _render_unit(unit: str, values: Mapping[str, str]) -> str:
    path = _SOURCE / unit
    if path.exists():
        return path.read_text(encoding="utf-8")
    text = path.with_name(f"{path.name}.in").read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@\n", f"{value}\n" if value else "")
        text = text.replace(f"@{name}@", value)
    return text


def _drop_in_of(unit: str) -> str:
    return f"{unit}.d/{DROP_IN}"


def _drop_ins(settings: Settings) -> dict[str, list[str]]:
    """Say in systemd's words what the settings change.

    An empty assignment resets a list. Source: systemd.socket(5), systemd.timer(5).
    """
    drop_ins = {}
    server, watcher = settings.server, settings.watcher
    if (server.host, server.port) != (ServerSettings.host, ServerSettings.port):
        listen = [f"ListenStream={address}" for address in server.addresses]
        drop_ins[SERVER.trigger] = ["[Socket]", "ListenStream=", *listen]
        if server.host != ServerSettings.host:
            drop_ins[SERVER.trigger].append("FreeBind=no")  # a wrong address is to be noticed
    # The server reads these from config.toml itself. systemd ignores keys that start with X-, but
    # by the lines a change is seen.
    own = {
        "FallbackURL": (server.fallback_url, ServerSettings.fallback_url),
        "IdleTimeoutSec": (server.idle_timeout_s, ServerSettings.idle_timeout_s),
        "Names": (" ".join(server.names), ""),
        "Auth": (server.auth, ServerSettings.auth),
        "Uploads": (server.uploads, ServerSettings.uploads),
    }
    changed = [f"X-{key}={value}" for key, (value, default) in own.items() if value != default]
    if changed:
        drop_ins[SERVER.service] = ["[Service]", *changed]
    if watcher.interval_s != WatcherSettings.interval_s:
        drop_ins[WATCHER.trigger] = [
            "[Timer]",
            "OnCalendar=",
            f"OnCalendar={calendar_event(watcher.interval_s)}",
            f"RandomizedDelaySec={watcher.interval_s // 10}",
            f"AccuracySec={min(60, max(1, watcher.interval_s // 10))}",
        ]
    if watcher.notify_command is not None:
        # For when config.toml is what is wrong.
        variable = f"{NOTIFY_VARIABLE}={shlex.join(watcher.notify_command)}"
        drop_ins[NOTIFIER] = ["[Service]", f"Environment={quote(variable)}"]
    return drop_ins


def calendar_event(interval_s: int) -> str:
    """Write a span that divides a minute, an hour or a day evenly as a calendar event.

    Source: systemd.time(7), "CALENDAR EVENTS".
    """
    if interval_s < 60:
        return f"*:*:0/{interval_s}"
    if interval_s < 3600:
        return f"*:0/{interval_s // 60}"
    return "daily" if interval_s == 86400 else f"0/{interval_s // 3600}:00"


@dataclass(frozen=True)
class Change:
    """What an installation changed."""

    before: dict[Path, str | None]
    """Each file that was written or removed, to its text before; `None`: there was none."""
    units: frozenset[str]
    """The units concerned."""

    def undo(self) -> None:
        """Put every file back as it was."""
        for path, text in self.before.items():
            if text is None:
                remove(path)
                _remove_empty(path.parent)
            else:
                write_atomic(path, text)


def install(directory: Path, texts: Mapping[str, str], part: Part) -> Change:
    """Write the units of one part where they are missing or stale.

    Files that are right already are not touched. A person's own drop-ins stay.

    Args:
        directory: where the manager looks for units.
        texts: what `render` made.
        part: whose units are wanted.

    Raises:
        InsidersError: a file of that name is not ours, or cannot be written; all is as it was.
    """
    before: dict[Path, str | None] = {}
    units = set()
    try:
        for unit in (*part.units, *SHARED, *_former(directory)):
            for name in _files_of(unit):
                path, text = directory / name, texts.get(name)
                old = _read_ours(path)
                if old == text:
                    continue
                before[path] = old
                units.add(unit)
                if text is None:
                    remove(path)
                    _remove_empty(path.parent)
                else:
                    write_atomic(path, text)
    except BaseException:
        Change(before, frozenset()).undo()
        raise
    return Change(before, frozenset(units))


def _former(directory: Path) -> tuple[str, ...]:
    """Name what older versions installed, and nobody has masked or replaced."""
    return tuple(
        unit
        for unit in FORMER
        if not (directory / unit).is_symlink() and is_ours(read_text(directory / unit) or "")
    )


def _read_ours(path: Path) -> str | None:
    if path.is_symlink():
        masked = path.resolve() == Path(os.devnull)
        raise InsidersError(
            f"{path.name} is masked" if masked else f"{path} is a link, which is not ours",
            f"`systemctl --user unmask {path.name}`" if masked else "move it away",
        )
    text = read_text(path)
    if text is not None and not is_ours(text):
        raise InsidersError(f"{path} is there and was not written by pypi-insiders", "move it away")
    return text


def is_ours(text: str) -> bool:
    """Tell by the text of a unit file or drop-in whether we wrote it."""
    return text.startswith(_MARK)


class Freshness(Enum):
    """How an installed file compares with what would be written now."""

    CURRENT = auto()
    MISSING = auto()
    UNCONFINED = auto()
    """It would confine a service, and is missing."""
    STALE = auto()
    """It is of another version, command, directory or setting."""
    EDITED = auto()
    """It is of this version, which never writes it so."""


def names(part: Part) -> tuple[str, ...]:
    """Name the files of a part, below the unit directory, whether they are wanted or not."""
    return tuple(name for unit in (*part.units, *SHARED) for name in _files_of(unit))


def _files_of(unit: str) -> tuple[str, ...]:
    """Name the files of a unit, below the unit directory."""
    confined = (_confinement_of(unit),) if unit in _CONFINED.values() else ()
    return (unit, _drop_in_of(unit), *confined)


def freshness(directory: Path, name: str, texts: Mapping[str, str]) -> Freshness:
    """Compare an installed file with what would be written now.

    Only services tell the version that wrote them; all files of a part are written at once, so
    the others are as old as the oldest of those.

    Args:
        directory: where the manager looks for units.
        name: one of `names`.
        texts: what `render` made.

    Raises:
        InsidersError: a file of that name is not ours, or cannot be read.
    """
    text = _read_ours(directory / name)
    if text == texts.get(name):
        return Freshness.CURRENT
    if text is None and name.endswith(confinement.DROP_IN):
        return Freshness.UNCONFINED
    if text is None:
        return Freshness.MISSING if name in UNITS else Freshness.STALE
    if name not in UNITS or any(
        version != __version__
        for part in PARTS
        if name in (*part.units, *SHARED)
        for version in re.findall(rf"\A{_MARK} (\S+),", read_text(directory / part.service) or "")
    ):
        return Freshness.STALE
    return Freshness.STALE if _is_as_written(name, text) else Freshness.EDITED


def _is_as_written(unit: str, text: str) -> bool:
    """Tell whether this version wrote a unit, for whatever command and directories."""
    values = {
        "version": __version__,
        "command": "\0",
        "arguments": "\0",
        "environment": "\1",
        "type": "\2",
    }
    pattern = re.escape(_render_unit(unit, values))
    pattern = pattern.replace(re.escape("\0"), ".+")
    types = "|".join(map(re.escape, (_OLD_TYPE, _NEW_TYPE)))
    pattern = pattern.replace(re.escape("\2"), f"(?:{types})")
    pattern = pattern.replace(re.escape("\1"), r"Environment=.+(?:\nEnvironment=.+)*")
    return re.fullmatch(pattern, text) is not None


def own_drop_ins(listed: str) -> list[str]:
    """Pick the drop-ins that are not ours from the property `DropInPaths` of a unit."""
    ours = (f"/{DROP_IN}", f"/{confinement.DROP_IN}")
    return [path for path in listed.split() if not path.endswith(ours)]


def find(directories: Iterable[Path], unit: str) -> Path | None:
    """Find a unit in the first directory that has it."""
    return next((path for directory in directories if (path := directory / unit).exists()), None)


def is_installed(directories: Iterable[Path], part: Part) -> bool:
    """Tell whether the units of a part are there, in whatever directory the manager looks."""
    return all(find(directories, unit) for unit in part.units)


def are_packaged(directories: Iterable[Path], command: str) -> bool:
    """Tell whether a package of the system brings all units just as this program writes them.

    Those of another version, or that run another command, are not ours to use.

    Args:
        directories: where the manager looks, without that of the user.
        command: quoted, for `ExecStart=`.

    Raises:
        InsidersError: a unit cannot be read.
    """
    return all(
        (path := find(directories, unit)) is not None and read_text(path) == text
        for unit, text in render(command, None, Settings()).items()
    )


def uninstall(directory: Path) -> list[Path]:
    """Remove all unit files and drop-ins that are ours; return them.

    Goes on after a failure.

    Raises:
        InsidersError: some could not be removed; the first one is named.
    """
    removed, failed = [], []
    for unit in (*UNITS, *_former(directory)):
        for path in map(directory.joinpath, reversed(_files_of(unit))):
            try:
                if not path.is_symlink() and _read_ours(path) is not None and remove(path):
                    removed.append(path)
            except InsidersError as error:
                failed.append(error)
        _remove_empty(directory / f"{unit}.d")
    for wants in directory.glob("*.wants"):  # what `systemctl disable` cannot do without the unit
        for part in PARTS:
            link = wants / part.trigger
            if link.is_symlink() and remove(link):
                removed.append(link)
    if failed:
        raise failed[0]
    return removed


def _remove_empty(directory: Path) -> None:
    """Remove the directory of a unit's drop-ins, unless something is in it."""
    if directory.name.endswith(".d"):
        with contextlib.suppress(OSError):
            directory.rmdir()
