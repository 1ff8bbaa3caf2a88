"""Measure how the cost of `update` grows with the repositories, when nothing is new."""

import os
import statistics
import sys
from pathlib import Path

from bench_tools import COMMAND, Argv, Goal, cost, home_environment, run
from fixtures import Person
from furnished import furnish
from growth import repository_counts, row, row_with_goal
from projects import Project, create
from sshhost import SshHost

AT_ONCE = 16
RUNS = 3
GOAL_AT = 1000
PROCESSOR, ELAPSED = Goal(1.2), Goal(12)
CONNECT_S = 0.3


def measure(directory: Path) -> None:
    """Print what updates with nothing new cost, beside git alone and beside one repository."""
    project = create(directory, "growth")
    commit = project.release("1.0")
    _without_delay(directory, project, commit)
    _with_delay(directory, project, commit)


def _without_delay(directory: Path, project: Project, commit: str) -> None:
    ours_s, ratios = dict[int, float](), dict[int, float]()
    for count in repository_counts():
        urls = [f"file://{_link(project, number)}" for number in range(count)]
        person = _person(directory / f"file-{count}", urls, commit)
        commands = ((COMMAND, "update"), _bare(person, urls))
        # The first one writes what was never there, such as held names.
        runs = range(RUNS + 1)
        found = [[cost(argv, _environment(person))[0] for argv in commands] for _ in runs]
        ours_s[count], bare_s = map(statistics.median, zip(*found[1:], strict=True))
        ratios[count] = ours_s[count] / bare_s
    row("update, nothing new, processor", "s", ours_s)
    what = f"the same / as many git ls-remote, {AT_ONCE} at once"
    row_with_goal(what, "ratio", ratios, GOAL_AT, PROCESSOR)


def _with_delay(directory: Path, project: Project, commit: str) -> None:
    host = SshHost(directory / "ssh", delay_s=CONNECT_S)
    runtime = directory / "run"
    runtime.mkdir(mode=0o700)
    more = {"PATH": host.path, "XDG_RUNTIME_DIR": str(runtime)}
    elapsed_s, connections = dict[int, float](), dict[int, float]()
    for count in (1, *repository_counts()):
        urls = [f"ssh://forge.test{_link(project, number)}" for number in range(count)]
        person = _person(directory / f"ssh-{count}", urls, commit)
        run(COMMAND, "update", env=_environment(person) | more)
        host.forget()
        elapsed_s[count] = cost((COMMAND, "update"), _environment(person) | more)[1]
        if not host.connections:
            sys.exit(f"the update of {count} repositories has asked for none")
        connections[count] = len(host.connections)
    one_s = elapsed_s.pop(1)
    of_one = {count: found_s / one_s for count, found_s in elapsed_s.items()}
    what = f"update, nothing new, {CONNECT_S:g} s a connection to one ssh host"
    row(what, "connections", connections)
    row_with_goal(f"{what}, elapsed / that of one", "ratio", of_one, GOAL_AT, ELAPSED)


def _link(project: Project, number: int) -> Path:
    """Make a further path of a bare repository: git reads the same files for each."""
    path = project.remote.with_name("links") / f"{number}.git"
    path.parent.mkdir(exist_ok=True)
    if not path.is_symlink():
        path.symlink_to(project.remote)
    return path


def _person(home: Path, urls: list[str], commit: str) -> Person:
    person = Person(home)
    furnish(person, urls, commit)
    # Once a day, it would be that of the fallback index that is measured.
    person.paths.settings.write_text("[watcher]\npublic-versions = false\n")
    return person


def _environment(person: Person) -> dict[str, str]:
    """Make an environment as small as that of a unit, without settings of git: ours and git's."""
    kept = {key: value for key, value in home_environment(person.home).items() if key in _KEPT}
    return kept | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


_KEPT = ("HOME", "LANG", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "USER")


def _bare(person: Person, urls: list[str]) -> Argv:
    """Make the command that asks each repository for its tags, and does nothing else."""
    listed = person.home / "urls"
    listed.write_text("".join(f"{url}\n" for url in urls))
    return ("/bin/sh", "-c", f"xargs -P {AT_ONCE} -n 1 git ls-remote --tags -- <'{listed}'")
