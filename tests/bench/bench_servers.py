"""Start the index and its peers, each on a free port, all with the same files."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from bench_tools import BIN, COMMAND, Argv, home_environment, run
from fixtures import free_port

from pypi_insiders.config.paths import default_paths

JSON = "application/vnd.pypi.simple.v1+json"
_PEERS = (
    "devpi-server>=6.20.3",
    "pypiserver>=2.4.2",
    "waitress>=3.0.2",
    # Later ones report that a file was opened; pypiserver takes that for a change, and its own
    # reading of files empties its cache with each page.
    "watchdog<2.2",
)
_ORIGINAL = ("pypi-insiders==1.1.1", "twine==6.1.0")
_APPS = Path(__file__).with_name("bench_apps.py")
_START_S = 120
_RETRY_S = 0.01
_END_S = 20


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Args:
        simple: the URL to which a project's name and a slash are added.
        pid: of its only process.
        connections: how many clients it bears.
    """

    simple: str
    pid: int
    connections: int = 8

    def page(self, project: str) -> str:
        """Tell the URL of a project's page."""
        return f"{self.simple}{project}/"

    def cpu_s(self) -> float:
        """Tell how long it has worked, in the kernel too."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        user, system = fields[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self, field: str = "VmRSS") -> float:
        """Tell how much memory it has (`VmRSS`), or had at most (`VmHWM`)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
        assert found, status
        return int(found[1]) / 1024


class Page(NamedTuple):
    """What a server answered, with success."""

    content_type: str
    body: bytes

    def files(self, url: str) -> dict[str, str]:
        """Tell the URL of each file on a project's page, by the file's name."""
        if "json" in self.content_type:
            found = [file["url"] for file in json.loads(self.body)["files"]]
        else:
            found = re.findall(r'href="([^"#]+)', self.body.decode())
        return {link.rpartition("/")[2]: urllib.parse.urljoin(url, link) for link in found}


def fetch(url: str) -> Page:
    """Get a page, as JSON where the server knows that.

    Raises:
        RuntimeError: it is not there.
    """
    return next(fetch_all([url]))


def fetch_all(urls: list[str]) -> Iterator[Page]:
    """Get pages of one server one by one, over one connection if the server keeps it.

    Raises:
        RuntimeError: one is not there.
    """
    first = urllib.parse.urlsplit(urls[0])
    connection = http.client.HTTPConnection(first.hostname or "", first.port, timeout=_START_S)
    with contextlib.closing(connection):
        for url in urls:
            connection.request("GET", urllib.parse.urlsplit(url).path, headers={"Accept": JSON})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{url} answers {answer.status}")
            yield Page(answer.headers["Content-Type"], body)


