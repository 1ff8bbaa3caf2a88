"""Make real Git repositories with real projects in them."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
import urllib.parse
import urllib.request
import zlib
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
# In the tree itself, for the tests of what is around a build: nothing is installed for it. A hook
# is a process of its own, which imports only what it needs.
_BUILDAPI = """\
import os


def project():
    import tomllib

    with open("pyproject.toml", "rb") as file:
        told = tomllib.load(file)["project"]
    return told, f"{told['name'].replace('-', '_')}-{told['version']}"


def metadata(told):
    return "".join(f"{field}: {value}\\n" for field, value in [
        ("Metadata-Version", "2.1"),
        ("Name", told["name"]),
        ("Version", told["version"]),
        ("Summary", told["description"]),
        ("Requires-Python", told["requires-python"]),
        *(("Requires-Dist", text) for text in told["dependencies"]),
    ])


def package(told):
    below = os.walk(told["name"].replace("-", "_"))
    return sorted(f"{directory}/{name}" for directory, _, names in below for name in names)


def build_sdist(directory, settings=None):
    import glob
    import tarfile

    told, stem = project()
    with open("PKG-INFO", "w") as file:
        file.write(metadata(told))
    paths = ["pyproject.toml", "PKG-INFO", *sorted(glob.glob("*.py")), *package(told)]
    with tarfile.open(f"{directory}/{stem}.tar.gz", "w:gz") as archive:
        for path in paths:
            archive.add(path, f"{stem}/{path}")
    return f"{stem}.tar.gz"


def build_wheel(directory, settings=None, metadata_directory=None):
    import base64
    import hashlib
    import zipfile

    told, stem = project()
    info = f"{stem}.dist-info"
    files = {}
    for path in package(told):
        with open(path, "rb") as file:
            files[path] = file.read()
    files[f"{info}/METADATA"] = metadata(told).encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        record += f"{path},sha256={digest},{len(content)}\\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\\n".encode()
    name = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as archive:
        for path, content in files.items():
            member = zipfile.ZipInfo(path)
            mode = os.stat(path).st_mode if os.path.exists(path) else 0o100644
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
    # Each commit and each push would look whether to tidy up, in a process, and wait for the disk.
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "maintenance.auto",
    "GIT_CONFIG_VALUE_0": "false",
    "GIT_CONFIG_KEY_1": "receive.autogc",
    "GIT_CONFIG_VALUE_1": "false",
    "GIT_CONFIG_KEY_2": "core.fsync",
    "GIT_CONFIG_VALUE_2": "none",
}


def git(directory: Path, *arguments: str, stdin: str = "", **environment: str) -> str:
    """Run git; return what it prints."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env={**os.environ, **_IDENTITY, **environment},
        input=stdin,
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
        """Commit everything, tag it and push, without the processes of git; return the commit.

        Source: gitrepository-layout(5), and "Git Objects" in the book Pro Git.
        """
        git(self.tree, "add", "--all")
        tree = git(self.tree, "write-tree")
        head = self._head
        parent = f"parent {head.read_text()}" if head.exists() else ""
        who = f"{_IDENTITY['GIT_AUTHOR_NAME']} <{_IDENTITY['GIT_AUTHOR_EMAIL']}>"
        who += f" {int(time.time())} +0000"
        text = f"tree {tree}\n{parent}author {who}\ncommitter {who}\n\n{tag}\n"
        commit = self._put("commit", text)
        named = commit
        if annotated:
            text = f"object {commit}\ntype commit\ntag {tag}\ntagger {who}\n\n{tag}\n"
            named = self._put("tag", text)
        path = self.tree / ".git/refs/tags" / tag
        assert force or not path.exists(), f"tag {tag} already exists"
        for place, value in ((head, commit), (path, named)):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"{value}\n")
        self.send()
        return commit

    @property
    def _head(self) -> Path:
        """The file of the current branch."""
        ours = self.tree / ".git"
        return ours / (ours / "HEAD").read_text().removeprefix("ref: ").strip()

    def _put(self, kind: str, text: str) -> str:
        """Write an object; return its name."""
        config = (self.tree / ".git/config").read_text()
        content = f"{kind} {len(text.encode())}\0{text}".encode()
        algorithm = "sha256" if "objectformat = sha256" in config.lower() else "sha1"
        name = hashlib.new(algorithm, content).hexdigest()
        path = self.tree / ".git/objects" / name[:2] / name[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(content))
        return name

    def send(self) -> None:
        """Do as `git push --force origin HEAD --tags`; objects may be borrowed."""
        ours = self.tree / ".git"
        packed = ours / "packed-refs"  # without references where one was deleted
        assert not packed.exists() or " refs/" not in packed.read_text()
        refs = [self._head, *(path for path in ours.glob("refs/tags/**/*") if path.is_file())]
        is_borrowing = (self.remote / "objects/info/alternates").exists()
        objects = () if is_borrowing else ("objects/[0-9a-f][0-9a-f]/*", "objects/pack/*")
        for path in (*(path for pattern in objects for path in ours.glob(pattern)), *refs):
            target = self.remote / path.relative_to(ours)
            if path in refs or not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target.with_name(f"{path.name}.lock"))
                target.with_name(f"{path.name}.lock").rename(target)

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
    _init(project.remote, "\tbare = true\n")
    origin = f"\turl = {project.remote}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
    _init(project.tree / ".git", f'\tbare = false\n[remote "origin"]\n{origin}')
    return project


def _init(directory: Path, configuration: str) -> None:
    """Make a repository, as `git init` does in a process. Source: gitrepository-layout(5)."""
    for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (directory / name).mkdir(parents=True)
    (directory / "HEAD").write_text("ref: refs/heads/main\n")
    core = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n"
    (directory / "config").write_text(core + configuration)


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
