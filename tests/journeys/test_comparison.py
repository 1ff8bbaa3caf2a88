"""What is remembered is compared with what is there: real updates, real builds, a real server."""

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fixtures import Person, Watch, names, need, run_command, start_command, untimed
from projects import Project, git
from wheels import wheel

from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.index.release_lists import TAKEN_BACK, YANKED
from pypi_insiders.reporting import alerts
from pypi_insiders.repositories import (
    comparison,
    held_names,
    public_versions,
    releases,
    removals,
    state,
)
from pypi_insiders.repositories.comparison import Kind
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import sha256, write_atomic

if TYPE_CHECKING:
    import subprocess

WHEEL = "probe-1.0-py3-none-any.whl"
SDIST = "probe-1.0.tar.gz"
# Of no public project: a first build without a name is refused then.
UNNAMED = "pypi-insiders-unnamed-probe"


def limited() -> list[str]:
    """Name the command that runs another one without the rights of root over files."""
    return [need("setpriv"), "--bounding-set", "-all"] if os.geteuid() == 0 else []


def run_limited(person: Person, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run `pypi-insiders` as a user to whom modes of files apply."""
    return run_command(arguments, person.environment, before=limited())


@contextmanager
def serving(person: Person, port: int) -> Iterator[str]:
    """Serve the index as a user to whom modes of files apply; give its URL up to the port."""
    settings = person.paths.settings
    before = settings.read_text() if settings.exists() else ""
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(f'{before}[server]\nhost = "127.0.0.1"\nport = {port}\n')
    process = start_command(("server", "run"), person.environment, before=limited())
    try:
        assert process.stdout
        assert process.stdout.readline().startswith("http")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=100)
        settings.write_text(before)


def listed(url: str, project: str) -> dict[str, str]:
    """Read off the page of a project which files it has, and their hashes."""
    request = urllib.request.Request(
        f"{url}/simple/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=100) as answer:
        files = json.load(answer)["files"]
    return {file["filename"]: file["hashes"]["sha256"] for file in files}


def known(person: Person, name: str = "probe") -> dict[str, dict[str, str]]:
    """Read off the state what was published: version to the hashes of files."""
    content = json.loads((person.paths.state / f"repositories/me/{name}.json").read_text())
    return {build["version"]: build["files"] for build in content["builds"]}


def hashes(person: Person) -> dict[str, str]:
    """Hash what the index holds."""
    directory = person.paths.distributions
    found = (directory / name for name in person.distributions() if not name.startswith("."))
    return {path.name: sha256(path) for path in found if path.is_file()}


def _one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _another(path: Path) -> None:
    wheel(path.parent, "probe", path.name.split("-")[1], content=b"# evil\n")


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def _a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _closed(path: Path) -> None:
    path.chmod(0)


SPOILED: dict[str, Callable[[Path], None]] = {
    "1.0": Path.unlink,
    "1.1": _one_byte,
    "1.2": _another,
    "1.3": _emptied,
    "1.4": _a_link,
    "1.5": _a_directory,
    "1.6": _closed,
}


def test_what_is_lost_or_changed_is_left_out_and_built_again(
    person: Person, watch: Watch, port: int
) -> None:
    """Before an update nothing of it is served, under no hash; after it, all is as before."""
    project = watch("probe")
    for version in SPOILED:
        project.release(version)
    person.run("repos", "set", "me/probe", "backfill=7", "max-new=7")
    person.run("update")
    before = hashes(person)
    assert len(before) == 14
    directory = person.paths.distributions
    with serving(person, port) as url:
        assert listed(url, "probe") == before
        for version, spoil in SPOILED.items():
            spoil(directory / f"probe-{version}-py3-none-any.whl")
        (directory / "probe-1.0.tar.gz").unlink()
        for version in SPOILED:
            name = f"probe-{version}-py3-none-any.whl"
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"{url}/packages/{name}", timeout=100)
    with serving(person, port) as url:
        whole = {name: digest for name, digest in before.items() if name.endswith(".tar.gz")}
        del whole["probe-1.0.tar.gz"]
        assert listed(url, "probe") == whole
        export = person.home / "export"
        assert run_limited(person, "export", export).returncode == 0
        copied = {path.name for path in (export / "packages").iterdir()}
        assert {name for name in copied if not name.endswith(".metadata")} == set(whole)
        told = run_limited(person, "doctor").stdout
        for version in SPOILED:
            assert f"probe-{version}-py3-none-any.whl" in told

        done = run_limited(person, "update")
        assert untimed(done.stdout) == "Checked 1 repository, published 8 files\n", done.stderr
        for name in sorted(set(before) - set(whole)):
            assert f"me/probe: restored {name}, identical to the lost file\n" in done.stderr
        assert listed(url, "probe") == before
    assert hashes(person) == before
    aside = sorted(path.name for path in (directory / ".set-aside").iterdir())
    assert aside == [f"probe-{version}-py3-none-any.whl" for version in list(SPOILED)[1:]]
    assert comparison.compare(person.paths, verify=True) == []
    assert person.run("update").stdout == "Checked 1 repository, published 0 files\n"


def test_a_lost_directory_is_filled_again(person: Person, watch: Watch) -> None:
    """Removed, moved, emptied: all comes back, with its yanks, and without what was taken back."""
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    project.release("1.1")
    project.release("1.2")
    person.run("update")
    person.run("yank", "probe", "1.0", "--reason", "broken")
    person.run("unpublish", "--yes", "probe", "1.1")
    before = hashes(person)
    directory = person.paths.distributions
    shutil.rmtree(directory)
    assert untimed(person.run("update").stdout) == "Checked 1 repository, published 4 files\n"
    assert hashes(person) == before
    assert YANKED.load(directory) == {"probe": {"1.0": "broken"}}
    assert TAKEN_BACK.load(directory) == {"probe": {"1.1": "unpublished"}}
    directory.rename(directory.with_name("moved"))
    directory.mkdir()
    assert untimed(person.run("update").stdout) == "Checked 1 repository, published 4 files\n"
    assert hashes(person) == before


def test_what_was_taken_back_stays_so_without_any_state(person: Person, watch: Watch) -> None:
    """Also if its repository is not named; only `--tag --force` publishes it again."""
    for name, named in (("probe", True), (UNNAMED, False)):
        watch(name, named=named).release("1.0")
    person.run("update")
    person.run("unpublish", "--yes", "probe", "1.0")
    person.run("unpublish", "--yes", UNNAMED, "--all")
    shutil.rmtree(person.paths.state)
    for again in ((), ("me/probe",), ("me/probe", "--all-tags", "--force")):
        done = person.run("update", *again)
        assert done.stdout.endswith("published 0 files\n")
        assert person.distributions() == []
    told = person.run("update", "me/probe", "--tag", "v1.0").stderr
    assert "the release of tag v1.0 was taken back; publish it again with --force\n" in told
    person.run("update", "me/probe", "--tag", "v1.0", "--force")
    assert person.distributions() == names("probe-1.0")
    person.paths.distributions.joinpath(WHEEL).unlink()
    person.run("update")
    assert person.distributions() == names("probe-1.0")


def test_purged_and_watched_again_it_starts_from_scratch(person: Person, watch: Watch) -> None:
    """Also what was taken back before."""
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    person.run("unpublish", "--yes", "probe", "1.0")
    person.run("repos", "remove", "--purge", "--yes", "me/probe")
    person.run("repos", "add", "me/probe:probe", "--url", project.url)
    person.run("update")
    assert person.distributions() == names("probe-1.0")


def _random(project: Project) -> None:
    """Let each build give another wheel."""
    project.hook(
        "import os\n"
        "with open('probe/noise.py', 'w') as file:\n"
        "    file.write(f'noise = {os.urandom(8)!r}\\n')"
    )


def test_a_build_that_is_not_reproducible(person: Person, watch: Watch) -> None:
    """`--force` changes nothing in the state; what is lost comes back, and both hashes are told."""
    project = watch("probe")
    project.write("1.0")
    _random(project)
    project.push("v1.0")
    person.run("update")
    state_file = person.paths.state / "repositories/me/probe.json"
    before, text = hashes(person), state_file.read_text()
    forced = person.run("update", "me/probe", "--tag", "v1.0", "--force")
    assert f"keeping the published {WHEEL}; the rebuilt file differs" in forced.stderr
    assert json.loads(state_file.read_text())["builds"] == json.loads(text)["builds"]
    assert hashes(person) == before
    (person.paths.distributions / WHEEL).unlink()
    done = person.run("update")
    after = hashes(person)
    assert after[SDIST] == before[SDIST]
    assert after[WHEEL] != before[WHEEL]
    line = (
        f"{WHEEL} was missing; the rebuilt file has sha256 {after[WHEEL]}, "
        f"different from {before[WHEEL]}"
    )
    assert f"warning: me/probe: {line}\n" in done.stderr
    assert state.load_checks(person.paths.state)["me/probe"].warnings == [line]
    assert known(person)["1.0"] == after
    removed = person.run("repos", "remove", "--purge", "--yes", "me/probe").stdout
    assert f"removed {WHEEL} from the index" in removed


def test_a_tag_that_has_moved_or_gone(person: Person, watch: Watch) -> None:
    """The recorded commit is built, not that of the tag; what is gone is a problem that lasts."""
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    before = hashes(person)
    (project.package / "more.py").write_text("")
    project.push("v1.0", force=True)
    (person.paths.distributions / WHEEL).unlink()
    shutil.rmtree(person.paths.mirror("me/probe"))
    done = person.run("update")
    assert f"me/probe: restored {WHEEL}, identical to the lost file\n" in done.stderr
    assert hashes(person) == before
    for place in (project.tree, project.remote):
        git(place, "tag", "--delete", "v1.0")
    project.release("1.1")
    (person.paths.distributions / WHEEL).unlink()
    for _ in range(2):
        failed = person.run("update", status=1)
        assert (
            f"error: me/probe: tag v1.0: cannot rebuild {WHEEL}: the tag was deleted from the "
            "repository\nhint: restore the files from a backup, or give up the release: "
            "`pypi-insiders unpublish probe 1.0`\n"
        ) in failed.stderr
    assert f"gave up {WHEEL}\n" in person.run("unpublish", "--yes", "probe", "1.0").stdout
    assert person.run("update").stdout == "Checked 1 repository, published 0 files\n"


def test_what_was_dropped_in_by_hand_is_missed_until_it_is_given_up(
    person: Person, port: int
) -> None:
    """Lost or replaced, it is a problem: nothing can build it again."""
    path = wheel(person.paths.distributions, "mine", "1.0")
    digest = sha256(path)
    with serving(person, port) as url:
        assert listed(url, "mine") == {path.name: digest}
    wheel(person.paths.distributions, "mine", "1.0", content=b"# another\n")
    refused = pytest.raises(urllib.error.HTTPError, match="mine has no usable file")
    with serving(person, port) as url, refused:
        listed(url, "mine")
    (found,) = comparison.compare(person.paths)
    assert (found.kind, found.recorded_sha256) == (Kind.CHANGED, digest)
    path.unlink()
    with serving(person, port):
        pass
    told = person.run("doctor", status=1).stdout
    assert "problem  mine: mine was served (copied there by hand); its files are missing" in told
    assert person.run("unpublish", "--yes", "mine", "--all").stdout == (
        f"gave up {path.name}\nmine is no longer held: installers get it from the fallback index\n"
    )
    assert comparison.compare(person.paths) == []
    wheel(person.paths.distributions, "mine", "1.0", content=b"# another\n")
    with serving(person, port) as url:
        assert listed(url, "mine") == {path.name: sha256(path)}


def test_what_neither_size_nor_time_betrays_is_found_by_its_hash(
    person: Person, watch: Watch
) -> None:
    """Once in each `verify-interval`, and by `doctor --verify`."""
    watch("probe").release("1.0")
    person.run("update")
    path = person.paths.distributions / WHEEL
    before = hashes(person)
    verified_at = state.load_verified(person.paths.state)
    assert 0 <= time.time() - verified_at < 600

    def spoil() -> None:
        status = path.stat()
        _one_byte(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    spoil()
    assert person.run("update").stdout == "Checked 1 repository, published 0 files\n"
    assert comparison.compare(person.paths) == []
    told = person.run("doctor", "--verify", status=1).stdout
    assert f"problem  me/probe: probe 1.0: {WHEEL} differs from what was published" in told
    assert untimed(person.run("update").stdout) == "Checked 1 repository, published 1 file\n"
    assert hashes(person) == before
    for at in (verified_at - 8 * 86400, verified_at + 400 * 86400):
        spoil()
        state.save_verified(person.paths.state, at)
        assert untimed(person.run("update").stdout) == "Checked 1 repository, published 1 file\n"
        assert hashes(person) == before
        assert state.load_verified(person.paths.state) >= verified_at
    person.paths.settings.write_text("[watcher]\nverify-interval = 0\n")
    spoil()
    state.save_verified(person.paths.state, 0)
    assert person.run("update").stdout == "Checked 1 repository, published 0 files\n"


def test_what_an_older_version_took_back_stays_so(person: Person, watch: Watch) -> None:
    """It kept no list: what is missing as a whole was taken back, but not a lost directory."""
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    project.release("1.1")
    person.run("update")
    path = person.paths.state / "repositories/me/probe.json"

    def as_of_old() -> None:
        content = json.loads(path.read_text())
        for build in content["builds"]:
            build.pop("local", None)
        path.write_text(json.dumps({**content, "format": 2}))

    as_of_old()
    shutil.rmtree(person.paths.distributions)
    assert untimed(person.run("update").stdout) == "Checked 1 repository, published 4 files\n"
    for name in names("probe-1.0"):
        (person.paths.distributions / name).unlink()
    as_of_old()
    assert "1.0 is missing from the index and counts as unpublished" in person.run("update").stderr
    assert person.distributions() == names("probe-1.1")
    shutil.rmtree(person.paths.distributions)
    person.run("update")
    assert person.distributions() == names("probe-1.1")


def test_an_empty_list_of_repositories_that_nobody_emptied(person: Person, watch: Watch) -> None:
    """That is warned of; what somebody removed is not."""
    for name in ("probe", "other"):
        watch(name).release("1.0")
    person.run("update")
    person.run("repos", "remove", "me/other")
    before = person.paths.repositories.read_text()
    for text in ("", None):
        if text is None:
            person.paths.repositories.unlink()
        else:
            person.paths.repositories.write_text(text)
        assert (
            f"warning: {person.paths.repositories} lists no repositories, but nobody removed "
            "me/probe\n"
        ) in person.run("update").stderr
    person.paths.repositories.write_text(before)
    person.run("repos", "remove", "me/probe")
    assert "nobody removed" not in person.run("update").stderr


def _garbage(path: Path) -> None:
    path.write_bytes(b"\xff\xfe{]")


def _truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _of_another_shape(path: Path) -> None:
    path.write_text('{"me/probe": {"checked_at": "yesterday"}, "format": 3, "builds": {"a": 1}}')


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(4096))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "empty": _emptied,
    "truncated": _truncated,
    "garbage": _garbage,
    "other shape": _of_another_shape,
    "zeros": _zeros,
    "mode 000": _closed,
    "directory": _a_directory,
}


def _aids(person: Person) -> list[Path]:
    paths = person.paths
    return [
        paths.state / "checks.json",
        paths.state / "repositories/me/probe.json",
        paths.state / "yanked.json",
        paths.state / "taken-back.json",
        paths.state / "verified.json",
        paths.state / "public.json",
        paths.state / "removed.json",
        paths.state / "troubles-over.json",
        paths.held_names,
        paths.troubles / "server.json",
        paths.record,
        paths.distributions / ".yanked.json",
        paths.distributions / ".taken-back.json",
    ]


def test_damaged_state_stops_nothing(person: Person, watch: Watch, port: int) -> None:
    """Each kind of damage, of every file at once but for the lists beside the distributions.

    Nothing is built anew, nothing is published that was taken back, and the yank stays.
    """
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    project.release("1.1")
    person.run("update")
    person.run("yank", "probe", "1.0")
    person.run("unpublish", "--yes", "probe", "1.1")
    before = hashes(person)
    *aids, yanked, taken_back = _aids(person)
    some = ("missing", "garbage", "mode 000")
    for kind, spoil in DAMAGES.items():
        for copy in (aids, [yanked, taken_back]) if kind in some else (aids,):
            for path in copy:
                path.parent.mkdir(exist_ok=True)
                if not path.exists():
                    path.write_text("{}")
                spoil(path)
            with serving(person, port) as url:
                assert listed(url, "probe") == before, kind
                with urllib.request.urlopen(f"{url}/", timeout=100) as front:
                    assert front.status == 200
                # For its one release that was not taken back is yanked.
                assert run_limited(person, "status").returncode == 1, kind
                assert run_limited(person, "export", person.home / "export").returncode == 0
                done = run_limited(person, "update")
                assert done.stdout == "Checked 1 repository, published 0 files\n", (
                    kind,
                    done.stderr,
                )
                assert done.returncode == 0, (kind, done.stderr)
                assert listed(url, "probe") == before, kind
            assert YANKED.load(person.paths.distributions) == {"probe": {"1.0": ""}}, kind
            assert TAKEN_BACK.load(person.paths.distributions, person.paths.state) == {
                "probe": {"1.1": "unpublished"}
            }, kind
            assert known(person)["1.0"] == before, kind


@pytest.mark.parametrize("kind", [kind for kind in DAMAGES if kind != "mode 000"])
def test_what_is_damaged_is_set_aside_and_said_in_one_line(
    person: Person, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each file by itself; what was set aside before is kept."""
    paths = person.paths
    load: dict[str, Callable[[], object]] = {
        "checks.json": lambda: state.load_checks(paths.state),
        "probe.json": lambda: state.load(paths.state, "me/probe"),
        "yanked.json": lambda: YANKED.load(paths.distributions, paths.state),
        "taken-back.json": lambda: TAKEN_BACK.load(paths.distributions, paths.state),
        "verified.json": lambda: state.load_verified(paths.state),
        "public.json": lambda: public_versions.load(paths.state),
        "removed.json": lambda: removals.load(paths.state),
        "troubles-over.json": lambda: alerts.load(paths),
        "server.json": lambda: alerts.load(paths),
        "held.json": lambda: held_names.load(paths),
        "distributions.sqlite": lambda: MetadataCache(paths.record, paths.distributions).close(),
    }
    for path in _aids(person)[:-2]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"a": "valid, but not what it should be"}')
        earlier = path.with_name(f"{path.name}.damaged")
        earlier.write_text("earlier")
        DAMAGES[kind](path)
        inode = None if kind == "missing" else path.lstat().st_ino
        caplog.clear()
        load[path.name]()
        assert earlier.read_text() == "earlier"
        is_anew = kind == "empty" and path == paths.record  # an empty database is a new one
        if inode is None or is_anew:
            assert caplog.messages == []
        else:
            aside = path.with_name(f"{path.name}.damaged.1")
            assert aside.lstat().st_ino == inode
            (line,) = caplog.messages
            assert line.startswith(f"{path} is damaged")
            assert line.endswith(f" {aside.name}")


