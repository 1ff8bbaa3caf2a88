"""Make isolated environments with the requirements of a build, through uv."""

import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from pypi_insiders import uv_program
from pypi_insiders.errors import InsidersError
from pypi_insiders.process import Containment, Result

_log = logging.getLogger(__name__)

_TIMEOUT_S = 900


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
    """A virtual environment into which no foreign code has been let yet."""

    directory: Path

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.directory / "bin" / "python"

    @property
    def versions(self) -> dict[str, str]:
        """What is installed, normalized name to version."""
        found = {}
        for path in self.directory.glob("lib/python*/site-packages/*.dist-info"):
            name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
            found[name.lower().replace("_", "-")] = version
        return dict(sorted(found.items()))


class Bytecode:
    """What Python compiles the modules of environments to, done once and shared.

    Safe in threads.

    Args:
        directory: where it lies; made where it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def bring(self, environment: Environment, containment: Containment) -> None:
        """Put the bytecode of its modules into an environment; without it all goes on, slower.

        Its own `site` is left out, for it would run what distributions want to have run.

        Source: https://docs.python.org/3/library/compileall.html, PEP 552.
        """
        records = sorted(environment.directory.glob("lib/python*/site-packages/*.dist-info/RECORD"))
        digest = hashlib.sha256(str(environment.python.resolve()).encode())
        for record in records:
            digest.update(record.read_bytes())
        key = digest.hexdigest()
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            shared = self._directory / key
            if not shared.exists():
                self._compile(environment, shared, containment)
            for path in shared.glob("**/*.pyc"):
                target = environment.directory / path.relative_to(shared)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, target)

    def _compile(self, environment: Environment, shared: Path, containment: Containment) -> None:
        containment.run(
            (
                str(environment.python), "-I", "-S", "-m", "compileall", "-q",
                "--invalidation-mode", "unchecked-hash", str(environment.directory / "lib"),
            ),
            timeout_s=_TIMEOUT_S, environment={}, directory=environment.directory,
        )  # fmt: skip
        for path in environment.directory.glob("lib/**/*.pyc"):
            target = shared / path.relative_to(environment.directory)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def make(  # noqa: PLR0913  # one thing that an environment is made of each
    directory: Path,
    requirements: Iterable[str],
    *,
    python: str,
    as_of_s: int | None,
    network: bool,
    containment: Containment,
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
        network: whether a requirement may name a URL.
        containment: ends what runs when this process is to end.

    Raises:
        RequirementError: a requirement is malformed or not allowed, or cannot be installed.
        InsidersError: uv cannot make the environment.

    Source: https://docs.astral.sh/uv/reference/cli/#uv-pip-install
    """
    wanted = _checked(requirements, network=network)
    environment = Environment(directory)
    made = _uv(
        containment, directory.parent,
        "venv", "--quiet", "--no-project", "--relocatable", "--python", python, str(directory),
    )  # fmt: skip
    if made.status != 0:
        raise InsidersError(f"no environment for the build can be made: {cause(made.stdout)}")
    if not wanted:
        return environment
    install = ("pip", "install", "--no-build", "--python", str(environment.python))
    limits: list[tuple[str, ...]] = [()]
    if as_of_s is not None:
        date = datetime.fromtimestamp(as_of_s, UTC).isoformat().replace("+00:00", "Z")
        limits = [("--exclude-newer", date), ()]
    for limit in limits:
        # All in one step: foreign code may lie in the environment from then on, and uv would
        # run it when it asks the interpreter.
        result = _uv(containment, directory.parent, *install, *limit, "--", *wanted)
        if result.status == 0:
            return environment
        if limit and len(limits) > 1:
            _log.debug("%s", result.stdout)
            last = cause(result.stdout)
            _log.info(
                "build requirements as of %s cannot be had, the newest are taken: %s", date, last
            )
    raise RequirementError(
        f"its build requirements cannot be installed: {cause(result.stdout)}", result.stdout
    )


def _checked(requirements: Iterable[str], *, network: bool) -> list[str]:
    """Refuse what uv would read as something else than the name of a distribution."""
    found = []
    for text in sorted(requirements):
        try:
            url = Requirement(text).url
        except InvalidRequirement as error:
            raise RequirementError(f"{text!r} is no requirement of the form of PEP 508") from error
        if url is not None and not (network and url.startswith("https://")):
            raise RequirementError(
                f"it requires {text!r} to build, and a URL is only for repositories with "
                "`network = true`"
            )
        found.append(text)
    return found


def find_python(version: str, containment: Containment, directory: Path) -> str | None:
    """Find an interpreter of a version that is on this machine.

    Args:
        version: such as `3.13`.
        containment: ends what runs when this process is to end.
        directory: an existing one.

    Returns:
        Its path; `None` if there is none.
    """
    result = _uv(
        containment, directory,
        "python", "find", "--no-project", "--no-python-downloads", version,
    )  # fmt: skip
    # Beside it may be warnings, of interpreters that do not work.
    found = [line for line in result.stdout.splitlines() if os.access(line, os.X_OK)]
    return found[-1] if result.status == 0 and found else None


def _uv(containment: Containment, directory: Path, *arguments: str) -> Result:
    environment: Mapping[str, str] = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    return containment.run(
        (uv_program.find(), *arguments),
        timeout_s=_TIMEOUT_S,
        environment=environment,
        directory=directory,  # where no uv.toml of a project is found
    )


def cause(text: str) -> str:
    """Pick what uv calls the innermost cause of its failure, or else the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for word in ("cause: ", "error: "):
        if told := [line.removeprefix(word) for line in lines if line.startswith(word)]:
            return told[-1]
    return lines[-1] if lines else "it said nothing"
