"""Name the units, and the files that belong to each."""

import os
from dataclasses import dataclass
from pathlib import Path

# Sorts before `override.conf`, which `systemctl edit` writes: the user has the last word.
DROP_IN = "10-config.conf"
CONFINEMENT = "20-confinement.conf"


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
CONFINED = {"server": SERVER.service, "watcher": WATCHER.service, "notify": NOTIFIER}


def gone() -> Path:
    """Name the file by which the notifier remembers that it stopped the index.

    It does so where the program of the units, or its interpreter, is gone.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    return Path(runtime, "pypi-insiders/gone")


def names(part: Part) -> tuple[str, ...]:
    """Name the files of a part, below the unit directory, whether they are wanted or not."""
    return tuple(name for unit in (*part.units, *SHARED) for name in files_of(unit))


def files_of(unit: str) -> tuple[str, ...]:
    """Name the files of a unit, below the unit directory."""
    confined = (confinement_of(unit),) if unit in CONFINED.values() else ()
    return (unit, drop_in_of(unit), *confined)


def drop_in_of(unit: str) -> str:
    """Name the drop-in that carries what `config.toml` changes."""
    return f"{unit}.d/{DROP_IN}"


def confinement_of(unit: str) -> str:
    """Name the drop-in that confines a service."""
    return f"{unit}.d/{CONFINEMENT}"


def own_drop_ins(listed: str) -> list[str]:
    """Pick the drop-ins that are not ours from the property `DropInPaths` of a unit."""
    ours = (f"/{DROP_IN}", f"/{CONFINEMENT}")
    return [path for path in listed.split() if not path.endswith(ours)]
