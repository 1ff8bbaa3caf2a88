"""Measure the index side by side with its peers, and with the least that a server can do."""

import base64
import hashlib
import itertools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench_servers import (
    JSON,
    Page,
    Server,
    bare_app,
    devpi,
    fetch,
    fetch_all,
    find_nginx,
    install_peers,
    nginx,
    ours,
    pypiserver,
    pypiserver_tuned,
    started,
)
from bench_tools import (
    BIN,
    COMMAND,
    Argv,
    Goal,
    head,
    home_environment,
    row,
    run,
    timed,
    without_proxy_here,
)
from fixtures import free_port

from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import MetadataCache

SIZES = FEW, MANY, VERY_MANY = 20, 2_000, 20_000
VERSIONS = 5
PROJECT, FILE = "proj-0", "proj_0-1.0-py3-none-any.whl"
FILE_SIZE = 20_000
BIG_SIZE, BIG_CLIENTS = 100 << 20, 4
DEVPI_FILES = 200  # each upload takes 15 ms

ROUNDS, PEER_ROUNDS = 7, 3
SECONDS, SLOW_S, TURN_S = 1, 0.2, 18
COLD_RUNS = 5
COMPILE_RUNS, COMPILE_S = 5, 40

AS_FAST = Goal(0.8, at_least=True)
AS_FAST_WITH_MANY = Goal(0.9, at_least=True)
SMALL_MIB = Goal(40)
SOON_S = Goal(0.4)
NO_SLOWER = Goal(1.05)

# They need more than 200 packages, all of which have wheels.
REQUIREMENTS = (
    "apache-airflow",
    "celery[redis]",
    "dask[complete]",
    "fastapi[standard]",
    "jupyterlab",
    "mkdocs-material",
    "poetry",
    "scikit-learn",
    "sphinx",
)
PACKAGES = 200

LOAD = Path(__file__).resolve().parents[1] / "support/load.py"
PAGE = "project page, {:,} files, requests/s"
FILE_OF = "file of 20 kB, {:,} files, requests/s"
CPU = "CPU for each, µs"
Pairs = list[tuple[float, float]]


class Target(NamedTuple):
    """What to ask which server for."""

    server: Server
    url: str


class Run(NamedTuple):
    """What one short run under load has shown."""

    per_second: float
    cpu_us: float


Runs = list[tuple[Run, Run]]


def index(directory: Path) -> None:
    """Measure the index, in an empty directory, and print the table."""
    without_proxy_here()
    wheels = make_all_wheels(directory)
    peers = install_peers()
    if find_nginx() is None:
        print("nginx: not installed")
    head()
    speed(wheels, directory, peers)
    home = memory(wheels[MANY], directory, peers)
    memory_of_downloads(directory)
    cold_socket(wheels[MANY], directory, home)
    resolution(wheels[MANY], directory)


def make_all_wheels(directory: Path) -> dict[int, Path]:
    """Make a directory of wheels for each size; the smaller ones have the first of the largest."""
    found = {size: directory / f"wheels-{size}" for size in SIZES}
    for path in found.values():
        path.mkdir()
    make_wheels(found[VERY_MANY], VERY_MANY)
    for size in (FEW, MANY):
        for name in map(wheel_name, range(size)):
            (found[size] / name).hardlink_to(found[VERY_MANY] / name)
    return found


def wheel_name(number: int) -> str:
    """Name one of the wheels; five after each other are the versions of one project."""
    return f"proj_{number // VERSIONS}-{number % VERSIONS + 1}.0-py3-none-any.whl"


def make_wheels(directory: Path, number: int, size: int = FILE_SIZE) -> None:
    """Make wheels of about a size, with content that cannot be compressed."""
    padding = random.Random(1).randbytes(size - 1_000)  # the rest takes some hundred bytes
    padding_hash = record_hash(padding)
    for path in (directory / wheel_name(each) for each in range(number)):
        project, version, *_ = path.name.split("-")
        info = f"{project}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {project.replace('_', '-')}\nVersion: {version}\n"
        tags = "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        record = (
            f"{project}/padding.bin,sha256={padding_hash},{len(padding)}\n"
            f"{info}/METADATA,sha256={record_hash(metadata.encode())},{len(metadata)}\n"
            f"{info}/WHEEL,sha256={record_hash(tags.encode())},{len(tags)}\n"
            f"{info}/RECORD,,\n"
        )
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{project}/padding.bin", padding)
            archive.writestr(f"{info}/METADATA", metadata)
            archive.writestr(f"{info}/WHEEL", tags)
            archive.writestr(f"{info}/RECORD", record)


