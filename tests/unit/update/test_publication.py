"""update.publication: a release is recorded before it is visible, and whole or not there at all."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.version import Version
from wheels import sdist, wheel

from pypi_insiders.builder import artifacts
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import BuildSettings, Settings
from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.index.release_lists import TAKEN_BACK
from pypi_insiders.repositories import releases, state
from pypi_insiders.repositories.comparison import Difference, Kind
from pypi_insiders.repositories.state import Build
from pypi_insiders.update.context import UpdateContext, opened
from pypi_insiders.update.progress import Progress
from pypi_insiders.update.publication import Publication, Publisher, RemovedError
from pypi_insiders.update.release import BuildResult
from pypi_insiders.update.request import UpdateRequest
from pypi_insiders.update.sources import TaggedRelease
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.disk_reserve import DiskFullError
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import sha256

_WATCHED = '["me/probe"]\nproject = "probe"\nurl = "file:///nowhere/probe.git"\n'
_SDIST, _WHEEL = "probe-1.0.tar.gz", "probe-1.0-py3-none-any.whl"


@dataclass
class Place:
    """An update of one repository, whose builds are made here."""

    paths: Paths
    context: UpdateContext
    tracked: TrackedRepository
    made: Path

    @property
    def shown(self) -> list[str]:
        """The files of the index."""
        directory = self.paths.distributions
        found = directory.iterdir() if directory.exists() else ()
        return sorted(path.name for path in found if not path.name.startswith("."))

    @property
    def builds(self) -> list[Build]:
        """What the state on the disk says."""
        return state.load(self.paths.state, "me/probe").builds

    def release(self, commit: str = "a" * 40) -> TaggedRelease:
        """The release to publish."""
        return TaggedRelease(self.tracked.repository, "v1.0", commit)

    def result(self, content: bytes = b"") -> BuildResult:
        """Its build."""
        made = sdist(self.made, "probe", "1.0", content=content)
        wheels = [wheel(self.made, "probe", "1.0", content=content)]
        return BuildResult(artifacts.check(made, wheels), is_sandboxed=True)

    def publish(self, content: bytes = b"", *, is_forced: bool = False) -> Publication:
        """Publish it."""
        publisher = Publisher(self.context, self.tracked)
        return publisher.publish(self.release(), self.result(content), (), is_forced=is_forced)


MakePlace = Callable[..., Place]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield from _opened(tmp_path, Settings())


def _opened(directory: Path, settings: Settings) -> Iterator[Place]:
    paths = Paths(*(directory / name for name in ("config", "data", "state", "cache")))
    paths.config.mkdir()
    paths.repositories.write_text(_WATCHED)
    progress = Progress(lambda _name, _step: None, lambda _line: None)
    with opened(paths, settings, UpdateRequest(), progress) as context:
        tracked = TrackedRepository(context, context.watched["me/probe"])
        tracked.load()
        yield Place(paths, context, tracked, directory / "made")


def test_a_release_is_recorded_before_it_is_visible(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all its files, so that the next update finishes or undoes what was killed."""
    seen: list[tuple[list[str], list[str]]] = []
    put = place.context.cache.put

    def watch(entry: Entry, metadata: bytes | None) -> None:
        seen.append((place.shown, [name for it in place.builds for name in it.unfinished]))
        put(entry, metadata)

    monkeypatch.setattr(place.context.cache, "put", watch)
    assert place.publish().new == [_SDIST, _WHEEL]
    assert seen[0] == ([], [_SDIST, _WHEEL])
    (build,) = place.builds
    assert (build.unfinished, sorted(build.files)) == ([], [_WHEEL, _SDIST])
    assert build.files == {name: sha256(place.paths.distributions / name) for name in build.files}


