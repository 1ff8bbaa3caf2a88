"""Make real Git repositories with real projects in them."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BACKENDS = {
    "flit": ("flit_core>=3.11", "flit_core.buildapi"),
    "hatchling": ("hatchling>=1.27", "hatchling.build"),
    "pdm-backend": ("pdm-backend>=2.4", "pdm.backend"),
    "poetry-core": ("poetry-core>=2.0", "poetry.core.masonry.api"),
    "setuptools": ("setuptools>=77", "setuptools.build_meta"),
}
# In the tree itself, for the tests of what is around a build: nothing is installed for it.
_BUILDAPI = """\
import base64
import hashlib
import pathlib
import tarfile
import tomllib
import zipfile

TREE = pathlib.Path()
PROJECT = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
STEM = f"{PROJECT['name'].replace('-', '_')}-{PROJECT['version']}"
METADATA = "".join(f"{field}: {value}\\n" for field, value in [
    ("Metadata-Version", "2.1"),
    ("Name", PROJECT["name"]),
    ("Version", PROJECT["version"]),
    ("Summary", PROJECT["description"]),
    ("Requires-Python", PROJECT["requires-python"]),
    *(("Requires-Dist", text) for text in PROJECT["dependencies"]),
])


def package():
    directory = TREE / PROJECT["name"].replace("-", "_")
    return sorted(path for path in directory.rglob("*") if path.is_file())


def build_sdist(directory, settings=None):
    (TREE / "PKG-INFO").write_text(METADATA)
    paths = [TREE / "pyproject.toml", TREE / "PKG-INFO", *sorted(TREE.glob("*.py")), *package()]
    with tarfile.open(f"{directory}/{STEM}.tar.gz", "w:gz") as archive:
        for path in paths:
            archive.add(path, f"{STEM}/{path}")
    return f"{STEM}.tar.gz"


def build_wheel(directory, settings=None, metadata=None):
    info = f"{STEM}.dist-info"
    files = {str(path): path.read_bytes() for path in package()}
    files[f"{info}/METADATA"] = METADATA.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        record += f"{path},sha256={digest},{len(content)}\\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\\n".encode()
    name = f"{STEM}-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as archive:
        for path, content in files.items():
            member = zipfile.ZipInfo(path)
            mode = pathlib.Path(path).stat().st_mode if pathlib.Path(path).exists() else 0o100644
            member.external_attr = mode << 16
            archive.writestr(member, content)
    return name
"""
_EXTENSION = """\
#include <assert.h>
#include <Python.h>

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_speed", .m_size = 0};