def record_hash(content: bytes) -> str:
    """Hash as a wheel's RECORD wants it."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def new_home(directory: Path) -> Path:
    """Make an empty home."""
    return Path(tempfile.mkdtemp(prefix="home-", dir=directory))


def speed(wheels: dict[int, Path], directory: Path, peers: Path | None) -> None:
    """Ask for one project's page, and for one file, as fast as they come."""
    with ExitStack() as stack:
        enter = stack.enter_context
        servers = {size: enter(ours(path, new_home(directory))) for size, path in wheels.items()}
        pages = {size: Target(server, server.page(PROJECT)) for size, server in servers.items()}
        found = {size: fetch(page.url) for size, page in pages.items()}
        files = {
            size: Target(server, found[size].files(pages[size].url)[FILE])
            for size, server in servers.items()
        }
        hello = {
            size: enter(bare_app("page", str(len(page.body)), page.content_type))
            for size, page in found.items()
        }
        wrapper = enter(bare_app("file", wheels[FEW] / FILE))
        against_limit(PAGE, {size: (pages[size], whole(hello[size])) for size in SIZES})
        (runs,) = in_turn([(pages[VERY_MANY], pages[FEW])], ROUNDS)
        named = f"ours with {FEW} files"
        compared(PAGE.format(VERY_MANY), per_second(runs), named, AS_FAST_WITH_MANY)
        compared(f"... {CPU}", cpu_us(runs), named)
        against_limit(FILE_OF, {size: (files[size], whole(wrapper)) for size in SIZES})
        for size, path in wheels.items():
            for named, start in other_indexes(size, path, directory, peers):
                with start as server:
                    targets = [(pages[size], Target(server, server.page(PROJECT)))]
                    (runs,) = in_turn(targets, PEER_ROUNDS)
                compared(PAGE.format(size), per_second(runs), named)
            with static(found[size], path, directory) as export:
                if export is None:
                    continue
                url = urllib.parse.urljoin(export.simple, f"/packages/{FILE}")
                targets = [
                    (pages[size], Target(export, export.page(PROJECT))),
                    (files[size], Target(export, url)),
                ]
                both = in_turn(targets, PEER_ROUNDS)
                for what, runs in zip((PAGE, FILE_OF), both, strict=True):
                    compared(what.format(size), per_second(runs), "nginx, static file")


def against_limit(what: str, targets: dict[int, tuple[Target, Target]]) -> None:
    """Measure ours and the least that a server can do, and print both."""
    named = "hello world" if what is PAGE else "wsgi.file_wrapper"
    found = in_turn(list(targets.values()), ROUNDS)
    for size, runs in zip(targets, found, strict=True):
        compared(what.format(size), per_second(runs), f"{named} under waitress", AS_FAST)
        compared(f"... {CPU}", cpu_us(runs), f"{named} under waitress")


def whole(server: Server) -> Target:
    """Aim at a server that answers everything alike."""
    return Target(server, server.simple)


def in_turn(targets: list[tuple[Target, Target]], rounds: int) -> list[Runs]:
    """Put load on ours and on another one, several times.

    They take turns in short runs, so that both have the machine at its best and at its worst.
    """
    begun_s = time.monotonic()
    found: list[Runs] = [[] for _ in targets]
    for _ in range(rounds):
        for runs, (mine, other) in zip(found, targets, strict=True):
            runs.append((under_load(mine), under_load(other)))
        if time.monotonic() - begun_s > TURN_S * len(targets):
            break  # so slow that one more round would tell nothing new
    return found


def under_load(target: Target) -> Run:
    """Ask one server as fast as it answers, for a short time."""
    # Where one answer takes long, eight at once would make a short run a matter of luck.
    is_slow = timed(partial(fetch, target.url)) > SLOW_S
    connections = 1 if is_slow else target.server.connections
    options = ("--connections", str(connections), "--seconds", str(SECONDS))
    argv = (sys.executable, LOAD, target.url, *options, "--header", f"Accept: {JSON}")
    before_s = target.server.cpu_s()
    counted = json.loads(run(*argv, env=os.environ))
    used_s = target.server.cpu_s() - before_s
    return Run(counted["per_second"], used_s / counted["requests"] * 1e6)


def per_second(runs: Runs) -> Pairs:
    """Tell how many requests each answered in a second."""
    return [(mine.per_second, other.per_second) for mine, other in runs]


def cpu_us(runs: Runs) -> Pairs:
    """Tell how long each kept a processor busy for one answer; no steadier than the rates."""
    return [(mine.cpu_us, other.cpu_us) for mine, other in runs]


