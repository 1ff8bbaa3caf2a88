"""user_files: which files of the user builds may read, and which never."""

import os
import socket
import sys
from pathlib import Path

import pytest

from pypi_insiders.builder import user_files
from pypi_insiders.builder.environments import Environment
from pypi_insiders.builder.hooks import HookRunner, Hooks
from pypi_insiders.builder.launcher import DirectLauncher
from pypi_insiders.builder.recipe import Recipe
from pypi_insiders.builder.user_files import UserFiles, steps
from pypi_insiders.config import credential_files
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process_group import ProcessGroup


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with credentials, and links to them."""
    home = tmp_path.resolve() / "home"
    for name in (".ssh/key", ".cargo/credentials.toml", ".npmrc", "data/file", "own/state",
                 "dotfiles/gnupg/key", "../other/.ssh/key"):  # fmt: skip
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("")
    for name, target in {
        "keys": ".ssh", "key": "keys/key", ".gnupg": "dotfiles/gnupg", "link": "data",
        "theirs": "../other",
        "cloud": "../other/.ssh",
    }.items():  # fmt: skip
        (home / name).symlink_to(target)
    for name in ("RUSTUP_HOME", "CARGO_HOME", "PYENV_ROOT", "RBENV_ROOT", "VOLTA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "runtime"))
    return home


def _select(home: Path, *readable: str, path: tuple[str, ...] = ()) -> UserFiles:
    return user_files.select("me/probe", readable, path, [home / "own"])


_MAY = "which may contain credentials"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("~/.ssh/key", "may contain credentials"),
        ("~/data/../.npmrc", "may contain credentials"),
        ("/elsewhere/.gnupg/key", "may contain credentials"),
        ("~/keys", f"leads to {{home}}/.ssh, {_MAY}"),
        ("~/key", f"leads to {{home}}/.ssh/key, {_MAY}"),
        ("~/theirs/.ssh/key", "may contain credentials"),
        ("~/cloud", f"leads to {{home.parent}}/other/.ssh, {_MAY}"),
        ("~/.cargo", f"contains {{home}}/.cargo/credentials.toml, {_MAY}"),
        ("~/dotfiles", f"contains {{home}}/dotfiles/gnupg, {_MAY}"),
        ("~/dotfiles/gnupg", "may contain credentials"),
        ("~/own", "may contain credentials"),
        ("~/own/state", "may contain credentials"),
        ("~/runtime/agent", "may contain credentials"),
        ("~/none", "not found"),
        ("~/socket", "is not a file or directory"),
    ],
)
def test_what_no_build_may_read(home: Path, text: str, why: str) -> None:
    """Credentials, what leads to them or has them in it, our own files, and sockets."""
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(home)  # the path of a socket is limited to 107 bytes
        server.bind("socket")
        os.chdir(before)
    for key in ("readable", "path"):
        given = {"readable": (), "path": (), key: (text,)}
        with pytest.raises(InsidersError) as caught:
            user_files.select("me/probe", given["readable"], given["path"], [home / "own"])
        told = why.format(home=home)
        if key == "path":
            told = told.replace("file or ", "")
        assert caught.value.message == f"{key}: {text} {told}"
        assert caught.value.hint == (
            f"set it again: `pypi-insiders repos set me/probe {key}=PATH,...`"
        )


def test_only_a_directory_has_programs(home: Path) -> None:
    assert _select(home, "~/data/file").readable == (home / "data/file",)
    with pytest.raises(InsidersError, match=r"^path: ~/data/file is not a directory$"):
        _select(home, path=("~/data/file",))


def test_the_home_itself_has_credentials(home: Path) -> None:
    for text in (str(home), "/"):
        with pytest.raises(InsidersError, match=f"^readable: {text} contains {home}/"):
            _select(home, text)


def test_what_programs_need_beside_them_is_read_too(home: Path) -> None:
    """Where it has no credentials; and Rust without its credentials."""
    for name in ("node/bin", "node/lib", "tools", ".cargo/bin", ".rustup", ".pyenv/shims"):
        (home / name).mkdir(parents=True)
    programs = ("~/node/bin", "~/tools", "~/.cargo/bin", "~/.pyenv/shims")
    assert _select(home, "~/data", path=programs) == UserFiles(
        (
            home / "data", home / "node/bin", home / "node/lib", home / "tools",
            home / ".cargo/bin", home / ".pyenv/shims", home / ".pyenv", home / ".rustup",
        ),
        (home / "node/bin", home / "tools", home / ".cargo/bin", home / ".pyenv/shims"),
        (home / ".cargo/bin",),
    )  # fmt: skip


def test_nothing_else_beside_programs_is_read(home: Path) -> None:
    """The directory above may be the user's own."""
    for name in ("code/bin", "code/proj", "code/lib", "bin", "lib", ".local/bin", ".local/share/x"):
        (home / name).mkdir(parents=True)
    (home / "code/lib/keys").symlink_to(home / ".ssh")
    (home / "code/share").symlink_to(home / ".ssh")
    read = (home / "code/bin", home / "code/lib", home / "bin", home / ".local/bin")
    assert _select(home, path=("~/code/bin", "~/bin", "~/.local/bin")).readable == read
    (home / "local").symlink_to(".local")
    for text in ("~/local/bin", "~/code/../.local/bin"):
        (only,) = _select(home, path=(text,)).readable
        assert only.resolve() == home / ".local/bin"


