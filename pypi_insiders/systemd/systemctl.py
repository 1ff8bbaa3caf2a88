"""Speak to the user's service manager, through systemctl and its kin."""

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pypi_insiders.config.paths import runtime_directory
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.foreground import attached
from pypi_insiders.util.formatting import first_line
from pypi_insiders.util.process import Result, run

# `start` waits for READY=1, and systemd for that as long as DefaultTimeoutStartSec=, 90 s.
_TIMEOUT_S = 120
_BUS = "org.freedesktop.systemd1"
_FOREGROUND = "`pypi-insiders exec`, `server run` and `update` work without it"


@dataclass(frozen=True)
class Manager:
    """The user's service manager, found and answering."""

    unit_directory: Path
    """Where it reads the units that the user installed."""
    unit_path: tuple[Path, ...]
    """All directories in which it looks for a unit, in this order."""
    version: str
    """That of systemd, as the distribution writes it: `252.39-1~deb12u2`."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """What it hands to each unit, but for values that need quoting."""

    @property
    def number(self) -> int:
        """The version as a number; 0 where that is not known."""
        match = re.match(r"\d+", self.version)
        return int(match[0]) if match else 0


def manager() -> Manager:
    """Find the service manager of this user.

    Where it looks for units is asked of itself: `XDG_CONFIG_HOME` may be set only in this shell.

    Raises:
        InsidersError: there is none, or this process cannot reach it; the message says why.

    Source: org.freedesktop.systemd1(5), `UnitPath`; systemd.unit(5), "UNIT FILE LOAD PATH".
    """
    try:
        result = _systemctl("show", "--property=UnitPath,Version,Environment")
    except InsidersError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise InsidersError(
                "systemctl was not found: this system does not run systemd", _FOREGROUND
            ) from error
        raise
    if result.status != 0:
        raise _explain(result)
    said = _properties(result.stdout)
    words = said.get("UnitPath", "").split()
    for word in words:
        # Ours is the directory beside the one for `systemctl set-property`.
        if word.endswith("/systemd/user.control") and not word.startswith("/run/"):
            path = tuple(map(Path, words))
            # The text is quoted as in a shell where a value needs it; `environment()` asks the bus
            # for those, for which it takes a second process.
            variables = dict(re.findall(r"(?:^| )(\w+)=([^\s\"'\\$]+)(?= |$)", said["Environment"]))
            return Manager(Path(word).with_name("user"), path, said.get("Version", ""), variables)
    raise InsidersError(f"systemd names no directory for user units: {result.stdout.strip()}")


def is_hidden() -> bool:
    """Tell whether this is a service from which the user's manager is hidden.

    Source: systemd.exec(5), `$INVOCATION_ID`.
    """
    return "INVOCATION_ID" in os.environ and not (runtime_directory() / "systemd/private").exists()


def _explain(result: Result) -> InsidersError:
    """Say why the user's service manager cannot be reached, by what can be seen around us."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    user = os.environ.get("USER") or str(os.getuid())
    # As sd_booted(3) finds out, whatever systemctl says.
    if not Path("/run/systemd/system").is_dir():
        return InsidersError("this system was not booted with systemd (a container?)", _FOREGROUND)
    # sudo keeps neither XDG_RUNTIME_DIR nor the session: root's own manager is mostly not running,
    # and units of root are not what was meant.
    if os.getuid() == 0 and os.environ.get("SUDO_USER"):
        return InsidersError(
            "under sudo there is no user manager to speak to",
            f"run it without sudo, as {os.environ['SUDO_USER']}",
        )
    if not runtime:
        return InsidersError(
            "no session with a user manager here: XDG_RUNTIME_DIR is not set",
            f"log in as {user} by ssh or `machinectl shell {user}@`, not by `su`; {_FOREGROUND}",
        )
    try:
        owner = Path(runtime).stat().st_uid
    except OSError:
        owner = None
    # `su` keeps the variable of who called it: systemd says "Permission denied", or "No such file".
    if owner is not None and owner != os.getuid():
        return InsidersError(
            f"XDG_RUNTIME_DIR is {runtime}, which belongs to another user",
            f"log in as {user} (`machinectl shell {user}@`), not by `su` or `sudo`",
        )
    if not Path(runtime, "systemd", "private").exists():
        return InsidersError(
            f"no user manager is running for {user} (nothing at {runtime})",
            f"`sudo loginctl enable-linger {user}` starts one; " + _FOREGROUND,
        )
    return InsidersError(
        f"the user manager does not answer: {first_line(result.stderr)}",
        "see `systemctl --user is-system-running`; " + _FOREGROUND,
    )


