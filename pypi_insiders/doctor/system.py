"""Check what everything else needs: git, systemd and the bus of the user."""

import re
from collections.abc import Iterator

from pypi_insiders.doctor.finding import Finding, ok, problem, warning
from pypi_insiders.systemd import journalctl, systemctl
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process import run

_TIMEOUT_S = 30
# That of Debian 11; no test runs with an older one.
_OLDEST_GIT = (2, 30)
# Older ones have neither `list-timers --output=json` nor encrypted credentials.
_OLDEST_SYSTEMD = 250


def git() -> Finding:
    """Check whether git is installed, and recent enough."""
    try:
        output = run(("git", "--version"), timeout_s=_TIMEOUT_S).stdout.strip()
    except InsidersError as error:
        return problem("git", error.message, error.hint)
    match = re.search(r"(\d+)\.(\d+)(?:\.\d+)*", output)
    if match is None:
        return problem("git", f"unknown version: {output!r}", "install git")
    if (int(match[1]), int(match[2])) < _OLDEST_GIT:
        wanted = ".".join(map(str, _OLDEST_GIT))
        hint = f"install git {wanted} or later"
        return warning("git", f"{match[0]} is older than {wanted}", hint)
    return ok("git", match[0])


def manager(found: systemctl.Manager | InsidersError) -> Finding:
    """Return the finding about the user manager, or why none is running."""
    # A warning: `exec`, `server run` and `update` work without it, as in a container.
    if isinstance(found, InsidersError):
        return warning("user manager", found.message, found.hint)
    return of_version(found.version)


def of_version(version: str) -> Finding:
    """Return the finding about a user manager by its version, such as `252.39-1~deb12u2`."""
    number = re.match(r"\d+", version)
    if number and int(number[0]) < _OLDEST_SYSTEMD:
        return warning(
            "user manager",
            f"systemd {version} answers, and is older than {_OLDEST_SYSTEMD}",
            f"install systemd {_OLDEST_SYSTEMD} or later; `pypi-insiders server run` and "
            "`pypi-insiders update` work without it",
        )
    return ok("user manager", f"systemd {version} answers")


def bus() -> Finding:
    """Check whether the bus of the user reaches the user manager."""
    # systemctl works without the bus, by a socket of the manager's own; systemd-run and busctl do
    # not, and builds need the former.
    try:
        systemctl.ask_bus()
    except InsidersError as error:
        return warning("user bus", error.message, error.hint)
    return ok("user bus", "answers")


def lingering() -> Finding:
    """Check whether the user manager keeps running after a logout."""
    is_lingering = systemctl.is_lingering()
    if is_lingering is False:
        return warning(
            "lingering", "off: index and watcher stop when you log out", "`loginctl enable-linger`"
        )
    return ok("lingering", "on" if is_lingering else "unknown: no answer from loginctl")


def journal() -> Finding:
    """Check whether this user can read the logs of its units."""
    try:
        journalctl.demand_readable()
    except InsidersError as error:
        return warning("journal", error.message.removeprefix("the journal is "), error.hint)
    return ok("journal", "readable")


def look(found: systemctl.Manager | InsidersError) -> Iterator[Finding]:
    """Check git and systemd."""
    yield git()
    yield manager(found)
    if isinstance(found, systemctl.Manager):
        yield bus()
        yield lingering()
        yield journal()
