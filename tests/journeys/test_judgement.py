"""One judgement: status, page, doctor and notifications show the same lines."""

import html
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fixtures import Person, Watch, free_port, started
from machine import Machine
from projects import Project, create
from units import MAIL, served_fallback, settled
from wheels import wheel

CONFIG = ".config/pypi-insiders/config.toml"
DISTS = ".local/share/pypi-insiders/dists"
STATE = ".local/state/pypi-insiders"
OF_USER = (".config/pypi-insiders", ".config/systemd", ".local", "mail")
SERVER, SOCKET = "pypi-insiders-server.service", "pypi-insiders-server.socket"
WATCHER, OTHER = "pypi-insiders-watcher.service", "other.service"
TRIGGERS = ("pypi-insiders-watcher.timer", "pypi-insiders-notify.path")


def serve(machine: Machine, directory: Path) -> Project:
    """Serve a release of a project, by services that run; its user wants mail."""
    machine.write_text("mail.py", MAIL, mode=0o755)
    machine.write_text("mail", "")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    command = f'["{machine.home}/mail.py", "{{subject}}"]'
    machine.write_text(
        CONFIG,
        f"{machine.read_text(CONFIG)}[watcher]\npublic-versions = false\n"
        f"notify-command = {command}\n",
    )
    project = create(directory, "probe")
    project.release("1.0")
    machine.run("pypi-insiders", "repos", "add", "me/probe:probe", "--url", project.url)
    machine.run("pypi-insiders", "server", "enable")
    machine.run("pypi-insiders", "watcher", "enable")
    assert status(machine)["health"] == "well"
    return project


@dataclass(frozen=True)
class Well:
    """A machine whose user's files can be changed."""

    machine: Machine
    project: Project
    port: int


@pytest.fixture(scope="module")
def served(
    installed: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Well]:
    """A machine where all is well, and a copy of its user's files."""
    directory, port = tmp_path_factory.mktemp("judgement"), free_port()
    with started(installed, shared, directory) as machine, served_fallback(machine, port):
        project = serve(machine, directory)
        settled(machine)
        machine.run("mkdir", "kept")
        machine.run("cp", "-a", "--parents", *OF_USER, "kept")
        yield Well(machine, project, port)


def restore(well: Well) -> None:
    """Undo what a test did to the user's files."""
    settled(well.machine)  # a notifier would write meanwhile
    away = well.project.remote.with_name("away.git")
    shutil.rmtree(well.project.tree.parent / "other", ignore_errors=True)
    if away.exists():
        away.rename(well.project.remote)
    well.machine.run("find", ".netrc", *OF_USER, "-type", "f,l", "-delete", check=False)
    well.machine.run("cp", "-a", "kept/.", ".")


@pytest.fixture
def well(served: Well) -> Iterator[Well]:
    """That machine, and what a test does to the user's files is undone."""
    yield served
    restore(served)
    assert status(served.machine)["health"] == "well"


@pytest.fixture
def running(served: Well) -> Iterator[Well]:
    """That machine, and what a test does to its units is undone as well."""
    yield served
    # One by one: systemd 262 stops none of several if one is not loaded.
    for unit in (OTHER, SOCKET, SERVER, WATCHER):
        served.machine.run("systemctl", "--user", "stop", unit, check=False)
    restore(served)
    for words in (("daemon-reload",), ("reset-failed",), ("start", SOCKET, *TRIGGERS)):
        served.machine.run("systemctl", "--user", *words)
    assert status(served.machine)["health"] == "well"


@dataclass(frozen=True)
class Case:
    """A state, and the one line that tells of it."""

    change: Callable[[Machine, Project], object]
    subject: str
    text: str
    """A regular expression; `{home}` and `{port}` stand for what they are."""
    hint: str
    severity: str = "problem"
    status: int = 1
    has_page: bool = True


def shell(script: str) -> Callable[[Machine, Project], object]:
    """Make a change that a user makes in a shell."""
    return lambda machine, _: machine.run("sh", "-ec", script)


