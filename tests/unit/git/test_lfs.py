"""lfs: files of Git LFS, from hosts that serve them and from a directory."""

import hashlib
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures import Person, Watch, need
from githost import TOKEN, GitHost, access, make_host
from projects import Project, create, git

from pypi_insiders import git as remotes
from pypi_insiders.git import Access, UnfitError, UnreachableError, lfs
from pypi_insiders.util.disk_reserve import DiskFullError, Guard
from pypi_insiders.util.errors import InsidersError

__all__ = ["access", "make_host"]  # fixtures

_ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"


def add(project: Project, path: str, content: bytes) -> str:
    """Add a pointer to a tree, and its file to what the host serves; return the SHA-256."""
    oid = hashlib.sha256(content).hexdigest()
    (project.tree / ".gitattributes").write_text(_ATTRIBUTES)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
    target = project.tree / path
    target.parent.mkdir(exist_ok=True)
    target.write_text(pointer)
    stored = project.remote / "lfs/objects" / oid[:2] / oid[2:4] / oid
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_bytes(content)
    return oid


def export(url: str, commit: str, directory: Path, access: Access = remotes.GITS_OWN) -> Path:
    """Fetch and check out a commit with its files of Git LFS; return the tree."""
    mirror, tree = directory / "mirror.git", directory / "tree"
    remotes.fetch(url, mirror, access)
    remotes.bring(mirror, commit, access, has_lfs=True)
    remotes.export(mirror, commit, tree, access, has_lfs=True)
    return tree


def test_files_come_from_the_host_of_the_repository_alone(
    tmp_path: Path, make_host: Callable[..., GitHost], access: Access
) -> None:
    """With its token, and whatever the repository names in `.lfsconfig`."""
    need("git-lfs")
    project, other = create(tmp_path, "probe"), make_host()
    add(project, "model.bin", b"one")
    add(project, "data/größe\n.bin", b"two")
    (project.tree / "data/whole.bin").write_text("not a pointer")
    (project.tree / "data/link.bin").symlink_to("whole.bin")
    (project.tree / "model.bin").chmod(0o755)
    (project.tree / ".lfsconfig").write_text(
        f"[lfs]\n\turl = {other.url}/me/probe.git/info/lfs\n\tfetchexclude = *\n"
        f'[remote "origin"]\n\tlfsurl = {other.url}/me/probe.git/info/lfs\n'
    )
    # Before the last commit: its files are not of this release.
    add(project, "old.bin", b"old")
    project.release("0.9")
    (project.tree / "old.bin").unlink()
    commit, host = project.release("1.0"), make_host(token=TOKEN)
    # With a branch of that name, git-lfs would find `.lfsconfig` there.
    git(project.remote, "tag", "main", commit)
    mirror = tmp_path / "mirror.git"
    remotes.fetch(f"{host.url}/me/probe.git", mirror, access)
    git(mirror, "update-ref", "refs/heads/main", commit)
    git(mirror, "symbolic-ref", "HEAD", "refs/heads/main")
    tree = export(f"{host.url}/me/probe.git", commit, tmp_path, access)
    assert (tree / "model.bin").read_bytes() == b"one"
    assert (tree / "model.bin").stat().st_mode & 0o777 == 0o755
    assert (tree / "data/größe\n.bin").read_bytes() == b"two"
    assert (tree / "data/whole.bin").read_text() == "not a pointer"
    assert (tree / "data/link.bin").is_symlink()
    assert git(tree, "describe", "--tags", "--dirty") == "v1.0"
    assert set(host.passwords) == {TOKEN}
    assert other.requests == []
    assert len(list((mirror / "lfs/objects").rglob("?" * 64))) == 2


