"""Share connections of ssh: git lists many repositories of a host over one or two of them."""

import contextlib
import logging
import os
import re
import shlex
import stat
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from pypi_insiders.git import command, local_ssh, running
from pypi_insiders.git.command import ENVIRONMENT, GitSettings
from pypi_insiders.git.diagnosis import ssh_address
from pypi_insiders.git.errors import UnreachableError
from pypi_insiders.util import process
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory
from pypi_insiders.util.process_group import kill_with_descendants
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)

FEWEST = 17
"""Repositories of a host. Fewer are listed at once, each over a connection of its own."""
_CONNECTIONS = 2
# OpenSSH's server allows ten at a time. Source: sshd_config(5), `MaxSessions`.
_SESSIONS = 8
_START_S = 20
_TIMEOUT_S = 10
# If this process is killed, ssh ends by itself.
_IDLE_S = 30
# Without the random suffix that ssh adds at first.
# Source: unix(7), `sun_path`; muxserver_listen in OpenSSH's mux.c.
_LONGEST_PATH = 107 - 17
_PREFIX = "ssh-"


class SharedConnections:
    """The shared connections of one update or check, one at a time in a process; thread-safe.

    Connections are shared to hosts of many repositories only, and neither where the user chooses
    the ssh program nor for hosts whose connections the user shares, or URLs that git rewrites.

    Args:
        parent: of the directory for the sockets, in the runtime directory of the user.

    Source: ssh_config(5), `ControlMaster`, `ControlPath`, `ControlPersist`.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._lock = threading.Lock()
        self._urls = Counter[str]()
        self._hosts = dict[str, _Host | None]()
        self._rewritten: tuple[str, ...] = ()

    def expect(self, urls: Iterable[str]) -> None:
        """Count the repositories of each host; called before they are listed."""
        self._urls.update(filter(None, map(ssh_address, urls)))

    def git(self, *arguments: str, settings: GitSettings, timeout_s: float) -> str:
        """Run git as `command.git` does, on a shared connection to the host of `settings`.

        If that fails, git runs once more with a connection of its own: the reason is that one's.
        """
        url = settings.remote.url if settings.remote else ""
        with self.session(url) as session:
            if session:
                shared = settings.adding(session.environment)
                try:
                    done = command.attempt(*arguments, settings=shared, timeout_s=timeout_s)
                except UnreachableError:
                    # Or each repository of a host that hangs would wait twice.
                    session.give_up("the host does not answer on one")
                else:
                    if done.status == 0:
                        session.has_ended(done.stderr)
                        return done.stdout
        listed = command.git(*arguments, settings=settings, timeout_s=timeout_s)
        if session:
            session.give_up("git fails on a shared one")
        return listed

    @contextlib.contextmanager
    def session(self, url: str) -> Iterator["Session | None"]:
        """Take a session on a shared connection, until the block ends; `None`: there is none."""
        host = self._host(url)
        number = host.take() if host else None
        if host is None or number is None:
            yield None
            return
        try:
            yield Session(host, number)
        finally:
            host.give_back(number)

    def close(self) -> None:
        """End all connections, and remove their sockets; none is shared from now on."""
        with self._lock:
            self._urls.clear()
            for host in filter(None, self._hosts.values()):
                host.close()
            self._hosts.clear()
            if directory := vars(self).pop("_directory", None):
                with contextlib.suppress(InsidersError):
                    remove_tree(directory)

    def _host(self, url: str) -> "_Host | None":
        address = ssh_address(url)
        if address is None or self._urls[address] < FEWEST:
            return None
        with self._lock:
            if address not in self._hosts and address in self._urls:
                self._hosts[address] = self._shared(address)
            host = self._hosts.get(address)
        # By git, to another host, for which other settings may apply.
        return None if url.startswith(self._rewritten) else host

    def _shared(self, address: str) -> "_Host | None":
        """Return the host of an address if its connections can be shared."""
        try:
            if self._directory is None or self._user_chooses:
                return None
            self._rewritten = tuple(local_ssh.settings(r"^url\..*\.insteadof$"))
            return _Host(address, self._directory)
        except (InsidersError, ValueError) as error:
            _log.debug("connections to %s are not shared: %s", address, error)
            return None

    @cached_property
    def _user_chooses(self) -> bool:
        """Whether the user sets which ssh git runs."""
        is_set = any(os.environ.get(name) for name in ("GIT_SSH_COMMAND", "GIT_SSH"))
        return is_set or bool(local_ssh.settings(local_ssh.SSH_COMMAND))

    @cached_property
    def _directory(self) -> Path | None:
        """A directory of this process and this user: a socket in it gives access to the host."""
        try:
            status = self._parent.parent.stat()
            # Of another user with sudo(8), which can keep XDG_RUNTIME_DIR.
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
                return None
            make_directory(self._parent)
            for left in self._parent.glob(f"{_PREFIX}*"):
                if not Path("/proc", left.name.removeprefix(_PREFIX)).exists():
                    remove_tree(left)
            directory = self._parent / f"{_PREFIX}{os.getpid()}"
            remove_tree(directory)
            directory.mkdir(mode=0o700)
        except (OSError, InsidersError) as error:
            _log.debug("connections are not shared: %s", error)
            return None
        return directory


class Session:
    """A session on a shared connection."""

    def __init__(self, host: "_Host", number: int) -> None:
        self._host = host
        self.environment = {"GIT_SSH_COMMAND": shlex.join(("ssh", *host.options(number)))}
        """With which git uses the connection; ssh makes one of its own if that fails."""

    def has_ended(self, stderr: str) -> None:
        """Look whether the host has refused the session: then no connection to it is shared."""
        # Source: mux_client_request_session in OpenSSH's mux.c.
        if "session request failed" in stderr:
            self.give_up("it refuses further sessions")

    def give_up(self, why: str) -> None:
        """Share no connection to the host any more."""
        self._host.give_up(why)


class _Host:
    """The shared connections to one host, made when they are needed.

    Args:
        address: arguments of ssh, quoted for a shell.
        directory: of the sockets.

    Raises:
        InsidersError: ssh cannot be asked.
        ValueError: why connections to the host are not shared.
    """

    def __init__(self, address: str, directory: Path) -> None:
        # Other characters mean something in a value of ssh_config(5).
        if re.fullmatch(r"(?:-p \d+ )?[\w.@:-]+", address) is None:
            raise ValueError("unusual characters in its address")
        if re.fullmatch(r"[\w./@:+-]+", str(directory)) is None:
            raise ValueError(f"unusual characters in {directory}")
        self._address = address.split()
        self._directory = directory
        self._lock = threading.Lock()
        self._sessions = [0] * _CONNECTIONS
        self._starting = [threading.Lock() for _ in self._sessions]
        self._are_there: list[bool | None] = [None] * _CONNECTIONS
        self._is_given_up = False
        settings = _output("ssh", "-G", *self._address)
        found = dict(reversed([line.partition(" ")[::2] for line in settings.splitlines()]))
        if "controlpath" in found or found.get("controlmaster", "false") != "false":
            raise ValueError("the user shares them")
        name = f"{found.get('user')}@{found.get('host')}:{found.get('port')}-0"
        if len(os.fsencode(directory / name)) > _LONGEST_PATH:
            raise ValueError(f"the path of {directory} is too long")

    def options(self, number: int) -> tuple[str, ...]:
        """Return the options of ssh that use a connection."""
        # With the words of the command line: git, which can be led elsewhere by its settings, never
        # uses the connection to another host. Not `%C`, which is the same for two names of a host
        # in ~/.ssh/config, each with a key of its own.
        path = self._directory / f"%r@%n:%p-{number}"
        return ("-o", "ControlMaster=no", "-o", f"ControlPath={path}")

    def take(self) -> int | None:
        """Take a session; return the number of its connection, `None` if there is none."""
        with self._lock:
            # A server may refuse one of two at once. Source: sshd_config(5), `MaxStartups`.
            left = [at for at, is_there in enumerate(self._are_there) if is_there is not False]
            number = min(left, key=self._sessions.__getitem__, default=None)
            if number is None or self._is_given_up or self._sessions[number] >= _SESSIONS:
                return None
            self._sessions[number] += 1
        # The others wait: to connect on their own would take as long.
        with self._starting[number]:
            if self._are_there[number] is None:
                self._are_there[number] = self._start(number)
        if self._are_there[number]:
            return number
        self.give_back(number)
        return None

    def give_back(self, number: int) -> None:
        """Give a session back."""
        with self._lock:
            self._sessions[number] -= 1

    def give_up(self, why: str) -> None:
        """Take no further sessions."""
        with self._lock:
            is_news, self._is_given_up = not self._is_given_up, True
        if is_news:
            _log.info("%s: connections are not shared: %s", self._address[-1], why)

    def close(self) -> None:
        """End the connections."""
        self._is_given_up = True
        for number, starting in enumerate(self._starting):
            with starting, contextlib.suppress(InsidersError):
                if self._are_there[number]:
                    _output("ssh", *self.options(number), "-O", "exit", *self._address)
                self._are_there[number] = False

    def _start(self, number: int) -> bool:
        """Connect; return whether that has succeeded. Why it has not, git finds on its own."""
        argv = (
            "ssh", "-o", "ControlMaster=yes", *self.options(number)[2:],
            # In the background once the host has accepted the key.
            "-o", f"ControlPersist={_IDLE_S}", "-N", "-T",
            "-o", "ClearAllForwardings=yes", "-o", "ForwardAgent=no", "-o", "ForwardX11=no",
            *self._address,
        )  # fmt: skip
        if why := _failure(argv):
            _log.debug("connections to %s are not shared: %s", self._address[-1], why)
        return why is None


def _failure(argv: Sequence[str]) -> str | None:
    """Connect, as git does; return why that fails, `None`: it has succeeded."""
    _log.debug("+ %s", shlex.join(argv))
    try:
        # Not process.run, whose program an interrupted update could not end.
        with (
            subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                env=_environment(),
            ) as started,
            running.ending(started.pid),
        ):  # fmt: skip
            try:
                errors = started.communicate(timeout=_START_S)[1].decode(errors="replace")
            except subprocess.TimeoutExpired:
                kill_with_descendants(started.pid)
                return f"ssh timed out after {_START_S} s"
    except OSError as error:
        return f"cannot run ssh: {error.strerror}"
    status = started.returncode
    return None if status == 0 else f"ssh ended with {status}: {errors.strip()}"


def _environment() -> dict[str, str]:
    return {**os.environ, **ENVIRONMENT}


def _output(*argv: str) -> str:
    """Run a program as git does; return its output.

    Raises:
        InsidersError: it cannot be run, fails or takes too long.
    """
    done = process.run(argv, timeout_s=_TIMEOUT_S, environment=_environment())
    if done.status != 0:
        raise InsidersError(f"{argv[0]} ended with {done.status}: {done.stderr.strip()}")
    return done.stdout
