"""Render unit files and drop-ins."""

import os
import re
import shlex
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from pypi_insiders import __version__
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import NOTIFY_VARIABLE, ServerSettings, Settings, WatcherSettings
from pypi_insiders.systemd import confinement
from pypi_insiders.systemd.confinement import Program
from pypi_insiders.systemd.quoting import quote
from pypi_insiders.systemd.unit_names import (
    CONFINED,
    HOOKS,
    NOTIFIER,
    OF_HOOKS,
    ONE,
    SERVER,
    UNITS,
    WATCHER,
    confinement_of,
    drop_in_of,
    of_repository,
)

_NONE: Mapping[str, int] = {}
_SOURCE = Path(__file__).with_name("units")
_MARK = "# Installed by pypi-insiders"
# Defaults are not written into units: they would fix the place even if the home moves.
# Source: XDG Base Directory Specification.
_DEFAULT_DIRECTORIES = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_CACHE_HOME": ".cache",
}
# From this version on, `reload` waits for the service. Source: systemd.service(5), `Type=`.
_NOTIFY_RELOAD = 253
_OLD_TYPE = "Type=notify\nExecReload=/bin/sh -c 'kill -HUP $MAINPID'"
_NEW_TYPE = "Type=notify-reload"


def installed_command() -> str:
    """Return the command of this program for `ExecStart=`."""
    program, *rest = installed_words()
    return " ".join((quote(program), *rest))


def installed_words() -> tuple[str, ...]:
    """Return the absolute path of this program, or the command that runs it."""
    # Links are kept: those of `uv tool` and `pipx` survive upgrades, their targets do not.
    called = Path(sys.argv[0]).absolute()
    if called.name == "pypi-insiders" and os.access(called, os.X_OK):
        return (str(called),)
    script = Path(sysconfig.get_path("scripts"), "pypi-insiders")
    if os.access(script, os.X_OK):
        return (str(script),)
    return (sys.executable, "-m", "pypi_insiders")


def render(  # noqa: PLR0913, PLR0917  # what units depend on
    command: str,
    paths: Paths | None,
    settings: Settings,
    program: Program | None = None,
    systemd: int = 0,
    intervals: Mapping[str, int] = _NONE,
) -> dict[str, str]:
    """Render all units, and drop-ins for settings that differ from the units.

    Args:
        command: quoted, for `ExecStart=`.
        paths: the paths of this shell, passed to the services; `None`: each user's own, for a
            system package.
        settings: the settings of `config.toml`.
        program: the files that services need; `None`: they are not confined.
        systemd: the version of the manager; 0: any.
        intervals: repository to its own interval, in seconds.

    Returns:
        Path below the unit directory, such as `pypi-insiders-watcher.timer` or
        `pypi-insiders-watcher.timer.d/10-config.conf`, to its text.
    """
    values = {
        "version": __version__,
        "command": command,
        # As arguments of sh in ExecStartPre=, where systemd expands `$NAME`; it does not in the
        # path of a program.
        "arguments": command.replace("$", "$$"),
        "environment": "\n".join(_environment(variables(paths)) if paths else ()),
        "type": _NEW_TYPE if systemd >= _NOTIFY_RELOAD else _OLD_TYPE,
    }
    # A system package has the units of hooks in any case; the server starts them if hooks are on.
    without = () if paths is None or settings.server.hooks else OF_HOOKS
    texts = {unit: _render_unit(unit, values) for unit in UNITS if unit not in without}
    texts |= _in_files(_drop_ins(settings, intervals))
    if paths and program:
        texts |= _confinement(paths, settings, program)
    return {name: _with_hash(text) for name, text in texts.items()}


def _confinement(paths: Paths, settings: Settings, program: Program) -> dict[str, str]:
    return {
        name: _render_unit(name, values)
        for kind, values in confinement.values(paths, settings, program).items()
        for name in (confinement_of(CONFINED[kind]),)
    }


def render_drop_ins(
    paths: Paths,
    settings: Settings,
    environment: Mapping[str, str],
    program: Program | None = None,
    intervals: Mapping[str, int] = _NONE,
) -> dict[str, str]:
    """Render the drop-ins for units of a system package.

    Args:
        paths: the paths of this shell, passed to the services if they differ.
        settings: the settings of `config.toml`.
        environment: the variables that the manager passes to each service.
        program: as in `render`.
        intervals: as in `render`.

    Returns:
        As `render`, without the units.
    """
    home = environment.get("HOME", "")
    missing = {
        name: value
        for name, value in variables(paths).items()
        if value != (environment.get(name) or f"{home}/{_DEFAULT_DIRECTORIES[name]}")
    }
    drop_ins = _drop_ins(settings, intervals)
    for unit in UNITS:
        if missing and unit.endswith(".service") and unit != HOOKS.service:
            drop_ins.setdefault(unit, ["[Service]"]).extend(_environment(missing))
    texts = _in_files(drop_ins) | (_confinement(paths, settings, program) if program else {})
    return {name: _with_hash(text) for name, text in texts.items()}


def _with_hash(text: str) -> str:
    first, _, rest = text.partition("\n")
    head, _, tail = first.partition(",")
    return f"{head} (sha256 {_hash(rest)}),{tail}\n{rest}"


