"""How the index grows with its files: its first page, its memory, and its requests a second."""

import base64
import hashlib
import os
import re
import shutil
import statistics
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench_servers import JSON, Server, fetch, fetch_all, find_nginx, on_port, ours
from bench_tools import COMMAND, Goal, home_environment, run, timed, without_proxy_here
from fixtures import free_port
from growth import file_counts, row, row_with_goal

MANY = 50_000
VERSIONS, NEW_FILES, LOOKS = 10, 10, 8
PROJECT = "proj-0"
SECONDS, CLIENTS = 3, 16
_DISTRIBUTIONS, _STATE = ".local/share/pypi-insiders/dists", ".local/state/pypi-insiders"
_GOALS = {
    "page after a new file, processor [s]": Goal(0.05),
    "page after a new file, median [s]": Goal(0.05),
    "memory after all pages [MiB]": Goal(80),
    "memory after the front page [MiB]": Goal(80),
    "export under nginx [requests/s]": Goal(30_000, at_least=True),
    "the same, with its password check by {SHA} [requests/s]": Goal(30_000, at_least=True),
}
_PASSWORD = "0123456789abcdef" * 4


def measure(directory: Path) -> None:
    """Measure an index of each size, after its cache of metadata was lost."""
    without_proxy_here()
    if shutil.which("wrk") is None:
        print("wrk: not installed, so no requests/s (`apt-get install wrk`)")
    homes = {number: directory / f"home-{number}" for number in file_counts()}
    for number, home in homes.items():
        make_wheels(home / _DISTRIBUTIONS, number)
    # Exports last: the first one of many files takes minutes.
    _print({number: _own(home, number) for number, home in homes.items()})
    _print({number: _exported(home) for number, home in homes.items()})


def _print(found: Mapping[int, Mapping[str, float]]) -> None:
    for label in next(iter(found.values())):
        measured = {number: values[label] for number, values in found.items()}
        what, _, unit = label.rpartition(" [")
        if goal := _GOALS.get(label):
            row_with_goal(what, unit[:-1], measured, MANY, goal)
        else:
            row(what, unit[:-1], measured)


def make_wheels(directory: Path, number: int) -> None:
    """Make wheels with the least that an index accepts; ten after each other are of one project."""
    directory.mkdir(parents=True)
    for each in range(number):
        make_wheel(directory, f"proj_{each // VERSIONS}", f"1.{each % VERSIONS}")


def make_wheel(directory: Path, project: str, version: str) -> None:
    """Make a wheel, and rename it into a directory, as an update does."""
    info = f"{project}-{version}.dist-info"
    with zipfile.ZipFile(directory / ".new", "w") as archive:
        metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
        archive.writestr(f"{info}/METADATA", f"{metadata}Requires-Python: >=3.9\n")
        archive.writestr(f"{info}/RECORD", "")
    # Old enough to be complete.
    os.utime(directory / ".new", (10**9, 10**9))
    (directory / ".new").rename(directory / f"{project}-{version}-py3-none-any.whl")


