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
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

from pypi_insiders.builder import gateway, relay
from pypi_insiders.systemd import systemctl, transient
from pypi_insiders.systemd.quoting import quoted
from pypi_insiders.util.concealed import HOMES, TEMPORARY, is_below
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_temporary
from pypi_insiders.util.process import Result
from pypi_insiders.util.process_group import ProcessGroup
from pypi_insiders.util.trees import remove_foreign_tree, remove_tree

_log = logging.getLogger(__name__)

LOST = (
    'see `pypi-insiders doctor`; the next update tries again, and with `sandbox = "off"` under '
    "[build] builds run with your permissions"
)
"""What to do where there is no sandbox any more."""

_INSIDE = "/run/build"
_UNIT = "pypi-insiders-build"
_PROBE_TIMEOUT_S = 30
_PATIENT_PROBE_TIMEOUT_S = 180
# Before a unit is tried again that systemd could not set up, as happens under load.
_PAUSES_S = (1, 2, 4, 8)
# Outside of the process namespace and the session of what it runs: who is in there has no way to
# its descriptors, nor to itself, and cannot keep it from telling that all of it has ended. It tells
# that by its standard input, which is open for writing and given to nobody else.
_WRAPPER = 'echo begun >&0; "$@" </dev/null; status=$?; echo ended >&0; exit $status'
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

