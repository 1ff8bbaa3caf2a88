"""build: real builds by backends that lie in the tree."""

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from projects import create

from pypi_insiders.builder import artifacts, build, configuration, environments, hook_variables
from pypi_insiders.builder.environments import RequirementError
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.builder.launcher import DirectLauncher
from pypi_insiders.builder.recipe import Recipe
from pypi_insiders.update.failures import is_lasting
from pypi_insiders.util.process_group import ProcessGroup

if TYPE_CHECKING:
    from collections.abc import Callable

RECIPE = Recipe(1700000000, as_of_commit=False)
UNCONFINED = DirectLauncher(ProcessGroup())


_BACKEND = """
import os, pathlib, sys

def answer(raw):
    pathlib.Path(sys.argv[2], "output.json").write_bytes(raw)
    os._exit(0)

def get_requires_for_build_sdist(settings=None):
    {requires}
    return []

def build_sdist(directory, settings=None):
    {sdist}
"""
_OLD_NAME = """

def build_sdist(directory, settings=None, build=build_sdist):
    import io, pathlib, tarfile
    built = pathlib.Path(directory, build(directory, settings))
    old = built.with_name(built.name.replace("mesh_3d", "mesh-3d"))
    with tarfile.open(built) as source, tarfile.open(old, "w:gz") as target:
        for member in source:
            content = source.extractfile(member)
            member.name = member.name.replace("mesh_3d-", "mesh-3d-", 1)
            target.addfile(member, content)
    built.unlink()
    return old.name
"""
_DEEP = 100_000 * b"["


def test_an_odd_answer_of_a_build_is_told(tmp_path: Path) -> None:
    """As what it is, and as what it should have been: it is the fault of the project."""
    message = _complaint(tmp_path, sdist=b'{"return_val": "\\ud800.tar.gz"}').message
    assert message == (
        'the build backend returned "\\ud800.tar.gz" from build_sdist, expected a file name'
    )


def test_odd_requirements_are_told(tmp_path: Path) -> None:
    assert _complaint(tmp_path, requires=b'{"return_val": [null]}').message == (
        "the build backend returned a list with null in it from get_requires_for_build_sdist, "
        "expected a list of requirements"
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"unsupported": True, "traceback": 5},
         "the build backend returned 5 as traceback, expected a text"),
        ({"unsupported": True, "traceback": "\ud800 boom\nthe end"},
         "the build backend refuses: the end"),
        ({"no_backend": True, "backend_error": [1]},
         "the build backend returned a list with 1 in it as backend_error, expected a text"),
        ({"no_backend": True, "backend_error": "\ud800", "traceback": "\ud800 t"},
         "Backend 'backend' is not available: "),
        ({"return_val": "x", "warnings": [{"message": 5, "filename": "x", "lineno": 1}]},
         "the build backend returned 5 as a warning, expected a text"),
        ({"return_val": "x", "warnings": 5},
         "the build backend returned 5 as a warning, expected a text"),
        ({"return_val": "x", "warnings": [{"message": "w", "lineno": "x"}]},
         "the build produced nothing instead of one sdist"),
    ],
)  # fmt: skip
def test_what_comes_beside_an_answer_is_told(
    tmp_path: Path, answer: dict[str, object], told: str
) -> None:
    message = _complaint(tmp_path, sdist=json.dumps(answer).encode()).message
    assert message.startswith(told)
    assert message.encode().splitlines() == [message.encode()]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (b"\xff", "probe-1.0.tar.gz, ?"),
        (
            b"x\nproblem  me: run this\n  hint: `sh`",
            "probe-1.0.tar.gz, x problem  me: run this hint:",
        ),
        ("\u202ea\x1b[31m".encode(), "probe-1.0.tar.gz, ?a"),
    ],
)
def test_an_odd_name_of_a_file_stays_in_its_line(tmp_path: Path, name: bytes, told: str) -> None:
    """It is part of one line, which can be printed and remembered."""
    code = (
        "import os; p = os.fsencode(directory); "
        f"[open(p + b'/' + n, 'w') for n in (b'probe-1.0.tar.gz', {name!r})]; return 'x'"
    )
    message = _complaint(tmp_path, code).message
    assert message.startswith(f"the build produced {told}")
    assert message.encode().splitlines() == [message.encode()]


