"""Look for what commonly goes wrong."""

import http.client
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pypi_insiders import config, overview, reach, repositories, sandbox, systemctl
from pypi_insiders.config import Settings
from pypi_insiders.errors import InsidersError
from pypi_insiders.files import make_directory
from pypi_insiders.making import hidden
from pypi_insiders.overview import Condition
from pypi_insiders.paths import Paths
from pypi_insiders.process import Containment, run
from pypi_insiders.reach import Reply
from pypi_insiders.repository import Repository
from pypi_insiders.units import SERVER, WATCHER, Part

_TIMEOUT_S = 30
_OLDEST_GIT = (2, 30)  # that of Debian 11; nobody tests with older ones
_FROM_SHELL = (
    "that sees neither the variables nor the ssh agent of your shell: `systemctl --user "
    "import-environment SSH_AUTH_SOCK`, a key that needs no agent, or ~/.config/environment.d/"
)

_T = TypeVar("_T")


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    """What was looked at."""
    verdict: Verdict
    message: str
    hint: str | None = None
    repository: str | None = None
    """`NS/PROJ`, if it is about one of them."""

    @property
    def line(self) -> str:
        """What a person reads of it."""
        return f"{self.check}: {f'{self.repository} ' if self.repository else ''}{self.message}"


def examine(paths: Paths, now: datetime) -> Iterator[Finding]:
    """Look at everything, one after the other.

    Args:
        paths: where everything lies.
        now: for "12 min ago"; with a time zone, in which times are told.
    """
    settings, found = _read(config.load, paths.settings, Settings())
    yield found
    nothing: dict[str, Repository] = {}
    watched, found = _read(repositories.load, paths.repositories, nothing)
    yield found
    yield _git()
    manager = _manager()
    yield manager
    has_manager = manager.verdict == Verdict.OK
    if has_manager:
        yield _lingering()
    yield from _services(settings, now, has_manager=has_manager)
    yield _sandbox(paths, settings)
    if not watched and found.verdict == Verdict.OK:
        yield _warning("access", "no repositories are watched", "`pypi-insiders repos add NS/PROJ`")
    if watched:
        yield from _access(paths, watched, has_manager=has_manager)


def _ok(check: str, message: str) -> Finding:
    return Finding(check, Verdict.OK, message)


def _warning(check: str, message: str, hint: str | None) -> Finding:
    return Finding(check, Verdict.WARNING, message, hint)


def _problem(check: str, message: str, hint: str | None) -> Finding:
    return Finding(check, Verdict.PROBLEM, message, hint)


def _read(load: Callable[[Path], _T], path: Path, otherwise: _T) -> tuple[_T, Finding]:
    """Read a file of the person; where that fails, go on with something else."""
    try:
        content = load(path)
    except InsidersError as error:
        return otherwise, _problem(path.name, error.message, error.hint)
    return content, _ok(path.name, "can be read" if path.exists() else "not there, nothing is set")


def _git() -> Finding:
    try:
        said = run(("git", "--version"), timeout_s=_TIMEOUT_S).stdout.strip()
    except InsidersError as error:
        return _problem("git", error.message, error.hint)
    match = re.search(r"(\d+)\.(\d+)(?:\.\d+)*", said)
    if match is None:
        return _problem("git", f"says {said!r} of its version", "install git")
    if (int(match[1]), int(match[2])) < _OLDEST_GIT:
        wanted = ".".join(map(str, _OLDEST_GIT))
        return _warning("git", f"{match[0]} is older than {wanted}", "install a newer one")
    return _ok("git", match[0])


def _manager() -> Finding:
    try:
        systemctl.manager()
    except InsidersError as error:
        return _warning("user manager", error.message, error.hint)
    return _ok("user manager", "answers")


def _lingering() -> Finding:
    is_lingering = systemctl.is_lingering()
    if is_lingering is False:
        return _warning(
            "lingering", "off: index and watcher stop when you log out", "`loginctl enable-linger`"
        )
    return _ok("lingering", "on" if is_lingering else "not known: loginctl does not tell")


def _services(settings: Settings, now: datetime, *, has_manager: bool) -> Iterator[Finding]:
    """Look at both services, and whether the index answers where it should."""
    url, is_running = settings.server.url, False
    if has_manager:
        for part in (SERVER, WATCHER):
            try:
                look = overview.look(part, now)
                if part == SERVER and look.condition == Condition.RUNNING:
                    is_running, url = True, overview.index_url() or ""
            except InsidersError as error:
                yield _problem(part.name, error.message, error.hint)
            else:
                yield _service(part, look)
    if url:
        yield _index(url, is_running=is_running)


