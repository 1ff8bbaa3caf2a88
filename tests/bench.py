"""Measure what a person waits for, side by side with a peer or the limit. Run by `make bench`."""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from projects import Project, create

BIN = Path(sys.executable).parent
COMMAND = BIN / "pypi-insiders"
RUNS = 7


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="pypi-insiders-bench-") as name:
        directory = Path(name)
        left_out = ("XDG_", "PYTHONDONTWRITEBYTECODE")
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(left_out)
        } | {"HOME": name}
        print(f"{'what':44} {'ours':>9} {'other':>9} {'ratio':>6}  other", flush=True)
        compare(
            "--version",
            lambda: run(COMMAND, "--version", env=environment),
            lambda: run(sys.executable, "-c", "import click", env=environment),
            "a Python program that imports click",
        )
        projects = [make(directory, number) for number in range(10)]
        for project in projects:
            at = f"me/{project.name}:{project.name}"
            run(COMMAND, "repos", "add", at, "--url", project.url, env=environment)
        trees = [directory / "peer" / project.name for project in projects]
        # The package cache is warm for both.
        warm = make(directory, 10)
        peer_build([warm.tree], directory / "warm", environment)
        ours_s = timed(lambda: run(COMMAND, "update", env=environment))
        for tree, project in zip(trees, projects, strict=True):
            run("git", "clone", "--quiet", project.remote, tree, env=environment)
        peer_s = timed(lambda: peer_build(trees, directory / "out", environment))
        row("first build of 10 small projects", ours_s, peer_s, "build --installer uv, one by one")
        compare(
            "update, 10 repositories, nothing new",
            lambda: run(COMMAND, "update", env=environment),
            lambda: list_remotes(projects, environment),
            "10 git ls-remote at once",
        )
        memory(environment)


def make(directory: Path, number: int) -> Project:
    """Make a small setuptools project with one release."""
    project = create(directory, f"project-{number}")
    project.write("1.0", backend="setuptools")
    project.push("v1.0")
    return project


def run(*argv: str | Path, env: dict[str, str]) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(argv, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{argv} ended with {done.returncode}\n{done.stderr}")


def peer_build(trees: list[Path], output: Path, environment: dict[str, str]) -> None:
    """Build projects as a person would by hand."""
    for tree in trees:
        run(BIN / "pyproject-build", "--installer", "uv", "--outdir", output, tree, env=environment)


def list_remotes(projects: list[Project], environment: dict[str, str]) -> None:
    """Ask all repositories for their tags, at once."""
    with ThreadPoolExecutor(len(projects)) as pool:
        for project in projects:
            pool.submit(run, "git", "ls-remote", "--tags", project.url, env=environment)


def memory(environment: dict[str, str]) -> None:
    """Print the resident memory of the index after some requests."""
    server = subprocess.Popen(
        [COMMAND, "server", "run", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout
        url = server.stdout.readline().strip()
        for number in range(10):
            run(sys.executable, "-c", "import sys, urllib.request as r; r.urlopen(sys.argv[1])",
                f"{url}project-{number}/", env=environment)  # fmt: skip
        status = Path(f"/proc/{server.pid}/status").read_text()
    finally:
        server.terminate()
        server.wait()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    print(f"{'resident memory of the index, MiB':44} {int(found[1]) / 1024:9.1f}")


def timed(call: Callable[[], None]) -> float:
    """Time one call, in seconds."""
    begun_s = time.perf_counter()
    call()
    return time.perf_counter() - begun_s


def compare(what: str, ours: Callable[[], None], other: Callable[[], None], named: str) -> None:
    """Time two calls in turn, after one that does not count, and print the medians."""
    ours()
    other()
    pairs = [(timed(ours), timed(other)) for _ in range(RUNS)]
    ours_s, other_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    row(what, ours_s, other_s, named)


def row(what: str, ours_s: float, other_s: float, named: str) -> None:
    """Print one line of the table, in milliseconds."""
    ratio = ours_s / other_s
    print(
        f"{what:44} {ours_s * 1000:6.0f} ms {other_s * 1000:6.0f} ms {ratio:6.2f}  {named}",
        flush=True,
    )


if __name__ == "__main__":
    main()
