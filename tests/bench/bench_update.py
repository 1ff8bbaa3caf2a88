"""Measure `update` side by side with git, with `build`, and with the original of our name."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench_assets import assets
from bench_servers import install_original, pypiserver_for_uploads
from bench_tools import (
    BIN,
    COMMAND,
    Goal,
    head,
    home_environment,
    in_turn,
    row_of_times,
    run,
    timed,
    without_proxy_here,
)
from projects import Project, create

FEW, MANY = 10, 100
RUNS = 5
AT_ONCE = 16
CONNECT_S = 0.3

CHECK_TIMES, START_S = 1.3, 0.25
CHECK_OF_MANY = Goal(8)
FIRST_BUILD = Goal(0.35)

# As a forge does: whatever path is asked for lies below one directory.
_SSH = """\
#!/bin/sh
sleep "$CONNECT_S"
for command; do :; done
cd "{directory}/git" && eval "exec $command"
"""
_ORIGINAL = "the original, pypi-insiders 1.1.1"
_CHECK = "update, {} repositories, nothing new"
_BUILD = f"first build of {FEW} small setuptools projects"


@dataclass(frozen=True)
class Side:
    """Somebody who watches repositories, with ours or with the original.

    Args:
        command: which one.
        environment: theirs.
        distributions: where what is built ends up.
        options: what `update` needs beside.
    """

    command: Path
    environment: dict[str, str]
    distributions: Path
    options: tuple[str, ...] = ()

    def watch(self, projects: list[Project]) -> None:
        """Add repositories to those that are watched."""
        names = (f"{at(project)}:{project.name}" for project in projects)
        run(self.command, "repos", "add", *names, env=self.environment)

    def update(self) -> None:
        """Bring all that is watched up to date."""
        run(self.command, "update", *self.options, env=self.environment)

    def is_sandboxed(self, project: Project) -> bool:
        """Tell whether a project was built in a sandbox; of ours."""
        known = run(self.command, "show", at(project), "--json", env=self.environment)
        return bool(json.loads(known)["builds"][0]["sandboxed"])

    def build(self, projects: list[Project]) -> float:
        """Build the first release of each, which nobody has seen before; tell how long it took."""
        self.watch(projects)
        taken_s = timed(self.update)
        for project in projects:
            built = list(self.distributions.glob(f"{project.package.name}-1.0*"))
            assert len(built) == 2, f"{self.command} has built {built} of {project.name}"
        return taken_s

    def warm_up(self, project: Project) -> None:
        """Fill the package cache."""
        self.build([project])
        run(self.command, "repos", "remove", at(project), env=self.environment)


def update(directory: Path) -> None:
    """Measure `update`, in an empty directory, and print the table."""
    without_proxy_here()
    ssh = directory / "ssh"
    ssh.write_text(_SSH.format(directory=directory))
    ssh.chmod(0o755)
    warm, *few = [make(directory, f"insiders-bench-{number}") for number in range(FEW + 1)]
    commands = install_original()
    head()
    mine = ours(directory / "ours", ssh)
    mine.warm_up(warm)
    ours_s = mine.build(few)
    if commands:
        with original(commands, directory / "original", ssh) as other:
            other.warm_up(warm)
            other_s = other.build(few)
            goal = FIRST_BUILD.says(ours_s / other_s)
            row_of_times(_BUILD, ours_s, other_s, _ORIGINAL, goal=goal)
            times_s = in_turn(mine.update, other.update, RUNS)
            row_of_times(_CHECK.format(FEW), *times_s, _ORIGINAL)
    print(f"builds of ours: {'sandboxed' if mine.is_sandboxed(warm) else 'not sandboxed'}")
    other_s = build_by_hand(few, directory / "by-hand", mine.environment)
    row_of_times(_BUILD, ours_s, other_s, "build --installer uv, one by one")
    checks_of_few(few, mine)
    checks_of_many(few, directory, ours(directory / "many", ssh))
    (directory / "assets").mkdir()
    assets(directory / "assets")


def ours(home: Path, ssh: Path) -> Side:
    """Make somebody who uses ours, without a setting."""
    distributions = home / ".local/share/pypi-insiders/dists"
    return Side(COMMAND, environment_of(home, ssh), distributions)


@contextmanager
def original(commands: Path, home: Path, ssh: Path) -> Iterator[Side]:
    """Make somebody who uses the original, with a server that takes what it uploads."""
    environment, distributions = environment_of(home, ssh), home / "dists"
    distributions.mkdir()
    with pypiserver_for_uploads(commands, distributions, home) as server:
        options = ("--index-url", server.simple)
        yield Side(commands / "pypi-insiders", environment, distributions, options)


def environment_of(home: Path, ssh: Path) -> dict[str, str]:
    """Make the environment of somebody with an empty home, for whom ssh takes its time.

    What this machine tells git or pip, but not the others, is left out.
    """
    home.mkdir()
    left_out = ("GIT_", "PIP_FIND_LINKS", "PIP_CONSTRAINT", "UV_FIND_LINKS", "UV_CONSTRAINT")
    inherited = home_environment(home).items()
    return {key: value for key, value in inherited if not key.startswith(left_out)} | {
        "CONNECT_S": str(CONNECT_S),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_SSH_COMMAND": str(ssh),
        "GIT_SSH_VARIANT": "ssh",  # so that git does not try out which one it is
        "PIP_CONFIG_FILE": os.devnull,
    }


def make(directory: Path, name: str) -> Project:
    """Make a small setuptools project with one release."""
    project = create(directory, name)
    project.write("1.0", backend="setuptools")
    project.push("v1.0")
    return project


def at(project: Project) -> str:
    """Name the repository."""
    return f"me/{project.name}"


def build_by_hand(projects: list[Project], output: Path, environment: dict[str, str]) -> float:
    """Build projects as a person would by hand; tell how long it took."""
    output.mkdir()
    trees = [output / project.name for project in projects]
    for tree, project in zip(trees, projects, strict=True):
        run("git", "clone", "--quiet", project.remote, tree, env=environment)

    def build() -> None:
        for tree in trees:
            run(BIN / "pyproject-build", "--installer", "uv", tree, env=environment)

    return timed(build)


def checks_of_few(projects: list[Project], mine: Side) -> None:
    """Look for new tags where there are none, over ssh that is slow, and that takes no time."""
    here = replace(mine, environment=mine.environment | {"CONNECT_S": "0"})
    for side, when in ((mine, ""), (here, ", ssh at once")):
        listing = partial(list_remotes, projects, side.environment)
        ours_s, other_s = in_turn(side.update, listing, RUNS)
        goal = Goal(round(1000 * (CHECK_TIMES * other_s + START_S))) if side is mine else None
        what = _CHECK.format(FEW) + when
        row_of_times(
            what, ours_s, other_s, f"{FEW} git ls-remote, {AT_ONCE} at once",
            goal=goal.says(1000 * ours_s) if goal else "",
        )  # fmt: skip


def checks_of_many(few: list[Project], directory: Path, mine: Side) -> None:
    """Look for new tags in many repositories where there are none."""
    many = [create(directory, f"insiders-bench-many-{number}") for number in range(MANY)]
    for project in many:
        project.release("1.0")
    # What was built does not matter here, and takes its time.
    mine = replace(mine, environment=mine.environment | {"CONNECT_S": "0"})
    mine.build(many)
    mine = replace(mine, environment=mine.environment | {"CONNECT_S": str(CONNECT_S)})
    for projects, goal in ((few, CHECK_OF_MANY), (many, None)):
        listing = partial(list_remotes, projects, mine.environment)
        ours_s, other_s = in_turn(mine.update, listing, RUNS)
        row_of_times(
            _CHECK.format(MANY), ours_s, other_s,
            f"{len(projects)} git ls-remote, {AT_ONCE} at once",
            goal=goal.says(ours_s / other_s) if goal else "",
        )  # fmt: skip


def list_remotes(projects: list[Project], environment: dict[str, str]) -> None:
    """Ask repositories for their tags, many at once."""

    def ask(project: Project) -> None:
        url = f"git@github.com:{at(project)}.git"
        assert run("git", "ls-remote", "--tags", url, env=environment)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(ask, projects))
