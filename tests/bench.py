"""Measure what a person waits for, side by side with a peer or the limit. Run by `make bench`.

`bench.py commands` and `bench.py index` measure only one part.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bench_index
from bench_servers import fetch, ours
from bench_tools import BIN, COMMAND, head, home_environment, milliseconds, row, run, timed
from projects import Project, create

RUNS = 7


def main() -> None:
    """Print a table of each part, or of those that are named."""
    parts = {"commands": commands, "index": bench_index.index}
    unknown = set(sys.argv[1:]) - set(parts)
    if unknown:
        sys.exit(f"usage: bench.py [{'] ['.join(parts)}]")
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load > processors / 2:
        print(f"load average {load:.1f} on {processors} processors: what is measured is noisy")
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory(prefix="pypi-insiders-bench-") as directory:
            parts[name](Path(directory))


def commands(directory: Path) -> None:
    """Measure the commands, in an empty directory."""
    environment = home_environment(directory)
    head()
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
    row_of_times(
        "first build of 10 small projects", ours_s, peer_s, "build --installer uv, one by one"
    )
    compare(
        "update, 10 repositories, nothing new",
        lambda: run(COMMAND, "update", env=environment),
        lambda: list_remotes(projects, environment),
        "10 git ls-remote at once",
    )
    with ours(directory / ".local/share/pypi-insiders/dists", directory) as server:
        for project in projects:
            fetch(server.page(project.name))
        row("resident memory of the index", f"{server.memory_mib():.1f} MiB")


def make(directory: Path, number: int) -> Project:
    """Make a small setuptools project with one release."""
    project = create(directory, f"project-{number}")
    project.write("1.0", backend="setuptools")
    project.push("v1.0")
    return project


def peer_build(trees: list[Path], output: Path, environment: dict[str, str]) -> None:
    """Build projects as a person would by hand."""
    for tree in trees:
        run(BIN / "pyproject-build", "--installer", "uv", "--outdir", output, tree, env=environment)


def list_remotes(projects: list[Project], environment: dict[str, str]) -> None:
    """Ask all repositories for their tags, at once."""
    with ThreadPoolExecutor(len(projects)) as pool:
        for project in projects:
            pool.submit(run, "git", "ls-remote", "--tags", project.url, env=environment)


def compare(what: str, mine: Callable[[], object], other: Callable[[], object], named: str) -> None:
    """Time two calls in turn, after one that does not count, and print the medians."""
    mine()
    other()
    pairs = [(timed(mine), timed(other)) for _ in range(RUNS)]
    ours_s, other_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    row_of_times(what, ours_s, other_s, named)


def row_of_times(what: str, ours_s: float, other_s: float, named: str) -> None:
    """Print one line of the table, in milliseconds."""
    row(what, milliseconds(ours_s), milliseconds(other_s), ours_s / other_s, named)


if __name__ == "__main__":
    main()
