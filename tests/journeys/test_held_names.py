"""A held name is served, or its client is stopped and told why; it never leads to the fallback."""

import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from fixtures import Person
from hostile import FALLBACK, Answer, Index, request, serving
from wheels import sdist, wheel

from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import Entry, Identity, MetadataCache
from pypi_insiders.repositories import held_names, running, state
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.server.current_names import CurrentNames
from pypi_insiders.util.errors import InsidersError

JSON = "application/vnd.pypi.simple.v1+json"
WATCHED = '["me/probe"]\nproject = "probe"\nurl = "file:///nowhere/probe.git"\n'
PAGES = ("/simple/probe/", "/insiders/simple/probe/")
LEGACY = "/probe/json"


def watch(person: Person, text: str = WATCHED) -> None:
    """Write the list of watched repositories."""
    person.paths.config.mkdir(parents=True, exist_ok=True)
    person.paths.repositories.write_text(text)


def published(person: Person, *files: str) -> None:
    """Write a state in which files of a project were published; the directory has none."""
    person.paths.distributions.mkdir(parents=True, exist_ok=True)
    build = Build("v1", "c" * 40, "1.0", 1, dict.fromkeys(files, "0" * 64))
    known = RepositoryState("probe", [build], "file:///nowhere/probe.git")
    state.save(person.paths.state, "me/probe", known)


def _only_watched(person: Person) -> None:
    watch(person)


def _only_in_a_list_that_is_broken(person: Person) -> None:
    watch(person, f"{WATCHED}\n[[[")


def _only_in_the_state(person: Person) -> None:
    published(person, "probe-1.0.tar.gz")


def _only_remembered(person: Person) -> None:
    person.paths.state.mkdir(parents=True)
    person.paths.held_names.write_text('{"probe": "me/probe"}')


def _removed_from_the_list_by_hand(person: Person) -> None:
    watch(person)
    held_names.sync(person.paths)
    watch(person, "")


def _in_a_list_that_was_lost_later(person: Person) -> None:
    watch(person)
    held_names.sync(person.paths)
    person.paths.repositories.unlink()


def _by_a_damaged_list_of_names(person: Person) -> None:
    published(person, "probe-1.0.tar.gz")
    person.paths.held_names.write_text('["probe"]')


def _by_a_file_that_is_no_distribution(person: Person) -> None:
    person.paths.distributions.mkdir(parents=True)
    (person.paths.distributions / "probe-1.0.tgz").write_bytes(b"x")


def _by_a_file_that_is_damaged(person: Person) -> None:
    person.paths.distributions.mkdir(parents=True)
    (person.paths.distributions / "probe-1.0.tar.gz").write_bytes(b"x")


def _by_files_of_which_the_directory_was_emptied(person: Person) -> None:
    watch(person)
    published(person, "probe-1.0.tar.gz")


def _only_in_the_record(person: Person) -> None:
    wheel(person.paths.distributions, "probe", "1.0")
    with closing(MetadataCache(person.paths.record, person.paths.distributions)) as record:
        assert Catalog(person.paths.distributions, record).project("probe")
    (person.paths.distributions / "probe-1.0-py3-none-any.whl").unlink()
    person.paths.held_names.write_text("{}")


STATES: dict[str, tuple[Callable[[Person], None], str]] = {
    "watched": (_only_watched, "probe has no release yet: me/probe was never built"),
    "a broken list": (
        _only_in_a_list_that_is_broken,
        "probe has no release, and its repository is unknown: ",
    ),
    "state": (_only_in_the_state, "probe was served (from me/probe); its files are missing"),
    "remembered": (_only_remembered, "probe was served (from me/probe); its files are missing"),
    "removed by hand": (_removed_from_the_list_by_hand, "probe was served (from me/probe)"),
    "a lost list": (_in_a_list_that_was_lost_later, "probe was served (from me/probe)"),
    "damaged names": (_by_a_damaged_list_of_names, "probe was served (from me/probe)"),
    "odd file": (_by_a_file_that_is_no_distribution, "probe has no usable file: probe-1.0.tgz"),
    "damaged file": (_by_a_file_that_is_damaged, "probe has no usable file: probe-1.0.tar.gz"),
    "record": (_only_in_the_record, "probe was served (copied there by hand)"),
    "emptied": (
        _by_files_of_which_the_directory_was_emptied,
        "the files of probe 1.0 are missing from ",
    ),
}