@contextmanager
def static(page: Page, wheels: Path, directory: Path) -> Iterator[Server | None]:
    """Run nginx, where it is installed, on the same page, rendered before, and the same files."""
    command = find_nginx()
    if command is None:
        yield None
        return
    root = Path(tempfile.mkdtemp(prefix="export-", dir=directory))
    (root / "simple" / PROJECT).mkdir(parents=True)
    (root / "simple" / PROJECT / "index.html").write_bytes(page.body)
    (root / "packages").symlink_to(wheels)
    with nginx(command, root, page.content_type, new_home(directory)) as server:
        yield server


def other_indexes(
    size: int, wheels: Path, directory: Path, peers: Path | None
) -> Iterator[tuple[str, AbstractContextManager[Server]]]:
    """Tell which other indexes can serve these wheels, or the first of them."""
    if peers is None:
        return
    yield "pypiserver, wsgiref", pypiserver(peers, wheels, new_home(directory))
    home = new_home(directory)
    yield "pypiserver, waitress, cached-dir", pypiserver_tuned(peers, wheels, home)
    number = min(size, DEVPI_FILES)
    files = [wheels / wheel_name(each) for each in range(number)]
    yield f"devpi-server, {number} files", devpi(peers, files, new_home(directory))


def memory(wheels: Path, directory: Path, peers: Path | None) -> Path:
    """See how much memory an index has after each project's page was asked for once.

    Returns:
        The home of ours, which knows all files now.
    """
    what = f"memory after all pages of {MANY:,} files, MiB"
    home = new_home(directory)
    with ours(wheels, home) as server:
        mine_mib = after_all_pages(server, MANY)
    row(what, written(mine_mib), goal=SMALL_MIB.says(mine_mib))
    # Without its cache pypiserver takes a minute, and the same memory.
    others = itertools.islice(other_indexes(MANY, wheels, directory, peers), 1, None)
    for named, start in others:
        with start as server:
            number = DEVPI_FILES if named.startswith("devpi") else MANY
            compared(what, [(mine_mib, after_all_pages(server, number))], named)
    return home


