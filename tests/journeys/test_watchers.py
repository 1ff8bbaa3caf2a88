"""Several watchers, each of a person with a user manager of their own, fill one index."""

import hashlib
import os
import re
import secrets
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench_servers import DEVPI_WEAKLY, devpi_server, fetch, make_devpi_index
from fixtures import COMMAND, MakeMachine, Person, free_port
from machine import Machine
from projects import Project, block, create

WATCHERS = 3
# `make soak` has 30 in all, and devpi too.
_SOAKED = os.environ.get("SOAK_REPOSITORIES")
REPOSITORIES = int(_SOAKED or 2)
INDEXES = ("ours_of_all", *(("devpi_of_all",) if _SOAKED else ()))
pytestmark = pytest.mark.timeout(0 if _SOAKED else 300)
UNIT = "pypi-insiders-watcher.service"
CREDENTIAL = "pypi-insiders-index-password"
UPLOADED = re.compile("uploaded to .*: (.*)")


@dataclass(frozen=True)
class Shared:
    """The index that all watchers fill."""

    upload_url: str
    simple_url: str
    user: str
    password: str

    def files(self, project: str) -> dict[str, str]:
        """Return the sha256 of the files of a project by name."""
        page = f"{self.simple_url}{project}/"
        found = fetch(page).files(page)
        return {name: hashlib.sha256(fetch(url).body).hexdigest() for name, url in found.items()}


@pytest.fixture
def devpi_of_all(devpi: Path, tmp_path: Path) -> Iterator[Shared]:
    """An index of devpi in which no file is replaced."""
    password = secrets.token_hex(16)
    with devpi_server(devpi, tmp_path / "devpi", *DEVPI_WEAKLY) as server:
        made = make_devpi_index(server, "team", password, volatile=False)
        yield Shared(made.url, f"{made.url}+simple/", "team", password)


@pytest.fixture
def ours_of_all(person: Person) -> Iterator[Shared]:
    """One of our own, which takes uploads with its token."""
    person.paths.config.mkdir(parents=True)
    person.paths.settings.write_text("[server]\nuploads = true\n")
    token = person.run("server", "token").stdout.strip()
    with subprocess.Popen(
        [COMMAND, "server", "run", "--port", "0"],
        env=person.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        simple_url = server.stdout.readline().strip()
        yield Shared(simple_url.removesuffix("simple/"), simple_url, "__token__", token)
        server.kill()


@pytest.mark.parametrize("kind", INDEXES)
def test_nothing_is_lost_and_nothing_twice(
    kind: str, make_machine: MakeMachine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """All upload at the same time, and one is killed when it has uploaded half."""
    index: Shared = request.getfixturevalue(kind)
    with ExitStack() as stack:
        machines = [
            stack.enter_context(make_machine(user_id=31411 + number)) for number in range(WATCHERS)
        ]
        projects = {
            machine: [create(tmp_path, f"w{number}-{n}") for n in range(REPOSITORIES)]
            for number, machine in enumerate(machines)
        }
        first, pipe = machines[0], tmp_path / "pipe"
        late = projects[first][-1]
        for machine, own in projects.items():
            for project in own:
                if project is late:
                    block(late, "1.0", pipe)
                    pipe.chmod(0o666)
                else:
                    project.release("1.0")
            _settle(machine, own, index)
        for machine in machines:
            machine.run("systemctl", "--user", "start", "--no-block", UNIT)
        first.wait_for_journal(f"me/{late.name}: building tag")
        first.wait_for_journal(UPLOADED.pattern)
        first.run("systemctl", "--user", "kill", "--signal=KILL", UNIT)
        _wait(first, "failed")
        first.run("systemctl", "--user", "start", "--no-block", UNIT)
        pipe.open("w").close()  # waits until the build reads
        for machine in machines:
            _wait(machine, "inactive")
            machine.run("pypi-insiders", "update")  # which has nothing to do
        uploaded = Counter(
            name
            for machine in machines
            for line in machine.journal("-u", UNIT).splitlines()
            if (found := UPLOADED.search(line))
            for name in found[1].split(", ")
        )
        for machine, own in projects.items():
            for project in own:
                assert index.files(project.name) == _files(machine, project)
                # Of the one that was killed, the last upload may be complete without a line.
                times = {uploaded[name] for name in _files(machine, project)}
                assert times <= ({0, 1} if machine is first else {1})


def _settle(machine: Machine, projects: list[Project], index: Shared) -> None:
    """Watch projects, and install the watcher with the password of the index as a credential."""
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.write_text(
        ".config/pypi-insiders/config.toml",
        f'[server]\nport = {free_port()}\n[build]\nsandbox = "off"\n'
        "[watcher]\npublic-versions = false\n"
        f'[publish]\nindex-url = "{index.upload_url}"\ncheck-url = "{index.simple_url}"\n'
        f'user = "{index.user}"\n',
    )
    path = machine.write_text("password", index.password, mode=0o600)
    machine.write_text(
        f".config/systemd/user/{UNIT}.d/password.conf",
        f"[Service]\nLoadCredential={CREDENTIAL}:{path}\n",
    )
    machine.run("pypi-insiders", "watcher", "start")
    for project in projects:
        name = f"me/{project.name}:{project.name}"
        machine.run("pypi-insiders", "repos", "add", "--no-check", name, "--url", project.url)


def _wait(machine: Machine, state: str) -> None:
    shown = ["systemctl", "--user", "show", "--value", "--property=ActiveState", UNIT]
    machine.wait_for(shown, lambda done: done.stdout.strip() == state)


def _files(machine: Machine, project: Project) -> dict[str, str]:
    """Return the sha256 of the files of a project that a watcher has published, by name."""
    stem = project.name.replace("-", "_")
    at = machine.home / ".local/share/pypi-insiders/dists"
    done = machine.run("bash", "-c", f"cd {at} && sha256sum {stem}-*")
    return {name: digest for digest, name in map(str.split, done.stdout.splitlines())}
