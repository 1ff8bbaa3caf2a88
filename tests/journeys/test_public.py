"""public: what the public index has, asked for seldom, and compared as people mean it."""

import re
from pathlib import Path

from fallback import a_day_later, fallback, public_index
from fixtures import Person, Watch, free_port, untimed
from hostile import Index
from wheels import wheel

from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.remote_index import public_versions as remote_versions
from pypi_insiders.repositories import public_versions

__all__ = ["fallback"]


def asked(index: Index) -> list[tuple[str, int]]:
    """Tell of which projects it was asked, and with which status code it answered."""
    found = re.findall(r"GET /insiders/simple/([^ ]*)/ (\d{3})", index.log)
    return [(name, int(status)) for name, status in found]


def test_it_is_asked_once_a_day_and_does_not_send_again_what_is_known(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """Of a name that it does not have it is asked as seldom."""
    watch("probe").release("1.0")
    watch("unknown").release("1.0")
    with public_index(person, tmp_path) as index:
        wheel(index.directory, "probe", "0.9")
        person.run("update")
        first = [("probe", 200), ("unknown", 404)]
        assert sorted(asked(index)) == first
        person.run("update")
        person.run("update", "me/probe")
        assert sorted(asked(index)) == first
        a_day_later(person)
        person.run("update", "me/probe")
        assert asked(index)[2:] == [("probe", 304)]
    assert public_versions.load(person.paths.state)["probe"].final == "0.9"


def test_a_setting_turns_it_off(person: Person, watch: Watch, tmp_path: Path) -> None:
    """Nobody outside gets to know what is watched."""
    watch("probe").release("1.0")
    with public_index(person, tmp_path) as index:
        settings = person.paths.settings
        settings.write_text(f"{settings.read_text()}[watcher]\npublic-versions = false\n")
        person.run("update")
        assert asked(index) == []
    assert not (person.paths.state / "public.json").exists()


def test_a_public_index_out_of_reach_is_no_failure(person: Person, watch: Watch) -> None:
    """It is asked again next time."""
    watch("probe").release("1.0")
    person.paths.settings.write_text(
        f'[server]\nfallback-url = "http://127.0.0.1:{free_port()}/simple/"\n'
    )
    done = person.run("update", "-v")
    assert untimed(done.stdout) == "Checked 1 repository, published 2 files\n"
    assert re.search("no valid response from .*/simple/probe/: .*Connection refused", done.stderr)
    assert public_versions.load(person.paths.state) == {}


def test_yanked_releases_and_foreign_files_do_not_count(tmp_path: Path, person: Person) -> None:
    """A release counts that somebody would get who asks for none in particular."""
    with public_index(person, tmp_path) as index:
        for version in ("1.0", "1.1", "2.0b1"):
            wheel(index.directory, "probe", version)
        YANKED.save(index.directory, {"probe": {"1.1": ""}})
        url = f"http://127.0.0.1:{index.port}/simple"
        remote_versions.look_up(tmp_path, url, ["probe"])
    found = public_versions.load(tmp_path)["probe"]
    assert (found.url, found.final, found.pre) == (f"{url}/probe/", "1.0", "2.0b1")


def test_a_name_that_was_free_and_is_taken_is_remembered(
    person: Person, tmp_path: Path, fallback: Index
) -> None:
    """By when it was free, and since when it is not; a name that was never free is no news."""
    person.paths.state.mkdir(parents=True)
    url = f"http://127.0.0.1:{fallback.port}/insiders/simple"

    def ask() -> dict[str, tuple[bool, bool]]:
        remote_versions.look_up(person.paths.state, url, ["mine", "theirs", "yanked"])
        found = public_versions.load(person.paths.state)
        return {name: (bool(it.absent_at), bool(it.appeared_at)) for name, it in found.items()}

    wheel(fallback.directory, "theirs", "1.0")
    never = {"theirs": (False, False)}
    assert ask() == {"mine": (True, False), "yanked": (True, False), **never}
    absent_at = public_versions.load(person.paths.state)["mine"].absent_at
    wheel(fallback.directory, "mine", "99.0")
    wheel(fallback.directory, "theirs", "99.0")
    wheel(fallback.directory, "yanked", "1.0")
    YANKED.save(fallback.directory, {"yanked": {"1.0": ""}})
    a_day_later(person)
    taken = {"mine": (True, True), "yanked": (True, True), **never}
    assert ask() == taken
    appeared_at = public_versions.load(person.paths.state)["mine"].appeared_at
    a_day_later(person)
    assert ask() == taken  # 304
    wheel(fallback.directory, "mine", "100.0")
    a_day_later(person)
    assert ask() == taken
    mine = public_versions.load(person.paths.state)["mine"]
    assert (mine.absent_at, mine.appeared_at, mine.final) == (absent_at, appeared_at, "100.0")
    fallback.person.run("unpublish", "--yes", "mine", "--all")
    a_day_later(person)
    assert ask()["mine"] == (True, False)


def test_unknown_is_not_absent(person: Person, tmp_path: Path) -> None:
    """An index that could not be asked has not said that the name was free."""
    url = f"http://127.0.0.1:{free_port()}/simple"
    remote_versions.look_up(tmp_path, url, ["mine"])
    assert public_versions.load(tmp_path) == {}
    with public_index(person, tmp_path) as index:
        wheel(index.directory, "mine", "1.0")
        remote_versions.look_up(
            tmp_path, f"http://127.0.0.1:{index.port}/insiders/simple", ["mine"]
        )
    assert public_versions.load(tmp_path)["mine"].absent_at is None


def test_another_index_begins_anew(person: Person, tmp_path: Path) -> None:
    """What one index did not have says nothing about another one."""
    with public_index(person, tmp_path) as index:
        at = f"http://{{}}:{index.port}/insiders/simple"
        remote_versions.look_up(tmp_path, at.format("localhost"), ["mine"])
        assert public_versions.load(tmp_path)["mine"].absent_at is not None
        wheel(index.directory, "mine", "1.0")
        remote_versions.look_up(tmp_path, at.format("127.0.0.1"), ["mine"])
    mine = public_versions.load(tmp_path)["mine"]
    assert (mine.absent_at, mine.appeared_at) == (None, None)
