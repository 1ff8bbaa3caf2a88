"""Run the user's own programs outside of the confinement of our services."""

import os
from collections.abc import Sequence
from pathlib import Path

from pypi_insiders.config.paths import runtime_directory
from pypi_insiders.systemd import transient

# Variables of the unit in which this runs: elsewhere they would name the wrong journal stream,
# credentials and notification socket.
_OF_UNIT = (
    "CREDENTIALS_DIRECTORY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MANAGERPID",
    "MONITOR_EXIT_CODE",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "SYSTEMD_EXEC_PID",
)


def is_needed() -> bool:
    """Return whether programs get fewer permissions here than in a unit of their own."""
    # mail and wall are setgid, which has no effect here. Source: proc_pid_status(5), `NoNewPrivs`.
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return False
    # Containers may be so too, and have no user manager.
    has_manager = (runtime_directory() / "systemd/private").exists()
    return "NoNewPrivs:\t1" in status and has_manager


def command(argv: Sequence[str], description: str, timeout_s: int) -> tuple[str, ...]:
    """Return the command that runs a program with our variables in a unit that is not confined.

    Args:
        argv: the program and its arguments.
        description: of the unit; not the command, which may have a secret: systemd logs this.
        timeout_s: the unit is stopped after this many seconds.

    Source: systemd-run(1); systemd.exec(5), "ENVIRONMENT VARIABLES".
    """
    kept = (name for name in os.environ if name not in _OF_UNIT and name.isidentifier())
    return transient.command(argv, description, (f"RuntimeMaxSec={timeout_s}",), variables=kept)