def test_files_of_a_repository_on_this_machine_are_copied(tmp_path: Path, gitconfig: Path) -> None:
    """git-lfs itself serves them; they are fetched again if the mirror has lost them."""
    need("git-lfs")
    project = create(tmp_path, "probe")
    oid = add(project, "model.bin", b"one")
    commit = project.release("1.0")
    assert (export(project.url, commit, tmp_path) / "model.bin").read_bytes() == b"one"
    stored = tmp_path / f"mirror.git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}"
    stored.unlink()
    remotes.export(tmp_path / "mirror.git", commit, tmp_path / "again", has_lfs=True)
    assert (tmp_path / "again/model.bin").read_bytes() == b"one"
    stored.write_bytes(b"two")
    with pytest.raises(InsidersError) as caught:
        remotes.export(tmp_path / "mirror.git", commit, tmp_path / "damaged", has_lfs=True)
    assert caught.value.message == "the file of Git LFS for model.bin is damaged"
    assert caught.value.hint == f"`rm {stored}`; the next update fetches it again"
    assert not (tmp_path / "damaged/model.bin").exists()


def write_pointer(project: Project, oid: str, size_bytes: int) -> str:
    """Release a pointer with a size; return the commit."""
    (project.tree / "model.bin").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size_bytes}\n"
    )
    return project.release(f"2.{size_bytes}")


def test_a_pointer_with_a_wrong_size_is_the_fault_of_its_tag(
    tmp_path: Path, gitconfig: Path
) -> None:
    """And not of a disk, on which no file would ever have room."""
    need("git-lfs")
    project = create(tmp_path, "probe")
    oid = add(project, "model.bin", b"one")
    export(project.url, project.release("1.0"), tmp_path)
    mirror = tmp_path / "mirror.git"
    stored = mirror / f"lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}"
    for size_bytes, message in {
        0: "the pointer of Git LFS model.bin has size 0",
        2: "the file of Git LFS for model.bin has 3 bytes, but its pointer states 2",
        4: "the file of Git LFS for model.bin has 3 bytes, but its pointer states 4",
        10**17: "the pointer of Git LFS model.bin has size 100000000000000000",
    }.items():
        commit = write_pointer(project, oid, size_bytes)
        remotes.fetch(project.url, mirror)
        with pytest.raises(UnfitError) as caught:
            remotes.export(mirror, commit, tmp_path / str(size_bytes), has_lfs=True)
        assert caught.value.message == message
        expected = f"if it is damaged, remove it to fetch it again: `rm {stored}`"
        assert caught.value.hint == (expected if "bytes" in message else None)


