"""release_command: what runs for a new release, with what, how often, and what is told."""

import json
import logging
import os
import select
import shlex
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.reporting import judgement, release_command, snapshot
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.repositories import new_releases
from pypi_insiders.repositories.new_releases import NewRelease
from pypi_insiders.systemd.service_status import Condition, Overview, Services
from pypi_insiders.systemd.systemctl import Manager
from pypi_insiders.systemd.unit_names import SERVER, WATCHER
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import locked

_FILE = "my_app-{}.tar.gz"
_HOSTILE = "v1$(touch bad)`id`%i\"'\\;#é"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(*(tmp_path / name for name in ("config", "data dir", "state", "cache")))
    found.config.mkdir()
    found.distributions.mkdir(parents=True)
    return found


def _set(paths: Paths, **keys: object) -> None:
    lines = (f"{key.replace('_', '-')} = {json.dumps(value)}\n" for key, value in keys.items())
    paths.settings.write_text(f"[watcher]\n{''.join(lines)}")


def _add(paths: Paths, version: str, tag: str = "v1", **fields: object) -> NewRelease:
    """Publish a release, as an update does."""
    name = _FILE.format(version)
    (paths.distributions / name).touch()
    release = NewRelease("my-app", version, tag, "c0ffee", "me/app", [name])
    new_releases.begin(paths, release)
    new_releases.complete(paths, release)
    if fields:
        new_releases.save(paths, release._replace(**fields))  # type: ignore[arg-type]
    return release


def _logging(tmp_path: Path, script: str = "") -> list[str]:
    """Return a command that writes down for which versions it ran, and then does something."""
    (tmp_path / "ran").touch()
    return ["sh", "-c", f'echo "$PYPI_INSIDERS_VERSION" >>"$1"; {script}', "sh", f"{tmp_path}/ran"]


def _in_another_process(paths: Paths) -> list[str]:
    """Return the command that runs what `run` does."""
    code = (
        "import sys; from pathlib import Path; from pypi_insiders.config.paths import Paths; "
        "from pypi_insiders.reporting import release_command; "
        "release_command.run(Paths(*map(Path, sys.argv[1:])), 'my-app')"
    )
    return [sys.executable, "-c", code, *map(str, paths)]


def _ran(tmp_path: Path) -> list[str]:
    return (tmp_path / "ran").read_text().split()


def _warnings(paths: Paths) -> list[tuple[str, str | None]]:
    seen = judge(snapshot.take(paths, datetime.now().astimezone()))
    return [(item.line, item.hint) for item in seen.warnings if item.subject == "me/app"]


def test_the_release_is_in_the_environment_as_it_is(paths: Paths, tmp_path: Path) -> None:
    """Without a shell, so nothing of a name is expanded; its standard input is empty."""
    _set(paths, release_command=["sh", "-c", 'cat; env -0 >"$1"', "sh", f"{tmp_path}/env"])
    _add(paths, "1.0", _HOSTILE)
    assert release_command.run(paths, "my-app")
    found = (tmp_path / "env").read_text().split("\0")
    assert {line for line in found if line.startswith("PYPI_INSIDERS_")} == {
        "PYPI_INSIDERS_PROJECT=my-app",
        "PYPI_INSIDERS_VERSION=1.0",
        f"PYPI_INSIDERS_TAG={_HOSTILE}",
        "PYPI_INSIDERS_COMMIT=c0ffee",
        "PYPI_INSIDERS_REPOSITORY=me/app",
        f"PYPI_INSIDERS_FILES={paths.distributions}/my_app-1.0.tar.gz",
    }


