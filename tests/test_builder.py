"""builder: real builds, with requirements from the package index."""

import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from projects import create

from pypi_insiders.builder import build
from pypi_insiders.builder.sandbox import Unconfined, View
from pypi_insiders.util.process import Containment, Result

RECIPE = build.Recipe(1700000000, as_of_commit=False)
UNCONFINED = Unconfined(Containment())


@pytest.mark.parametrize("backend", ["flit", "hatchling", "setuptools"])
def test_an_sdist_and_a_wheel_come_out(tmp_path: Path, backend: str) -> None:
    """Each backend's project is built, the wheel from the sdist."""
    project = create(tmp_path, "probe-x")
    project.write("1.0", backend=backend)
    built = build.build_distributions(project.tree, tmp_path, RECIPE, UNCONFINED)
    assert (built.name, built.version) == ("probe-x", "1.0")
    assert built.sdist.name == "probe_x-1.0.tar.gz"
    assert built.wheels[0].name == "probe_x-1.0-py3-none-any.whl"
    with zipfile.ZipFile(built.wheels[0]) as archive:
        assert "probe_x/__init__.py" in archive.namelist()


def test_a_hook_sees_no_credential_and_not_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the environment a hook gets only what a build needs."""
    for name in ("SSH_AUTH_SOCK", "GITHUB_TOKEN", "UV_INDEX_SECRET_PASSWORD", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "secret")
    project = create(tmp_path, "probe")
    project.write("1.0")
    project.hook("import os\nopen('probe/environment.txt', 'w').write(repr(dict(os.environ)))")
    built = build.build_distributions(project.tree, tmp_path, RECIPE, UNCONFINED)
    with zipfile.ZipFile(built.wheels[0]) as archive:
        seen = eval(archive.read("probe/environment.txt"))
    allowed = {
        "PATH", "HOME", "TMPDIR", "LC_ALL", "TZ", "PYTHONHASHSEED", "PYTHONPYCACHEPREFIX",
        "SOURCE_DATE_EPOCH", "LC_CTYPE",
    }  # fmt: skip
    assert {name for name in seen if not name.startswith("_PYPROJECT_HOOKS_")} <= allowed
    assert seen["SOURCE_DATE_EPOCH"] == "1700000000"
    assert Path(seen["HOME"]).is_relative_to(tmp_path)
    assert "secret" not in seen.values()


@pytest.mark.parametrize(
    ("pyproject", "message"),
    [
        ("[build-system", "Failed to parse {tree}/pyproject.toml: "),
        (
            '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "not_there"\n',
            "Backend 'not_there' is not available.",
        ),
        (
            '[build-system]\nrequires = ["no-such-distribution-anywhere"]\n',
            "its build requirements cannot be installed: ",
        ),
    ],
)
def test_what_does_not_build_is_said(tmp_path: Path, pyproject: str, message: str) -> None:
    """The one error tells the stage and the reason."""
    project = create(tmp_path, "probe")
    (project.tree / "pyproject.toml").write_text(pyproject)
    with pytest.raises(build.BuildError) as caught:
        build.build_distributions(project.tree, tmp_path, RECIPE, UNCONFINED)
    assert caught.value.message.startswith(message.format(tree=project.tree))


def test_no_project_at_all(tmp_path: Path) -> None:
    """A repository without a Python project is told from one that does not build."""
    tree = create(tmp_path, "probe").tree
    with pytest.raises(build.BuildError) as caught:
        build.build_distributions(tree, tmp_path, RECIPE, UNCONFINED)
    assert caught.value.message == (
        f"Source {tree} does not appear to be a Python project: no pyproject.toml or setup.py"
    )


def test_the_output_of_a_failed_build_is_kept(tmp_path: Path) -> None:
    """All that the build wrote is in the error."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    project.hook("print('out')\nimport sys\nsys.exit('err')")
    with pytest.raises(build.BuildError) as caught:
        build.build_distributions(project.tree, tmp_path, RECIPE, UNCONFINED)
    assert caught.value.output.splitlines()[-2:] == ["out", "err"]


def test_build_requirements_never_come_from_our_own_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that lead to our index are gone while building; others stay."""
    own = "http://127.0.0.1:31411"
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{own}/simple/")
    monkeypatch.setenv("UV_INDEX_URL", "https://example.org/simple/")
    with build.build_environment(own):
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
    with build.build_environment(indexes["own"], indexes["fallback"]):
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
            "owned-99.0-1.tar.gz can be read as another distribution",
        ),
        (
            "probe-1.0.tar.gz", "probe.whl",
            "probe.whl: Invalid wheel filename (wrong number of parts): 'probe'",
        ),
    ],
)  # fmt: skip
def test_an_sdist_and_a_wheel_must_be_one_release(sdist: str, wheel: str, message: str) -> None:
    """Names and versions that do not agree are refused."""
    with pytest.raises(build.BuildError) as caught:
        build.check(Path(sdist), [Path(wheel)])
    assert caught.value.message == message


@pytest.mark.parametrize("url", ["file:///helper", "https://127.0.0.1:1/helper-1.0.tar.gz"])
def test_a_requirement_by_url_is_refused(tmp_path: Path, url: str) -> None:
    """With a network, too: it could lead to this machine, or require files of it."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    path = project.tree / "pyproject.toml"
    wanted = f'requires = ["helper @ {url}", '
    path.write_text(path.read_text().replace("requires = [", wanted, 1))
    with (
        build.build_environment("http://127.0.0.1:1"),
        pytest.raises(build.BuildError) as caught,
    ):
        build.build_distributions(project.tree, tmp_path, replace(RECIPE, network=True), UNCONFINED)
    assert caught.value.message == (
        f"it requires 'helper @ {url}' to build, and a URL would be fetched outside the sandbox"
    )


@dataclass(frozen=True)
class Watched(Unconfined):
    """Remembers what each hook was to see."""

    views: list[View] = field(default_factory=list)

    def run(self, argv: Sequence[str], view: View, **how: Any) -> Result:
        """Run a program to its end."""
        self.views.append(view)
        return super().run(argv, view, **how)


def test_no_requirement_leads_the_way_to_the_network(tmp_path: Path) -> None:
    """What does runs outside the process namespace: by an interpreter that no wheel can change."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    watched = Watched(Containment())
    build.build_distributions(project.tree, workspace, replace(RECIPE, network=True), watched)
    leading = [view.network for view in watched.views if view.network]
    assert leading
    assert not any(path.is_relative_to(workspace) for path in leading)


def test_a_proxy_with_a_password_is_not_for_foreign_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are, in both spellings, and only for who may use the network."""
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost")
    project = create(tmp_path, "probe")
    project.write("1.0")
    told = "' '.join(name.lower() for name in os.environ)"
    project.hook(f"import os\nopen('probe/variables', 'w').write({told})")
    seen = []
    for network in (False, True):
        workspace = tmp_path / str(network)
        shutil.copytree(project.tree, workspace / "source")
        recipe = replace(RECIPE, network=network)
        built = build.build_distributions(workspace / "source", workspace, recipe, UNCONFINED)
        with zipfile.ZipFile(built.wheels[0]) as archive:
            seen.append(set(archive.read("probe/variables").decode().split()))
    assert {name for name in seen[1] - seen[0] if name.endswith("_proxy")} == {"no_proxy"}
    assert "http_proxy" not in seen[0] | seen[1]