def watch_other(machine: Machine, project: Project, *, hook: str | None = None) -> None:
    """Watch another project, of which there is no release yet."""
    other = create(project.tree.parent / "other", "other")
    if hook is None:
        other.release("1.0")
    else:
        other.write("2.0")
        other.hook(hook)
        other.push("v2.0")
    machine.run("pypi-insiders", "repos", "add", "me/other:other", "--url", other.url)


def fail_to_build(machine: Machine, project: Project) -> None:
    """Watch a project that does not build."""
    watch_other(machine, project, hook="raise SystemExit('broken')")
    machine.run("pypi-insiders", "update", "me/other", check=False)


def lose_access(machine: Machine, project: Project) -> None:
    """Take a repository away."""
    project.remote.rename(project.remote.with_name("away.git"))
    machine.run("pypi-insiders", "update", check=False)


def serve_otherwise(machine: Machine, _: Project | None = None, site: str = ".") -> str:
    """Let another program have the port; return its URL."""
    machine.run("pypi-insiders", "server", "stop")
    found = re.search(r"port = (\d+)", machine.read_text(CONFIG))
    assert found is not None
    serve = ("-m", "http.server", "--bind", "127.0.0.1", "--directory", machine.home / site)
    unit = ("systemd-run", "--user", "--quiet", "--collect", f"--unit={OTHER}")
    machine.run(*unit, sys.executable, *serve, found[1])
    connect = f"import socket; socket.create_connection(('127.0.0.1', {found[1]}))"
    machine.wait_for((sys.executable, "-c", connect), lambda done: done.returncode == 0)
    return f"http://127.0.0.1:{found[1]}"


UPDATE = "`pypi-insiders update me/probe` builds it again from the same tag"
CASES = {
    "a broken config.toml": Case(
        shell(f"echo broken >> {CONFIG}"),
        "config.toml", r"{home}/\.config/pypi-insiders/config\.toml is not valid TOML: .*",
        "edit {home}/.config/pypi-insiders/config.toml",
    ),
    "a broken repos.toml": Case(
        shell("echo broken >> .config/pypi-insiders/repos.toml"),
        "repos.toml", r"{home}/\.config/pypi-insiders/repos\.toml is not valid TOML: .*",
        "edit {home}/.config/pypi-insiders/repos.toml",
    ),
    "a lost file": Case(
        shell(f"rm {DISTS}/probe-1.0.tar.gz"),
        "me/probe", r"probe 1\.0: probe-1\.0\.tar\.gz is missing", UPDATE,
    ),
    "a changed file": Case(
        shell(f"echo >> {DISTS}/probe-1.0.tar.gz"),
        "me/probe", r"probe 1\.0: probe-1\.0\.tar\.gz differs from what was published", UPDATE,
    ),
    "a file that cannot be read": Case(
        shell(f"chmod 0 {DISTS}/probe-1.0.tar.gz"),
        "me/probe", r"probe 1\.0: probe-1\.0\.tar\.gz cannot be read", UPDATE,
    ),
    "an emptied directory": Case(
        shell(f"rm {DISTS}/*"),
        "me/probe", r"the files of probe 1\.0 are missing from .*/dists",
        "build them again: `pypi-insiders update me/probe`",
    ),
    "unbuilt": Case(
        watch_other,
        "me/other", "other has no release yet: me/other was never built",
        "`pypi-insiders update me/other`",
    ),
    "failing": Case(
        fail_to_build,
        "me/other", r"other has no release: tag v2\.0: .*broken",
        "try again: `pypi-insiders update me/other`",
    ),
    "no access": Case(
        lose_access,
        "me/probe", "repository not found, or no access to it .*",
        "check the name, and that your sponsorship or account gives access",
    ),
    "odd files only": Case(
        shell(f"echo > {DISTS}/gone-1.0.tgz"),
        "gone", r"gone has no usable file: gone-1\.0\.tgz is not a file that an index serves",
        "replace or remove it in {home}/" + DISTS,
    ),
    "damaged state": Case(
        shell(f"echo broken > {STATE}/checks.json"),
        "state", r"checks\.json was damaged, and moved to checks\.json\.damaged",
        "its content is restored where possible; check "
        "{home}/" + STATE + "/checks.json.damaged, then remove it",
        severity="warning", status=0,
    ),
}  # fmt: skip
OF_UNITS = {
    "stale units": Case(
        shell("cd .config/systemd/user && sed -i 's/^# Installed by [^,]*,.*/# Installed by "
              f"pypi-insiders 0.0.1, older/' {SOCKET} {SERVER}; systemctl --user daemon-reload"),
        "server units",
        rf"out of date \(upgrade or changed settings\): {SOCKET}, {SERVER}",
        "`pypi-insiders server restart`", severity="warning", status=0,
    ),
    "a masked timer": Case(
        shell("rm .config/systemd/user/pypi-insiders-watcher.timer; "
              "systemctl --user mask pypi-insiders-watcher.timer"),
        "watcher units", "pypi-insiders-watcher.timer is masked",
        "`systemctl --user unmask pypi-insiders-watcher.timer`",
    ),
    "server stopped": Case(
        shell("pypi-insiders server stop"),
        "server", "stopped", "`pypi-insiders server start`",
        severity="warning", status=3, has_page=False,
    ),
    "another program's port": Case(
        serve_otherwise,
        "index", r"http://127\.0\.0\.1:{port} belongs to another program \(404\)",
        "stop that program, or set another `port` under [server]", has_page=False,
    ),
}  # fmt: skip