def call(verb: str, *arguments: str) -> None:
    """Run a verb of systemctl on the user's manager.

    Raises:
        InsidersError: it failed, with the first line of what it said.
    """
    result = _systemctl(verb, *arguments)
    if result.status != 0:
        raise InsidersError(
            # The first line says what failed, those after it how to see more.
            f"systemctl --user {verb}: {first_line(result.stderr)}",
            "see why: `journalctl --user --since=-1min`",
        )


def try_call(verb: str, *arguments: str) -> None:
    """Run a verb of systemctl on the user's manager; what it cannot do is done already."""
    _systemctl(verb, *arguments)


def _systemctl(*arguments: str) -> Result:
    argv = ("systemctl", "--user", "--no-ask-password", *arguments)
    # `--no-ask-password`: an agent of polkit would ask on the terminal, and wait there.
    # Some times come in words, with the zone.
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    return run(argv, timeout_s=_TIMEOUT_S, environment=environment)


def show(unit: str, *properties: str) -> dict[str, str]:
    """Read properties of a unit; a missing unit has `LoadState=not-found`.

    Points in time come as `@` and seconds of the epoch, a list as lines of one string.

    Raises:
        InsidersError: the manager does not answer.
    """
    return show_each((unit,), *properties)[0]


def show_each(units: Sequence[str], *properties: str) -> list[dict[str, str]]:
    """Read properties of several units, in their order, each as `show` does.

    A property that a kind of units does not have is empty.

    Raises:
        InsidersError: the manager does not answer.
    """
    wanted = f"--property={','.join(properties)}"
    # Exit status 0 also for a unit that does not exist; 1 only where there is no manager.
    result = _systemctl("show", "--timestamp=unix", wanted, "--", *units)
    if result.status != 0:
        raise _explain(result)
    blocks = result.stdout.rstrip("\n").split("\n\n")
    return [dict.fromkeys(properties, "") | _properties(block) for block in blocks]


