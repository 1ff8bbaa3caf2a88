"""announcer: for which releases `release-command` is started, and when."""

import logging
from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings, WatcherSettings
from pypi_insiders.repositories import new_releases, state
from pypi_insiders.repositories.new_releases import NewRelease
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.systemd import systemctl
from pypi_insiders.update.announcer import Announcer
from pypi_insiders.util.errors import InsidersError

_RELEASE = NewRelease("app", "1.0", "v1.0", "c0ffee", "me/app", ["app-1.0.tar.gz"], local=False)
_BUILD = Build("v1.0", "c0ffee", "1.0", 1, {"app-1.0.tar.gz": "0" * 64})


@pytest.fixture
def paths(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    # Without a user manager, so that the command runs here.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    paths.config.mkdir()
    paths.settings.write_text(
        "[watcher]\nrelease-command = "
        f'["sh", "-c", "echo $PYPI_INSIDERS_VERSION >>{tmp_path}/ran"]\n'
    )
    return paths


def _announcer(paths: Paths, *command: str) -> Announcer:
    return Announcer(paths, Settings(watcher=WatcherSettings(release_command=command)))


def _ran(paths: Paths) -> list[str]:
    file = paths.state.parent / "ran"
    return file.read_text().split() if file.exists() else []


def _left(paths: Paths) -> list[str]:
    return sorted(path.name for path in paths.new_releases.glob("*/*") if path.name != "lock")


@pytest.mark.parametrize(
    ("builds", "ran", "left"),
    [
        ([_BUILD], ["1.0"], []),
        # Killed while it was published: the next update finishes it.
        ([_BUILD._replace(unfinished=["app-1.0.tar.gz"])], [], ["1.0.begun"]),
        # Never published, or taken back.
        ([], [], []),
        ([_BUILD._replace(files={})], [], []),
        ([_BUILD._replace(tag="v1")], [], []),
    ],
)
def test_the_command_runs_for_what_is_recorded(
    paths: Paths, builds: list[Build], ran: list[str], left: list[str]
) -> None:
    """And once, in whatever update; of another repository nothing is changed."""
    announcer = _announcer(paths, "sh")
    with announcer.announcing(_RELEASE):
        announcer.settle("me/other")
        assert _left(paths) == ["1.0.begun"]
    state.save(paths.state, "me/app", RepositoryState("app", builds))
    for _ in range(2):
        again = _announcer(paths, "sh")
        again.resume(["me/app"], ["me/app"])
        again.settle("Me/App")
        again.finish()
        assert (_ran(paths), _left(paths)) == (ran, left)


def test_a_release_that_could_not_be_published_is_forgotten(paths: Paths) -> None:
    announcer = _announcer(paths, "sh")
    with pytest.raises(KeyboardInterrupt), announcer.announcing(_RELEASE):
        raise KeyboardInterrupt
    assert _left(paths) == []


def test_nothing_is_stored_without_a_command(paths: Paths) -> None:
    """What was waiting is forgotten: a command that is set later is not for the past."""
    with _announcer(paths, "sh").announcing(_RELEASE):
        pass
    new_releases.save(paths, _RELEASE)
    assert _left(paths) == ["1.0.begun", "1.0.json"]
    without = _announcer(paths)
    without.resume(["me/app"], ["me/app"])
    with without.announcing(_RELEASE):
        assert _left(paths) == []
    without.settle("me/app")
    without.finish()
    assert _ran(paths) == []


def test_what_earlier_updates_left_is_started(paths: Paths) -> None:
    """Not what was given up; nor what a repository that is gone had begun."""
    for version, attempts, error in (
        ("1.0", 0, None),
        ("2.0", 1, "exit status 1"),
        ("3.0", 2, "x"),
    ):
        new_releases.save(
            paths,
            NewRelease(f"app{version[0]}", version, "v", "c", "me/app", [], attempts=attempts,
                       error=error),
        )  # fmt: skip
    new_releases.begin(paths, NewRelease("gone", "1.0", "v", "c", "me/gone"))
    announcer = _announcer(paths, "sh")
    # An update of another repository is not the next one of this.
    announcer.resume(["me/app", "me/other"], ["me/other"])
    announcer.finish()
    assert _ran(paths) == []
    announcer.resume(["me/app"], ["Me/App"])
    announcer.finish()
    assert (_ran(paths), _left(paths)) == (["1.0", "2.0"], ["3.0.json"])


def test_an_error_fails_no_update(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    """The state cannot be read, or the command is not to be had: that is told."""
    caplog.set_level(logging.INFO)
    announcer = _announcer(paths, "sh")
    with announcer.announcing(_RELEASE):
        pass
    path = paths.state / "repositories/me/app.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"format": 99}')
    announcer.settle("me/app")
    assert _left(paths) == ["1.0.begun"]
    assert [line for line in caplog.messages if "newer version" in line]
    new_releases.save(paths, _RELEASE)
    paths.settings.write_text("[")
    announcer.resume(["me/app"], ["me/app"])
    announcer.finish()
    assert [line for line in caplog.messages if "is not valid TOML" in line]
    # Nothing is published that could not be announced.
    paths.new_releases.joinpath("other").write_text("")
    other = NewRelease("other", "1.0", "v", "c", "me/app")
    with pytest.raises(InsidersError), announcer.announcing(other):
        pytest.fail("published")


def test_a_unit_that_cannot_be_started_keeps_no_other_from_it(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """systemd 262 starts none of several units if one of them is masked."""
    started = []

    def start(verb: str, *words: str) -> None:
        if any("masked" in word for word in words):
            raise InsidersError("it is masked")
        started.append((verb, *words))

    monkeypatch.setattr(systemctl, "call", start)
    monkeypatch.setattr(Announcer, "_has_unit", True)
    for project in ("app", "masked", "other"):
        new_releases.save(paths, _RELEASE._replace(project=project))
    _announcer(paths, "sh").resume(["me/app"], ["me/app"])
    assert started == [
        ("start", "--no-block", "--", f"pypi-insiders-released@{project}.service")
        for project in ("app", "other")
    ]
    assert caplog.messages == ["it is masked"]
