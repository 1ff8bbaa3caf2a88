"""status: one screen that tells how everything is, and an exit status that says the same."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import terminal
from fallback import a_day_later, public_index
from fixtures import COMMAND, Person, Watch, free_port
from machine import Machine
from projects import Project, create
from units import port
from wheels import wheel

from pypi_insiders.repositories import state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.util.files import sha256

__all__ = ["port"]

AGO = r"\d+ (?:s|min) ago"
CLOCK = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
NEXT = rf"next update in \d+ (?:s|min) \({CLOCK}\)"


def read(person: Person, *, status: int = 3) -> dict[str, Any]:
    """Read what scripts do."""
    content: dict[str, Any] = json.loads(person.run("status", "--json", status=status).stdout)
    return content


def row(person: Person, *, status: int = 3) -> dict[str, Any]:
    """Read what scripts do of the one repository."""
    (found,) = read(person, status=status)["repositories"]
    return dict(found)


@pytest.fixture
def project(machine: Machine, port: int, tmp_path: Path) -> Project:
    """A project with a release that somebody with a machine watches; PyPI is not asked."""
    project = create(tmp_path, "probe")
    project.release("1.0")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.write_text(
        ".config/pypi-insiders/config.toml",
        f"[server]\nport = {port}\n[watcher]\npublic-versions = false\n",
    )
    machine.run("pypi-insiders", "repos", "add", "me/probe", "--url", project.url)
    return project


def screen(machine: Machine, *typed: str, status: int) -> str:
    """Read what a person does, in UTC."""
    done = machine.run("pypi-insiders", *typed, check=False, env={"TZ": "UTC"})
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def updated(machine: Machine) -> None:
    """Let the watcher do one update, and wait for its end."""
    machine.run("systemctl", "--user", "start", "pypi-insiders-watcher.service", check=False)


def test_one_screen_tells_that_all_is_well_and_scripts_read_all_of_it(
    machine: Machine, port: int, project: Project
) -> None:
    """With and without the word, and 0 to scripts; times in UTC, and what nobody knows is null."""
    machine.run("pypi-insiders", "server", "enable")
    machine.run("pypi-insiders", "watcher", "enable")
    updated(machine)
    assert machine.get(f"http://127.0.0.1:{port}/health").status == 200
    for typed in ((), ("status",)):
        assert re.fullmatch(
            rf"server   running at http://127.0.0.1:{port}/simple/, listening since {CLOCK} "
            rf"\({AGO}\), process started {AGO}, \d+ MiB\n"
            rf"watcher  running, last update succeeded {AGO}, {NEXT}\n"
            r"index    1 project, 2 files\n"
            r"\n"
            r"repository  project  version  tag   built( +)public  checked\n"
            rf"me/probe    probe    1.0      v1.0  {AGO}  -       {AGO}\n",
            screen(machine, *typed, status=0),
        )
    told = json.loads(screen(machine, "status", "--json", status=0))
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"

    def generalized(value: object) -> object:
        if isinstance(value, dict):
            return {key: generalized(item) for key, item in value.items()}
        if isinstance(value, list):
            return [generalized(item) for item in value]
        if isinstance(value, str):
            return re.sub(r"^[0-9a-f]{40}$", "COMMIT", re.sub(moment, "TIME", value))
        return value if isinstance(value, bool) or not isinstance(value, int) else "NUMBER"

    assert generalized(told) == {
        "version": "NUMBER",
        "health": "well",
        "manager": None,
        "server": {
            "state": "running",
            "text": f"running at http://127.0.0.1:{port}/simple/",
            "hint": None,
            "started_at": "TIME",
            "url": f"http://127.0.0.1:{port}/simple/",
            "addresses": [f"127.0.0.1:{port}", f"[::1]:{port}"],
            "process_started_at": "TIME",
            "idle": False,
            "memory_bytes": "NUMBER",
            "is_idle": False,
            "condition": "running",
            "since": "TIME",
        },
        "projects": "NUMBER",
        "files": "NUMBER",
        "watcher": {
            "state": "running",
            "text": told["watcher"]["text"],
            "hint": None,
            "started_at": "TIME",
            "updating": False,
            "progress": None,
            "last_update_at": "TIME",
            "last_result": "succeeded",
            "next_update_at": "TIME",
            "is_updating": False,
            "last_run": "TIME",
            "last_run_failed": False,
            "next_run": "TIME",
            "condition": "running",
            "since": "TIME",
        },
        "repositories": [
            {
                "name": "me/probe",
                "project": "probe",
                "served_version": "1.0",
                "tag": "v1.0",
                "commit": "COMMIT",
                "built_at": "TIME",
                "public_version": None,
                "public_asked_at": None,
                "superseded_by": None,
                "checked_at": "TIME",
                "first_unreachable_at": None,
                "distribution": "probe",
                "version": "1.0",
                "unreachable_since": None,
                "errors": [],
                "warnings": [],
            }
        ],
        "problems": [],
        "warnings": [],
        "notes": [],
    }


def test_scripts_read_of_one_service_which_may_be_idle(machine: Machine, port: int) -> None:
    """The same as of all, with its exit status; without a process it runs, and uses nothing."""
    machine.run("pypi-insiders", "server", "start")
    whole = json.loads(screen(machine, "status", "--json", status=3))
    for name, status in (("server", 0), ("watcher", 4)):
        told = json.loads(screen(machine, name, "status", "--json", status=status))
        assert {**told, "memory_bytes": 0} == {**whole[name], "memory_bytes": 0, "version": 1}
    machine.run("systemctl", "--user", "stop", "pypi-insiders-server.service")
    assert re.match(
        rf"server   running at http://127.0.0.1:{port}/simple/, listening since {CLOCK} \({AGO}\), "
        r"idle \(socket-activated\)\n",
        screen(machine, status=3),
    )
    server = json.loads(screen(machine, "status", "--json", status=3))["server"]
    assert server["idle"] is False  # for that look has started it


def test_what_is_stopped_ends_3_and_what_fails_ends_1(
    machine: Machine, port: int, project: Project
) -> None:
    """What fails counts more; each line says what to type."""
    assert screen(machine, status=1) == (
        "server   not installed\n"
        "watcher  not installed\n"
        "index    0 projects, 0 files\n"
        "\n"
        "repository  project  version  tag  built  public  checked\n"
        "me/probe    probe    -        -    -      -       never\n"
        "\n"
        "problem  me/probe: probe has no release yet: me/probe was never built\n"
        "         hint: `pypi-insiders update me/probe`\n"
        "warning  server: not installed\n"
        "         hint: `pypi-insiders server enable`\n"
        "warning  watcher: not installed\n"
        "         hint: `pypi-insiders watcher enable`\n"
    )
    machine.run("pypi-insiders", "server", "enable")
    machine.run("pypi-insiders", "watcher", "enable")
    updated(machine)
    machine.run("pypi-insiders", "server", "stop")
    told = screen(machine, status=3)
    assert told.startswith("server   stopped\n")
    hint = "         hint: `pypi-insiders server start`\n"
    assert told.endswith(f"\nwarning  server: stopped\n{hint}")
    project.remote.rename(project.remote.with_name("away.git"))
    updated(machine)
    told = screen(machine, status=1)
    assert re.search(rf"^watcher  running, last update failed {AGO}, {NEXT}$", told, re.MULTILINE)
    assert (
        "\nproblem  me/probe: repository not found, or no access to it "
        f"('{project.remote}' does not appear to be a git repository)\n"
        "         hint: check the name, and that your sponsorship or account gives access\n"
    ) in told
    project.remote.with_name("away.git").rename(project.remote)
    machine.run("pypi-insiders", "server", "start")
    updated(machine)
    assert "problem" not in screen(machine, status=0)


def test_an_index_that_fails_ends_1(machine: Machine, port: int) -> None:
    """Though its socket still takes connections."""
    machine.run("pypi-insiders", "server", "start")
    machine.write_text(".config/pypi-insiders/config.toml", "broken")
    machine.run("systemctl", "--user", "restart", "pypi-insiders-server.service", check=False)
    told = machine.wait_for(("pypi-insiders", "status"), lambda done: done.returncode == 1)
    first = told.stdout.splitlines()[0]
    assert re.fullmatch(
        r"server   failing \((exit-code|not ready|cannot serve: .*)(, restarted .*)?\)", first
    )


def test_without_a_user_manager_the_rest_is_told(person: Person, watch: Watch) -> None:
    """In a container there are no services, and still repositories."""
    why = "systemctl not found: systemd is not running here"
    told = person.run(status=3, PATH="/nonexistent")
    assert (told.stdout, told.stderr) == (
        f"server   unknown: {why}\n"
        "index    0 projects, 0 files\n"
        "\n"
        f"warning  server: unknown: {why}\n"
        "         hint: `pypi-insiders exec`, `server run` and `update` work without systemd\n",
        "no repositories are watched; `pypi-insiders repos add NS/PROJ`\n",
    )
    watch("probe")
    told = person.run("status", status=1, PATH="/nonexistent")
    assert (
        "\n\nrepository  project  version  tag  built  public  checked\n"
        "me/probe    probe    -        -    -      -       never\n"
        "\nproblem  me/probe: probe has no release yet: me/probe was never built\n"
    ) in told.stdout


def test_trouble_stays_until_it_is_over(person: Person, watch: Watch) -> None:
    """A tag that does not build, also while it is not tried again; a moved tag; no network."""
    project = watch("probe")
    project.release("1.0")
    project.write("2.0")
    project.hook("raise SystemExit('broken')")
    project.push("v2.0")
    person.run("update", status=1)
    person.run("update", status=1)
    (error,) = row(person, status=1)["errors"]
    assert error.startswith("tag v2.0: ")
    project.write("2.0")
    project.push("v2.0", force=True)
    person.run("update")
    assert (row(person)["errors"], row(person)["served_version"]) == ([], "2.0")
    project.push("v2.0", force=True)
    person.run("update")
    (warning,) = row(person)["warnings"]
    assert re.fullmatch(
        "tag v2.0 has moved from [0-9a-f]{9} to [0-9a-f]{9} since its build; "
        "its published files stay",
        warning,
    )
    assert f"\nwarning  me/probe: {warning}\n" in person.run("status", status=3).stdout
    far = f"https://127.0.0.1:{free_port()}/me/far.git"
    person.run("repos", "add", "me/far", "--url", far)
    person.run("update", status=1)
    assert re.search(
        r"\nproblem  me/far: no release yet: host unreachable \(.*\n(.*\n)*"
        r"warning  me/far: project name unknown; .*\n",
        person.run("status", status=1).stdout,
    )


def test_the_version_is_the_one_that_installers_take(person: Person) -> None:
    """A pre-release only where no final one is served; uv and pip do the same."""
    paths = person.paths
    paths.distributions.mkdir(parents=True)
    paths.config.mkdir(parents=True)
    paths.repositories.write_text('["me/probe"]\n')
    builds = []
    for version, shown in (("0.9rc1", "0.9rc1"), ("1.0", "1.0"), ("2.1rc1", "1.0"),
                           ("1.2.dev0", "1.0"), ("1.0.post1", "1.0.post1")):  # fmt: skip
        file = wheel(paths.distributions, "probe", version)
        builds.append(Build(f"v{version}", "c" * 40, version, 1, {file.name: sha256(file)}))
        remote = Repository("me/probe").remote
        state.save(paths.state, "me/probe", RepositoryState("probe", list(builds), remote))
        (listed,) = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
        assert listed["served_version"] == shown
    assert row(person)["served_version"] == "1.0.post1"
    assert (
        json.loads(person.run("show", "me/probe", "--json").stdout)["served_version"] == "1.0.post1"
    )


def test_what_is_yanked_or_gone_is_not_the_newest(person: Person, watch: Watch) -> None:
    """Nobody gets it."""
    project = watch("probe")
    for version in ("1.0", "1.1", "1.2"):
        project.release(version)
        person.run("update")
    assert row(person)["served_version"] == "1.2"
    person.run("yank", "probe", "1.2")
    assert row(person)["served_version"] == "1.1"
    person.run("unpublish", "--yes", "probe", "1.1")
    assert row(person)["served_version"] == "1.0"


def test_a_public_release_that_is_hidden_is_said(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """As a fact, without advice; an Insiders version of the same public one is newer."""
    project = watch("probe")
    project.write("1.0+insiders.1")
    project.push("1.0-insiders-1")
    with public_index(person, tmp_path) as public:
        wheel(public.directory, "probe", "1.0")
        person.run("update")
        told = row(person)
        assert (told["served_version"], told["public_version"]) == ("1.0+insiders.1", "1.0")
        assert told["superseded_by"] is None
        wheel(public.directory, "probe", "1.1")
        wheel(public.directory, "probe", "2.0rc1")
        a_day_later(person)
        person.run("update")
        assert row(person)["superseded_by"] == "1.1"
        shown = person.run("status", status=3).stdout
        assert shown.endswith(
            "\nnote     me/probe: the fallback index has probe 1.1, which is newer than "
            "1.0+insiders.1 here\n"
        )
        assert "remove" not in shown


def test_a_narrow_terminal_gets_each_repository_as_a_block(person: Person) -> None:
    """No name is cut that the next command wants, and no command is broken."""
    long = "sponsor/a-repository-with-a-name-that-is-really-long"
    person.run("repos", "add", "--no-check", f"{long}:a-project-with-a-long-name")
    row = f"{long}  a-project-with-a-long-name  -        -    -      -       never\n"
    assert row in person.run("status", status=1).stdout
    lines = on_a_terminal(person, {"NO_COLOR": "1"}, columns=60, status=1)
    first = lines.index("") + 1
    assert lines[first : lines.index("", first)] == [
        long,
        "  project  a-project-with-a-long-name",
        "  checked  never",
    ]
    assert f"         hint: `pypi-insiders update {long}`" in lines
    assert lines == on_a_terminal(person, {"NO_COLOR": "1", "COLUMNS": "60"}, columns=200, status=1)


def test_the_status_of_some_repositories_is_theirs_alone(person: Person, watch: Watch) -> None:
    """The rows, the problems and the exit status; a name may be in any case."""
    watch("probe").release("1.0")
    watch("other")
    person.run("update", "me/probe")
    well = person.run("status", "ME/Probe")
    assert re.fullmatch(
        rf"repository  project  version  tag   built( +)public  checked\n"
        rf"me/probe    probe    1.0      v1.0  {AGO}  \S+ +{AGO}\n",
        well.stdout,
    )
    failing = person.run("status", "me/other", status=1).stdout
    assert "me/probe" not in failing
    assert "server" not in failing
    assert "\nproblem  me/other: other has no release yet: me/other was never built\n" in failing
    content = json.loads(person.run("status", "me/probe", "--json").stdout)
    assert [item["name"] for item in content["repositories"]] == ["me/probe"]
    assert (content["health"], content["problems"], content["warnings"]) == ("well", [], [])
    both = person.run("status", "me/other", "me/probe", status=1).stdout
    assert ["me/probe" in both, "me/other" in both] == [True, True]
    unknown = person.run("status", "me/nobody", status=1)
    assert unknown.stdout == ""
    assert "me/nobody" in unknown.stderr


def test_colours_are_for_terminals_that_want_them(person: Person) -> None:
    """NO_COLOR and a dumb terminal are respected, and a pipe gets none."""
    assert "\x1b[" not in person.run("status", status=3).stdout
    assert "\x1b[" in "\n".join(on_a_terminal(person, columns=80))
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b[" not in "\n".join(on_a_terminal(person, variables, columns=80))


def on_a_terminal(
    person: Person, variables: dict[str, str] | None = None, *, columns: int, status: int = 3
) -> list[str]:
    """Run `status` on a terminal; return its lines."""
    return terminal.run(
        [COMMAND, "status"], person.environment, columns=columns, status=status, **variables or {}
    )
