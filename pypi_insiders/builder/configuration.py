"""Check a `pyproject.toml` before `build` reads it, which it does outside of any sandbox."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pypi_insiders.builder.backend_answers import read_left
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.util import bounded
from pypi_insiders.util.bounded import ExhaustedError

_LIMIT_BYTES = 1024 * 1024
_SHOWN_CHARS = 400
_MOST_LEVELS = 100
_TOO_DEEP = f"its pyproject.toml has more than {_MOST_LEVELS} levels of tables and lists"


def check(project: Path, tree: Path) -> None:
    """Refuse a `pyproject.toml` that leads elsewhere, or that `build` could not understand.

    It is read outside of any sandbox.

    Args:
        project: its directory.
        tree: the source tree; a link may lead to another file in it.

    Raises:
        BuildError: it is such a one.
        InsidersError: it cannot be read now.
        OSError: likewise.
    """
    path = project / "pyproject.toml"
    if not os.path.lexists(path):
        return
    # Some projects keep one file for several packages. No hook runs while this is read, so the link
    # still leads there when `build` follows it.
    target = path.resolve()
    if path.is_symlink() and target.is_relative_to(tree.resolve()) and target.is_file():
        path = target
    content = read_left(path, _LIMIT_BYTES)
    if content is None:
        raise BuildError("its pyproject.toml is no file, or too large")
    try:
        text = content.decode()
    except ValueError as error:
        raise BuildError(f"its pyproject.toml cannot be parsed: {error}") from error
    if found := complaint(text):
        raise BuildError(found)


def complaint(text: str) -> str | None:
    """Tell why a `pyproject.toml` is refused, or `None` if `build` may read it.

    It is read in a process of its own: for keys of many parts, tomllib takes a time that grows
    with the square of their length. What that process can read in its time, `build` can as well.

    Args:
        text: what is in the file.

    Raises:
        InsidersError: it cannot be read now.
    """
    try:
        found = bounded.ask(__name__, text)
    except ExhaustedError as error:
        return error.message
    return None if found is None else str(found)


def _complaint(text: str) -> str | None:
    bounded.begin("its pyproject.toml")
    try:
        document = tomllib.loads(text)
    except RecursionError:
        return _TOO_DEEP
    except ValueError as error:
        return f"its pyproject.toml cannot be parsed: {str(error)[:_SHOWN_CHARS]}"
    if _is_deep(document):
        return _TOO_DEEP
    return next(_of_backend(document.get("build-system")), None)


def _of_backend(system: object) -> Iterator[str]:
    """Complain of what becomes arguments and variables of a hook."""
    system = system if isinstance(system, dict) else {}
    backend, paths = system.get("build-backend", ""), system.get("backend-path", [])
    # Others than texts `build` complains of.
    paths = paths if isinstance(paths, list) else []
    if len(paths) > _MOST_LEVELS:
        yield f"its pyproject.toml has more than {_MOST_LEVELS} items in backend-path"
    for text in (backend, *paths):
        if isinstance(text, str) and not (text.isprintable() and len(text) <= _SHOWN_CHARS):
            yield "the build backend in its pyproject.toml has a name that none can have"
    if all(isinstance(text, str) for text in paths):
        for text in paths:
            if text.startswith("/") or os.path.normpath(text).partition("/")[0] == os.pardir:
                yield f"the backend-path {text!r} in its pyproject.toml leads out of it"


def _is_deep(document: object) -> bool:
    """Tell whether what is nested in each other is more than who reads it recursively can read."""
    level = [document]
    for _ in range(_MOST_LEVELS):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


if __name__ == "__main__":
    bounded.answer(_complaint)
