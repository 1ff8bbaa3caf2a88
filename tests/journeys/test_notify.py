"""notify: failures find the person, each once, and so does their end."""

import json
import re
import sys
from pathlib import Path

import pytest
from fixtures import HEALTHY, ROOT, need
from machine import Machine
from projects import Project, create
from units import MAIL, UNIT_DIRECTORY, port, settled, show, start_anew

__all__ = ["port"]

SOCKET, SERVER = "pypi-insiders-server.socket", "pypi-insiders-server.service"

CONFIG = ".config/pypi-insiders/config.toml"
END = "`pypi-insiders status` shows the state of everything.\n"


def settings(port: int, command: str | None) -> str:
    """Write a config.toml with a command, or none."""
    told = f"notify-command = {command}\n" if command else ""
    build = '[build]\nsandbox = "off"\n'
    return f"{build}[server]\nport = {port}\n[watcher]\npublic-versions = false\n{told}"


@pytest.fixture
def project(machine: Machine, port: int, tmp_path: Path) -> Project:
    """A project that somebody watches who wants mail."""
    machine.write_text("mail.py", MAIL, mode=0o755)
    machine.write_text("mail", "")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    command = f'["{machine.home}/mail.py", "-s", "{{subject}}", "me"]'
    machine.write_text(CONFIG, settings(port, command))
    project = watched(machine, tmp_path, "probe")
    project.release("1.0")
    return project


def watched(machine: Machine, tmp_path: Path, name: str) -> Project:
    """Make a project that is watched."""
    project = create(tmp_path, name)
    machine.run("pypi-insiders", "repos", "add", f"me/{name}:{name}", "--url", project.url)
    return project


def mails(machine: Machine) -> list[tuple[str, str]]:
    """Read subject and text of all mail until now."""
    found = [json.loads(line) for line in machine.read_text("mail").splitlines()]
    assert all((words[0], words[2:]) == ("-s", ["me"]) for words, _ in found)
    return [(words[1], text) for words, text in found]


def serves(machine: Machine, port: int) -> None:
    """Start the index, and wait for its first answer: before that, it requests notifications."""
    machine.run("pypi-insiders", "server", "start")
    assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY


def watching(machine: Machine) -> None:
    """Start the watcher, which does one update, and wait for its end and what follows it."""
    machine.run("pypi-insiders", "watcher", "start", "--no-block")
    settled(machine)


def updated(machine: Machine) -> None:
    """Let the watcher do one update, and wait for its end and what follows it.

    One that is running may have looked already.
    """
    settled(machine)
    start_anew(machine, "pypi-insiders-watcher.service", check=False)
    settled(machine)


def lost(project: Project) -> str:
    """Take a repository away; tell what git says then."""
    project.remote.rename(project.remote.with_name("away.git"))
    return (
        "repository not found, or no access to it "
        f"('{project.remote}' does not appear to be a git repository)"
    )


def back(project: Project) -> None:
    """Put a repository back."""
    project.remote.with_name("away.git").rename(project.remote)


def test_each_trouble_is_told_once_and_its_end(
    machine: Machine, project: Project, tmp_path: Path
) -> None:
    """Nothing is said while it lasts, nor of what is well; several things at once are one mail."""
    watching(machine)
    assert mails(machine) == []
    why = lost(project)
    updated(machine)
    first = ("pypi-insiders: problem with me/probe", f"me/probe: {why}\n{END}")
    assert mails(machine) == [first]
    updated(machine)
    assert mails(machine) == [first]
    other = watched(machine, tmp_path / "other", "other")
    other.write("2.0")
    other.hook("raise SystemExit('broken')")
    other.push("v2.0")
    updated(machine)
    _, (subject, text) = mails(machine)
    assert subject == "pypi-insiders: problem with me/other"
    build, end = text.split("\n", 1)
    assert (build.startswith("me/other: other has no release: tag v2.0: "), end) == (True, END)
    back(project)
    other.write("2.0")
    other.push("v2.0", force=True)
    updated(machine)
    assert mails(machine)[2:] == [
        (
            "pypi-insiders: recovered: me/probe, me/other",
            f"recovered: me/probe: {why}\nrecovered: {build}\n{END}",
        )
    ]
    assert machine.run("find", ".local/state/pypi-insiders/troubles", check=False).stdout == ""