def test_what_is_beside_programs_is_searched_too(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out, as the programs may work without it; and so is Rust."""
    for name in ("code/bin", "code/lib/x/.aws", "code/share/x", ".pyenv/shims", ".pyenv/x/.kube",
                 ".rustup/x/.ssh", "code/libexec"):  # fmt: skip
        (home / name).mkdir(parents=True)
    os.mkfifo(home / "code/share/x/pipe")
    os.mkfifo(home / "code/include")
    caplog.set_level("INFO")
    found = _select(home, path=("~/code/bin", "~/.pyenv/shims"))
    assert found.readable == (home / "code/bin", home / "code/libexec", home / ".pyenv/shims")
    start = "me/probe: builds cannot read"
    assert caplog.messages == [
        f"{start} {home}/code/include: it is a socket, pipe or device",
        f"{start} {home}/code/lib: it contains {home}/code/lib/x/.aws, {_MAY}",
        f"{start} {home}/code/share: it contains {home}/code/share/x/pipe, which is a socket, "
        "pipe or device",
        f"{start} {home}/.pyenv: it contains {home}/.pyenv/x/.kube, {_MAY}",
        f"{start} {home}/.rustup: it contains {home}/.rustup/x/.ssh, {_MAY}",
    ]


def test_files_of_variables_are_credentials(home: Path) -> None:
    """As many programs keep passwords there; but not their examples, nor virtual environments."""
    data = home / "data"
    for name in (".env.example", "my.env", ".environment"):
        (data / name).write_text("")
    (data / "sub/.env/bin").mkdir(parents=True)
    assert _select(home, "~/data", "~/data/sub/.env", "~/data/.env.example").readable
    for name in (".env", ".env.local", ".envrc"):
        (data / "sub" / name.replace(".env", "x")).mkdir()
        file = data / "sub" / name.replace(".env", "x") / name
        file.write_text("")
        (home / "link").unlink()
        (home / "link").symlink_to(file)
        for text, why in (
            ("~/data", f"contains {file}, {_MAY}"),
            (str(file), _MAY.removeprefix("which ")),
            ("~/link", f"leads to {file}, {_MAY}"),
        ):
            with pytest.raises(InsidersError) as caught:
                _select(home, text)
            assert caught.value.message == f"readable: {text} {why}"
        file.unlink()


@pytest.mark.parametrize("source", [".npmrc", ".ssh/key", "own/state"])
def test_a_hard_link_is_a_credential_under_another_name(home: Path, source: str) -> None:
    (home / "data/innocent").hardlink_to(home / source)
    for text, why in (
        ("~/data/innocent", "may contain credentials"),
        ("~/data", f"contains {home}/data/innocent, {_MAY}"),
    ):
        with pytest.raises(InsidersError) as caught:
            _select(home, text)
        assert caught.value.message == f"readable: {text} {why}"
    (home / "code/bin").mkdir(parents=True)
    (home / "data").rename(home / "code/lib")
    assert _select(home, path=("~/code/bin",)).readable == (home / "code/bin",)


@pytest.mark.parametrize(
    "name",
    [".config/pdm/config.toml", ".config/hatch/config.toml", ".gem/credentials", ".vault-token",
     ".my.cnf", ".cache/huggingface/token", ".bash_history", ".local/share/python_keyring/x"],
)  # fmt: skip
def test_what_programs_store_is_refused(home: Path, name: str) -> None:
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).touch()
    with pytest.raises(InsidersError, match=r"may contain credentials$"):
        _select(home, f"~/{name}")


def test_credentials_are_found_where_variables_lead(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs store them there in place of `~/.config`."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "settings"))
    (home / "settings/pip").mkdir(parents=True)
    with pytest.raises(InsidersError, match=r"may contain credentials$"):
        _select(home, "~/settings/pip")


@pytest.mark.parametrize("name", [".SSH", ".Netrc", ".Config/GH"])
def test_another_case_is_the_same_name(home: Path, name: str) -> None:
    """For file systems that ignore it."""
    (home / "data" / name).mkdir(parents=True)
    for text in ("~/data", f"~/data/{name}"):
        with pytest.raises(InsidersError, match=r"may contain credentials$"):
            _select(home, text)


def test_a_directory_is_searched(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For credentials and for what leads out of the sandbox; a very large one not completely."""
    data = home / "data"
    (data / "sub").mkdir()
    (data / "sub/link").symlink_to(home / ".ssh")
    assert _select(home, "~/data").readable == (data,)
    os.mkfifo(data / "sub/pipe")
    for key in ("readable", "path"):
        given = {"readable": (), "path": (), key: ("~/data",)}
        with pytest.raises(InsidersError) as caught:
            user_files.select("me/probe", given["readable"], given["path"], ())
        assert caught.value.message == (
            f"{key}: ~/data contains {data}/sub/pipe, which is a socket, pipe or device"
        )
    (data / "sub/pipe").unlink()
    (data / "sub/.ssh").mkdir()
    with pytest.raises(InsidersError) as caught:
        _select(home, "~/data")
    assert caught.value.message == f"readable: ~/data contains {data}/sub/.ssh, {_MAY}"
    (home / "../other/.config/gh").mkdir(parents=True)
    (home / "settings").symlink_to("../other/.config")
    with pytest.raises(InsidersError, match=r"contains .*/other/\.config/gh, which"):
        _select(home, "~/settings")
    monkeypatch.setattr(credential_files, "_MOST_ENTRIES", 2)
    caplog.set_level("INFO")
    assert _select(home, "~/data").readable == (data,)
    assert caplog.messages == [
        "me/probe: readable: ~/data is too large to search all of it for credentials"
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/tmp", "is shared by all programs"),
        ("/tmp/../var/tmp", "is shared by all programs"),
        ("/run", "is shared by all programs"),
        ("/dev/shm", "belongs to the kernel"),
        ("/proc/self/root/etc/hostname", "belongs to the kernel"),
        ("~/kernel/version", "belongs to the kernel"),
        ("/sys", "belongs to the kernel"),
    ],
)
def test_directories_of_the_system_are_refused(home: Path, text: str, why: str) -> None:
    (home / "kernel").symlink_to("/proc")
    with pytest.raises(InsidersError) as caught:
        _select(home, text)
    assert caught.value.message == f"readable: {text} {why}"


