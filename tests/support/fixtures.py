"""What many tests need: a person who runs the installed command, and machines."""

import compileall
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO

import pytest
from forks import Fork, Forks, may_differ
from machine import Answer, Machine, Unavailable
from projects import Project, create

from pypi_insiders.config.client_variables import MEMORY, RIVALS
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import ServerSettings
from pypi_insiders.util.files import locked

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("pypi-insiders")
if "SSL_CERT_FILE" in os.environ:
    # requests, on which Poetry and a parser of pages build, has a variable of its own.
    os.environ.setdefault("REQUESTS_CA_BUNDLE", os.environ["SSL_CERT_FILE"])


@pytest.fixture(scope="session", autouse=True)
def _default_signals() -> None:
    """Give the programs that tests start the signals that a shell gives them.

    A suite started by nohup(1), or as a job of a script, ignores some, and so would whatever it
    starts. A handler is not inherited, and this process still does nothing. Source: execve(2).
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def _ending() -> Iterator[None]:
    yield
    for forks in _started.values():
        forks.end()


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    """Compile the package once, and not in each of the thousands of commands that tests run."""
    compileall.compile_dir(ROOT / "pypi_insiders", quiet=2)


def need(program: str) -> str:
    """Find a program that a test needs; without it the test is skipped, and fails in CI."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        unavailable(f"{program} is not installed")
    return str(found)


