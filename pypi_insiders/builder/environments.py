"""Make isolated environments with the requirements of a build, through uv."""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from packaging.requirements import Requirement

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
_COMPILE_TIMEOUT_S = 120
_COMPILE_MEMORY_BYTES = 1024**3


class RequirementError(InsidersError):
    """What a build requires cannot be had.

    Args:
        output: what uv wrote, complete.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


@dataclass(frozen=True)
class Environment:
    """A virtual environment of which no code has been run yet.

    What is installed in it may have replaced any file, `pyvenv.cfg` too: nothing of it may be run
    but in the sandbox of a build.
    """

    directory: Path
    interpreter: Path
    """The interpreter from which it was made."""
    shown: frozenset[Path]
    """The directories of that interpreter, and those behind every link on the way to it."""

    @property
    def python(self) -> Path:
        """Return the path of its own interpreter."""
        return self.directory / "bin" / "python"

    @property
    def versions(self) -> dict[str, str]:
        """Return what is installed, normalized name to version.

        Raises:
            RequirementError: that is very much; a wheel can look like any number of others.
        """
        found: dict[str, str] = {}
        for library in _names(self.directory / "lib", "python*"):
            packages = self.directory / "lib" / library / "site-packages"
            for item in _names(packages, "*.dist-info"):
                name, _, version = item.removesuffix(".dist-info").rpartition("-")
                found[name.lower().replace("_", "-")] = version
                if len(found) > _MOST_REQUIREMENTS:
                    raise RequirementError(
                        f"what its build requires is more than {_MOST_REQUIREMENTS} distributions"
                    )
        return dict(sorted(found.items()))


def _names(directory: Path, pattern: str) -> Iterator[str]:
    """Read the names in a directory that match a pattern, without those that do not."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as items:
        yield from (item.name for item in items if fnmatchcase(item.name, pattern))


# $1: a directory of modules, $2: where the bytecode goes. What compiling may take is limited: a
# few kilobytes of source can become gigabytes.
_COMPILE = f"""
import compileall, importlib.util, os, py_compile, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({_COMPILE_MEMORY_BYTES}, {_COMPILE_MEMORY_BYTES}))
sys.pycache_prefix = sys.argv[2]
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
compileall.compile_dir(sys.argv[1], quiet=2, invalidation_mode=mode)
"""


class Compile(Protocol):
    """A way to run a program that reads an environment and writes to another directory."""

    def __call__(
        self, argv: Sequence[str], environment: Environment, output: Path, timeout_s: float
    ) -> Path:
        """Run the program to its end, whatever its status.

        Args:
            argv: the program and its arguments, with paths as they are outside.
            environment: what it may read.
            output: an existing directory, where alone it may write.
            timeout_s: after this many seconds it is killed.

        Returns:
            Where in the output lies what was compiled from the modules of the environment.
        """
        ...


