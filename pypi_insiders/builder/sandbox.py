"""Run foreign code in a transient user unit without access to the home and the network."""

import itertools
import logging
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path

from pypi_insiders.builder import gateway, relay, user_files
from pypi_insiders.builder.errors import EndedError, SandboxError
from pypi_insiders.builder.launcher import Mounts
from pypi_insiders.systemd import systemctl, transient
from pypi_insiders.systemd.quoting import quoted
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.private_directories import HOMES, TEMPORARY, is_below
from pypi_insiders.util.process import Result
from pypi_insiders.util.process_group import Command, ProcessGroup, started_at
from pypi_insiders.util.trees import remove_foreign_tree

_log = logging.getLogger(__name__)

_INSIDE = "/run/build"
_UNIT = "pypi-insiders-build"
# Between attempts: under load systemd sometimes cannot set up a user namespace (status 217).
PAUSES_S = (1, 2, 4, 8)
# The wrapper reports begin and end of the program on its standard input, one end of a socket pair.
# It runs outside of the program's process namespace and session, so the program can reach neither
# its descriptors nor the wrapper itself, and cannot forge or prevent a report. If the other end is
# closed, because systemd started the unit too late, the program is not run.
_WRAPPER = 'echo begun >&0 || exit; "$@" </dev/null; status=$?; echo ended >&0; exit $status'
_REPORT_BYTES = 4096
# The directories in `/` with programs of the system. All others are hidden, among them mail, the
# journal, disks and network shares.
_SYSTEM = {
    "bin", "dev", "etc", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "opt", "proc", "sbin",
    "snap", "sys", "usr",
}  # fmt: skip
_OPTIONAL = Path("/opt")  # mounts below it are hidden, too
_OCTAL = re.compile(rb"\\([0-7]{3})")
# Fixed: the programs that a build finds must not depend on the user's shell.
_PATH = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ":/run/current-system/sw/bin:/run/current-system/profile/bin"  # NixOS, Guix
)

# The kernel counts a user's processes and pending signals per user namespace, and in all namespaces
# above. prlimit(1) within the namespace limits one build. LimitNPROC= would count all processes of
# the user: no build could start while another one forks, or on a desktop with many threads.
# Source: setrlimit(2), user_namespaces(7).
_MOST_PROCESSES = 1024
_MOST_SIGNALS = 1024
# In user units most of these are silently ignored without PrivateUsers=, so `measure` tests their
# effect. ProtectKernelTunables= is missing, because with it no new /proc can be mounted.
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
    # The kernel kills the process that takes too much memory, and the wrapper still reports the
    # end; systemd's default would kill the wrapper, too.
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
    # The default is SIGSYS, of which Node died in pkey_alloc(2). Programs have a way around most
    # calls that are refused.
    "SystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=@mount",  # `unshare --mount-proc` mounts a new /proc
    # A user has few inotify watches and keys, and a build could use up all of them. Without an
    # errno for @keyring: systemd refuses to load a rule that repeats the default (228/SECCOMP).
    "SystemCallFilter=~@keyring inotify_init:EMFILE inotify_init1:EMFILE",
    # One call could fill the disk between two checks of the guard; glibc falls back to writing.
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
# In the directory of a run: its temporary files, and the relay with the gateway's socket.
_TEMPORARY_FILES = "tmp"
_NETWORK = "network"
_GATEWAY = "gateway"
_RELAY = f"http://127.0.0.1:{relay.PORT}"
# curl reads only the lower-case `http_proxy`, other programs only upper-case ones.
_PROXIES = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _RELAY),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1"),
    # Otherwise fetch() of Node, and Yarn since its second version, do not use them.
    "NODE_USE_ENV_PROXY": "1",
    **dict.fromkeys(("YARN_HTTP_PROXY", "YARN_HTTPS_PROXY"), _RELAY),
}
# Programs that try again for a minute where there is no network, before they report it.
_WITHOUT_RETRIES = dict.fromkeys(
    ("CARGO_NET_RETRY", "UV_HTTP_RETRIES", "npm_config_fetch_retries"), "0"
)
_WITH_NETWORK = ("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",)
# Of the system, but hidden where they lie elsewhere or are links to elsewhere: programs of NixOS
# and Guix, and of Fedora's immutable systems, where `/usr/local` leads to `/var/usrlocal`.
_SYSTEM_PATHS = (Path("/opt"), Path("/run/current-system"), Path("/usr/local"))
# A link to NetworkManager's, resolvconf's or systemd's file below `/run` on most systems; and the
# target of links in /etc/ssl on SUSE.
_NETWORK_PATHS = (Path("/etc/resolv.conf"), Path("/var/lib/ca-certificates"))