def _complaint(
    directory: Path, code: str = "", *, sdist: bytes = b"", requires: bytes | None = None
) -> BuildError:
    """Build a project whose backend answers so; return the error."""
    tree = directory / "probe"
    tree.mkdir()
    files = {"sdist": sdist, "requires": requires}
    calls = {}
    for name, content in files.items():
        (tree / name).write_bytes(content or b"")
        read = f"answer(pathlib.Path({name!r}).read_bytes())"
        calls[name] = "pass" if content is None else read
    if code:
        calls["sdist"] = code
    (tree / "backend.py").write_text(_BACKEND.format(**calls))
    (tree / "pyproject.toml").write_text(_IN_TREE)
    with pytest.raises(BuildError) as caught:
        build.build_distributions(tree, directory, RECIPE, UNCONFINED)
    assert is_lasting(caught.value)
    return caught.value


_IN_TREE = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.mark.parametrize(
    ("pyproject", "message"),
    [
        (b"a = " + _DEEP, configuration._TOO_DEEP),
        (b"a = " + 101 * b"[" + 101 * b"]", configuration._TOO_DEEP),
        (b"a" + 2_000 * b".a" + b" = 1", configuration._TOO_DEEP),
        (b"\xff", "cannot parse pyproject.toml: 'utf-8' codec can't decode byte 0xff "),
        (b"a = " + 6000 * b"9", "cannot parse pyproject.toml: "),
        (b"#" + 1024 * 1024 * b"x", "pyproject.toml is not a regular file, or too large"),
        (_IN_TREE.encode().replace(b'"."', b'"../.."'),
         "the backend-path '../..' in pyproject.toml leads out of the project"),
        (_IN_TREE.encode().replace(b'"."', b'"/etc"'),
         "the backend-path '/etc' in pyproject.toml leads out of the project"),
        (_IN_TREE.encode().replace(b'"backend"', b'"a\\u0000b"'),
         "pyproject.toml has an invalid name of a build backend"),
        (_IN_TREE.encode().replace(b'"backend"', b'"' + 300_000 * b"a" + b'"'),
         "pyproject.toml has an invalid name of a build backend"),
        (_IN_TREE.encode().replace(b'"."', b'"\\u0000"'),
         "pyproject.toml has an invalid name of a build backend"),
        *((text, "Failed to validate `build-system` in pyproject.toml: ") for text in (
            b"build-system = 5",
            b"[build-system]\nrequires = [[1]]",
            b"[build-system]\nrequires = []\nbuild-backend = 5",
            b"[build-system]\nrequires = []\nbackend-path = 5",
            b"[build-system]\nrequires = []\nbackend-path = [5]",
        )),
    ],
    ids=range(16),
)  # fmt: skip
def test_an_odd_configuration_is_told(tmp_path: Path, pyproject: bytes, message: str) -> None:
    tree = tmp_path / "probe"
    tree.mkdir()
    (tree / "pyproject.toml").write_bytes(pyproject)
    with pytest.raises(BuildError) as caught:
        build.build_distributions(tree, tmp_path, RECIPE, UNCONFINED)
    assert caught.value.message.startswith(message)
    assert is_lasting(caught.value)


def test_a_configuration_may_be_a_link_in_the_repository(tmp_path: Path) -> None:
    """Also from the directory of the project to one above it, and nowhere else."""
    project = tmp_path / "tree/packages/probe"
    project.mkdir(parents=True)
    (tmp_path / "tree/pyproject.toml").write_text("not = [TOML")
    (tmp_path / "pyproject.toml").write_text("not = [TOML")
    link = project / "pyproject.toml"
    told = []
    (tmp_path / "tree/.git").mkdir()
    (tmp_path / "tree/.git/config").write_text("not = [TOML")
    for target in ("../../pyproject.toml", "../../../pyproject.toml", "../../.git/config"):
        link.symlink_to(target)
        with pytest.raises(BuildError) as caught:
            configuration.check(project, tmp_path / "tree")
        told.append(caught.value.message)
        link.unlink()
    assert told[0].startswith("cannot parse pyproject.toml: ")
    assert told[1:] == 2 * ["pyproject.toml is not a regular file, or too large"]


def test_the_name_of_an_sdist_can_be_read_in_one_way_only(tmp_path: Path) -> None:
    """Old versions of setuptools kept the dash, after which old tools saw the version `3d-1.0`."""
    project = create(tmp_path, "mesh-3d")
    project.write("1.0")
    backend = project.tree / "buildapi.py"
    backend.write_text(backend.read_text() + _OLD_NAME)
    built = build.build_distributions(project.tree, tmp_path, RECIPE, UNCONFINED)
    assert [path.name for path in built.files] == [
        "mesh_3d-1.0.tar.gz", "mesh_3d-1.0-py3-none-any.whl",
    ]  # fmt: skip
    with tarfile.open(built.sdist) as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} == {"mesh_3d-1.0"}


