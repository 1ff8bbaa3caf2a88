"""Find the version in the files of a project, and replace it."""

import ast
import configparser
import re
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from packaging.version import InvalidVersion, Version

from pypi_insiders.builder.backend_answers import read_foreign
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.util import bounded
from pypi_insiders.util.bounded import ExhaustedError
from pypi_insiders.util.trees import target_in

_FILES = ("pyproject.toml", "setup.cfg", "setup.py")
_LIMIT_BYTES = 512 * 1024
# By which setup.py calls `setup`.
_MODULES = ("setuptools", "distutils", "distutils.core", "core")
# The variables that set the version in place of Git, by the tools that read them. Source: the
# manuals of setuptools-scm, pdm-backend, poetry-dynamic-versioning, uv-dynamic-versioning and pbr.
_VARIABLES = {
    "setuptools-scm": "SETUPTOOLS_SCM_PRETEND_VERSION",
    "hatch-vcs": "SETUPTOOLS_SCM_PRETEND_VERSION",
    "pdm-backend": "PDM_BUILD_SCM_VERSION",
    "poetry-dynamic-versioning": "POETRY_DYNAMIC_VERSIONING_BYPASS",
    "uv-dynamic-versioning": "UV_DYNAMIC_VERSIONING_BYPASS",
    "pbr": "PBR_VERSION",
}
HINT = (
    "state the version in pyproject.toml (`[project]`), setup.cfg or setup.py, or use a version "
    "tool such as setuptools-scm"
)
"""The hint if a version cannot be set."""


@dataclass(frozen=True)
class VersionFiles:
    """Where the version of a project comes from."""

    stated: Version | None = None
    """The version in its files; `None`: code or a version tool computes it."""
    tools: tuple[str, ...] = ()
    """The version tools that it names, each of which has a variable for the version."""

    def variables(self, version: Version) -> dict[str, str]:
        """Return the environment variables by which its tools take a version."""
        return {_VARIABLES[tool]: str(version) for tool in self.tools}


def read(project: Path, tree: Path) -> VersionFiles:
    """Find where the version of a project comes from.

    Args:
        project: its directory.
        tree: the source tree, which contains it.

    Raises:
        InsidersError: its files cannot be read now; the project is not at fault.
    """
    found = _ask(project, tree, None)
    try:
        stated = Version(found["stated"]) if found["stated"] else None
    except InvalidVersion:
        stated = None
    return VersionFiles(stated, tuple(found["tools"]))


def write(project: Path, tree: Path, version: Version) -> None:
    """Write a version into the files of a project, in place of the one there.

    Args:
        project: its directory.
        tree: the source tree, which contains it.
        version: the new version.

    Raises:
        BuildError: none of its files has a version that can be replaced.
        InsidersError: its files cannot be read now; the project is not at fault.
    """
    changed = _ask(project, tree, str(version))["changed"]
    if not changed:
        raise BuildError(f"cannot set version {version}: its files have none to replace", hint=HINT)
    for name, text in changed.items():
        path = project / name
        # A link may lead to a file of another project in the repository.
        path.unlink()
        path.write_text(text, encoding="utf-8", newline="")


def _ask(project: Path, tree: Path, version: str | None) -> dict[str, Any]:
    files = {}
    for name in _FILES:
        # Through no link out of the tree: `write` would copy its text into the tree.
        path = target_in(project / name, tree)
        if path is not None and path.is_file():
            content = read_foreign(path, _LIMIT_BYTES)
            try:
                files[name] = (content or b"").decode()
            except ValueError as error:
                raise BuildError(f"cannot parse {name}: {error}") from error
    try:
        return dict(bounded.ask(__name__, {"files": files, "version": version}))
    except ExhaustedError as error:
        raise BuildError(error.message) from error


# What follows runs in the child process.


@dataclass(frozen=True)
class _Place:
    """A place of the version in a file."""

    file: str
    stated: str | None
    """`None`: code computes it."""
    replaced: Callable[[str], str | None]
    """Returns the text of the file with another version; `None`: it cannot be replaced."""


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    files, version = question["files"], question["version"]
    bounded.begin("its pyproject.toml")
    try:
        document = tomllib.loads(files.get("pyproject.toml", ""))
    except (ValueError, RecursionError):
        document = {}  # `build` reports it
    # A tool overrides what is written beside it, but not a version in `[project]`.
    is_static = isinstance(value_at(document, "project", "version"), str)
    tools = [] if is_static else sorted(_tools(document, files))
    place = next(_places(document, files), None)
    changed = {}
    if place and version and (text := place.replaced(version)) is not None:
        changed = {place.file: text}
    # What is written beside a tool counts only if the tool is not used.
    stated = place.stated if place and not tools else None
    return {"stated": stated, "tools": tools, "changed": changed}


def _tools(document: dict[str, Any], files: Mapping[str, str]) -> Iterator[str]:
    required = value_at(document, "build-system", "requires")
    names = {
        re.sub(r"[-_.]+", "-", match[0]).lower()
        for text in (required if isinstance(required, list) else ())
        if isinstance(text, str) and (match := re.match(r"[A-Za-z0-9._-]+", text.strip()))
    }
    code = files.get("setup.py", "")
    if "use_scm_version" in code:
        names.add("setuptools-scm")
    if re.search(r"\bpbr\s*=", code):
        names.add("pbr")
    # It is the backend of many projects, and reads Git for those with this source only.
    if value_at(document, "tool", "pdm", "version", "source") != "scm":
        names.discard("pdm-backend")
    yield from names & _VARIABLES.keys()


