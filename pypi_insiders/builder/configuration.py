"""Validate a `pyproject.toml` before `build` reads it outside of the sandbox."""

import functools
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pypi_insiders.builder.backend_answers import read_foreign
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.util import bounded
from pypi_insiders.util.bounded import ExhaustedError
from pypi_insiders.util.trees import target_in

_LIMIT_BYTES = 1024 * 1024
_SHOWN_CHARS = 400
_MOST_LEVELS = 100
_TOO_DEEP = f"pyproject.toml has more than {_MOST_LEVELS} levels of tables and lists"


def check(project: Path, tree: Path) -> None:
    """Require a `pyproject.toml` that `build` can read safely, or none.

    Args:
        project: its directory.
        tree: the source tree; a link may lead to another file in it.

    Raises:
        BuildError: the file is invalid or unsafe.
        InsidersError: it cannot be read now; the project is not at fault.
        OSError: likewise.
    """
    path = project / "pyproject.toml"
    # lexists: a broken link is refused, and not taken for a project without the file.
    if not os.path.lexists(path):
        return
    # Some projects keep one file for several packages. No hook runs while this is read, so the link
    # has the same target when `build` follows it.
    target = target_in(path, tree)
    if path.is_symlink() and target is not None and target.is_file():
        path = target
    content = read_foreign(path, _LIMIT_BYTES)
    if content is None:
        raise BuildError("pyproject.toml is not a regular file, or too large")
    try:
        text = content.decode()
    except ValueError as error:
        raise BuildError(f"cannot parse pyproject.toml: {error}") from error
    if found := complaint(text):
        raise BuildError(found)


# An sdist has the file of its source tree, and a child process takes as long as a hook.
@functools.lru_cache(maxsize=4)
def complaint(text: str) -> str | None:
    """Return why a `pyproject.toml` is refused; `None` if `build` may read it.

    Raises:
        InsidersError: it cannot be parsed now; the project is not at fault.
    """
    # In a child process with limits: tomllib takes quadratic time for dotted keys of many parts. If
    # the child can parse it in time, so can `build`.
    try:
        found = bounded.ask(__name__, text)
    except ExhaustedError as error:
        return error.message
    return None if found is None else str(found)


def _complaint(text: str) -> str | None:
    bounded.begin("pyproject.toml")
    try:
        document = tomllib.loads(text)
    except RecursionError:
        return _TOO_DEEP
    except ValueError as error:
        return f"cannot parse pyproject.toml: {str(error)[:_SHOWN_CHARS]}"
    if _is_deep(document):
        return _TOO_DEEP
    return next(_of_backend(document.get("build-system")), None)


def _of_backend(system: object) -> Iterator[str]:
    """Report invalid values that would become arguments and variables of a hook."""
    system = system if isinstance(system, dict) else {}
    backend, paths = system.get("build-backend", ""), system.get("backend-path", [])
    # `build` itself reports values of a wrong type.
    paths = paths if isinstance(paths, list) else []
    if len(paths) > _MOST_LEVELS:
        yield f"pyproject.toml has more than {_MOST_LEVELS} items in backend-path"
    for text in (backend, *paths):
        if isinstance(text, str) and not (text.isprintable() and len(text) <= _SHOWN_CHARS):
            yield "pyproject.toml has an invalid name of a build backend"
    if all(isinstance(text, str) for text in paths):
        for text in paths:
            # PEP 517 forbids it. pyproject_hooks raises a bare ValueError for it, which would look
            # like a bug of this program.
            if text.startswith("/") or os.path.normpath(text).partition("/")[0] == os.pardir:
                yield f"the backend-path {text!r} in pyproject.toml leads out of the project"


def _is_deep(document: object) -> bool:
    # Level by level: recursion would fail on the very nesting that it is to find.
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
