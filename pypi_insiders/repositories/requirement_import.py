"""Import what requirements take from Git, and say what to write there instead."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement

from pypi_insiders.config.toml_fields import as_toml
from pypi_insiders.repositories import lookup
from pypi_insiders.repositories.repository import (
    Repository,
    demand_consistent,
    parse_name,
    parse_project,
)
from pypi_insiders.repositories.tags import version_of
from pypi_insiders.util.errors import InsidersError

# A comment begins a line, or follows white space.
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$")
_EDITABLE = re.compile(r"^(?:-e|--editable)[\s=]+")
_INCLUDED = re.compile(r"^(?:-r|-c|--requirement|--constraint)[\s=]*(\S.*)")
# Such as `--hash=sha256:...`, which may follow a requirement.
_OPTIONS = re.compile(r"(?<=\s)--?[a-z].*$")
# Of a URL of http, without what may be a password that has a `/`, unescaped.
_HOST = re.compile(r"https?://(?:\[[0-9a-fA-F:.]*\]|[^:/]*)(?::\d*)?(?:/|$)")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
# Of `git+URL@REF#FRAGMENT`. Source: https://pip.pypa.io/en/stable/topics/vcs-support/
_GIT = re.compile(
    r"git\+(?P<scheme>[a-z]+)://(?P<host>[^/]*)(?P<path>/[^@#]*)(?:@(?P<ref>[^#]*))?(?:#(?P<more>.*))?"
)


class GitRequirement(NamedTuple):
    """A requirement that is taken from Git."""

    place: str
    """The file, and where in it."""
    repository: Repository
    ref: str = ""
    """A tag, branch or commit; empty: the default branch."""
    extras: tuple[str, ...] = ()
    marker: str = ""
    tool: str = ""
    """`uv` and `Poetry` have tables of their own; empty: a requirement."""

    def advice(self, project: str | None) -> str:
        """Return what to write in the file instead.

        Args:
            project: the name of the project; `None`: not known.
        """
        new = self._instead(project or "PROJECT")
        # The table of uv says only where a requirement is from, which stands elsewhere.
        action = "remove it, and require" if self.tool == "uv" else "replace its Git URL by"
        if not self.ref or version_of(self.ref):
            return f"{self.place}: {action} `{new}`"
        if _COMMIT.fullmatch(self.ref):
            return f"{self.place}: {action} `{new}` (commit {self.ref} is not a version)"
        words = ("pypi-insiders", "repos", "set", self.repository.name, f"branch={self.ref}")
        hint = f"if it is a branch: `{shlex.join(words)}`"
        return f"{self.place}: {action} `{new}` ({self.ref} is not a version; {hint})"

    def _instead(self, project: str) -> str:
        version = version_of(self.ref)
        exact = f"=={version}" if version else ""
        if self.tool != "Poetry":
            extras = f"[{','.join(self.extras)}]" if self.extras else ""
            marker = f"; {self.marker}" if self.marker else ""
            return f"{project}{extras}{exact}{marker}"
        keys = [f'version = "{exact or "*"}"']
        if self.extras:
            keys.append(f"extras = {as_toml(list(self.extras))}")
        if self.marker:
            keys.append(f"markers = {as_toml(self.marker)}")
        table = "{" + ", ".join(keys) + "}" if keys[1:] else keys[0].removeprefix("version = ")
        return f"{project} = {table}"


def of_pyproject(
    path: Path, document: Mapping[str, Any], known: Mapping[str, Repository]
) -> list[GitRequirement]:
    """Find what a pyproject.toml takes from Git: requirements, sources of uv, tables of Poetry.

    Raises:
        InsidersError: a repository has no URL that can be watched; the message has all problems.
    """
    return _collect(path, _walk(document), known)


def of_requirements(path: Path, text: str, known: Mapping[str, Repository]) -> list[GitRequirement]:
    """Find what a file of requirements takes from Git.

    Raises:
        InsidersError: a repository has no URL that can be watched; the message has all problems.

    Source: https://pip.pypa.io/en/stable/reference/requirements-file-format/
    """
    entries = ((place, _EDITABLE.sub("", line)) for place, line in _lines(text))
    return _collect(path, entries, known)


def included(text: str) -> list[str]:
    """Return the files that a file of requirements includes."""
    return [match[1] for _, line in _lines(text) if (match := _INCLUDED.match(line))]


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield the lines, joined where one ends with a backslash, without comments."""
    first, before = 1, ""
    for number, line in enumerate(text.splitlines(), start=1):
        first = first if before else number
        if line.endswith("\\"):
            before += line[:-1]
        else:
            yield f"line {first}", _COMMENT.sub("", before + line).strip()
            before = ""


