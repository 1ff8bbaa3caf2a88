"""Find out which repositories can be read: from here, and from a unit like the watcher's."""

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pypi_insiders import git
from pypi_insiders.config.paths import Paths
from pypi_insiders.git import UnreachableError
from pypi_insiders.repositories import tags
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.systemd import systemctl, transient, unit_files, unit_templates
from pypi_insiders.systemd.quoting import quoted
from pypi_insiders.systemd.unit_names import WATCHER
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import first_line
from pypi_insiders.util.process import run

# `git ls-remote` waits for its host most of the time: ten at once take as long as one.
_AT_ONCE = 16
_SPARE_S = 30
# What would lead systemd-run itself astray; none of them is a secret.
_NOT_FOR_SYSTEMD_RUN = ("DBUS_", "LD_", "SYSTEMD_", "XDG_RUNTIME_DIR")
# A transient unit gets nothing of another one: what makes repositories readable there is copied,
# property by property. Others, such as limits, have no part in whether a host answers.
_LISTS = (
    "ImportCredential",
    "InaccessiblePaths",
    "PassEnvironment",
    "ReadWritePaths",
    "UnsetEnvironment",
)
# What a drop-in may set, by which a repository can come out of reach.
_CONFINING = (
    "NoNewPrivileges",
    "PrivateNetwork",
    "PrivateTmp",
    "PrivateUsers",
    "ProtectHome",
    "ProtectSystem",
)


@dataclass(frozen=True)
class Reply:
    """What came of asking one repository for its tags."""

    tags: int = 0
    """How many it has."""
    error: str | None = None
    """Why it cannot be read; `None`: it can."""
    hint: str | None = None
    is_away: bool = False
    """Whether its host is out of reach, which may pass."""
    newest: str | None = None
    """The tag that is built first; `None`: none is."""
    lack: str | None = None
    """Why none is, although it can be read."""


def ask(watched: Iterable[Repository], *, timeout_s: float = git.TIMEOUT_S) -> dict[str, Reply]:
    """Ask repositories for their tags from this process, many at once.

    Args:
        watched: which ones.
        timeout_s: after so long the host of one counts as out of reach.

    Returns:
        What came, by the name of the repository, in the given order.
    """
    listed = list(watched)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        replies = pool.map(partial(_ask, timeout_s=timeout_s), listed)
        return {item.name: reply for item, reply in zip(listed, replies, strict=True)}


def _ask(repository: Repository, *, timeout_s: float) -> Reply:
    try:
        access = git.Access(repository.token)
        refs = git.list_tags(repository.remote, access, timeout_s=timeout_s)
    except InsidersError as error:
        is_away = isinstance(error, UnreachableError)
        return Reply(error=error.message, hint=error.hint, is_away=is_away)
    rules = repository.rules(max_new=1)
    try:
        tags.demand_release(refs, rules.pattern, repository.name)
    except InsidersError as error:
        return Reply(len(refs), lack=error.message, hint=error.hint)
    choice = tags.choose(refs, {}, rules)
    if not choice.build:
        hint = f"`pypi-insiders repos set {repository.name} pre=true` builds those too"
        return Reply(len(refs), lack="all of its releases are pre-releases", hint=hint)
    return Reply(len(refs), newest=choice.build[0])


def as_json(replies: Mapping[str, Reply]) -> str:
    """Write replies so that another process reads them."""
    return json.dumps({name: asdict(reply) for name, reply in replies.items()})