def status(machine: Machine) -> dict[str, Any]:
    """Read what scripts read."""
    done = machine.run("pypi-insiders", "status", "--json", check=False)
    content: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == {"well": 0, "failing": 1, "stopped": 3}[content["health"]]
    return content


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_state_is_one_line_everywhere(well: Well, case: Case) -> None:
    """The same text for people and scripts, on the page, by doctor and in the message."""
    is_told(well.machine, well.project, well.port, case)


@pytest.mark.parametrize("case", OF_UNITS.values(), ids=OF_UNITS)
def test_each_state_of_units_is_one_line_everywhere(running: Well, case: Case) -> None:
    """As those of files are."""
    is_told(running.machine, running.project, running.port, case)


def is_told(machine: Machine, project: Project, port: int, case: Case) -> None:
    """Make a change, and require its line wherever a user looks."""
    case.change(machine, project)
    found = status(machine)
    items = [item for item in found[f"{case.severity}s"] if item["subject"] == case.subject]
    assert len(items) == 1, found
    text, hint = items[0]["text"], items[0]["hint"]
    fill = {"home": str(machine.home), "port": str(port)}
    pattern = case.text
    wanted_hint = case.hint
    for name, value in fill.items():
        pattern = pattern.replace(f"{{{name}}}", value)
        wanted_hint = wanted_hint.replace(f"{{{name}}}", value)
    assert re.fullmatch(pattern, text), text
    assert hint == wanted_hint
    line = f"{case.subject}: {text}"
    done = machine.run("pypi-insiders", "status", check=False)
    assert done.returncode == case.status, done.stdout
    assert f"\n{case.severity.ljust(7)}  {line}\n         hint: {hint}\n" in done.stdout
    assert done.stderr == ""
    if case.has_page:
        page = machine.get(f"http://127.0.0.1:{port}/").body
        shown = re.sub(r"<[^>]*>", "", page)
        assert f"{case.severity.capitalize()}: {line}" in html.unescape(shown)
    done = machine.run("pypi-insiders", "doctor", "--json", check=False)
    examined = json.loads(done.stdout)["findings"]
    told = [
        item["hint"]
        for item in examined
        if (item["check"], item["text"], item["severity"]) == (case.subject, text, case.severity)
    ]
    assert told == [hint]
    for _ in range(2):  # once
        command = f'{machine.home}/mail.py "{{subject}}"'
        machine.run("pypi-insiders", "notify", env={"PYPI_INSIDERS_NOTIFY_COMMAND": command})
    told = [text for _, text in map(json.loads, machine.read_text("mail").splitlines())]
    assert sum(text.count(f"{line}\n") for text in told) == (case.severity == "problem")


