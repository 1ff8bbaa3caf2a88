"""Another user's index where ours is called: `doctor` and `env` name that user."""

import contextlib
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from fixtures import COMMAND, Person, free_port, unavailable
from shells import REMEDY, Shell, serving, shell

from pypi_insiders.util import listeners

__all__ = ["shell"]

# A socket belongs to who makes it; what is imported before needs no access afterwards.
_SERVER = """
import http.server, os, socketserver, sys
class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"Ok" if self.path == "/health" else b"")
    def log_message(self, *arguments):
        pass
os.setgroups([])
os.setuid(int(sys.argv[2]))
with socketserver.TCPServer(("127.0.0.1", int(sys.argv[1])), Index) as server:
    print("ready", flush=True)
    server.serve_forever()
"""


@contextlib.contextmanager
def listening(port: int, user: pwd.struct_passwd) -> Iterator[None]:
    """Have a user serve something that looks like an index."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(port), str(user.pw_uid)],
        stdout=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            server.terminate()


@pytest.fixture
def mallory() -> pwd.struct_passwd:
    """Somebody else on this machine."""
    if os.getuid() != 0:
        unavailable("only root can listen as another user")
    return pwd.getpwnam("nobody")


def test_a_port_of_another_user_is_a_problem(shell: Shell, mallory: pwd.struct_passwd) -> None:
    """Though an index answers there, and though it was right in all else."""
    name = mallory.pw_name
    variables = {"PIP_INDEX_URL": "OURS/simple/", "UV_DEFAULT_INDEX": "OURS/simple/"}
    with listening(shell.port, mallory):
        assert shell.doctor("port", **variables) == [
            (
                "problem",
                f"127.0.0.1:{shell.port} belongs to the user {name}: clients would install what "
                f"{name} serves",
                "stop that program, or set another `port` under [server]",
            )
        ]
        assert shell.run(COMMAND, "doctor", **variables).returncode == 1
        done = shell.run(COMMAND, "env", "--shell", "sh")
        assert done.returncode == 0
        assert done.stderr == (
            f"warning: {shell.url} belongs to the user {name}: clients would install what {name} "
            "serves\n"
        )


def test_another_port_of_another_user_is_a_problem_too(
    shell: Shell, mallory: pwd.struct_passwd
) -> None:
    """As where a client still has the address from before a change of the port."""
    other, name = free_port(), mallory.pw_name
    with listening(other, mallory):
        assert shell.doctor("pip", PIP_INDEX_URL=f"http://127.0.0.1:{other}/simple/") == [
            (
                "problem",
                f"127.0.0.1:{other} belongs to the user {name}: clients would install what {name} "
                "serves",
                REMEDY,
            )
        ]


def test_an_own_index_is_no_stranger(shell: Shell) -> None:
    """The same question, and all is well."""
    with serving(shell.person, shell.port):
        ((verdict, message, _),) = shell.doctor("port")
        assert verdict == "ok"
        assert message.endswith(", an index")
        assert shell.run(COMMAND, "env", "--shell", "sh").stderr == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"])
def test_listeners_are_found_by_the_kernels_list(person: Person, host: str) -> None:
    """Without tools, at one address or at all of them, with the user who listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        is_mapped = host.startswith("::ffff:")
        server = socket.create_server((host, 0), family=family, dualstack_ipv6=is_mapped)
    except OSError as error:
        unavailable(f"no such address here: {error}")
        return
    with server:
        port = server.getsockname()[1]
        found = listeners.on(port, ("127.0.0.1", "::1"))
        assert [(it.user_id, it.is_own) for it in found] == [(os.getuid(), True)]
        assert listeners.strangers(port, ("127.0.0.1", "::1")) == []
        assert listeners.on(port, ("192.0.2.1",)) == (
            [] if host not in ("0.0.0.0", "::") else found
        )
