"""Keep `repos.toml`, the list of watched repositories."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tomli_w
from packaging.utils import InvalidName, canonicalize_name

from pypi_insiders import config
from pypi_insiders.config import parse_toml
from pypi_insiders.errors import InsidersError, UsageError
from pypi_insiders.files import read_text, write_atomic
from pypi_insiders.urls import without_credentials

_HEADER = """\
# The repositories that pypi-insiders watches, written by `pypi-insiders repos add` and `remove`.
# You may edit this file; comments are lost at the next `add` or `remove`.

"""
_SCHEMES = ("https", "ssh", "git", "file")
# White space, control characters, bytes that are no text, and the `::` of git's transport helpers.
_NEVER_IN_A_URL = r"[\s\x00-\x1f\x7f\ud800-\udfff]|^[^/]*::"
# `user@host:path`. Source: git-clone(1), "GIT URLS".
_SCP_LIKE = (
    r"(?!(?:https?|ssh|git|file):)"
    r"(?:[A-Za-z0-9_.][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9_.-]*:(?!//)[^-@][^@]*"
)


@dataclass(frozen=True)
class Repository:
    """One watched repository."""

    name: str
    """`NS/PROJ`, by which the person names it."""
    distribution: str | None = None
    """Normalized name of the distribution; `None`: what the first build says."""
    url: str | None = None
    """Where Git finds it; `None`: on GitHub, over ssh."""
    keep: int | None = None
    """How many of its newest versions the index keeps; `None`: as many as `config.toml` says."""

    @property
    def remote(self) -> str:
        """The URL for Git."""
        return self.url or f"git@github.com:{self.name}.git"


def parse_name(text: str) -> str:
    """Check `NS/PROJ`, the name of a repository.

    Raises:
        UsageError: it is not of that form, or could leave its directory, or look like an option.
    """
    part = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.][A-Za-z0-9_.-]*"
    name = text.removesuffix(".git")
    if re.fullmatch(f"{part}/{part}", name) is None:
        raise UsageError(
            f"{text!r} is not a repository of the form NS/PROJ",
            "for example squidfunk/mkdocs-material-insiders; for another host add --url URL",
        )
    return name


def parse_distribution(text: str) -> str:
    """Check and normalize the name of a distribution.

    Raises:
        UsageError: it is no valid name.

    Source: https://packaging.python.org/en/latest/specifications/name-normalization/
    """
    try:
        return canonicalize_name(text, validate=True)
    except InvalidName as error:
        raise UsageError(
            f"{text!r} is not the name of a distribution",
            "letters, digits, '.', '_' and '-', such as mkdocs-material",
        ) from error


def parse_keep(number: int) -> int:
    """Check how many versions are to be kept: 1 or more, or 0 for all.

    Raises:
        UsageError: it is negative.
    """
    try:
        return config.parse_keep(number)
    except ValueError as error:
        raise UsageError(f"keep {error}") from error


def parse_url(text: str) -> str:
    """Check the URL of a Git repository: https, ssh (also `user@host:path`), git or file.

    Raises:
        UsageError: another scheme, a leading `-`, what could be a credential, no host or no path.
    """
    shown = repr(without_credentials(text))
    if text.startswith("-") or re.search(_NEVER_IN_A_URL, text):
        raise UsageError(f"{shown} is not the URL of a Git repository", _URL_HINT)
    if re.fullmatch(_SCP_LIKE, text):
        return text
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{shown} is not a URL", _URL_HINT) from error
    if not parts.scheme:
        raise UsageError(f"{shown} is not the URL of a Git repository", _URL_HINT)
    if parts.scheme not in _SCHEMES:
        raise UsageError(f"{shown} has a scheme that is not allowed", _URL_HINT)
    has_user = parts.username is not None
    if parts.password is not None or parts.query or (has_user and parts.scheme == "https"):
        raise UsageError(
            f"{shown} contains a credential, which would be stored in the clear",
            "leave it out of the URL and give it to git: `git help credentials`",
        )
    is_option = parts.netloc.startswith("-") or (host or "").startswith("-")
    if is_option or not (host or parts.scheme == "file") or not parts.path.strip("/"):
        raise UsageError(f"{shown} names no repository", _URL_HINT)
    return text


_URL_HINT = (
    "give https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, git://HOST/PATH or file:///PATH"
)


def parse_specification(text: str) -> Repository:
    """Read `NS/PROJ` or `NS/PROJ:DIST`, as `repos add` takes it.

    Raises:
        UsageError: either part is malformed.
    """
    if "://" in text or "@" in text or text.startswith("/"):
        raise UsageError(
            f"{without_credentials(text)!r} is not NS/PROJ",
            "name it NS/PROJ, and say where it is with --url URL",
        )
    name, colon, distribution = text.partition(":")
    return Repository(parse_name(name), parse_distribution(distribution) if colon else None)


def load(path: Path) -> dict[str, Repository]:
    """Read the watched repositories by name, in the order of the file; none without a file.

    Raises:
        InsidersError: the file cannot be read or is wrong; everything wrong is named at once.
    """
    text = read_text(path)
    document = {} if text is None else parse_toml(path, text)
    problems: list[str] = []
    found: dict[str, Repository] = {}
    for name, content in document.items():
        item = _from_table(name, content, problems)
        if other := find(found, item.name):
            problems.append(f"{other.name} is listed twice, the second time as {name}")
        found[item.name] = item
    with _collected(problems):
        _check_distributions(found.values())
    if problems:
        raise InsidersError(f"{path}: {'; '.join(problems)}", f"edit {path}")
    return found


def _from_table(name: str, content: Any, problems: list[str]) -> Repository:
    """Read one table; add to the problems what is wrong with it."""
    item = Repository(name)
    if not isinstance(content, dict):
        problems.append(f'{name} must be a table: ["{name}"]')
        content = {}
    checks: dict[str, tuple[type, Callable[[Any], Any]]] = {
        "distribution": (str, parse_distribution),
        "url": (str, parse_url),
        "keep": (int, parse_keep),
    }
    with _collected(problems):
        item = replace(item, name=parse_name(name))
    for key, value in content.items():
        if key not in checks:
            problems.append(f"{name}: unknown key {key} (known: {', '.join(checks)})")
        elif type(value) is not checks[key][0]:
            kind = "a string" if checks[key][0] is str else "a number"
            problems.append(f"{name}: {key} must be {kind}")
        else:
            with _collected(problems, f"{name}: "):
                item = replace(item, **{key: checks[key][1](value)})
    return item


@contextmanager
def _collected(problems: list[str], place: str = "") -> Iterator[None]:
    try:
        yield
    except InsidersError as error:
        problems.append(f"{place}{error.message}")


def save(path: Path, repositories: Iterable[Repository]) -> None:
    """Write the watched repositories, in the given order.

    Raises:
        InsidersError: the file cannot be written; it is as it was.
    """
    document = {
        item.name: {
            key: value
            for key, value in (
                ("distribution", item.distribution),
                ("url", item.url),
                ("keep", item.keep),
            )
            if value is not None
        }
        for item in repositories
    }
    write_atomic(path, _HEADER + tomli_w.dumps(document))


def find(repositories: dict[str, Repository], name: str) -> Repository | None:
    """Find a repository by its name; hosts of Git ignore the case of names."""
    folded = name.casefold()
    return next((item for key, item in repositories.items() if key.casefold() == folded), None)


def select(repositories: dict[str, Repository], names: Iterable[str]) -> list[Repository]:
    """Find the named repositories; all of them where no name is given.

    Raises:
        UsageError: a name is malformed.
        InsidersError: one is not watched; all of those are named.
    """
    wanted = [parse_name(name) for name in names]
    if not wanted:
        return list(repositories.values())
    found = {name: find(repositories, name) for name in wanted}
    missing = [name for name, item in found.items() if item is None]
    if missing:
        raise InsidersError(f"not watched: {', '.join(missing)}", "see `pypi-insiders repos list`")
    return list({item.name: item for item in found.values() if item}.values())


def add(repositories: dict[str, Repository], new: Iterable[Repository]) -> dict[str, Repository]:
    """Add repositories to the list; of those in it already only what `keep` says changes.

    Raises:
        InsidersError: one is watched with another distribution or URL, or its distribution comes
            from another repository.
    """
    result = dict(repositories)
    for item in new:
        known = find(result, item.name)
        if known is None:
            result[item.name] = item
        elif (item.distribution or known.distribution, item.url or known.url) != (
            known.distribution,
            known.url,
        ):
            raise InsidersError(
                f"{known.name} is watched already, as {known.distribution or 'yet unnamed'} "
                f"from {known.remote}",
                f"first `pypi-insiders repos remove {known.name}`",
            )
        elif item.keep is not None:
            result[known.name] = replace(known, keep=item.keep)
    _check_distributions(result.values())
    return result


def _check_distributions(repositories: Iterable[Repository]) -> None:
    owners: dict[str, str] = {}
    for item in repositories:
        if item.distribution and owners.setdefault(item.distribution, item.name) != item.name:
            raise conflict(item.distribution, owners[item.distribution])


def conflict(distribution: str, owner: str) -> InsidersError:
    """Say that a distribution has another owner."""
    return InsidersError(
        f"{distribution} comes from {owner} already",
        "one distribution can come from one repository only",
    )