def test_what_fails_half_way_is_forgotten(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, on the disk, and in the list of what was taken back."""
    version = Version("1.0")
    releases.take_back(place.paths, [("probe", version)], "unpublished")

    def fail(*_arguments: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(place.context.cache, "put", fail)
    with pytest.raises(sqlite3.OperationalError):
        place.publish(is_forced=True)
    assert (place.shown, place.builds, place.tracked.known.builds) == ([], [], [])
    monkeypatch.undo()
    assert place.publish().new == ()  # it was taken back, and still is
    assert place.shown == []


def test_what_was_taken_back_is_published_only_by_force(place: Place) -> None:
    """Its commit is recorded all the same, or each update would build it again."""
    releases.take_back(place.paths, [("probe", Version("1.0"))], "unpublished")
    assert place.publish().new == ()
    assert [(build.commit, build.files) for build in place.builds] == [("a" * 40, {})]
    assert place.publish(is_forced=True).new == [_SDIST, _WHEEL]
    assert TAKEN_BACK.load(place.paths.distributions, place.paths.state) == {}


@pytest.mark.parametrize(
    "text",
    ["", _WATCHED.replace("nowhere", "elsewhere"), _WATCHED.replace('"probe"', '"other"')],
    ids=("removed", "another url", "another project"),
)
def test_nothing_is_published_of_what_is_watched_no_more(place: Place, text: str) -> None:
    """The build may have taken an hour, and somebody may have changed the list meanwhile."""
    place.paths.repositories.write_text(text)
    with pytest.raises(RemovedError):
        place.publish()
    assert (place.shown, place.builds) == ([], [])
    place.paths.repositories.write_text(_WATCHED)
    place.publish()
    (place.paths.distributions / _WHEEL).unlink()
    place.paths.repositories.write_text(text)
    with pytest.raises(RemovedError):
        _restore(place)
    assert place.shown == [_SDIST]


def _restore(place: Place, content: bytes = b"", *names: str) -> Publication:
    lost = [
        Difference(name, Kind.MISSING, "probe", "1.0", place.builds[0].files.get(name, "0" * 64))
        for name in names or (_WHEEL,)
    ]
    return Publisher(place.context, place.tracked).restore(
        place.release(), place.result(content), lost
    )


def test_a_lost_file_is_recorded_before_it_is_there_again(place: Place) -> None:
    """The index would reject it otherwise; that it has changed is a warning."""
    place.publish()
    before = place.builds[0].files
    path = place.paths.distributions / _WHEEL
    path.unlink()
    assert _restore(place) == Publication([_WHEEL])
    assert place.builds[0].files == before
    path.unlink()
    done = _restore(place, b"another")
    assert len(done.warnings) == 1
    assert place.builds[0].files == {**before, _WHEEL: sha256(path)}
    with pytest.raises(BuildError, match="instead of probe-1"):
        _restore(place, b"", "probe-1.0-cp311-abi3-any.whl")


def test_an_interrupted_publication_is_finished(place: Place) -> None:
    """Then nothing says any more that it is not."""
    place.publish()
    (build,) = place.builds
    place.tracked.known.builds = [build._replace(unfinished=[_WHEEL])]
    place.tracked.commit()
    (place.paths.distributions / _WHEEL).unlink()
    _restore(place)
    assert place.builds[0].unfinished == []


def test_a_build_that_is_published_already_changes_nothing(place: Place) -> None:
    """The files of then stay, and so does what is recorded of them."""
    place.publish()
    before = place.builds
    assert place.publish(b"another", is_forced=True).new == []
    assert place.builds == before
    assert place.builds[0].files[_WHEEL] == sha256(place.paths.distributions / _WHEEL)


def test_what_does_not_fit_on_the_disk_is_not_begun(tmp_path: Path) -> None:
    """Neither to publish nor to restore: an error in between costs more."""
    settings = Settings(build=BuildSettings(disk_reserve_bytes=2**60))
    for place in _opened(tmp_path, settings):
        with pytest.raises(DiskFullError):
            place.publish()
        assert (place.shown, place.builds) == ([], [])
        build = Build("v1.0", "a" * 40, "1.0", 1, {_WHEEL: "0" * 64})
        place.tracked.known.builds = [build]
        place.tracked.commit()
        with pytest.raises(InsidersError, match="almost full"):
            _restore(place)
        assert place.builds == [build]