def processor_s(pid: int) -> float:
    """Return the processor time of all threads of a process; the ticks of stat(5) are too long."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _own(home: Path, number: int) -> dict[str, float]:
    found: dict[str, float] = {}
    distributions = home / _DISTRIBUTIONS
    with ours(distributions, home) as server:
        page = server.page(PROJECT)
        found["first page after the cache was lost, with the start, processor [s]"] = _used(
            server, page, from_start=True
        )
        found["front page while files are read, processor [s]"] = _used(
            server, server.simple.removesuffix("simple/")
        )
        pages = [server.page(f"proj-{each}") for each in range(max(1, number // VERSIONS))]
        for _ in fetch_all(pages):
            pass
        found["all pages after the cache was lost, processor [s]"] = processor_s(server.pid)
        found["memory after all pages [MiB]"] = server.memory_mib()
        found |= _front(server, home)
        used, took = [], []
        for each in range(NEW_FILES):
            make_wheel(distributions, "proj_0", f"2.{each}")
            before_s = processor_s(server.pid)
            took.append(timed(lambda: fetch(page)))
            used.append(processor_s(server.pid) - before_s)
        found["page after a new file, processor [s]"] = statistics.median(used)
        found["page after a new file, median [s]"] = statistics.median(took)
        if shutil.which("wrk"):
            found["own page [requests/s]"], cost_s = _under_load(page, [server.pid])
            found["own page, processor [µs]"] = cost_s * 1e6
    return found


def _front(server: Server, home: Path) -> dict[str, float]:
    """Open the front page until that takes no further memory, each time after a change of state."""
    used_s, changed = [], home / _STATE / "changed"
    for _ in range(LOOKS):
        changed.touch()
        changed.unlink()
        used_s.append(_used(server, server.simple.removesuffix("simple/")))
    return {
        "front page after a change of state, processor [s]": statistics.median(used_s),
        "memory after the front page [MiB]": server.memory_mib(),
    }


def _used(server: Server, url: str, *, from_start: bool = False) -> float:
    before_s = 0.0 if from_start else processor_s(server.pid)
    fetch(url)
    return processor_s(server.pid) - before_s


def _exported(home: Path) -> dict[str, float]:
    """Serve an export with the settings that it has for nginx, without a password and with one."""
    found: dict[str, float] = {}
    command = find_nginx()
    if command is None or shutil.which("wrk") is None:
        return found
    root = Path(tempfile.mkdtemp(prefix="export-", dir=home.parent))
    run(COMMAND, "export", root, env=home_environment(home))
    plain, checked = "export under nginx", "the same, with its password check by"
    for named, line in _readers().items():
        what = f"{checked} {named}" if line else plain
        with _nginx(command, root, line) as server:
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
            workers = [int(word) for word in children.split()]
            per_second, cost_s = _under_load(server.page(PROJECT), workers, is_reader=bool(line))
        found[f"{what} [requests/s]"] = per_second
        found[f"{what}, processor [µs]"] = cost_s * 1e6
    shutil.rmtree(root)
    return found


def _readers() -> dict[str, str]:
    """Return lines of a password file of nginx, by how they are hashed; empty: no password."""
    digest = base64.b64encode(hashlib.sha1(_PASSWORD.encode()).digest()).decode()
    found = {"no password": "", "{SHA}": f"ada:{{SHA}}{digest}"}
    if shutil.which("openssl"):
        for option, named in (("-apr1", "apr1"), ("-6", "SHA-512")):
            argv = ("openssl", "passwd", option, "-salt", "saltsalt", _PASSWORD)
            found[named] = f"ada:{run(*argv, env=os.environ).strip()}"
    return found


_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {place}/pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {place}/body;
  proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi;
  scgi_temp_path {place}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; {password} include {root}/nginx.conf; }}
}}
"""


@contextmanager
def _nginx(command: str, root: Path, line: str) -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pypi-insiders-nginx-") as name:
        place = Path(name)
        # Workers are of another user.
        for path in (place, root, root.parent):
            path.chmod(0o755)
        (place / "readers").write_text(f"{line}\n")
        (place / "readers").chmod(0o644)
        password = f'auth_basic "index"; auth_basic_user_file {place}/readers;' if line else ""
        configuration = _CONFIGURATION.format(place=place, port=port, root=root, password=password)
        (place / "nginx.conf").write_text(configuration)
        argv = (command, "-p", place, "-e", "stderr", "-c", place / "nginx.conf")
        with on_port(port, *argv, env=os.environ) as server:
            yield Server(f"{server.simple}simple/", server.pid)


def _under_load(url: str, pids: list[int], *, is_reader: bool = False) -> tuple[float, float]:
    """Return how many requests are answered in a second, and the processor time of each in s.

    wrk shares the processors with the server: as the least expensive client it takes the least.
    """
    argv = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{SECONDS}", "-H", f"Accept: {JSON}"]
    if is_reader:
        user = base64.b64encode(f"ada:{_PASSWORD}".encode()).decode()
        argv += ["-H", f"Authorization: Basic {user}"]
    before_s = sum(map(processor_s, pids))
    printed = run(*argv, url, env=os.environ)
    used_s = sum(map(processor_s, pids)) - before_s
    assert "Non-2xx" not in printed, printed
    requests = re.search(r"(\d+) requests in", printed)
    rate = re.search(r"Requests/sec: +([\d.]+)", printed)
    assert requests is not None, printed
    assert rate is not None, printed
    return float(rate[1]), used_s / int(requests[1])
