"""The steps of the README, pasted in one go: what a user types first must be right."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures import ROOT, Person
from forge import Forge, forge
from hostile import Index, serving
from machine import Machine
from units import port
from wheels import wheel

__all__ = ["forge", "port"]

REPOSITORY = "squidfunk/mkdocs-material-insiders"
PROJECT = "mkdocs-material"
TAG = "9.5.3-insiders-4.49.0"
VERSION = "9.5.3+insiders.4.49.0"
# A build of some seconds, in which whoever does not wait has installed something else.
SLOW = """\
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 2)
signal.pause()"""


def block(section: str) -> list[str]:
    """Return the commands of a section of the README, as they would be copied."""
    text = (ROOT / "README.md").read_text().partition(f"\n## {section}\n")[2]
    commands = re.findall(
        r"^\$ (.*)$", text.partition("```console\n")[2].partition("```")[0], re.MULTILINE
    )
    assert commands
    return commands


def steps() -> str:
    """Return the five steps."""
    commands = block("Five steps")
    assert f"pypi-insiders repos add {REPOSITORY}" in commands
    assert any(re.match(rf"pip install {PROJECT}\b", command) for command in commands)
    return "\n".join(commands) + "\n"


@pytest.fixture
def fallback(tmp_path: Path) -> Iterator[Index]:
    """Another index, which has 99.0 of the same name."""
    home = tmp_path / "public"
    home.mkdir()
    with serving(home) as index:
        wheel(Person(home).paths.distributions, PROJECT, "99.0")
        yield index


def test_pasted_in_one_go_they_give_the_insiders_version(
    machine: Machine, forge: Forge, port: int, fallback: Index
) -> None:
    """With pip as the README has it, and with uv in the same shell."""
    project = forge.create(REPOSITORY, PROJECT)
    project.write(VERSION)
    project.hook(SLOW)
    project.push(TAG)
    machine.write_text(
        ".config/pypi-insiders/config.toml",
        f"[server]\nport = {port}\n"
        f'fallback-url = "http://127.0.0.1:{fallback.port}/insiders/simple/"\n',
    )
    pasted = steps() + f"uv pip install --target by-uv {PROJECT}\n"
    done = machine.run(
        "bash", input=pasted, env={"PIP_TARGET": "by-pip"}, check=False, timeout_s=300
    )
    told = f"{done.stdout}\n{done.stderr}"
    for place in ("by-pip", "by-uv"):
        listed = machine.run("ls", place, check=False).stdout.split()
        assert f"mkdocs_material-{VERSION}.dist-info" in listed, told
        assert not any("99.0" in name for name in listed), told
    assert f"watching {REPOSITORY} as {PROJECT}\n" in done.stdout


def test_what_comes_after_the_steps_works_as_it_is_written(
    machine: Machine, forge: Forge, port: int
) -> None:
    """Switched off for one command, every day, and the end."""
    project = forge.create(REPOSITORY, PROJECT)
    project.write(VERSION)
    project.push(TAG)
    machine.write_text(".config/pypi-insiders/config.toml", f"[server]\nport = {port}\n")
    alias, once = block("Switch it off for one command")
    assert once == f"no-insiders pip install --force-reinstall {PROJECT}"
    daily = [line.replace("NS/PROJ", REPOSITORY) for line in block("Every day")]
    unset, uninstall, _program = block("Uninstall")
    told = 'echo "index: ${PIP_INDEX_URL-}${UV_DEFAULT_INDEX-}${PDM_PYPI_URL-}"'
    pasted = [
        "shopt -s expand_aliases",
        "unset PIP_INDEX_URL UV_DEFAULT_INDEX PDM_PYPI_URL",
        *block("Five steps")[:-1],
        told,
        alias,
        f"no-insiders sh -c '{told}'",
        *(f"{line.partition('#')[0]} >said 2>&1 || {{ echo FAILED; cat said; }}"
          for line in daily[:-1]),
        daily[-1],
        unset,
        told,
        uninstall,
    ]  # fmt: skip
    done = machine.run("bash", input="\n".join(pasted) + "\n", timeout_s=250)
    assert "FAILED" not in done.stdout, done.stdout + done.stderr
    url = f"http://127.0.0.1:{port}/simple/"
    assert re.findall(r"^index: (.*)$", done.stdout, re.MULTILINE) == [url * 3, "", ""]
    assert daily[-1].startswith("pypi-insiders doctor")
    assert re.search(r"^(ok|warning|problem) ", done.stdout, re.MULTILINE)
    assert re.search(r"^removed .*/pypi-insiders-server\.socket$", done.stdout, re.MULTILINE)
