"""Failures find the person: under a real user manager, by a command and by a real desktop."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Person, need
from machine import Machine
from projects import Project, create
from test_journeys import port

from pypi_insiders.errors import InsidersError
from pypi_insiders.messenger import OFF, Message, send
from pypi_insiders.troubles import Look, Trouble, compose, news
from pypi_insiders.units import SERVER, WATCHER

__all__ = ["port"]

SETTINGS = ".config/pypi-insiders/config.toml"
NEXT = "see `pypi-insiders status`\n"
DAY_S = 86400
WHY = "no such repository, or no access to it"


def told(machine: Machine) -> str:
    """Read what the person was told, once nothing is under way, and forget it."""
    jobs = ("systemctl", "--user", "list-jobs", "--no-legend", "pypi-insiders*")
    machine.wait_for(jobs, lambda done: done.stdout == "", timeout_s=60)
    return machine.run("sh", "-c", "cat told 2>/dev/null; rm -f told").stdout


def update(machine: Machine, *, status: int) -> None:
    """Run the watcher's service to its end, however often it has run within seconds."""
    machine.run("systemctl", "--user", "reset-failed", "pypi-insiders-watcher.service")
    start = ("systemctl", "--user", "start", "pypi-insiders-watcher.service")
    assert machine.run(*start, check=False).returncode == status


def runs(machine: Machine, instance: str) -> int:
    """Count how often an instance of the unit has run a process."""
    return machine.journal().count(f"Finished pypi-insiders-notify@{instance}.service")


@pytest.fixture
def told_by_command(machine: Machine, port: int) -> Machine:
    """A machine where messages are appended to the file `told`."""
    machine.write_text("tell", '#!/bin/sh\n{ echo "# $1"; cat; } >>"$HOME/told"\n', mode=0o755)
    command = f'notify-command = ["{machine.home}/tell", "{{subject}}"]\n'
    machine.write_text(SETTINGS, f"[server]\nport = {port}\n[watcher]\n{command}")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    return machine


@pytest.fixture
def watcher(told_by_command: Machine) -> Machine:
    """Such a machine, whose watcher has run well once."""
    machine = told_by_command
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal("Finished pypi-insiders-watcher.service", timeout_s=60)
    assert told(machine) == ""
    return machine


def watch_gone(machine: Machine, directory: Path, name: str) -> tuple[Project, str]:
    """Watch a repository that is gone; return it, and the line that says so."""
    project = create(directory, name)
    project.release("1.0")
    away(project).parent.mkdir(exist_ok=True)
    project.remote.rename(away(project))
    add = ("repos", "add", "--no-check", f"me/{name}:{name}", "--url", project.url)
    machine.run("pypi-insiders", *add)
    return project, f"me/{name}: {WHY} ('{project.remote}' does not appear to be a git repository)"


def away(project: Project) -> Path:
    """Where a repository lies that is gone."""
    return project.remote.parent.parent / "away" / project.remote.name


def test_each_new_failure_is_told_once_and_so_is_its_end(watcher: Machine, tmp_path: Path) -> None:
    """However often updates fail meanwhile; what is new at once is one message."""
    one, first = watch_gone(watcher, tmp_path, "one")
    two, second = watch_gone(watcher, tmp_path, "two")
    update(watcher, status=1)
    assert told(watcher) == f"# pypi-insiders: 2 failures\n{first}\n{second}\n{NEXT}"
    update(watcher, status=1)
    assert told(watcher) == ""
    assert runs(watcher, "watcher") == 2

    three, third = watch_gone(watcher, tmp_path, "three")
    update(watcher, status=1)
    subject, *body = told(watcher).splitlines(keepends=True)
    assert body == [f"{third}\n", NEXT]
    assert subject.startswith(f"# pypi-insiders: me/three: {WHY}")

    for project in (one, two, three):
        away(project).rename(project.remote)
    update(watcher, status=0)
    assert told(watcher) == (
        f"# pypi-insiders: 3 are over\nover: {first}\nover: {second}\nover: {third}\n{NEXT}"
    )
    quiet = runs(watcher, "watcher-ok")
    for _ in range(2):
        update(watcher, status=0)
        assert told(watcher) == ""
    assert runs(watcher, "watcher-ok") == quiet  # a success costs no process