def test_the_copies_of_files_are_bounded_in_time_and_in_space(
    tmp_path: Path, gitconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As git is that writes all others."""
    need("git-lfs")
    project = create(tmp_path, "probe")
    commit = add(project, "model.bin", b"one") and project.release("1.0")
    export(project.url, commit, tmp_path)
    mirror = tmp_path / "mirror.git"
    with monkeypatch.context() as patch:
        patch.setattr(lfs, "FETCH_TIMEOUT_S", 0)
        with pytest.raises(InsidersError, match=r"^copying the files of Git LFS took too long$"):
            remotes.export(mirror, commit, tmp_path / "late", has_lfs=True)
    oid = "0" * 64
    commit = write_pointer(project, oid, 1024**3)
    stored = mirror / f"lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}"
    stored.parent.mkdir(parents=True)
    with stored.open("wb") as file:
        file.truncate(1024**3)
    remotes.fetch(project.url, mirror)
    guard = Guard(Guard(0).left_bytes(tmp_path) - 512 * 1024**2)
    with guard.guarding(tmp_path), pytest.raises(DiskFullError, match=r"^1\.0 GiB required, "):
        remotes.export(mirror, commit, tmp_path / "full", has_lfs=True)


def test_files_that_no_release_uses_any_more_are_removed(
    tmp_path: Path, gitconfig: Path, make_host: Callable[..., GitHost]
) -> None:
    """After the two weeks of `git gc`, as the next release may have them too; links at once."""
    need("git-lfs")
    project, host = create(tmp_path, "probe"), make_host()
    before = [add(project, "both.bin", b"both"), add(project, "old.bin", b"old")]
    first = project.release("1.0")
    (project.tree / "old.bin").unlink()
    second = add(project, "new.bin", b"new") and project.release("2.0")
    url, mirror = f"{host.url}/me/probe.git", tmp_path / "mirror.git"
    # A place for all repositories of the user is none of this program.
    git(tmp_path, "config", "--file", str(gitconfig), "lfs.storage", str(tmp_path / "shared"))
    export(url, first, tmp_path)
    assert not (tmp_path / "shared").exists()
    both, old = (mirror / f"lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}" for oid in before)

    def again(name: str, commit: str, *, has_lfs: bool = True) -> list[bool]:
        for file in (both, old):
            if file.exists():
                os.utime(file, (1, 1))
        remotes.export(mirror, commit, tmp_path / name, has_lfs=has_lfs)
        return [both.exists(), old.exists()]

    os.utime(old)
    remotes.export(mirror, second, tmp_path / "recent", has_lfs=True)
    assert old.exists(), "for two weeks"
    assert again("later", second) == [True, False]
    assert both.stat().st_mtime > 1, "used now"
    # It is fetched again.
    assert again("back", first) == [True, True]
    assert again("without", first, has_lfs=False) == [False, False]
    gitconfig.unlink()
    # A link takes no room, and its time is that of the repository.
    remotes.fetch(project.url, mirror)
    remotes.export(mirror, first, tmp_path / "linked", has_lfs=True)
    assert old.stat().st_nlink > 1
    at = old.stat().st_mtime
    remotes.export(mirror, first, tmp_path / "linked-again", has_lfs=True)
    assert old.stat().st_mtime == at
    remotes.export(mirror, second, tmp_path / "unlinked", has_lfs=True)
    assert (old.exists(), (project.remote / "lfs/objects").exists()) == (False, True)


@pytest.mark.parametrize(("kind", "number"), [("link", 0), ("link", 1), ("FIFO", 1), ("link", 2)])
def test_a_file_that_its_owner_replaces_leads_to_no_other_of_the_user(
    tmp_path: Path, gitconfig: Path, kind: str, number: int
) -> None:
    """Before it is opened (0), at that moment (1), or when it is opened a second time."""
    need("git-lfs")
    project = create(tmp_path, "probe")
    oid = add(project, "model.bin", b"one")
    commit = project.release("1.0")
    export(project.url, commit, tmp_path)
    stored = tmp_path / f"mirror.git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}"
    secret, opened = tmp_path / "secret", list[None]()
    secret.write_bytes(b"two")

    def replace() -> None:
        stored.unlink()
        stored.symlink_to(secret) if kind == "link" else os.mkfifo(stored)

    def on_event(event: str, arguments: tuple[object, ...]) -> None:
        # A hook stays for the life of the process; this path is of this test alone.
        if event == "open" and str(arguments[0]) == str(stored) and len(opened) < number:
            opened.append(None)
            if len(opened) == number:
                replace()

    if number == 0:
        replace()
    else:
        sys.addaudithook(on_event)
    tree = tmp_path / "again"
    if number == 2:
        remotes.export(tmp_path / "mirror.git", commit, tree, has_lfs=True)
        assert (tree / "model.bin").read_bytes() == b"one"
        return
    with pytest.raises(InsidersError) as caught:
        remotes.export(tmp_path / "mirror.git", commit, tree, has_lfs=True)
    assert caught.value.message.endswith(
        ": Too many levels of symbolic links"
        if (kind, number) == ("link", 1)
        else "the file of Git LFS for model.bin is not a regular file"
    )
    assert (tree / "model.bin").read_text().startswith("version ")


def test_what_the_host_lacks_or_refuses_is_told(
    tmp_path: Path, make_host: Callable[..., GitHost], access: Access
) -> None:
    """In one line, with what may help; the mirror stays as it is."""
    need("git-lfs")
    project = create(tmp_path, "probe")
    oid = add(project, "model.bin", b"one")
    commit, host = project.release("1.0"), make_host(token=TOKEN)
    shutil.rmtree(project.remote / "lfs")
    with pytest.raises(UnfitError, match=rf"^the host lacks files of Git LFS \(.*{oid}"):
        export(f"{host.url}/me/probe.git", commit, tmp_path, access)
    (tmp_path / "copied").mkdir()
    with pytest.raises(UnfitError, match=rf"^the host lacks files of Git LFS \(.*{oid}"):
        export(project.url, commit, tmp_path / "copied")
    mirror = tmp_path / "mirror.git"
    made_at = mirror.stat().st_ino
    host.token = "another"
    host.requests.clear()
    with pytest.raises(InsidersError, match=r"^no access") as refused:
        remotes.bring(mirror, commit, access, has_lfs=True)
    assert refused.value.hint == (
        f"check that the token in {access.token_file} is valid for this repository"
    )
    # git-lfs would ask for the token again, and send it again, for as long as it may run.
    assert len(host.requests) < 5
    host.status = 503
    with pytest.raises(
        UnreachableError, match=r"^the host fails \(.*Server error from HTTP 503\)$"
    ):
        remotes.bring(mirror, commit, access, has_lfs=True)
    host.close()
    with pytest.raises(UnreachableError):
        remotes.bring(mirror, commit, access, has_lfs=True)
    assert mirror.stat().st_ino == made_at


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/me/probe", "https://host/me/probe.git/info/lfs"),
        ("https://host:8443/me/probe.git/", "https://host:8443/me/probe.git/info/lfs"),
        ("http://host/me/probe", "http://host/me/probe.git/info/lfs"),
        ("git://host/me/probe.git", "https://host/me/probe.git/info/lfs"),
        ("ssh://git@host/me/probe.git", "ssh://git@host/me/probe.git"),
        ("git@host:me/probe.git", "git@host:me/probe.git"),
        ("file:///srv/probe.git", "file:///srv/probe.git"),
    ],
)
def test_the_server_of_a_repository_is_where_git_lfs_finds_it(url: str, expected: str) -> None:
    """Without its settings, one of which names another."""
    assert lfs.endpoint(url) == expected


def test_a_release_gets_its_files_on_request(person: Person, watch: Watch) -> None:
    """What a wheel with pointers is refused with leads there."""
    project = watch("probe")
    project.write("1.0")
    add(project, "probe/model.bin", b"one")
    project.push("v1.0")
    told = person.run("update", status=1).stderr.splitlines()
    assert told[-2:] == [
        "error: me/probe: tag v1.0: probe-1.0-py3-none-any.whl has pointers of Git LFS in place "
        "of files: probe/model.bin",
        "hint: `pypi-insiders repos set me/probe lfs=true` fetches the files of Git LFS, with "
        "git-lfs",
    ]
    person.run("repos", "set", "me/probe", "lfs=true")
    # Git alone: it looks for git-lfs on the PATH, too.
    alone = person.home / "bin"
    alone.mkdir()
    (alone / "git").symlink_to(need("git"))
    assert person.run("update", status=1, PATH=str(alone)).stderr.splitlines()[-2:] == [
        "error: me/probe: tag v1.0: git-lfs was not found, which `lfs = true` requires",
        "hint: install git-lfs: nearly all systems have it as package `git-lfs`",
    ]
    need("git-lfs")
    person.run("update")
    with zipfile.ZipFile(person.paths.distributions / "probe-1.0-py3-none-any.whl") as wheel:
        assert wheel.read("probe/model.bin") == b"one"
    project.write("2.0")
    add(project, "probe/model.bin", b"two")
    shutil.rmtree(project.remote / "lfs")
    project.push("v2.0")
    for again in (r"\)$", r"\) \(failed before; next try after "):
        lines = person.run("update", status=1).stderr.splitlines()
        (line,) = [line for line in lines if line.startswith("error: ")]
        assert re.search(rf"^error: me/probe: tag v2.0: the host lacks files .*{again}", line)
