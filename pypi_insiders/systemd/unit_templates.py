"""Render the unit files and drop-ins."""

import hashlib
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
    NOTIFIER,
    SERVER,
    UNITS,
    WATCHER,
    confinement_of,
    drop_in_of,
)

_SOURCE = Path(__file__).with_name("units")
_MARK = "# Installed by pypi-insiders"
# Source: XDG Base Directory Specification.
# A variable that says what is so anyway would only pin today's place into the unit.
_DEFAULT_DIRECTORIES = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_CACHE_HOME": ".cache",
}
# Since then a reload ends when the service says so. Source: systemd.service(5), `Type=`.
_NOTIFY_RELOAD = 253
_OLD_TYPE = "Type=notify\nExecReload=/bin/sh -c 'kill -HUP $MAINPID'"
_NEW_TYPE = "Type=notify-reload"


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
        # `ExecStartPre=` hands it to sh as arguments, where systemd replaces variables; in the path
        # of a program, which `command` is, it does not.
        "arguments": command.replace("$", "$$"),
        "environment": "\n".join(_environment(variables(paths)) if paths else ()),
        "type": _NEW_TYPE if systemd >= _NOTIFY_RELOAD else _OLD_TYPE,
    }
    texts = {unit: _render_unit(unit, values) for unit in UNITS}
    texts |= _in_files(_drop_ins(settings))
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
    texts = _in_files(drop_ins) | (_confinement(paths, settings, program) if program else {})
    return {name: _with_hash(text) for name, text in texts.items()}


def _with_hash(text: str) -> str:
    first, _, rest = text.partition("\n")
    head, _, tail = first.partition(",")
    return f"{head} (sha256 {_hash(rest)}),{tail}\n{rest}"


def _hash(text: str) -> str:
    # 48 bits: nobody wants to deceive here, an edit only has to be seen.
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_ours(text: str) -> bool:
    """Return whether we wrote a unit file or drop-in, by its text."""
    return text.startswith(_MARK)


def is_edited(text: str) -> bool:
    """Return whether a file of ours was changed after we wrote it.

    Of a file of an older version, which wrote no hash, that is not known.
    """
    first, _, rest = text.partition("\n")
    written = re.match(rf"{_MARK}(?: \S+)? \(sha256 ([0-9a-f]+)\),", first)
    return written is not None and written[1] != _hash(rest)


def _in_files(drop_ins: Mapping[str, list[str]]) -> dict[str, str]:
    return {
        drop_in_of(unit): f"{_MARK}, from config.toml.\n" + "\n".join(lines) + "\n"
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
    # Files without `.in` have nothing to fill in: they are used as they are, also by packagers.
    path = _SOURCE / unit
    if path.exists():
        return path.read_text(encoding="utf-8")
    text = path.with_name(f"{path.name}.in").read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@\n", f"{value}\n" if value else "")
        text = text.replace(f"@{name}@", value)
    return text


def _drop_ins(settings: Settings) -> dict[str, list[str]]:
    """Say in systemd's words what the settings change."""
    drop_ins = {}
    server, watcher = settings.server, settings.watcher
    if (server.host, server.port) != (ServerSettings.host, ServerSettings.port):
        listen = [f"ListenStream={address}" for address in server.addresses]
        # An empty assignment resets a list. Source: systemd.socket(5), systemd.timer(5).
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
            # A tenth, so that two updates stay about one interval apart: 3 min of 30, as in the
            # unit.
            f"RandomizedDelaySec={watcher.interval_s // 10}",
            # By default systemd may be a minute late to wake the machine less often, which is more
            # than the shortest interval.
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
