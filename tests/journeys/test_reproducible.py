"""Same tag, same bytes: whoever builds, wherever, whenever and however."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
from builds import build_twice
from fixtures import ROOT, MakeMachine, Person, need, untimed
from machine import Machine
from projects import Project, create

from pypi_insiders.builder.launcher import DirectLauncher
from pypi_insiders.util.process_group import ProcessGroup

PURE = ("flit", "hatchling", "pdm-backend", "poetry-core", "setuptools")


def make(directory: Path, kind: str) -> Project:
    """Make a project of one kind."""
    project = create(directory, f"probe-{kind}")
    project.write("1.0", backend="setuptools" if kind == "extension" else kind)
    if kind == "extension":
        need("cc")
        project.extend()
    return project


@pytest.mark.parametrize("kind", PURE)
def test_neither_folder_nor_umask_nor_date_nor_locale_gets_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Two builds that differ in all of them give the same sdist and the same wheel."""
    for name in ("LC_ALL", "TZ", "PYTHONHASHSEED"):
        monkeypatch.setenv(name, "")  # to be put back
    one, other = build_twice(make(tmp_path, kind).tree, tmp_path, DirectLauncher(ProcessGroup()))
    assert one == other
    assert len(one) == 2


_IN_A_MACHINE = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
from pypi_insiders.builder.sandbox import Sandbox
from builds import build_twice
from pypi_insiders.util.process_group import ProcessGroup
home = pathlib.Path.home()
sandbox = Sandbox(ProcessGroup(), [home])
print(json.dumps(build_twice(pathlib.Path(sys.argv[2]), home, sandbox)))
"""


def test_nor_do_they_get_into_what_a_compiler_makes(
    make_machine: MakeMachine, tmp_path: Path
) -> None:
    """An extension module tells where its sources lay: in a sandbox that is always the same.

    Nor does the user, who is another one where the tests run as root.
    """
    tree = make(tmp_path, "extension").tree
    results: list[dict[str, str]] = []
    users = set()
    for user_id in (31411, 31412):
        with make_machine(user_id=user_id) as machine:
            users.add(machine.run("id", "-u").stdout.strip())
            done = machine.run(
                sys.executable, "-c", _IN_A_MACHINE, ROOT / "tests/support", tree, timeout_s=200
            )
            results += json.loads(done.stdout)
    assert len(users) == (2 if os.geteuid() == 0 else 1)
    assert results[1:] == results[:1] * 3
    assert [name for name in results[0] if "-cp3" in name]


def test_neither_user_nor_sandbox_gets_in(person: Person, machine: Machine, tmp_path: Path) -> None:
    """What a person without a sandbox builds is what another one builds in a sandbox.

    A sandbox is another folder to all backends, and for that each of them is tried above.
    """
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    for kind in ("hatchling", "setuptools"):
        project = make(tmp_path, kind)
        project.push("v1.0")
        watch = ("repos", "add", f"me/{project.name}", "--url", project.url)
        person.run(*watch)
        machine.run("pypi-insiders", *watch)
    assert "builds are not sandboxed" in person.run("update").stderr
    done = machine.run("pypi-insiders", "update", env={"LC_ALL": "C"}, timeout_s=200)
    assert "builds are not sandboxed" not in done.stderr
    assert untimed(done.stdout) == "Checked 2 repositories, published 4 files\n"
    directory = ".local/share/pypi-insiders/dists"
    listed = machine.run("sh", "-c", f"cd {directory} && sha256sum *").stdout
    theirs = dict(line.split()[::-1] for line in listed.splitlines())
    ours = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in person.paths.distributions.glob("[!.]*")
    }
    assert ours == theirs