@pytest.mark.parametrize(("prepare", "title"), list(STATES.values()), ids=list(STATES))
def test_a_held_name_stops_the_client_and_says_why(
    tmp_path: Path, prepare: Callable[[Person], None], title: str
) -> None:
    """However it is known, before and after a restart; other names are the fallback's."""
    prepare(Person(tmp_path))
    answers = []
    for _ in range(2):
        with serving(tmp_path) as index:
            found = [index.ask(request("GET", path, ("Accept", JSON))) for path in (*PAGES, LEGACY)]
            other = index.ask(request("GET", "/simple/other/"))
            if prepare is _only_in_a_list_that_is_broken:
                assert other.status == 503  # nobody knows what else it lists
            else:
                assert (other.status, other.headers["location"]) == (303, f"{FALLBACK}other/")
        answers.append([(answer.status, answer.body) for answer in found])
    for status, body in (answer for each in answers for answer in each):
        assert status in (409, 503)
        assert json.loads(body)["title"].startswith(title)
    assert answers[0] == answers[1]


CLIENTS: dict[str, Callable[[Answer], str]] = {
    "pip/26.3 {}": lambda answer: answer.headers["content-type"].partition('reason="')[2],
    "pdm/2.29.3": lambda answer: answer.headers["location"],
    "uv/0.13.9": lambda answer: json.loads(answer.body)["title"],
}


@pytest.mark.parametrize("client", list(CLIENTS))
def test_the_reason_is_where_each_client_shows_it(tmp_path: Path, client: str) -> None:
    """And nothing of it is a second header, a location elsewhere, or kept by a cache."""
    watch(Person(tmp_path))
    with serving(tmp_path) as index:
        answer = index.ask(request("GET", PAGES[0], ("User-Agent", client)))
    assert "has no release yet" in CLIENTS[client](answer)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["vary"] == "User-Agent"
    assert answer.headers.get("location", "http://index:").startswith("http://index:")


def test_no_thread_sees_the_names_before_they_are_read(tmp_path: Path) -> None:
    """Of several requests at once the first reads them, and the others wait for it."""
    person = Person(tmp_path)
    watch(person)
    for _ in range(30):
        names, together = CurrentNames(person.paths), threading.Barrier(8)

        def look(names: CurrentNames = names, together: threading.Barrier = together) -> bool:
            together.wait()
            return all("probe" in names.current().repositories for _ in range(200))

        with ThreadPoolExecutor(8) as pool:
            looking = [pool.submit(look) for _ in range(8)]
            assert all(item.result() for item in looking)


def test_nobody_knows_the_names_any_more(tmp_path: Path) -> None:
    """Then any name may be a private one: all are stopped until the list can be read."""
    watch(Person(tmp_path), "[[[")
    with serving(tmp_path) as index:
        answer = index.ask(request("GET", "/simple/other/"))
        assert (answer.status, b"repos.toml" in answer.body) == (503, True)
        watch(Person(tmp_path))
        assert index.ask(request("GET", "/simple/other/")).status == 303
        assert index.ask(request("GET", PAGES[0])).status == 409


def test_a_file_that_is_put_there_by_hand_is_remembered(tmp_path: Path) -> None:
    """Its name stays here when the file is gone, and while the directory is."""
    with serving(tmp_path) as index:
        wheel(index.directory, "probe", "1.0")
        assert index.ask(request("GET", PAGES[0])).status == 200
        remembered = index.person.paths.held_names
        _until(lambda: remembered.exists() and "probe" in remembered.read_text())
        (index.directory / "probe-1.0-py3-none-any.whl").unlink()
        assert index.ask(request("GET", PAGES[0])).status == 409
    index.directory.rename(tmp_path / "elsewhere")
    with serving(tmp_path) as index:
        answer = index.ask(request("GET", PAGES[0]))
        assert (answer.status, index.directory.exists()) == (503, False)
        assert index.ask(request("GET", "/simple/other/")).status == 503