def _places(document: dict[str, Any], files: Mapping[str, str]) -> Iterator[_Place]:
    """Yield the places of the version, the one that counts first."""
    text = files.get("pyproject.toml", "")
    if "project" in document:
        yield from _in_project(document, text)
    if stated := value_at(document, "tool", "poetry", "version"):
        yield _Place(
            "pyproject.toml",
            stated if isinstance(stated, str) else None,
            lambda version: _in_toml(text, ("tool", "poetry"), version),
        )
    if "project" not in document:
        # setup.py overrides setup.cfg.
        yield from _in_setup_py(files.get("setup.py", ""))
        yield from _in_setup_cfg(files.get("setup.cfg", ""))


def _in_project(document: dict[str, Any], text: str) -> Iterator[_Place]:
    stated = value_at(document, "project", "version")
    if isinstance(stated, str):
        yield _Place(
            "pyproject.toml", stated, lambda version: _in_toml(text, ("project",), version)
        )
    # With `[project]` and no version in it, `dynamic` must name it. Source: PEP 621. Poetry may
    # have it in its own table.
    elif not value_at(document, "tool", "poetry", "version"):
        yield _Place("pyproject.toml", None, lambda version: _made_static(text, version))


def _in_toml(text: str, table: tuple[str, ...], version: str) -> str | None:
    """Replace `version` in a table; `None` if the text has another form than usual."""
    expected = tomllib.loads(text)
    value_at(expected, *table)["version"] = version
    header = re.escape(".".join(table))
    return _checked(
        text,
        # Up to the next line that starts a table: the first `version` of the table itself.
        rf"(^\[{header}\][^\n]*\n(?:(?!\[)[^\n]*\n)*?[ \t]*version[ \t]*=[ \t]*)"
        r"(\"[^\"\n]*\"|'[^'\n]*')",
        rf'\g<1>"{version}"',
        expected,
    )


def _made_static(text: str, version: str) -> str | None:
    """Replace the entry of `dynamic` by a version."""
    expected = tomllib.loads(text)
    project = expected["project"]
    if not isinstance(project, dict) or not isinstance(project.get("dynamic"), list):
        return None
    names = [name for name in project["dynamic"] if name != "version"]
    project |= {"dynamic": names, "version": version}
    listed = ", ".join(f'"{name}"' for name in names)
    return _checked(
        text,
        r"(^\[project\][^\n]*\n(?:(?!\[)[^\n]*\n)*?)dynamic[ \t]*=[ \t]*\[[^\]]*\]",
        rf'\g<1>dynamic = [{listed}]\nversion = "{version}"',
        expected,
    )


def _checked(text: str, pattern: str, new: str, expected: dict[str, Any]) -> str | None:
    # The file keeps its layout, and what it means is compared: a text in it can look like a table.
    changed = re.sub(pattern, new, text, count=1, flags=re.MULTILINE)
    try:
        return changed if tomllib.loads(changed) == expected else None
    except ValueError:
        return None


def _in_setup_cfg(text: str) -> Iterator[_Place]:
    bounded.begin("its setup.cfg")
    stated = _cfg_version(text)
    if stated is None:
        return

    def replaced(version: str) -> str | None:
        pattern = r"(^\[metadata\][^\n]*\n(?:(?!\[)[^\n]*\n)*?version[ \t]*[=:])[^\n]*"
        changed = re.sub(pattern, rf"\g<1> {version}", text, count=1, flags=re.MULTILINE)
        return changed if _cfg_version(changed) == version else None

    # Source: setuptools, "Configuring setuptools using setup.cfg files", `version`.
    is_computed = stated.startswith(("attr:", "file:"))
    yield _Place("setup.cfg", None if is_computed else stated, replaced)


def _cfg_version(text: str) -> str | None:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return parser.get("metadata", "version", fallback=None)


def _in_setup_py(text: str) -> Iterator[_Place]:
    bounded.begin("its setup.py")
    try:
        # Old code has escapes such as "\d", of which the parser warns on standard error.
        with warnings.catch_warnings(action="ignore"):
            calls = [node for node in ast.walk(ast.parse(text)) if is_setup(node)]
    except (SyntaxError, ValueError, RecursionError):
        return
    values = [item.value for node in calls for item in node.keywords if item.arg == "version"]
    # Of several calls, only running the code tells which one counts.
    if len(calls) != 1 or len(values) != 1:
        return
    value = values[0]
    is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
    stated = str(value.value) if is_text and isinstance(value, ast.Constant) else None
    yield _Place("setup.py", stated, lambda version: _spliced(text, value, version))


def is_setup(node: ast.AST) -> TypeGuard[ast.Call]:
    """Return whether code is a call of `setup`, and not of another function of that name."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr == "setup" and ast.unparse(function.value) in _MODULES
    return isinstance(function, ast.Name) and function.id == "setup"


def _spliced(text: str, node: ast.expr, version: str) -> str | None:
    """Replace the source of an expression by a version."""
    if node.end_lineno is None or node.end_col_offset is None:
        return None
    # Columns count bytes. Source: ast, "Node classes".
    lines = text.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    content = text.encode()
    return (content[:start] + repr(version).encode() + content[end:]).decode()


def value_at(document: object, *keys: str) -> Any:
    """Return the value of a key in nested tables; `None` if a table is missing."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


if __name__ == "__main__":
    bounded.answer(_answer)