def test_an_update_that_fails_by_itself_is_told(machine: Machine, project: Project) -> None:
    """Not only what a repository does; the command is known though config.toml is broken."""
    watching(machine)
    good = machine.read_text(CONFIG)
    machine.write_text(CONFIG, "[watcher")
    updated(machine)
    (first,) = mails(machine)
    assert first[0] == "pypi-insiders: problem with config.toml"
    assert first[1].startswith(f"config.toml: {machine.home}/{CONFIG} is not valid TOML: ")
    machine.write_text(CONFIG, good)
    updated(machine)
    assert mails(machine)[1:] == [
        ("pypi-insiders: recovered: config.toml", f"recovered: {first[1]}")
    ]


# Before it sends, it waits for a word.
SLOW = """#!/bin/sh
cd "$(dirname "$0")"
echo waits >>slow.log
read -r word <go
exec ./mail.py "$@"
"""


def test_what_happens_while_a_message_is_sent_is_told_after_it(
    machine: Machine, project: Project
) -> None:
    """The notifier has looked by then, and systemd starts none beside it."""

    def waits(times: int) -> None:
        machine.wait_for(("cat", "slow.log"), lambda done: done.stdout == "waits\n" * times)

    machine.run("mkfifo", "go")
    machine.write_text("slow", SLOW, mode=0o755)
    good = machine.read_text(CONFIG).replace("mail.py", "slow")
    machine.write_text(CONFIG, good)
    why = lost(project)
    updating = ("systemctl", "--user", "start", "pypi-insiders-watcher.service")
    go = ("sh", "-c", "echo >go")

    machine.run("pypi-insiders", "watcher", "start", "--no-block")
    waits(1)
    machine.write_text(CONFIG, "[watcher")
    machine.run(*updating, check=False)
    machine.run(*go)
    waits(2)
    machine.write_text(CONFIG, good)
    back(project)
    machine.run(*updating)
    machine.run(*go)
    waits(3)
    machine.run(*go)
    settled(machine)
    subjects = [subject for subject, _ in mails(machine)]
    assert subjects == [
        "pypi-insiders: problem with me/probe",
        "pypi-insiders: problem with config.toml",
        "pypi-insiders: recovered: me/probe, config.toml",
    ]
    assert why in mails(machine)[0][1]


def test_a_server_that_fails_for_ever_is_told_once(
    machine: Machine, project: Project, port: int
) -> None:
    """However often it is restarted; and once when it runs again. Its socket stays."""
    machine.run("pypi-insiders", "update")
    machine.run("pypi-insiders", "server", "start")
    good = machine.read_text(CONFIG)
    machine.write_text(CONFIG, "broken")
    machine.run("systemctl", "--user", "restart", SERVER, check=False)
    machine.wait_for_journal("restart counter is at 1", "-u", SERVER)
    settled(machine)
    (first,) = mails(machine)
    assert first[0] == "pypi-insiders: problem with config.toml, server"
    config, server, end = first[1].split("\n", 2)
    assert config.startswith(f"config.toml: {machine.home}/{CONFIG} is not valid TOML: ")
    reason = f"cannot serve: {config.removeprefix('config.toml: ')}"
    assert re.fullmatch(
        rf"server: failing \((exit-code|not ready|{re.escape(reason)})(, restarted once)?\)", server
    )
    assert end == END
    started = machine.journal("-u", "pypi-insiders-notify@server.service").count("Starting ")
    assert started == 1, "what is known costs nothing"
    machine.write_text(CONFIG, good)
    assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY
    settled(machine)
    assert mails(machine)[1:] == [
        (
            "pypi-insiders: recovered: server, config.toml",
            f"recovered: {server}\nrecovered: {config}\n{END}",
        )
    ]


REQUEST = "$XDG_RUNTIME_DIR/pypi-insiders/notify"
OBSTACLES = {
    "directory": f"mkdir -p {REQUEST}/a/b && touch {REQUEST}/a/b/c && chmod 0 {REQUEST}/a/b "
    f"{REQUEST}",
    "fifo": f"mkfifo {REQUEST}",
    "link": f"ln -s /nonexistent/place {REQUEST}",
    "link to a file": f"ln -s $HOME/precious {REQUEST}",
    "closed": "chmod 0 $XDG_RUNTIME_DIR/pypi-insiders",
}


