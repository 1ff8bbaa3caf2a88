"""Files that change in one step, and locks that outlive nobody."""

import contextlib
import errno
import inspect
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest
from fixtures import COMMAND, Person

from pypi_insiders.util import own_files, trees
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import (
    cannot,
    hint_for,
    locked,
    make_directory,
    read_text,
    remove,
    set_aside,
    write_atomic,
)

IN_ITS_PLACE = "move that file or directory away"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_without_permission_the_hint_is_a_whole_command(number: int) -> None:
    """It shows each directory of the path: any of them may be closed, and the file be missing."""
    error = OSError(number, "denied", "/a b/.temporary")
    assert cannot("write", Path("/a b/c"), error).hint == (
        "check its owner and mode: `namei -l '/a b/c'`"
    )
    assert hint_for(error) == "check its owner and mode: `namei -l '/a b/.temporary'`"
    for error in (OSError(number, "denied"), OSError(number, "denied", 7)):
        assert hint_for(error) == "check its owner and mode"


def _refusal(call: Callable[..., object], *arguments: object) -> tuple[str, str | None]:
    with pytest.raises(InsidersError) as caught:
        call(*arguments)
    return caught.value.message, caught.value.hint


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_new_file_is_readable_for_all_and_its_directories_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a/b/file"
    write_atomic(path, "grüße\n")
    assert (path.read_bytes(), _mode(path)) == ("grüße\n".encode(), 0o644)
    assert _names(path.parent) == ["file"]


def test_the_text_is_replaced_and_the_mode_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a longer text than the new one")
    path.chmod(0o600)
    write_atomic(path, "new")
    assert (path.read_text(), _mode(path)) == ("new", 0o600)
    assert _names(tmp_path) == ["file"]


def test_whoever_has_the_old_file_open_still_reads_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as before:
        write_atomic(path, "new")
        assert before.read() == "old"


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_a_link(tmp_path: Path, exists: bool) -> None:
    target, link = tmp_path / "dotfiles/file", tmp_path / "config/file"
    target.parent.mkdir()
    link.parent.mkdir()
    if exists:
        target.write_text("old")
    link.symlink_to("../dotfiles/file")
    write_atomic(link, "new")
    assert (link.readlink(), target.read_text()) == (Path("../dotfiles/file"), "new")
    assert (_names(target.parent), _names(link.parent)) == (["file"], ["file"])


def test_a_directory_in_the_way_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()
    assert _refusal(write_atomic, path, "x") == (
        f"cannot write {path}: Is a directory",
        IN_ITS_PLACE,
    )
    assert (path.is_dir(), _names(tmp_path)) == (True, ["file"])