class Bytecode:
    """What Python compiles the modules of environments to, done once and shared.

    Safe in threads. The same bytecode is given only to environments with the same modules, byte
    for byte. Files of an environment are never written to: uv may share them with its cache.

    Args:
        directory: where it lies; made where it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def bring(self, environment: Environment, compile_: Compile) -> None:
        """Put the bytecode of its modules into an environment; without it builds are slower only.

        Raises:
            RequirementError: it has more files than can be looked at.

        Source: https://docs.python.org/3/library/compileall.html, PEP 552.
        """
        try:
            self._bring(environment, compile_)
        except TooManyError as error:
            raise RequirementError(f"what its build requires is too large: {error}") from error

    def _bring(self, environment: Environment, compile_: Compile) -> None:
        key = _key(environment)
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
            with contextlib.suppress(OSError):
                # A wheel may have something else in any of these places.
                _put(path, module.parent / "__pycache__" / module.name)

    def _compile(self, environment: Environment, shared: Path, compile_: Compile) -> None:
        output = Path(tempfile.mkdtemp(prefix="bytecode-", dir=environment.directory.parent))
        argv = (
            str(environment.interpreter), "-I", "-S", "-B", "-c", _COMPILE,
            str(environment.directory / "lib"), str(output),
        )  # fmt: skip
        compiled = compile_(argv, environment, output, _COMPILE_TIMEOUT_S)
        for path in files_below(compiled):
            target = shared / path.relative_to(compiled)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target, follow_symlinks=False)


def _key(environment: Environment) -> str:
    """Hash the interpreter, and the path and the content of each module."""
    digest = hashlib.sha256(str(environment.interpreter).encode())
    for path in files_below(environment.directory / "lib"):
        if path.suffix == ".py":
            name = os.fsencode(path.relative_to(environment.directory))
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            digest.update(b"%d:%b%b" % (len(name), name, content))
    return digest.hexdigest()


def _put(path: Path, target: Path) -> None:
    """Copy a file to a new one, and give that the name; what had it before is not written to."""
    target.parent.mkdir(exist_ok=True)
    new = target.with_name(f".{target.name}{UNFINISHED}")
    new.unlink(missing_ok=True)
    shutil.copyfile(path, new)
    new.replace(target)


def _interpreter(python: Path) -> tuple[Path, frozenset[Path]]:
    """Return the interpreter behind links, and the directories on the way to it."""
    found = set()
    while python.is_symlink():
        python = python.parent / python.readlink()
        found.add(python.parent.parent)
    return python, frozenset(found - {Path("/"), Path("/usr")})


def make(  # one thing that an environment is made of each
    directory: Path,
    requirements: Iterable[str],
    *,
    python: str,
    as_of_s: int | None,
    processes: ProcessGroup,
) -> Environment:
    """Make an environment, from wheels only.

    A requirement that is a source would run its own code, with all of our environment (which may
    be needed to reach an index).

    Args:
        directory: is not there yet; beside it lies nothing that foreign code could have written.
        requirements: each of the form of PEP 508.
        python: path or version of the interpreter.
        as_of_s: what the index got later than these seconds of the epoch is left out, unless
            nothing can be found so; `None`: nothing is.
        processes: ends what runs when this process is to end.

    Raises:
        RequirementError: a requirement is malformed or not allowed, or cannot be installed.
        InsidersError: uv cannot make the environment.

    Source: https://docs.astral.sh/uv/reference/cli/#uv-pip-install
    """
    wanted = _checked(requirements)
    if not wanted:
        return _make_empty(directory, python, processes)
    limits: list[tuple[str, ...]] = [()]
    if as_of_s is not None:
        date = datetime.fromtimestamp(as_of_s, UTC).isoformat().replace("+00:00", "Z")
        limits = [("--exclude-newer", date), ()]
    for limit in limits:
        # Anew each time, and all in one step: foreign code may lie in the environment from then
        # on, and uv would run it when it asks the interpreter.
        remove_foreign_tree(directory)
        environment = _make_empty(directory, python, processes)
        # No hard links to files of the user's cache, which later environments get.
        result = _uv(
            processes, directory.parent,
            "pip", "install", "--no-build", "--link-mode=copy",
            "--python", str(environment.python), *limit, "--", *wanted,
        )  # fmt: skip
        if result.status == 0:
            return environment
        if limit and len(limits) > 1:
            _log.debug("%s", Block(result.stdout))
            last = cause(result.stdout)
            _log.info(
                "build requirements as of %s cannot be had, the newest are taken: %s", date, last
            )
    message = f"its build requirements cannot be installed: {cause(result.stdout)}"
    # As the standard library of Rust writes it.
    if match := re.search(r"\(os error (\d+)\)$", message):
        lacking = OSError(int(match[1]), message)
        if shortage(lacking):
            raise InsidersError(message, hint_for(lacking))
    raise RequirementError(message, result.stdout)


def _make_empty(directory: Path, python: str, processes: ProcessGroup) -> Environment:
    made = _uv(
        processes, directory.parent,
        "venv", "--quiet", "--no-project", "--relocatable", "--python", python, str(directory),
    )  # fmt: skip
    if made.status != 0:
        raise InsidersError(f"no environment for the build can be made: {cause(made.stdout)}")
    return Environment(directory, *_interpreter(directory / "bin" / "python"))


def _checked(requirements: Iterable[str]) -> list[str]:
    """Refuse what uv would read as something else than the name of a distribution.

    A URL is fetched outside the sandbox: it could lead to this machine, or its wheel require files
    of this machine, which uv accepts of what is required by URL alone.
    """
    found: list[str] = []
    for text in sorted(requirements):
        if not text.isprintable() or len(text) > _LONGEST_CHARS or len(found) >= _MOST_REQUIREMENTS:
            raise RequirementError("its build requirements are too many, too long or no text")
        try:
            url = Requirement(text).url
        except (ValueError, SyntaxError, RecursionError) as error:
            raise RequirementError(f"{text!r} is no requirement of the form of PEP 508") from error
        if url is not None:
            raise RequirementError(
                f"it requires {text!r} to build, and a URL would be fetched outside the sandbox"
            )
        found.append(text)
    return found


def find_python(version: str, processes: ProcessGroup, directory: Path) -> str | None:
    """Find an interpreter of a version that is on this machine.

    Args:
        version: such as `3.13`.
        processes: ends what runs when this process is to end.
        directory: an existing one.

    Returns:
        Its path; `None` if there is none.
    """
    result = _uv(
        processes, directory,
        "python", "find", "--no-project", "--no-python-downloads", version,
    )  # fmt: skip
    # Beside it may be warnings, of interpreters that do not work.
    found = [line for line in result.stdout.splitlines() if os.access(line, os.X_OK)]
    return found[-1] if result.status == 0 and found else None


def _uv(processes: ProcessGroup, directory: Path, *arguments: str) -> Result:
    environ = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    # In a directory where no uv.toml of a project is found.
    return processes.run(Command((uv.find(), *arguments), environ, directory, _TIMEOUT_S))


def cause(text: str) -> str:
    """Pick what uv calls the innermost cause of its failure, or else the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for word in ("cause: ", "error: "):
        if told := [line.removeprefix(word) for line in lines if line.startswith(word)]:
            return told[-1]
    return last_line(text)
