"""Run foreign code where it sees neither the home nor this machine's network, in a user unit."""

import itertools
import logging
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path

from pypi_insiders.builder import gateway, relay
from pypi_insiders.builder.errors import EndedError, SandboxError
from pypi_insiders.builder.launcher import Mounts
from pypi_insiders.systemd import systemctl, transient
from pypi_insiders.systemd.quoting import quoted
from pypi_insiders.util.private_directories import HOMES, TEMPORARY, is_below
from pypi_insiders.util.process import Result
from pypi_insiders.util.process_group import Command, ProcessGroup, started_at
from pypi_insiders.util.trees import remove_foreign_tree

_log = logging.getLogger(__name__)

_INSIDE = "/run/build"
_UNIT = "pypi-insiders-build"
# Before a unit is tried again that systemd could not set up, as happens under load.
PAUSES_S = (1, 2, 4, 8)
# Outside of the process namespace and the session of what it runs: who is in there has no way to
# its descriptors, nor to itself, and cannot keep it from telling that all of it has ended. It tells
# that by its standard input, which is open for writing and given to nobody else. What nobody reads
# any more, as systemd began it too late, runs nothing.
_WRAPPER = 'echo begun >&0 || exit; "$@" </dev/null; status=$?; echo ended >&0; exit $status'
_TOLD_BYTES = 4096
# Of the directories in `/`, those in which programs of the system lie. All others are hidden: mail,
# the journal, disks, shares, and where else users and services keep what is theirs.
_SYSTEM = {
    "bin", "dev", "etc", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "opt", "proc", "sbin",
    "snap", "sys", "usr",
}  # fmt: skip
_OPTIONAL = Path("/opt")  # what is mounted below it is hidden, too
_OCTAL = re.compile(rb"\\([0-7]{3})")
# The same for everybody: what is found there must not depend on who builds.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The kernel counts the processes and waiting signals of a user in each user namespace, and in those
# above it. Within its own a build can be limited; LimitNPROC= would limit all that the user has, so
# that no build could begin beside another one that forks, or on a desktop with many threads.
# Source: setrlimit(2), user_namespaces(7).
_MOST_PROCESSES = 1024
_MOST_SIGNALS = 1024
# In user units most of these do nothing without PrivateUsers=. `measure` looks at what they do.
# ProtectKernelTunables= is not among them: with it no /proc of its own could be mounted.
# Source: systemd.exec(5), systemd.resource-control(5).
_PROPERTIES = (
    "CPUSchedulingPolicy=idle",
    "IOSchedulingClass=idle",
    "KeyringMode=private",
    "LimitCORE=0",
    "LimitFSIZE=4G",
    "LockPersonality=yes",
    "MemoryMax=75%",
    "NoNewPrivileges=yes",
    # The kernel ends what takes too much memory, and the rest still tells how it has ended.
    "OOMPolicy=continue",
    "PrivateDevices=yes",
    "PrivateIPC=yes",
    "PrivateNetwork=yes",
    "PrivateUsers=yes",
    "ProtectControlGroups=yes",
    "ProtectSystem=strict",
    "RestrictNamespaces=user pid mnt",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=@mount",  # for a /proc of its own
    # Of watches and keys a user has few, and a build could take all that are left for others. Not
    # ENOSYS: systemd 257 answers unknown calls with that, and adds no rule that says the same.
    "SystemCallFilter=~@keyring:EPERM inotify_init:EMFILE inotify_init1:EMFILE",
    # A disk would be full before anybody could look; glibc then writes instead.
    "SystemCallFilter=~fallocate:EOPNOTSUPP",
    "TasksMax=1024",
    "TemporaryFileSystem=/dev/shm",
    "TemporaryFileSystem=/home:ro",
    "TemporaryFileSystem=/root:ro",
    "TemporaryFileSystem=/run:ro",
    "TimeoutStopSec=5s",
    "UMask=0022",
)
_WITHOUT_NETWORK = ("RestrictAddressFamilies=AF_UNIX",)
# In the directory of one run: what it writes as its temporary files, and its way to the network.
_TEMPORARY_FILES = "tmp"
_WAY = "way"
_GATEWAY = "gateway"
_RELAY = f"http://127.0.0.1:{relay.PORT}"
# curl heeds only the small `http_proxy`, others only large ones.
_PROXIES = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _RELAY),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1"),
}
_WITH_NETWORK = (
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "BindReadOnlyPaths=-/var/lib/ca-certificates",  # to which /etc/ssl leads on SUSE
)


