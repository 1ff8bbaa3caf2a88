"""This program and the original of the same name on PyPI are told apart."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from fixtures import ROOT, Person, run
from machine import Machine
from units import UNIT_DIRECTORY, port
from wheels import wheel as make_wheel

from pypi_insiders import __version__
from pypi_insiders.doctor import program

__all__ = ["port"]

ORIGINAL = "1.1.1"
AGAIN = "in a clone of this program: `uv tool install --force .`"
OF_ORIGINAL = "Self-hosted PyPI server with automatic updates for Insiders versions of projects."


def test_the_summary_is_that_of_this_project() -> None:
    """By which `doctor` knows it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["description"].startswith(program.SUMMARY)


def test_an_upgrade_does_not_replace_it_by_the_original(
    wheel: Path, tmp_path: Path, person: Person
) -> None:
    """For our version is higher; an older one of ours would be replaced."""
    links = tmp_path / "links"
    original = make_wheel(links, "pypi-insiders", ORIGINAL, f"Summary: {OF_ORIGINAL}")
    environment = tmp_path / "venv"
    run("uv", "venv", "--quiet", "--python", sys.executable, environment)

    def upgraded(path: Path) -> str:
        """Tell what an upgrade of an installed wheel would do."""
        run("uv", "pip", "install", "--quiet", "--no-deps", "--python", environment, path)
        pip = (sys.executable, "-m", "pip", "--python", environment, "install", "-U", "--dry-run")
        done = subprocess.run(
            [*pip, "--no-deps", "--no-index", "--find-links", links, "pypi-insiders"],
            env=person.environment, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Would install" not in upgraded(wheel)
    older = make_wheel(tmp_path, "pypi-insiders", "0.1.0")
    assert f"Would install pypi-insiders-{ORIGINAL}" in upgraded(older)
    assert original.exists()


def told(machine: Machine, status: int) -> list[tuple[str, str, str | None]]:
    """Tell what `doctor` finds about the program."""
    done = machine.run("pypi-insiders", "doctor", "--json", check=False)
    assert done.returncode == status, done.stdout
    return [
        (it["severity"], it["text"], it["hint"])
        for it in json.loads(done.stdout)["findings"]
        if it["check"] == "program"
    ]


def test_units_that_run_the_original_are_told(machine: Machine, port: int) -> None:
    """As after `pip install -U` in the environment from which they were installed."""
    machine.run("pypi-insiders", "server", "start")
    assert told(machine, 0) == [("ok", f"pypi-insiders {__version__}", None)]
    path = machine.home / "elsewhere/pypi-insiders"
    unit = "pypi-insiders-server.service"
    machine.write_text(
        f"{UNIT_DIRECTORY}/{unit}.d/override.conf",
        f"[Service]\nExecStart=\nExecStart={path} server run\n",
    )
    machine.run("systemctl", "--user", "daemon-reload")
    for version, verdict, end in (
        (ORIGINAL, "problem", ": the original project of that name"),
        ("2.99", "warning", ""),
    ):
        machine.write_text(path, f"#!/bin/sh\necho pypi-insiders {version}\n", mode=0o755)
        message = f"{path}, which {unit} runs, is version {version}, not {__version__}{end}"
        assert (verdict, message, AGAIN) in told(machine, int(verdict == "problem"))


def test_an_environment_that_says_it_has_the_original_is_told(
    person: Person, tmp_path: Path
) -> None:
    """What is installed is not what runs."""
    make_wheel(tmp_path, "pypi-insiders", ORIGINAL, f"Summary: {OF_ORIGINAL}")
    target = tmp_path / "target"
    run("uv", "pip", "install", "--quiet", "--no-deps", "--target", target,
        *tmp_path.glob("*.whl"))  # fmt: skip
    (target / "pypi_insiders.py").unlink()  # only what is told of it counts
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pypi_insiders.doctor import program\n"
        "for it in program.look(has_manager=False): print(it.verdict, it.message)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, target], env={**person.environment, "PATH": "/nowhere"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == (
        f"problem pypi-insiders {ORIGINAL} is installed here ({OF_ORIGINAL}), but this is "
        f"{__version__}\n"
    )
