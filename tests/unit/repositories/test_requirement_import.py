"""Take over what requirements take from Git, and say what to write there instead."""

import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from fixtures import COMMAND, Person

from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.requirement_import import (
    GitRequirement,
    of_pyproject,
    of_requirements,
)
from pypi_insiders.util.errors import InsidersError

FILE = Path("requirements.txt")
TOKEN = "ghp_" + "x" * 36


def told(found: list[GitRequirement]) -> list[tuple[dict[str, Any], str]]:
    """Return what is watched for each, with its name, and what to write instead."""
    return [
        (
            {"name": item.repository.name, **item.repository.keys},
            item.advice(None).split(": ", 1)[1],
        )
        for item in found
    ]


INSTEAD = "replace its Git URL by "


@pytest.mark.parametrize(
    ("line", "watched", "advice"),
    [
        ("git+ssh://git@github.com/me/probe", {"name": "me/probe"}, "`PROJECT`"),
        ("git+ssh://git@github.com/me/probe.git@v1.2", {"name": "me/probe"}, "`PROJECT==1.2`"),
        (
            "-e git+https://github.com/me/probe@v1.2#egg=My_Probe[x]&subdirectory=packages/a",
            {
                "name": "me/probe",
                "project": "my-probe",
                "url": "https://github.com/me/probe.git",
                "subdirectory": "packages/a",
            },
            "`PROJECT==1.2`",
        ),
        (
            "probe[b,a] @ git+ssh://git@git.example:2222/me/probe@9.5.3-insiders-4.49.0 ; "
            "python_version < '3.13' # why",
            {
                "name": "me/probe",
                "project": "probe",
                "url": "ssh://git@git.example:2222/me/probe",
            },
            '`PROJECT[a,b]==9.5.3+insiders.4.49.0; python_version < "3.13"`',
        ),
        (
            f"probe @ git+https://me:{TOKEN}@github.com/me/probe@main",
            {"name": "me/probe", "project": "probe", "url": "https://github.com/me/probe.git"},
            "`PROJECT` (main is not a version; if it is a branch: "
            "`pypi-insiders repos set me/probe branch=main`)",
        ),
        (
            "probe @ git+https://${TOKEN}@git.example/a/b/probe@1a2b3c4d",
            {"name": "a/b/probe", "project": "probe", "url": "https://git.example/a/b/probe"},
            "`PROJECT` (commit 1a2b3c4d is not a version)",
        ),
        (
            "git+ssh://git@github.com:me/probe.git@v1#egg=probe",
            {"name": "me/probe", "project": "probe"},
            "`PROJECT==1`",
        ),
        ("probe @ \\\n  git+ssh://git@github.com/me/probe \\\n  --hash=sha256:00",
         {"name": "me/probe", "project": "probe"}, "`PROJECT`"),
    ],
)  # fmt: skip
def test_a_requirement_is_watched(line: str, watched: dict[str, Any], advice: str) -> None:
    """By its place, project and subdirectory; a credential of its URL stays out."""
    assert told(of_requirements(FILE, line, {})) == [(watched, INSTEAD + advice)]


@pytest.mark.parametrize(
    "line",
    [
        "click==8.1",
        "# git+https://github.com/me/probe",
        "click  # as git+https://github.com/me/probe was",
        "probe @ https://example.org/probe-1.0.tar.gz#git+x",
        "-c constraints.txt",
        "",
    ],
)
def test_what_is_of_an_index_stays(line: str) -> None:
    assert of_requirements(FILE, line, {}) == []


def test_tables_of_uv_and_poetry_are_watched() -> None:
    """Those of other tools are requirements, wherever they are."""
    document = tomllib.loads(
        f"""
[dependency-groups]
dev = ["click", "a @ git+ssh://git@github.com/me/a@v1.0"]
[tool.uv.sources]
b = {{ git = "https://{TOKEN}@github.com/me/b", tag = "v2.0" }}
click = {{ index = "pytorch" }}
[tool.hatch.envs.x]
dependencies = ["c @ git+ssh://git@github.com/me/c"]
[tool.poetry.group.dev.dependencies]
d.git = "git@github.com:me/d.git"
d.branch = "main"
d.extras = ["x"]
d.markers = "os_name == 'posix'"
e = {{ git = "git@github.com:me/e.git", tag = "3.0" }}
"""
    )
    found = of_pyproject(Path("pyproject.toml"), document, {})
    assert [(item.repository.name, item.repository.project) for item in found] == [
        (f"me/{name}", name) for name in "abcde"
    ]
    assert [item.advice(item.repository.project) for item in found] == [
        "pyproject.toml, dependency-groups.dev: replace its Git URL by `a==1.0`",
        "pyproject.toml, tool.uv.sources.b: remove it, and require `b==2.0`",
        "pyproject.toml, tool.hatch.envs.x.dependencies: replace its Git URL by `c`",
        "pyproject.toml, tool.poetry.group.dev.dependencies.d: replace its Git URL by "
        '`d = {version = "*", extras = ["x"], markers = "os_name == \'posix\'"}` '
        "(main is not a version; if it is a branch: `pypi-insiders repos set me/d branch=main`)",
        "pyproject.toml, tool.poetry.group.dev.dependencies.e: replace its Git URL by "
        '`e = "==3.0"`',
    ]