def test_nothing_to_run_is_said(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    """And how to run again what has failed twice."""
    caplog.set_level(logging.INFO)
    _set(paths, release_command=["true"])
    paths.repositories.write_text('["me/app"]\nproject = "my-app"\n')
    assert release_command.run(paths, "my-app")
    _add(paths, "1.0", attempts=2, error="exit status 1")
    assert release_command.run(paths, "my-app")
    assert caplog.messages == [
        "my-app has no new releases",
        "my-app 1.0: release-command has failed; run it again: "
        "`pypi-insiders released --retry my-app`",
    ]


def test_a_project_that_is_not_known_is_an_error(paths: Paths) -> None:
    """Neither watched nor published: a wrong name must not look as if all had been done."""
    paths.repositories.write_text('["me/app"]\nproject = "my-app"\n')
    (paths.distributions / "other-1.0.tar.gz").touch()
    assert release_command.run(paths, "other")
    with pytest.raises(InsidersError) as caught:
        release_command.run(paths, "my-ap", ["true"], is_retry=True)
    assert (caught.value.message, caught.value.hint) == (
        "my-ap has no releases here", "did you mean my-app?"
    )  # fmt: skip


def test_what_should_run_by_now_is_seen(paths: Paths) -> None:
    """Not at once, as its unit may just start; a failure is told already."""
    waiting, now = _add(paths, "1.0"), datetime.now().astimezone()
    _add(paths, "2.0", error="exit status 1")
    assert snapshot.take(paths, now).unbegun == ()
    assert snapshot.take(paths, now + timedelta(minutes=2)).unbegun == (waiting,)


def test_files_are_one_a_line_and_bare_names_elsewhere(paths: Paths, tmp_path: Path) -> None:
    """With `local = false` they are in another index only."""
    _set(paths, release_command=["sh", "-c", f'echo "$PYPI_INSIDERS_FILES" >{tmp_path}/files'])
    release = _add(paths, "1.0")._replace(files=["a-1.0.tar.gz", "a-1.0.whl"], local=False)
    new_releases.save(paths, release)
    assert release_command.run(paths, "my-app")
    assert (tmp_path / "files").read_text() == "a-1.0.tar.gz\na-1.0.whl\n"


def test_each_release_once_the_lowest_version_first(paths: Paths, tmp_path: Path) -> None:
    """Also one that is published while the command runs, but none that is not complete."""
    for version in ("1.10", "1.9", "2.0rc1"):
        _add(paths, version)
    later = _add(paths, "3.0")
    ready = paths.new_releases / "my-app/3.0.json"
    ready.rename(tmp_path / "later")
    new_releases.begin(paths, later._replace(version="4.0"))
    _set(paths, release_command=_logging(tmp_path, f"mv {tmp_path}/later {ready} || :"))
    for _ in range(2):
        assert release_command.run(paths, "my-app")
    assert _ran(tmp_path) == ["1.9", "1.10", "2.0rc1", "3.0"]


def test_a_command_that_fails_runs_once_more_and_then_on_request(
    paths: Paths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a warning until it has succeeded, and keeps no other release from its turn."""
    caplog.set_level(logging.INFO)
    failing = _logging(tmp_path, '[ "$PYPI_INSIDERS_VERSION" != 1.0 ] || exit 7')
    _set(paths, release_command=failing)
    _add(paths, "1.0")
    _add(paths, "1.1")
    line = "me/app: release-command failed for my-app 1.0: exit status 7; "
    retry = "`pypi-insiders released --retry my-app`"
    assert not release_command.run(paths, "my-app")
    log = "`journalctl --user -t pypi-insiders-released`"
    assert _warnings(paths) == [(f"{line}the next update runs it once more", log)]
    assert not release_command.run(paths, "my-app")
    assert _warnings(paths) == [(f"{line}it is not run again", retry)]
    assert release_command.run(paths, "my-app")
    assert _ran(tmp_path) == ["1.0", "1.1", "1.0"]
    failed = "my-app 1.0: release-command failed: exit status 7; "
    told = [text for text in caplog.messages if "running" not in text]
    assert told == [
        f"{failed}the next update runs it once more",
        f"{failed}it is not run again",
        f"hint: run it again: {retry}",
        f"my-app 1.0: release-command has failed; run it again: {retry}",
    ]
    assert not release_command.run(paths, "my-app", is_retry=True)
    assert release_command.run(paths, "my-app", ("true",), is_retry=True)
    assert _warnings(paths) == []
    assert new_releases.ready(paths) == []


def test_the_hint_without_units_runs_the_command_again(paths: Paths) -> None:
    """In the journal there is nothing of it."""
    _add(paths, "1.0", attempts=1, error="exit status 7")
    seen = snapshot.take(paths, datetime.now().astimezone())
    hints = []
    for condition in (Condition.STOPPED, Condition.NOT_INSTALLED):
        looks = Overview(SERVER, Condition.NOT_INSTALLED, ""), Overview(WATCHER, condition, "")
        services = Services(Manager(Path("/units"), (), "252"), *looks, {})
        (item,) = judgement._unannounced(seen._replace(services=services))
        hints.append(item.hint)
    assert hints == [
        "`journalctl --user -t pypi-insiders-released`", "`pypi-insiders released my-app`",
    ]  # fmt: skip


def test_what_was_given_up_is_past_once_the_command_works_again(
    paths: Paths, tmp_path: Path
) -> None:
    _set(paths, release_command=_logging(tmp_path))
    _add(paths, "1.0", attempts=2, error="exit status 7")
    assert len(_warnings(paths)) == 1
    _add(paths, "1.1")
    assert release_command.run(paths, "my-app")
    assert (_ran(tmp_path), _warnings(paths)) == (["1.1"], [])


def test_an_interrupted_command_runs_once_more(paths: Paths, tmp_path: Path) -> None:
    """Not without end: it may be what ends the machine."""
    _set(paths, release_command=_logging(tmp_path, "kill -9 $PPID"))
    _add(paths, "1.0")
    for number in (1, 2):
        argv = _in_another_process(paths)
        assert subprocess.run(argv, check=False).returncode == -9
        assert _ran(tmp_path) == ["1.0"] * number
        # At once, and not of a command that runs now.
        failed = "me/app: release-command failed for my-app 1.0: interrupted; "
        outlook = "it is not run again" if number == 2 else "the next update runs it once more"
        assert [line for line, _ in _warnings(paths)] == [failed + outlook]
        with locked(paths.locks.releases("my-app")):
            assert _warnings(paths) == []
    assert release_command.run(paths, "my-app")
    assert _ran(tmp_path) == ["1.0"] * 2
    assert [line for line, _ in _warnings(paths)] == [
        "me/app: release-command failed for my-app 1.0: interrupted; it is not run again"
    ]


def test_two_at_once_run_it_once(paths: Paths, tmp_path: Path) -> None:
    """The second waits for the first, here for ever: it is within its command."""
    other = shlex.join(["env", "INNER=1", "timeout", "2", *_in_another_process(paths)])
    _set(paths, release_command=_logging(tmp_path, f'[ -n "$INNER" ] || {other} || :'))
    _add(paths, "1.0")
    assert release_command.run(paths, "my-app")
    assert _ran(tmp_path) == ["1.0"]


def test_a_release_that_is_gone_is_not_announced(paths: Paths, tmp_path: Path) -> None:
    """It was unpublished, or its files are lost."""
    _set(paths, release_command=_logging(tmp_path))
    _add(paths, "1.0")
    (paths.distributions / _FILE.format("1.0")).unlink()
    assert release_command.run(paths, "my-app")
    assert (_ran(tmp_path), new_releases.ready(paths)) == ([], [])


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["/nowhere/rebuild"], "/nowhere/rebuild was not found"),
        (["sh", "-c", "kill -9 $$"], "killed by signal 9"),
    ],
)
def test_why_a_command_failed_is_told(paths: Paths, command: list[str], error: str) -> None:
    _set(paths, release_command=command)
    _add(paths, "1.0")
    assert not release_command.run(paths, "my-app")
    assert [item.error for item in new_releases.ready(paths)] == [error]


def test_a_command_that_hangs_ends_with_all_of_its_processes(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_command, "_TIMEOUT_S", 0.5)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    _set(paths, release_command=["sh", "-c", f"exec 3>{pipe}; sleep 1000 & wait"])
    _add(paths, "1.0")
    assert not release_command.run(paths, "my-app")
    # At its end once no process has it open any more.
    assert select.select([reader], [], [], 60)[0] == [reader]
    os.close(reader)
    assert [item.error for item in new_releases.ready(paths)] == ["it took longer than 0.5 s"]


@pytest.mark.parametrize("script", ["cat >>text", "cat >>text; exit 1"])
def test_one_notification_of_all_new_releases(
    paths: Paths, tmp_path: Path, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, whatever becomes of it or of the command."""
    mail = ["sh", "-c", f'cd {tmp_path}; echo "$1" >>text; {script}', "sh", "{subject}"]
    _set(paths, release_command=["false"], notify_releases=True, notify_command=mail)
    _add(paths, "1.10")
    _add(paths, "1.9", "v1.9")
    for _ in range(2):
        assert not release_command.run(paths, "my-app")
    assert (tmp_path / "text").read_text() == (
        "pypi-insiders: new release: my-app 1.9, 1.10\n"
        "my-app 1.9 was published (me/app, tag v1.9).\n"
        "my-app 1.10 was published (me/app, tag v1).\n"
    )
    assert ("sh failed to send the message" in caplog.text) == ("exit 1" in script)


def test_a_notification_needs_no_command(paths: Paths, tmp_path: Path) -> None:
    mail = ["sh", "-c", f"cat >>{tmp_path}/text"]
    _set(paths, notify_releases=True, notify_command=mail)
    _add(paths, "1.0.dev1", "branch main at c0ffee123")
    assert release_command.run(paths, "my-app")
    told = "my-app 1.0.dev1 was published (me/app, branch main at c0ffee123).\n"
    assert (tmp_path / "text").read_text() == told
    assert new_releases.ready(paths) == []


@pytest.mark.parametrize("text", ["", "{}", "[", '{"project": "my-app"}'])
def test_a_damaged_file_is_set_aside(paths: Paths, tmp_path: Path, text: str) -> None:
    """And told; the other releases have their turn."""
    _set(paths, release_command=_logging(tmp_path))
    _add(paths, "1.0")
    (paths.new_releases / "my-app/0.9.json").write_text(text)
    assert release_command.run(paths, "my-app")
    assert _ran(tmp_path) == ["1.0"]
    seen = snapshot.take(paths, datetime.now().astimezone())
    assert [path.name for path in seen.set_aside] == ["0.9.json.damaged"]
