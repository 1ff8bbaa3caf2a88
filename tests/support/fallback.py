"""A real fallback index: another index of the same program."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures import Person
from hostile import Index, serving

DAY_S = 86400


@contextmanager
def public_index(person: Person, directory: Path) -> Iterator[Index]:
    """Run another index, which is the fallback of this person's."""
    home = directory / "public"
    home.mkdir(exist_ok=True)
    with serving(home, "", "-v") as index:
        Person(home).paths.distributions.mkdir(parents=True, exist_ok=True)
        person.paths.config.mkdir(parents=True, exist_ok=True)
        person.paths.settings.write_text(
            f'[server]\nfallback-url = "http://127.0.0.1:{index.port}/insiders/simple/"\n'
        )
        yield index


@pytest.fixture
def fallback(person: Person, tmp_path: Path) -> Iterator[Index]:
    """A fallback index that has nothing yet."""
    with public_index(person, tmp_path) as index:
        yield index


def a_day_later(person: Person) -> None:
    """Make what is known of the public index older by a day."""
    path = person.paths.state / "public.json"
    known = json.loads(path.read_text())
    for item in known.values():
        item["asked_at"] -= DAY_S
    path.write_text(json.dumps(known))