def test_what_was_served_once_is_held_at_once(tmp_path: Path) -> None:
    """Files that come and go faster than they are remembered in the background."""
    names, found = [f"probe-{number}" for number in range(40)], {}
    with serving(tmp_path) as index:
        for name in names:
            path = wheel(index.directory, name, "1.0")
            assert index.ask(request("GET", f"/simple/{name}/")).status == 200
            path.unlink()
            found[name] = index.ask(request("GET", f"/simple/{name}/")).status
    assert found == dict.fromkeys(names, 409)


def _until(is_so: Callable[[], bool]) -> None:
    """Wait for what another process does soon."""
    event = threading.Event()
    for _ in range(600):
        if is_so():
            return
        event.wait(0.05)
    raise TimeoutError


def test_the_user_may_want_the_public_one_meanwhile(tmp_path: Path) -> None:
    """Until the first release is built, and never again after that."""
    person = Person(tmp_path)
    watch(person, f"{WATCHED}public-until-built = true\n")
    with serving(tmp_path) as index:
        assert index.ask(request("GET", PAGES[0])).status == 303
        published(person, "probe-1.0.tar.gz")
        assert index.ask(request("GET", PAGES[0])).status == 503
        with closing(MetadataCache(person.paths.record, index.directory)) as record:
            record.put(Entry("probe-1.0.tar.gz", Identity(1, 1, 1), "probe", "1.0", "0" * 64), None)
        (person.paths.state / "repositories/me/probe.json").write_text("{")
        assert index.ask(request("GET", PAGES[0])).status == 409


def test_a_directory_whose_time_was_set_back_is_read_all_the_same(tmp_path: Path) -> None:
    """As by a backup that is unpacked: what comes with it is not public."""
    with serving(tmp_path) as index:
        long_ago = (1_600_000_000, 1_600_000_000)
        os.utime(index.directory, long_ago)
        assert index.ask(request("GET", PAGES[0])).status == 303
        wheel(index.directory, "probe", "1.0")
        os.utime(index.directory, long_ago)
        assert index.ask(request("GET", PAGES[0])).status == 200


def test_a_client_that_takes_401_for_not_here_is_stopped(tmp_path: Path) -> None:
    """Poetry would go on to its next source; the others ask for the password."""
    with serving(tmp_path, "auth = true\n") as index:
        wheel(index.directory, "probe", "1.0")
        assert _ask(index, client="poetry/2.5.1").status == 409
        assert _ask(index, client="uv/0.13.9").status == 401


def test_a_name_is_let_go_when_nothing_is_left_of_it(tmp_path: Path) -> None:
    """Neither watched nor published: only then it belongs to the fallback again."""
    person = Person(tmp_path)
    watch(person)
    sdist(person.paths.distributions, "probe", "1.0")
    held_names.sync(person.paths)
    assert held_names.release(person.paths, ["probe"]) == []
    watch(person, "")
    assert held_names.release(person.paths, ["probe"]) == []
    (person.paths.distributions / "probe-1.0.tar.gz").unlink()
    assert held_names.release(person.paths, ["probe", "other"]) == ["probe"]
    held_names.sync(person.paths)
    assert held_names.load(person.paths).repositories == {}


def test_a_list_that_cannot_be_read_lets_no_name_go(tmp_path: Path) -> None:
    """It may be watched."""
    person = Person(tmp_path)
    watch(person)
    held_names.sync(person.paths)
    watch(person, "[[[")
    with pytest.raises(InsidersError):
        held_names.release(person.paths, ["probe"])
    assert held_names.load(person.paths).repositories == {"probe": "me/probe"}


# A client that comes while a release is built.


def _ask(index: Index, path: str = PAGES[0], client: str = "uv/0.13.9") -> Answer:
    return index.ask(request("GET", path, ("User-Agent", client), ("Accept", JSON)))


def test_a_client_waits_for_a_release_that_is_built(tmp_path: Path) -> None:
    """It gets the release; and others are served meanwhile, however many wait."""
    person = Person(tmp_path)
    watch(person)
    with serving(tmp_path) as index, ThreadPoolExecutor(40) as pool:
        wheel(index.directory, "other", "1.0")
        with running.announced(person.paths, ["me/probe"]):
            waiting = [pool.submit(_ask, index) for _ in range(12)]
            assert _ask(index, "/simple/other/").status == 200
            assert not any(item.done() for item in waiting)
            wheel(index.directory, "probe", "1.0")
            answers = [item.result() for item in waiting]
        assert {answer.status for answer in answers} == {200}
        assert all(b"probe-1.0-py3-none-any.whl" in answer.body for answer in answers)


