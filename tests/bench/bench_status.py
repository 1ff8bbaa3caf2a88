"""Measure how long a person waits for the state of everything."""

import contextlib
import subprocess
import time
from pathlib import Path

from bench_tools import COMMAND, Goal, home_environment, in_turn, milliseconds, row
from fixtures import Person

from pypi_insiders.config.paths import Paths
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache
from pypi_insiders.repositories import held_names, registry, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Check, RepositoryState

REPOSITORIES = 100
RELEASES = 20
RUNS = 7
GOAL_S = 0.5


def status(directory: Path) -> None:
    """Measure `status` with many repositories; the services too, where there is a user manager."""
    person = Person(directory / "status")
    furnish(person, REPOSITORIES)
    environment = home_environment(person.home)

    def run(*typed: str) -> None:
        done = subprocess.run([COMMAND, *typed], env=environment, capture_output=True, text=True)
        if done.returncode not in (0, 1, 3):
            raise SystemExit(done.stderr)

    ours_s, other_s = in_turn(lambda: run("status"), lambda: run("--version"), RUNS)
    row(
        f"status, {REPOSITORIES} repositories with {RELEASES} releases each",
        milliseconds(ours_s), milliseconds(other_s), ours_s / other_s, "--version",
        goal=Goal(GOAL_S * 1000).says(ours_s * 1000),
    )  # fmt: skip


def furnish(person: Person, repositories: int, url: str | None = None) -> None:
    """Make the state of somebody who has been watching for long, as the last update left it.

    Args:
        person: whose files are written.
        repositories: how many are watched.
        url: of all of them.
    """
    paths, now_s = person.paths, int(time.time())
    watched = [Repository(f"sponsor/project-{n}", f"project-{n}", url) for n in range(repositories)]
    registry.save(paths.repositories, watched)
    paths.distributions.mkdir(parents=True)
    paths.state.mkdir(parents=True)
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
        for item in watched:
            builds = [_release(paths, item, number, now_s, record) for number in range(RELEASES)]
            state.save(paths.state, item.name, RepositoryState(item.project, builds, item.remote))
    state.save_checks(paths.state, {item.name: Check(now_s) for item in watched})
    held_names.sync(paths)


def _release(
    paths: Paths, item: Repository, number: int, now_s: int, record: MetadataCache
) -> Build:
    stem = f"{item.project}-{number}".replace("project-", "project_", 1)
    files = dict.fromkeys((f"{stem}.tar.gz", f"{stem}-py3-none-any.whl"), "0" * 64)
    for name, digest in files.items():
        path = paths.distributions / name
        path.touch()
        identity = Identity.of(path.stat())
        record.put(Entry(name, identity, str(item.project), str(number), digest), None)
    return Build(f"v{number}", "0" * 40, str(number), now_s, files)