# In user units most of these do nothing without PrivateUsers=. `measure` looks at what they do.
# ProtectKernelTunables= is not among them: with it no /proc of its own could be mounted.
# Source: systemd.exec(5), systemd.resource-control(5).
_PROPERTIES = (
    "CPUSchedulingPolicy=idle",
    "IOSchedulingClass=idle",
    "KeyringMode=private",
    "LimitCORE=0",
    "LimitFSIZE=4G",
    "LimitNPROC=1024",
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


class SandboxError(InsidersError):
    """A sandbox cannot be had, or was lost: no fault of what was to run in it."""


@dataclass(frozen=True)
class View:
    """What a confined program sees, beside the programs and libraries of the system."""

    root: Path
    """Directory whose parts it sees below a path that is always the same."""
    writable: tuple[Path, ...]
    """Below the root."""
    readable: tuple[Path, ...] = ()
    """Anywhere; what is not below the root is seen at its own path."""
    network: Path | None = None
    """A Python that it sees, if it may use HTTP to other machines; `None`: no network."""


class Confines(Protocol):
    """A way to run foreign code."""

    @property
    def is_sandbox(self) -> bool:
        """Tell whether anything is kept from it."""
        ...

    @property
    def containment(self) -> ProcessGroup:
        """What ends it when this process is to end."""
        ...

    def inside(self, view: View, text: str) -> str:
        """Write the paths in a text as the program sees them."""
        ...

    def run(
        self,
        argv: Sequence[str],
        view: View,
        *,
        timeout_s: float,
        environment: Mapping[str, str],
        directory: Path,
    ) -> Result:
        """Run a program to its end; nothing that it started outlives it.

        Args:
            argv: the program and its arguments, with paths as they are outside.
            view: what it sees.
            timeout_s: after this many seconds it is killed.
            environment: all of its environment, with paths as they are outside.
            directory: where it runs.

        Returns:
            Its status, and all that it wrote, in `stdout`.

        Raises:
            SandboxError: it did not run, or did not run to its end, for no reason of its own.
            InsidersError: it cannot be run.
        """
        ...


@dataclass(frozen=True)
class Unconfined:
    """Foreign code that may do what the person may."""

    containment: ProcessGroup
    is_sandbox: bool = False
    trouble: str | None = None
    """Why there is no sandbox; `None`: none was wanted."""

    def inside(self, view: View, text: str) -> str:  # noqa: ARG002
        """Write the paths in a text as the program sees them: as they are."""
        return text

    def run(
        self,
        argv: Sequence[str],
        view: View,  # noqa: ARG002
        *,
        timeout_s: float,
        environment: Mapping[str, str],
        directory: Path,
    ) -> Result:
        """Run a program to its end."""
        return self.containment.run(
            argv, timeout_s=timeout_s, environment=environment, directory=directory
        )


class Sandbox:
    """Foreign code in a transient unit of the user's service manager.

    It has a network, processes, devices and temporary directories of its own, reads what every
    user of the system may read, but no home, and writes only where the view says so. No socket of
    the session can be seen: who speaks to the user's bus could start a unit that is not confined.

    Args:
        containment: ends what runs when this process is to end.
        hidden: directories of the person, wherever they lie.
        pauses_s: after how many seconds a unit is tried again that could not be set up.

    Source: systemd-run(1), unshare(1), setsid(1); systemd.exec(5), "PROCESS EXIT CODES".
    """

    is_sandbox = True

    def __init__(
        self,
        containment: ProcessGroup,
        hidden: Iterable[Path],
        pauses_s: Sequence[float] = _PAUSES_S,
    ) -> None:
        self.containment = containment
        self._pauses_s = pauses_s
        foreign = tuple(_foreign_directories())
        self._hidden = foreign + tuple(
            path
            for path in hidden
            if not is_below(path, (*HOMES, *foreign, *TEMPORARY)) and path.exists()
        )
        self._numbers = itertools.count(1)

    def inside(self, view: View, text: str) -> str:
        """Write the paths in a text as the program sees them."""
        return text.replace(str(view.root), _INSIDE)

    def run(
        self,
        argv: Sequence[str],
        view: View,
        *,
        timeout_s: float,
        environment: Mapping[str, str],
        directory: Path,
    ) -> Result:
        """Run a program to its end."""
        for pause_s in (*self._pauses_s, None):
            place = Path(tempfile.mkdtemp(prefix="run-", dir=view.root))
            try:
                for name in (_TEMPORARY_FILES, _WAY):
                    (place / name).mkdir()
                way = place / _WAY / _GATEWAY
                with gateway.opened(way) if view.network else nullcontext():
                    result, told = self._run_unit(
                        argv, view, place, timeout_s, environment, directory
                    )
            finally:
                remove_foreign_tree(place)
            # An exit status alone does not tell whose it is.
            if "ended" in told or ("begun" in told and result.status == -signal.SIGKILL):
                return result
            said = _last_line(result.stdout) or f"systemd-run ended with {result.status}"
            if "begun" in told:
                raise SandboxError(f"the unit of the build was ended from outside: {said}")
            if pause_s is None or not self.containment.pause(pause_s):
                break
            _log.info("systemd could not set up the unit of a build, trying again: %s", said)
        raise SandboxError(f"systemd could not set up the unit of the build: {said}")

    def _run_unit(  # noqa: PLR0913, PLR0917 - as `run`
        self,
        argv: Sequence[str],
        view: View,
        place: Path,
        timeout_s: float,
        environment: Mapping[str, str],
        directory: Path,
    ) -> tuple[Result, list[str]]:
        """Run a program once; return its result, and whether it has `begun` and `ended`."""
        unit = f"{_UNIT}-{os.getpid()}-{next(self._numbers)}.service"
        paths = environment.get("PATH", "").split(":")
        own = [path for path in paths if Path(path).is_relative_to(view.root)]
        variables = {**environment, "PATH": ":".join([*own, _PATH])}
        led: list[str] = []
        if view.network:
            variables = _without_proxies(variables) | _PROXIES
            # What it is led by it may read and use, and not put something else in its place.
            view = replace(view, readable=(*view.readable, place / _WAY))
            script = str(shutil.copy(relay.__file__, place / _WAY))
            led = [str(view.network), "-I", "-S", script, str(place / _WAY / _GATEWAY)]
        words = [
            *("sh", "-c", _WRAPPER, "sh"),
            *led,
            # Of all processes it sees its own; and with the first of them the others end.
            *("unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child"),
            # A signal to its process group reaches those in other namespaces, too: kill(2).
            *("--mount-proc", "--", "setsid", "env", "-i"),
            *(f"{name}={value}" for name, value in variables.items()),
            *argv,
        ]
        temporary = quoted(place / _TEMPORARY_FILES)
        command = transient.command(
            (self.inside(view, word) for word in words),
            "Build of an Insiders release",
            (
                "Slice=background.slice",
                f"WorkingDirectory={self.inside(view, str(directory))}",
                *self._properties(view, timeout_s),
                # What it writes there lies in a directory that is removed, and may be measured.
                *(f"BindPaths={temporary}:{path}" for path in TEMPORARY),
            ),
            unit=unit,
        )
        with _pipe() as (ours, theirs):
            told: list[str] = []
            try:
                result = self.containment.run(
                    command,
                    timeout_s=timeout_s,
                    environment=os.environ,
                    directory=Path("/"),
                    stdin=theirs,
                )
                told = _words(ours)
            finally:
                # However systemd-run has ended, and whatever was told: the unit may run, or begin
                # to, and nothing of it must.
                if "ended" not in told:
                    systemctl.try_call("kill", "--signal=KILL", "--", unit)
                systemctl.try_call("stop", "--", unit)
            return result, [*told, *_words(ours)]

    def _properties(self, view: View, timeout_s: float) -> Iterable[str]:
        yield from _PROPERTIES
        if _knows_idle_weight():
            yield "CPUWeight=idle"
        yield from _WITH_NETWORK if view.network else _WITHOUT_NETWORK
        yield f"RuntimeMaxSec={timeout_s + 60:.0f}"  # if nobody is left to end it
        for path in self._hidden:
            yield f"TemporaryFileSystem={quoted(path)}:ro"
        for path in view.readable:
            if is_below(path, (view.root, *self._hidden, *HOMES, *TEMPORARY)):
                yield f"BindReadOnlyPaths={self._bound(view, path)}"
        for path in view.writable:
            yield f"BindPaths={self._bound(view, path)}"

    def _bound(self, view: View, path: Path) -> str:
        return f"{quoted(path)}:{quoted(self.inside(view, str(path)))}"


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe; give the ends from which is read, without waiting, and to which is written."""
    ours, theirs = os.pipe()
    try:
        os.set_blocking(ours, False)
        yield ours, theirs
    finally:
        os.close(ours)
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


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


# Prints of each thing whether it is hidden or seen. $1: a file of the person, $2: the user's bus,
# $3: where it may write.
_PROBE = """
is() { echo "$2 $1"; }
[ -e "$1" ] && is seen home || is hidden home
[ -e "$2" ] && is seen bus || is hidden bus
read -r first </proc/1/comm
[ "$$ $first" = '1 sh' ] && is hidden processes || is seen processes
found=
while read -r name rest; do
    case $name in Inter-*|face*) ;; *) found="$found ${name%%:*}" ;; esac