@contextmanager
def started(
    *argv: str | Path,
    env: Mapping[str, str],
    is_ready: Callable[[subprocess.Popen[str]], bool],
    stdout: int | None = None,
    stderr: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Start a server, wait until it is ready, and end it after use.

    Args:
        argv: its command line.
        env: its environment.
        is_ready: waits until it is, or tells that it never will be.
        stdout: where it goes; by default to a log, as a pipe that nobody reads fills up.
        stderr: likewise.

    Raises:
        RuntimeError: it does not come up.
    """
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(
        argv, env=env, text=True, stdin=subprocess.DEVNULL,
        stdout=log if stdout is None else stdout, stderr=log if stderr is None else stderr,
    ) as process:  # fmt: skip
        try:
            if not is_ready(process):
                process.kill()
                log.seek(0)
                raise RuntimeError(f"{argv[0]} did not start\n{log.read()}")
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a server as its user would, or by force."""
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()


@contextmanager
def _printing_its_url(*argv: str | Path, env: Mapping[str, str]) -> Iterator[Server]:
    url = ""

    def is_ready(process: subprocess.Popen[str]) -> bool:
        nonlocal url
        assert process.stdout
        url = process.stdout.readline().strip()
        return bool(url)

    with started(*argv, env=env, is_ready=is_ready, stdout=subprocess.PIPE) as process:
        yield Server(url, process.pid)


@contextmanager
def on_port(port: int, *argv: str | Path, env: Mapping[str, str]) -> Iterator[Server]:
    """Start a server, and wait until its port takes connections."""

    def is_ready(process: subprocess.Popen[str]) -> bool:
        descriptor = os.pidfd_open(process.pid)
        try:
            for _ in range(int(_START_S / _RETRY_S)):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    return True
                if select.select([descriptor], [], [], _RETRY_S)[0]:
                    return False  # it has ended
        finally:
            os.close(descriptor)
        return False

    with started(*argv, env=env, is_ready=is_ready) as process:
        yield Server(f"http://127.0.0.1:{port}/", process.pid)


@contextmanager
def ours(directory: Path, home: Path, *options: str) -> Iterator[Server]:
    """Run our index on a directory, for somebody who lives in a home."""
    argv: Argv = (COMMAND, "server", "run", "--port", "0", "--dist-dir", directory, *options)
    environment = home_environment(home) | {"MALLOC_ARENA_MAX": "1"}  # as its unit has
    with _printing_its_url(*argv, env=environment) as server:
        yield server


@contextmanager
def bare_app(*arguments: str | Path) -> Iterator[Server]:
    """Run one of the applications that do next to nothing."""
    with _printing_its_url(sys.executable, _APPS, *arguments, env=os.environ) as server:
        yield server


def install_peers() -> Path | None:
    """Install the peers of the index; return the directory of their commands."""
    return install("peers", *_PEERS)


def install_original() -> Path | None:
    """Install what had our name before us; return the directory of its commands."""
    return install("the original", *_ORIGINAL)


def install(named: str, *requirements: str) -> Path | None:
    """Install peers into a cache, once; return the directory of their commands.

    They are not among our dependencies, and make no test. Without them their rows are left out.
    """
    wanted = "\n".join((*requirements, sys.version))
    name = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    directory = default_paths().cache.with_name("pypi-insiders-bench") / name
    if not (directory / ".ready").exists():
        create: Argv = ("venv", "--quiet", "--clear", "--python", sys.executable, directory)
        fill: Argv = ("pip", "install", "--quiet", "--python", directory, *requirements)
        for arguments in (create, fill):
            done = subprocess.run([BIN / "uv", *arguments], stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                print(f"{named}: not installed\n{done.stderr}")
                return None
        (directory / ".ready").touch()
    return directory / "bin"


@contextmanager
def pypiserver(commands: Path, directory: Path, home: Path) -> Iterator[Server]:
    """Run pypiserver as it comes: with wsgiref, and without the cache that watchdog brings."""
    port = free_port()
    argv: Argv = ("run", "--interface", "127.0.0.1", "--port", str(port), "--server", "wsgiref",
                  "--backend", "simple-dir", directory)  # fmt: skip
    env = home_environment(home)
    # wsgiref has a backlog of 5, beyond which connections wait a second.
    with on_port(port, commands / "pypi-server", *argv, env=env) as server:
        yield replace(server, simple=f"{server.simple}simple/", connections=4)


@contextmanager
def pypiserver_for_uploads(commands: Path, directory: Path, home: Path) -> Iterator[Server]:
    """Run pypiserver so that anybody may upload, and so that it sends nobody elsewhere."""
    port = free_port()
    argv: Argv = ("run", "--interface", "127.0.0.1", "--port", str(port), "--passwords", ".",
                  "--authenticate", ".", "--disable-fallback", directory)  # fmt: skip
    with on_port(port, commands / "pypi-server", *argv, env=home_environment(home)) as server:
        yield server


@contextmanager
def pypiserver_tuned(commands: Path, directory: Path, home: Path) -> Iterator[Server]:
    """Run pypiserver as fast as it gets: under waitress, with its cache."""
    argv: Argv = (commands / "python", _APPS, "pypiserver", directory)
    with _printing_its_url(*argv, env=home_environment(home)) as server:
        yield replace(server, simple=f"{server.simple}simple/")


# For tests: by default, each start takes 6 s of processor to derive a key from a random secret.
DEVPI_WEAKLY = ("--argon2-memory-cost=8", "--argon2-parallelism=1", "--argon2-time-cost=1")


@contextmanager
def devpi_server(commands: Path, home: Path, *options: str) -> Iterator[Server]:
    """Run a devpi-server without indexes."""
    place, port, env = home / "devpi", free_port(), home_environment(home)
    run(commands / "devpi-init", "--serverdir", place, "--no-root-pypi", "--root-passwd", "of-root",
        env=env)  # fmt: skip
    argv: Argv = (
        commands / "devpi-server", "--serverdir", place, "--port", str(port), "--offline-mode",
        *options,
    )  # fmt: skip
    with on_port(port, *argv, env=env) as server:
        yield server


class DevpiIndex(NamedTuple):
    """An index of a user of devpi.

    Args:
        url: with a slash.
        token: with it instead of the password an upload takes a tenth of the time.
    """

    url: str
    token: str


def make_devpi_index(server: Server, user: str, password: str, *, volatile: bool) -> DevpiIndex:
    """Make a user of devpi and an index, in which files may be replaced if it is volatile."""
    root = server.simple
    _devpi("PUT", f"{root}{user}", {"password": password})
    login = {"user": user, "password": password}
    token = _devpi("POST", f"{root}+login", login)["result"]["password"]
    settings = {"bases": [], "volatile": volatile}
    _devpi("PUT", f"{root}{user}/dev", settings, f"{user}:{token}")
    return DevpiIndex(f"{root}{user}/dev/", token)


def _devpi(method: str, url: str, data: object, token: str = "") -> dict[str, dict[str, str]]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["X-Devpi-Auth"] = base64.b64encode(token.encode()).decode()
    request = urllib.request.Request(url, json.dumps(data).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=_START_S) as answer:
        found: dict[str, dict[str, str]] = json.load(answer)
    return found


@contextmanager
def devpi(commands: Path, files: list[Path], home: Path) -> Iterator[Server]:
    """Run a devpi-server with one index, and upload files to it."""
    with devpi_server(commands, home) as server:
        index = make_devpi_index(server, "bench", "bench", volatile=False)
        run(BIN / "uv", "publish", "--quiet", "--publish-url", index.url, "--username", "bench",
            "--password", index.token, *files, env=home_environment(home))  # fmt: skip
        yield replace(server, simple=f"{index.url}+simple/")


_NGINX = """\
daemon off;
master_process off;
pid {place}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  types {{}}
  default_type "{content_type}";
  client_body_temp_path {place}/body;
  proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi;
  scgi_temp_path {place}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; index index.html; }}
}}
"""


def find_nginx() -> str | None:
    """Find nginx, also where the PATH of a person does not lead."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")


@contextmanager
def nginx(command: str, root: Path, content_type: str, home: Path) -> Iterator[Server]:
    """Run nginx, in one process, on a directory of static files."""
    port = free_port()
    place = Path(tempfile.mkdtemp(prefix="nginx-", dir=home))
    configuration = place / "nginx.conf"
    configuration.write_text(
        _NGINX.format(place=place, port=port, root=root, content_type=content_type)
    )
    argv = (command, "-p", place, "-e", "stderr", "-c", configuration)
    with on_port(port, *argv, env=os.environ) as server:
        yield replace(server, simple=f"{server.simple}simple/")
