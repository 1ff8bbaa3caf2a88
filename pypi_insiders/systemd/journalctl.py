"""Read the journal, through journalctl."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.foreground import exec_program
from pypi_insiders.util.process import Lines, printing, run
from pypi_insiders.util.users import user_name

_TIMEOUT_S = 120
_PERSISTENT = Path("/var/log/journal")


class Position(NamedTuple):
    """The position of an entry in the journal."""

    cursor: str
    boot: str
    """The ID of the boot, as journald knows it."""


def logs(
    identifier: str, units: Iterable[str], options: Sequence[str], fields: Iterable[str] = ()
) -> NoReturn:
    """Become journalctl, for the lines of a service and what systemd says of its units.

    Args:
        identifier: the service's `SyslogIdentifier=`, which finds its last lines too.
        units: whose starts and stops are to be shown.
        options: for journalctl.
        fields: `NAME=VALUE`, of which each of the service's lines must have one.

    Raises:
        InsidersError: the journal is in memory only, and this user cannot read it.

    Source: journalctl(1); systemd.journal-fields(7).
    """
    # journalctl says only that permissions are insufficient, and not which.
    if not _PERSISTENT.is_dir():
        demand_readable()
    # Any user can log under any identifier: without this, another user's lines would look like
    # ours.
    user = f"_UID={os.getuid()}"
    # By the identifier, as `-u` loses last lines: journald asks for the unit of a process that has
    # ended by then. `+` is an or of two groups of matches.
    matches = [user, f"SYSLOG_IDENTIFIER={identifier}", *fields]
    for unit in units:
        matches += ["+", user, f"USER_UNIT={unit}"]
    # By default systemd's `S` has less cut lines at the width of the terminal. What the user sets
    # stays. Source: journalctl(1), `$SYSTEMD_LESS`.
    os.environ.setdefault("SYSTEMD_LESS", "FRXMK")
    exec_program(("journalctl", *_journal_of_user(), "--no-hostname", *options, *matches))


def demand_readable() -> None:
    """Check whether this user may read the lines of its units.

    Raises:
        InsidersError: it may not.

    Source: journald.conf(5), `SplitMode=`: only users that are not of the system have files, and
    only where the journal is persistent.
    """
    # Without permission for any file, journalctl fails, or says so and ends with status 0.
    result = run(("journalctl", *_journal_of_user(), "--lines=0"), timeout_s=_TIMEOUT_S)
    if result.status != 0 or "insufficient permissions" in result.stderr:
        why = "system users have no journal of their own"
        if not _PERSISTENT.is_dir():
            why = "it is in memory only, where users have no journal of their own"
        raise InsidersError(
            f"the journal is not readable: {why}",
            f"`sudo usermod -aG systemd-journal {user_name()}`, then log in again",
        )


def newest() -> Position | None:
    """Return the position of the newest entry of the journal; `None` where there is none.

    Source: journalctl(1), `--output-fields=`, on the fields that are always printed.
    """
    # The exit status is 0 with "No journal files were found.", so only the output tells.
    options = ("--lines=1", "--output=json", "--output-fields=_BOOT_ID")
    try:
        result = run(("journalctl", *_journal_of_user(), *options), timeout_s=_TIMEOUT_S)
        entry = json.loads(result.stdout)
    except (InsidersError, ValueError):
        return None
    return Position(entry["__CURSOR"], entry["_BOOT_ID"])


@contextmanager
def followed(identifier: str, unit: str, since: Position | None, fields: str) -> Iterator[Lines]:
    """Follow the journal of a service and what systemd says of its unit, an entry a line, as JSON.

    Args:
        identifier: its `SyslogIdentifier=`.
        unit: its name.
        since: after which entry; `None`: there is nothing to follow.
        fields: the wanted ones, between commas.

    Raises:
        InsidersError: there is no journalctl.

    Source: journalctl(1), `--output=json`.
    """
    if since is None:
        yield Lines(None)
        return
    user = f"_UID={os.getuid()}"
    argv = (
        # `--follow` alone begins with the last ten entries, whatever the cursor is; without `--all`
        # JSON has null for fields beyond 4096 bytes. Source: journalctl(1).
        *("journalctl", *_journal_of_user(), "--follow", "--lines=all", "--all"),
        # `--follow` alone reads the entries of this boot, of which the kernel may have another ID
        # in here than journald, as in a container.
        f"--boot={since.boot}",
        *("--output=json", f"--output-fields={fields}", f"--after-cursor={since.cursor}"),
        *(user, f"SYSLOG_IDENTIFIER={identifier}", "+", user, f"USER_UNIT={unit}"),
    )
    with printing(argv) as lines:
        yield lines


def logged(field: str) -> list[str]:
    """Name the values that a field has in the journal; none where nothing can be read.

    Source: journalctl(1), `--field`.
    """
    argv = ("journalctl", *_journal_of_user(), f"--field={field}")
    return run(argv, timeout_s=_TIMEOUT_S).stdout.splitlines()


def _journal_of_user() -> tuple[str, ...]:
    """Choose the user's own journal where there is one."""
    # A volatile journal has no files for users: there only the group systemd-journal can read, and
    # `--user` would find nothing. Source: journald.conf(5), `SplitMode=`.
    return ("--user",) if _PERSISTENT.is_dir() else ("--quiet",)
