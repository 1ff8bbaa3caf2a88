"""Check which repositories are readable, from this process and from a unit like the watcher."""

import base64
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pypi_insiders import git
from pypi_insiders.config.paths import Paths, runtime_directory
from pypi_insiders.git import SharedConnections, UnreachableError
from pypi_insiders.repositories import heads, tags
from pypi_insiders.repositories.git_access import access_to
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.token_commands import TokenCommands
from pypi_insiders.systemd import systemctl, transient, unit_files, unit_templates
from pypi_insiders.systemd.quoting import quoted
from pypi_insiders.systemd.unit_names import WATCHER
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import first_line
from pypi_insiders.util.process import run
from pypi_insiders.util.silent_hosts import SilentHosts

# `git ls-remote` mostly waits for its host: ten at once take as long as one.
_AT_ONCE = 16
# For the start of the unit, and of Python in it.
_SPARE_S = 30
# Variables for the unit only: they would change systemd-run itself. None of them is a secret.
_NOT_FOR_SYSTEMD_RUN = ("DBUS_", "LD_", "SYSTEMD_", "XDG_RUNTIME_DIR")
# A transient unit inherits nothing from another one, so the properties that make repositories
# readable are copied. Others, such as limits, do not affect access to a host.
_LISTS = (
    "ImportCredential",
    "InaccessiblePaths",
    "PassEnvironment",
    "ReadWritePaths",
    "UnsetEnvironment",
)
# Properties that a drop-in may set, and that can make a repository unreachable.
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
    """The result of listing the tags of one repository."""

    tags: int = 0
    """The number of its tags."""
    error: str | None = None
    """Why it cannot be read; `None`: it can."""
    hint: str | None = None
    is_away: bool = False
    """Whether its host is unreachable, which may be temporary."""
    newest: str | None = None
    """The tag that is built first, or the head of the branch; `None`: nothing is built."""
    lack: str | None = None
    """Why no tag is built, or which ones are not, although the repository is readable."""
    token_error: str | None = None
    """Why `token-command` returned no token, although the repository is readable without."""


def ask(
    watched: Iterable[Repository],
    commands: TokenCommands | None,
    *,
    timeout_s: float = git.TIMEOUT_S,
) -> dict[str, Reply]:
    """List the tags of repositories from this process, concurrently.

    Without a shorter limit, connections to hosts of many are shared, as in an update.

    Args:
        watched: the repositories.
        commands: `token-command` of `config.toml`.
        timeout_s: a host that takes longer counts as unreachable.

    Returns:
        Repository to result, in the order of `watched`.
    """
    listed = list(watched)
    shared = SharedConnections(runtime_directory() / "pypi-insiders")
    # Not with a shorter limit, as a host that hangs may take longer to refuse them.
    if timeout_s >= git.TIMEOUT_S:
        shared.expect(item.remote for item in listed)
    one = partial(
        _ask, commands=commands, timeout_s=timeout_s, hosts=SilentHosts(_AT_ONCE),
        connections=shared,
    )  # fmt: skip
    # The pool ends first: then nothing uses them.
    with contextlib.closing(shared), ThreadPoolExecutor(_AT_ONCE) as pool:
        replies = pool.map(one, listed)
        return {item.name: reply for item, reply in zip(listed, replies, strict=True)}


def _ask(
    repository: Repository,
    *,
    commands: TokenCommands | None,
    timeout_s: float,
    hosts: SilentHosts,
    connections: SharedConnections,
) -> Reply:
    try:
        access = access_to(repository, commands)
        with git.asking(repository.remote, hosts):
            listed = git.list_refs(
                repository.remote, access,
                has_branches=repository.branch is not None, timeout_s=timeout_s,
                connections=connections,
            )  # fmt: skip
        refs = listed.tags
        if not refs and repository.branch is None:
            branch = git.default_branch(repository.remote, access, timeout_s=timeout_s)
            return Reply(lack=heads.NO_TAGS, hint=heads.untagged_hint(repository.name, branch))
    except InsidersError as error:
        is_away = isinstance(error, UnreachableError)
        return Reply(error=error.message, hint=error.hint, is_away=is_away)
    reply = _with_head(repository, listed, _of_tags(repository, refs))
    return replace(reply, token_error=access.lacking.message) if access.lacking else reply


def _with_head(repository: Repository, listed: git.Refs, reply: Reply) -> Reply:
    """Return the result for the tags, with that for the branch if the repository has one."""
    branch = repository.branch
    if branch is None:
        return reply
    if commit := listed.branches.get(branch):
        # Without a tag that is built, the branch alone is what is wanted.
        head = heads.label(branch, commit)
        return reply if reply.newest else Reply(reply.tags, newest=head)
    error = heads.not_found(branch, listed.branches, repository.remote)
    return replace(reply, lack=error.message, hint=error.hint)


def _of_tags(repository: Repository, refs: dict[str, str]) -> Reply:
    rules = repository.rules(max_new=1)
    try:
        tags.demand_release(refs, rules.pattern, repository.name)
    except InsidersError as error:
        return Reply(len(refs), lack=error.message, hint=error.hint)
    choice = tags.choose(refs, {}, rules)
    if not choice.build:
        hint = f"build pre-releases: `pypi-insiders repos set {repository.name} pre=true`"
        return Reply(len(refs), lack="all its releases are pre-releases", hint=hint)
    # A repository with a pattern, such as `*`, skips the other tags on purpose.
    other = tags.overlooked(refs, repository.name, repository.project)
    if not repository.tags and other:
        return Reply(len(refs), newest=choice.build[0], lack=other[0], hint=other[1])
    return Reply(len(refs), newest=choice.build[0])