def fails_and_is_told(machine: Machine, port: int) -> None:
    """Let the server fail, and wait for the one message about it."""
    machine.write_text(CONFIG, machine.read_text(CONFIG).replace("[server]", "[server]\nprot = 1"))
    machine.run("systemctl", "--user", "stop", SERVER)
    assert machine.get(f"http://127.0.0.1:{port}/health").status == 503
    machine.wait_for(("cat", "mail"), lambda done: "server: failing" in done.stdout)


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_nothing_in_the_place_of_a_request_ends_notifications(
    machine: Machine, project: Project, port: int, obstacle: str
) -> None:
    """It is removed, and neither waited for nor written through."""
    machine.run("pypi-insiders", "server", "start")
    machine.write_text("precious", "mine")
    machine.run("sh", "-c", OBSTACLES[obstacle])
    settled(machine)
    fails_and_is_told(machine, port)
    assert show(machine, "pypi-insiders-notify.path", "ActiveState") == "active"
    assert machine.read_text("precious") == "mine"
    machine.run("sh", "-c", f"! test -e {REQUEST} && ! test -L {REQUEST}")


def test_what_keeps_notifications_from_being_sent_is_a_problem(
    machine: Machine, project: Project, port: int
) -> None:
    """Also what cannot be removed, which is not tried without end; and a start mends it."""
    machine.run("pypi-insiders", "server", "start")
    settled(machine)
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-notify@.service.d/override.conf",
        f"[Service]\nReadOnlyPaths={REQUEST.replace('$XDG_RUNTIME_DIR', '-%t')}\n",
    )
    machine.run("systemctl", "--user", "daemon-reload")
    machine.run("sh", "-c", f"mkdir {REQUEST}")
    path = "pypi-insiders-notify.path"
    machine.wait_for(
        ("systemctl", "--user", "is-active", path), lambda done: done.stdout == "inactive\n"
    )
    text = f"server: failures are not notified: {path} is stopped\n"
    hint = f"hint: `pypi-insiders server start`; see why: `journalctl --user -u {path}`\n"
    for command in ("status", "doctor"):
        told = machine.run("pypi-insiders", command, check=False)
        assert (told.returncode, f"problem  {text}         {hint}" in told.stdout) == (1, True)
    machine.run("rm", f"{UNIT_DIRECTORY}/pypi-insiders-notify@.service.d/override.conf")
    machine.run("systemctl", "--user", "daemon-reload")
    serves(machine, port)
    settled(machine)
    machine.run("sh", "-c", f"! test -e {REQUEST}")
    assert text not in machine.run("pypi-insiders", "status", check=False).stdout
    fails_and_is_told(machine, port)


