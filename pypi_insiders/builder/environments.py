"""Create isolated environments with build requirements, with uv."""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.util import uv
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import UNFINISHED, hint_for, shortage
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.plain_text import Block
from pypi_insiders.util.process import Result
from pypi_insiders.util.process_group import Command, ProcessGroup
from pypi_insiders.util.trees import TooManyError, files_below, remove_foreign_tree

_log = logging.getLogger(__name__)

_TIMEOUT_S = 900
_LONGEST_CHARS = 1000
_MOST_REQUIREMENTS = 1000
# What uv 0.13 prints of a project that has nothing but sdists, and its older words for it.
_NO_WHEEL = re.compile(
    r"Wheels are required for `([\w.-]+)`"
    # Only from the start of a word: the search would be quadratic in the length of a word.
    r"|(?<!\S)([\w.-]+)(?:[=<>!~]=?[^\s,]+)? (?:has|have) no (?:usable )?wheels"
)
COMPILE_TIMEOUT_S = 120
_COMPILE_MEMORY_BYTES = 1024**3


class RequirementError(BuildError):
    """Build requirements cannot be installed."""


class NoWheelError(RequirementError):
    """A build requirement has no wheel that fits.

    Args:
        project: its normalized name.
    """

    def __init__(self, message: str, output: str, project: str) -> None:
        super().__init__(message, output, remedy="build-from-source=true")
        self.project = project


@dataclass(frozen=True)
class Environment:
    """A virtual environment whose code must run only in the sandbox.

    An installed wheel may have replaced any of its files, including `pyvenv.cfg`.
    """

    directory: Path
    interpreter: Path
    """The interpreter it was created from."""
    shown: frozenset[Path]
    """The directories of that interpreter and of all links that lead to it."""
    is_as_of: bool = False
    """Whether files that were uploaded later were left out."""

    @property
    def python(self) -> Path:
        """Return the path of the environment's interpreter."""
        return self.directory / "bin" / "python"

    @property
    def versions(self) -> dict[str, str]:
        """Return the installed projects, normalized name to version.

        Raises:
            RequirementError: too many projects are installed.
        """
        # By the names of directories alone: importlib.metadata would read files of foreign wheels.
        # A wheel can contain any number of such names.
        found: dict[str, str] = {}
        for library in _names(self.directory / "lib", "python*"):
            packages = self.directory / "lib" / library / "site-packages"
            for item in _names(packages, "*.dist-info"):
                name, _, version = item.removesuffix(".dist-info").rpartition("-")
                found[name.lower().replace("_", "-")] = version
                if len(found) > _MOST_REQUIREMENTS:
                    raise RequirementError(
                        f"the build requirements are more than {_MOST_REQUIREMENTS} projects"
                    )
        return dict(sorted(found.items()))


def _names(directory: Path, pattern: str) -> Iterator[str]:
    # Not Path.glob, which lists the whole directory before it matches.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as items:
        yield from (item.name for item in items if fnmatchcase(item.name, pattern))


# $1: a directory of modules, $2: the directory for bytecode. Memory is limited: a few kilobytes of
# source can compile to gigabytes. UNCHECKED_HASH: times of files differ between environments, and
# the key of the cache guarantees the content.
_COMPILE = f"""
import compileall, importlib.util, os, py_compile, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({_COMPILE_MEMORY_BYTES}, {_COMPILE_MEMORY_BYTES}))
sys.pycache_prefix = sys.argv[2]
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
compileall.compile_dir(sys.argv[1], quiet=2, invalidation_mode=mode)
"""


Compile = Callable[[Sequence[str], Environment, Path], Path]
"""Runs a program in the sandbox for at most `COMPILE_TIMEOUT_S`, whatever its exit status.

It may read the environment, and write only to the given directory, below which is the returned one
with the bytecode of the environment's modules. The paths in its arguments are those outside.
"""


