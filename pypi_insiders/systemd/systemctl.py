"""Query and control the user manager, with systemctl, busctl and loginctl."""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pypi_insiders.config.paths import runtime_directory
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.foreground import attached
from pypi_insiders.util.formatting import first_line
from pypi_insiders.util.process import Result, run
from pypi_insiders.util.users import user_name

# `start` waits for READY=1 as long as systemd does: DefaultTimeoutStartSec= is 90 s.
_TIMEOUT_S = 120
_BUS = "org.freedesktop.systemd1"
_FOREGROUND = "`pypi-insiders exec`, `server run` and `update` work without systemd"


class Manager(NamedTuple):
    """The running user manager."""

    unit_directory: Path
    """The directory of units that the user installs."""
    unit_path: tuple[Path, ...]
    """All unit directories in the order of their priority."""
    version: str
    """The version of systemd with its distribution's suffix: `252.39-1~deb12u2`."""

    variables: Mapping[str, str] = MappingProxyType({})
    """Variables of all units, except values that need quotes."""

    @property
    def number(self) -> int:
        """The version as a number; 0 if unknown."""
        match = re.match(r"\d+", self.version)
        return int(match[0]) if match else 0


def manager() -> Manager:
    """Query the user manager.

    Raises:
        InsidersError: the user manager is not running or unreachable.

    Source: org.freedesktop.systemd1(5), `UnitPath`; systemd.unit(5), "UNIT FILE LOAD PATH".
    """
    # Its own unit path, because XDG_CONFIG_HOME may be set in this shell only.
    try:
        result = _systemctl("show", "--property=UnitPath,Version,Environment")
    except InsidersError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise InsidersError(
                "systemctl not found: systemd is not running here", _FOREGROUND
            ) from error
        raise
    if result.status != 0:
        raise _explain(result)
    values = _properties(result.stdout)
    words = values.get("UnitPath", "").split()
    for word in words:
        # The user's directory is next to the one of `systemctl set-property`.
        if word.endswith("/systemd/user.control") and not word.startswith("/run/"):
            path = tuple(map(Path, words))
            # Values that need quotes are quoted as in a shell, and left out here; `environment()`
            # reads all of them, with another process.
            variables = dict(
                re.findall(r"(?:^| )(\w+)=([^\s\"'\\$]+)(?= |$)", values["Environment"])
            )
            return Manager(Path(word).with_name("user"), path, values.get("Version", ""), variables)
    raise InsidersError(f"systemd reports no directory for user units: {result.stdout.strip()}")


def is_hidden() -> bool:
    """Return whether this process is a service from which the user manager is hidden.

    Source: systemd.exec(5), `$INVOCATION_ID`.
    """
    return "INVOCATION_ID" in os.environ and not (runtime_directory() / "systemd/private").exists()


def _explain(result: Result) -> InsidersError:
    """Return the error for an unreachable user manager, with the most likely reason."""
    # By the environment, because systemctl's own messages do not name the reason.
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    name = user_name()
    # The test of sd_booted(3).
    if not Path("/run/systemd/system").is_dir():
        return InsidersError("systemd is not running here (in a container?)", _FOREGROUND)
    # sudo keeps neither XDG_RUNTIME_DIR nor the session. Root's user manager rarely runs, and units
    # of root are not what the user wants.
    if os.getuid() == 0 and os.environ.get("SUDO_USER"):
        return InsidersError(
            "no user manager under sudo",
            f"run the command without sudo, as {os.environ['SUDO_USER']}",
        )
    if not runtime:
        return InsidersError(
            "no session with a user manager here: XDG_RUNTIME_DIR is not set",
            f"log in as {name} with ssh or `machinectl shell {name}@`, not with `su`; "
            + _FOREGROUND,
        )
    try:
        owner = Path(runtime).stat().st_uid
    except OSError:
        owner = None
    # `su` keeps the variable of the calling user; systemctl would report "Permission denied".
    if owner is not None and owner != os.getuid():
        return InsidersError(
            f"XDG_RUNTIME_DIR is {runtime}, which belongs to another user",
            f"log in as {name} (`machinectl shell {name}@`), not with `su` or `sudo`",
        )
    if not Path(runtime, "systemd", "private").exists():
        return InsidersError(
            f"no user manager is running for {name} (no socket in {runtime})",
            f"start one: `sudo loginctl enable-linger {name}`; " + _FOREGROUND,
        )
    return InsidersError(
        f"the user manager does not answer: {first_line(result.stderr)}",
        "run `systemctl --user is-system-running`; " + _FOREGROUND,
    )


def call(verb: str, *arguments: str) -> None:
    """Run a command of systemctl on the user manager.

    Raises:
        InsidersError: it failed.
    """
    result = _systemctl(verb, *arguments)
    if result.status != 0:
        raise InsidersError(
            # The first line has the reason, further lines name commands that show more.
            f"systemctl --user {verb}: {first_line(result.stderr)}",
            "see the journal: `journalctl --user --since=-1min`",
        )


def try_call(verb: str, *arguments: str) -> None:
    """Run a command of systemctl on the user manager, and ignore failures."""
    _systemctl(verb, *arguments)


def try_each(verb: str, units: Iterable[str]) -> None:
    """Run a command of systemctl on each of some units, and ignore failures.

    systemd 262 starts and stops none of several units if it does not know one of them.
    """
    for unit in units:
        try_call(verb, unit)


