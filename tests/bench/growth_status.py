"""Measure how `status` and `doctor` grow with the repositories."""

import contextlib
import resource
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import bench_status
import growth
from bench_tools import COMMAND, Goal, costs, home_environment
from fixtures import Person

AT = 1000
ROUNDS = 3
STATUS_GOAL_S, DOCTOR_GOAL_S = 0.3, 2
AT_ONCE = 16  # as doctor does


class _Costs(NamedTuple):
    processor_s: dict[int, float]
    elapsed_s: dict[int, float]


def measure(directory: Path) -> None:
    """Measure both with 20 releases of two files each, everything as the last update left it."""
    forge = _forge(directory)
    status, doctor, git = (_Costs({}, {}) for _ in range(3))
    for count in growth.repository_counts():
        person = Person(directory / str(count))
        bench_status.furnish(person, count, forge)
        # Nothing listens there: PyPI would be measured otherwise.
        text = '[server]\nfallback-url = "http://127.0.0.1:9/simple/"\n'
        person.paths.settings.write_text(text)
        environment = home_environment(person.home)
        with contextlib.chdir(person.home):  # below which doctor looks for lock files
            found = costs([(COMMAND, "status"), (COMMAND, "doctor")], environment, ROUNDS)
            found.append(_bare(count, forge, environment))
        for costs_of, pair in zip((status, doctor, git), found, strict=True):
            costs_of.processor_s[count], costs_of.elapsed_s[count] = pair
    growth.row("status, processor", "s", status.processor_s)
    growth.row_with_goal("status, elapsed", "s", status.elapsed_s, AT, Goal(STATUS_GOAL_S))
    growth.row("doctor, processor", "s", doctor.processor_s)
    growth.row_with_goal("doctor, elapsed", "s", doctor.elapsed_s, AT, Goal(DOCTOR_GOAL_S))
    growth.row("as many bare `git ls-remote`, processor", "s", git.processor_s)
    growth.row("as many bare `git ls-remote`, elapsed", "s", git.elapsed_s)


def _forge(directory: Path) -> str:
    """Make a repository with a tag, and return its URL."""
    path = directory / "forge.git"
    git = ("git", "-C", str(path), "-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(("git", "init", "-q", "--bare", str(path)), check=True)
    tree = subprocess.run(
        (*git, "mktree"), input="", capture_output=True, text=True, check=True
    ).stdout.strip()
    commit = subprocess.run(
        (*git, "commit-tree", "-m", "a", tree), capture_output=True, text=True, check=True
    ).stdout.strip()
    subprocess.run((*git, "tag", "v19", commit), check=True)
    return path.as_uri()


def _bare(count: int, url: str, environment: dict[str, str]) -> tuple[float, float]:
    """List the tags as often; return the processor time and the elapsed time, in seconds."""
    before, begun_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda _: _list_tags(url, environment), range(count)))
    took_s = time.perf_counter() - begun_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took_s


def _list_tags(url: str, environment: dict[str, str]) -> None:
    argv = ("git", "ls-remote", "--tags", "--", url)
    subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, check=True)
