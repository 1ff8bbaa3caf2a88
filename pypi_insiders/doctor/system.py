"""Look at what everything else stands on: git, systemd, the bus of the user."""

import re
from collections.abc import Iterator

from pypi_insiders.doctor.finding import Finding, ok, problem, warning
from pypi_insiders.systemd import systemctl
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process import run

_TIMEOUT_S = 30
_OLDEST_GIT = (2, 30)  # that of Debian 11; nobody tests with older ones
# Older ones do not know `list-timers --output=json`, nor encrypted credentials.
_OLDEST_SYSTEMD = 250


def git() -> Finding:
    """Look whether git is there, and not too old."""
    try:
        said = run(("git", "--version"), timeout_s=_TIMEOUT_S).stdout.strip()
    except InsidersError as error:
        return problem("git", error.message, error.hint)
    match = re.search(r"(\d+)\.(\d+)(?:\.\d+)*", said)
    if match is None:
        return problem("git", f"says {said!r} of its version", "install git")
    if (int(match[1]), int(match[2])) < _OLDEST_GIT:
        wanted = ".".join(map(str, _OLDEST_GIT))
        return warning("git", f"{match[0]} is older than {wanted}", "install a newer one")
    return ok("git", match[0])


def manager(found: systemctl.Manager | InsidersError) -> Finding:
    """Tell of the user's service manager, or why there is none."""
    if isinstance(found, InsidersError):
        return warning("user manager", found.message, found.hint)
    return of_version(found.version)


def of_version(version: str) -> Finding:
    """Judge a service manager by its version, such as `252.39-1~deb12u2`."""
    number = re.match(r"\d+", version)
    if number and int(number[0]) < _OLDEST_SYSTEMD:
        return warning(
            "user manager",
            f"systemd {version} answers, and is older than {_OLDEST_SYSTEMD}",
            "a newer system; `pypi-insiders server run` and `pypi-insiders update` work without it",
        )
    return ok("user manager", f"systemd {version} answers")


def bus() -> Finding:
    """Look whether the user's bus leads to the user's manager: systemctl works without it."""
    try:
        systemctl.ask_bus()
    except InsidersError as error:
        return warning("user bus", error.message, error.hint)
    return ok("user bus", "answers")


def lingering() -> Finding:
    """Look whether the user manager outlives a logout."""
    is_lingering = systemctl.is_lingering()
    if is_lingering is False:
        return warning(
            "lingering", "off: index and watcher stop when you log out", "`loginctl enable-linger`"
        )
    return ok("lingering", "on" if is_lingering else "not known: loginctl does not tell")


def look(found: systemctl.Manager | InsidersError) -> Iterator[Finding]:
    """Look at git and systemd."""
    yield git()
    yield manager(found)
    if isinstance(found, systemctl.Manager):
        yield bus()
        yield lingering()