def test_a_failure_is_told_though_later_updates_succeed(watcher: Machine, tmp_path: Path) -> None:
    """A tag that does not build is not tried each time: it is not over by that."""
    project = create(tmp_path, "probe")
    (project.tree / "pyproject.toml").write_text("[project\n")
    project.push("v1.0")
    watcher.run("pypi-insiders", "repos", "add", "me/probe:probe", "--url", project.url)
    update(watcher, status=1)
    assert told(watcher).splitlines()[1].startswith("me/probe: tag v1.0: ")
    update(watcher, status=0)
    assert told(watcher) == ""
    project.release("1.1")
    (project.tree / "pyproject.toml").write_text("[project\n")
    project.push("v1.2")
    update(watcher, status=1)
    assert told(watcher).splitlines()[1].startswith("me/probe: tag v1.2: ")


def test_an_update_that_is_killed_is_told(watcher: Machine) -> None:
    """Then there is no repository to blame."""
    override = ".config/systemd/user/pypi-insiders-watcher.service.d/override.conf"
    watcher.write_text(override, "[Service]\nExecStart=\nExecStart=/bin/sh -c 'kill -KILL $$$$'\n")
    watcher.run("systemctl", "--user", "daemon-reload")
    update(watcher, status=1)
    line = "an update failed (signal); see `pypi-insiders watcher logs`"
    assert told(watcher) == f"# pypi-insiders: {line}\n{line}\n{NEXT}"
    watcher.run("rm", override)
    watcher.run("systemctl", "--user", "daemon-reload")
    update(watcher, status=0)
    assert told(watcher) == f"# pypi-insiders: over: {line}\nover: {line}\n{NEXT}"


def test_an_index_that_cannot_start_is_told_once_and_so_is_that_it_runs(
    told_by_command: Machine,
) -> None:
    """It is started again and again; the command is known though config.toml is broken."""
    machine, service = told_by_command, "pypi-insiders-server.service"
    machine.run("pypi-insiders", "server", "start")
    assert told(machine) == ""
    settings = machine.read_text(SETTINGS)
    machine.write_text(SETTINGS, settings + "[server\n")
    machine.run("systemctl", "--user", "kill", "--signal=KILL", service)
    shown = ("systemctl", "--user", "show", "--property=NRestarts", "--value", service)
    machine.wait_for(shown, lambda done: int(done.stdout) > 3, timeout_s=60)
    text = machine.run("cat", "told").stdout
    line = text.splitlines()[1]
    assert text.splitlines(keepends=True)[1:] == [f"{line}\n", NEXT]  # of the subject the begin
    assert text.startswith(f"# pypi-insiders: {line[:80]}")
    assert line.startswith(f"the index does not run: {machine.home}/{SETTINGS} is not valid TOML: ")
    assert runs(machine, "server") == 1

    machine.run("rm", "told")
    machine.write_text(SETTINGS, settings)
    machine.wait_for(("cat", "told"), lambda done: NEXT in done.stdout, timeout_s=60)
    assert told(machine).splitlines(keepends=True)[1:] == [f"over: {line}\n", NEXT]
    machine.run("systemctl", "--user", "restart", service)
    assert told(machine) == ""
    assert runs(machine, "server-ok") == 2  # the first start of all, and this one


def test_a_failed_command_is_tried_again_after_the_next_update(
    watcher: Machine, tmp_path: Path
) -> None:
    """And its unit fails with what it said."""
    tell = watcher.read_text("tell")
    watcher.write_text("tell", "#!/bin/sh\necho no route to host >&2\nexit 75\n")
    _, line = watch_gone(watcher, tmp_path, "one")
    update(watcher, status=1)
    assert told(watcher) == ""
    assert watcher.wait_for_journal("^error: ", "-t", "pypi-insiders-notify", "-p", "err") == (
        f"error: {watcher.home}/tell '{{subject}}' ended with 75: no route to host"
    )
    watcher.write_text("tell", tell)
    update(watcher, status=1)
    assert told(watcher).splitlines()[1] == line