def test_a_restart_loop_is_a_problem_at_every_moment(running: Well) -> None:
    """Also while the server starts once more, and its socket takes connections."""
    machine = running.machine
    drop_in = f".config/systemd/user/{SERVER}.d/override.conf"
    machine.write_text(drop_in, "[Service]\nExecStart=\nExecStart=/bin/false\n")
    machine.run("systemctl", "--user", "daemon-reload")
    machine.run("systemctl", "--user", "restart", SERVER, check=False)
    for number in range(2, 7):
        machine.wait_for_journal(f"restart counter is at {number}\\.", "-u", SERVER)
        for _ in range(2):
            found = status(machine)
            assert found["health"] == "failing"
            assert found["server"]["state"] == "failing"
            (item,) = (item for item in found["problems"] if item["subject"] == "server")
            reason = "exit-code|protocol|not ready"
            assert re.fullmatch(rf"failing \(({reason}), restarted .*\)", item["text"])


def test_status_needs_two_processes(running: Well) -> None:
    """And wakes an idle index: nobody knows otherwise whether it would answer."""
    machine = running.machine
    machine.run("systemctl", "--user", "stop", SERVER)
    done = machine.run("pypi-insiders", "-vv", "status")
    assert "idle (socket-activated)" in done.stdout
    assert len(re.findall(r"^.*\+ \S+", done.stderr, re.MULTILINE)) == 2, done.stderr
    active = machine.run("systemctl", "--user", "is-active", SERVER).stdout
    assert active == "active\n"


def test_an_index_with_passwords_is_fetched_only_where_one_is_known(running: Well) -> None:
    """What was not tried is not called well."""
    machine = running.machine
    config = machine.read_text(CONFIG).replace("[server]\n", "[server]\nauth = true\n")
    machine.write_text(CONFIG, config)
    machine.run("pypi-insiders", "server", "password", "me", input="secret\n")
    machine.run("pypi-insiders", "server", "restart")
    (note,) = status(machine)["notes"]
    assert note["subject"] == "index"
    assert re.fullmatch(
        r"not checked: http://127\.0\.0\.1:\d+/simple/ requires a password, and "
        r"~/\.netrc has none for it",
        note["text"],
    )
    for secret, problems in (("secret", 0), ("wrong", 1)):
        netrc = f"machine 127.0.0.1 login me password {secret}\n"
        machine.write_text(".netrc", netrc, mode=0o600)
        found = status(machine)
        assert (found["notes"], len(found["problems"])) == ([], problems)
    assert found["problems"][0]["hint"] == (
        "correct ~/.netrc, or `pypi-insiders server password me`"
    )


def test_an_index_that_lets_nobody_in_is_one_problem(running: Well) -> None:
    """Before the restart that would be refused and after it, whether or not a netrc is there."""
    machine = running.machine
    passwords = f"{machine.home}/.config/pypi-insiders/passwords"
    config = machine.read_text(CONFIG).replace("[server]\n", "[server]\nauth = true\n")
    machine.write_text(CONFIG, config)
    nobody = {
        "subject": "passwords",
        "text": f"`auth` is set, but {passwords} has no user",
        "hint": "`pypi-insiders server password USER`",
        "tag": None,
    }
    bad = {
        "subject": "passwords",
        "text": f"{passwords}, line 1: not USER:HASH",
        "hint": f"remove the line: `sed -i 1d {passwords}`, then "
        "`pypi-insiders server password USER`",
        "tag": None,
    }

    def told() -> tuple[list[Any], list[Any]]:
        found = status(machine)
        return found["problems"], found["notes"]

    assert told() == ([nobody], [])
    machine.run("pypi-insiders", "server", "password", "me", input="secret\n")
    machine.run("pypi-insiders", "server", "restart")
    machine.run("pypi-insiders", "server", "password", "me", "--remove")
    assert told() == ([nobody], [])
    machine.write_text(passwords, "bad\n", mode=0o600)
    machine.write_text(".netrc", "machine 127.0.0.1 login me password secret\n", mode=0o600)
    assert told() == ([bad], [])
    machine.run("pypi-insiders", "notify")  # unless the restart had it done
    assert "problem with passwords" in machine.read_text("mail")
    machine.run("sed", "-i", "1d", passwords)
    machine.run("pypi-insiders", "server", "password", "me", input="secret\n")
    machine.run("pypi-insiders", "notify")
    assert "recovered: passwords" in machine.read_text("mail")


