"""Development releases of branches, with real build backends and version tools."""

import zipfile
from email import message_from_bytes
from functools import partial
from pathlib import Path

import pytest
from builds import BYTECODE
from projects import Project, create, git

from pypi_insiders import git as remotes
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.builder.launcher import DirectLauncher
from pypi_insiders.builder.recipe import Recipe
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import RepositoryState
from pypi_insiders.update import development
from pypi_insiders.util.process_group import ProcessGroup

HATCH = '[build-system]\nrequires = ["hatchling{}"]\nbuild-backend = "hatchling.build"\n'
SETUPTOOLS = (
    '[build-system]\nrequires = ["setuptools{}"]\nbuild-backend = "setuptools.build_meta"\n'
)
PDM = '[build-system]\nrequires = ["pdm-backend"]\nbuild-backend = "pdm.backend"\n'
POETRY = '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'
FLIT = '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
DYNAMIC = '[project]\nname = "probe"\ndescription = "x"\ndynamic = ["version"]\n'
STATIC = '[project]\nname = "probe"\nversion = "{}"\ndescription = "x"\n'
SCM = SETUPTOOLS.format('", "setuptools-scm>=8') + DYNAMIC

PROJECTS = {
    "hatch-vcs": (
        HATCH.format('", "hatch-vcs') + DYNAMIC + '[tool.hatch.version]\nsource = "vcs"\n',
        "1.2.4.dev2",
    ),
    # Which by itself gives 1.2.4.dev2 with another scheme, and so would pass untold.
    "setuptools-scm, post-release": (
        SCM + '[tool.setuptools_scm]\nversion_scheme = "post-release"\n',
        "1.2.4.dev2",
    ),
    "pdm scm": (PDM + DYNAMIC + '[tool.pdm.version]\nsource = "scm"\n', "1.2.4.dev2"),
    "versioningit": (
        HATCH.format('", "versioningit')
        + DYNAMIC
        + '[tool.hatch.version]\nsource = "versioningit"\n',
        "1.2.4.dev2",
    ),
    "poetry-dynamic-versioning": (
        '[build-system]\nrequires = ["poetry-core", "poetry-dynamic-versioning"]\n'
        'build-backend = "poetry_dynamic_versioning.backend"\n'
        '[tool.poetry]\nname = "probe"\nversion = "0.0.0"\ndescription = "x"\nauthors = []\n'
        "[tool.poetry-dynamic-versioning]\nenable = true\n",
        "1.2.3.post2.dev0",
    ),
    "poetry static": (
        POETRY
        + '[tool.poetry]\nname = "probe"\nversion = "1.3.0"\ndescription = "x"\nauthors = []\n',
        "1.3.0.dev2",
    ),
    "setuptools-scm, not used": (
        SETUPTOOLS.format('", "setuptools-scm<8')
        + DYNAMIC
        + '[tool.setuptools.dynamic]\nversion = {attr = "probe.__version__"}\n',
        "1.3.0.dev2",
    ),
    "hatchling static": (HATCH.format("") + STATIC.format("1.2.3"), "1.2.4.dev2"),
    "hatchling __version__": (
        HATCH.format("") + DYNAMIC + '[tool.hatch.version]\npath = "probe/__init__.py"\n',
        "1.3.0.dev2",
    ),
    "flit __version__": (FLIT + DYNAMIC, "1.3.0.dev2"),
}
OLD = {
    "setup.cfg": (
        {
            "setup.cfg": "[metadata]\nname = probe\nversion = 1.3.0\n",
            "pyproject.toml": SETUPTOOLS.format(""),
        },
        "1.3.0.dev2",
    ),
    "setup.py": (
        {
            "setup.py": "from setuptools import setup\n\n"
            "VERSION = '.'.join(['1', '3', '0'])\n"
            "setup(name='probe', version=VERSION, packages=['probe'])\n"
        },
        "1.3.0.dev2",
    ),
}
TABLE = {**{name: ({"pyproject.toml": text}, v) for name, (text, v) in PROJECTS.items()}, **OLD}


def _developed(directory: Path, files: dict[str, str]) -> tuple[Project, str]:
    """Make a project with tag v1.2.3 and two more commits; return its head."""
    project = create(directory, "probe")
    project.package.mkdir()
    code = '"""A project."""\n\n__version__ = "1.3.0"\n'
    for name, text in {**files, "probe/__init__.py": code}.items():
        (project.tree / name).write_text(text)
    project.push("v1.2.3")
    for number in range(2):
        git(project.tree, "commit", "--quiet", "--allow-empty", "--message", str(number))
    git(project.tree, "push", "--quiet", "origin", "HEAD")
    return project, git(project.tree, "rev-parse", "HEAD")


def _built(project: Project, directory: Path, commit: str) -> str:
    """Build a head; return the version in the metadata of its wheel."""
    directory.mkdir()
    mirror = directory / "mirror.git"
    remotes.fetch(project.url, mirror)
    remotes.fetch_commit(project.url, mirror, commit)
    numbers = development.numbering(mirror, Repository("me/probe"), commit, RepositoryState())
    built = development.build(
        partial(remotes.export, mirror, commit, tag=False),
        directory,
        Recipe(0, as_of_commit=False, bytecode=BYTECODE),
        DirectLauncher(ProcessGroup()),
        numbers,
    )
    with zipfile.ZipFile(built.wheels[0]) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        version = str(message_from_bytes(archive.read(metadata))["Version"])
    assert version == built.version
    return version


@pytest.mark.parametrize("name", TABLE)
def test_a_head_is_a_development_release_of_its_commit(tmp_path: Path, name: str) -> None:
    """By the project's own version tool where it has one, else by the last tag and the count."""
    files, expected = TABLE[name]
    project, head = _developed(tmp_path, files)
    version = _built(project, tmp_path / "build", head)
    public, _, local = version.partition("+")
    assert public == expected
    assert head.startswith(local.removeprefix("g"))
    assert len(local) >= 7


def test_a_version_that_cannot_be_set_is_one_line(tmp_path: Path) -> None:
    """Nothing is published under another version."""
    text = (
        FLIT.replace("flit_core", "flit_core<4", 1)
        + '[tool.flit.metadata]\nmodule = "probe"\nauthor = "A. Uthor"\n'
    )
    project, head = _developed(tmp_path, {"pyproject.toml": text})
    with pytest.raises(BuildError) as caught:
        _built(project, tmp_path / "build", head)
    assert caught.value.message == (
        f"cannot set version 1.3.0.dev2+g{head:.7}: its files have none to replace"
    )