def test_a_desktop_shows_it_and_without_one_the_log_says_it(
    machine: Machine, tmp_path: Path
) -> None:
    """By `notify-send`; what nobody could be told before is told as soon as somebody can."""
    for program in ("Xvfb", "dunst", "notify-send"):
        need(program)
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal("Finished pypi-insiders-watcher.service", timeout_s=60)
    _, line = watch_gone(machine, tmp_path / "a<b>&", "one")
    update(machine, status=1)
    machine.wait_for_journal("^nobody could be told: there is no desktop now")
    assert machine.wait_for_journal("^me/", "-t", "pypi-insiders-notify") == line

    display = next(machine.start("Xvfb", "-displayfd", "1", "-nolisten", "tcp").lines(lambda: 20))
    dunst = machine.start("dunst", "-print", env={"DISPLAY": f":{display}"})
    owner = ("busctl", "--user", "status", "org.freedesktop.Notifications")
    machine.wait_for(owner, lambda done: done.returncode == 0)
    update(machine, status=1)
    machine.wait_for_journal("^told by notify-send: ", "-t", "pypi-insiders-notify")
    machine.wait_for(("true",), lambda done: "}" in dunst.stdout_text())
    shown = dunst.stdout_text()
    assert "appname: 'pypi-insiders'" in shown
    assert "/a&lt;b&gt;&amp;/" in shown


def test_with_off_nobody_is_told_and_nothing_is_tried(person: Person) -> None:
    """And `notify --test` says so."""
    person.paths.config.mkdir(parents=True)
    person.paths.settings.write_text('[watcher]\nnotify-command = "off"\n')
    tested = person.run("notify", "--test")
    assert (tested.stdout, tested.stderr) == (
        "",
        'note: nothing was sent: notify-command is "off"\n',
    )
    person.run("repos", "add", "--no-check", "me/gone", "--url", "file:///nonexistent")
    person.run("update", status=1)
    quiet = person.run("notify")
    assert (quiet.stdout, quiet.stderr) == ("", "")


def test_a_person_can_try_it(person: Person) -> None:
    """The words reach the command as they are, and the message its input; no shell is between."""
    script = person.home / "a script"
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$HOME/told"\ncat >>"$HOME/told"\n')
    script.chmod(0o755)
    person.paths.config.mkdir(parents=True)
    command = json.dumps(f"'{script}' -s 'x {{subject}}' '$HOME;ls' me@example.org")
    person.paths.settings.write_text(f"[watcher]\nnotify-command = {command}\n")
    assert person.run("notify", "--test").stdout == f"sent by {script}\n"
    assert (person.home / "told").read_text() == (
        "-s\nx pypi-insiders: a test\n$HOME;ls\nme@example.org\n"
        f"this is how you will be told what fails\n{NEXT}"
    )
    script.unlink()
    failed = person.run("notify", "--test", status=1)
    assert failed.stderr == f"error: {script} was not found\nhint: install {script}\n"


def test_without_systemd_notify_tells_what_update_left(person: Person) -> None:
    """For whoever runs both by other means."""
    person.paths.config.mkdir(parents=True)
    person.paths.settings.write_text("[watcher]\nnotify-command = ['tee', '-a', 'told']\n")
    person.run("repos", "add", "--no-check", "me/gone", "--url", "file:///nonexistent")
    person.run("update", status=1)
    wall = f"['sh', '-c', 'cat >>{person.home}/told']"
    person.paths.settings.write_text(f"[watcher]\nnotify-command = {wall}\n")
    for _ in range(2):
        person.run("notify")
    told = (person.home / "told").read_text()
    assert told.splitlines() == [told.splitlines()[0], NEXT.strip()]
    assert told.startswith(f"me/gone: {WHY}")


def test_no_message_has_credentials_or_moves_a_cursor(tmp_path: Path) -> None:
    """Whatever a host or a build said."""
    out = tmp_path / "out"
    command = ["sh", "-c", f'echo "$0" >{out}; cat >>{out}', "{subject}"]
    message = Message("a https://me:pw@h/p?token=x b", "\x1b[2J https://me:pw@h/p\nüber\n")
    assert send(message, command) == "sh"
    assert out.read_text() == "a https://h/p b\n?[2J https://h/p\nüber\n"
    assert send(message, OFF) is None
    with pytest.raises(InsidersError) as caught:
        send(message, ["sh", "-c", "echo said >&2; exit 3"])
    assert (caught.value.message, caught.value.hint) == (
        "sh -c 'echo said >&2; exit 3' ended with 3: said",
        "change notify-command in config.toml, and try `pypi-insiders notify --test`",
    )


def _trouble(name: str, what: str = "no access") -> Trouble:
    return Trouble(WATCHER.name, f"me/{name}: {what}", f"me/{name}")


def _look(*names: str) -> Look:
    return Look(WATCHER, [_trouble(name) for name in names], frozenset({"me/a", "me/b"}))


def _tell(known: dict[str, Trouble], look: Look, now_s: int) -> tuple[str, dict[str, Trouble]]:
    found = news(known, look, now_s)
    said = [f"+{item.repository}" for item in found.new] + [
        f"-{item.repository}" for item in found.over
    ]
    return " ".join(said), found.told