def test_a_file_among_the_parents_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    path = tmp_path / "file/below/name"
    assert _refusal(write_atomic, path, "x") == (
        f"cannot write {path}: Not a directory",
        IN_ITS_PLACE,
    )


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.symlink_to("file")
    message, _ = _refusal(write_atomic, path, "x")
    assert message.startswith(f"cannot write {path}: ")
    assert _names(tmp_path) == ["file"]


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """The limit of file sizes breaks it off, as a full disk would."""
    path = tmp_path / "file"
    path.write_text("old")
    code = """
import resource, sys
from pathlib import Path
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_atomic(Path(sys.argv[1]), 100_000 * "x")
except InsidersError as error:
    print(error.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"cannot write {path}: File too large\n"
    assert (path.read_text(), _names(tmp_path)) == ("old", ["file"])


def test_the_content_is_on_disk_before_it_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure the name would otherwise lead to an empty file. Source: fsync(2)."""
    path, synced = tmp_path / "file", []
    path.write_text("old")
    real = os.fsync

    def fsync(descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        synced.append((os.fstat(descriptor).st_ino, size, path.read_text()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(path, "new text")
    assert synced == [(path.stat().st_ino, len("new text"), "old")]


def test_what_is_set_aside_replaces_nothing(tmp_path: Path) -> None:
    """Neither what was set aside before, nor a link that leads nowhere."""
    found = []
    (tmp_path / "file.damaged.1").symlink_to("nowhere")
    for text in ("one", "two"):
        (tmp_path / "file").write_text(text)
        found.append(set_aside(tmp_path / "file"))
    assert [path.name for path in found] == ["file.damaged", "file.damaged.2"]
    assert [path.read_text() for path in found] == ["one", "two"]
    assert (tmp_path / "file.damaged.1").is_symlink()


def test_read_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert read_text(path) is None
    path.write_bytes("grüße\n".encode())
    assert read_text(path) == "grüße\n"
    path.write_bytes("grüße\n".encode("latin-1"))
    assert _refusal(read_text, path) == (
        f"cannot read {path}: it is not UTF-8 (byte 2)",
        "save it as UTF-8",
    )
    assert _refusal(read_text, tmp_path) == (
        f"cannot read {tmp_path}: Is a directory",
        IN_ITS_PLACE,
    )


@contextlib.contextmanager
def obstacle(kind: str, path: Path) -> Iterator[None]:
    """Put something in the place of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        if kind == "socket":
            here = os.open(path.parent, os.O_PATH)  # its whole path would be too long
            listening.bind(f"/proc/self/fd/{here}/{path.name}")
            os.close(here)
        yield


KINDS = ("FIFO", "device", "socket")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_neither_waited_for_nor_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    with obstacle(kind, path):
        told = f"cannot read {path}: it is a {kind}, not a file"
        assert _refusal(read_text, path) == (told, IN_ITS_PLACE)
        assert own_files.recall(path, str) is None
    assert os.path.lexists(tmp_path / "file.damaged")


def test_the_device_that_has_nothing_is_an_empty_file() -> None:
    """It is how pip and others are told to use no settings."""
    assert read_text(Path(os.devnull)) == ""


def test_a_file_that_is_named_for_once_may_be_a_pipe(person: Person) -> None:
    """The shell makes one for `<(...)`."""
    (person.home / "list").write_text('{"me/probe": "probe"}')
    script = f"{COMMAND} repos import <(cat ~/list)"
    subprocess.run(["bash", "-c", script], env=person.environment, check=True, timeout=100)
    assert "me/probe" in person.run("repos", "list").stdout


def test_a_link_that_leads_nowhere_does_not_say_that_there_is_nothing(tmp_path: Path) -> None:
    """What an unmounted disk or a lost directory of dotfiles had said counts."""
    path = tmp_path / "config.toml"
    path.symlink_to("dotfiles/config.toml")
    assert _refusal(read_text, path) == (
        f"cannot read {path}: it is a link to dotfiles/config.toml, which does not exist",
        f"restore that file, or remove the link: `rm {path}`",
    )


def test_nor_does_a_link_to_a_directory_that_leads_nowhere(tmp_path: Path) -> None:
    """One that leads to a directory without that file does."""
    link = tmp_path / "config"
    link.symlink_to("dotfiles")
    for path in (link / "config.toml", link / "more" / "config.toml"):
        assert _refusal(read_text, path) == (
            f"cannot read {path}: {link} is a link to dotfiles, which does not exist",
            f"restore that directory, or remove the link: `rm {link}`",
        )
    (tmp_path / "dotfiles").mkdir()
    assert read_text(link / "config.toml") is None


def test_remove_says_whether_there_was_a_file(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("x")
    link.symlink_to(path)
    assert [remove(link), path.exists(), remove(path), remove(path)] == [True, True, True, False]
    assert _refusal(remove, tmp_path) == (f"cannot remove {tmp_path}: Is a directory", IN_ITS_PLACE)


def test_make_directory(tmp_path: Path) -> None:
    path = tmp_path / "a/b"
    assert [make_directory(path), make_directory(path), path.is_dir()] == [path, path, True]
    assert [_mode(path), _mode(path.parent)] == [0o700, 0o700]
    taken = tmp_path / "file"
    taken.touch()
    assert _refusal(make_directory, taken) == (
        f"cannot create the directory {taken}: File exists",
        IN_ITS_PLACE,
    )


_HOLD = """
import sys
from pathlib import Path
from pypi_insiders.util.files import locked
def tell(what): print(sys.argv[2], what, flush=True)
with locked(Path(sys.argv[1]), on_wait=lambda: tell("waits")):
    tell("has it")
    sys.stdin.read()
    tell("lets go")
"""


@contextmanager
def _holders(path: Path, *names: str) -> Iterator[tuple[TextIO, list[subprocess.Popen[bytes]]]]:
    """Start processes that take the lock, and hold it until their standard input ends.

    What they tell comes through one pipe, so that its order is that of the events. Each is started
    when the one before has told something.
    """
    reader, writer = os.pipe()
    with contextlib.ExitStack() as stack:
        pipe = stack.enter_context(os.fdopen(reader, buffering=1))
        processes = []
        for name in names:
            processes.append(
                stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-c", _HOLD, path, name],
                        stdin=subprocess.PIPE,
                        stdout=writer,
                    )
                )
            )
            stack.callback(processes[-1].kill)
            expected = "has it" if name == names[0] else "waits"
            assert pipe.readline() == f"{name} {expected}\n"
        os.close(writer)
        yield pipe, processes


def test_a_second_process_says_so_and_waits_until_the_first_lets_go(tmp_path: Path) -> None:
    with _holders(tmp_path / "made/lock", "1st", "2nd") as (pipe, (first, second)):
        for process in (second, first):
            assert process.stdin is not None
            process.stdin.close()
        assert pipe.read() == "1st lets go\n2nd has it\n2nd lets go\n"
        assert (first.wait(), second.wait()) == (0, 0)


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    with _holders(tmp_path / "lock", "1st", "2nd") as (pipe, (first, _)):
        first.kill()
        assert pipe.readline() == "2nd has it\n"


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    waiting, got = threading.Event(), threading.Event()

    def second() -> None:
        with locked(path, on_wait=waiting.set):
            got.set()

    thread = threading.Thread(target=second)
    with locked(path):
        thread.start()
        assert waiting.wait(100)
        assert not got.is_set()
    thread.join(100)
    assert got.is_set()


def test_the_lock_is_released_after_an_error_and_nobody_waits_for_a_free_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"
    waited: list[str] = []
    with pytest.raises(ZeroDivisionError), locked(path):
        raise ZeroDivisionError
    with locked(path, on_wait=lambda: waited.append("waited")):
        assert waited == []


def test_a_lock_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InsidersError) as caught, locked(tmp_path):
        pass
    assert caught.value.message == f"cannot lock {tmp_path}: Is a directory"


def test_a_program_that_is_started_meanwhile_does_not_inherit_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                                 close_fds=False)  # fmt: skip
    try:
        held = {os.path.realpath(entry) for entry in Path(f"/proc/{child.pid}/fd").iterdir()}
        assert str(path) not in held
    finally:
        child.communicate(b"\n")


def deep(root: Path, levels: int, name: str = "d") -> None:
    """Make directories in each other, so deep that no path leads to the last."""
    descriptor = os.open(root, os.O_DIRECTORY)
    for level in range(levels):
        os.mkdir(name, dir_fd=descriptor)
        inner = os.open(name, os.O_DIRECTORY, dir_fd=descriptor)
        if level % 10 == 0:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


@pytest.mark.usefixtures("removed")
@pytest.mark.parametrize("remove", [trees.remove_tree, trees.remove_foreign_tree])
def test_a_tree_goes_however_deep_it_is(tmp_path: Path, remove: Callable[[Path], object]) -> None:
    """Deeper than Python calls, paths and open files go; of two branches and with links in it."""
    tree = tmp_path / "tree"
    (tree / "other").mkdir(parents=True)
    deep(tree, 300, "name-of-a-directory")
    deep(tree / "other", 300)
    (tree / ".removed-0").mkdir()
    (tree / ".removed-0/file").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tree / "link").symlink_to(tmp_path / "kept")
    (tree / "other/link").symlink_to(tmp_path / "kept")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    calls = sys.getrecursionlimit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        remove(tree)
    finally:
        sys.setrecursionlimit(calls)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not tree.exists()
    assert (tmp_path / "kept/file").exists()


def test_what_foreign_code_has_closed_is_opened(tmp_path: Path) -> None:
    """Directories without any permission go too, in each other."""
    tree = tmp_path / "tree"
    inner = tree / "a/b/c"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    for path in (inner, inner.parent, inner.parent.parent, tree):
        path.chmod(0)
    trees.remove_foreign_tree(tree)
    assert not tree.exists()