def as_json(replies: Mapping[str, Reply]) -> str:
    """Return replies as JSON, for `ask_from_unit`."""
    return json.dumps({name: asdict(reply) for name, reply in replies.items()})


def ask_from_unit(paths: Paths, number: int) -> dict[str, Reply]:
    """List the tags of all watched repositories from a transient unit like the watcher's.

    Like the watcher, it has neither the variables nor the ssh agent of this shell.

    Args:
        paths: all paths of the program.
        number: the number of watched repositories.

    Raises:
        InsidersError: the unit cannot run.

    Source: systemd-run(1).
    """
    if shutil.which("systemd-run") is None:
        raise InsidersError("systemd-run not found", "install systemd")
    # The time for all of them if each one hangs.
    timeout_s = git.TIMEOUT_S * (number // _AT_ONCE + 1) + _SPARE_S
    # The runtime directory is in memory and readable by this user only: credentials are secrets.
    with tempfile.TemporaryDirectory(dir=os.environ.get("XDG_RUNTIME_DIR")) as scratch:
        own, properties = _watcher(paths, Path(scratch))
        argv = transient.command(
            (*unit_templates.installed_words(), "doctor", "--access"),
            "Check access to the repositories of pypi-insiders",
            (*properties, f"RuntimeMaxSec={timeout_s}"),
            unit=_unit(),
            variables=_assignments(own),
        )
        inherited = {
            name: value for name, value in own.items() if not name.startswith(_NOT_FOR_SYSTEMD_RUN)
        }
        environment = {**os.environ, "LC_ALL": "C.UTF-8", **inherited}
        try:
            # Longer than RuntimeMaxSec=, so that systemd stops the unit and reports it.
            result = run(argv, timeout_s=timeout_s + _SPARE_S, environment=environment)
        # Ctrl-C kills systemd-run, but not the unit that it has started.
        except BaseException:
            end()
            raise
    try:
        return {name: Reply(**item) for name, item in json.loads(result.stdout).items()}
    except (ValueError, TypeError, AttributeError) as error:
        # Without valid JSON the unit did not run, and systemd-run prints the reason to stderr.
        reason = first_line(result.stderr, f"exit status {result.status}")
        raise InsidersError(
            f"cannot run a unit like {WATCHER.service}: {reason}",
            "show the log: `journalctl --user --since=-1min`",
        ) from error


def end() -> None:
    """Stop the unit of `ask_from_unit` in this process, if it is running; thread-safe."""
    systemctl.try_call("stop", "--", _unit())


def _unit() -> str:
    # With the process id: two commands may run at once, and `end` must stop the unit of its own.
    return f"pypi-insiders-doctor-{os.getpid()}.service"


def _watcher(paths: Paths, scratch: Path) -> tuple[dict[str, str], list[str]]:
    """Return the environment and properties of the watcher, or those it would be installed with.

    Args:
        paths: all paths of the program.
        scratch: a directory for credentials: command lines are visible to other users.
    """
    if not unit_files.is_installed(systemctl.manager().unit_path, WATCHER):
        # Not installed yet: the same directories, and the manager's defaults for everything else.
        return unit_templates.variables(paths), []
    has = systemctl.service(WATCHER.service)
    variables = dict(item.split("=", 1) for item in has["Environment"])
    return variables, list(_properties(has, scratch))


def _properties(has: Mapping[str, Any], scratch: Path) -> Iterator[str]:
    if has["Slice"]:
        yield f"Slice={has['Slice']}"
    for path, may_be_missing in has["EnvironmentFiles"]:
        # As a file, which systemd reads: a token in it must not be in a command line.
        yield f"EnvironmentFile={'-' if may_be_missing else ''}{path}"
    for name in _LISTS:
        for word in has.get(name, ()):
            yield f"{name}={quoted(word)}"
    for kind in ("", "Encrypted"):
        for name, path in _credentials(has, kind, scratch).items():
            yield f"LoadCredential{kind}={name}:{path}"
    for name in _CONFINING:
        value = has.get(name)
        # Only properties that are set: an older systemd-run rejects unknown ones.
        if value not in (None, False, "no"):
            yield f"{name}={'yes' if value is True else value}"


def _credentials(has: Mapping[str, Any], kind: str, scratch: Path) -> dict[str, str]:
    """Return the path of each credential; the values of `SetCredential=` are written to files."""
    found = {}
    for name, content in has.get(f"SetCredential{kind}", ()):
        file = scratch / f"{name}{kind}"
        # systemd expects encrypted credentials in base64, in files too. Source: systemd-creds(1).
        file.write_bytes(base64.b64encode(bytes(content)) if kind else bytes(content))
        found[name] = str(file)
    for name, path in has.get(f"LoadCredential{kind}", ()):
        # SetCredential= is the fallback of a missing file. Source: systemd.exec(5),
        # `SetCredential=`.
        if name not in found or Path(path).exists():
            found[name] = path
    return found


def _assignments(variables: Mapping[str, str]) -> Iterator[str]:
    # A name alone copies the variable from the environment, which other users cannot see, unlike
    # the command line.
    for name, value in variables.items():
        yield f"{name}={value}" if name.startswith(_NOT_FOR_SYSTEMD_RUN) else name
