"""Read and write `repos.toml`, the list of watched repositories."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any

from pypi_insiders.config import toml_fields
from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import pasted
from pypi_insiders.repositories.lookup import find, select
from pypi_insiders.repositories.repository import (
    Repository,
    add_command,
    demand_consistent,
    is_insecure,
    parse_name,
)
from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.files import locked, read_text, write_atomic
from pypi_insiders.util.parsed_once import unchanged
from pypi_insiders.util.without_credentials import without_credentials

BELONGS = "already belongs to"
"""In the error of a project that another repository has."""
_HEADER = """\
# The repositories that pypi-insiders watches, written by `pypi-insiders repos`.
# You may edit this file; its commands keep your comments and layout.

"""
# The header of versions whose commands did not keep comments.
_FORMER_PROMISE = (
    "# You may edit this file; comments are lost at the next `add`, `set`, `import` or `remove`.\n"
)


def load(path: Path) -> dict[str, Repository]:
    """Read the watched repositories by name, in the order of the file; none without a file.

    Raises:
        InsidersError: the file cannot be read or is not valid; the message has all problems.
    """
    found = unchanged(path, lambda: _read(path, read_text(path, newline="") or ""))
    return {item.name: item for item in (found or {}).values()}


def _read(path: Path, text: str) -> dict[str, Repository]:
    """Return the repositories by the names of their tables, which may end with `.git`."""
    problems: list[str] = []
    found: dict[str, Repository] = {}
    by_name: dict[str, Repository] = {}
    for table, content in toml_fields.parse_toml(path, text).items():
        item = _from_table(table, content, problems)
        # TOML itself rejects equal tables, but not those that differ in case or by `.git`.
        if (other := by_name.setdefault(item.name.casefold(), item)) is not item:
            again = without_credentials(table)
            problems.append(f"{other.name} is listed twice, the second time as {again}")
        found[table] = item
    # All problems in one message, so that the file is edited once.
    try:
        _check_projects(by_name.values())
    except InsidersError as error:
        problems.append(error.message)
    if problems:
        raise toml_fields.wrong(path, problems)
    return found


def _from_table(name: str, content: Any, problems: list[str]) -> Repository:
    """Read one table; add its problems to `problems`."""
    # It may be an address with a token, which was pasted in place of a name.
    its_name = shown = without_credentials(name)
    if not isinstance(content, dict):
        problems.append(f'{shown} must be a table: ["{shown}"]')
        content = {}
    try:
        its_name = parse_name(name)
    except UsageError as error:
        problems.append(error.message)
    values, wrong = toml_fields.read(Repository, content)
    problems += (f"{shown}: {problem}" for problem in wrong)
    item = Repository(its_name, **values)
    try:
        demand_consistent(item)
    except UsageError as error:
        # A wrong URL is reported already.
        if not wrong:
            lacks = " (insecure-http is not set)" if is_insecure(item.remote) else ""
            problems.append(f"{shown}: {error.message}{lacks}")
    return item


@contextmanager
def edit(paths: Paths) -> Iterator[dict[str, Repository]]:
    """Lock `repos.toml`, yield the watched repositories by name, and save changes to them.

    If the caller raises, nothing is saved.

    Raises:
        InsidersError: the file cannot be read, is not valid, or cannot be written.
    """
    # Locked for the read too: of two commands at once, the second would undo the first.
    with locked(paths.locks.repositories):
        watched = load(paths.repositories)
        yield watched
        save(paths.repositories, watched.values())


def save(path: Path, repositories: Iterable[Repository]) -> None:
    """Write the watched repositories; preserve comments, order and layout of the file.

    New repositories are appended in the given order.

    Raises:
        InsidersError: the file is not valid, or cannot be written; the old one stays.
    """
    from pypi_insiders.repositories import layout

    # newline="" preserves the ends of lines of a file from Windows.
    text = read_text(path, newline="")
    old = text or ""
    before = _read(path, old)
    former = _former_keys(toml_fields.parse_toml(path, old))
    wanted = {item.name: item for item in repositories}
    changes: dict[str, dict[str, Any] | None] = {}
    # Only tables that differ are written, so that the user's spelling of the others stays.
    for table, known in before.items():
        item = wanted.pop(known.name, None)
        if item != known:
            changes[table] = (
                None
                if item is None
                else _renamed(former.get(table, {}), item) | _difference(known.keys, item.keys)
            )
    changes |= {name: item.keys for name, item in wanted.items()}
    # Not written if unchanged: servers read the file again whenever its time changes.
    if changes:
        promise = _HEADER.splitlines(keepends=True)[1]
        start = _HEADER if text is None else old.replace(_FORMER_PROMISE, promise, 1)
        write_atomic(path, layout.revise(start, changes))


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    keys = dict.fromkeys((*before, *after))
    return {key: after.get(key) for key in keys if before.get(key) != after.get(key)}


def former_keys(path: Path) -> dict[str, dict[str, str]]:
    """Return the tables with former names of keys, each former name to the current one.

    Raises:
        InsidersError: the file cannot be read, or has such a name and is not TOML.
    """
    text = read_text(path, newline="") or ""
    # Parsed only if it may have one; a backslash can spell a name in another way.
    may_have = any(word in text for word in ("\\", *toml_fields.former_names(Repository)))
    return _former_keys(toml_fields.parse_toml(path, text)) if may_have else {}


def _former_keys(document: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    names = toml_fields.former_names(Repository)
    return {
        table: used
        for table, content in document.items()
        if isinstance(content, dict)
        and (used := {old: new for old, new in names.items() if old in content})
    }


def _renamed(former: Mapping[str, str], item: Repository) -> dict[str, Any]:
    """Return the changes that replace former names of keys by the current ones."""
    removed: dict[str, Any] = dict.fromkeys(former)
    return removed | {name: item.keys.get(name) for name in former.values()}


def add(repositories: dict[str, Repository], new: Iterable[Repository]) -> dict[str, Repository]:
    """Return the list with new repositories; for watched ones, the given keys change.

    Raises:
        InsidersError: one is watched with another project or URL, or its project belongs to another
            repository; the message has all of them.
    """
    result = dict(repositories)
    problems: list[InsidersError] = []
    # One after the other, so that two new ones with the same project are found.
    for item in new:
        try:
            result = _with(result, item)
        except InsidersError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise InsidersError(
            "; ".join(error.message for error in problems),
            "change a watched repository: `pypi-insiders repos set NS/PROJ KEY=VALUE`",
        )
    return result


def _with(repositories: dict[str, Repository], item: Repository) -> dict[str, Repository]:
    known = find(repositories, item.name)
    if known is None:
        demand_consistent(item)
        changed = item
    # A project name may be added if none was known. Another name or URL starts from scratch, which
    # only `repos set` does: a mistyped `add` must not.
    elif (item.project or known.project, item.url or known.url) != (
        known.project or item.project,
        known.url,
    ):
        words = [
            f"{key}={str(value).lower() if isinstance(value, bool) else value}"
            for key, value in item.keys.items()
        ]
        raise InsidersError(
            f"{known.name} is already watched: project {known.project or 'not known yet'}, "
            f"url {known.remote}",
            f"change it: `pypi-insiders repos set {known.name} {shlex.join(words)}`"
            + _beside(repositories, known, item),
        )
    else:
        changed = known
        for key, value in item.keys.items():
            changed = changed.with_key(key, value)
        demand_consistent(changed)
    result = {**repositories, changed.name: changed}
    _check_projects(result.values())
    return result


def _beside(repositories: Mapping[str, Repository], known: Repository, item: Repository) -> str:
    """Return how to watch a repository that is elsewhere under the name of a watched one."""
    old, new = (pasted.parse(url or "", is_stored=True) for url in (known.remote, item.url))
    if old is None or new is None or old.place[0] == new.place[0] != "" or new.is_at(old):
        return ""
    if item.project and item.project == known.project:
        return ""
    name = new._replace(name=item.name).full_name
    # Directories of this machine have no host that tells them apart.
    free = (
        it
        for it in chain([name], (f"{name}-{it}" for it in count(2)))
        if not find(repositories, it)
    )
    options = {
        key: value
        for key, value in item.keys.items()
        if key not in ("project", "url", "insecure-http")  # they are given in other ways
    }
    return f"; or watch both: {add_command(next(free), item.url, item.project, options)}"


def change(
    repositories: dict[str, Repository], name: str, texts: Mapping[str, str]
) -> dict[str, Repository]:
    """Change keys of a watched repository, all or none.

    Args:
        repositories: the watched repositories.
        name: the repository to change.
        texts: key to the text that the user typed; an empty text resets the key.

    Raises:
        UsageError: the name, a key or a value is not valid.
        InsidersError: it is not watched, or its project belongs to another repository.
    """
    (item,) = select(repositories, [name])
    for key, text in texts.items():
        try:
            item = item.with_text(key, text)
        except ValueError as error:
            raise UsageError(str(error), "see `pypi-insiders repos set --help`") from error
    try:
        demand_consistent(item)
    except UsageError as error:
        if not is_insecure(item.remote):
            raise
        given = [f"{key}={text}" for key, text in texts.items() if key == "url"]
        words = shlex.join([*given, "insecure-http=true"])
        accept = f"`pypi-insiders repos set {item.name} {words}`"
        raise UsageError(error.message, f"use https, or accept that: {accept}") from error
    # The changed one comes last, so that the error names the other one as the owner.
    others = [other for name, other in repositories.items() if name != item.name]
    _check_projects([*others, item])
    return {**repositories, item.name: item}


def _check_projects(repositories: Iterable[Repository]) -> None:
    owners: dict[str, str] = {}
    for item in repositories:
        if item.project and owners.setdefault(item.project, item.name) != item.name:
            raise conflict(item.project, owners[item.project])


def conflict(project: str, owner: str) -> InsidersError:
    """Return the error that a project belongs to another repository."""
    return InsidersError(
        f"{project} {BELONGS} {owner}", "a project can belong to one repository only"
    )
