"""Measure what another export costs when one file is new. Part of `make bench growth`."""

import statistics
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import wheels
from bench_tools import COMMAND, Argv, Goal, cost, home_environment, run
from fixtures import Person
from growth import file_counts, row_with_goal

from pypi_insiders.index import store
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import registry, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Check, RepositoryState
from pypi_insiders.util.files import sha256

AT = 50_000
ROUNDS = 5
VERSIONS = 50
NEW = "proj-0"
GOAL_S = Goal(0.5)


def measure(directory: Path) -> None:
    """Export indexes of all sizes, and once more after each of some new files."""
    new_s: dict[int, float] = {}
    same_s: dict[int, float] = {}
    for count in file_counts():
        person = Person(directory / str(count))
        furnish(person, count)
        environment = home_environment(person.home)
        argv: Argv = (COMMAND, "export", person.home / "web")
        run(*argv, env=environment)
        same_s[count] = statistics.median(cost(argv, environment)[0] for _ in range(ROUNDS))
        measured = []
        for number in range(ROUNDS):
            publish(person, NEW, f"{VERSIONS + number + 1}.0")
            measured.append(cost(argv, environment)[0])
        new_s[count] = statistics.median(measured)
    row_with_goal("export again, one file new, processor", "s", new_s, AT, GOAL_S)
    row_with_goal("export again, nothing new, processor", "s", same_s, AT, GOAL_S)


def furnish(person: Person, count: int) -> None:
    """Make an index of wheels, with the state of the repositories that they were built from."""
    paths = person.paths
    builds = defaultdict(list)
    for number in range(count):
        project = f"proj-{number // VERSIONS}"
        builds[project].append(_build(paths.distributions, project, f"{number % VERSIONS + 1}.0"))
    watched = [Repository(f"sponsor/{name}", name) for name in builds]
    paths.repositories.parent.mkdir(parents=True)
    registry.save(paths.repositories, watched)
    for item in watched:
        known = RepositoryState(item.project, builds[item.project or ""], item.remote)
        state.save(paths.state, item.name, known)
    state.save_checks(paths.state, {item.name: Check(int(time.time())) for item in watched})


def _build(directory: Path, project: str, version: str) -> Build:
    path = wheels.wheel(directory, project, version)
    return Build(f"v{version}", "0" * 40, version, int(time.time()), {path.name: sha256(path)})


def publish(person: Person, project: str, version: str) -> None:
    """Publish a wheel of a project of a watched repository `sponsor/PROJECT`, as an update does."""
    paths, name = person.paths, f"sponsor/{project}"
    build = _build(person.home / "new", project, version)
    with closing(MetadataCache(paths.record, paths.distributions)) as cache:
        store.publish(paths.distributions, cache, [person.home / "new" / it for it in build.files])
    known = state.load(paths.state, name)
    state.save(paths.state, name, replace(known, project=project, builds=[*known.builds, build]))
