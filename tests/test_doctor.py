"""doctor: what it finds under a real user manager, and what without one."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Person, free_port
from machine import Machine
from projects import Project, create
from test_journeys import UNIT_DIRECTORY, port

__all__ = ["port"]

UNIT = "a unit like pypi-insiders-watcher.service"
FROM_SHELL = (
    "that sees neither the variables nor the ssh agent of your shell: `systemctl --user "
    "import-environment SSH_AUTH_SOCK`, a key that needs no agent, or ~/.config/environment.d/"
)
NOWHERE = "file:///nowhere/"


def examine(machine: Machine, *, status: int, **environment: str) -> dict[str, dict[str, Any]]:
    """Run `doctor`, which must end so; tell what it found by what it looked at.

    `~/bin` comes first in this shell.
    """
    shell = ("sh", "-c", 'PATH="$HOME/bin:$PATH" exec "$@"', "sh")
    done = machine.run(*shell, "pypi-insiders", "doctor", "--json", check=False, env=environment)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr == ""
    return {item["repository"] or item["check"]: item for item in json.loads(done.stdout)}


def watch(machine: Machine, directory: Path, *, at: str | None = None) -> Project:
    """Make a project with a release that is watched, at a URL of its own or at another one."""
    project = create(directory, "probe")
    project.release("1.0")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.run("pypi-insiders", "repos", "add", "me/probe", "--url", at or project.url)
    return project


def found_at(project: Project) -> dict[str, Any]:
    """Make the variables by which git finds a project that is nowhere. Source: git-config(1)."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{project.remote.parent}/.insteadOf",
        "GIT_CONFIG_VALUE_0": NOWHERE,
    }


def drop_in(machine: Machine, text: str) -> None:
    """Do what `systemctl --user edit` does with the watcher's service."""
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-watcher.service.d/override.conf", f"[Service]\n{text}"
    )
    machine.run("systemctl", "--user", "daemon-reload")


def assignments(variables: dict[str, str]) -> str:
    """Write variables as lines of a unit."""
    return "".join(f'Environment="{name}={value}"\n' for name, value in variables.items())


def test_where_all_is_well_it_says_so(machine: Machine, port: int, tmp_path: Path) -> None:
    """One line a check, and exit status 0."""
    watch(machine, tmp_path)
    machine.run("pypi-insiders", "server", "start")
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal("Finished pypi-insiders-watcher.service", timeout_s=60)
    lines = machine.run("pypi-insiders", "doctor").stdout.splitlines()
    expected = [
        "ok       config.toml: can be read",
        "ok       repos.toml: can be read",
        r"ok       git: \d+\.\d+[.\d]*",
        "ok       user manager: answers",
        "ok       lingering: .*|warning  lingering: off.*",
        f"ok       server: running at http://127.0.0.1:{port}/simple/",
        r"ok       watcher: running, last update succeeded \d+ s ago, next update in .*",
        f"ok       index: answers at http://127.0.0.1:{port}/simple/",
        "(ok|warning)  *sandbox: .*",
        f"ok       access: me/probe can be read from {UNIT}",
    ]
    told = [line for line in lines if not line.lstrip().startswith("hint:")]
    assert len(told) == len(expected), told
    for line, pattern in zip(told, expected, strict=True):
        assert re.fullmatch(pattern, line)
    assert "pypi-insiders-doctor" not in machine.run("systemctl", "--user", "list-units").stdout


@pytest.mark.parametrize("is_installed", [True, False], ids=["installed", "not installed"])
def test_what_only_the_shell_can_read_is_a_problem(
    machine: Machine, port: int, tmp_path: Path, is_installed: bool
) -> None:
    """It names the unit, what git said there, and the way out."""
    project = watch(machine, tmp_path, at=f"{NOWHERE}probe.git")
    shell = found_at(project)
    if is_installed:
        machine.run("pypi-insiders", "watcher", "start")
        machine.wait_for_journal("Failed to start pypi-insiders-watcher.service", timeout_s=60)
    found = examine(machine, status=1, **shell)["me/probe"]
    assert found["verdict"] == "problem"
    assert found["message"].startswith(
        f"can be read from your shell, but not from {UNIT}: no such repository"
    )
    assert found["hint"] == FROM_SHELL
    machine.run("systemctl", "--user", "set-environment", *(f"{k}={v}" for k, v in shell.items()))
    assert examine(machine, status=0)["me/probe"]["verdict"] == "ok"