def unavailable(reason: str) -> None:
    """Skip a test that this machine has no way to run, and fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


_LISTS = (".taken-back.json", ".held.json")
# With an empty one, each build would ask the interpreter what it is, and fetch its requirements.
_UV_CACHE = tempfile.TemporaryDirectory(prefix="pypi-insiders-uv-")


@dataclass(frozen=True)
class Person:
    """Somebody with a home of their own who runs the installed command."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of their shell, without a user manager."""
        ours = ("XDG_", "DBUS_", "GIT_", "PYTEST_", "VIRTUAL_ENV", "JOURNAL_STREAM", "SSH_")
        bent = (*RIVALS, MEMORY)  # of which we speak where they are set
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(ours) and key not in bent
        }
        return {
            **inherited,
            "HOME": str(self.home),
            "PYTHONDONTWRITEBYTECODE": "1",
            "UV_CACHE_DIR": _UV_CACHE.name,
        }

    @property
    def paths(self) -> Paths:
        """Where their files lie."""
        return Paths(
            self.home / ".config/pypi-insiders",
            self.home / ".local/share/pypi-insiders",
            self.home / ".local/state/pypi-insiders",
            self.home / ".cache/pypi-insiders",
        )

    def run(
        self, *arguments: str | Path, status: int = 0, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run `pypi-insiders` to its end; its exit status must be the given one."""
        done = run_command(arguments, {**self.environment, **environment})
        assert done.returncode == status, (
            f"{arguments} ended {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def distributions(self) -> list[str]:
        """Name the files in the index, also the invisible ones but for the lists of names."""
        directory = self.paths.distributions
        found = directory.iterdir() if directory.exists() else ()
        return sorted(path.name for path in found if path.name not in _LISTS)


_COMMON = Person(Path("/nonexistent")).environment
_STARTING = threading.Lock()
_started: dict[tuple[str, ...], Forks] = {}


def run_command(
    arguments: Sequence[str | Path],
    environment: Mapping[str, str],
    directory: Path | None = None,
    *,
    before: Sequence[str] = (),
) -> "subprocess.CompletedProcess[str]":
    """Run `pypi-insiders` to its end; most often a fork of a process that has imported it.

    Args:
        arguments: of the command.
        environment: the whole one.
        directory: in which it runs; by default the current one.
        before: words of a program that starts it.
    """
    argv, timeout_s = (COMMAND, *arguments), 200
    if forks := _forks(environment, before):
        return forks.run(argv, environment, directory or Path.cwd(), timeout_s)
    return subprocess.run(
        [*before, *argv], env=environment, cwd=directory, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=timeout_s,
    )  # fmt: skip


def start_command(
    arguments: Sequence[str | Path],
    environment: Mapping[str, str],
    stderr: int | IO[bytes] | IO[str] = subprocess.DEVNULL,
    *,
    before: Sequence[str] = (),
) -> "Fork | subprocess.Popen[str]":
    """Start `pypi-insiders`, as `run_command` does; the text of its stdout can be read."""
    argv = (COMMAND, *arguments)
    if forks := _forks(environment, before):
        if stderr == subprocess.DEVNULL:
            with Path(os.devnull).open("wb") as nothing:
                return forks.start(argv, environment, Path.cwd(), nothing.fileno())
        given = stderr if isinstance(stderr, int) else stderr.fileno()
        return forks.start(argv, environment, Path.cwd(), given)
    return subprocess.Popen(
        [*before, *argv], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=stderr, text=True,
    )  # fmt: skip


def _forks(environment: Mapping[str, str], before: Sequence[str]) -> Forks | None:
    """Return what forks for an environment; `None` if that needs a new process."""
    # A fork that ends leaves nothing for coverage.
    if "COVERAGE_RUN" in os.environ or not may_differ(environment, _COMMON):
        return None
    with _STARTING:
        forks = _started.get(tuple(before))
        if forks is None or not forks.is_there:
            forks = _started[tuple(before)] = Forks(COMMAND, _COMMON, before)
    return forks


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    return Person(home)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Four directories that are not there yet."""
    return Paths(*(tmp_path / name for name in ("config", "data", "state", "cache")))


@pytest.fixture
def gitconfig(person: Person, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `~/.gitconfig`, not there yet, of the person that the test itself is now."""
    for name in os.environ:
        if name.startswith(("GIT_", "SSH_", "XDG_", "GNUPG")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(person.home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return person.home / ".gitconfig"


@pytest.fixture
def removed(tmp_path: Path) -> Iterator[None]:
    """Remove what the test leaves, which pytest could not where directories lie too deep."""
    yield
    subprocess.run(["rm", "-rf", "--", tmp_path], check=True)
    tmp_path.mkdir()


Watch = Callable[..., Project]


@pytest.fixture
def watch(person: Person, tmp_path: Path) -> Watch:
    """Make projects that the person watches."""

    def watch(name: str, *, named: bool = True) -> Project:
        project = create(tmp_path, name)
        specification = f"me/{name}:{name}" if named else f"me/{name}"
        person.run("repos", "add", specification, "--url", project.url)
        return project

    return watch


def names(*releases: str) -> list[str]:
    """Name the sdist and the wheel of releases such as `probe-1.0`."""
    return sorted(f"{name}{end}" for name in releases for end in (".tar.gz", "-py3-none-any.whl"))


def untimed(told: str) -> str:
    """Take out of what an update tells how long it took, which it must tell."""
    plain, times = re.subn(r" in \d+\.\d s(?=[,;\n]|$)", "", told)
    assert times == 1, told
    return plain


@pytest.fixture
def port() -> int:
    """A port that is free."""
    return free_port()


def free_port() -> int:
    """Find a port that is free, and that no client of another test gets for its connection.

    Nor do tests of another process, before it is used. Never the one of an index without settings,
    which `status` of other tests asks. Source: ip(7), `ip_local_port_range`.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000 + number, max(lowest, 12_000), processes)
        if port == ServerSettings().port:
            continue
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory for what is made once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def wheel(shared: Path) -> Path:
    """The wheel of this project, built from its sdist."""
    directory = shared / "wheel"
    with locked(shared / "wheel.lock"):
        if not directory.exists():
            unfinished = shared / "wheel.unfinished"
            run("uv", "build", "--quiet", "--out-dir", unfinished, ROOT)
            unfinished.rename(directory)
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(shared: Path, wheel: Path) -> Path:
    """The command, installed from the wheel into an environment of its own."""
    return _environment(shared, "installed", wheel) / "pypi-insiders"


@pytest.fixture(scope="session")
def packager(shared: Path) -> Path:
    """The Python of a packager: it has all that the project and its build require."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    requirements = (*document["project"]["dependencies"], *document["build-system"]["requires"])
    return _environment(shared, "packager", *requirements) / "python"


@pytest.fixture(scope="session")
def pdm(shared: Path) -> Path:
    """PDM, in an environment of its own, because its working set of dependencies is pinned."""
    return _environment(shared, "pdm", "pdm[locked]==2.29.3") / "pdm"


@pytest.fixture(scope="session")
def poetry(shared: Path) -> Path:
    """Poetry, in an environment of its own, because it brings many dependencies."""
    return _environment(shared, "poetry", "poetry>=2.5.1") / "poetry"


@pytest.fixture(scope="session")
def hatch(shared: Path) -> Path:
    """Hatch, in an environment of its own, because it brings many dependencies."""
    return _environment(shared, "hatch", "hatch>=1.18.2") / "hatch"


@pytest.fixture(scope="session")
def devpi(shared: Path) -> Path:
    """The commands of devpi-server, in an environment of its own: many dependencies, some old."""
    return _environment(shared, "devpi", "devpi-server>=6.20.3")


@pytest.fixture(scope="session")
def pypiserver(shared: Path) -> Path:
    """The commands of pypiserver as its own users have it, with passwords."""
    return _environment(shared, "pypiserver", "pypiserver[passlib]>=2.4.2", "waitress>=3.0.2")


@pytest.fixture(scope="session")
def keyring(shared: Path) -> Path:
    """The command `keyring`, with a place to keep passwords that needs no desktop."""
    return _environment(shared, "keyring", "keyring>=25", "keyrings.alt>=5.0.2") / "keyring"


def _environment(shared: Path, name: str, *requirements: str | Path) -> Path:
    """Make an environment once for all test processes; return its directory of programs."""
    directory = shared / name
    with locked(shared / f"{name}.lock"):
        if not (directory / "ready").exists():
            run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, directory)
            # Who runs its programs cannot always write there, and would compile them each time.
            run(
                "uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", directory,
                *requirements,
            )  # fmt: skip
            (directory / "ready").touch()
    return directory / "bin"


def run(program: str, *arguments: str | Path) -> None:
    """Run a program of the development environment."""
    path = Path(sys.executable).with_name(program)
    done = subprocess.run([path, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"{program} {arguments}\n{done.stdout}\n{done.stderr}"


HEALTHY = Answer(200, None, "Ok")
REFUSED = Answer(None, None, "Connection refused")

MakeMachine = Callable[..., AbstractContextManager[Machine]]


@contextmanager
def started(
    installed: Path, shared: Path, directory: Path, user_id: int = 31411, **options: bool
) -> Iterator[Machine]:
    """Start a machine in which the installed command is on the PATH, and which sees a directory."""
    for path in (shared, directory):  # as root, the machine runs under another user ID
        path.chmod(0o755)
    binaries = f"{installed.parent}:{Path(sys.executable).parent}"
    machine = Machine(
        [shared, directory, ROOT],
        env={"PATH": f"{binaries}:{os.environ['PATH']}", "INSIDER_ID": str(user_id)},
        **options,
    )
    try:
        machine.__enter__()
    except Unavailable as error:
        unavailable(str(error))
    try:
        _postpone_updates(machine)
        yield machine
    finally:
        machine.__exit__(None, None, None)


def _postpone_updates(machine: Machine) -> None:
    """Let no timer start an update while a test counts them, whatever the time of day is.

    As the unit, every half hour, but not within the next ten minutes. The drop-in of a setting has
    this name too, and takes the place of this one. Source: systemd.unit(5), "Unit File Load Path".
    """
    minute = (datetime.now().minute + 15) % 30
    machine.write_text(
        "/run/systemd/user/pypi-insiders-watcher.timer.d/10-config.conf",
        f"# Installed by pypi-insiders, which\n[Timer]\nOnCalendar=\nOnCalendar=*:{minute}/30\n",
    )


@pytest.fixture
def make_machine(installed: Path, shared: Path, tmp_path: Path) -> MakeMachine:
    """Start machines."""
    return partial(started, installed, shared, tmp_path)


@pytest.fixture
def machine(make_machine: MakeMachine) -> Iterator[Machine]:
    """A machine with the host's network."""
    with make_machine() as machine:
        yield machine