def test_what_comes_and_goes_is_told_once_a_day() -> None:
    """Once that it fails and once that it is over; what is still there a day later is told."""
    known: dict[str, Trouble] = {}
    heard = []
    for hour in range(60):
        said, known = _tell(known, _look(*["a"] * (hour % 2 == 0)), hour * 3600)
        heard += [f"{hour}h {said}"] * bool(said)
    assert heard == ["0h +me/a", "1h -me/a", "24h +me/a", "25h -me/a", "48h +me/a", "49h -me/a"]
    said, known = _tell(known, _look("a"), 61 * 3600)
    assert said == ""
    assert _tell(known, _look("a"), 48 * 3600 + DAY_S)[0] == "+me/a"


def test_what_lasts_is_told_once_ever() -> None:
    """Not once a day."""
    known: dict[str, Trouble] = {}
    heard = []
    for day in range(10):
        said, known = _tell(known, _look("a"), day * DAY_S)
        heard.append(said)
    assert heard == ["+me/a", *9 * [""]]
    assert _tell(known, _look(), 10 * DAY_S)[0] == "-me/a"


def test_what_ended_long_ago_is_forgotten() -> None:
    """And so is what was of a repository that is no longer watched, without a word."""
    _, known = _tell({}, _look("a", "b"), 0)
    removed = Look(WATCHER, [], frozenset({"me/b"}))
    said, known = _tell(known, removed, 1)
    assert (said, [item.repository for item in known.values()]) == ("-me/b", ["me/b"])
    assert _tell(known, removed, DAY_S) == ("", {})


def test_what_could_not_be_told_is_told_by_the_next_look_at_anything() -> None:
    """Also of the other part; until then it is not remembered as told."""
    index = Look(SERVER, [Trouble(SERVER.name, "the index does not run")])
    untold = news({}, index, 0).untold
    found = news(untold, _look("a"), 1)
    assert [item.line for item in found.new] == ["me/a: no access", "the index does not run"]
    assert {item.told_at for item in found.told.values()} == {1}
    assert {item.told_at for item in found.untold.values()} == {None}
    over = news(found.told, _look(), 2)
    assert [item.line for item in over.over] == ["me/a: no access"]
    assert news(over.untold, _look(), 3).over == over.over
    assert news(over.told, _look(), 3).over == []


def test_what_cannot_be_known_now_is_not_over() -> None:
    """While repos.toml is broken, nobody knows of the repositories."""
    _, known = _tell({}, _look("a"), 0)
    broken = Look(WATCHER, [Trouble(WATCHER.name, "repos.toml is not valid TOML")])
    found = news(known, broken, 1)
    assert ([item.line for item in found.new], found.over) == (["repos.toml is not valid TOML"], [])
    assert _tell(found.told, _look("a"), 2)[0] == "-None"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("took longer than 3600 s", "took longer than 3599 s", True),
        ("in /k/builds/tmpab12cd_x/source", "in /k/builds/tmpzzzzzzzz/source", True),
        ("commit 0123456789 is gone", "commit abcdef0 is gone", True),
        ("tag v1.0: it does not build", "tag v1.1: it does not build", False),
        ("tag v1.0: line 3", "tag v1.0: line 4", True),
        ("no access", "no such host", False),
    ],
)
def test_what_varies_makes_no_new_trouble(one: str, other: str, is_same: bool) -> None:
    """Numbers, hashes and the names of temporary directories; a tag does make one."""
    assert (_trouble("a", one).key == _trouble("a", other).key) is is_same
    assert _trouble("a", one).key != _trouble("b", one).key


def test_one_message_says_it_all() -> None:
    """Its subject is what it is about, if that is one thing."""
    a, b, long = _trouble("a"), _trouble("b"), replace(_trouble("c", "x " * 200), told_at=1)
    assert compose([a], []) == Message("pypi-insiders: me/a: no access", f"me/a: no access\n{NEXT}")
    assert compose([a], [b]) == Message(
        "pypi-insiders: a failure, one is over", f"me/a: no access\nover: me/b: no access\n{NEXT}"
    )
    assert compose([a, b], [long, a]).subject == "pypi-insiders: 2 failures, 2 are over"
    subject = compose([], [long]).subject
    assert subject.startswith("pypi-insiders: over: me/c: x x x ")
    assert subject.endswith(" x ...")
    assert len(subject) <= 135