def test_what_only_the_unit_can_read_is_well(machine: Machine, port: int, tmp_path: Path) -> None:
    """`Environment=` of a person's drop-in is the watcher's, with values that need quoting."""
    project = watch(machine, tmp_path, at=f"{NOWHERE}probe.git")
    machine.run("pypi-insiders", "watcher", "start")
    assert examine(machine, status=1)["me/probe"]["verdict"] == "problem"
    odd = {"ODD": r"a $HOME ${HOME} 'b' %% \\ c"}
    drop_in(machine, assignments({**found_at(project), **odd}))
    found = examine(machine, status=0)["me/probe"]
    assert (found["verdict"], found["message"]) == ("ok", f"can be read from {UNIT}")
    # An update of the unit says the same.
    machine.run("systemctl", "--user", "start", "pypi-insiders-watcher.service")


def test_a_file_of_variables_and_credentials_are_those_of_the_unit(
    machine: Machine, port: int, tmp_path: Path
) -> None:
    """A git that asks for what only a unit has; and nobody reads it in a command line."""
    project = watch(machine, tmp_path, at=f"{NOWHERE}probe.git")
    machine.run("pypi-insiders", "watcher", "start")
    machine.write_text(
        "bin/git",
        "#!/bin/sh\n"
        'case "$*" in *ls-remote*)\n'
        '    [ "$(cat "$CREDENTIALS_DIRECTORY/set" "$CREDENTIALS_DIRECTORY/load")" '
        "= 's3cret as setfrom a file' ] || exit 9\n"
        '    [ -z "${GONE+x}" ] || exit 9\n'
        "    ! grep -aq s3cret /proc/[0-9]*/cmdline || exit 9 ;;\n"
        'esac\nexec /usr/bin/env PATH="${PATH#*:}" git "$@"\n',
        mode=0o755,
    )
    machine.write_text("from-a-file", "from a file")
    variables = {**found_at(project), "PATH": f"{machine.home}/bin:/usr/bin:/bin", "GONE": "1"}
    machine.write_text("variables", "".join(f"{name}={it}\n" for name, it in variables.items()))
    drop_in(
        machine,
        "Environment=TOKEN=s3cret\n"
        "EnvironmentFile=%h/variables\nEnvironmentFile=-%h/missing\nUnsetEnvironment=GONE\n"
        "SetCredential=set:s3cret as set\nLoadCredential=load:%h/from-a-file\n",
    )
    assert examine(machine, status=0)["me/probe"]["verdict"] == "ok"
    drop_in(machine, "EnvironmentFile=%h/variables\nUnsetEnvironment=GONE\n")
    assert examine(machine, status=1)["me/probe"]["verdict"] == "problem"


def test_a_unit_that_cannot_run_is_a_problem(machine: Machine, port: int, tmp_path: Path) -> None:
    """As the watcher itself cannot, then."""
    watch(machine, tmp_path)
    machine.run("pypi-insiders", "watcher", "start")
    drop_in(machine, "EnvironmentFile=%h/missing\n")
    found = examine(machine, status=1)["access"]
    assert found["verdict"] == "problem"
    assert found["message"].startswith(f"{UNIT} does not run: ")


def test_what_the_unit_does_not_watch_is_a_problem(
    machine: Machine, port: int, tmp_path: Path
) -> None:
    """Where it has its files elsewhere, as after a change of `XDG_CONFIG_HOME`."""
    watch(machine, tmp_path)
    machine.run("pypi-insiders", "watcher", "start")
    drop_in(machine, "Environment=XDG_CONFIG_HOME=%h/elsewhere\n")
    found = examine(machine, status=1)["me/probe"]
    assert found["message"] == f"is not among those that {UNIT} watches"
    assert found["hint"] == "`pypi-insiders watcher restart` hands on where your files lie"


def test_what_nobody_can_read_is_told_once(machine: Machine, port: int) -> None:
    """In git's words, with the hint that an update gives too; the others are looked at."""
    machine.run("pypi-insiders", "repos", "add", "me/probe", "--url", f"{NOWHERE}probe.git")
    found = examine(machine, status=1)["me/probe"]
    assert found["message"].startswith(f"cannot be read from {UNIT}: no such repository")
    assert found["hint"] == "check the name, and that your sponsorship or account gives access"


def test_services_that_do_not_run_are_told(machine: Machine, port: int) -> None:
    """As warnings with what to type, for that can be what the person wants."""
    found = examine(machine, status=0)
    assert {name: found[name]["hint"] for name in ("server", "watcher", "access")} == {
        "server": "`pypi-insiders server enable`",
        "watcher": "`pypi-insiders watcher enable`",
        "access": "`pypi-insiders repos add NS/PROJ`",
    }
    assert found["index"]["message"] == (
        f"no answer at http://127.0.0.1:{port}/simple/ (Connection refused)"
    )
    machine.run("pypi-insiders", "server", "start")
    machine.run("pypi-insiders", "server", "stop")
    found = examine(machine, status=0)
    assert (found["server"]["message"], found["server"]["hint"]) == (
        "stopped",
        "`pypi-insiders server start`",
    )