class Sandbox:
    """Runs foreign code in a transient unit of the user manager.

    A program has its own network, processes, devices and temporary directories. It reads system
    files, but no home directories, and writes only to the mounts.

    Args:
        processes: kills programs when this process ends.
        hidden: private directories of the user, anywhere.
        pauses_s: seconds between attempts to set up a unit.

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
        """Replace the paths in a text by those that the program sees."""
        return text.replace(str(mounts.root), _INSIDE)

    def run(self, command: Command, mounts: Mounts) -> Result:
        """Run a program in a new unit."""
        for pause_s in (*self._pauses_s, None):
            place = Path(tempfile.mkdtemp(prefix="run-", dir=mounts.root))
            try:
                for name in (_TEMPORARY_FILES, _NETWORK):
                    (place / name).mkdir()
                opened = gateway.opened(place / _NETWORK / _GATEWAY)
                with opened if mounts.network else nullcontext():
                    result, reports = self._run_unit(command, mounts, place)
            finally:
                remove_foreign_tree(place)
            # The exit status alone could be the program's or systemd's. SIGKILL is ours, at a
            # time limit or for the disk: the wrapper was killed as well, and cannot report.
            if "ended" in reports or ("begun" in reports and result.status == -signal.SIGKILL):
                return result
            detail = last_line(result.stdout, f"systemd-run exited with {result.status}")
            if "begun" in reports:
                raise EndedError(f"another process stopped the unit of the build: {detail}")
            if pause_s is None or not self.processes.pause(pause_s):
                break
            _log.info("systemd could not set up the unit of a build, trying again: %s", detail)
        raise SandboxError(f"systemd could not set up the unit of the build: {detail}")

    def _run_unit(self, command: Command, mounts: Mounts, place: Path) -> tuple[Result, list[str]]:
        """Run a program once; return its result and the reports of the wrapper."""
        # With the start time: the number of this process may belong to another one at a `sweep`.
        unit = f"{_UNIT}-{os.getpid()}-{started_at(os.getpid())}-{next(self._numbers)}.service"
        paths = command.environ.get("PATH", "").split(":")
        own = [path for path in paths if Path(path).is_relative_to(mounts.root)]
        paths = [*own, *map(str, mounts.path), _PATH, *map(str, mounts.last_path)]
        variables = {**command.environ, "PATH": ":".join(paths)}
        through_relay: list[str] = []
        if mounts.network is None:
            variables = _WITHOUT_RETRIES | variables
        else:
            variables = _without_proxies(variables) | _PROXIES
            # Only readable: the program may use the socket, and must not replace it or the script.
            mounts = replace(mounts, readable=(*mounts.readable, place / _NETWORK))
            script = str(shutil.copy(relay.__file__, place / _NETWORK))
            through_relay = [
                *(str(mounts.network), "-I", "-S", script),
                str(place / _NETWORK / _GATEWAY),
            ]
        words = [
            *("sh", "-c", _WRAPPER, "sh"),
            *through_relay,
            # It sees only its own processes, and all of them end with the first.
            *("unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child"),
            # setsid: a signal to the process group would reach the wrapper, too. Source: kill(2).
            *("--mount-proc", "--", "prlimit", f"--nproc={_MOST_PROCESSES}"),
            *(f"--sigpending={_MOST_SIGNALS}", "setsid", "env", "-i"),
            *(f"{name}={value}" for name, value in variables.items()),
            *command.argv,
        ]
        temporary = quoted(place / _TEMPORARY_FILES)
        argv = transient.command(
            (self.inside(mounts, word) for word in words),
            "Build a release",
            (
                "Slice=background.slice",
                f"WorkingDirectory={self.inside(mounts, str(command.directory))}",
                *self._properties(mounts, command.timeout_s),
                # Instead of PrivateTmp=, so that the disk guard can measure the files.
                *(f"BindPaths={temporary}:{path}" for path in TEMPORARY),
            ),
            unit=unit,
        )
        reports: list[str] = []
        # Not a pipe: systemd 262 refuses a standard input that can only be written.
        reader, writer = socket.socketpair()
        with reader, writer:
            reader.setblocking(False)
            try:
                result = self.processes.run(
                    Command(argv, os.environ, Path("/"), command.timeout_s), stdin=writer.fileno()
                )
                reports = _reports(reader)
            finally:
                # The unit may still run, whether systemd-run has ended or was killed, or systemd
                # may not have started it yet. Closing the reader first makes a late wrapper exit.
                reader.close()
                if "ended" not in reports:
                    systemctl.try_call("kill", "--signal=KILL", "--", unit)
                systemctl.try_call("stop", "--", unit)
        return result, reports

    def _properties(self, mounts: Mounts, timeout_s: float) -> Iterable[str]:
        yield from _PROPERTIES
        if _knows_idle_weight():
            yield "CPUWeight=idle"
        yield from _WITH_NETWORK if mounts.network else _WITHOUT_NETWORK
        yield f"RuntimeMaxSec={timeout_s + 60:.0f}"  # in case this process is killed
        for path in self._hidden:
            yield f"TemporaryFileSystem={quoted(path)}:ro"
        system = _SYSTEM_PATHS + (_NETWORK_PATHS if mounts.network else ())
        readable = (*filter(Path.exists, system), *mounts.readable)
        for path in dict.fromkeys(step for it in readable for step in self._shown(mounts, it)):
            yield f"BindReadOnlyPaths={self._bound(mounts, path)}"
        for path in mounts.writable:
            yield f"BindPaths={self._bound(mounts, path)}"

    def _shown(self, mounts: Mounts, path: Path) -> Iterator[Path]:
        """Yield the hidden paths at which a readable path must be mounted."""
        if path.is_relative_to(mounts.root):
            yield path
            return
        for step in user_files.steps(path):
            if is_below(step, (*self._hidden, *HOMES, *TEMPORARY)):
                yield step

    def _bound(self, mounts: Mounts, path: Path) -> str:
        return f"{quoted(path)}:{quoted(self.inside(mounts, str(path)))}"


def _reports(reader: socket.socket) -> list[str]:
    try:
        return reader.recv(_REPORT_BYTES).decode().split()
    except BlockingIOError:
        return []


def _foreign_directories() -> Iterator[Path]:
    """Find the directories in `/` and the mounts below `/opt` that are not the system's.

    Source: proc(5), `/proc/PID/mountinfo`.
    """
    with os.scandir("/") as entries:  # without stat(2), which hangs for an unreachable NFS share
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
    """Return whether systemd knows `CPUWeight=idle`. Source: systemd.resource-control(5)."""
    return systemctl.manager().number >= 252


def sweep() -> None:
    """Stop the units of builds whose process no longer exists."""
    for unit in systemctl.active(f"{_UNIT}-*"):
        numbers = re.match(r"(\d+)-(\d+)-", unit.removeprefix(f"{_UNIT}-"))
        if numbers is None or started_at(int(numbers[1])) != int(numbers[2]):
            _log.info("stopping %s, left behind by a killed update", unit)
            systemctl.try_call("stop", "--", unit)