def _hash(text: str) -> str:
    import hashlib

    # 48 bits are enough to notice an edit; this is no protection against forgery.
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_ours(text: str) -> bool:
    """Return whether this program has written a file, by its first line."""
    return text.startswith(_MARK)


def is_edited(text: str) -> bool:
    """Return whether a file of this program was edited; `False` for a file without a hash."""
    # Older versions wrote no hash.
    first, _, rest = text.partition("\n")
    written = re.match(rf"{_MARK}(?: \S+)? \(sha256 ([0-9a-f]+)\),", first)
    return written is not None and written[1] != _hash(rest)


def _in_files(drop_ins: Mapping[str, list[str]]) -> dict[str, str]:
    return {
        drop_in_of(unit): f"{_MARK}, from {'repos' if _is_instance(unit) else 'config'}.toml.\n"
        + "\n".join(lines)
        + "\n"
        for unit, lines in drop_ins.items()
    }


def _is_instance(unit: str) -> bool:
    return "@" in unit and unit not in UNITS


def variables(paths: Paths) -> dict[str, str]:
    """Return the variables by which a service uses the paths of this shell."""
    return {
        "XDG_CONFIG_HOME": str(paths.config.parent),
        "XDG_DATA_HOME": str(paths.data.parent),
        "XDG_STATE_HOME": str(paths.state.parent),
        "XDG_CACHE_HOME": str(paths.cache.parent),
    }


def _environment(values: Mapping[str, str]) -> list[str]:
    return [f"Environment={quote(f'{name}={value}')}" for name, value in values.items()]


def _render_unit(unit: str, values: Mapping[str, str]) -> str:
    # Files without `.in` have no placeholders, and packagers install them unchanged.
    # A repository's own service is confined as the watcher is.
    path = _SOURCE / unit.replace(f"{ONE.service}.d/", f"{WATCHER.service}.d/")
    if path.exists():
        return path.read_text(encoding="utf-8")
    text = path.with_name(f"{path.name}.in").read_text(encoding="utf-8")
    for name, value in values.items():
        # An empty value takes its line with it.
        text = text.replace(f"@{name}@\n", f"{value}\n" if value else "")
        text = text.replace(f"@{name}@", value)
    return text


def _drop_ins(settings: Settings, intervals: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the lines of drop-ins for settings that differ from the defaults."""
    drop_ins: dict[str, list[str]] = {}
    server, watcher = settings.server, settings.watcher
    default, usual = ServerSettings(), WatcherSettings()
    if (server.host, server.port) != (default.host, default.port):
        listen = [f"ListenStream={address}" for address in server.addresses]
        # An empty assignment resets a list. Source: systemd.socket(5), systemd.timer(5).
        drop_ins[SERVER.trigger] = ["[Socket]", "ListenStream=", *listen]
        if server.host != default.host:
            drop_ins[SERVER.trigger].append("FreeBind=no")  # so that a wrong address fails
    # The server itself reads these from config.toml. systemd ignores X- keys, but a changed line
    # makes `start` restart the service.
    own = {
        "FallbackURL": (server.fallback_url, default.fallback_url),
        "IdleTimeoutSec": (server.idle_timeout_s, default.idle_timeout_s),
        "Names": (" ".join(server.names), ""),
        "Auth": (server.auth, default.auth),
        "Uploads": (server.uploads, default.uploads),
        "Hooks": (server.hooks, default.hooks),
    }
    changed = [f"X-{key}={value}" for key, (value, other) in own.items() if value != other]
    if changed:
        wants = ["[Unit]", f"Wants={HOOKS.trigger}"] if server.hooks else []
        drop_ins[SERVER.service] = [*wants, "[Service]", *changed]
    timers = {name: of_repository(name).trigger for name in sorted(intervals)}
    if timers:
        # So they start with it, at login too; by their own PartOf= they stop with it.
        drop_ins[WATCHER.trigger] = ["[Unit]", *(f"Wants={unit}" for unit in timers.values())]
    if watcher.interval_s != usual.interval_s:
        drop_ins.setdefault(WATCHER.trigger, []).extend(_timer(watcher.interval_s))
    drop_ins |= {unit: _timer(intervals[name]) for name, unit in timers.items()}
    if watcher.notify_command is not None:
        # The notifier cannot read it from config.toml if that file is the problem.
        variable = f"{NOTIFY_VARIABLE}={shlex.join(watcher.notify_command)}"
        drop_ins[NOTIFIER] = ["[Service]", f"Environment={quote(variable)}"]
    return drop_ins


def _timer(interval_s: int) -> list[str]:
    return [
        "[Timer]",
        "OnCalendar=",
        f"OnCalendar={calendar_event(interval_s)}",
        # A tenth of the interval, as 3 of 30 minutes in the unit.
        f"RandomizedDelaySec={interval_s // 10}",
        # The default accuracy of one minute is more than the shortest interval.
        f"AccuracySec={min(60, max(1, interval_s // 10))}",
    ]


def calendar_event(interval_s: int) -> str:
    """Return the calendar event for a span that divides a minute, an hour or a day.

    Source: systemd.time(7), "CALENDAR EVENTS".
    """
    if interval_s < 60:
        return f"*:*:0/{interval_s}"
    if interval_s < 3600:
        return f"*:0/{interval_s // 60}"
    return "daily" if interval_s == 86400 else f"0/{interval_s // 3600}:00"