def test_two_projects_of_one_repository_are_watched() -> None:
    """The second one by a name of its own."""
    lines = "\n".join(
        f"{name} @ git+ssh://git@github.com/me/mono#subdirectory={name}" for name in "aba"
    )
    first = of_requirements(FILE, lines, {})
    assert [item.repository.name for item in first] == ["me/mono", "me/mono/b", "me/mono"]
    assert first[1].repository.url == "git@github.com:me/mono.git"
    known = {item.repository.name: item.repository for item in first}
    assert [item.repository.name for item in of_requirements(FILE, lines, known)] == [
        "me/mono", "me/mono/b", "me/mono",
    ]  # fmt: skip


def test_what_cannot_be_watched_is_named_at_once() -> None:
    """With no credential of a URL in the message."""
    lines = (
        f"a @ git+https://{TOKEN}@github.com\n"
        "b @ git+ssh://git@github.com/me/b#subdirectory=../x\n"
        f"c @ git+ftp://me:{TOKEN}@git.example/me/c\n"
    )
    with pytest.raises(InsidersError) as caught:
        of_requirements(FILE, lines, {"me/x": Repository("me/x")})
    assert TOKEN not in caught.value.message
    parts = caught.value.message.split("; ")
    assert [part.split(": ")[0 if number else 1] for number, part in enumerate(parts)] == [
        "line 1", "line 2", "line 3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        f"git+{TOKEN}@github.com/me/app",
        f"a @ git+https://me:{TOKEN}/x@github.com/me/app",
        f"a @ git+https://github.com:{TOKEN}/me/app",
        f"a @ git+HTTPS://me:{TOKEN}@github.com/me/app",
    ],
)
def test_a_credential_is_shown_from_no_place_of_a_url(line: str) -> None:
    with pytest.raises(InsidersError) as caught:
        of_requirements(FILE, line, {})
    assert TOKEN not in str(caught.value.message) + str(caught.value.hint)


def test_a_name_too_long_for_a_file_is_refused_and_not_written() -> None:
    """It would make `repos.toml` unreadable for every command."""
    line = f"{'a' * 300} @ git+https://github.com/me/app"
    with pytest.raises(InsidersError, match="is too long for the name of a file"):
        of_requirements(FILE, line, {"me/app": Repository("me/app", "app")})


@pytest.mark.parametrize(
    "line", [" " * 200_000 + "x", "git+https://github.com/me/a" + " " * 200_000 + "x"]
)
def test_spaces_take_no_quadratic_time(line: str) -> None:
    began = time.process_time()
    of_requirements(FILE, line, {})
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a=" + "[" * 5000, "it is nested too deep"),
        ("\na" + ".a" * 20_000 + "=1", "a key has more than 64 parts (at line 2)"),
    ],
)
def test_nothing_is_nested_too_deeply(person: Person, tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(text)
    told = person.run("repos", "import", path, status=1).stderr
    assert told == f"error: {path} is not valid TOML: {why}\nhint: edit {path}\n"


def test_an_included_address_is_named_without_its_credential(
    person: Person, tmp_path: Path
) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(f"-r https://me:{TOKEN}@git.example/x.txt?token={TOKEN}\n")
    told = person.run("repos", "import", path).stderr
    assert f"{path} includes https://git.example/x.txt, which is not read\n" in told
    assert TOKEN not in told


def test_the_command_says_what_to_write(person: Person, tmp_path: Path) -> None:
    """And which file it did not read; again it is no error."""
    path = tmp_path / "requirements.txt"
    path.write_text("-r base.txt\nprobe @ git+ssh://git@github.com/me/probe@v1.0\n")
    told = (
        f"note: {path}, line 2: replace its Git URL by `probe==1.0`\n"
        f"note: {path} includes base.txt, which is not read: "
        f"`pypi-insiders repos import {tmp_path / 'base.txt'}`\n"
    )
    done = person.run("repos", "import", "--no-check", path)
    assert (done.stdout, done.stderr) == ("watching me/probe as probe\n", told)
    again = person.run("repos", "import", "--no-check", path)
    assert (again.stdout, again.stderr) == ("me/probe is already watched\n", told)
    none = person.run("repos", "import", "--no-check", tmp_path / "none.txt", status=1)
    assert none.stderr == (
        f"error: {tmp_path / 'none.txt'} not found\n"
        "hint: name the file: `pypi-insiders repos import FILE`\n"
    )
    directory = person.run("repos", "import", tmp_path, status=1)
    assert directory.stderr.startswith(f"error: {tmp_path} is a directory\nhint: name the file: ")


def test_http_is_named_with_its_place(person: Person, tmp_path: Path) -> None:
    """And nothing of the file is added."""
    path = tmp_path / "requirements.txt"
    path.write_text("git+ssh://git@github.com/me/a\ngit+http://git.example/me/b\n")
    failed = person.run("repos", "import", "--no-check", path, status=1)
    assert failed.stderr.startswith(
        f"error: nothing added from {path}: line 2: http://git.example/me/b"
    )
    assert "is not encrypted" in failed.stderr
    assert not person.paths.repositories.exists()


def test_standard_input(person: Person) -> None:
    """What it includes is where the user is, as for pip."""
    done = subprocess.run(
        [COMMAND, "repos", "import", "--no-check", "-"], env=person.environment,
        input="git+ssh://git@github.com/me/a#egg=a\n-r base.txt\n", capture_output=True, text=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (
        "watching me/a as a\n",
        "note: /dev/stdin, line 1: replace its Git URL by `a`\n"
        "note: /dev/stdin includes base.txt, which is not read: "
        "`pypi-insiders repos import base.txt`\n",
    )
