"""version_files: where the version of a project is, and another one in its place."""

from pathlib import Path

import pytest
from packaging.version import Version

from pypi_insiders.builder import version_files
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.builder.version_files import VersionFiles

NEW = Version("1.3.0.dev57+g1a2b3c4")


def put(directory: Path, **files: str) -> Path:
    """Write the files of a project; `_` stands for the dot in a name."""
    for name, text in files.items():
        (directory / name.replace("_", ".")).write_text(text)
    return directory


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        (
            "pyproject_toml",
            '[build-system]\nrequires = ["x"] # version = "0"\n\n# mine\n[project] # it\n'
            'name = "probe"\nversion = \'1.2.3\'  # keep\n\n[tool.x]\nversion = "7"\n',
            '[build-system]\nrequires = ["x"] # version = "0"\n\n# mine\n[project] # it\n'
            'name = "probe"\nversion = "{}"  # keep\n\n[tool.x]\nversion = "7"\n',
        ),
        (
            "pyproject_toml",
            '[project]\nname = "probe"\ndynamic = [\n  "readme",\n  "version",\n]\nurls = {}\n',
            '[project]\nname = "probe"\ndynamic = ["readme"]\nversion = "{}"\nurls = {{}}\n',
        ),
        (
            "pyproject_toml",
            '[tool.poetry]\nname = "probe"\nversion = "1.2.3"\n',
            '[tool.poetry]\nname = "probe"\nversion = "{}"\n',
        ),
        (
            "pyproject_toml",
            '[project]\n  name = "probe"\n  version = "1.2.3"\n',
            '[project]\n  name = "probe"\n  version = "{}"\n',
        ),
        (
            "setup_cfg",
            "[metadata]\nname = probe\nversion: attr: probe.VERSION\n[options]\nversion = 1\n",
            "[metadata]\nname = probe\nversion: {}\n[options]\nversion = 1\n",
        ),
        (
            "setup_py",
            "import setuptools\ns = 'ä'; setuptools.setup(a='ä', version=\n    read('é'), x=1)\n",
            "import setuptools\ns = 'ä'; setuptools.setup(a='ä', version=\n    '{}', x=1)\n",
        ),
    ],
)
def test_only_the_version_changes(tmp_path: Path, name: str, before: str, after: str) -> None:
    """Comments, layout and other versions stay."""
    project = put(tmp_path, **{name: before})
    version_files.write(project, tmp_path, NEW)
    assert (project / name.replace("_", ".")).read_text() == after.format(NEW)
    assert version_files.read(project, tmp_path) == VersionFiles(NEW)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"pyproject_toml": '[tool.flit.metadata]\nmodule = "probe"\n'},
        {"pyproject_toml": 'project = {name = "probe", version = "1.2.3"}\n'},
        {"pyproject_toml": '[project]\nreadme = """\nversion = "9"\n"""\nversion = "1"\n'},
        {"pyproject_toml": '[project]\nname = "probe"\ndynamic = ["version", # ]\n]\n'},
        {"pyproject_toml": "[project\n"},
        {"pyproject_toml": "project = 5\n"},
        {"pyproject_toml": "[project]\ndynamic = 5\n"},
        {"setup_py": "setup(**arguments)\n"},
        {"setup_py": "setup(version='1')\nsetup(version='2')\n"},
        {"setup_cfg": "version = 1\n"},
    ],
)  # fmt: skip
def test_what_cannot_be_replaced_for_sure_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    """In one line, and nothing is written."""
    project = put(tmp_path, **files)
    with pytest.raises(BuildError) as caught:
        version_files.write(project, tmp_path, NEW)
    assert caught.value.message == f"cannot set version {NEW}: its files have none to replace"
    assert caught.value.hint == version_files.HINT
    assert {path.name.replace(".", "_"): path.read_text() for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"pyproject_toml": '[build-system]\nrequires = ["setuptools", "setuptools_SCM[x]>8"]\n'
             '[project]\nname = "probe"\ndynamic = ["version"]\n'},
            VersionFiles(None, ("setuptools-scm",)),
        ),
        (
            {"pyproject_toml": '[build-system]\nrequires = ["setuptools-scm"]\n'
             '[project]\nname = "probe"\nversion = "1.2.3"\n'},
            VersionFiles(Version("1.2.3")),
        ),
        (
            {"pyproject_toml": '[build-system]\nrequires = ["pdm-backend"]\n'
             '[project]\nname = "probe"\ndynamic = ["version"]\n'},
            VersionFiles(),
        ),
        ({"setup_py": "setup(use_scm_version=True)"}, VersionFiles(None, ("setuptools-scm",))),
        ({"setup_py": "setup(version='1')", "setup_cfg": "[metadata]\nversion = 2\n"},
         VersionFiles(Version("1"))),
        # A function of another module that is called so too.
        ({"setup_py": "log.setup(version='9')\nsetup(version='1')"}, VersionFiles(Version("1"))),
        ({"setup_cfg": "[metadata]\nversion = file: VERSION\n"}, VersionFiles()),
        ({"pyproject_toml": '[project]\nname = "probe"\nversion = "odd"\n'}, VersionFiles()),
    ],
)  # fmt: skip
def test_a_version_tool_counts_before_files_but_not_before_a_version_in_project(
    tmp_path: Path, files: dict[str, str], expected: VersionFiles
) -> None:
    assert version_files.read(put(tmp_path, **files), tmp_path) == expected


def test_each_tool_has_its_variable() -> None:
    """By which it names no commit, no date and no `dirty` of its own."""
    tools = ("setuptools-scm", "pbr")
    assert VersionFiles(None, tools).variables(NEW) == {
        "SETUPTOOLS_SCM_PRETEND_VERSION": str(NEW),
        "PBR_VERSION": str(NEW),
    }


def test_a_link_out_of_the_tree_is_neither_read_nor_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.toml"
    outside.write_text('[project]\nname = "probe"\nversion = "1.2.3"\n')
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "pyproject.toml").symlink_to(outside)
    assert version_files.read(tree, tree) == VersionFiles()
    (tree / "own.toml").write_text('[project]\nname = "probe"\nversion = "2.0"\n')
    (tree / "pyproject.toml").unlink()
    (tree / "pyproject.toml").symlink_to("own.toml")
    version_files.write(tree, tree, NEW)
    assert 'version = "2.0"' in (tree / "own.toml").read_text()
    assert version_files.read(tree, tree).stated == NEW