class Bytecode:
    """A cache of the bytecode of environments' modules; thread-safe.

    Environments share bytecode only if all their modules are identical.

    Args:
        directory: of the cache; created if missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def bring(self, environment: Environment, compile_: Compile) -> None:
        """Copy the bytecode of an environment's modules into it; compile them first if needed.

        Raises:
            RequirementError: the environment has too many files.

        Source: https://docs.python.org/3/library/compileall.html, PEP 552.
        """
        try:
            self._bring(environment, compile_)
        except TooManyError as error:
            raise RequirementError(f"the build requirements are too large: {error}") from error

    def _bring(self, environment: Environment, compile_: Compile) -> None:
        key = _key(environment)
        # A lock per key: other environments need not wait while one is compiled.
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            shared = self._directory / key
            if not shared.exists():
                shared.mkdir(parents=True)
                self._compile(environment, shared, compile_)
        lib = environment.directory / "lib"
        for path in files_below(shared):
            module = lib / path.relative_to(shared)
            # A wheel may have a file in place of the directory. Bytecode only saves time.
            with contextlib.suppress(OSError):
                _put(path, module.parent / "__pycache__" / module.name)

    def _compile(self, environment: Environment, shared: Path, compile_: Compile) -> None:
        output = Path(tempfile.mkdtemp(prefix="bytecode-", dir=environment.directory.parent))
        argv = (
            str(environment.interpreter), "-I", "-S", "-B", "-c", _COMPILE,
            str(environment.directory / "lib"), str(output),
        )  # fmt: skip
        compiled = compile_(argv, environment, output)
        for path in files_below(compiled):
            target = shared / path.relative_to(compiled)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target, follow_symlinks=False)


def _key(environment: Environment) -> str:
    """Hash the interpreter's path and the path and content of each module."""
    digest = hashlib.sha256(str(environment.interpreter).encode())
    for path in files_below(environment.directory / "lib"):
        if path.suffix == ".py":
            name = os.fsencode(path.relative_to(environment.directory))
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            # With its length, so that no name can end in what looks like the next entry.
            digest.update(b"%d:%b%b" % (len(name), name, content))
    return digest.hexdigest()


def _put(path: Path, target: Path) -> None:
    # By a rename: writing into an existing file could change uv's cache, which may share it.
    target.parent.mkdir(exist_ok=True)
    new = target.with_name(f".{target.name}{UNFINISHED}")
    new.unlink(missing_ok=True)
    shutil.copyfile(path, new)
    new.replace(target)


def _interpreter(python: Path) -> tuple[Path, frozenset[Path]]:
    """Resolve the links to an interpreter; return it and the directories of all links."""
    # Not Path.resolve: the sandbox must show every link in between, such as pyenv's and uv's.
    found = set()
    while python.is_symlink():
        python = python.parent / python.readlink()
        found.add(python.parent.parent)
    return python, frozenset(found - {Path("/"), Path("/usr")})


def time_limits(as_of_s: int | None) -> list[tuple[str, ...]]:
    """Return the options of uv to try in turn, so that no file is newer than a time.

    Args:
        as_of_s: seconds of the epoch; `None`: any time.
    """
    if as_of_s is None:
        return [()]
    date = datetime.fromtimestamp(as_of_s, UTC).isoformat().replace("+00:00", "Z")
    # A second try without: old indexes report no times, and some projects have no file so old.
    return [("--exclude-newer", date), ()]


def make(  # noqa: PLR0913 - what uv is asked for
    directory: Path,
    requirements: Iterable[str],
    *,
    python: str,
    as_of_s: int | None,
    processes: ProcessGroup,
    wheels: Path | None = None,
) -> Environment:
    """Create an environment and install requirements from wheels.

    Args:
        directory: must not exist; foreign code must not have written to its parent.
        requirements: PEP 508 requirements.
        python: path or version of the interpreter.
        as_of_s: ignore files that were uploaded after this time (seconds of the epoch), unless
            installation fails then; `None`: ignore none.
        processes: kills uv when this process ends.
        wheels: a directory with wheels that the index lacks; a missing one is reported at once,
            whether or not files of another time would do.

    Raises:
        NoWheelError: a requirement has no wheel.
        RequirementError: a requirement is malformed, not allowed or cannot be installed.
        InsidersError: uv cannot create the environment.

    Source: https://docs.astral.sh/uv/reference/cli/#uv-pip-install
    """
    wanted = _checked(requirements)
    if not wanted:
        return _make_empty(directory, python, processes)
    found = ("--find-links", str(wheels)) if wheels else ()
    for limit in time_limits(as_of_s):
        # A new environment for each attempt: uv runs the environment's interpreter to inspect it,
        # and a wheel that was installed before could have replaced that.
        remove_foreign_tree(directory)
        environment = _make_empty(directory, python, processes)
        # --no-build: a source distribution would run its code here, with our whole environment,
        # which may contain an index's password. Copies: a hard link into uv's cache would let a
        # hook change what later environments get.
        result = run_uv(
            processes, directory.parent,
            "pip", "install", "--no-build", "--link-mode=copy",
            "--python", str(environment.python), *found, *limit, "--", *wanted,
        )  # fmt: skip
        if result.status == 0:
            return replace(environment, is_as_of=bool(limit))
        if wheels:
            _raise_without_wheel(result.stdout)
        if limit:
            _log.debug("%s", Block(result.stdout))
            last = cause(result.stdout)
            _log.info("no build requirements found as of %s, using the latest: %s", limit[1], last)
    message = f"cannot install the build requirements: {cause(result.stdout)}"
    _raise_of_this_machine(message)
    _raise_without_wheel(result.stdout)
    raise RequirementError(message, result.stdout)