def _service(part: Part, look: overview.Overview) -> Finding:
    told = look.line.removeprefix(f"{part.name}: ")
    command = f"pypi-insiders {part.name}"
    if look.condition == Condition.NOT_INSTALLED:
        return _warning(part.name, told, f"`{command} enable`")
    if look.has_failed:
        verdict = Verdict.PROBLEM if look.condition == Condition.STOPPED else Verdict.WARNING
        return Finding(part.name, verdict, told, f"see why: `{command} logs`")
    if look.condition == Condition.STOPPED:
        return _warning(part.name, told, f"`{command} start`")
    return _ok(part.name, told)


def _index(url: str, *, is_running: bool) -> Finding:
    """Ask the index at its URL, without any proxy."""
    place = urlsplit(url)
    try:
        connection = http.client.HTTPConnection(
            place.hostname or "", place.port, timeout=_TIMEOUT_S
        )
        connection.request("GET", "/health")
        answer = connection.getresponse()
        healthy = (answer.status, answer.read(16)) == (200, b"Ok")
    except (OSError, http.client.HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        message = f"no answer at {url}/simple/ ({reason or error})"
        if is_running:
            return _problem("index", message, "see why: `pypi-insiders server logs`")
        return _warning("index", message, "`pypi-insiders server enable`, or `server run`")
    if healthy:
        return _ok("index", f"answers at {url}/simple/")
    return _problem(
        "index", f"what answers at {url} is another server, or an index that is not well ("
        f"{answer.status})", f"see who has the port: `ss -ltnp 'sport = :{place.port}'`",
    )  # fmt: skip


def _sandbox(paths: Paths, settings: Settings) -> Finding:
    wanted = settings.build.sandbox
    if wanted == "off":
        return _ok("sandbox", "off, as config.toml says: builds may do what you may")
    containment = Containment()
    try:
        make_directory(paths.cache)
        trouble = sandbox.probe(containment, hidden(paths), paths.cache)
    except InsidersError as error:
        trouble = error.message
    except BaseException:
        containment.end()
        raise
    if trouble is None:
        return _ok("sandbox", "builds are sandboxed")
    if wanted == "required":
        hint = 'nothing is built while `sandbox = "required"` under [build]'
        return _problem("sandbox", f"none can be had: {trouble}", hint)
    hint = "watch only repositories that you trust as much as packages that you install"
    return _warning("sandbox", f"none can be had, builds may do what you may: {trouble}", hint)


def _access(
    paths: Paths, watched: dict[str, Repository], *, has_manager: bool
) -> Iterator[Finding]:
    """Ask each repository for its tags as the watcher does, or from here where it cannot run."""
    if not has_manager:
        for name, reply in reach.ask(watched.values()).items():
            yield _reached(name, reply, "from this process, without a unit")
        return
    try:
        replies = reach.ask_from_unit(paths, len(watched))
    except InsidersError as error:
        yield _problem("access", error.message, error.hint)
        return
    failed = [item for name, item in watched.items() if replies.get(name, Reply()).error]
    here = reach.ask(failed)
    for name in watched:
        if name not in replies:
            message = f"is not among those that a unit like {WATCHER.service} watches"
            hint = "`pypi-insiders watcher restart` hands on where your files lie"
            yield Finding("access", Verdict.PROBLEM, message, hint, name)
        elif name in here and here[name].error is None:
            message = (
                f"can be read from your shell, but not from a unit like {WATCHER.service}: "
                f"{replies[name].error}"
            )
            yield Finding("access", Verdict.PROBLEM, message, _FROM_SHELL, name)
        else:
            yield _reached(name, replies[name], f"from a unit like {WATCHER.service}")


def _reached(name: str, reply: Reply, place: str) -> Finding:
    """Tell what came of asking a repository.

    Args:
        name: of the repository.
        reply: what came.
        place: from where it was asked.
    """
    if reply.error is not None:
        verdict = Verdict.WARNING if reply.is_away else Verdict.PROBLEM
        message = f"cannot be read {place}: {reply.error}"
        return Finding("access", verdict, message, reply.hint, name)
    if not reply.tags:
        hint = "releases are built from tags such as v1.0"
        message = f"can be read {place}, and has no tags"
        return Finding("access", Verdict.WARNING, message, hint, name)
    return Finding("access", Verdict.OK, f"can be read {place}", None, name)