def after_all_pages(server: Server, files: int) -> float:
    """Ask for all pages of so many files; tell the memory then, in MiB."""
    pages = [server.page(f"proj-{number}") for number in range(files // VERSIONS)]
    for page in fetch_all(pages):
        assert len(page.files(server.simple)) == VERSIONS
    return server.memory_mib()


def memory_of_downloads(directory: Path) -> None:
    """See by how much four downloads of a large file at once make a server grow."""
    wheels = directory / "wheels-big"
    wheels.mkdir()
    make_wheels(wheels, 1, BIG_SIZE)
    with ours(wheels, new_home(directory)) as server:
        page = server.page(PROJECT)
        mine_mib = growth(server, fetch(page).files(page)[FILE])
    with bare_app("file", wheels / FILE) as server:
        other_mib = growth(server, server.simple)
    what = f"growth by {BIG_CLIENTS} downloads of {BIG_SIZE >> 20} MiB at once, MiB"
    compared(what, [(mine_mib, other_mib)], "wsgi.file_wrapper under waitress")


def growth(server: Server, url: str) -> float:
    """Download a file several times at once; tell by how much the server grew meanwhile, in MiB."""
    before_mib = server.memory_mib()
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # forgets the peak; see proc(5)
    with ThreadPoolExecutor(BIG_CLIENTS) as pool:
        sizes = set(pool.map(download, [url] * BIG_CLIENTS))
    assert len(sizes) == 1
    assert sizes.pop() > BIG_SIZE - 1_000
    return server.memory_mib("VmHWM") - before_mib


def download(url: str) -> int:
    """Read a file to its end, keeping nothing; tell its size."""
    with urllib.request.urlopen(url) as answer:
        return sum(map(len, iter(lambda: answer.read(1 << 16), b"")))


def cold_socket(wheels: Path, directory: Path, known: Path) -> None:
    """See how long the first client waits that makes systemd start the index.

    Args:
        wheels: what it serves.
        directory: for what is made.
        known: the home of one that has served these wheels before.
    """
    if shutil.which("systemd-socket-activate") is None:
        print("systemd-socket-activate: not installed")
        return
    pairs = [
        (first_answer(wheels, new_home(directory)), first_answer(wheels, known))
        for _ in range(COLD_RUNS)
    ]
    what = f"cold socket to page, {MANY:,} files"
    known_s = median(known_s for _, known_s in pairs)
    row(f"{what} known before, s", written(known_s), goal=SOON_S.says(known_s))
    compared(f"{what} never seen, s", pairs, "the same, known before")
    whole = (partial(examine_all, wheels, directory), partial(hash_all, wheels))
    pairs = [(timed(whole[0]), timed(whole[1])) for _ in range(PEER_ROUNDS)]
    compared(f"all of {MANY:,} files never seen, s", pairs, "hashing and unpacking the metadata")


def examine_all(wheels: Path, directory: Path) -> None:
    """Find out what each file is, as the index does, and remember it."""
    database = Path(tempfile.mkdtemp(dir=directory), "record.sqlite")
    with closing(MetadataCache(database, wheels)) as record:
        catalog = Catalog(wheels, record)
        projects = filter(None, map(catalog.project, catalog.projects()))
        assert sum(len(project.files) for project in projects) == MANY


def hash_all(wheels: Path) -> None:
    """Read what an index must have read of each file, and nothing else."""
    for path in wheels.iterdir():
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
            with zipfile.ZipFile(file) as archive:
                archive.read(next(name for name in archive.namelist() if name.endswith("METADATA")))


def first_answer(wheels: Path, home: Path) -> float:
    """Start the index by a connection to its socket; tell how long its first page takes."""
    environment, port = home_environment(home), free_port()
    inside = [f"--setenv={name}" for name in environment]
    command: Argv = (COMMAND, "server", "run", "--dist-dir", wheels)
    argv: Argv = ("systemd-socket-activate", f"--listen=127.0.0.1:{port}", *inside, *command)

    def is_ready(process: subprocess.Popen[str]) -> bool:
        assert process.stdout
        return "Listening" in process.stdout.readline()

    answer = b""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with started(*argv, env=environment, is_ready=is_ready, **pipes):
        begun_s = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            lines = (f"GET /simple/{PROJECT}/ HTTP/1.1", f"Host: 127.0.0.1:{port}",
                     f"Accept: {JSON}", "Connection: close", "", "")  # fmt: skip
            connection.sendall("\r\n".join(lines).encode())
            while chunk := connection.recv(1 << 16):
                answer += chunk
        taken_s = time.perf_counter() - begun_s
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert answer.count(FILE.encode()) > 0, answer
    return taken_s


def resolution(wheels: Path, directory: Path) -> None:
    """See how much longer uv resolves public packages if the index sends it on."""
    names = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
    given = (os.environ[name] for name in names if os.environ.get(name))
    fallback_url = next(given, "https://pypi.org/simple/")
    nothing = directory / "wheels-0"
    nothing.mkdir()
    for number, own in ((0, nothing), (MANY, wheels)):
        with ours(own, new_home(directory), "--fallback-url", fallback_url) as server:
            urls = (server.simple, fallback_url)
            # What is between here and the public index is warm for both.
            packages, _ = (compile_all(url, directory) for url in urls)
            pairs: Pairs = []
            for turn in range(COMPILE_RUNS):
                if sum(map(sum, pairs)) > COMPILE_S:
                    break  # so slow that one more pair would tell nothing new
                taken_s = {
                    url: timed(partial(compile_all, url, directory))
                    for url in (urls if turn % 2 else reversed(urls))
                }
                pairs.append((taken_s[urls[0]], taken_s[urls[1]]))
        what = f"cold uv pip compile, {packages} packages, {number:,} own files, s"
        compared(what, pairs, "uv with the public index", NO_SLOWER)


def compile_all(index_url: str, directory: Path) -> int:
    """Resolve the requirements with nothing in the cache; tell how many packages they need."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        requirements = Path(name, "requirements.in")
        requirements.write_text("\n".join(REQUIREMENTS))
        others = ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
        environment = {
            key: value for key, value in home_environment(Path(name)).items() if key not in others
        } | {"UV_DEFAULT_INDEX": index_url}
        pinned = run(BIN / "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate",
                     "--only-binary", ":all:", "--python", sys.executable,
                     "--cache-dir", Path(name, "cache"), requirements, env=environment)  # fmt: skip
    number = len(pinned.splitlines())
    assert number > PACKAGES, pinned
    return number


def compared(what: str, pairs: Pairs, named: str, goal: Goal | None = None) -> None:
    """Print the medians of ours and of the other, and the median of their ratios."""
    mine, other = (median(values) for values in zip(*pairs, strict=True))
    ratio = median(mine / other for mine, other in pairs)
    row(what, written(mine), written(other), ratio, named, goal=goal.says(ratio) if goal else "")


def written(value: float) -> str:
    """Write a value with three digits or more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
