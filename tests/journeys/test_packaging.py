"""Packaging: however it is installed, what belongs to it comes along."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fixtures import ROOT, Person, run
from units import HOOKS

from pypi_insiders.cli import COMMANDS
from pypi_insiders.cli import help as manual

SHIPPED = ROOT / "systemd"
UNITS = sorted(str(path.relative_to(SHIPPED)) for path in SHIPPED.rglob("*") if not path.is_dir())


def test_the_wheel_holds_the_units_and_nothing_of_the_tests(wheel: Path) -> None:
    """Units and settings lie in the package; beside it there is only what goes into `share/`."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert (
        sorted(
            name.removeprefix("pypi_insiders/systemd/units/")
            for name in names
            if name.startswith("pypi_insiders/systemd/units/")
        )
        == UNITS
    )
    assert "pypi_insiders/config/config.toml" in names
    release = "-".join(wheel.name.split("-")[:2])
    assert {name.partition("/")[0] for name in names} == {
        "pypi_insiders",
        f"{release}.dist-info",
        f"{release}.data",
    }


def test_the_wheel_brings_completion_and_man_pages(wheel: Path) -> None:
    """Where a prefix has them; a man page for the program and one for each command."""
    with zipfile.ZipFile(wheel) as archive:
        found = {name.partition(".data/data/")[2] for name in archive.namelist()}
    pages = ("pypi-insiders", *(f"pypi-insiders-{name}" for name in COMMANDS))
    assert found - {""} == {
        "share/bash-completion/completions/pypi-insiders",
        "share/fish/vendor_completions.d/pypi-insiders.fish",
        "share/zsh/site-functions/_pypi-insiders",
        *(f"share/man/man1/{page}.1" for page in pages),
        *(f"share/man/man7/pypi-insiders-{topic}.7" for topic in manual.pages()),
    }


@pytest.mark.parametrize("way", ["pip", "editable", "uv tool", "pipx"])
def test_each_way_to_install_it_brings_what_belongs_to_it(
    way: str, tmp_path: Path, person: Person, wheel: Path
) -> None:
    """pip, uv --editable, uv tool and pipx install a command that can render its units.

    Completion and man pages are where the manual says; the manual is there without `man`.
    """
    bin_directory = tmp_path / "bin"
    environment = {
        **person.environment,
        "PIPX_HOME": str(tmp_path / "pipx"),
        "PIPX_BIN_DIR": str(bin_directory),
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(bin_directory),
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path("~/.cache/uv").expanduser())),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE")
    here = Path(sys.executable).parent
    install: list[str | Path]
    if way == "uv tool":
        install = [here / "uv", "tool", "install", "--quiet", "--python", sys.executable, wheel]
    elif way == "pipx":
        install = [here / "pipx", "install", "--quiet", "--python", sys.executable, wheel]
    else:
        run("uv", "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
        bin_directory = tmp_path / "venv/bin"
        if way == "editable":  # by uv, as what is installed so does not depend on who does it
            target = ("--python", tmp_path / "venv", "--editable")
            install = [here / "uv", "pip", "install", "--quiet", *target, ROOT]
        else:
            pip = (here / "pip", "--python", tmp_path / "venv")
            install = [*pip, "install", "--quiet", "--no-compile", ROOT]
    done = subprocess.run(install, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    share = {
        "uv tool": tmp_path / "tools/pypi-insiders/share",
        "pipx": person.home / ".local/share",
        "pip": tmp_path / "venv/share",
    }.get(way)
    brought = (
        "man/man1/pypi-insiders.1",
        "man/man7/pypi-insiders-units.7",
        "bash-completion/completions/pypi-insiders",
    )
    assert [name for name in brought if share and not (share / name).exists()] == []
    command = bin_directory / "pypi-insiders"
    page = subprocess.run(
        [command, "help", "units"], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert (page.stdout, page.stderr) == (manual.pages()["units"].read_text(), "")
    interpreter = command.resolve().with_name("python")
    code = (
        "from pypi_insiders.config import paths, settings\n"
        "from pypi_insiders.systemd import confinement, unit_templates\n"
        "own = paths.default_paths()\n"
        "program = confinement.find_program(('/x',), {}, own)\n"
        "texts = unit_templates.render('/x', own, settings.Settings(), program)\n"
        "print(sorted(texts))"
    )
    shown = subprocess.run(
        [interpreter, "-c", code], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    names = {name.removesuffix(".in") for name in UNITS} - HOOKS  # those need a setting
    names.add("pypi-insiders-watcher@.service.d/20-confinement.conf")  # as of the watcher
    assert shown.stdout == f"{sorted(names)}\n", shown.stderr
