"""Names of the units and of their files."""

from pathlib import Path
from typing import NamedTuple

from pypi_insiders.config.paths import runtime_directory

# Sorts before `override.conf` of `systemctl edit`, so that the user's settings win.
DROP_IN = "10-config.conf"
CONFINEMENT = "20-confinement.conf"


class Part(NamedTuple):
    """A service and the unit that starts it on demand."""

    name: str
    """The name of its commands."""
    trigger: str
    """The socket or timer, which is started, stopped and enabled."""
    service: str

    @property
    def identifier(self) -> str:
        """The `SyslogIdentifier=` of the service."""
        # Of all instances the same: `watcher logs` shows them together.
        return self.service.partition("@")[0].removesuffix(".service")

    @property
    def units(self) -> tuple[str, str]:
        """Both units."""
        # In the order in which they are stopped: the trigger could start the service again.
        return (self.trigger, self.service)


SERVER = Part("server", "pypi-insiders-server.socket", "pypi-insiders-server.service")
WATCHER = Part("watcher", "pypi-insiders-watcher.timer", "pypi-insiders-watcher.service")
PARTS = (SERVER, WATCHER)
# Sends notifications; the instance is what requested them: the start of one that runs is lost.
NOTIFIER = "pypi-insiders-notify@.service"
NOTIFIERS = NOTIFIER.replace("@", "@*")
# Runs the command for new releases; the instance is the project, escaped.
RELEASED = "pypi-insiders-released@.service"
REQUESTS = "pypi-insiders-notify.path"
# Updates one repository; the instance is its name, escaped.
ONE = Part("watcher", "pypi-insiders-watcher@.timer", "pypi-insiders-watcher@.service")
OWN = "pypi-insiders-watcher@*"
OWN_TIMERS, OWN_SERVICES, OWN_PATHS = (f"{OWN}.{kind}" for kind in ("timer", "service", "path"))
# Start the updates that the server requests for hooks; the last one for one repository.
HOOKS = Part("hooks", "pypi-insiders-hooks.path", "pypi-insiders-hooks.service")
PUSHED = "pypi-insiders-watcher@.path"
OF_HOOKS = (*HOOKS.units, PUSHED)
# Either service can be installed alone, and needs notifications. Hooks of the server start updates.
SHARED = (NOTIFIER, REQUESTS, RELEASED, *ONE.units, *OF_HOOKS)
"""Installed with either service; those of hooks only if hooks are on."""
LATER = (RELEASED, *ONE.units, *OF_HOOKS)
"""Units that earlier versions have not installed."""
UNITS = (*SERVER.units, *WATCHER.units, *SHARED)
# Older versions ran builds in their own slice. Its CPUWeight= had no effect next to the desktop's
# slice, because systemd nests `a-b.slice` in an implicit `a.slice`. Now builds run in
# background.slice.
FORMER = ("pypi-insiders.slice",)
"""Units of older versions."""
FORMER_SLICES = (*FORMER, "pypi.slice")
"""Slices of older versions; systemd created the second for the dash (systemd.slice(5))."""
CONFINED = {
    "server": SERVER.service,
    "watcher": WATCHER.service,
    "one": ONE.service,
    "notify": NOTIFIER,
}
# Longer names of units are refused. Source: systemd.unit(5).
_MAX_UNIT_NAME = 255


def escape(name: str) -> str:
    r"""Return the name of an instance for `NS/PROJ`, such as `me-my\x2dproject`.

    Source: systemd.unit(5), "STRING ESCAPING FOR INCLUSION IN UNIT NAMES".
    """
    plain = "".join(
        "-"
        if character == "/"
        else character
        if character.isascii() and (character.isalnum() or character in ":_.")
        else "".join(f"\\x{byte:02x}" for byte in character.encode())
        for character in name
    )
    return f"\\x2e{plain[1:]}" if plain.startswith(".") else plain


def of_repository(name: str) -> Part:
    """Return the timer and the service that update only the repository `NS/PROJ`."""
    return Part(ONE.name, *(unit.replace("@", f"@{escape(name)}") for unit in ONE.units))


def is_too_long(name: str) -> bool:
    """Return whether the name of a repository is too long for the name of a unit."""
    return len(of_repository(name).service) > _MAX_UNIT_NAME


def of_project(project: str) -> str:
    """Return the unit that runs the command for new releases of a project, in normalized form."""
    return RELEASED.replace("@", f"@{escape(project)}")


def gone() -> Path:
    """Return the path of the file that the notifier creates when it has stopped the index.

    It stops the index if the program or its interpreter is missing.
    """
    return runtime_directory() / "pypi-insiders/gone"


def files_of(unit: str) -> tuple[str, ...]:
    """Return all possible files of a unit, relative to the unit directory."""
    confined = (confinement_of(unit),) if unit in CONFINED.values() else ()
    if unit.startswith("pypi-insiders-watcher@") and unit not in UNITS:
        return (drop_in_of(unit),)  # an instance, whose unit is the template
    return (unit, drop_in_of(unit), *confined)


def drop_in_of(unit: str) -> str:
    """Return the drop-in of a unit with the settings of `config.toml`."""
    return f"{unit}.d/{DROP_IN}"


def confinement_of(unit: str) -> str:
    """Return the drop-in that confines a service."""
    return f"{unit}.d/{CONFINEMENT}"


def own_drop_ins(listed: str) -> list[str]:
    """Return the user's drop-ins in the property `DropInPaths` of a unit."""
    # By name: ours may be in the home or, of a system package, in /usr.
    ours = (f"/{DROP_IN}", f"/{CONFINEMENT}")
    return [path for path in listed.split() if not path.endswith(ours)]
