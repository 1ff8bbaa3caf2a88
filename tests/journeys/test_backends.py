"""Real build backends from the package index."""

import zipfile
from pathlib import Path

import pytest
from projects import create

from pypi_insiders.builder import build
from pypi_insiders.builder.sandbox import Unconfined
from pypi_insiders.util.process import Containment

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
