"""Build requirements of another time, and those without a wheel: from an index of the test."""

import json
import os
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import wheels
from dated_index import dated_index
from fixtures import Person, Watch, names
from projects import _BUILDAPI, Project

pytestmark = pytest.mark.journey

_REQUIRES = 'requires = []\nbuild-backend = "buildapi"\nbackend-path = ["."]'


@pytest.fixture
def index(person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of an index, from which alone uv installs."""
    directory = tmp_path / "index"
    directory.mkdir()
    person.paths.config.mkdir(parents=True)
    person.paths.settings.write_text(
        '[build]\nsandbox = "off"\n[watcher]\npublic-versions = false\n'
    )
    with dated_index(directory) as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", url)
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
        yield directory


def put(directory: Path, version: str, year: int, content: str) -> None:
    """Upload a version of the build backend `tool` in some year."""
    date(wheels.wheel(directory, "tool", version, content=content.encode()), year)


def date(path: Path, year: int) -> None:
    """Change when a file was uploaded."""
    at_s = datetime(year, 1, 1, tzinfo=UTC).timestamp()
    os.utime(path, (at_s, at_s))


def use_tool(project: Project, version: str) -> None:
    """Release a version that is built by `tool`."""
    project.write(version)
    (project.tree / "buildapi.py").unlink()
    path = project.tree / "pyproject.toml"
    new = 'requires = ["tool"]\nbuild-backend = "tool"'
    assert _REQUIRES in path.read_text()
    path.write_text(path.read_text().replace(_REQUIRES, new))
    project.push(f"v{version}")


def told(person: Person, *arguments: str, status: int = 0) -> list[str]:
    """Run an update; return its lines, without those of every update."""
    lines = person.run("update", "me/probe", *arguments, status=status).stderr.splitlines()
    usual = ("me/probe: building tag", "me/probe: published", "me/probe: probe ")
    return [line for line in lines if not line.startswith(usual)]


def errors(person: Person) -> list[str]:
    """Run an update that fails; return its errors."""
    lines = person.run("update", "me/probe", status=1).stderr.splitlines()
    return [line for line in lines if line.startswith("error: ")]


_GONE = "ModuleNotFoundError: No module named 'distutils_of_old'"
_FAILS = f"Backend 'tool' is not available: {_GONE}"
_REMARK = (
    f"built with the latest build requirements, as it fails with those as of the tag: {_FAILS}"
)


def test_a_release_that_fails_as_of_its_tag_is_built_with_the_latest(
    person: Person, watch: Watch, index: Path
) -> None:
    """An old setuptools has no distutils on a new Python; which was used is told everywhere."""
    put(index, "1.0", 2020, "import distutils_of_old")
    put(index, "2.0", 2090, _BUILDAPI)
    project = watch("probe")
    use_tool(project, "1.0")
    assert told(person) == [
        "me/probe: tag v1.0: does not build with build requirements as of the tag, trying the "
        f"latest: {_FAILS}",
        "warning: me/probe: tag v1.0: built with the latest build requirements; to use them at "
        "once: `pypi-insiders repos set me/probe as-of-tag=false`",
    ]
    assert person.distributions() == names("probe-1.0")
    shown = person.run("show", "me/probe").stdout.splitlines()
    assert f"  {_REMARK}" in shown
    warning = f"warning: tag v1.0 was {_REMARK}"
    assert warning in shown
    (build,) = json.loads(person.run("show", "me/probe", "--json").stdout)["builds"]
    assert (build["remark"], build["requirements"]) == (_REMARK, {"tool": "2.0"})
    person.run("repos", "set", "me/probe", "as-of-tag=false")
    assert warning not in person.run("show", "me/probe").stdout.splitlines()
    use_tool(project, "1.1")
    assert told(person) == []


def test_what_builds_with_no_requirements_is_told_of_both(
    person: Person, watch: Watch, index: Path
) -> None:
    """Each in one line; where the latest are the same, nothing is tried twice."""
    put(index, "1.0", 2020, "import distutils_of_old")
    project = watch("probe")
    use_tool(project, "1.0")
    assert errors(person) == [f"error: me/probe: tag v1.0: {_FAILS}"]
    put(index, "2.0", 2090, "raise SystemError('new')")
    assert errors(person) == [
        f"error: me/probe: tag v1.0: with build requirements as of the tag: {_FAILS}; with the "
        "latest: Backend subprocess exited when trying to invoke get_requires_for_build_sdist: "
        "SystemError: new",
    ]
    put(index, "3.0", 2091, "import distutils_of_old")
    assert errors(person) == [
        f"error: me/probe: tag v1.0: {_FAILS} (with the latest build requirements too)"
    ]


# `MARK` is of the user's environment, of which what runs in a build gets nothing.
_SOURCE = f"""{_BUILDAPI}
if "MARK" in os.environ:
    open(os.environ["MARK"], "w").close()
"""


def put_sdist(
    directory: Path, name: str, requires: list[str], code: str, builds: str | None = None
) -> None:
    """Upload an sdist with a backend of its own; what it depends on, it says when it is built."""
    builds = builds or name
    root = directory.parent / "sdists" / f"{name}-1.0"
    (root / builds).mkdir(parents=True)
    (root / builds / "__init__.py").write_text("from .tool import *\n")
    (root / builds / "tool.py").write_text(code)
    (root / "backend.py").write_text(_SOURCE)
    (root / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (root / "pyproject.toml").write_text(
        f"[build-system]\nrequires = {json.dumps(requires)}\n"
        'build-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{builds}"\nversion = "1.0"\ndescription = ""\n'
        'requires-python = ">=3.8"\ndependencies = []\ndynamic = ["dependencies"]\n'
    )
    path = directory / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root, f"{name}-1.0")
    date(path, 2020)


def test_a_build_requirement_without_a_wheel_is_built_on_request(
    person: Person, watch: Watch, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where builds run, with nothing of the user's, and with what it requires itself."""
    monkeypatch.setenv("MARK", str(tmp_path / "ran-outside"))
    put_sdist(index, "inner", [], "")
    put_sdist(index, "tool", ["inner"], _BUILDAPI)
    use_tool(watch("probe"), "1.0")
    assert told(person, status=1)[-2:] == [
        "error: me/probe: tag v1.0: build requirement tool has no usable wheel",
        "hint: `pypi-insiders repos set me/probe build-from-source=true` builds such requirements "
        "from their sdists",
    ]
    person.run("repos", "set", "me/probe", "build-from-source=true")
    assert told(person) == [
        "me/probe: building tool-1.0.tar.gz, as build requirement tool has no usable wheel",
        "me/probe: building inner-1.0.tar.gz, as build requirement inner has no usable wheel",
    ]
    assert person.distributions() == names("probe-1.0")
    (build,) = json.loads(person.run("show", "me/probe", "--json").stdout)["builds"]
    assert build["requirements"] == {"tool": "1.0"}
    assert not (tmp_path / "ran-outside").exists()


def test_a_build_requirement_that_builds_another_project_is_refused(
    person: Person, watch: Watch, index: Path
) -> None:
    """Which would be installed in place of the one of the index."""
    put_sdist(index, "tool", [], _BUILDAPI, builds="setuptools")
    use_tool(watch("probe"), "1.0")
    person.run("repos", "set", "me/probe", "build-from-source=true", "as-of-tag=false")
    assert errors(person) == [
        "error: me/probe: tag v1.0: cannot build the build requirement tool: built setuptools "
        "instead of tool"
    ]


def test_a_stranger_gets_no_code_into_builds_by_the_name_of_a_project(
    person: Person, watch: Watch, index: Path
) -> None:
    """Builds do not use this index: a public project of the name would come in its place."""
    url = os.environ["UV_DEFAULT_INDEX"]
    person.paths.settings.write_text(
        f'[server]\nfallback-url = "{url}"\n[build]\nsandbox = "off"\n'
    )
    watch("tool").release("1.0")
    person.run("update", "me/tool")
    put(index, "2.0", 2020, _BUILDAPI)
    public = person.paths.state / "public.json"
    # As of the day before, or else it would not be asked for again.
    known = {**json.loads(public.read_text())["tool"], "asked_at": 1, "appeared_at": 2}
    public.write_text(json.dumps({"tool": known}))
    project = watch("probe")
    use_tool(project, "1.0")
    assert errors(person) == [
        "error: me/probe: tag v1.0: build requirement tool is a project of this index, which "
        "builds do not use; a public one appeared after its repository was added, and may be of a "
        "stranger"
    ]
    with person.paths.settings.open("a") as settings:
        settings.write("[watcher]\npublic-versions = false\n")
    assert told(person) == []