def test_what_is_listed_and_cannot_be_fetched_is_a_problem(running: Well) -> None:
    """The page is right, and the file behind it is not: HEAD would not notice."""
    machine = running.machine
    site = machine.home / "site/simple/probe"
    page = {"meta": {"api-version": "1.0"}, "name": "probe", "files": [
        {"filename": "probe-1.0.tar.gz", "url": "/packages/probe-1.0.tar.gz",
         "hashes": {"sha256": "0" * 64}},
    ]}  # fmt: skip
    machine.write_text(site / "index.html", json.dumps(page))
    listed = {"meta": {"api-version": "1.0"}, "projects": [{"name": "probe"}]}
    machine.write_text("site/simple/index.html", json.dumps(listed))
    machine.write_text("site/health", "Ok")
    machine.write_text("site/packages/probe-1.0.tar.gz", "another")
    url = serve_otherwise(machine, site="site")

    def problems() -> list[str]:
        return [item["text"] for item in status(machine)["problems"]]

    assert problems() == [
        f"{url}/packages/probe-1.0.tar.gz cannot be fetched: "
        "its first bytes differ from the file on disk"
    ]
    machine.run("cp", f"{DISTS}/probe-1.0.tar.gz", "site/packages/")
    assert problems() == [
        f"{url}/packages/probe-1.0.tar.gz cannot be fetched: "
        "its SHA-256 differs from the one on the page"
    ]
    machine.run("rm", "site/packages/probe-1.0.tar.gz")
    assert problems() == [f"{url}/packages/probe-1.0.tar.gz cannot be fetched: status 404"]


def test_each_broken_part_leaves_the_others(person: Person) -> None:
    """All at once, and none hides another."""
    paths = person.paths
    paths.distributions.mkdir(parents=True)
    wheel(paths.distributions, "probe", "1.0")
    paths.config.mkdir(parents=True)
    paths.settings.write_text("broken")
    paths.repositories.write_text("broken")
    paths.state.mkdir(parents=True)
    (paths.state / "checks.json").write_text("broken")
    done = person.run("status", "--json", status=1)
    found = json.loads(done.stdout)
    assert [item["subject"] for item in found["problems"]] == ["config.toml", "repos.toml"]
    assert "server" in [item["subject"] for item in found["warnings"]]
    assert (found["projects"], found["files"]) == (1, 1)


def test_a_stranger_with_the_name_is_a_warning(person: Person, watch: Watch) -> None:
    """And never a reason to remove the private one."""
    project = watch("probe")
    project.release("1.0")
    person.paths.settings.write_text("[watcher]\npublic-versions = false\n")
    person.run("update")
    known = {"url": "https://pypi.org/simple/probe/", "asked_at": 900, "final": "99.0"}
    seen = {"absent_at": 100, "appeared_at": 900}
    (person.paths.state / "public.json").write_text(json.dumps({"probe": {**known, **seen}}))
    done = person.run("status", status=3, TZ="UTC").stdout
    assert (
        "\nwarning  me/probe: PyPI has probe since 1970-01-01 00:15:00 UTC, but did not when "
        "me/probe was added; this index still serves yours\n"
        "         hint: check who published it: https://pypi.org/simple/probe/\n"
    ) in done
    assert "remove" not in done