def _raise_of_this_machine(message: str) -> None:
    # The form of Rust's standard library, in which uv is written.
    if match := re.search(r"\(os error (\d{1,4})\)$", message):
        lacking = OSError(int(match[1]), message)
        if shortage(lacking):
            raise InsidersError(message, hint_for(lacking))


def _raise_without_wheel(output: str) -> None:
    if match := _NO_WHEEL.search(output):
        project = canonicalize_name(match[1] or match[2])
        message = f"build requirement {project} has no usable wheel"
        raise NoWheelError(message, output, project)


def _make_empty(directory: Path, python: str, processes: ProcessGroup) -> Environment:
    made = run_uv(
        processes, directory.parent,
        "venv", "--quiet", "--no-project", "--relocatable", "--python", python, str(directory),
    )  # fmt: skip
    if made.status != 0:
        raise InsidersError(f"cannot create the build environment: {cause(made.stdout)}")
    return Environment(directory, *_interpreter(directory / "bin" / "python"))


def _checked(requirements: Iterable[str]) -> list[str]:
    """Validate requirements: only names with version specifiers, extras and markers."""
    found: list[str] = []
    for text in sorted(requirements):
        if not text.isprintable() or len(text) > _LONGEST_CHARS or len(found) >= _MOST_REQUIREMENTS:
            raise RequirementError("the build requirements are too many, too long or not printable")
        try:
            url = Requirement(text).url
        except (ValueError, SyntaxError, RecursionError) as error:
            raise RequirementError(
                f"build requirement {text!r} is not a valid PEP 508 requirement"
            ) from error
        # A URL could lead to this machine. And a wheel from a URL may require local files, which uv
        # refuses of all others.
        if url is not None:
            raise RequirementError(
                f"build requirement {text!r} is a URL, which would be fetched outside the sandbox"
            )
        found.append(text)
    return found


def find_python(version: str, processes: ProcessGroup, directory: Path) -> str | None:
    """Find an installed interpreter of a version.

    Args:
        version: such as `3.13`.
        processes: kills uv when this process ends.
        directory: an existing working directory for uv.

    Returns:
        Its path; `None` if not found.
    """
    result = run_uv(
        processes, directory,
        "python", "find", "--no-project", "--no-python-downloads", version,
    )  # fmt: skip
    # uv also prints warnings about interpreters that do not work.
    found = [line for line in result.stdout.splitlines() if os.access(line, os.X_OK)]
    return found[-1] if result.status == 0 and found else None


def run_uv(processes: ProcessGroup, directory: Path, *arguments: str) -> Result:
    """Run uv in a directory without a project; its messages are in `stdout`, too."""
    # PYTHONPATH would reach the interpreters that uv runs; VIRTUAL_ENV would be preferred by
    # `uv python find`.
    environ = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    # A working directory without a project, whose uv.toml would be read.
    return processes.run(Command((uv.find(), *arguments), environ, directory, _TIMEOUT_S))


def cause(text: str) -> str:
    """Return the innermost cause in uv's output, or its error, or its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for word in ("cause: ", "error: "):
        if found := [line.removeprefix(word) for line in lines if line.startswith(word)]:
            return found[-1]
    return last_line(text)
