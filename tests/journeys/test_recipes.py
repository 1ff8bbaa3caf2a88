"""The recipes of the manual, as they stand there but for the host of the repository."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures import COMMAND, ROOT, Person
from forge import Forge, forge
from githost import GitHost, make_host
from machine import Machine
from projects import create

__all__ = ["forge", "make_host"]

TEXT = (ROOT / "pypi_insiders/manual/recipes.md").read_text()
CI = (ROOT / "pypi_insiders/manual/ci.md").read_text()
TOKEN = "a-token-of-ci"


def section(title: str) -> str:
    """Return what the manual says under a title."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def program(directory: Path, name: str, script: str) -> str:
    """Write a program, and return a PATH on which it comes first."""
    (directory / "bin").mkdir()
    (directory / "bin" / name).write_text(f"#!/bin/sh\n{script}")
    (directory / "bin" / name).chmod(0o755)
    return f"{directory}/bin:{COMMAND.parent}:/usr/bin:/bin"


def shell(person: Person, script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a script to its end as somebody."""
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", script],
        env={**person.environment, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_whole_organisation_is_watched(person: Person, tmp_path: Path) -> None:
    """Of gh, there is what it prints. Nothing leads to the host: they are watched all the same."""
    (command,) = re.findall(r"```sh\n(.*?)```", section("A whole organisation"), re.DOTALL)
    path = program(
        tmp_path, "gh", '[ "$1 $2 $3" = "repo list my-org" ] && printf "my-org/%s\\n" a b c\n'
    )
    for words in ("watching", "is already watched"):
        done = shell(person, command, PATH=path, GIT_SSH_COMMAND="false")
        assert re.findall(rf"my-org/[abc](?= {words})|(?<=watching )my-org/[abc]", done.stdout) == [
            f"my-org/{name}" for name in "abc"
        ]


def test_a_workflow_with_a_deploy_key_gets_the_release(
    machine: Machine, forge: Forge, tmp_path: Path
) -> None:
    """Of the action there is what it does: the key is in an agent, and in no file."""
    forge.create("squidfunk/mkdocs-material-insiders", "mkdocs-material").release("9.5")
    (script,) = re.findall(r"^- run: \|\n((?:    .*\n)+)", CI, re.MULTILINE)
    script = script.replace("mkdocs build", "python -c 'import mkdocs_material as it; print(it)'")
    key = machine.home / ".ssh/id_ed25519"
    done = machine.run(
        "ssh-agent", "sh", "-c", f"set -e; ssh-add -q {key}; rm {key}\n{script}",
        env={"PATH": f"{COMMAND.parent}:{os.environ['PATH']}", "UV_PYTHON": sys.executable},
    )  # fmt: skip
    assert "published mkdocs_material-9.5" in done.stderr
    assert "<module 'mkdocs_material' from" in done.stdout


@pytest.mark.parametrize("url", ["http://pypi-insiders:a-password@127.0.0.1:4711/simple/", None])
def test_a_docker_build_gets_the_index_as_a_secret_or_ends(tmp_path: Path, url: str | None) -> None:
    """Without its address, pip would install the public package. Of the builder, there is what
    `--secret id=index,env=PIP_INDEX_URL` does: a file with the value, which may be empty.
    """
    (step,) = re.findall(
        r"^RUN --mount=type=secret,id=index,required=true \\\n((?:.*\\\n)*.*)\n",
        section("Docker build"), re.MULTILINE,
    )  # fmt: skip
    (tmp_path / "index").write_text(url or "")
    done = subprocess.run(
        ["sh", "-c", step.replace("/run/secrets/index", f"{tmp_path}/index")],
        env={"PATH": program(tmp_path, "pip", 'echo "$PIP_INDEX_URL" "$@"\n')},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    expected = (0, f"{url} install mkdocs-material\n") if url else (1, "")
    assert (done.returncode, done.stdout) == expected


def test_a_docker_build_with_exec_has_the_index_of_exec(person: Person, tmp_path: Path) -> None:
    """In the variable that the command names."""
    (command,) = re.findall(
        r"^pypi-insiders exec -- \\\n.*\n", section("Docker build"), re.MULTILINE
    )
    variable = re.findall(r"--secret id=index,env=(\w+)", command)
    path = program(tmp_path, "docker", f'echo "$1 ${variable[0]}"\n')
    done = shell(person, command, PATH=path)
    assert re.fullmatch(r"build http://127\.0\.0\.1:\d+/simple/\n", done.stdout)


def test_a_workflow_with_a_token_gets_the_release(
    person: Person, tmp_path: Path, make_host: Callable[..., GitHost]
) -> None:
    """Over https; in the next job, with the cached distributions alone, nothing is built again."""
    create(tmp_path, "probe").release("1.0")
    host = make_host(token=TOKEN)
    given = {"TOKEN": TOKEN, "GIT_SSL_CAINFO": os.environ["GIT_SSL_CAINFO"]}
    (script,) = re.findall(r"^  run: \|\n((?:    .*\n)+)", section("CI with a token"), re.MULTILINE)
    script = script.replace("https://github.com", host.url).replace(
        "uv sync", f"uv pip install --target app --python {sys.executable} probe"
    )
    (tmp_path / "job").mkdir()
    done = shell(person, f"set -e; cd {tmp_path}/job\n{script}", **given)
    assert "published probe-1.0" in done.stderr
    assert (tmp_path / "job/app/probe-1.0.dist-info").is_dir()
    (cached,) = re.findall(r"path: ~/(.*)", section("CI with a cache"))
    cache = tmp_path / "cache"
    (person.home / cached).rename(cache)
    next_job = Person(tmp_path / "next")
    (next_job.home / cached).parent.mkdir(parents=True)
    cache.rename(next_job.home / cached)
    done = shell(next_job, f"set -e; cd {tmp_path}/job; rm -r app\n{script}", **given)
    assert "its state was lost; recovered: 1.0" in done.stderr
    assert "building" not in done.stderr
    assert (tmp_path / "job/app/probe-1.0.dist-info").is_dir()