done </proc/net/dev
[ "$found" = ' lo' ] && is hidden network || is seen network
groups=hidden
for group in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
    [ ! -w "$group" ] || groups=seen
done
is $groups groups
echo >"$3/written" || :
"""
# What is kept from a build, and what it means if it is not.
_TOLD = {
    "home": ("home", "the files of the person are seen"),
    "bus": ("bus", "the bus of the user is seen"),
    "processes": ("other processes", "the processes of others are seen"),
    "network": ("network", "the network is seen"),
    "groups": ("writing to control groups", "control groups can be written"),
}


@dataclass(frozen=True)
class Strength:
    """What a sandbox was measured to keep from what runs in it."""

    kept: tuple[str, ...] = ()
    """What that cannot see or do, in words for people."""
    trouble: str | None = None
    """Why it is no sandbox, though it keeps that much; `None`: it is one."""


def measure(
    containment: ProcessGroup, hidden: Sequence[Path], scratch: Path, *, is_patient: bool = False
) -> Strength:
    """Measure whether a sandbox can be had here, and what it keeps from what runs in it.

    Units silently ignore what they cannot do; so the effect is looked at.

    Args:
        containment: ends what runs when this process is to end.
        hidden: as for `Sandbox`.
        scratch: an existing directory of the person.
        is_patient: whether to try again, and to wait longer, where it should work.

    Raises:
        InsidersError: nothing can be written in `scratch`.
    """
    for program in ("systemd-run", "unshare", "setsid", "env"):
        if shutil.which(program) is None:
            return Strength(trouble=f"{program} was not found")
    try:
        systemctl.manager()
    except InsidersError as error:
        return Strength(trouble=error.message)
    directory = make_temporary(scratch)
    try:
        marker, root = directory / "marker", directory / "root"
        work = root / "work"
        work.mkdir(parents=True)
        marker.touch()
        runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
        try:
            result = Sandbox(containment, hidden, _PAUSES_S if is_patient else ()).run(
                ("sh", "-c", _PROBE, "sh", str(marker), f"{runtime}/bus", str(work)),
                View(root, writable=(work,)),
                timeout_s=_PATIENT_PROBE_TIMEOUT_S if is_patient else _PROBE_TIMEOUT_S,
                environment={},
                directory=work,
            )
        except InsidersError as error:
            return Strength(trouble=error.message)
        return _judge(result, has_written=(work / "written").exists())
    finally:
        remove_tree(directory)


def _judge(result: Result, *, has_written: bool) -> Strength:
    """Read what the probe says; only what it has seen to be kept from it counts."""
    lines = result.stdout.strip().splitlines()
    if result.status != 0:
        said = _last_line(result.stdout) or f"systemd-run ended with {result.status}"
        return Strength(trouble=said)
    is_kept = {key: f"{key} hidden" in lines for key in _TOLD}
    troubles = [trouble for key, (_, trouble) in _TOLD.items() if not is_kept[key]]
    if not has_written:
        troubles.append("nothing can be written")
    kept = tuple(words for key, (words, _) in _TOLD.items() if is_kept[key])
    return Strength(kept, "; ".join(troubles) or None)


def choose(
    wanted: str,
    containment: ProcessGroup,
    hidden: Sequence[Path],
    scratch: Path,
    *,
    had_before: bool,
) -> Confines:
    """Choose in what builds run.

    Args:
        wanted: the setting: `auto` (a sandbox where one can be had), `required` or `off`.
        containment: ends what runs when this process is to end.
        hidden: as for `Sandbox`.
        scratch: an existing directory of the person.
        had_before: whether one could be had here before; then none is built without one.

    Raises:
        SandboxError: it is required, or could be had before, and none can be had.
    """
    if wanted == "off":
        return Unconfined(containment)
    is_needed = wanted == "required" or had_before
    trouble = measure(containment, hidden, scratch, is_patient=is_needed).trouble
    if trouble is None:
        return Sandbox(containment, hidden)
    if wanted == "required":
        raise SandboxError(
            f"no sandbox can be had here: {trouble}",
            'without one nothing is built while `sandbox = "required"`',
        )
    if had_before:
        raise SandboxError(f"the sandbox of builds is not available any more: {trouble}", LOST)
    _log.warning("builds are not sandboxed: %s", trouble)
    return Unconfined(containment, trouble=trouble)


def sweep() -> None:
    """End the builds of processes that are gone."""
    for unit in systemctl.active(f"{_UNIT}-*"):
        pid = unit.removeprefix(f"{_UNIT}-").partition("-")[0]
        if not Path("/proc", pid).exists():
            _log.info("ending %s, which was left behind", unit)
            systemctl.try_call("stop", "--", unit)
