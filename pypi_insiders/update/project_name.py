"""Read the name of a project from its files, without running its code."""

import ast
import configparser
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.utils import InvalidName, canonicalize_name

from pypi_insiders.builder.version_files import is_setup, value_at
from pypi_insiders.util import bounded
from pypi_insiders.util.bounded import ExhaustedError
from pypi_insiders.util.errors import InsidersError

FILES = ("pyproject.toml", "setup.cfg", "setup.py")
"""The files that may contain the name of a project."""


class UnknownNameError(InsidersError):
    """The files do not state the project name; the message is the reason."""


def read(files: Mapping[str, str]) -> str:
    """Return the normalized project name in the files of a project.

    Args:
        files: file name to content, for the existing ones of `FILES`.

    Raises:
        UnknownNameError: no file states a name, several state different names, code computes it,
            or parsing takes too much time or memory.
        InsidersError: the process for parsing cannot run.

    Source: https://packaging.python.org/en/latest/specifications/pyproject-toml/ (a name in
    `[project]` is never dynamic); flit, "The pyproject.toml config file"; Poetry, "The
    pyproject.toml file"; setuptools, "Configuring setuptools using setup.cfg files".
    """
    # In a process with limits: each of the parsers can be made to run for very long; the time of
    # tomllib grows with the square of dotted keys.
    try:
        name, reason = bounded.ask(__name__, dict(files))
    except ExhaustedError as error:
        raise UnknownNameError(error.message) from error
    if name is None:
        raise UnknownNameError(reason)
    return str(name)


def _answer(files: Mapping[str, str]) -> tuple[str | None, str | None]:
    try:
        return _read(files), None
    except UnknownNameError as error:
        return None, error.message


def _read(files: Mapping[str, str]) -> str:
    document = _toml(files.get("pyproject.toml", ""))
    # Every backend takes the name from [project] if that exists, and ignores all other places.
    if "project" in document:
        return _normalized(value_at(document, "project", "name"), "[project] in pyproject.toml")
    found = {
        _normalized(name, place) for name, place in _candidates(files, document) if name is not None
    }
    if not found:
        raise UnknownNameError("no name in pyproject.toml, setup.cfg or setup.py")
    if len(found) > 1:
        raise UnknownNameError(f"its files have several names: {', '.join(sorted(found))}")
    return found.pop()


def _candidates(files: Mapping[str, str], document: dict[str, Any]) -> Iterator[tuple[object, str]]:
    """Yield each name at a place that the build backend reads, and the place."""
    # PEP 517: without a [build-system] table, setuptools builds.
    named = value_at(document, "build-system", "build-backend")
    backend = str(named or "setuptools").partition(".")[0]
    if backend not in ("flit_core", "flit", "setuptools"):
        yield value_at(document, "tool", "poetry", "name"), "[tool.poetry] in pyproject.toml"
    if backend not in ("poetry", "setuptools"):
        flit = value_at(document, "tool", "flit", "metadata")
        yield (
            value_at(flit, "dist-name") or value_at(flit, "module"),
            "[tool.flit.metadata] in pyproject.toml",
        )
    if backend not in ("flit_core", "flit", "poetry"):
        # setup.py overrides setup.cfg, so a name that it computes may differ from setup.cfg's.
        if "setup.py" in files:
            yield _in_setup_py(files["setup.py"]), "setup.py"
        if "setup.cfg" in files:
            yield _in_setup_cfg(files["setup.cfg"]), "[metadata] in setup.cfg"


def _toml(text: str) -> dict[str, Any]:
    bounded.begin("its pyproject.toml")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnknownNameError("pyproject.toml is not valid TOML") from error


def _normalized(name: object, place: str) -> str:
    if not isinstance(name, str):
        raise UnknownNameError(f"{place} has no name")
    try:
        return canonicalize_name(name, validate=True)
    except InvalidName as error:
        raise UnknownNameError(f"{place} has an invalid name: {name[:80]!r}") from error


def _in_setup_cfg(text: str) -> str | None:
    bounded.begin("its setup.cfg")
    # Not ConfigParser: setuptools does not interpolate `%` either.
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise UnknownNameError("setup.cfg is malformed") from error
    return parser.get("metadata", "name", fallback=None)


def _in_setup_py(text: str) -> str | None:
    """Return the name in the only call of `setup`; `None` if the call has none.

    Raises:
        UnknownNameError: code computes the name.
    """
    bounded.begin("its setup.py")
    try:
        # Warnings about invalid escapes in foreign code do not belong into the log.
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text)
        calls = [node for node in ast.walk(tree) if is_setup(node)]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnknownNameError("setup.py cannot be parsed") from error
    # Two calls are mostly in branches of an `if`; only running the code would select one.
    if len(calls) != 1:
        raise UnknownNameError("setup.py computes the name")
    for keyword in calls[0].keywords:
        is_literal = isinstance(keyword.value, ast.Constant) and isinstance(
            keyword.value.value, str
        )
        # None: `setup(**arguments)`, which may contain a name.
        if keyword.arg is None or (keyword.arg == "name" and not is_literal):
            raise UnknownNameError("setup.py computes the name")
    values = {keyword.arg: keyword.value for keyword in calls[0].keywords}
    name = values.get("name")
    return str(name.value) if isinstance(name, ast.Constant) else None


if __name__ == "__main__":
    bounded.answer(_answer)