def test_a_state_directory_that_nobody_may_read(person: Person, watch: Watch, port: int) -> None:
    """The index goes on; an update fails in one line, and works when it is mended."""
    watch("probe").release("1.0")
    person.run("update")
    before = hashes(person)
    for number in (0o000, 0o500):
        person.paths.state.chmod(number)
        try:
            with serving(person, port) as url:
                assert listed(url, "probe") == before
                # The thread that keeps up still does: what comes now is served.
                wheel(person.paths.distributions, "mine", f"1.{number}")
                assert len(listed(url, "mine")) >= 1
                with urllib.request.urlopen(f"{url}/project/probe/", timeout=100) as page:
                    assert page.status == 200
            failed = run_limited(person, "update")
            assert failed.returncode == 1
            (error,) = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
            assert error.endswith(": Permission denied")
            assert "Traceback" not in failed.stderr
        finally:
            person.paths.state.chmod(0o700)
    assert person.run("update").returncode == 0


def test_state_of_a_newer_version_is_left_as_it_is(person: Person, watch: Watch) -> None:
    """It is no damage: that is said, and nothing of that repository is built."""
    watch("probe").release("1.0")
    person.run("update")
    path = person.paths.state / "repositories/me/probe.json"
    text = json.dumps({**json.loads(path.read_text()), "format": 99, "news": 1})
    path.write_text(text)
    failed = person.run("update", status=1)
    assert f"error: me/probe: {path} was written by a newer version of this program" in (
        failed.stderr
    )
    assert path.read_text() == text
    assert not path.with_name("probe.json.damaged").exists()


