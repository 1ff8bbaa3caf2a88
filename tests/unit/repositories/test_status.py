"""status: the release that installers choose, and what is looked at again."""

import os
import time

import pytest
from fixtures import Person

from pypi_insiders.repositories import status
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.repositories.status import StatusContext

_WELL_WITHIN_NS = 10_000_000


def test_two_changes_within_one_tick_are_seen(person: Person) -> None:
    """The second may leave the time of the first: until that is past, nothing counts as seen."""
    path = person.paths.repositories
    path.parent.mkdir(parents=True)
    path.write_text("")
    is_soon = False
    while not is_soon:  # a busy machine may come too late
        changed_ns = time.time_ns()
        os.utime(path, ns=(changed_ns, changed_ns))
        first, second = status.stamp(person.paths), status.stamp(person.paths)
        is_soon = time.time_ns() - changed_ns < _WELL_WITHIN_NS
    assert first != second
    os.utime(path, ns=(0, changed_ns - 10**9))
    assert status.stamp(person.paths) == status.stamp(person.paths)


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        ([], None),
        (["1.9", "1.10", "1.2"], "1.10"),
        (["1.0", "2.0rc1", "1.1.post1", "2.0.dev1"], "1.1.post1"),
        (["2.0a2", "2.0rc1", "2.0b3"], "2.0rc1"),
        (["1.0", "3.0 gone", "4.0 yanked"], "1.0"),
    ],
)
def test_the_newest_release_is_the_one_that_installers_choose(
    versions: list[str], newest: str | None
) -> None:
    """A final one that is served and not yanked, or else a pre-release. Source: PEP 440."""
    numbers = [text.partition(" ")[0] for text in versions]
    builds = [Build(f"v{it}", "0" * 40, it, 1, {f"probe-{it}.tar.gz": ""}) for it in numbers]
    served = {f"probe-{it}.tar.gz" for it in versions} | {"probe-4.0.tar.gz"}
    context = StatusContext(served, {"probe": frozenset({"4"})}, {}, {})
    known = RepositoryState("probe", builds, "git@github.com:me/probe.git")
    found = status.of(Repository("me/probe"), known, context).newest
    assert (found and found.version) == newest