def test_each_step_of_a_link_is_named(home: Path) -> None:
    """A program that follows it needs them all."""
    (home / "far").mkdir()
    (home / "far/way").symlink_to("../link/../data")
    (home / "all").symlink_to(home / "far/way")
    assert list(steps(home / "all/file")) == [
        home / "all/file", home / "far/way/file", home / "data/file",
    ]  # fmt: skip
    (home / "loop").symlink_to("loop")
    assert set(steps(home / "loop")) == {home / "loop"}


def test_without_a_sandbox_programs_find_their_files_too(home: Path, tmp_path: Path) -> None:
    """Although a build has another home."""
    (home / ".pyenv").mkdir()
    (home / "tools").mkdir()
    program = home / "tools/tool"
    program.write_text('#!/bin/sh\nexec printf "%s\\n" "$PYENV_ROOT" "$RUSTUP_HOME" "$HOME"\n')
    program.chmod(0o755)
    environment = Environment(tmp_path / "env", Path(sys.executable), frozenset())
    environment.python.parent.mkdir(parents=True)
    environment.python.symlink_to(sys.executable)
    recipe = Recipe(0, user_files=_select(home, path=("~/tools",)))
    runner = HookRunner(tmp_path, recipe, DirectLauncher(ProcessGroup()))
    hooks = Hooks(runner, tmp_path, tmp_path)
    hooks.environment = environment
    runner.run(hooks, ["-I", "-c", "import subprocess; subprocess.run('tool')"], tmp_path, {})
    assert runner.output == f"{home}/.pyenv\n\n{tmp_path}/home\n"