def ask_from_unit(paths: Paths, number: int) -> dict[str, Reply]:
    """Ask all watched repositories from a unit that has what the watcher's has.

    It sees neither the variables nor the ssh agent of this shell, unless the watcher does.

    Args:
        paths: where everything lies.
        number: how many repositories there are.

    Raises:
        InsidersError: no such unit runs.

    Source: systemd-run(1).
    """
    if shutil.which("systemd-run") is None:
        raise InsidersError("systemd-run was not found", "install systemd")
    # As long as all of them take if each one hangs.
    timeout_s = git.TIMEOUT_S * (number // _AT_ONCE + 1) + _SPARE_S
    # In memory, and for this user alone: there may be secrets in it.
    with tempfile.TemporaryDirectory(dir=os.environ.get("XDG_RUNTIME_DIR")) as scratch:
        like = _watcher(paths, Path(scratch))
        argv = transient.command(
            (*unit_templates.installed_words(), "doctor", "--access"),
            "A look at the repositories of pypi-insiders",
            (*like.properties, f"RuntimeMaxSec={timeout_s}"),
            unit=_unit(),
            variables=_assignments(like.variables),
        )
        inherited = {
            name: value
            for name, value in like.variables.items()
            if not name.startswith(_NOT_FOR_SYSTEMD_RUN)
        }
        environment = {**os.environ, "LC_ALL": "C.UTF-8", **inherited}
        try:
            # Later than RuntimeMaxSec= ends the unit, so that systemd's word comes first.
            result = run(argv, timeout_s=timeout_s + _SPARE_S, environment=environment)
        # systemd-run ends with us, but the unit that it started does not.
        except BaseException:
            end()
            raise
    try:
        return {name: Reply(**item) for name, item in json.loads(result.stdout).items()}
    except (ValueError, TypeError, AttributeError) as error:
        said = first_line(result.stderr, f"it ended with {result.status}")
        raise InsidersError(
            f"a unit like {WATCHER.service} does not run: {said}",
            "see why: `journalctl --user --since=-1min`",
        ) from error


def end() -> None:
    """End the unit that `ask_from_unit` started from this process, in whatever thread, if any."""
    systemctl.try_call("stop", "--", _unit())


def _unit() -> str:
    return f"pypi-insiders-doctor-{os.getpid()}.service"


@dataclass(frozen=True)
class _Like:
    """What makes a unit like the watcher's."""

    variables: dict[str, str]
    properties: tuple[str, ...]
    """As systemd-run takes them."""


def _watcher(paths: Paths, scratch: Path) -> _Like:
    """Find out what the watcher's service has, or would have if it were installed.

    Args:
        paths: where everything lies.
        scratch: for credentials: other users see what stands in a command line.
    """
    if not unit_files.is_installed(systemctl.manager().unit_path, WATCHER):
        # Before anything is installed: the same directories, and all else as the manager has it.
        return _Like(unit_templates.variables(paths), ())
    has = systemctl.service(WATCHER.service)
    variables = dict(item.split("=", 1) for item in has["Environment"])
    return _Like(variables, tuple(_properties(has, scratch)))


def _properties(has: Mapping[str, Any], scratch: Path) -> Iterator[str]:
    if has["Slice"]:
        yield f"Slice={has['Slice']}"
    for path, may_be_missing in has["EnvironmentFiles"]:
        # Read by systemd in the unit, as for the watcher: what is in it may be a token.
        yield f"EnvironmentFile={'-' if may_be_missing else ''}{path}"
    for name in _LISTS:
        for word in has.get(name, ()):
            yield f"{name}={quoted(word)}"
    for kind in ("", "Encrypted"):
        for name, path in _credentials(has, kind, scratch).items():
            yield f"LoadCredential{kind}={name}:{path}"
    for name in _CONFINING:
        value = has.get(name)
        # What is off by default is not said: an older systemd-run refuses properties that it does
        # not know.
        if value not in (None, False, "no"):
            yield f"{name}={'yes' if value is True else value}"


def _credentials(has: Mapping[str, Any], kind: str, scratch: Path) -> dict[str, str]:
    """Tell from where to load each credential; those that are set are written to files."""
    found = {}
    for name, content in has.get(f"SetCredential{kind}", ()):
        file = scratch / f"{name}{kind}"
        # systemd decodes an encrypted credential from base64, in a file as well. Source:
        # systemd-creds(1).
        file.write_bytes(base64.b64encode(bytes(content)) if kind else bytes(content))
        found[name] = str(file)
    for name, path in has.get(f"LoadCredential{kind}", ()):
        # What is set counts where there is nothing to load. Source: systemd.exec(5),
        # `SetCredential=`.
        if name not in found or Path(path).exists():
            found[name] = path
    return found


def _assignments(variables: Mapping[str, str]) -> Iterator[str]:
    # There other users do not see them.
    for name, value in variables.items():
        yield f"{name}={value}" if name.startswith(_NOT_FOR_SYSTEMD_RUN) else name