def test_what_an_sdist_lacks_is_found_in_the_source_tree(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As `pip wheel` builds it, which makes no sdist; a project that fails there too has failed."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    (project.tree / "words.txt").write_text("words")
    project.hook("open('words.txt').read()")
    workspace = tmp_path / "first"
    workspace.mkdir()
    built = build.build_distributions(project.tree, workspace, RECIPE, UNCONFINED)
    assert [path.name for path in built.files] == [
        "probe-1.0.tar.gz", "probe-1.0-py3-none-any.whl",
    ]  # fmt: skip
    assert caplog.messages == [
        "no wheel can be built from probe-1.0.tar.gz, so it is built from the source tree: "
        "FileNotFoundError: [Errno 2] No such file or directory: 'words.txt'"
    ]
    (project.tree / "words.txt").unlink()
    (workspace := tmp_path / "second").mkdir()
    with pytest.raises(BuildError, match=r"No such file or directory: 'words\.txt'$"):
        build.build_distributions(project.tree, workspace, RECIPE, UNCONFINED)


@pytest.mark.parametrize("has_link", [True, False], ids=["a link alone", "no file"])
def test_a_configuration_that_an_sdist_lacks_is_found_in_the_source_tree(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, has_link: bool
) -> None:
    """Setuptools leaves out the directory `build`; without the file, another backend would build.

    The backend of the test packs links as links.
    """
    project = create(tmp_path, "probe")
    project.write("1.0")
    path = project.tree / "pyproject.toml"
    (project.tree / "build").mkdir()
    path.rename(project.tree / "build/pyproject.toml")
    path.symlink_to("build/pyproject.toml")
    if not has_link:
        backend = project.tree / "buildapi.py"
        packed = 'paths = ["pyproject.toml", '
        backend.write_text(backend.read_text().replace(packed, "paths = ["))
    built = build.build_distributions(project.tree, tmp_path, RECIPE, UNCONFINED)
    assert [path.name for path in built.files] == [
        "probe-1.0.tar.gz", "probe-1.0-py3-none-any.whl",
    ]  # fmt: skip
    assert caplog.messages == [
        "no wheel can be built from probe-1.0.tar.gz, so it is built from the source tree: "
        "it lacks the content of pyproject.toml"
    ]


def test_a_backend_that_an_sdist_lacks_is_found_in_the_source_tree(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As any other file of the project."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    backend = project.tree / "buildapi.py"
    backend.write_text(backend.read_text().replace('*sorted(glob.glob("*.py")), ', ""))
    build.build_distributions(project.tree, tmp_path, RECIPE, UNCONFINED)
    assert [message.partition(": ")[0] for message in caplog.messages] == [
        "no wheel can be built from probe-1.0.tar.gz, so it is built from the source tree"
    ]


def test_no_sdist_is_built_where_none_is_wanted(tmp_path: Path) -> None:
    """The wheel is of the tree, and no hook for an sdist has run; where one fails, that is told."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    backend = project.tree / "buildapi.py"
    fails = "\ndef build_sdist(*_):\n    raise SystemError('no')\n"
    backend.write_text(backend.read_text() + fails)
    (workspace := tmp_path / "first").mkdir()
    with pytest.raises(BuildError, match="invoke build_sdist: SystemError: no") as caught:
        build.build_distributions(project.tree, workspace, RECIPE, UNCONFINED)
    assert caught.value.remedy == "sdist=false"
    (workspace := tmp_path / "second").mkdir()
    recipe = replace(RECIPE, has_sdist=False)
    built = build.build_distributions(project.tree, workspace, recipe, UNCONFINED)
    assert [path.name for path in built.files] == ["probe-1.0-py3-none-any.whl"]
    assert (built.name, built.version, built.sdist) == ("probe", "1.0", None)


def test_a_hook_cannot_lead_the_wheel_to_another_project(tmp_path: Path) -> None:
    """Where the wheel is built from the tree, its directory is checked once more."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/pyproject.toml").write_text("[build-system]\nrequires = ['private']\n")
    (project.tree / "words.txt").write_text("words")
    project.hook("open('words.txt').read()")
    inner = project.tree / "inner"
    inner.mkdir()
    for path in [path for path in project.tree.iterdir() if path.name not in (".git", "inner")]:
        path.rename(inner / path.name)
    backend = inner / "backend.py"
    backend.write_text(
        f"{backend.read_text()}\n\ndef build_sdist(directory, settings=None):\n"
        "    import os\n    built = buildapi.build_sdist(directory, settings)\n"
        "    os.rename('../inner', '../moved')\n"
        f"    os.symlink({str(tmp_path / 'victim')!r}, '../inner')\n    return built\n"
    )
    (workspace := tmp_path / "work").mkdir()
    recipe = replace(RECIPE, subdirectory="inner")
    with pytest.raises(BuildError) as caught:
        build.build_distributions(project.tree, workspace, recipe, UNCONFINED)
    assert caught.value.message == "the repository has no directory inner"


@pytest.mark.parametrize("link", ["pyproject.toml", "setup.cfg"])
def test_a_link_to_itself_is_the_fault_of_the_project(tmp_path: Path, link: str) -> None:
    """For which Path.resolve() raises before Python 3.13."""
    tree = tmp_path / "probe"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / link).symlink_to(link)
    (tree / "loop").symlink_to("loop")
    for directory in ("inner", "loop"):
        workspace = tmp_path / directory
        workspace.mkdir()
        with pytest.raises(BuildError):
            build.build_distributions(
                tree, workspace, replace(RECIPE, subdirectory=directory), UNCONFINED
            )


