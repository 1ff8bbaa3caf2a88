"""Look for lock files that nobody can use who does not have this index."""

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from pypi_insiders.doctor import client_settings
from pypi_insiders.doctor.client_settings import ClientContext
from pypi_insiders.doctor.clients import Index
from pypi_insiders.doctor.finding import Finding, ok, together, warning
from pypi_insiders.index import distribution
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.util import shell_words
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import list_names, read_bytes

_LOCKS = ("uv.lock", "pdm.lock", "poetry.lock")
_HINTS = {
    "pdm.lock": "`pdm lock --strategy no_static_urls`",
    "poetry.lock": "a source in pyproject.toml that ends in /insiders/simple/, and `poetry lock`",
}
_DEPTH = 3
_MOST_DIRECTORIES = 2000
_NOT_OURS = ("node_modules", "site-packages", "venv", "__pycache__")


@dataclass(frozen=True)
class Caught:
    """How many packages of a lock file bear the URL of the index."""

    held: int
    """Those that the index holds."""
    others: int


def look(place: ClientContext, index: Index, distributions: Path) -> Iterator[Finding]:
    """Look at the lock files in a directory and a few levels below it.

    Args:
        place: the directory, and the environment in which uv is called there.
        index: where it listens on this machine.
        distributions: what the index holds.
    """
    top, port = place.directory, index.port
    try:
        held = _held(distributions)
    except InsidersError as error:
        yield warning("lock files", error.message, error.hint)
        return
    found = list(_find(top))
    is_any = False
    for path in found:
        shown = path.relative_to(top)
        try:
            caught = _read(path, port, held)
        except (OSError, ValueError) as error:
            is_any = True
            yield warning("lock files", f"{shown} cannot be read: {error}", "lock again")
            continue
        if caught.others:
            message = (
                f"in {shown} {_packages(caught.others + caught.held)} the URL of this index, "
                f"{caught.others} of them not in it: nobody without it can install them"
            )
            hint = _HINTS.get(path.name) or _uv_hint(replace(place, directory=path.parent), index)
            yield warning("lock files", message, hint)
        elif caught.held:
            yield ok(
                "lock files",
                f"in {shown} {_packages(caught.held)} the URL of this index, all in it",
            )
        is_any = is_any or caught != Caught(0, 0)
    if not is_any:
        number = f"{len(found)} here" if found else "none here"
        yield ok("lock files", number + (", without the URL of this index" if found else ""))


def _uv_hint(place: ClientContext, index: Index) -> str:
    """Tell how to lock again: first whatever makes the index the only one is taken away."""
    fish = shell_words.is_fish(place.environment)
    leading = [it for it in client_settings.uv_mains(place) if index.is_at(it.url)]
    variables = [it.place for it in leading if it.place in place.environment]
    files = [it.place for it in leading if it.place not in variables]
    commands = [shell_words.unset(variables, fish=fish)] if variables else []
    commands += [shell_words.evaluated("--uv-index", fish=fish), "uv lock"]
    first = f"take {index.settings.url}/simple/ out of {together(files)}; then " if files else ""
    return f"{first}`{'; '.join(commands)}`, after which only what the index holds bears its URL"


def _packages(number: int) -> str:
    return f"{number} packages bear" if number != 1 else "1 package bears"


def _held(distributions: Path) -> set[str]:
    """Name the projects that the index holds."""
    held = set()
    for name in list_names(distributions):
        try:
            held.add(str(distribution.release_of(name)[0]))
        except DistributionError:
            continue
    return held


def _find(top: Path) -> Iterator[Path]:
    """Find lock files, without going into what is hidden or not the project's own."""
    for directory, below, names in islice(os.walk(top), _MOST_DIRECTORIES):
        here = Path(directory)
        yield from (here / name for name in _LOCKS if name in names)
        is_deep = len(here.relative_to(top).parts) >= _DEPTH
        below[:] = () if is_deep or "pyvenv.cfg" in names else sorted(filter(_is_own, below))


def _is_own(name: str) -> bool:
    return not name.startswith(".") and name not in _NOT_OURS


def _read(path: Path, port: int, held: set[str]) -> Caught:
    """Count packages by whether the index holds them.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no lock file.
    """
    ours = re.compile(rf"https?://([^/@]*@)?(127\.[0-9.]+|\[::1\]|localhost):{port}/")
    text = read_bytes(path).decode()
    if not ours.search(text):  # most have none, and reading TOML takes its time
        return Caught(0, 0)
    packages = tomllib.loads(text).get("package")
    if not isinstance(packages, list) or not all(isinstance(it, dict) for it in packages):
        raise ValueError("it names no packages")
    names = [str(it.get("name")) for it in packages if any(ours.match(word) for word in _words(it))]
    others = sum(canonicalize_name(name) not in held for name in names)
    return Caught(len(names) - others, others)


def _words(value: Any) -> Iterator[str]:
    """Go through all texts of a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _words(inner)
