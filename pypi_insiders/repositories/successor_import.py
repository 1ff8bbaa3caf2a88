"""Import the repositories of `insiders`, the successor of the original (4.1.1 on PyPI)."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pypi_insiders.config.paths import Paths
from pypi_insiders.git.command import git
from pypi_insiders.repositories import legacy_import, lookup
from pypi_insiders.repositories.repository import Repository, parse_project
from pypi_insiders.util import toml
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import list_names, read_text
from pypi_insiders.util.without_credentials import without_passwords

FILE = "insiders.toml"
"""The settings of the successor."""
_NAME = "insiders"
# The default of both programs, so that nothing is to be set.
_PORT = 31411


def settings_file(paths: Paths) -> Path:
    """Return where the successor reads its settings."""
    return paths.config.parent / _NAME / FILE


def clones(paths: Paths, document: Mapping[str, Any]) -> Path:
    """Return the directory with its clones, which are its list of repositories."""
    return _directory(document, "sources-directory", paths.cache)


def _directory(document: Mapping[str, Any], key: str, ours: Path) -> Path:
    table = document.get("index")
    text = table.get(key) if isinstance(table, dict) else None
    return Path(text).expanduser() if isinstance(text, str) else ours.parent / _NAME


def load(
    paths: Paths, document: Mapping[str, Any], known: Mapping[str, Repository]
) -> list[Repository]:
    """Return the repositories that it has cloned, each with the project of its pyproject.toml.

    Raises:
        InsidersError: a clone has no URL that can be watched; the message has all problems.
    """
    directory = clones(paths, document)
    seen, problems, found = dict(known), list[str](), list[Repository]()
    for name in sorted(list_names(directory)):
        if not (directory / name / ".git" / "config").is_file():
            continue
        try:
            item = _of_clone(seen, directory / name)
        except InsidersError as error:
            problems.append(f"{name}: {error.message}")
        else:
            seen.setdefault(item.name, item)
            found.append(item)
    if problems:
        raise InsidersError(
            f"clones in {directory}: {'; '.join(problems)}",
            "correct it there (`git remote set-url origin URL`), or move that clone away",
        )
    return found


def _of_clone(known: Mapping[str, Repository], clone: Path) -> Repository:
    # The file, and not the clone: git refuses a clone of another owner.
    configuration = clone / ".git" / "config"
    printed = git(
        "config", "--file", f"{configuration}", "--default=", "--get", "remote.origin.url"
    )
    url = printed.removesuffix("\n")
    # A token in the URL: git's own access is used in its place.
    item = lookup.specified(known, without_passwords(url))
    try:
        document = toml.parse(read_text(clone / "pyproject.toml") or "")
        return item.with_key("project", parse_project(document["project"]["name"]))
    # It is read from the repository instead.
    except (InsidersError, KeyError, TypeError, ValueError):
        return item


def remains(
    paths: Paths, document: Mapping[str, Any], imported: Iterable[Repository]
) -> Iterator[str]:
    """Yield a line on each process, file, clone and setting of it that is left.

    Args:
        paths: all paths of this program.
        document: its settings.
        imported: the repositories that are taken over.
    """
    for number in legacy_import.running(r"\S*/insiders index start(?: |$)"):
        yield (
            "the index of insiders is running and may use the port of this server; "
            f"stop it: `kill {number}`"
        )
    files = _directory(document, "distributions-directory", paths.data)
    yield from legacy_import.remaining_files(files, paths)
    directory = clones(paths, document)
    if any(imported):
        yield f"its clones in {directory} are no longer used"
    # A work tree or a submodule of another repository has a file, without an address.
    odd = [name for name in sorted(list_names(directory)) if (directory / name / ".git").is_file()]
    if odd:
        yield f"not taken over, as they belong to clones elsewhere: {', '.join(odd)}"
    if (port := _port(document)) != _PORT:
        yield f"its index used port {port}; to use it here, set `port = {port}` under [server]"


def _port(document: Mapping[str, Any]) -> int:
    table = document.get("index")
    url = table.get("url") if isinstance(table, dict) else None
    try:
        return (isinstance(url, str) and urlsplit(url).port) or _PORT
    except ValueError:
        return _PORT
