"""Read and write the three files with held names, which replace each other if one is lost."""

import contextlib
import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pypi_insiders.config.paths import Paths, held_names_copies
from pypi_insiders.repositories.repository import parse_name
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there, write_atomic
from pypi_insiders.util.json_fields import written
from pypi_insiders.util.own_files import recall
from pypi_insiders.util.parsed_once import unchanged
from pypi_insiders.util.plain_text import encodable

_log = logging.getLogger(__name__)


def load(paths: Paths) -> tuple[dict[str, str | None] | None, InsidersError | None]:
    """Read the held names from all three files.

    Returns:
        The names, `None` without a readable file; and the error of an unreadable one.
    """
    found: dict[str, str | None] | None = None
    lost = None
    # The union of all files: a name too many costs an error message, a missing one installs a
    # public project.
    for path in (*held_names_copies(paths), paths.held_names):
        try:
            names = _read(path)
        except InsidersError as error:
            _log.warning("%s", error.message)
            lost = error
        else:
            if names is not None:
                found = (found or {}) | names
    return found, lost


def _understand(text: str) -> dict[str, str | None]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise TypeError("it is not a JSON object")
    if not all(isinstance(value, str | None) for value in content.values()):
        raise TypeError("a repository is not a string")
    # The names are held whatever is wrong; but files are found by that of a repository.
    return {
        encodable(name): value if _is_repository(value) else None for name, value in content.items()
    }


@lru_cache(maxsize=8192)
def _is_repository(name: str | None) -> bool:
    try:
        return name is not None and parse_name(name) == name
    except InsidersError:
        return False


def _recalled(path: Path) -> dict[str, str | None] | None:
    with contextlib.suppress(InsidersError):
        return _read(path)
    return None


def _read(path: Path) -> dict[str, str | None] | None:
    return unchanged(path, lambda: recall(path, _understand))


def save_changed(paths: Paths, names: dict[str, str | None], *, in_state_only: bool) -> None:
    """Write names to the files that have others.

    Args:
        paths: all paths of the program.
        names: normalized project to its repository.
        in_state_only: not beside the distributions, where a server cannot write.

    Raises:
        InsidersError: a file cannot be written; the old one stays.
    """
    # Not written if unchanged: a server reads the list again whenever its time changes.
    if names != _recalled(paths.held_names):
        _save(paths.held_names, names)
    for path in held_names_copies(paths):
        if not (in_state_only and path.parent == paths.distributions):
            _save_copy(paths, path, names)


def save(paths: Paths, names: Mapping[str, str | None]) -> None:
    """Write names to all files.

    Raises:
        InsidersError: a file cannot be written; the old one stays.
    """
    # The copies first: a server watches the main file, and then reads all of them.
    for path in held_names_copies(paths):
        _save_copy(paths, path, names)
    _save(paths.held_names, names)


def _save_copy(paths: Paths, path: Path, names: Mapping[str, str | None]) -> None:
    # Never creates a missing distributions directory, which would hide its loss.
    is_possible = path.parent != paths.distributions or is_there(paths.distributions)
    if is_possible and names != (_recalled(path) or {}):
        _save(path, names)


def _save(path: Path, names: Mapping[str, str | None]) -> None:
    write_atomic(path, written(dict(sorted(names.items())), indent=1))
