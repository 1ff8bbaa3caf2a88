"""exporting.record: what the last export of a directory has written."""

from hashlib import sha256
from pathlib import Path

import pytest
from exports import dists
from fixtures import Person
from fuzzing import damaged, damaged_json, fuzzed
from hypothesis import given
from hypothesis import strategies as st

from pypi_insiders.repositories import removals
from pypi_insiders.server.exporting import directory, record
from pypi_insiders.server.exporting.directory import export
from pypi_insiders.util.files import write_atomic

__all__ = ["dists"]

CONFIGURATION = directory._configuration(None)


@pytest.fixture
def exported(person: Person, dists: Path, tmp_path: Path) -> Path:
    """An export, with a record."""
    export(person.paths, tmp_path / "web", None)
    return tmp_path / "web"


def recorded(person: Person) -> Path:
    (path,) = (person.paths.cache / "exports").iterdir()
    return path


def test_what_is_damaged_is_no_record(person: Person, exported: Path) -> None:
    """So everything is compared; whatever it is, nothing fails."""
    path, sound = recorded(person), record.load(person.paths, exported, CONFIGURATION)
    content = path.read_bytes()
    assert sound is not None
    text = content.partition(b"\n")[2].decode()
    other = damaged_json(text).map(lambda body: content.partition(b"\n")[0] + b"\n" + body)

    @fuzzed(2, usual=100)
    @given(st.one_of(damaged(st.just(content)), other, damaged_json(text)))
    def check(bad: bytes) -> None:
        path.write_bytes(bad)
        found = record.load(person.paths, exported, CONFIGURATION)
        assert found == (sound if bad.replace(b"\r\n", b"\n") == content else None)

    check()
    path.unlink()
    path.mkdir()
    assert record.load(person.paths, exported, CONFIGURATION) is None


def test_a_record_of_other_fields_is_none(person: Person, exported: Path) -> None:
    """As one of another version has."""
    path = recorded(person)
    text = path.read_text().partition("\n")[2]
    path.write_text(f"{sha256(text.encode()).hexdigest()}\n{text}")
    assert record.load(person.paths, exported, CONFIGURATION) is None


def test_it_is_of_one_directory_and_one_fallback_index(
    person: Person, exported: Path, tmp_path: Path
) -> None:
    other = directory._configuration("https://pypi.example/simple/")
    assert record.load(person.paths, exported, other) is None
    assert record.load(person.paths, tmp_path / "other", CONFIGURATION) is None
    copy = tmp_path / "link"
    copy.symlink_to(exported)
    assert record.load(person.paths, copy, CONFIGURATION) is not None


@pytest.mark.parametrize("change", ["removed", "held", "watched", "cache"])
def test_after_a_change_of_a_list_everything_is_compared(
    person: Person, exported: Path, change: str
) -> None:
    """Of each that decides which names are held, and of a lost cache."""
    paths = person.paths
    match change:
        case "removed":
            removals.save(paths.state, ["me/gone"])
        case "held":
            write_atomic(paths.held_names, '{"secret": null}')
        case "watched":
            write_atomic(paths.repositories, '["me/probe"]\n')
        case "cache":
            paths.record.rename(paths.record.with_name("other"))
    assert record.load(paths, exported, CONFIGURATION) is None