def _systemctl(*arguments: str) -> Result:
    # --no-ask-password: a polkit agent would ask on the terminal, and wait.
    argv = ("systemctl", "--user", "--no-ask-password", *arguments)
    # TZ, because some times are printed with their zone.
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    return run(argv, timeout_s=_TIMEOUT_S, environment=environment)


def show(unit: str, *properties: str) -> dict[str, str]:
    """Read properties of a unit; a missing unit has `LoadState=not-found`.

    Times are `@` and seconds of the epoch, lists are separated by line ends.

    Raises:
        InsidersError: the user manager does not answer.
    """
    return show_each((unit,), *properties)[0]


def show_each(units: Sequence[str], *properties: str) -> list[dict[str, str]]:
    """Read properties of several units, as `show` does; unknown properties are empty.

    Raises:
        InsidersError: the user manager does not answer.
    """
    wanted = f"--property={','.join(properties)}"
    # It exits with 0 for missing units, too, and with 1 only without a manager.
    result = _systemctl("show", "--timestamp=unix", wanted, "--", *units)
    if result.status != 0:
        raise _explain(result)
    blocks = result.stdout.rstrip("\n").split("\n\n")
    return [dict.fromkeys(properties, "") | _properties(block) for block in blocks]


def _properties(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, _, value in (line.partition("=") for line in text.splitlines()):
        # Listen= is printed once per address.
        values[name] = f"{values[name]}\n{value}" if name in values else value
    return values


def service(unit: str) -> dict[str, Any]:
    """Read all service properties of a unit, as JSON values.

    Raises:
        InsidersError: the user manager does not answer.

    Source: org.freedesktop.systemd1(5), "SERVICE UNIT OBJECTS"; busctl(1); sd_bus_path_encode(3).
    """
    # With busctl: lists in the output of `systemctl show` would need unquoting. The path is encoded
    # as in sd_bus_path_encode(3); `systemd-escape` has other rules.
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
    """Read the variables that the user manager passes to every unit.

    Raises:
        InsidersError: the user manager does not answer.

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
    """Require that the user manager is on the session bus, where systemd-run needs it.

    Raises:
        InsidersError: there is no session bus, or the user manager is not on it.

    Source: systemd-run(1); the D-Bus Specification, "org.freedesktop.DBus.GetNameOwner".
    """
    bus = "org.freedesktop.DBus"
    # systemctl works without the bus. On a separate bus (`dbus-run-session`, some desktops in
    # containers) everything but the manager answers, and systemd-run fails with a general message
    # about D-Bus. So the owner of the manager's name is queried.
    argv = ("busctl", "--user", "call", bus, "/org/freedesktop/DBus", bus, "GetNameOwner", "s")
    result = run((*argv, "org.freedesktop.systemd1"), timeout_s=_TIMEOUT_S)
    if result.status != 0:
        raise InsidersError(
            f"does not lead to the user manager: {first_line(result.stderr)}", _bus_hint()
        )


def _bus_hint() -> str:
    return (
        "install dbus-user-session and log in again; `echo $DBUS_SESSION_BUS_ADDRESS` should print "
        f"unix:path=/run/user/{os.getuid()}/bus or an empty line"
    )


def active(pattern: str) -> list[str]:
    """Return the active units that match a glob; empty without a user manager."""
    try:
        result = _systemctl(
            "list-units", "--plain", "--no-legend", "--state=active,activating", "--", pattern
        )
    except InsidersError:
        return []
    return [line.split()[0] for line in result.stdout.splitlines() if result.status == 0]


def next_run(timer: str, has: Mapping[str, str]) -> float | None:
    """Return when a timer elapses next, in seconds of the epoch; `None` if it does not.

    Args:
        timer: the unit.
        has: its properties `NextElapseUSecRealtime` and `NextElapseUSecMonotonic`.

    Raises:
        InsidersError: the user manager does not answer.
    """
    realtime, monotonic = has["NextElapseUSecRealtime"], has["NextElapseUSecMonotonic"]
    # A calendar event is known without another process. A time span (of a drop-in with
    # OnUnitActiveSec=) is on the monotonic clock, whose offset only systemctl knows.
    if monotonic in ("", "0", "infinity"):
        if not realtime:
            return None
        with contextlib.suppress(ValueError):
            return _epoch_s(realtime)
    result = _systemctl("list-timers", "--all", "--output=json", "--", timer)
    if result.status != 0:
        raise _explain(result)
    # `next` is in microseconds of the epoch, unlike the properties above.
    return next((row["next"] / 1e6 for row in json.loads(result.stdout) if row["next"]), None)


def _epoch_s(stamp: str) -> float:
    # systemd 252 prints this property as a date, despite `--timestamp=unix`.
    if stamp.startswith("@"):
        return float(stamp[1:])
    # Not `%Z`, which knows only names of the local zone, and returns a naive time.
    return datetime.strptime(f"{stamp} +0000", "%a %Y-%m-%d %H:%M:%S UTC %z").timestamp()


def print_status(units: Sequence[str]) -> None:
    """Print the status of units with systemctl, including their last log lines."""
    attached(("systemctl", "--user", "--no-pager", "--lines=5", "status", "--", *units))


def is_lingering() -> bool | None:
    """Return whether the user manager runs without a login session; `None` if unknown.

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
