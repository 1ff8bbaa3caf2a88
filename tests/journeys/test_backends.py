"""Builds with requirements from the package index."""

import shutil
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from builds import BYTECODE
from projects import create

from pypi_insiders.builder import build
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.builder.launcher import DirectLauncher, Mounts
from pypi_insiders.builder.recipe import Recipe
from pypi_insiders.util.process import Result
from pypi_insiders.util.process_group import Command, ProcessGroup

RECIPE = Recipe(1700000000, as_of_commit=False, bytecode=BYTECODE)
UNCONFINED = DirectLauncher(ProcessGroup())


@dataclass(frozen=True)
class Watched(DirectLauncher):
    """Remembers what each hook was to see."""

    seen: list[Mounts] = field(default_factory=list)

    def run(self, command: Command, mounts: Mounts) -> Result:
        """Run a program to its end."""
        self.seen.append(mounts)
        return super().run(command, mounts)


@pytest.mark.parametrize("backend", ["flit", "hatchling", "setuptools"])
def test_an_sdist_and_a_wheel_come_out(tmp_path: Path, backend: str) -> None:
    """Each backend's project is built, the wheel from the sdist."""
    project = create(tmp_path, "probe-x")
    project.write("1.0", backend=backend)
    built = build.build_distributions(project.tree, tmp_path, RECIPE, UNCONFINED)
    assert (built.name, built.version) == ("probe-x", "1.0")
    assert built.sdist is not None
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
        "PATH", "HOME", "TMPDIR", "LC_ALL", "TZ", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE",
        "SOURCE_DATE_EPOCH", "LC_CTYPE",
        # Where these are on this machine: directories of programs, without secrets.
        "PYENV_ROOT", "RBENV_ROOT", "RUSTUP_HOME", "VOLTA_HOME",
    }  # fmt: skip
    assert {name for name in seen if not name.startswith("_PYPROJECT_HOOKS_")} <= allowed
    assert seen["SOURCE_DATE_EPOCH"] == "1700000000"
    assert Path(seen["HOME"]).is_relative_to(tmp_path)
    assert "secret" not in seen.values()


@pytest.mark.parametrize(
    ("pyproject", "message"),
    [
        ("[build-system", "cannot parse pyproject.toml: "),
        (
            '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "not_there"\n',
            "Backend 'not_there' is not available: ",
        ),
        (
            '[build-system]\nrequires = ["no-such-distribution-anywhere"]\n',
            "cannot install the build requirements: ",
        ),
    ],
)
def test_what_does_not_build_is_said(tmp_path: Path, pyproject: str, message: str) -> None:
    """The one error tells the stage and the reason."""
    project = create(tmp_path, "probe")
    (project.tree / "pyproject.toml").write_text(pyproject)
    with pytest.raises(BuildError) as caught:
        build.build_distributions(project.tree, tmp_path, RECIPE, UNCONFINED)
    assert caught.value.message.startswith(message.format(tree=project.tree))


def test_what_a_hook_imports_leaves_no_bytecode_in_the_files(tmp_path: Path) -> None:
    """Backends put all files of a package into a wheel, and those of the tree into an sdist."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    project.hook("import sys\nsys.path.insert(0, '.')\nimport probe")
    built = build.build_distributions(project.tree, tmp_path, RECIPE, UNCONFINED)
    with zipfile.ZipFile(built.wheels[0]) as archive:
        assert [name for name in archive.namelist() if "__pycache__" in name] == []


def test_the_output_of_a_failed_build_is_kept(tmp_path: Path) -> None:
    """All that the build wrote is in the error."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    project.hook("print('out')\nimport sys\nsys.exit('err')")
    with pytest.raises(BuildError) as caught:
        build.build_distributions(project.tree, tmp_path, RECIPE, UNCONFINED)
    assert caught.value.output.splitlines()[-2:] == ["out", "err"]


def test_no_requirement_leads_the_way_to_the_network(tmp_path: Path) -> None:
    """What does runs outside the process namespace: by an interpreter that no wheel can change."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    watched = Watched(ProcessGroup())
    build.build_distributions(project.tree, workspace, replace(RECIPE, network=True), watched)
    leading = [view.network for view in watched.seen if view.network]
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