def test_a_client_that_waits_hears_of_the_failure(tmp_path: Path) -> None:
    """As soon as the update has finished that repository, and not when it ends."""
    person = Person(tmp_path)
    watch(person)
    with serving(tmp_path) as index, ThreadPoolExecutor() as pool:
        with running.announced(person.paths, ["me/probe", "me/slow"]) as finish:
            waiting = pool.submit(_ask, index)
            _until(waiting.running)
            finish("me/probe")
            answer = waiting.result()
        assert (answer.status, b"was never built" in answer.body) == (409, True)


@pytest.mark.parametrize(
    ("client", "most"),
    [("pip/26.3", 28), ("poetry/2.5.1", 28), ("pdm/2.29.3", 18), ("uv/0.13", 8), ("other", 8)],
)
def test_a_client_is_sent_round_as_often_as_it_goes(tmp_path: Path, client: str, most: int) -> None:
    """Each follows so many redirects; then it is told that the update still runs."""
    person = Person(tmp_path)
    watch(person)
    with serving(tmp_path) as index:
        with running.announced(person.paths, ["me/probe"]):
            last = _ask(index, f"{PAGES[0]}?waited={most}", client)
        told = json.dumps([last.headers, last.body.decode()])
        assert "an update of me/probe is running" in told
        assert last.status == {"pip/26.3": 200, "pdm/2.29.3": 303}.get(client, 503)


def test_a_server_that_ends_sends_those_who_wait_to_its_successor(tmp_path: Path) -> None:
    """They ask again at once, and wait there."""
    person = Person(tmp_path)
    watch(person)
    with (
        ThreadPoolExecutor() as pool,
        running.announced(person.paths, ["me/probe"]),
        serving(tmp_path) as index,
    ):
        threads = Path(f"/proc/{index.process_id}/task")
        usual = len(list(threads.iterdir()))
        waiting = pool.submit(_ask, index)
        _until(lambda: len(list(threads.iterdir())) > usual)
        os.kill(index.process_id, signal.SIGTERM)
        answer = waiting.result()
    assert (answer.status, answer.headers["location"]) == (303, "?waited=1")


def test_an_update_that_was_killed_keeps_nobody_waiting(tmp_path: Path) -> None:
    """The kernel has dropped its lock; the list that it left tells nothing."""
    paths = Person(tmp_path).paths
    with running.announced(paths, ["me/probe"]):
        assert running.pending(paths) == {"me/probe"}
        left = paths.pending.read_text()
    paths.pending.write_text(left)
    assert running.pending(paths) == frozenset()


# How an address can be misspelled.

MISSPELLED = {
    "/probe/": "../simple/probe/",
    "/insiders/probe/": "../../insiders/simple/probe/",
    "/Simple/Probe/": "../../simple/probe/",
    "/simple//probe/": "../../../simple/probe/",
    "/INSIDERS/simple/probe/": "../../../insiders/simple/probe/",
    "/insiders/": "../insiders/simple/",
}


@pytest.mark.parametrize(("path", "location"), list(MISSPELLED.items()))
def test_a_misspelled_address_leads_to_the_index(tmp_path: Path, path: str, location: str) -> None:
    """After 404 an installer would ask its next index for a name that is held here."""
    watch(Person(tmp_path))
    with serving(tmp_path) as index:
        answer = index.ask(request("GET", path))
        assert (answer.status, answer.headers["location"]) == (301, location)


@pytest.mark.parametrize(
    "path",
    [
        "/pypi/simple/probe/", "/root/pypi/+simple/probe/", "/x/probe/", "/packages/probe/",
        "/packages/simple/probe/", "/insiders/packages/probe/", "/-/probe/",
        "/project/simple/probe/",
    ],
)  # fmt: skip
def test_an_address_that_nobody_can_guess_stops_the_client(tmp_path: Path, path: str) -> None:
    """And names the right one."""
    with serving(tmp_path) as index:
        answer = index.ask(request("GET", path))
        assert answer.status == 409
        assert json.loads(answer.body)["detail"] == "the index is at http://127.0.0.1/simple/"
