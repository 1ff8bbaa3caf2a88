"""catalog: what the directory holds, found out once and never wrong."""

import errno
import hashlib
import json
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn

import pytest
from auditing import audited
from examining import keeping_up
from wheels import sdist, wheel

from pypi_insiders.index import keeping_up as keeping_up_module
from pypi_insiders.index import store
from pypi_insiders.index.catalog import Catalog, make_directory_if_new
from pypi_insiders.index.metadata_cache import Entry, MetadataCache, Origin
from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.repositories import state
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import sha256


@contextmanager
def touched(directory: Path) -> Iterator[list[str]]:
    """Note each opening and listing of what lies in a directory."""
    found: list[str] = []

    def note(event: str, details: tuple[Any, ...]) -> None:
        if event in ("open", "os.scandir", "os.listdir") and str(directory) in str(details[0]):
            found.append(f"{event} {Path(str(details[0])).name}")

    with audited(note):
        yield found


@contextmanager
def telling(name: str) -> Iterator["SimpleQueue[str]"]:
    """Hand on what a logger tells, as it tells it, in threads that are started from now on."""
    told: SimpleQueue[str] = SimpleQueue()
    handler = logging.Handler()
    # Of other tests, which keep up for ever.
    others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
    handler.addFilter(lambda record: record.thread not in others)
    handler.emit = lambda record: told.put(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield told
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


TICK_NS = 30_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "dists"
    path.mkdir()
    return path


@pytest.fixture
def record(tmp_path: Path, directory: Path) -> MetadataCache:
    return MetadataCache(tmp_path / "record.sqlite", directory)


@pytest.fixture
def catalog(directory: Path, record: MetadataCache) -> Catalog:
    return Catalog(directory, record)


@pytest.fixture(autouse=True)
def only_its_own(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Leave out what threads of other tests log, which keep up for ever, of their directories."""
    others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}

    def is_own(logged: logging.LogRecord) -> bool:
        return logged.thread not in others

    caplog.handler.addFilter(is_own)
    yield
    caplog.handler.removeFilter(is_own)


def age(*files: Path) -> None:
    """Make files look as if they had been there for long."""
    for file in files:
        os.utime(file, ns=(10**18, 10**18))


def names(catalog: Catalog, project: str) -> list[str]:
    """Name the files of a project."""
    found = catalog.project(project)
    return [] if found is None else [entry.name for entry in found.files]


def test_files_are_sorted_by_version(directory: Path, catalog: Catalog) -> None:
    """And a version that has several files is told once."""
    for version in ("1.10", "1.9", "1.9rc1"):
        sdist(directory, "my-dist", version)
    wheel(directory, "my-dist", "1.9")
    wheel(directory, "other", "1.0")
    assert names(catalog, "my-dist") == [
        "my_dist-1.9rc1.tar.gz",
        "my_dist-1.9-py3-none-any.whl",
        "my_dist-1.9.tar.gz",
        "my_dist-1.10.tar.gz",
    ]
    found = catalog.project("my-dist")
    assert found is not None
    assert found.versions == ("1.9rc1", "1.9", "1.10")
    assert (catalog.projects(), catalog.summary()) == (
        ("my-dist", "other"),
        "2 projects, 5 files (1 still to be read)",
    )


def test_what_does_not_change_is_not_read_again(directory: Path, catalog: Catalog) -> None:
    """Neither the directory nor a file in it."""
    age(wheel(directory, "my-dist", "1.0"), sdist(directory, "my-dist", "1.0"))
    while time.time_ns() - directory.stat().st_ctime_ns < TICK_NS:
        pass  # within a tick of the kernel's clock two changes look alike
    first = catalog.project("my-dist"), catalog.projects()
    with touched(directory) as found:
        for _ in range(100):
            assert catalog.project("my-dist") is first[0]
            assert catalog.projects() is first[1]
            assert catalog.find("my_dist-1.0.tar.gz") is not None
            assert catalog.project("other") is None
            assert catalog.summary() == "1 project, 2 files"
    assert found == []


def test_the_next_process_reads_no_file_again(
    tmp_path: Path, directory: Path, catalog: Catalog
) -> None:
    """The record outlives the process; even of a broken file."""
    age(wheel(directory, "my-dist", "1.0"))
    (directory / "README").write_text("x")
    age(directory / "README")
    before = catalog.project("my-dist")
    assert catalog.find("README") is None
    successor = Catalog(directory, MetadataCache(tmp_path / "record.sqlite", directory))
    with touched(directory) as found:
        assert successor.project("my-dist") == before
        assert successor.find("README") is None
        assert successor.metadata("my_dist-1.0-py3-none-any.whl") is not None
    assert set(found) == {"os.scandir dists"}


def test_each_publication_is_seen_by_the_next_question(
    tmp_path: Path, directory: Path, record: MetadataCache, catalog: Catalog
) -> None:
    """And no file is read again for it."""
    files = [wheel(tmp_path / "built", "my-dist", f"1.{number}") for number in range(100)]
    for count, file in enumerate(files, 1):
        store.publish(directory, record, [file])
        with touched(directory) as found:
            assert len(names(catalog, "my-dist")) == count
        assert [what for what in found if "my_dist" in what] == []


def test_changes_within_one_tick_of_the_clock_are_seen(
    tmp_path: Path, directory: Path, catalog: Catalog
) -> None:
    """The time of the directory is the same after both."""
    for number in range(50):
        files = [sdist(tmp_path, f"p{number}-{part}", "1.0") for part in range(4)]
        for part, file in enumerate(files):
            file.rename(directory / file.name)
            assert len(catalog.projects()) == 4 * number + part + 1


def test_each_removal_is_seen_by_the_next_question(directory: Path, catalog: Catalog) -> None:
    """Down to the last, with which the project goes."""
    files = [sdist(directory, "my-dist", f"1.{number}") for number in range(20)]
    assert len(names(catalog, "my-dist")) == 20
    for count, file in zip(range(19, -1, -1), files, strict=True):
        file.unlink()
        assert len(names(catalog, "my-dist")) == count
    assert catalog.projects() == ()


@pytest.mark.parametrize("make", [wheel, sdist])
def test_a_file_that_is_being_copied_is_served_when_it_is_complete(
    tmp_path: Path,
    directory: Path,
    catalog: Catalog,
    make: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`cp` writes in place: of its last bytes the directory knows nothing. No line in the log."""
    original = make(tmp_path, "my-dist", "1.0", content=os.urandom(10_000))
    content = original.read_bytes()
    with (directory / original.name).open("wb", buffering=0) as copy:
        for begin in range(0, len(content), 3000):
            assert names(catalog, "my-dist") == []
            copy.write(content[begin : begin + 3000])
    assert names(catalog, "my-dist") == [original.name]
    entry = catalog.find(original.name)
    assert entry is not None
    assert (entry.sha256, caplog.messages) == (sha256(original), [])


def test_a_broken_file_is_left_out_and_named_once(
    tmp_path: Path, directory: Path, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    """Over restarts too."""
    good = wheel(directory, "my-dist", "1.0")
    bad, note = directory / "my_dist-1.1.tar.gz", directory / "README.md"
    bad.write_text("no archive")
    note.write_text("a note")
    (directory / "my_dist-1.2.tar.gz").symlink_to("/etc/hostname")
    (directory / "my_dist-1.3.tar.gz").mkdir()
    os.mkfifo(directory / "my_dist-1.4.tar.gz")
    (directory / ".hidden-1.0.tar.gz").write_text("x")
    age(good, bad, note)
    for name in ("my_dist-1.3.tar.gz", "my_dist-1.4.tar.gz"):
        age(directory / name)
    os.utime(directory / "my_dist-1.2.tar.gz", ns=(10**18, 10**18), follow_symlinks=False)
    successor = Catalog(directory, MetadataCache(tmp_path / "record.sqlite", directory))
    for seen in (catalog, successor, catalog):
        assert names(seen, "my-dist") == [good.name]
        assert seen.find(note.name) is None
        assert seen.summary() == "1 project, 1 file"
    assert sorted(caplog.messages) == [
        "not served: README.md is neither a wheel nor an sdist",
        "not served: my_dist-1.1.tar.gz is damaged: Not a gzipped file (b'no')",
        *(
            f"not served: my_dist-1.{number}.tar.gz is a link or a directory, not a file"
            for number in (2, 3, 4)
        ),
    ]


def test_a_broken_file_that_is_mended_is_served(directory: Path, catalog: Catalog) -> None:
    """By a new file in its place."""
    path = directory / "my_dist-1.0.tar.gz"
    path.write_text("broken")
    age(path)
    assert names(catalog, "my-dist") == []
    sdist(directory.parent, "my-dist", "1.0").replace(path)
    assert names(catalog, "my-dist") == [path.name]


def test_a_project_of_which_all_is_broken_is_there(directory: Path, catalog: Catalog) -> None:
    """With no file: its name must not lead to the fallback."""
    path = directory / "my_dist-1.0.tar.gz"
    path.write_text("broken")
    age(path)
    found = catalog.project("my-dist")
    assert found is not None
    assert (found.files, found.versions) == ((), ())
    assert (catalog.projects(), catalog.summary()) == ((), "0 projects, 0 files")


def test_a_copy_that_stalls_is_served_in_the_end(
    tmp_path: Path, directory: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked damaged for long, and the directory does not tell that it is complete now."""
    monkeypatch.setattr("pypi_insiders.index.directory_scan.LOOK_AGAIN_AFTER_S", 0.01)
    original = sdist(tmp_path, "my-dist", "1.0", content=os.urandom(10_000))
    content = original.read_bytes()
    copy = directory / original.name
    copy.write_bytes(content[:5000])
    age(copy)
    with telling("pypi_insiders.index") as told:
        assert names(catalog, "my-dist") == []
        assert told.get(timeout=60).startswith(f"not served: {copy.name} is damaged: ")
        with copy.open("ab") as file:
            file.write(content[5000:])
        age(copy)
        with keeping_up(catalog):
            assert told.get(timeout=60) == f"{copy.name} is now served"
    assert names(catalog, "my-dist") == [copy.name]


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Let nobody open a file, as if this process had too many; root may read whatever there is."""

    def refuse(event: str, details: tuple[Any, ...]) -> None:
        if event == "open" and str(details[0]) == str(path):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with audited(refuse):
        yield


def test_what_may_pass_is_not_for_ever(
    directory: Path, record: MetadataCache, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be opened is left out for now, and the record does not take it ill."""
    path = sdist(directory, "my-dist", "1.0")
    age(path)
    assert names(catalog, "my-dist") == [path.name]
    known = record.entry(path.name)
    shutil.copy2(path, directory.parent / "copy")
    (directory.parent / "copy").replace(path)
    with unreadable(path):
        for number in range(3):
            assert names(catalog, "my-dist") == []
            (directory / f".{number}").touch()
        assert record.entry(path.name) == known
    (directory / ".3").touch()
    assert names(catalog, "my-dist") == [path.name]
    assert caplog.messages == [f"not served: {path.name}: Too many open files"]


def test_a_file_in_the_place_of_another_is_told_as_what_it_is(
    directory: Path, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    """With its own hash, and a line in the log: what is published should not change."""
    path = sdist(directory, "my-dist", "1.0", content=b"1")
    age(path)
    before = catalog.find(path.name)
    sdist(directory.parent, "my-dist", "1.0", content=b"2").replace(path)
    after = catalog.find(path.name)
    assert before is not None
    assert after is not None
    assert before.sha256 != after.sha256 == sha256(path)
    assert before.published_us < after.published_us
    assert caplog.messages == [f"{path.name} has changed since it was published"]


def test_no_download_differs_from_the_page(directory: Path, catalog: Catalog) -> None:
    """Even if somebody wrote into the file itself, of which the directory knows nothing."""
    path = sdist(directory, "my-dist", "1.0", content=b"1")
    age(path)
    assert names(catalog, "my-dist") == [path.name]
    path.write_bytes(sdist(directory.parent, "my-dist", "1.0", content=b"2").read_bytes())
    opened = catalog.open(path.name)
    assert opened is not None
    entry, file = opened
    with file:
        assert entry.sha256 == sha256(path)
        assert file.read() == path.read_bytes()
    page = catalog.project("my-dist")
    assert page is not None
    assert page.files == (entry,)


def test_the_time_of_publication_stays(
    tmp_path: Path, directory: Path, record: MetadataCache, catalog: Catalog
) -> None:
    """Whatever becomes of the file's own times, as by a backup that is played back."""
    before_us = time.time_ns() // 1000
    path = wheel(directory, "my-dist", "1.0")
    age(path)
    first = catalog.find(path.name)
    assert first is not None
    assert before_us <= first.published_us <= time.time_ns() // 1000
    shutil.copy(path, tmp_path / "backup")
    (tmp_path / "backup").replace(path)
    second = catalog.find(path.name)
    assert second is not None
    assert second.identity != first.identity
    assert second.published_us == first.published_us


def test_a_lost_record_is_made_up_for(tmp_path: Path, directory: Path) -> None:
    """What was built when, and from what, the state of the repositories tells as well."""
    built, dropped = wheel(directory, "my-dist", "1.0"), wheel(directory, "my-dist", "1.1")
    files = {built.name: sha256(built), dropped.name: "of another file"}
    build = Build("v1.0", "c0ffee", "1.0", 1_700_000_000, files)
    state.save(tmp_path, "NS/Proj", RepositoryState("my-dist", [build]))
    record = MetadataCache(tmp_path / "record.sqlite", directory)
    found = Catalog(directory, record, lambda: state.origins(tmp_path)).project("my-dist")
    assert found is not None
    assert (found.files[0].origin, found.files[0].published_us) == (
        Origin("NS/Proj", "v1.0", "c0ffee"),
        1_700_000_000_000_000,
    )
    assert found.files[1].origin is None
    assert found.files[1].published_us > 1_700_000_000_000_000


def test_of_one_file_of_a_release_under_two_names_the_first_is_served(
    tmp_path: Path, directory: Path, record: MetadataCache, caplog: pytest.LogCaptureFixture
) -> None:
    """An installer would take either; the other one is served once the first is gone."""
    first = wheel(directory, "my-dist", "1.0")
    catalog = Catalog(directory, record)
    assert names(catalog, "my-dist") == [first.name]
    wheel(tmp_path, "my-dist", "1.0", content=b"other").rename(
        second := directory / "My.Dist-1.0-py3-none-any.whl"
    )
    age(second)
    for found in (catalog, Catalog(directory, record)):
        assert names(found, "my-dist") == [first.name]
        assert (found.find(second.name), found.open(second.name)) == (None, None)
        problem = f"{second.name} is the same file of my-dist 1.0 as {first.name}"
        assert found.rejected("my-dist") == [problem]
    assert f"not served: {problem}" in caplog.messages
    first.unlink()
    assert names(catalog, "my-dist") == [second.name]


def test_a_file_of_which_the_record_has_an_invalid_version_is_read_again(
    tmp_path: Path, directory: Path, record: MetadataCache
) -> None:
    """Its project had no page, and `update` ended with a traceback."""
    wheel(directory, "my-dist", "1.0")
    assert names(Catalog(directory, record), "my-dist")
    with sqlite3.connect(tmp_path / "record.sqlite") as connection:
        connection.execute("UPDATE files SET version = '1..0'")
    connection.close()
    found = Catalog(directory, record).project("my-dist")
    assert found is not None
    assert found.versions == ("1.0",)


def test_for_many_files_what_was_built_is_read_once(tmp_path: Path) -> None:
    """Where the record is lost, each file asks where it came from."""
    directory = tmp_path / "dists"
    for number in range(20):
        wheel(directory, f"proj-{number}", "1.0")
    state.save(tmp_path, "me/probe", RepositoryState())
    catalog = Catalog(
        directory, MetadataCache(tmp_path / "record", directory), lambda: state.origins(tmp_path)
    )
    begun_s = time.monotonic()
    with touched(tmp_path / "repositories") as opened:
        assert all(catalog.project(f"proj-{number}") for number in range(20))
    # And once more after each second, if the machine is that busy.
    assert 1 <= opened.count("open probe.json") <= 1 + (time.monotonic() - begun_s)


def test_a_yank_is_seen_by_the_next_question(directory: Path, catalog: Catalog) -> None:
    """And taken back as well; a list that nobody understands changes nothing."""
    sdist(directory, "my-dist", "1.0")
    seen = []
    for releases in ({"1.0": "broken"}, {"1.0": ""}, {}):
        YANKED.save(directory, {"my-dist": releases})
        found = catalog.project("my-dist")
        assert found is not None
        seen.append(dict(found.yanked))
    assert seen == [{"1.0": "broken"}, {"1.0": ""}, {}]
    YANKED.save(directory, {"my-dist": {"1.0": "x"}})
    assert catalog.project("my-dist") is not None
    (directory / ".yanked.json").write_text(json.dumps(["no", "table"]))
    found = catalog.project("my-dist")
    assert found is not None
    assert found.yanked == {"1.0": "x"}


@pytest.mark.parametrize(
    "text",
    ["{", '["no table"]', '{"my-dist": [["1.0", "x"]]}', '{"my-dist": {"1.0": 1}}', "[" * 100_000],
)
def test_nothing_is_told_unless_it_is_known_what_is_yanked(
    directory: Path, catalog: Catalog, text: str
) -> None:
    """What was withdrawn must not come back because a list was damaged."""
    sdist(directory, "my-dist", "1.0")
    list_ = directory / ".yanked.json"
    list_.write_text(text)
    for _ in range(2):
        with pytest.raises(InsidersError) as caught:
            catalog.project("my-dist")
        assert caught.value.message.startswith(f"cannot parse {list_}: ")
        assert caught.value.hint == f"edit {list_}, or remove it"
    list_.write_text('{"my-dist": {"1.0": "x"}}')
    found = catalog.project("my-dist")
    assert found is not None
    assert found.yanked == {"1.0": "x"}


def _away(directory: Path) -> str:
    directory.rename(directory.with_name("away"))
    return f"cannot read {directory}: No such file or directory"


def _replaced(directory: Path) -> str:
    _away(directory)
    directory.touch()
    return f"cannot read {directory}: Not a directory"


@pytest.mark.parametrize("spoil", [_away, _replaced])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_directory_that_cannot_be_read_does_not_seem_empty(
    directory: Path, catalog: Catalog, spoil: Callable[[Path], str], is_known: bool
) -> None:
    """Or else its names would lead to the fallback. When it is back, all is as before."""
    age(wheel(directory, "my-dist", "1.0"))
    before = catalog.project("my-dist") if is_known else None
    message = spoil(directory)
    for ask in (catalog.projects, lambda: catalog.project("my-dist")):
        with pytest.raises(InsidersError) as caught:
            ask()
        assert caught.value.message == message
    assert catalog.summary() == message
    if directory.is_file():
        directory.unlink()
    directory.with_name("away").rename(directory)
    after = catalog.project("my-dist")
    assert after is not None
    assert is_known is (after is before)
    assert catalog.summary() == "1 project, 1 file"


def test_what_is_out_of_reach_is_not_forgotten(
    directory: Path, record: MetadataCache, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record keeps it until the directory can be read and does not have it."""
    monkeypatch.setattr(keeping_up_module, "LOOK_AGAIN_AFTER_S", 0.01)
    file = wheel(directory, "my-dist", "1.0")
    age(file)
    assert names(catalog, "my-dist") == [file.name]
    entry = record.entry(file.name)
    assert entry is not None
    record.put(entry._replace(published_us=10**15), b"")
    _away(directory)
    successor = Catalog(directory, record)
    with telling("pypi_insiders.index") as told, keeping_up(successor):
        assert told.get(timeout=60) == (
            f"cannot read {directory}: No such file or directory; nothing is served until this "
            "is fixed"
        )
        directory.with_name("away").rename(directory)
        assert names(successor, "my-dist") == [file.name]
        assert told.get(timeout=60) == f"{directory} is readable again"
    found = record.entry(file.name)
    assert found is not None
    assert found.published_us == 10**15


def test_what_takes_the_place_of_a_file_that_is_being_opened_is_not_it(
    directory: Path, catalog: Catalog, tmp_path: Path
) -> None:
    """Neither another file, which is then opened as what it is, nor a link to the same one."""
    path = sdist(directory, "my-dist", "1.0", content=b"1")
    other = sdist(tmp_path / "other", "my-dist", "1.0", content=b"2")
    age(path, other)
    assert catalog.find(path.name)
    changes: list[Callable[[], object]] = [lambda: other.replace(path)]

    def note(event: str, details: tuple[Any, ...]) -> None:
        if event == "open" and details[0] == str(path) and changes:
            changes.pop()()

    with audited(note):
        opened = catalog.open(path.name)
    assert opened is not None
    with opened[1] as file:
        assert opened[0].sha256 == hashlib.sha256(file.read()).hexdigest()
        assert opened[0].sha256 == sha256(path)
    changes.append(lambda: path.symlink_to(path.rename(tmp_path / path.name)))
    with audited(note):
        assert catalog.open(path.name) is None
    assert changes == []


@pytest.mark.parametrize("left", ["nothing", "cache", "state"])
def test_a_directory_of_published_files_is_not_made_anew(
    directory: Path, record: MetadataCache, left: str
) -> None:
    """An empty one would hide that it is lost, and its names would lead to the fallback index."""
    path, origins = wheel(directory, "my-dist", "1.0"), dict[str, object]()
    if left == "cache":
        assert Catalog(directory, record).find(path.name)
    elif left == "state":
        origins = {path.name: ("0" * 64, None, 1)}
    shutil.rmtree(directory)
    make_directory_if_new(directory, record, origins)
    assert directory.is_dir() == (left == "nothing")


def test_metadata_of_another_hash_than_the_page_has_is_not_sent(
    directory: Path, record: MetadataCache, catalog: Catalog
) -> None:
    """A client would refuse the file; without any, it reads the file."""
    path = wheel(directory, "my-dist", "1.0")
    age(path)
    entry = catalog.find(path.name)
    assert entry is not None
    found = catalog.metadata(path.name)
    assert found is not None
    assert found[0] == entry.metadata_sha256 == hashlib.sha256(found[1]).hexdigest()
    record.put(entry, found[1] + b"x")
    assert catalog.metadata(path.name) is None


def test_a_page_does_not_wait_for_the_files_of_others(directory: Path, catalog: Catalog) -> None:
    """While one project's file hangs in the reading, another project's page is there."""
    slow = sdist(directory, "slow", "1.0")
    sdist(directory, "quick", "1.0")
    reading, go_on = threading.Event(), threading.Event()

    def hang(event: str, details: tuple[Any, ...]) -> None:
        if event == "open" and str(details[0]) == str(slow):
            reading.set()
            go_on.wait(60)

    asking = threading.Thread(target=catalog.project, args=["slow"])
    with audited(hang):
        try:
            asking.start()
            assert reading.wait(60)
            assert names(catalog, "quick") == ["quick-1.0.tar.gz"]
            assert catalog.projects() == ("quick", "slow")
        finally:
            go_on.set()
            asking.join()
    assert names(catalog, "slow") == [slow.name]


@pytest.mark.parametrize("is_page", [True, False])
def test_a_file_that_is_replaced_while_it_is_examined_is_told_as_what_it_is(
    directory: Path,
    record: MetadataCache,
    catalog: Catalog,
    is_page: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not as what was read, which is gone; nor as neither: the project would be from elsewhere."""
    path = sdist(directory, "my-dist", "1.0", content=b"1")
    other = sdist(directory.parent, "my-dist", "1.0", content=b"2")
    age(path, other)

    def put(entry: Entry, metadata: bytes | None) -> None:
        MetadataCache.put(record, entry, metadata)
        if other.exists():
            other.replace(path)
            asking = threading.Thread(target=catalog.projects)
            asking.start()
            asking.join()

    monkeypatch.setattr(record, "put", put)
    page = catalog.project("my-dist") if is_page else None
    entry = page.files[0] if page else catalog.find(path.name)
    assert not other.exists()
    assert (page is not None) is is_page
    assert entry is not None
    assert entry.sha256 == sha256(path)
    assert catalog.find(path.name) == entry


def test_files_are_examined_before_anybody_asks(directory: Path, catalog: Catalog) -> None:
    """By a thread that keeps up; what it finds is in the log."""
    broken = directory / "my_dist-1.0.tar.gz"
    broken.write_text("no archive")
    age(broken)
    with telling("pypi_insiders.index") as told, keeping_up(catalog):
        assert told.get(timeout=60).startswith("not served: my_dist-1.0.tar.gz is damaged: ")


def test_after_an_exception_the_names_of_new_files_are_still_learned(
    directory: Path, record: MetadataCache
) -> None:
    """Without them, a project would be the fallback index's once its directory is lost."""
    sdist(directory, "my-dist", "1.0")

    def fail() -> NoReturn:
        raise RuntimeError("a bug")

    def learn(projects: Iterable[str]) -> None:
        if set(projects) == {"my-dist", "other"}:
            raise SystemExit

    catalog = Catalog(directory, record, fail)

    def run() -> None:
        with suppress(SystemExit):
            catalog.keep_up(learn)

    with telling("pypi_insiders.index") as told:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert told.get(timeout=60) == "cannot read new files"
        sdist(directory, "other", "1.0")
        catalog.refresh()
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_the_record_does_not_grow_for_ever(
    tmp_path: Path, directory: Path, record: MetadataCache
) -> None:
    """What is gone is forgotten; what an update is about to publish is not."""
    files = [wheel(directory, "my-dist", version) for version in ("1.0", "1.1", "1.2")]
    age(*files)
    before = Catalog(directory, record)
    assert len(names(before, "my-dist")) == 3
    old = record.entry(files[0].name)
    assert old is not None
    record.put(old._replace(published_us=10**15), b"")
    for file in files[:2]:
        file.unlink()
    broken = directory / "README"
    broken.write_text("x")
    age(broken)
    after = Catalog(directory, record)
    with telling("pypi_insiders.index") as told, keeping_up(after):
        assert told.get(timeout=60).startswith("not served: README")
    assert after.projects() == ("my-dist",)
    assert sorted(record.entries()) == sorted(["README", files[1].name, files[2].name])


def test_many_threads_see_one_truth(
    tmp_path: Path, directory: Path, record: MetadataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While files come and go, a page is always one that was true at some moment."""
    ended_early: list[object] = []
    monkeypatch.setattr(threading, "excepthook", ended_early.append)
    catalog = Catalog(directory, record)
    files = [wheel(tmp_path / "built", "my-dist", f"1.{number}") for number in range(40)]
    wrong: list[object] = []
    ended = threading.Event()

    def ask() -> None:
        most = 0
        while not ended.is_set():
            count = len(names(catalog, "my-dist"))
            if count < most:
                wrong.append((most, count))
            most = count

    threads = [threading.Thread(target=ask) for _ in range(4)]
    with keeping_up(catalog):
        for thread in threads:
            thread.start()
        for count, file in enumerate(files, 1):
            store.publish(directory, record, [file])
            if len(names(catalog, "my-dist")) != count:
                wrong.append(count)
        ended.set()
        for thread in threads:
            thread.join()
    assert (wrong, ended_early) == ([], [])


def test_new_files_are_examined_before_many_others(directory: Path, catalog: Catalog) -> None:
    """A release that was published while all files are read anew is not the last of them."""
    for number in range(30):
        sdist(directory, f"old-{number}", "1.0")
    catalog.refresh()
    sdist(directory, "new", "1.0")
    catalog.refresh()
    assert catalog._scan.examine_next()
    assert "new" not in {file.project for file in catalog.unread()}
