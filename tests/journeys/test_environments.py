"""environments: what hostile build requirements can do to builds that come later, and to the user.

Wheels come from a directory, into a cache of uv that belongs to the test.
"""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from fixtures import Person, Watch, untimed

from pypi_insiders.builder import environments
from pypi_insiders.builder.environments import Bytecode, Environment
from pypi_insiders.util import uv as uv_program
from pypi_insiders.util.process_group import Command, ProcessGroup

_TAG = sys.implementation.cache_tag


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of wheels, from which alone uv installs."""
    directory = tmp_path / "links"
    use(directory, monkeypatch)
    return directory


def use(links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let uv install from a directory, with a cache that nobody has filled."""
    links.mkdir(parents=True)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(links))
    monkeypatch.setenv("UV_CACHE_DIR", str(links.with_name(f"{links.name}-cache")))


def craft(directory: Path, name: str, files: Mapping[str, str]) -> None:
    """Make a wheel whose RECORD names its files, and no hashes: uv asks for none."""
    info = f"{name}-1.0.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*content, f"{info}/RECORD"))
    wheel = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**content, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    os.utime(wheel, (0, 0))  # which uv writes beside RECORD


def make(directory: Path, *requirements: str) -> Environment:
    """Make an environment."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    return environments.make(
        directory, requirements, python=sys.executable, as_of_s=None,
        processes=ProcessGroup(),
    )  # fmt: skip


def compile_(argv: Sequence[str], environment: Environment, output: Path) -> Path:
    """Run the compiler as a build without a sandbox does."""
    ProcessGroup().run(Command(argv, {}, output, environments.COMPILE_TIMEOUT_S))
    return output / str(environment.directory / "lib").removeprefix("/")


def told(environment: Environment, code: str) -> str:
    """Run code in an environment; return what it prints."""
    argv = [str(environment.python), "-I", "-c", code]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def installed_files(cache: Path) -> dict[str, tuple[int, str]]:
    """Name the files of uv's cache that it installs, with their inodes and hashes."""
    return {
        str(path): (path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in cache.glob("archive-v*/**/*")
        if path.is_file()
    }


def test_no_build_changes_the_cache_of_uv(person: Person, watch: Watch, links: Path) -> None:
    """Not of wheels that bring bytecode of their own, and not if a hook writes into its files."""
    craft(
        links,
        "probe_honest",
        {"probe_honest.py": "", f"__pycache__/probe_honest.{_TAG}.pyc": "brought"},
    )
    cache = Path(os.environ["UV_CACHE_DIR"])
    # As the user has installed it before.
    uv = [uv_program.find(), "pip", "install", "--quiet", "--target", str(links / "users")]
    subprocess.run([*uv, "probe_honest"], check=True)
    before = installed_files(cache)
    assert any(name.endswith(".pyc") for name in before)
    for name in ("one", "other"):
        project = watch(name)
        project.write("1.0")
        path = project.tree / "pyproject.toml"
        path.write_text(path.read_text().replace("requires = []", 'requires = ["probe_honest"]'))
        project.hook(
            "import probe_honest\nopen(probe_honest.__file__, 'a').write('changed = True')"
        )
        project.push("v1.0")
    (person.paths.settings).write_text("[build]\njobs = 1\nas-of-tag = false\n")
    assert (
        untimed(person.run("update", UV_NO_INDEX="", UV_FIND_LINKS=str(links)).stdout)
        == "Checked 2 repositories, published 4 files\n"
    )
    after = installed_files(cache)
    assert {name: after.get(name) for name in before} == before


def test_bytecode_is_of_the_same_modules(tmp_path: Path, links: Path) -> None:
    """A wheel of the same name and RECORD gives nothing to builds with the honest one."""
    craft(links, "probe_honest", {"probe_honest.py": "whose = 'honest'\n"})
    evil, honest = (
        make(tmp_path / "a/env", "probe_honest"),
        make(tmp_path / "b/env", "probe_honest"),
    )
    (site,) = evil.directory.glob("lib/*/site-packages")
    (site / "probe_honest.py").unlink()
    (site / "probe_honest.py").write_text("whose = 'evil'\n")
    bytecode = Bytecode(tmp_path / "bytecode")
    for environment in (evil, honest):
        bytecode.bring(environment, compile_)
    code = "import probe_honest; print(probe_honest.whose, probe_honest.__cached__)"
    whose, cached = told(honest, code).split(" ", 1)
    assert whose == "honest"
    assert Path(cached).is_file()


def test_bytecode_is_made_once(tmp_path: Path, links: Path) -> None:
    """The second environment has it too, and no compiler has run; not what a wheel brought."""
    brought = {
        "probe_some/__init__.py": "name = 'probe_some'\n",
        f"probe_some/__pycache__/__init__.{_TAG}.pyc": "brought",
        "probe_some/blocked.py": "",
        f"probe_some/__pycache__/blocked.{_TAG}.pyc/file": "",
        "sub/__init__.py": "",
        "sub/__pycache__": "",
        "broken.py": "this is no Python",
    }
    craft(links, "probe_some", brought)
    bytecode = Bytecode(tmp_path / "bytecode")
    one, other = make(tmp_path / "a/env", "probe_some"), make(tmp_path / "b/env", "probe_some")
    (site,) = one.directory.glob("lib/*/site-packages")
    shared = tmp_path / "shared.pyc"  # as uv's own cache may have it
    shared.hardlink_to(site / f"probe_some/__pycache__/__init__.{_TAG}.pyc")
    bytecode.bring(one, compile_)
    assert shared.read_text() == "brought"

    def refuse(argv: Sequence[str], environment: Environment, output: Path) -> Path:
        raise AssertionError

    bytecode.bring(other, refuse)
    for environment in (one, other):
        assert told(environment, "import probe_some; print(probe_some.name)") == "probe_some"
        (site,) = environment.directory.glob("lib/*/site-packages")
        compiled = (site / f"probe_some/__pycache__/__init__.{_TAG}.pyc").read_bytes()
        assert b"name" in compiled
        assert (site / "sub/__pycache__").is_file()


def test_nothing_of_an_environment_is_run_to_compile_it(tmp_path: Path, links: Path) -> None:
    """A wheel that brings another `pyvenv.cfg` leads its own interpreter to another library."""
    library = f"theirs/lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    ran = tmp_path / "ran"
    run = f"import posix\nposix.open({str(ran)!r}, posix.O_CREAT | posix.O_WRONLY, 0o600)\n"
    craft(
        links,
        "probe_evil",
        {
            "probe_evil-1.0.data/data/pyvenv.cfg": "home = ../env/theirs/bin\n",
            f"probe_evil-1.0.data/data/{library}/os.py": "",
            f"probe_evil-1.0.data/data/{library}/encodings/__init__.py": run,
            "probe_evil.py": "",
        },
    )
    environment = make(tmp_path / "a/env", "probe_evil")
    assert "theirs" in (environment.directory / "pyvenv.cfg").read_text()
    bytecode = Bytecode(tmp_path / "bytecode")
    bytecode.bring(environment, compile_)
    assert not ran.exists()
    assert list(
        (environment.directory / "lib").glob(f"*/site-packages/__pycache__/probe_evil.{_TAG}.*")
    )
    # And that is what its interpreter would have done.
    argv = [str(environment.python), "-I", "-S", "-c", ""]
    subprocess.run(argv, cwd=environment.directory, check=False, capture_output=True)
    assert ran.exists()


def test_what_compiling_takes_is_limited(tmp_path: Path, links: Path) -> None:
    """A few kilobytes that become gigabytes are left out, and the others are compiled."""
    craft(links, "probe_bomb", {"probe_bomb.py": "x=1\n" * 1_500_000, "fine.py": "b = 1\n"})
    environment = make(tmp_path / "a/env", "probe_bomb")
    Bytecode(tmp_path / "bytecode").bring(environment, compile_)
    (site,) = environment.directory.glob("lib/*/site-packages")
    assert [path.name for path in (site / "__pycache__").iterdir()] == [f"fine.{_TAG}.pyc"]