def _walk(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield all texts, and all tables with a key `git`, each with its place."""
    # Not by recursion: tables may be nested to any depth.
    left: list[tuple[str, Any]] = [("", document)]
    while left:
        place, value = left.pop()
        if isinstance(value, str) or (
            isinstance(value, dict) and isinstance(value.get("git"), str)
        ):
            yield place, value
        elif isinstance(value, dict):
            tables = [(f"{place}.{key}" if place else key, it) for key, it in value.items()]
            # Taken from the end: so that they come in the order of the file.
            left += reversed(tables)
        elif isinstance(value, list):
            left += [(place, it) for it in reversed(value)]


def _collect(
    path: Path, entries: Iterable[tuple[str, Any]], known: Mapping[str, Repository]
) -> list[GitRequirement]:
    seen, problems, found = dict(known), list[str](), dict[tuple[str, str], GitRequirement]()
    for place, value in entries:
        try:
            item = (
                _of_table(place, value, seen)
                if isinstance(value, dict)
                else _of_requirement(place, value, seen)
            )
        except InsidersError as error:
            problems.append(f"{place}: {error.message}")
            continue
        if item is not None:
            # So that two hosts with a repository of one name get two names, as with `repos add`.
            seen.setdefault(item.repository.name, item.repository)
            found.setdefault((place, item.repository.name), item._replace(place=f"{path}, {place}"))
    if problems:
        raise InsidersError(
            f"nothing added from {path}: {'; '.join(problems)}",
            "correct it, or leave it out and use `pypi-insiders repos add`",
        )
    return list(found.values())


def _of_table(
    place: str, table: Mapping[str, Any], known: Mapping[str, Repository]
) -> GitRequirement:
    names = ("tag", "rev", "branch", "subdirectory", "marker", "markers")
    keys = {key: text for key in names if isinstance(text := table.get(key), str)}
    extras = table.get("extras")
    return GitRequirement(
        place,
        _watched(known, table["git"], place.rpartition(".")[2], keys.get("subdirectory")),
        keys.get("tag") or keys.get("rev") or keys.get("branch") or "",
        tuple(map(str, extras)) if isinstance(extras, list) else (),
        # Of uv, and of Poetry.
        keys.get("marker") or keys.get("markers") or "",
        "Poetry" if ".poetry." in place else "uv",
    )


def _of_requirement(
    place: str, text: str, known: Mapping[str, Repository]
) -> GitRequirement | None:
    if not re.match(r"[^#]*\bgit\+", text):
        return None
    text = _OPTIONS.sub("", text).rstrip()
    extras: tuple[str, ...] = ()
    name, marker, url = None, "", text
    if not text.startswith("git+"):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            return None  # a text that only mentions such a URL
        name, url, extras = requirement.name, requirement.url or "", tuple(requirement.extras)
        marker = str(requirement.marker or "")
    match = _GIT.fullmatch(url.partition(" ")[0])
    if match is None:
        # Not the URL, which may have a credential anywhere.
        raise InsidersError("not a Git URL with a path, such as git+https://HOST/PATH")
    fragment = dict(pair.split("=", 1) for pair in (match["more"] or "").split("&") if "=" in pair)
    if name is None and (egg := re.match(r"[\w.-]+", fragment.get("egg", ""))):
        name = egg[0]
    address = f"{match['scheme']}://{match['host']}{match['path']}"
    item = _watched(known, address, name, fragment.get("subdirectory"))
    return GitRequirement(place, item, match["ref"] or "", tuple(sorted(extras)), marker)


def _watched(
    known: Mapping[str, Repository], url: str, project: str | None, subdirectory: str | None
) -> Repository:
    """Return the repository to watch for a requirement."""
    # Its credential, or the variable for one: git's own access is used in its place. Of ssh, the
    # user is part of the address.
    url = re.sub(r"^(https?://)[^/]*@", r"\1", url)
    url = re.sub(r"^(ssh://[^/@:]*):[^/@]*@", r"\1@", url)
    # `ssh://git@HOST:PATH`, as older requirements have it.
    url = re.sub(r"^ssh://([^/:]*):(?!\d+/)", r"\1:", url)
    if url.startswith("http") and _HOST.match(url) is None:
        raise InsidersError("the host of its URL is not valid; escape `/` in a password as %2F")
    item = lookup.specified(known, url)
    try:
        keys = {"project": project and parse_project(project), "subdirectory": subdirectory}
        for key, value in keys.items():
            item = item.with_key(key, value) if value else item
    except ValueError as error:
        raise InsidersError(str(error)) from error
    # Another project of a repository that is watched, or named before, is watched beside it.
    other = lookup.find(known, item.name)
    if other is None:
        # Here, where the place in the file is known.
        demand_consistent(item)
    if other is None or other.project in (None, item.project) or not item.project:
        return item
    # Its length has bounds too: a name that is too long would make `repos.toml` unreadable.
    return item._replace(name=parse_name(f"{other.name}/{item.project}"), url=other.remote)
