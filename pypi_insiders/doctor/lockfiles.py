"""Find lock files that cannot be used without this index."""

import os
import re
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
from pypi_insiders.repositories import releases
from pypi_insiders.util import shell_words, toml
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_bytes
from pypi_insiders.util.formatting import counted

_LOCKS = ("uv.lock", "pdm.lock", "poetry.lock")
_HINTS = {
    "pdm.lock": "`pdm lock --strategy no_static_urls`",
    "poetry.lock": "a source in pyproject.toml that ends in /insiders/simple/, and `poetry lock`",
}
# Enough for the members of a workspace; a home with everything in it has to end soon as well.
_DEPTH = 3
_MOST_DIRECTORIES = 2000
# Their lock files, where they have any, are of other projects.
_NOT_OURS = ("node_modules", "site-packages", "venv", "__pycache__")


@dataclass(frozen=True)
class Caught:
    """How many packages of a lock file have the URL of the index."""

    own: int
    """Those of the index itself."""
    others: int
    """Public ones, to which the index only redirects."""


def look(place: ClientContext, index: Index, distributions: Path) -> Iterator[Finding]:
    """Check the lock files in a directory and a few levels below it.

    Args:
        place: the directory, and the environment in which uv is called there.
        index: the index on this machine.
        distributions: the directory with its files.
    """
    top, port = place.directory, index.port
    try:
        held = releases.projects(distributions)
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
            yield warning("lock files", f"{shown} cannot be read: {error}", f"`{path.stem} lock`")
            continue
        # A colleague without the index gets none of its packages anyway; but a public package that
        # is locked to 127.0.0.1 fails for everybody else, and in CI.
        if caught.others:
            message = (
                f"{_packages(caught.others + caught.own, shown)} the URL of this index, "
                f"{caught.others} of them public: not installable without this index"
            )
            hint = _HINTS.get(path.name) or _uv_hint(replace(place, directory=path.parent), index)
            yield warning("lock files", message, hint)
        elif caught.own:
            yield ok(
                "lock files",
                f"{_packages(caught.own, shown)} the URL of this index, none of them public",
            )
        is_any = is_any or caught != Caught(0, 0)
    if not is_any:
        number = f"{len(found)} found" if found else "none found"
        yield ok("lock files", number + (", without the URL of this index" if found else ""))


def _uv_hint(place: ClientContext, index: Index) -> str:
    """Return how to lock again, after the settings are removed that make the index the only one."""
    # With UV_DEFAULT_INDEX uv writes the URL of the index for all packages; as an index beside PyPI
    # it has only those of its own.
    fish = shell_words.is_fish(place.environment)
    leading = [it for it in client_settings.uv_mains(place) if index.is_at(it.url)]
    variables = [it.place for it in leading if it.place in place.environment]
    files = [it.place for it in leading if it.place not in variables]
    commands = [shell_words.unset(variables, fish=fish)] if variables else []
    commands += [shell_words.evaluated("--uv-index", fish=fish), "uv lock"]
    first = f"remove {index.settings.url}/simple/ from {together(files)}; then " if files else ""
    return f"{first}`{'; '.join(commands)}`"


def _packages(number: int, file: Path) -> str:
    return f"{counted(number, 'package')} in {file} {'has' if number == 1 else 'have'}"


def _find(top: Path) -> Iterator[Path]:
    """Find lock files, but not in hidden directories nor in those of other projects."""
    for directory, below, names in islice(os.walk(top), _MOST_DIRECTORIES):
        here = Path(directory)
        yield from (here / name for name in _LOCKS if name in names)
        is_deep = len(here.relative_to(top).parts) >= _DEPTH
        # os.walk() goes only where this list leads.
        below[:] = () if is_deep or "pyvenv.cfg" in names else sorted(filter(_is_own, below))


def _is_own(name: str) -> bool:
    return not name.startswith(".") and name not in _NOT_OURS


def _read(path: Path, port: int, held: set[str]) -> Caught:
    """Count the packages of a lock file that have the URL of the index.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a lock file.
    """
    # By address and port, as a host may be written in several ways.
    ours = re.compile(rf"https?://([^/@]*@)?(127\.[0-9.]+|\[::1\]|localhost):{port}/")
    text = read_bytes(path).decode()
    if not ours.search(text):  # most have none, and reading TOML takes its time
        return Caught(0, 0)
    packages = toml.parse(text).get("package")
    if not isinstance(packages, list) or not all(isinstance(it, dict) for it in packages):
        raise ValueError("it lists no packages")
    # Not by one key: uv has the URL in `source` and `sdist`, PDM in `files`, Poetry in `source`.
    names = [str(it.get("name")) for it in packages if any(ours.match(word) for word in _words(it))]
    others = sum(canonicalize_name(name) not in held for name in names)
    return Caught(len(names) - others, others)


def _words(value: Any) -> Iterator[str]:
    """Yield all texts of a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _words(inner)
