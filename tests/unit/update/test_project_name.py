"""project_name: read from a tree without running anything of it."""

import pytest

from pypi_insiders.update import project_name
from pypi_insiders.update.project_name import UnknownNameError

POETRY = '[build-system]\nbuild-backend = "poetry.core.masonry.api"\n'
FLIT = '[build-system]\nbuild-backend = "flit_core.buildapi"\n'
SETUPTOOLS = '[build-system]\nbuild-backend = "setuptools.build_meta"\n'


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"pyproject.toml": '[project]\nname = "My_Dist"'}, "my-dist"),
        (
            {
                "pyproject.toml": '[project]\nname = "a"\n[tool.poetry]\nname = "b"',
                "setup.py": "setup(name='c')",
            },
            "a",
        ),
        ({"pyproject.toml": f'{POETRY}[tool.poetry]\nname = "A.b"'}, "a-b"),
        ({"pyproject.toml": f'{FLIT}[tool.flit.metadata]\nmodule = "a"\ndist-name = "b"'}, "b"),
        ({"pyproject.toml": f'{FLIT}[tool.flit.metadata]\nmodule = "a_x"'}, "a-x"),
        ({"setup.cfg": "[metadata]\nname = a\nversion = attr: a.b"}, "a"),
        ({"setup.cfg": "[metadata]\nname = %(a)s"}, None),
        ({"pyproject.toml": SETUPTOOLS, "setup.cfg": "[metadata]\nname = a"}, "a"),
        ({"setup.py": "from setuptools import setup\nsetup(name='a', version=v())"}, "a"),
        ({"setup.py": "import setuptools as s, setuptools\nsetuptools.setup(name='a')"}, "a"),
        ({"setup.py": "setup()", "setup.cfg": "[metadata]\nname = a"}, "a"),
        ({"setup.py": "setup(name='a')", "setup.cfg": "[metadata]\nname = A"}, "a"),
        ({"setup.py": "setup(name='\\d')"}, None),
        ({"setup.py": "setup(name='a')", "setup.cfg": "[metadata]\nname = b"}, None),
        ({"setup.py": "setup(name='a')\nsetup(name='b')"}, None),
        ({"setup.py": "setup(name=NAME)", "setup.cfg": "[metadata]\nname = a"}, None),
        ({"setup.py": "setup(**known)", "setup.cfg": "[metadata]\nname = a"}, None),
        ({"setup.py": "other.setup(name='a')"}, None),
        ({"setup.py": "raise SystemExit('this ran')"}, None),
        ({"setup.py": "("}, None),
        ({"setup.py": "\0"}, None),
        ({"setup.py": "(" * 5000}, None),
        ({"setup.py": "x" + ".x" * 200_000}, None),
        ({"pyproject.toml": "x = " + "[" * 50_000}, None),
        ({"pyproject.toml": "name ="}, None),
        ({"pyproject.toml": "project = 1"}, None),
        ({"pyproject.toml": '[project]\nversion = "1"'}, None),
        ({"pyproject.toml": "[project]\nname = 1"}, None),
        ({"pyproject.toml": '[project]\nname = "../a"'}, None),
        ({"pyproject.toml": "[tool]\npoetry = 1"}, None),
        ({"setup.cfg": "name = a"}, None),
        ({"setup.cfg": "[metadata]\nname = a\nname = b"}, None),
        ({}, None),
    ],
)
def test_a_name_is_read_without_running_anything(files: dict[str, str], name: str | None) -> None:
    """Where only code could tell, or files differ, it is unknown."""
    if name is None:
        with pytest.raises(UnknownNameError):
            project_name.read(files)
    else:
        assert project_name.read(files) == name
