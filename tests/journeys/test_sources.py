"""What a build finds in its source tree: versions by tags, submodules, several interpreters."""

import json
import os
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from unittest.mock import ANY

import pytest
from fixtures import Person, Watch, names, need, untimed
from githost import GitHost, make_certificate
from machine import Machine
from packaging.version import Version
from projects import create, git

from pypi_insiders import git as remotes

_MINE = f"3.{sys.version_info[1]}"
_BY_TAG = {
    "setuptools-scm": """\
[build-system]
requires = ["setuptools>=77", "setuptools-scm>=8"]
build-backend = "setuptools.build_meta"

[project]
name = "probe"
dynamic = ["version"]

[tool.setuptools_scm]
""",
    "versioningit": """\
[build-system]
requires = ["setuptools>=77", "versioningit>=3"]
build-backend = "setuptools.build_meta"

[project]
name = "probe"
dynamic = ["version"]

[tool.versioningit]
""",
    "describe": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "probe"
dynamic = ["version"]
""",
}
_DESCRIBE = """\
import pathlib, subprocess
from setuptools import setup

info = pathlib.Path("PKG-INFO")
if info.exists():
    version = info.read_text().partition("\\nVersion: ")[2].partition("\\n")[0]
else:
    argv = ["git", "describe", "--dirty"]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    version = told.strip().removeprefix("v")
setup(version=version)
"""


@pytest.mark.parametrize("kind", _BY_TAG)
def test_the_version_is_that_of_the_tag(machine: Machine, tmp_path: Path, kind: str) -> None:
    """In a sandbox, where the history is seen and the host is not, for an older tag too.

    That one is built once only: both tools and `describe` ask git; hatch-vcs is setuptools-scm.
    """
    project = create(tmp_path, "probe")
    project.package.mkdir()
    (project.package / "__init__.py").write_text("")
    (project.tree / "pyproject.toml").write_text(_BY_TAG[kind])
    if kind == "describe":
        (project.tree / "setup.py").write_text(_DESCRIBE)
    for version in ("1.2.3", "1.2.4"):
        (project.package / "number").write_text(version)
        project.push(f"v{version}")
    project.push("untagged-work")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    count = 2 if kind == "describe" else 1
    watch = ("repos", "add", "me/probe", "--url", project.url, "--backfill", str(count))
    machine.run("pypi-insiders", *watch)
    done = machine.run("pypi-insiders", "update", timeout_s=200)
    assert "not sandboxed" not in done.stderr
    held = machine.run("ls", ".local/share/pypi-insiders/dists").stdout.split()
    assert [name.split("-")[1].removesuffix(".tar.gz") for name in held] == [
        "1.2.3", "1.2.3", "1.2.4", "1.2.4",
    ][-2 * count :]  # fmt: skip


def test_submodules_are_there(person: Person, watch: Watch, tmp_path: Path) -> None:
    """At the commit that the tag names, from where `.gitmodules` says, also beside it."""
    part = create(tmp_path, "part", "me/part")
    (part.tree / "words.py").write_text("first = True\n")
    part.push("v1")
    project = watch("probe")
    project.write("1.0")
    allow = ("-c", "protocol.file.allow=always")
    git(project.tree, *allow, "submodule", "--quiet", "add", part.url, "probe/part")
    git(project.tree, "config", "--file", ".gitmodules", "submodule.probe/part.url", "../part.git")
    project.push("v1.0")
    (part.tree / "words.py").write_text("second = True\n")
    part.push("v2")
    assert untimed(person.run("update").stdout) == "Checked 1 repository, published 2 files\n"
    with zipfile.ZipFile(person.paths.distributions / names("probe-1.0")[0]) as archive:
        assert archive.read("probe/part/words.py") == b"first = True\n"


def test_submodules_of_others_are_named_by_the_user(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """A relative URL leads to whatever else the user may read; and that would be published."""
    secret = create(tmp_path, "keys", "secret/keys")
    (secret.tree / "words.py").write_text("key = 'secret'\n")
    secret.push("v1")
    project = watch("probe")
    project.write("1.0")
    allow = ("-c", "protocol.file.allow=always")
    git(project.tree, *allow, "submodule", "--quiet", "add", secret.url, "probe/keys")
    url = ("submodule.probe/keys.url", "../../secret/keys.git")
    git(project.tree, "config", "--file", ".gitmodules", *url)
    project.push("v1.0")
    failed = person.run("update", status=1)
    namespace = f"{tmp_path}/git".strip("/")
    command = "pypi-insiders repos set me/probe"
    assert failed.stderr.splitlines()[-2:] == [
        "error: me/probe: tag v1.0: submodule probe/keys is outside of the "
        f"namespace {namespace}/me of its repository: {secret.url}",
        f"hint: allow it if you trust it: `{command} submodules={namespace}/secret`; or build "
        f"without submodules: `{command} submodules=false`",
    ]
    assert person.distributions() == []
    person.run("repos", "set", "me/probe", "submodules=false")
    assert (
        untimed(person.run("update", "me/probe").stdout)
        == "Checked 1 repository, published 2 files\n"
    )
    project.write("1.1")
    project.push("v1.1")
    person.run("repos", "set", "me/probe", f"submodules={namespace}/secret")
    assert (
        untimed(person.run("update", "me/probe").stdout)
        == "Checked 1 repository, published 2 files\n"
    )


@pytest.mark.parametrize(
    ("code", "setting", "hint"),
    [
        ('subprocess.run(["git", "show", "v1.0:words.txt"], check=True)', "history=full",
         "`pypi-insiders repos set me/probe history=full` fetches the files of older commits too"),
        ('import socket; socket.getaddrinfo("name.invalid", 443)', "network=true",
         "the network is off for its builds: `pypi-insiders repos set me/probe network=true` lets "
         "them use HTTP and HTTPS"),
    ],
)  # fmt: skip
def test_a_build_that_fails_for_want_of_a_setting_names_it(
    person: Person, watch: Watch, code: str, setting: str, hint: str
) -> None:
    """Files of older commits are not fetched, and names are not resolved in a sandbox."""
    project = watch("probe")
    git(project.remote, "config", "uploadpack.allowFilter", "true")
    (project.tree / "words.txt").write_text("first\n")
    project.push("v1.0", annotated=False)
    (project.tree / "words.txt").write_text("second\n")
    project.write("1.1")
    backend = project.tree / "buildapi.py"
    backend.write_text(
        backend.read_text().replace(
            "def build_sdist(directory, settings=None):\n",
            f"import subprocess\n\ndef build_sdist(directory, settings=None):\n    {code}\n",
        )
    )
    project.push("v1.1")
    failed = person.run("update", status=1)
    assert failed.stderr.splitlines()[-1] == f"hint: {hint}"
    person.run("repos", "set", "me/probe", setting)
    # No setting makes a name resolve that does not exist.
    again = person.run("update", "me/probe", status=int(setting == "network=true"))
    assert "hint: `pypi-insiders repos set" not in again.stderr


def _other_pythons() -> dict[str, Path]:
    """Find another Python with what a compiler needs, installed beside the one that runs us."""
    for path in sorted(Path(sys.base_prefix).parent.glob("*3.*/bin/python3.*")):
        version = path.name.removeprefix("python")
        is_one = re.fullmatch(r"3\.1[0-9]", version) and not path.is_symlink()
        if is_one and version != _MINE and list(path.parent.parent.glob("include/*/Python.h")):
            return {version: path}
    return {}


def test_a_wheel_for_each_interpreter(person: Person, watch: Watch) -> None:
    """Of an extension module; one that is not here is named. Of pure Python one is enough."""
    need("cc")
    project = watch("probe")
    project.write("1.0", backend="setuptools")
    project.extend()
    project.push("v1.0")
    others = _other_pythons()
    places = ":".join([*(str(path.parent) for path in others.values()), os.environ["PATH"]])
    settings = person.paths.config / "repos.toml"
    versions = [_MINE, *others, "3.99"]
    settings.write_text(settings.read_text() + f"python = {json.dumps(versions)}\n")
    done = person.run("update", PATH=places)
    assert "Python 3.99 not found, building no wheel for it" in done.stderr
    tags = [name.split("-")[2] for name in person.distributions() if name.endswith(".whl")]
    assert tags == sorted(f"cp{version.replace('.', '')}" for version in versions[:-1])
    (project.tree / "setup.py").unlink()
    project.write("1.1")
    project.push("v1.1")
    person.run("update", PATH=places)
    assert set(names("probe-1.1")) < set(person.distributions())


def test_an_sdist_is_packed_in_a_fixed_form(person: Person, watch: Watch) -> None:
    """Sorted, owned by nobody in particular, of the time of the commit."""
    project = watch("probe")
    commit = project.release("1.0")
    time_s = int(git(project.tree, "show", "-s", "--format=%ct", commit))
    person.run("update")
    with tarfile.open(person.paths.distributions / "probe-1.0.tar.gz") as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(item.mtime, item.uid, item.gid, item.uname, item.mode) for item in members} == {
        (time_s, 0, 0, "", 0o644)
    }


def test_build_requirements_are_those_of_the_time_of_the_tag(person: Person, watch: Watch) -> None:
    """A setting turns it off; where nothing is so old, the newest are taken, and that is said."""
    project = watch("probe")
    path = project.tree / "pyproject.toml"

    def release(version: str, date: str) -> tuple[str, str]:
        project.write(version, backend="flit")
        path.write_text(path.read_text().replace("flit_core>=3.11", "flit_core>=3.4"))
        git(project.tree, "add", "--all")
        git(project.tree, "commit", "--quiet", "--message", version, GIT_COMMITTER_DATE=date)
        git(project.tree, "tag", f"v{version}")
        git(project.tree, "push", "--quiet", "--force", "origin", "HEAD", "--tags")
        told = person.run("update").stderr
        state = json.loads((person.paths.state / "repositories/me/probe.json").read_text())
        return state["builds"][-1]["requirements"]["flit-core"], told

    assert release("1.0", "2023-06-01T00:00:00Z")[0] == "3.9.0"
    newest, told = release("1.1", "2019-06-01T00:00:00Z")
    assert Version(newest) > Version("3.9.0")
    assert "no build requirements found as of 2019-06-01T00:00:00Z, using the latest" in told
    (person.paths.config / "config.toml").write_text("[build]\nas-of-tag = false\n")
    assert release("1.2", "2023-06-01T00:00:00Z") == (newest, ANY)


def test_as_many_builds_at_once_as_wanted(person: Person, watch: Watch, tmp_path: Path) -> None:
    """With `jobs = 2` two builds can meet; with 1 each is published before the next begins."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    settings = person.paths.config / "config.toml"
    projects = [watch("one"), watch("other")]
    for project, mode in zip(projects, ("r", "w"), strict=True):
        project.write("1.0")
        project.hook(f"open({str(pipe)!r}, {mode!r}).close()")  # waits for the other end
        project.push("v1.0")
    settings.write_text("[build]\njobs = 2\n")
    assert untimed(person.run("update").stdout) == "Checked 2 repositories, published 4 files\n"
    for project in projects:
        project.release("1.1")
    settings.write_text("[build]\njobs = 1\n")
    told = person.run("update").stderr.splitlines()
    steps = [word for line in told for word in ("building", "published") if f": {word} " in line]
    assert steps == ["building", "published"] * 2


def test_a_token_may_be_a_credential_of_the_unit(machine: Machine, tmp_path: Path) -> None:
    """`LoadCredential=` in a drop-in of the watcher's service; the log does not have it."""
    certificate = make_certificate(tmp_path)
    project = create(tmp_path, "probe")
    project.release("1.0")
    host = GitHost(tmp_path / "git", certificate, token="tok-3141592653")
    try:
        machine.write_text(
            ".config/pypi-insiders/repos.toml",
            f'["me/probe"]\nproject = "probe"\nurl = "{host.url}/me/probe.git"\n'
            'token-credential = "forge"\n',
        )
        machine.write_text("secrets/forge", "tok-3141592653\n", mode=0o600)
        machine.write_text(
            ".config/systemd/user/pypi-insiders-watcher.service.d/override.conf",
            f"[Service]\nLoadCredential=forge:{machine.home}/secrets/forge\n"
            f"Environment=GIT_SSL_CAINFO={certificate}\n",
        )
        failed = machine.run("pypi-insiders", "update", "me/probe", check=False)
        assert "its token is the credential forge of the watcher" in failed.stderr
        machine.run("pypi-insiders", "watcher", "start")
        machine.wait_for_journal(r"published probe-1.0.tar.gz")
    finally:
        host.close()
    assert "tok-3141592653" not in machine.journal()


# What a password manager's socket would be: it sends the token of now to whoever connects.
_SOCKET = """
[Socket]
ListenStream=%t/token.sock
Accept=yes
"""
_SERVICE = """
[Service]
ExecStart=cat %h/secrets/now
StandardOutput=socket
"""
# A program that renews its token, and stores the new one in the home.
_PRINTER = """#!/bin/sh
echo run >>~/secrets/runs && cat ~/secrets/now
"""


def test_tokens_that_expire_are_had_anew_by_each_update(machine: Machine, tmp_path: Path) -> None:
    """From a socket by `LoadCredential=`, and from a program, which may write in the home."""
    certificate = make_certificate(tmp_path)
    host = GitHost(tmp_path / "git", certificate)
    projects = [create(tmp_path, name) for name in ("one", "two", "three")]
    place = host.url.removeprefix("https://")
    machine.write_text(
        ".config/pypi-insiders/config.toml",
        '[build]\nsandbox = "off"\n[watcher]\npublic-versions = false\n'
        f'token-command = {{"{place}" = ["{machine.home}/printer"]}}\n',
    )
    machine.write_text(
        ".config/pypi-insiders/repos.toml",
        "".join(
            f'["me/{name}"]\nproject = "{name}"\nurl = "{host.url}/me/{name}.git"\n{key}'
            for name, key in {"one": 'token-credential = "forge"\n', "two": "", "three": ""}.items()
        ),
    )
    machine.write_text("printer", _PRINTER, mode=0o755)
    machine.write_text(".config/systemd/user/token.socket", _SOCKET)
    machine.write_text(".config/systemd/user/token@.service", _SERVICE)
    machine.write_text(
        ".config/systemd/user/pypi-insiders-watcher.service.d/override.conf",
        f"[Service]\nLoadCredential=forge:%t/token.sock\nEnvironment=GIT_SSL_CAINFO={certificate}\n",
    )
    machine.run("systemctl", "--user", "daemon-reload")
    machine.run("systemctl", "--user", "start", "token.socket")
    try:
        for number, version in enumerate(("1.0", "1.1"), 1):
            host.token = f"tok-27182818-{number}"
            machine.write_text("secrets/now", f"{host.token}\n", mode=0o600)
            for project in projects:
                project.release(version)
            if number == 1:
                machine.run("pypi-insiders", "watcher", "start")
                # It could start another update, which would run the program once more.
                machine.run("systemctl", "--user", "stop", "pypi-insiders-watcher.timer")
            else:
                machine.run("systemctl", "--user", "start", "pypi-insiders-watcher.service")
            for name in ("one", "two", "three"):
                machine.wait_for_journal(rf"published {name}-{version}\.tar\.gz")
            # Once an update, though two repositories ask for it, and several times.
            assert machine.read_text("secrets/runs") == "run\n" * number
        checked = json.loads(machine.run("pypi-insiders", "doctor", "--json", check=False).stdout)
        # Without a token, of a repository that is public now, the program is told all the same.
        machine.write_text("printer", "#!/bin/sh\necho expired >&2; exit 4\n", mode=0o755)
        host.token = None
        warned = json.loads(machine.run("pypi-insiders", "doctor", "--json", check=False).stdout)
    finally:
        host.close()
    assert [
        (item["repository"], item["text"]) for item in warned["findings"]
        if (item["check"], item["severity"]) == ("access", "warning")
    ] == [
        (
            f"me/{name}",
            "is readable by the watcher, but only without a token: `token-command` returned no "
            "token: printer: it exited with 4: expired",
        )
        for name in ("two", "three")
    ]  # fmt: skip
    access = [item for item in checked["findings"] if item["check"] == "access"]
    assert {(item["repository"], item["severity"]) for item in access} == {
        (f"me/{name}", "ok") for name in ("one", "two", "three")
    }
    assert "tok-27182818" not in machine.journal()


_DIVE = """
def dive(place, levels):
    start = os.getcwd()
    os.chdir(place)
    for _ in range(levels):
        os.mkdir("d")
        os.chdir("d")
    open("file", "w").close()
    os.chdir(start)
"""


@pytest.mark.usefixtures("removed")
def test_a_commit_with_deep_directories_is_checked_out(tmp_path: Path) -> None:
    """As deep as git takes them, which is deeper than Python's calls."""
    project = create(tmp_path, "deep")
    (project.tree / "file").touch()
    blob = git(project.tree, "hash-object", "-w", "file")
    # Into the index as it is: `git add` does not walk so deep on every system.
    entry = f"100644,{blob},{'d/' * 1050}file"
    git(project.tree, "update-index", "--add", "--cacheinfo", entry)
    git(project.tree, "commit", "--quiet", "--message", "deep")
    git(project.tree, "tag", "v1.0")
    git(project.tree, "push", "--quiet", "origin", "HEAD", "--tags")
    commit = git(project.tree, "rev-parse", "HEAD")
    remotes.fetch(project.url, tmp_path / "mirror", remotes.GITS_OWN)
    time_s = remotes.export(tmp_path / "mirror", commit, tmp_path / "tree")
    assert Path(tmp_path, "tree", "d/" * 1050, "file").stat().st_mtime == time_s


@pytest.mark.usefixtures("removed")
def test_one_repository_with_deep_directories_stops_no_other(person: Person, watch: Watch) -> None:
    """Deeper than Python's calls and than paths, from its tag and by its hook; all of it goes."""
    evil, honest = watch("evil"), watch("honest")
    evil.write("1.0")
    evil.hook(f"import os{_DIVE}dive('.', 2100)\ndive(os.environ['HOME'], 2100)")
    evil.push("v1.0")
    honest.release("1.0")
    assert untimed(person.run("update").stdout) == "Checked 2 repositories, published 4 files\n"
    assert list((person.paths.builds).iterdir()) == []
    honest.release("1.1")
    assert untimed(person.run("update").stdout) == "Checked 2 repositories, published 2 files\n"