PyMODINIT_FUNC PyInit__speed(void) {
    PyObject *module = PyModule_Create(&definition);
    assert(module != NULL); /* which names this file */
    PyModule_AddStringConstant(module, "place", __FILE__);
    PyModule_AddStringConstant(module, "date", __DATE__ " " __TIME__);
    return module;
}
"""
_IDENTITY = {
    "GIT_AUTHOR_NAME": "A. Uthor",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_COMMITTER_NAME": "A. Uthor",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    # Each commit and each push would start a program that looks whether to tidy up.
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "maintenance.auto",
    "GIT_CONFIG_VALUE_0": "false",
    "GIT_CONFIG_KEY_1": "receive.autogc",
    "GIT_CONFIG_VALUE_1": "false",
}


def git(directory: Path, *arguments: str, **environment: str) -> str:
    """Run git; return what it prints."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env={**os.environ, **_IDENTITY, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Project:
    """A project under development, and the bare repository to which it is pushed."""

    name: str
    tree: Path
    remote: Path

    @property
    def url(self) -> str:
        """Where Git finds the bare repository."""
        return f"file://{self.remote}"

    @property
    def package(self) -> Path:
        """The project's one import package."""
        return self.tree / self.name.replace("-", "_")

    def write(
        self, version: str, *, dependencies: list[str] | None = None, backend: str | None = None
    ) -> None:
        """Write the sources of one version; without a backend, with one of their own."""
        if backend is None:
            build_system = 'requires = []\nbuild-backend = "buildapi"\nbackend-path = ["."]'
            (self.tree / "buildapi.py").write_text(_BUILDAPI)
        else:
            requirement, build_backend = BACKENDS[backend]
            build_system = f'requires = ["{requirement}"]\nbuild-backend = "{build_backend}"'
        self.package.mkdir(exist_ok=True)
        (self.package / "__init__.py").write_text(f'"""A project."""\n\nversion = "{version}"\n')
        (self.tree / "pyproject.toml").write_text(
            f"""\
[build-system]
{build_system}

[project]
name = "{self.name}"
version = "{version}"
description = "A project"
requires-python = ">=3.8"
dependencies = {dependencies or []}
"""
        )

    def extend(self) -> None:
        """Add an extension module in C; for setuptools."""
        (self.package / "_speed.c").write_text(_EXTENSION)
        module = f"{self.package.name}._speed"
        (self.tree / "setup.py").write_text(
            "from setuptools import Extension, setup\n\n"
            f'setup(ext_modules=[Extension("{module}", ["{self.package.name}/_speed.c"])])\n'
        )

    def hook(self, code: str) -> None:
        """Let the project's own build backend run some code before it builds a wheel.

        The code's working directory is the unpacked sdist.
        """
        path = self.tree / "pyproject.toml"
        path.write_text(path.read_text().replace('"buildapi"', '"backend"'))
        (self.tree / "backend.py").write_text(
            "import buildapi\nfrom buildapi import *\n\n\n"
            "def build_wheel(directory, settings=None, metadata=None):\n"
            + "".join(f"    {line}\n" for line in code.splitlines())
            + "    return buildapi.build_wheel(directory, settings, metadata)\n"
        )

    def push(self, tag: str, *, annotated: bool = True, force: bool = False) -> str:
        """Commit everything, tag it and push; return the commit."""
        git(self.tree, "add", "--all")
        git(self.tree, "commit", "--quiet", "--allow-empty", "--message", tag)
        options = ["--annotate", "--message", tag] if annotated else []
        git(self.tree, "tag", *(["--force"] if force else []), *options, tag)
        git(self.tree, "push", "--quiet", "--force", "origin", "HEAD", "--tags")
        return git(self.tree, "rev-parse", "HEAD")

    def release(
        self,
        version: str,
        tag: str | None = None,
        *,
        annotated: bool = True,
        backend: str | None = None,
    ) -> str:
        """Write one version, commit, tag and push it; return the commit."""
        self.write(version, backend=backend)
        return self.push(tag or f"v{version}", annotated=annotated)


# Python 3.11 before 3.11.4 has no filters.
_AS_DATA: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def create(directory: Path, name: str, at: str | None = None) -> Project:
    """Make an empty project.

    Args:
        directory: for the work tree (`trees/AT`) and the bare repository (`git/AT.git`).
        name: of the distribution.
        at: `NS/PROJ`; by default `me/NAME`.
    """
    at = at or f"me/{name}"
    project = Project(name, directory / "trees" / at, directory / "git" / f"{at}.git")
    for path in (project.tree, project.remote):
        path.mkdir(parents=True)
    init = ("init", "--quiet", "--template=", "--initial-branch=main")
    git(project.remote, *init, "--bare")
    git(project.tree, *init)
    with (project.tree / ".git/config").open("a") as config:
        config.write(
            f'[remote "origin"]\n\turl = {project.remote}\n'
            "\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
        )
    return project


def unpack_sdist(name: str, version: str, tree: Path) -> None:
    """Put the sources of a real project into a tree, as its sdist on the index has them."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple/").rstrip("/")
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    page_request = urllib.request.Request(f"{index}/{name}/", headers=accept)
    with urllib.request.urlopen(page_request, timeout=60) as answer:
        base, page = answer.url, json.load(answer)
    file_name = f"{name.replace('-', '_')}-{version}.tar.gz"
    file = next(file for file in page["files"] if file["filename"] == file_name)
    with urllib.request.urlopen(urllib.parse.urljoin(base, file["url"]), timeout=60) as answer:
        content = answer.read()
    assert hashlib.sha256(content).hexdigest() == file["hashes"]["sha256"], file_name
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            member.name = member.name.partition("/")[2]
            if member.name and member.name != "PKG-INFO" and (member.isfile() or member.isdir()):
                archive.extract(member, tree, **_AS_DATA)


def block(project: Project, version: str, pipe: Path) -> None:
    """Release a version whose build waits until somebody opens the pipe."""
    os.mkfifo(pipe)
    project.write(version)
    project.hook(f"open({str(pipe)!r}).read()")
    project.push(f"v{version}")
