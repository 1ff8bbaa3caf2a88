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
        return self.service.removesuffix(".service")

    @property
    def units(self) -> tuple[str, str]:
        """Both units."""
        # In the order in which they are stopped: the trigger could start the service again.
        return (self.trigger, self.service)


SERVER = Part("server", "pypi-insiders-server.socket", "pypi-insiders-server.service")
WATCHER = Part("watcher", "pypi-insiders-watcher.timer", "pypi-insiders-watcher.service")
PARTS = (SERVER, WATCHER)
# Sends notifications; the instance is the part that requested them.
NOTIFIER = "pypi-insiders-notify@.service"
NOTIFIERS = NOTIFIER.replace("@", "@*")
# Runs the command for new releases; the instance is the project, escaped.
RELEASED = "pypi-insiders-released@.service"
REQUESTS = "pypi-insiders-notify.path"
# Either service can be installed alone, and needs notifications.
SHARED = (NOTIFIER, REQUESTS, RELEASED)
"""Installed with either service."""
UNITS = (*SERVER.units, *WATCHER.units, *SHARED)
# Older versions ran builds in their own slice. Its CPUWeight= had no effect next to the desktop's
# slice, because systemd nests `a-b.slice` in an implicit `a.slice`. Now builds run in
# background.slice.
FORMER = ("pypi-insiders.slice",)
"""Units of older versions."""
FORMER_SLICES = (*FORMER, "pypi.slice")
"""Slices of older versions; systemd created the second for the dash (systemd.slice(5))."""
CONFINED = {"server": SERVER.service, "watcher": WATCHER.service, "notify": NOTIFIER}


def of_project(project: str) -> str:
    """Return the unit that runs the command for new releases of a project, in normalized form.

    Source: systemd.unit(5), "STRING ESCAPING FOR INCLUSION IN UNIT NAMES".
    """
    escaped = project.replace("-", "\\x2d")
    return RELEASED.replace("@", f"@{escaped}")


def gone() -> Path:
    """Return the path of the file that the notifier creates when it has stopped the index.

    It stops the index if the program or its interpreter is missing.
    """
    return runtime_directory() / "pypi-insiders/gone"


def names(part: Part) -> tuple[str, ...]:
    """Return all possible files of a service, relative to the unit directory."""
    return tuple(name for unit in (*part.units, *SHARED) for name in files_of(unit))


def files_of(unit: str) -> tuple[str, ...]:
    """Return all possible files of a unit, relative to the unit directory."""
    confined = (confinement_of(unit),) if unit in CONFINED.values() else ()
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