@pytest.mark.parametrize("kind", ["directory", "pipe", "link", "link to nowhere"])
def test_a_configuration_that_is_no_file_is_told(tmp_path: Path, kind: str) -> None:
    """It would be read outside of any sandbox, or waited for."""
    tree = tmp_path / "probe"
    tree.mkdir()
    path = tree / "pyproject.toml"
    (tmp_path / "outside").write_text(_IN_TREE)
    make: dict[str, Callable[[], None]] = {
        "directory": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(tmp_path / "outside"),
        "link to nowhere": lambda: path.symlink_to("nowhere"),
    }
    make[kind]()
    with pytest.raises(BuildError) as caught:
        build.build_distributions(tree, tmp_path, RECIPE, UNCONFINED)
    assert caught.value.message == "pyproject.toml is not a regular file, or too large"


def test_a_backend_that_is_not_where_it_should_be_is_told(tmp_path: Path) -> None:
    """Of a module that is missing there is no traceback."""
    tree = tmp_path / "probe"
    tree.mkdir()
    (tree / "pyproject.toml").write_text(_IN_TREE)
    with pytest.raises(BuildError) as caught:
        build.build_distributions(tree, tmp_path, RECIPE, UNCONFINED)
    assert caught.value.message.startswith("Backend 'backend' is not available: ")
    assert is_lasting(caught.value)


def test_no_project_at_all(tmp_path: Path) -> None:
    """A repository without a Python project is told from one that does not build."""
    tree = tmp_path / "probe"
    tree.mkdir()
    with pytest.raises(BuildError) as caught:
        build.build_distributions(tree, tmp_path, RECIPE, UNCONFINED)
    assert caught.value.message == (
        f"Source {tree} does not appear to be a Python project: no pyproject.toml or setup.py"
    )


def test_build_requirements_never_come_from_our_own_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that lead to our index are gone while building; others stay."""
    own = "http://127.0.0.1:31411"
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{own}/simple/")
    monkeypatch.setenv("UV_INDEX_URL", "https://example.org/simple/")
    with hook_variables.build_environment(own):
        assert "UV_DEFAULT_INDEX" not in os.environ
        assert os.environ["UV_INDEX_URL"] == "https://example.org/simple/"
        assert os.umask(0o022) == 0o022
    assert os.environ["UV_DEFAULT_INDEX"] == f"{own}/simple/"


@pytest.mark.parametrize(
    ("variable", "value", "left"),
    [
        ("UV_INDEX", "{own}/insiders/simple/ {other}", "{other}"),
        ("UV_INDEX", "mine={own}/insiders/simple/", None),
        ("UV_INDEX", "{command}/insiders/simple/", None),
        ("UV_INDEX", "http://localhost:31411/insiders/simple/", None),
        ("UV_INDEX", "http://127.0.0.1:3141/simple/", "http://127.0.0.1:3141/simple/"),
        ("UV_DEFAULT_INDEX", "{own}/simple/", "{fallback}"),
        ("UV_DEFAULT_INDEX", "{command}/simple/", "{fallback}"),
        ("UV_INDEX_URL", "http://[::1]:31411/simple", "{fallback}"),
        ("UV_DEFAULT_INDEX", "{other}", "{other}"),
    ],
)
def test_build_requirements_come_from_where_our_index_leads(
    variable: str, value: str, left: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However our index is named, also that of `exec`; other indexes are not lost with it."""
    indexes = {
        "own": "http://127.0.0.1:31411",
        "command": "http://pypi-insiders:secret@127.0.0.1:4711",
        "other": "https://example.org/simple/",
        "fallback": "https://example.net/simple/",
    }
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYPI_INSIDERS_URL", indexes["command"])
    monkeypatch.setenv(variable, value.format(**indexes))
    with hook_variables.build_environment(indexes["own"], indexes["fallback"]):
        assert os.environ.get(variable) == (left and left.format(**indexes))


