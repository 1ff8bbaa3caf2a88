"""Read which repositories another program, or a file of requirements, takes from Git."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pypi_insiders.config import toml_fields
from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import (
    legacy_import,
    registry,
    requirement_import,
    successor_import,
)
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.requirement_import import GitRequirement
from pypi_insiders.util import toml
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text
from pypi_insiders.util.without_credentials import without_credentials

_NAME_IT = "name the file: `pypi-insiders repos import FILE`"
# The tables of the settings of the successor; `project` is one of pyproject.toml too.
_OF_SUCCESSOR = {"backlog", "index", "sponsors"}


class Imported(NamedTuple):
    """What is to be watched, and what is left to do."""

    repositories: list[Repository]
    requirements: Sequence[GitRequirement] = ()
    """Where a repository is required by its URL."""
    remaining: Sequence[str] = ()
    """A line for each process and file that the other program leaves, or that is not read."""


def load(paths: Paths, file: Path | None) -> Imported:
    """Read the repositories to watch from a file, or from where other programs store them.

    Args:
        paths: all paths of the program.
        file: a `repos.json` of the original, an `insiders.toml` of the successor, a
            `pyproject.toml` or a file of requirements, each of which may be a pipe; `None`: what
            the original and the successor stored.

    Raises:
        InsidersError: it is missing, unreadable or not valid; the message has all problems.
    """
    known = registry.load(paths.repositories)
    if file is not None:
        if file.is_dir():
            raise InsidersError(f"{file} is a directory", _NAME_IT)
        text = read_text(file, is_argument=True)
        if text is None:
            raise InsidersError(f"{file} not found", _NAME_IT)
        return _of_text(paths, file, text, known)
    original, settings = paths.config / legacy_import.FILE, successor_import.settings_file(paths)
    there = {path: text for path in (original, settings) if (text := read_text(path)) is not None}
    parts = list[Imported]()
    for path, text in there.items():
        parts.append(_of_text(paths, path, text, known))
        known = {**{item.name: item for item in parts[-1].repositories}, **known}
    if settings not in there and successor_import.clones(paths, {}).is_dir():
        parts.append(_of_successor(paths, {}, known))
    if not parts:
        raise InsidersError(f"{original} not found", _NAME_IT)
    repositories = dict[str, Repository]()
    for item in (item for part in parts for item in part.repositories):
        # Both may have the same repository, which has its URL the first time only.
        repositories.setdefault(item.name.casefold(), item)
    return Imported(
        list(repositories.values()), remaining=[line for part in parts for line in part.remaining]
    )


def _of_text(paths: Paths, path: Path, text: str, known: Mapping[str, Repository]) -> Imported:
    # By its content where its name says nothing, as that of a pipe.
    if path.suffix == ".json" or text.lstrip().startswith("{"):
        repositories = legacy_import.parse(path, text)
        return Imported(repositories, remaining=list(legacy_import.remains(paths, repositories)))
    if path.suffix != ".toml" and not _is_toml(text):
        found = requirement_import.of_requirements(path, text, known)
        lines = [_not_read(path, name) for name in requirement_import.included(text)]
        return Imported([item.repository for item in found], found, lines)
    document = toml_fields.parse_toml(path, text)
    if path.name == successor_import.FILE or (
        path.name != "pyproject.toml" and _OF_SUCCESSOR & document.keys()
    ):
        return _of_successor(paths, document, known)
    found = requirement_import.of_pyproject(path, document, known)
    return Imported([item.repository for item in found], found)


def _not_read(path: Path, name: str) -> str:
    """Return the line on a file that a file of requirements includes."""
    if "://" in name:
        return f"{path} includes {without_credentials(name)}, which is not read"
    # That of a pipe is none in which files are.
    directory = Path() if path.is_relative_to("/dev") else path.parent
    command = shlex.join(["pypi-insiders", "repos", "import", str(directory / name)])
    return f"{path} includes {name}, which is not read: `{command}`"


def _is_toml(text: str) -> bool:
    try:
        # An empty text is TOML, too, and as well an empty file of requirements.
        return bool(toml.parse(text))
    except ValueError:
        return False


def _of_successor(
    paths: Paths, document: Mapping[str, Any], known: Mapping[str, Repository]
) -> Imported:
    repositories = successor_import.load(paths, document, known)
    return Imported(
        repositories,
        remaining=list(successor_import.remains(paths, document, repositories)),
    )