class Sandbox:
    """Foreign code in a transient unit of the user's service manager.

    It has a network, processes, devices and temporary directories of its own, reads what every
    user of the system may read, but no home, and writes only where the mounts say so. No socket of
    the session can be seen: who speaks to the user's bus could start a unit that is not confined.

    Args:
        processes: ends what runs when this process is to end.
        hidden: directories of the person, wherever they lie.
        pauses_s: after how many seconds a unit is tried again that could not be set up.

    Source: systemd-run(1), unshare(1), prlimit(1), setsid(1); systemd.exec(5), "PROCESS EXIT
    CODES".
    """

    is_sandbox = True

    def __init__(
        self,
        processes: ProcessGroup,
        hidden: Iterable[Path],
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self.processes = processes
        self._pauses_s = pauses_s
        foreign = tuple(_foreign_directories())
        self._hidden = foreign + tuple(
            path
            for path in hidden
            if not is_below(path, (*HOMES, *foreign, *TEMPORARY)) and path.exists()
        )
        self._numbers = itertools.count(1)

    def inside(self, mounts: Mounts, text: str) -> str:
        """Write the paths in a text as the program sees them."""
        return text.replace(str(mounts.root), _INSIDE)

    def run(self, command: Command, mounts: Mounts) -> Result:
        """Run a program to its end."""
        for pause_s in (*self._pauses_s, None):
            place = Path(tempfile.mkdtemp(prefix="run-", dir=mounts.root))
            try:
                for name in (_TEMPORARY_FILES, _WAY):
                    (place / name).mkdir()
                way = place / _WAY / _GATEWAY
                with gateway.opened(way) if mounts.network else nullcontext():
                    result, told = self._run_unit(command, mounts, place)
            finally:
                remove_foreign_tree(place)
            # An exit status alone does not tell whose it is.
            if "ended" in told or ("begun" in told and result.status == -signal.SIGKILL):
                return result
            said = last_line(result.stdout) or f"systemd-run ended with {result.status}"
            if "begun" in told:
                raise EndedError(f"the unit of the build was ended from outside: {said}")
            if pause_s is None or not self.processes.pause(pause_s):
                break
            _log.info("systemd could not set up the unit of a build, trying again: %s", said)
        raise SandboxError(f"systemd could not set up the unit of the build: {said}")

    def _run_unit(self, command: Command, mounts: Mounts, place: Path) -> tuple[Result, list[str]]:
        """Run a program once; return its result, and whether it has `begun` and `ended`."""
        unit = f"{_UNIT}-{os.getpid()}-{started_at(os.getpid())}-{next(self._numbers)}.service"
        paths = command.environ.get("PATH", "").split(":")
        own = [path for path in paths if Path(path).is_relative_to(mounts.root)]
        variables = {**command.environ, "PATH": ":".join([*own, _PATH])}
        led: list[str] = []
        if mounts.network:
            variables = _without_proxies(variables) | _PROXIES
            # What it is led by it may read and use, and not put something else in its place.
            mounts = replace(mounts, readable=(*mounts.readable, place / _WAY))
            script = str(shutil.copy(relay.__file__, place / _WAY))
            led = [str(mounts.network), "-I", "-S", script, str(place / _WAY / _GATEWAY)]
        words = [
            *("sh", "-c", _WRAPPER, "sh"),
            *led,
            # Of all processes it sees its own; and with the first of them the others end.
            *("unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child"),
            # A signal to its process group reaches those in other namespaces, too: kill(2).
            *("--mount-proc", "--", "prlimit", f"--nproc={_MOST_PROCESSES}"),
            *(f"--sigpending={_MOST_SIGNALS}", "setsid", "env", "-i"),
            *(f"{name}={value}" for name, value in variables.items()),
            *command.argv,
        ]
        temporary = quoted(place / _TEMPORARY_FILES)
        argv = transient.command(
            (self.inside(mounts, word) for word in words),
            "Build of an Insiders release",
            (
                "Slice=background.slice",
                f"WorkingDirectory={self.inside(mounts, str(command.directory))}",
                *self._properties(mounts, command.timeout_s),
                # What it writes there lies in a directory that is removed, and may be measured.
                *(f"BindPaths={temporary}:{path}" for path in TEMPORARY),
            ),
            unit=unit,
        )
        told: list[str] = []
        with _pipe() as (ours, theirs):
            try:
                result = self.processes.run(
                    Command(argv, os.environ, Path("/"), command.timeout_s), stdin=theirs
                )
                told = _words(ours)
            finally:
                # However systemd-run has ended, and whatever was told: the unit may run, and
                # nothing of it must; or systemd is still to begin it, and then nobody listens.
                os.close(ours)
                if "ended" not in told:
                    systemctl.try_call("kill", "--signal=KILL", "--", unit)
                systemctl.try_call("stop", "--", unit)
        return result, told

    def _properties(self, mounts: Mounts, timeout_s: float) -> Iterable[str]:
        yield from _PROPERTIES
        if _knows_idle_weight():
            yield "CPUWeight=idle"
        yield from _WITH_NETWORK if mounts.network else _WITHOUT_NETWORK
        yield f"RuntimeMaxSec={timeout_s + 60:.0f}"  # if nobody is left to end it
        for path in self._hidden:
            yield f"TemporaryFileSystem={quoted(path)}:ro"
        for path in mounts.readable:
            if is_below(path, (mounts.root, *self._hidden, *HOMES, *TEMPORARY)):
                yield f"BindReadOnlyPaths={self._bound(mounts, path)}"
        for path in mounts.writable:
            yield f"BindPaths={self._bound(mounts, path)}"

    def _bound(self, mounts: Mounts, path: Path) -> str:
        return f"{quoted(path)}:{quoted(self.inside(mounts, str(path)))}"


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe; give the ends from which is read, without waiting, and to which is written.

    The caller closes the first.
    """
    ours, theirs = os.pipe()
    try:
        os.set_blocking(ours, False)
        yield ours, theirs
    finally:
        os.close(theirs)


def _words(descriptor: int) -> list[str]:
    """Read the words that have come."""
    try:
        return os.read(descriptor, _TOLD_BYTES).decode().split()
    except BlockingIOError:
        return []


def _foreign_directories() -> Iterator[Path]:
    """Find the directories that are not the system's, and lie in `/` or are mounted in `/opt`.

    Source: proc(5), `/proc/PID/mountinfo`.
    """
    with os.scandir("/") as entries:  # looks at none: the host of a share may be gone
        names = sorted(it.name for it in entries if it.is_dir(follow_symlinks=False))
    for path in (Path("/", name) for name in names if name not in _SYSTEM):
        if not is_below(path, (*HOMES, *TEMPORARY)):
            yield path
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        path = Path(os.fsdecode(_OCTAL.sub(_unescaped, line.split()[4])))
        if _OPTIONAL in path.parents and path.is_dir():
            yield path


def _without_proxies(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: it for name, it in variables.items() if not name.lower().endswith("_proxy")}


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8)])


@cache
def _knows_idle_weight() -> bool:
    """Tell whether a unit can get what others leave of the processors, however many they are.

    Source: systemd.resource-control(5), `CPUWeight=`.
    """
    return systemctl.manager().number >= 252


def last_line(text: str) -> str:
    """Return the last line of what a program wrote; empty where that is nothing."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def sweep() -> None:
    """End the builds of processes that are gone, whatever has their numbers by now."""
    for unit in systemctl.active(f"{_UNIT}-*"):
        numbers = re.match(r"(\d+)-(\d+)-", unit.removeprefix(f"{_UNIT}-"))
        if numbers is None or started_at(int(numbers[1])) != int(numbers[2]):
            _log.info("ending %s, which was left behind", unit)
            systemctl.try_call("stop", "--", unit)
