"""standing: what is looked at again, and when."""

import os
import time

from fixtures import Person

from pypi_insiders.repositories import status

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