@pytest.mark.parametrize(
    ("sdist", "wheel", "message"),
    [
        (
            "probe-1.1.tar.gz", "probe-1.0-py3-none-any.whl",
            "probe-1.1.tar.gz and probe-1.0-py3-none-any.whl are not the same release",
        ),
        (
            "owned-99.0-1.tar.gz", "owned_99_0-1-py3-none-any.whl",
            "owned-99.0-1.tar.gz is ambiguous: its project name has a digit after a hyphen",
        ),
        (
            "probe-1.0.tar.gz", "probe.whl",
            "probe.whl: Invalid wheel filename (wrong number of parts): 'probe'",
        ),
    ],
)  # fmt: skip
def test_an_sdist_and_a_wheel_must_be_one_release(sdist: str, wheel: str, message: str) -> None:
    """Names and versions that do not agree are refused."""
    with pytest.raises(BuildError) as caught:
        artifacts.check(Path(sdist), [Path(wheel)])
    assert caught.value.message == message


def test_two_spellings_of_one_wheel_are_refused() -> None:
    """An index would have both, and installers the choice."""
    names = "my_probe-1.0-py2.py3-none-any.whl", "My.Probe-1.0.0-py3.py2-none-any.whl"
    with pytest.raises(BuildError) as caught:
        artifacts.check(None, [Path(name) for name in names])
    assert caught.value.message == f"{names[0]} and {names[1]} are the same wheel in two spellings"
    other = Path("my_probe-1.0-1-py2.py3-none-any.whl")
    assert len(artifacts.check(None, [Path(names[0]), other]).files) == 2


@pytest.mark.parametrize(
    "requirement",
    [
        "helper @ file:///helper",
        "helper @ https://127.0.0.1:1/helper-1.0.tar.gz",
        "helper@https://127.0.0.1:1/helper-1.0.tar.gz",
        "  helper  @   file:/helper ; python_version > '3'",
        "helper[extra, other]@ git+https://127.0.0.1:1/helper.git",
        "helper @ ./helper",
        "helper @ ${HOME}/helper",
    ],
)
def test_a_requirement_by_url_is_refused(tmp_path: Path, requirement: str) -> None:
    """With a network, too: it could lead to this machine, or require files of it."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    path = project.tree / "pyproject.toml"
    wanted = f'requires = ["{requirement}", '
    path.write_text(path.read_text().replace("requires = [", wanted, 1))
    with (
        hook_variables.build_environment("http://127.0.0.1:1"),
        pytest.raises(BuildError) as caught,
    ):
        build.build_distributions(project.tree, tmp_path, replace(RECIPE, network=True), UNCONFINED)
    assert caught.value.message == (
        f"build requirement {requirement!r} is a URL, which would be fetched outside the sandbox"
    )


_TOO_MUCH = "the build requirements are too many, too long or not printable"


@pytest.mark.parametrize(
    ("requirements", "message"),
    [
        ([f"a{number}" for number in range(1001)], _TOO_MUCH),
        (["a" * 1001], _TOO_MUCH),
        (["a\n--index-url=https://host.invalid/"], _TOO_MUCH),
        (["a\x1b[31m"], _TOO_MUCH),
        (["--help"], "build requirement '--help' is not a valid PEP 508 requirement"),
        (["./directory"], "build requirement './directory' is not a valid PEP 508 requirement"),
        (["a >"], "build requirement 'a >' is not a valid PEP 508 requirement"),
    ],
    ids=["many", "long", "two lines", "an escape", "an option", "a path", "no version"],
)
def test_what_uv_would_read_as_something_else_is_refused(
    tmp_path: Path, requirements: list[str], message: str
) -> None:
    """Before uv is run, outside of any sandbox."""
    with pytest.raises(RequirementError) as caught:
        environments.make(
            tmp_path / "env", requirements, python="/nowhere", as_of_s=None,
            processes=ProcessGroup(),
        )  # fmt: skip
    assert caught.value.message == message


def test_as_many_requirements_as_anybody_has_are_taken() -> None:
    """The limits are far off."""
    wanted = [f"a{number}" for number in range(999)] + ["b" * 1000]
    assert environments._checked(wanted) == sorted(wanted)
