"""disk: which build is ended when a disk becomes full, and whose fault it is."""

import fcntl
import os
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.update.build_workspace import BuildSpace
from pypi_insiders.util import disk_reserve
from pypi_insiders.util.disk_reserve import Guard
from pypi_insiders.util.process_group import ProcessGroup

_MIB = 1024 * 1024
_ROOM_MIB = 12


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a directory on a disk in memory, to which hardly anybody else writes; one at a time."""
    descriptor = os.open("/dev/shm", os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    directory = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)
    os.close(descriptor)


def guard_of(directory: Path, room_mib: int = _ROOM_MIB) -> Guard:
    """Let builds write only so much to the disk of a directory."""
    seen = os.statvfs(directory)
    return Guard(seen.f_bavail * seen.f_frsize - room_mib * _MIB)


def made(directory: Path, *names: str) -> list[Path]:
    """Make directories."""
    paths = [directory / name for name in names]
    for path in paths:
        path.mkdir()
    return paths


def fill(directory: Path, size_mib: int) -> None:
    """Write a file."""
    (directory / "large").write_bytes(bytes(size_mib * _MIB))


def hide(directory: Path, size_mib: int) -> int:
    """Write a file without a name; return its descriptor."""
    path = directory / "hidden"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    path.unlink()
    os.write(descriptor, bytes(size_mib * _MIB))
    return descriptor


def test_who_hides_what_it_writes_is_ended(place: Path) -> None:
    """And not another one, which shows more."""
    hiding, showing = made(place, "hiding", "showing")
    guard = guard_of(place)
    with guard.guarding(showing) as other, guard.guarding(hiding) as use:
        fill(showing, 4)
        assert not use.is_to_end
        descriptor = hide(hiding, 9)
        assert not other.is_to_end
        assert use.is_to_end
        os.close(descriptor)
        told = use.trouble()
        assert told is not None
        assert told[1] is False  # somebody else may have had it


def test_the_largest_is_ended_beside_one_that_hides_less(place: Path) -> None:
    """It takes most of the room, whatever cannot be seen."""
    hiding, showing = made(place, "hiding", "showing")
    guard = guard_of(place)
    with guard.guarding(hiding) as use, guard.guarding(showing) as other:
        descriptor = hide(hiding, 4)
        fill(showing, 9)
        assert not use.is_to_end
        assert other.is_to_end
        os.close(descriptor)
        told = other.trouble()
        assert told is not None
        assert told[1] is True


@pytest.mark.parametrize("beside", ["", "another", "removed", "begun"])
def test_what_is_free_at_the_end_of_one_was_its_own(place: Path, beside: str) -> None:
    """Unless anything else of ours has used the disk since it was chosen."""
    hiding, others = made(place, "hiding", "others")
    guard = guard_of(place)
    with guard.guarding(hiding) as use:
        descriptor = hide(hiding, 13)
        if beside == "another":
            with guard.guarding(others):
                assert use.is_to_end
        else:
            assert use.is_to_end
        if beside == "removed":
            with guard.removing():
                pass
        if beside == "begun":
            with guard.guarding(others):
                pass
        os.close(descriptor)
        told = use.trouble()
    assert told is not None
    assert told[1] is (not beside)
    if not beside:
        assert told[0].startswith("the build was killed after writing 13 MiB: less than ")


def test_what_it_removes_itself_is_not_counted_twice(place: Path) -> None:
    """Temporary files of a hook are gone before it is looked whose fault it was."""
    (own,) = made(place, "own")
    (place / "filler").mkdir()
    guard = guard_of(place, 20)
    with guard.guarding(own) as use:
        fill(place / "filler", 13)  # another program
        fill(own, 8)
        assert use.is_to_end
        (own / "large").unlink()
        told = use.trouble()
    assert told is not None
    assert told[0].startswith("the build was killed after writing 8 MiB: less than ")
    assert told[1] is False


def test_only_who_writes_to_the_full_disk_is_ended(place: Path, tmp_path: Path) -> None:
    """A larger one on another disk makes no room on this one."""
    here, there = *made(place, "here"), *made(tmp_path, "there")
    assert here.stat().st_dev != there.stat().st_dev
    guard = Guard(0)
    with guard.guarding(there) as other, guard.guarding(here) as use:
        fill(there, 16)
        fill(here, 1)
        guard.choose(use.device)
        assert (use.used_bytes, other.used_bytes) == (_MIB, None)


def test_what_was_there_before_is_not_counted(place: Path) -> None:
    """A large mirror that hardly grows fills no disk."""
    mirror, build = made(place, "mirror", "build")
    fill(mirror, 20)
    guard = guard_of(place)
    with guard.guarding(mirror) as other, guard.guarding(build) as use:
        (mirror / "new").write_bytes(bytes(_MIB))
        fill(build, 12)
        assert use.is_to_end
        assert not other.is_to_end


def test_all_are_measured_in_turns(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where time is over, one with very many files has not hidden how large another one is."""
    many, large = made(place, "many", "large")
    guard = Guard(0)
    with guard.guarding(many) as one, guard.guarding(large) as other:
        for number in range(3000):
            (many / str(number)).write_bytes(b"x")
        fill(large, 8)
        times = iter([0.0, 0.0])
        monkeypatch.setattr(time, "monotonic", lambda: next(times, 1.0))
        found = disk_reserve._grown([one, other])
    assert found == {one: 1000 * 4096, other: 8 * _MIB}


def test_measuring_takes_little_memory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all of very many directories are remembered."""
    monkeypatch.setattr(disk_reserve, "_MOST_WAITING", 100)
    with Guard(0).guarding(place) as use:
        for number in range(3000):
            (place / f"{number:0200}").mkdir()
        tracemalloc.start()
        disk_reserve._grown([use])
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak_bytes < 256 * 1024


def test_the_files_of_one_that_is_ended_go_first(place: Path) -> None:
    """Or else another one would be ended for them."""
    paths = Paths(place, place, place, place / "cache")
    paths.builds.mkdir(parents=True)
    space = BuildSpace(paths, Settings(), ProcessGroup())
    space.guard = guard_of(place)
    (other,) = made(place, "other")

    def build(workspace: Path) -> None:
        with space.ended_in_time(workspace):
            fill(workspace, 9)
            assert disk_reserve.is_exhausted()
            raise BuildError("killed")

    with space.guard.guarding(other) as use, space.workspace() as workspace:
        fill(other, 4)
        with pytest.raises(BuildError, match="the build was killed after writing 9 MiB"):
            build(workspace)
        assert not use.is_to_end


def test_of_what_is_removed_nothing_is_anothers(place: Path) -> None:
    """The files of a build that has ended go while others run."""
    paths = Paths(place, place, place, place / "cache")
    paths.builds.mkdir(parents=True)
    space = BuildSpace(paths, Settings(), ProcessGroup())
    (own,) = made(place, "own")
    with ExitStack() as stack:
        workspace = stack.enter_context(space.workspace())
        fill(workspace, 13)
        space.guard = guard_of(place)
        with space.guard.guarding(own) as use:
            fill(place / "cache", 13)  # another program
            assert use.is_to_end
            stack.close()
            told = use.trouble()
    assert told is not None
    assert told[1] is False
