"""Measure what a person waits for, side by side with a peer or the limit. Run by `make bench`.

`bench.py commands`, `bench.py update` and `bench.py index` measure only one part; `bench.py growth`
measures how costs grow.
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

import bench_index
import bench_status
import bench_update
import growth
from bench_servers import fetch, ours
from bench_tools import (
    COMMAND,
    Goal,
    costs,
    head,
    home_environment,
    in_turn,
    row,
    row_of_times,
    run,
)
from fixtures import Person

from pypi_insiders.repositories import registry
from pypi_insiders.repositories.repository import Repository

RUNS = 7
START_UP_ROUNDS = 15
START_UP_GOAL = 7


def main() -> None:
    """Print a table of each part, or of those that are named."""
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load > processors / 2:
        print(f"load average {load:.1f} on {processors} processors: what is measured is noisy")
    if sys.argv[1:2] == ["growth"]:
        growth.growth(sys.argv[2:])
        return
    parts = {"commands": commands, "update": bench_update.update, "index": bench_index.index}
    unknown = set(sys.argv[1:]) - set(parts)
    if unknown:
        sys.exit(f"usage: bench.py [{'] ['.join(parts)}], or bench.py growth [PART]...")
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory(prefix="pypi-insiders-bench-") as directory:
            parts[name](Path(directory))


def commands(directory: Path) -> None:
    """Measure the commands, in an empty directory."""
    environment = home_environment(directory)
    head()
    times_s = in_turn(
        lambda: run(COMMAND, "--version", env=environment),
        lambda: run(sys.executable, "-c", "import click", env=environment),
        RUNS,
    )
    row_of_times("--version", *times_s, "a Python program that imports click")
    _start_up(directory)
    bench_status.status(directory)
    distributions = directory / "dists"
    distributions.mkdir()
    bench_index.make_wheels(distributions, bench_index.FEW)
    with ours(distributions, directory) as server:
        for number in range(bench_index.FEW // bench_index.VERSIONS):
            fetch(server.page(f"proj-{number}"))
        row("resident memory of the index", f"{server.memory_mib():.1f} MiB")


def _start_up(directory: Path) -> None:
    """Measure what starting takes, against an interpreter that has nothing to do."""
    person = Person(directory / "start-up")
    person.paths.config.mkdir(parents=True)
    registry.save(
        person.paths.repositories, [Repository(f"me/{name}", name) for name in ("one", "two")]
    )
    typed = (("repos", "list"), ("status",))
    commands = [(Path(sys.executable), "-c", "pass"), *((COMMAND, *words) for words in typed)]
    idle, *ours = costs(commands, home_environment(person.home), START_UP_ROUNDS)
    for words, used in zip(typed, ours, strict=True):
        for what, mine_s, other_s in zip(("processor", "elapsed"), used, idle, strict=True):
            goal = Goal(START_UP_GOAL).says(mine_s / other_s)
            row_of_times(f"{' '.join(words)}, {what}", mine_s, other_s, "python -c pass", goal=goal)


if __name__ == "__main__":
    main()