def test_times_in_the_future_count_as_now(person: Person, watch: Watch) -> None:
    """After a clock that was 400 days ahead, a tag is tried again at once, and a host is missed."""
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    path = person.paths.state / "repositories/me/probe.json"
    future = int(time.time()) + 400 * 86400
    commit = project.release("1.1")
    content = json.loads(path.read_text())
    content["builds"][0]["built_at"] = future
    content["failures"] = {
        "v1.1": {"commit": commit, "message": "x", "count": 3, "failed_at": future,
                 "next_at": future + 3600}
    }  # fmt: skip
    path.write_text(json.dumps(content))
    assert untimed(person.run("update").stdout) == "Checked 1 repository, published 2 files\n"
    now_s = time.time()
    assert json.loads(path.read_text())["builds"][0]["built_at"] <= now_s
    checks = person.paths.state / "checks.json"
    checks.write_text(json.dumps({"me/probe": {"checked_at": future, "unreachable_since": future}}))
    found = state.load_checks(person.paths.state)["me/probe"]
    assert found.checked_at is not None
    assert found.unreachable_since is not None
    assert max(found.checked_at, found.unreachable_since) <= time.time()


def test_what_killed_runs_left_is_swept_and_nothing_else(person: Person, watch: Watch) -> None:
    """Only what carries our mark, and only what nobody writes any more."""
    watch("probe").release("1.0")
    person.run("update")
    paths = person.paths
    old = time.time() - 7200
    mirror = paths.mirror("me/probe").with_name("probe.git.new")
    mirror.mkdir()
    places = (paths.config, paths.state, paths.state / "repositories/me", paths.distributions)
    left: list[Path] = []
    kept = [paths.mirror("me/probe")]
    for place in places:
        for name, at, swept in (
            (".repos.toml.abcd_123.unfinished", old, True),
            (".checks.json.abcd_124.unfinished", time.time() + 400 * 86400, True),
            (".repos.toml.abcd_125.unfinished", time.time(), False),
            (".repos.toml.original", old, False),
            ("notes.unfinished", old, False),
            (".mine.unfinished", old, False),
        ):
            path = place / name
            path.write_text("x")
            os.utime(path, (at, at))
            (left if swept else kept).append(path)
    person.run("update")
    assert [path for path in (*left, mirror) if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


def test_a_file_that_is_being_written_carries_our_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what is left of it can be told from files of the user."""
    seen: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.extend(tmp_path.iterdir()))
    write_atomic(tmp_path / "repos.toml", "x")
    (path,) = seen
    assert path.name.startswith(".repos.toml.")
    assert path.name.endswith(".unfinished")


def test_what_nobody_knows_cannot_be_unpublished(person: Person) -> None:
    """Neither twice."""
    wheel(person.paths.distributions, "mine", "1.0")
    person.run("unpublish", "--yes", "mine", "1.0")
    for versions in (["1.0"], []):
        with pytest.raises(InsidersError, match=r"^mine has no releases here|^mine 1\.0 not found"):
            releases.find_published(person.paths, "mine", versions)
    wrong = person.run("unpublish", "--yes", "mine", status=2)
    assert wrong.stderr == (
        "error: name the versions to remove, or give --all\n"
        "hint: `pypi-insiders unpublish mine --all` removes all versions\n"
    )