def test_an_index_that_fails_is_a_problem(machine: Machine, port: int) -> None:
    """Though its socket takes connections."""
    machine.run("pypi-insiders", "server", "start")
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-server.service.d/override.conf",
        "[Service]\nExecStart=\nExecStart=/bin/false\n",
    )
    machine.run("systemctl", "--user", "daemon-reload")
    machine.run("systemctl", "--user", "restart", "pypi-insiders-server.service", check=False)
    found = examine(machine, status=1)
    assert found["server"]["verdict"] == "problem"
    assert found["server"]["message"].startswith("failing (")
    assert found["server"]["hint"] == "see why: `pypi-insiders server logs`"


def test_a_sandbox_is_asked_for_as_the_settings_say(machine: Machine, port: int) -> None:
    """One that is required and cannot be had is a problem; one that is not wanted is none."""
    settings = machine.read_text(".config/pypi-insiders/config.toml")
    machine.write_text("bin/unshare", "#!/bin/sh\necho no namespaces here\nexit 1\n", mode=0o755)
    told = {}
    for wanted, status in (("off", 0), ("auto", 0), ("required", 1)):
        machine.write_text(
            ".config/pypi-insiders/config.toml", f'{settings}[build]\nsandbox = "{wanted}"\n'
        )
        told[wanted] = examine(machine, status=status)["sandbox"]
    assert [item["verdict"] for item in told.values()] == ["ok", "warning", "problem"]
    assert told["off"]["message"] == "off, as config.toml says: builds may do what you may"
    assert told["required"]["message"].startswith("none can be had: ")


def test_without_a_user_manager_it_looks_from_where_it_is(person: Person, tmp_path: Path) -> None:
    """And says so: there is no watcher whose view would count."""
    project = create(tmp_path, "probe")
    project.release("1.0")
    person.run("repos", "add", "me/probe", "--url", f"{NOWHERE}probe.git")
    failed = person.run("doctor", status=1).stdout
    assert re.search("^warning  user manager: .+\n         hint: .+$", failed, re.MULTILINE)
    problems = [line for line in failed.splitlines() if line.startswith("problem")]
    assert len(problems) == 1
    place = "from this process, without a unit"
    assert problems[0].startswith(f"problem  access: me/probe cannot be read {place}: no such ")
    done = person.run("doctor", **found_at(project)).stdout
    assert f"ok       access: me/probe can be read {place}\n" in done


@pytest.mark.parametrize(
    ("file", "text"),
    [("config.toml", "[server\n"), ("repos.toml", '["me/probe"]\nurl = "ext::sh"\n')],
)
def test_a_broken_file_is_a_problem_and_the_rest_is_looked_at(
    person: Person, file: str, text: str
) -> None:
    """What the program would complain of, with the same hint."""
    path = person.paths.config / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    lines = person.run("doctor", status=1).stdout.splitlines()
    number = next(n for n, line in enumerate(lines) if line.startswith("problem"))
    assert lines[number].startswith(f"problem  {file}: {path}")
    assert lines[number + 1] == f"         hint: edit {path}"
    assert sum(line.startswith("problem") for line in lines) == 1
    assert any(line.startswith("ok       git: ") for line in lines)


def test_a_missing_git_and_another_server_are_problems(person: Person) -> None:
    """Each with its hint."""
    import http.server
    import threading

    port = free_port()
    person.paths.config.mkdir(parents=True)
    (person.paths.config / "config.toml").write_text(f"[server]\nport = {port}\n")
    with http.server.HTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        found = person.run("doctor", "--json", status=1, PATH="/nonexistent").stdout
        other.shutdown()
    told = {item["check"]: item for item in json.loads(found)}
    assert told["git"] == {
        "check": "git",
        "verdict": "problem",
        "message": "git was not found",
        "hint": "install git",
        "repository": None,
    }
    assert told["index"]["verdict"] == "problem"
    assert told["index"]["hint"] == f"see who has the port: `ss -ltnp 'sport = :{port}'`"


def test_a_repository_without_tags_is_a_warning(person: Person, tmp_path: Path) -> None:
    """It can be read; there is nothing to build."""
    person.run("repos", "add", "me/probe", "--url", create(tmp_path, "probe").url)
    lines = person.run("doctor").stdout.splitlines()
    assert lines[-2:] == [
        "warning  access: me/probe can be read from this process, without a unit, and has no tags",
        "         hint: releases are built from tags such as v1.0",
    ]