def test_a_socket_that_cannot_listen_is_told(machine: Machine, project: Project, port: int) -> None:
    """At login, say, when the port is taken."""
    machine.run("pypi-insiders", "update")
    machine.run("pypi-insiders", "server", "start")
    machine.run("systemctl", "--user", "stop", SOCKET, SERVER)
    other = machine.start(sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    machine.wait_for(
        (sys.executable, "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}))"),
        lambda done: done.returncode == 0,
    )
    machine.run("systemctl", "--user", "start", SOCKET, check=False)
    settled(machine)
    failing = "server: failing (resources)\n"
    taken = f"index: http://127.0.0.1:{port} belongs to another program (404)\n"
    assert [text for _, text in mails(machine)] == [failing + taken + END]
    other.stop()
    serves(machine, port)
    settled(machine)
    assert [text for _, text in mails(machine)][1:] == [
        f"recovered: {failing}recovered: {taken}{END}"
    ]


def test_who_could_not_be_told_is_told_later(machine: Machine, project: Project) -> None:
    """Neither a desktop nor a command, then a command that fails, and then one that does not."""
    good = machine.read_text(CONFIG)
    machine.write_text(CONFIG, settings(1, None))
    why = lost(project)
    watching(machine)
    machine.wait_for_journal(
        r"^no notification was sent \(no desktop here, and no `notify-command` is set\): "
        "pypi-insiders: problem with me/probe$"
    )
    machine.write_text("fails", "#!/bin/sh\necho no route to host >&2\nexit 1\n", mode=0o755)
    machine.write_text(CONFIG, settings(1, f'["{machine.home}/fails"]'))
    updated(machine)
    machine.wait_for_journal(
        f"^error: {machine.home}/fails failed to send the message: no route to host$"
    )
    assert show(machine, "pypi-insiders-notify@watcher.service", "Result") == "exit-code"
    machine.write_text(CONFIG, good)
    updated(machine)
    assert mails(machine) == [
        ("pypi-insiders: problem with me/probe", f"me/probe: probe has no release: {why}\n{END}"),
    ]


def test_nobody_is_told_who_does_not_want_to(machine: Machine, project: Project) -> None:
    """An empty command is none, and no desktop either."""
    good = machine.read_text(CONFIG)
    machine.write_text(CONFIG, settings(1, "[]"))
    lost(project)
    watching(machine)
    done = machine.run("pypi-insiders", "notify", "--test", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "error: `notify-command = []` turns all messages off\n"
        f"hint: set `notify-command` under [watcher] in {machine.home}/{CONFIG}\n",
    )
    machine.write_text(CONFIG, good)
    updated(machine)
    assert mails(machine) == []


def test_what_has_not_run_since_the_login_is_not_known_to_be_well(
    machine: Machine, project: Project
) -> None:
    """After a failure and a reboot nothing is over before it has run."""
    machine.run("pypi-insiders", "server", "start")
    lost(project)
    watching(machine)
    machine.write_text(CONFIG, "broken")
    machine.run("systemctl", "--user", "restart", SERVER, check=False)
    updated(machine)
    # In one message or in several, as it comes.
    subjects = ("me/probe: ", "server: ", "config.toml: ")
    machine.wait_for(
        ("cat", "mail"), lambda done: all(subject in done.stdout for subject in subjects)
    )
    settled(machine)
    before = mails(machine)
    for part in ("watcher", "server"):
        machine.run("pypi-insiders", part, "stop")
    machine.run("systemctl", "--user", "reset-failed")
    assert machine.run("pypi-insiders", "notify").stdout == ""
    assert mails(machine) == before


def test_a_repository_that_is_no_longer_watched_is_forgotten(
    machine: Machine, project: Project
) -> None:
    """Whoever removes it need not hear that its trouble is over."""
    lost(project)
    watching(machine)
    assert len(mails(machine)) == 1
    machine.run("pypi-insiders", "repos", "remove", "me/probe")
    updated(machine)
    assert len(mails(machine)) == 1
    assert machine.run("find", ".local/state/pypi-insiders/troubles", check=False).stdout == ""


def test_a_desktop_shows_it(machine: Machine, project: Project) -> None:
    """notify-send brings it to whatever shows notifications; no markup gets in."""
    need("notify-send")
    machine.write_text(CONFIG, settings(1, None))
    desktop = machine.start(sys.executable, ROOT / "tests/support/desktop.py")
    shown = desktop.lines()
    assert next(shown) == "ready"
    assert machine.run("pypi-insiders", "notify", "--test").stdout == "sent by notify-send\n"
    assert json.loads(next(shown)) == [
        "pypi-insiders",
        "pypi-insiders: a test",
        "pypi-insiders notifies you like this of each new problem, and when it has ended.",
    ]
    project.hook("raise SystemExit('<b>& broken')")
    project.push("v2.0")
    watching(machine)
    program, subject, text = json.loads(next(shown))
    assert (program, subject) == ("pypi-insiders", "pypi-insiders: problem with me/probe")
    assert text.startswith("me/probe: probe has no release: tag v2.0: ")
    assert "&lt;b&gt;&amp; broken" in text


def test_a_command_goes_before_the_desktop(machine: Machine, project: Project) -> None:
    """Who has set one means it."""
    desktop = machine.start(sys.executable, ROOT / "tests/support/desktop.py")
    assert next(desktop.lines()) == "ready"
    done = machine.run("pypi-insiders", "notify", "--test")
    assert done.stdout == f"sent by {machine.home}/mail.py\n"
    assert mails(machine) == [
        (
            "pypi-insiders: a test",
            "pypi-insiders notifies you like this of each new problem, and when it has ended.\n",
        )
    ]


def test_programs_with_a_group_of_their_own_can_be_used(machine: Machine, project: Project) -> None:
    """wall and mail are such: nothing may keep them from it, though the notifier is confined."""
    look = "grep NoNewPrivs /proc/self/status; readlink /proc/self/ns/user"
    command = f'["sh", "-c", "({look}; echo $MARK) >$HOME/seen; cat >>$HOME/seen", "$HOME"]'
    machine.write_text(CONFIG, settings(1, command))
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-notify@.service.d/override.conf",
        f"[Service]\nEnvironment=MARK=mine\nExecStartPre=-/bin/sh -c '({look}) >%h/notifier'\n",
    )
    lost(project)
    watching(machine)
    namespace = machine.run("readlink", "/proc/self/ns/user").stdout
    status, seen, mark, text = machine.read_text("seen").split("\n", 3)
    assert (status, f"{seen}\n", mark) == ("NoNewPrivs:\t0", namespace, "mine")
    assert text.startswith("me/probe: probe has no release: ")