def _properties(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, _, value in (line.partition("=") for line in text.splitlines()):
        # Listen= comes once for each address.
        values[name] = f"{values[name]}\n{value}" if name in values else value
    return values


def service(unit: str) -> dict[str, Any]:
    """Read all that the manager knows of a service as a service, drop-ins included.

    Unlike what `show` reads it needs no unquoting: texts, flags, numbers, and lists of them.

    Raises:
        InsidersError: the manager does not answer.

    Source: org.freedesktop.systemd1(5), "SERVICE UNIT OBJECTS"; busctl(1); sd_bus_path_encode(3).
    """
    # As sd_bus_path_encode(3) does; `systemd-escape` has other rules.
    label = "".join(
        character if character.isascii() and character.isalnum() else f"_{ord(character):02x}"
        for character in unit
    )
    (properties,) = _busctl(
        unit,
        *("call", _BUS, f"/org/freedesktop/systemd1/unit/{label}"),
        *("org.freedesktop.DBus.Properties", "GetAll", "s", f"{_BUS}.Service"),
    )
    return {name: value["data"] for name, value in properties.items()}


def environment() -> dict[str, str]:
    """Read the variables that every unit of the user gets from the manager.

    Raises:
        InsidersError: the manager does not answer.

    Source: org.freedesktop.systemd1(5), `Environment`.
    """
    words = _busctl(
        "the environment of the user manager",
        *("get-property", _BUS, "/org/freedesktop/systemd1", f"{_BUS}.Manager", "Environment"),
    )
    return dict(word.split("=", 1) for word in words)


def _busctl(what: str, *arguments: str) -> Any:
    result = run(("busctl", "--user", "--json=short", *arguments), timeout_s=_TIMEOUT_S)
    if result.status != 0:
        raise InsidersError(f"busctl cannot read {what}: {first_line(result.stderr)}", _bus_hint())
    return json.loads(result.stdout)["data"]


def ask_bus() -> None:
    """Look whether the manager is found on the bus of this session, as systemd-run looks for it.

    systemctl has a way of its own to the manager.

    Raises:
        InsidersError: there is no bus, or it is another one.

    Source: systemd-run(1); the D-Bus Specification, "org.freedesktop.DBus.GetNameOwner".
    """
    bus = "org.freedesktop.DBus"
    # Asked by name: on a bus of its own (`dbus-run-session`, some desktops in containers)
    # everything answers but the manager, and systemd-run fails with a line about D-Bus that leads
    # nowhere.
    argv = ("busctl", "--user", "call", bus, "/org/freedesktop/DBus", bus, "GetNameOwner", "s")
    result = run((*argv, "org.freedesktop.systemd1"), timeout_s=_TIMEOUT_S)
    if result.status != 0:
        raise InsidersError(
            f"does not lead to the user manager: {first_line(result.stderr)}", _bus_hint()
        )


def _bus_hint() -> str:
    return (
        "install dbus-user-session and log in again; `echo $DBUS_SESSION_BUS_ADDRESS` should say "
        f"unix:path=/run/user/{os.getuid()}/bus, or nothing"
    )


def active(pattern: str) -> list[str]:
    """Name the units that run and match a glob; none where there is no user manager."""
    try:
        result = _systemctl(
            "list-units", "--plain", "--no-legend", "--state=active,activating", "--", pattern
        )
    except InsidersError:
        return []
    return [line.split()[0] for line in result.stdout.splitlines() if result.status == 0]


def next_run(timer: str, has: Mapping[str, str]) -> float | None:
    """Tell when a timer elapses next, in seconds of the epoch; `None` if it does not.

    Args:
        timer: the unit.
        has: its properties `NextElapseUSecRealtime` and `NextElapseUSecMonotonic`, which tell
            without a process where it is a calendar event.

    Raises:
        InsidersError: the manager does not answer.
    """
    realtime, monotonic = has["NextElapseUSecRealtime"], has["NextElapseUSecMonotonic"]
    # A timer by calendar has the time in one property. One by a span (a drop-in with
    # OnUnitActiveSec=) has it on the monotonic clock, to which only systemctl knows the offset.
    if monotonic in ("", "0", "infinity"):
        if not realtime:
            return None
        with contextlib.suppress(ValueError):
            return _epoch_s(realtime)
    result = _systemctl("list-timers", "--all", "--output=json", "--", timer)
    if result.status != 0:
        raise _explain(result)
    return next((row["next"] / 1e6 for row in json.loads(result.stdout) if row["next"]), None)


def _epoch_s(stamp: str) -> float:
    """Read a point in time, which systemd 252 writes in words whatever `--timestamp` says."""
    if stamp.startswith("@"):
        return float(stamp[1:])
    # `%Z` of strptime knows only the names of the local zone, and makes no aware time of them.
    return datetime.strptime(f"{stamp} +0000", "%a %Y-%m-%d %H:%M:%S UTC %z").timestamp()


def print_status(units: Sequence[str]) -> None:
    """Let systemctl print the status of units, with their last lines of log."""
    attached(("systemctl", "--user", "--no-pager", "--lines=5", "status", "--", *units))


def is_lingering() -> bool | None:
    """Tell whether the user manager runs without a login session; `None` if nobody knows.

    Source: loginctl(1), `enable-linger`.
    """
    argv = (
        "loginctl",
        "--no-ask-password",
        "show-user",
        "--property=Linger",
        "--",
        str(os.getuid()),
    )
    try:
        result = run(argv, timeout_s=_TIMEOUT_S)
    except InsidersError:
        return None
    return {"Linger=yes": True, "Linger=no": False}.get(result.stdout.strip())
