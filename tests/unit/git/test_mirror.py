"""remotes: real git on real repositories."""

import contextlib
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures import COMMAND, Person, free_port, need
from githost import TOKEN, GitHost, access, make_host
from projects import Project, create, git

from pypi_insiders import git as remotes
from pypi_insiders.git import Access, UnreachableError, submodules
from pypi_insiders.util.errors import InsidersError

__all__ = ["access", "make_host"]  # fixtures

pytestmark = pytest.mark.usefixtures("gitconfig")


def test_tags_name_their_commits_annotated_or_not(tmp_path: Path) -> None:
    """A tag object is followed to its commit."""
    project = create(tmp_path, "probe")
    first = project.release("1.0", annotated=True)
    second = project.release("1.1", annotated=False)
    assert remotes.list_tags(project.url) == {"v1.0": first, "v1.1": second}


def test_a_repository_without_tags_has_none(tmp_path: Path) -> None:
    """An empty repository is no error."""
    assert remotes.list_tags(create(tmp_path, "probe").url) == {}


def test_the_message_of_a_tag_is_read_if_it_has_one(tmp_path: Path) -> None:
    """Not that of the commit; and no other tag whose name begins the same."""
    project = create(tmp_path, "probe")
    project.release("1.0", annotated=False)
    message = "Version 1.1\n\n- faster\n\n  - indented"
    git(project.tree, "tag", "--annotate", "--message", message, "v1.1")
    git(project.tree, "tag", "--annotate", "--message", "another", "v1.1.1")
    project.send()
    mirror = tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)
    found = [remotes.tag_message(mirror, tag) for tag in ("v1.0", "v1.1", "v1", "none")]
    assert found == ["", message, "", ""]


def test_an_export_is_a_clean_tree_with_history_and_tags(tmp_path: Path) -> None:
    """`git describe` tells the tag in the exported tree, whose time is the commit's."""
    project = create(tmp_path, "probe")
    commit = project.release("1.0")
    project.release("1.1")
    mirror, tree = tmp_path / "mirror.git", tmp_path / "tree"
    for _ in range(2):
        remotes.fetch(project.url, mirror)
    assert remotes.export(mirror, commit, tree) == int(
        git(project.tree, "show", "-s", "--format=%ct", commit)
    )
    assert git(tree, "describe") == "v1.0"
    assert git(tree, "status", "--porcelain") == ""
    assert (tree / "probe/__init__.py").read_text().count('"1.0"') == 1


def test_the_repository_around_us_and_its_hooks_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`GIT_DIR` of a surrounding git command does not lead astray."""
    project = create(tmp_path, "probe")
    commit = project.release("1.0")
    monkeypatch.setenv("GIT_DIR", str(create(tmp_path, "other").tree / ".git"))
    assert remotes.list_tags(project.url) == {"v1.0": commit}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "file:///nonexistent/repository.git",
            "repository not found, or no access to it ('/nonexistent/repository.git' does not "
            "appear "
            "to be a git repository)",
        ),
        (
            "https://nowhere.invalid/me/probe.git",
            "cannot resolve the name of the host (unable to access "
            "'https://nowhere.invalid/me/probe.git/': Could not resolve host: nowhere.invalid)",
        ),
        (
            "ssh://git@nowhere.invalid/me/probe.git",
            "cannot resolve the name of the host (ssh: Could not resolve hostname nowhere.invalid: "
            "Name or service not known)",
        ),
        (
            "ext::sh -c true",
            "this transport is not allowed (transport 'ext' not allowed)",
        ),
    ],
)
def test_what_git_cannot_do_is_said_in_words(url: str, message: str) -> None:
    """The message names the reason, and git's own line."""
    if url.startswith("ssh:"):
        need("ssh")
    with pytest.raises(InsidersError) as caught:
        remotes.list_tags(url)
    assert caught.value.message == message
    assert isinstance(caught.value, UnreachableError) == ("cannot resolve" in message)


def test_a_closed_port_is_an_unreachable_host() -> None:
    """Nobody listens: the host is unreachable."""
    with pytest.raises(UnreachableError, match=r"^host unreachable "):
        remotes.list_tags(f"https://127.0.0.1:{free_port()}/me/probe.git")


def test_git_never_asks_on_the_terminal(
    person: Person, make_host: Callable[..., GitHost], tmp_path: Path
) -> None:
    """Where git wants a password and a terminal is there, the update fails at once, in words."""
    url = f"{make_host(token=TOKEN).url}/me/probe.git"
    person.run("repos", "add", "me/probe", "--url", url)
    done = subprocess.run(
        [need("script"), "--quiet", "--return", "--command", f"{COMMAND} update", os.devnull],
        env={**person.environment, "GIT_SSL_CAINFO": str(tmp_path / "certificate.pem")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: me/probe: no access: git has no credentials for the host" in done.stdout


def sparing(project: Project) -> Project:
    """Let the host of a project leave out the content of files, as forges do."""
    git(project.remote, "config", "uploadpack.allowFilter", "true")
    return project


def blobs(mirror: Path) -> list[str]:
    """Name the blobs that a mirror has."""
    listed = git(mirror, "cat-file", "--batch-all-objects", "--batch-check")
    return [line.split()[0] for line in listed.splitlines() if line.split()[1] == "blob"]


def complaint(error: pytest.ExceptionInfo[InsidersError]) -> str:
    """The whole of what a person gets to read."""
    return f"{error.value.message}; {error.value.hint}"


def offline(tree: Path, *arguments: str) -> str:
    """Run git in a tree where no transport is allowed."""
    return git(tree, *arguments, GIT_ALLOW_PROTOCOL="none")


@pytest.mark.parametrize("filters", [True, False])
def test_a_mirror_has_the_content_of_what_was_built_only(tmp_path: Path, filters: bool) -> None:
    """Where the host can leave it out; where it cannot, all is there and works as well."""
    project = create(tmp_path, "probe")
    if filters:
        sparing(project)
    commits = [project.release(f"1.{minor}") for minor in range(5)]
    mirror = tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)
    # pyproject.toml and __init__.py of each, and buildapi.py
    assert len(blobs(mirror)) == (0 if filters else 11)
    remotes.export(mirror, commits[3], tmp_path / "tree")
    assert len(blobs(mirror)) == (3 if filters else 11)
    remotes.fetch(project.url, mirror)
    assert len(blobs(mirror)) == (3 if filters else 11)


def test_a_release_that_renames_files_needs_none_of_older_commits(tmp_path: Path) -> None:
    """Git would compare them to find what was renamed, as for a changelog made of fragments."""
    project = sparing(create(tmp_path, "probe"))
    fragment, changelog = project.tree / "1.feature.rst", project.tree / "changelog-2.rst"
    fragment.write_text("Adds a feature of which much is to be told.\n" * 9)
    project.release("1.0")
    changelog.write_text(fragment.read_text() + "2.0\n")
    fragment.unlink()
    commit = project.release("2.0")
    mirror = tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)
    remotes.export(mirror, commit, tmp_path / "tree")
    assert (tmp_path / "tree" / changelog.name).exists()


def test_an_export_fetches_what_is_missing_over_one_connection(
    tmp_path: Path, make_host: Callable[..., GitHost]
) -> None:
    """However many files there are; and over none where nothing is missing."""
    project, host = sparing(create(tmp_path, "probe")), make_host()
    for number in range(60):
        place = project.tree / f"d{number % 6}" / f"{number}.txt"
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"{number}\n")
    commit = project.release("1.0")
    mirror = tmp_path / "mirror.git"
    remotes.fetch(f"{host.url}/me/probe.git", mirror)
    assert host.connections == 1
    remotes.export(mirror, commit, tmp_path / "tree")
    assert host.connections == 2
    assert host.requests[-2:] == [
        "GET /me/probe.git/info/refs?service=git-upload-pack",
        "POST /me/probe.git/git-upload-pack",
    ]
    remotes.export(mirror, commit, tmp_path / "again")
    assert host.connections == 2
    assert len(list((tmp_path / "again").glob("d*/*.txt"))) == 60


def test_a_host_that_gives_no_single_file_gives_all(tmp_path: Path, gitconfig: Path) -> None:
    """With the protocol as it was, a host may refuse what none of its refs names."""
    gitconfig.write_text("[protocol]\n\tversion = 0\n")
    project = sparing(create(tmp_path, "probe"))
    commit, mirror = project.release("1.0"), tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)
    assert blobs(mirror) == []
    remotes.export(mirror, commit, tmp_path / "tree")
    assert git(tmp_path / "tree", "status", "--porcelain") == ""


def test_in_a_tree_git_needs_neither_network_nor_remote(tmp_path: Path) -> None:
    """Whatever backends ask works when the repository is gone, and nothing says where it was."""
    project = sparing(create(tmp_path, "probe"))
    project.release("1.0")
    commit, mirror, tree = project.release("1.1"), tmp_path / "mirror.git", tmp_path / "tree"
    remotes.fetch(project.url, mirror)
    epoch_s = remotes.export(mirror, commit, tree)
    shutil.rmtree(project.remote)
    git(mirror, "remote", "remove", "origin")
    assert offline(tree, "describe", "--tags", "--long", "--dirty", "--always").startswith(
        "v1.1-0-g"
    )
    assert offline(tree, "status", "--porcelain", "--ignored") == ""
    assert offline(tree, "diff-index", "HEAD") == ""
    assert offline(tree, "log", "--format=%s", "--", "pyproject.toml") == "v1.1\nv1.0"
    assert offline(tree, "tag", "--merged", "HEAD") == "v1.0\nv1.1"
    assert offline(tree, "ls-files", "--recurse-submodules").split() == [
        "buildapi.py", "probe/__init__.py", "pyproject.toml",
    ]  # fmt: skip
    offline(tree, "archive", "--output", str(tmp_path / "sources.tar"), "HEAD")
    assert offline(tree, "remote") == ""
    assert str(project.remote) not in (tree / ".git/config").read_text()
    paths = [tree, *(path for path in tree.rglob("*") if ".git" not in path.parts)]
    assert {path.stat().st_mtime for path in paths} == {epoch_s}
    assert {oct(path.stat().st_mode)[-3:] for path in paths if path.is_file()} == {"644"}


def test_the_person_s_settings_do_not_change_a_tree(
    tmp_path: Path, gitconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither ends of lines, attributes, filters, hooks nor a mask; a link stays a link."""
    project = sparing(create(tmp_path, "probe"))
    (project.tree / "link").symlink_to("pyproject.toml")
    (project.tree / ".gitattributes").write_text("*.toml filter=shout\n*.bin filter=lfs\n")
    (project.tree / "script").write_text("#!/bin/sh\n")
    (project.tree / "script").chmod(0o755)
    commit = project.release("1.0")
    (tmp_path / "hooks").mkdir()
    for name in ("post-checkout", "reference-transaction"):
        hook = tmp_path / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
        hook.chmod(0o755)
    (tmp_path / "attributes").write_text("*.py text eol=crlf\n")
    gitconfig.write_text(
        f"[core]\n\tautocrlf = true\n\thooksPath = {hook.parent}\n"
        f"\tattributesFile = {tmp_path}/attributes\n\tsymlinks = false\n"
        f"\tfsmonitor = {hook}\n[init]\n\ttemplateDir = {tmp_path}\n"
        '[filter "shout"]\n\tsmudge = tr a-z A-Z\n\trequired = true\n'
        "[safe]\n\tbareRepository = explicit\n[status]\n\tshort = true\n"
    )
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.autocrlf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    mirror, tree = tmp_path / "mirror.git", tmp_path / "tree"
    mask = os.umask(0o077)
    try:
        remotes.fetch(project.url, mirror)
        remotes.export(mirror, commit, tree)
    finally:
        os.umask(mask)
    for path in ("pyproject.toml", "probe/__init__.py", ".gitattributes"):
        assert (tree / path).read_bytes() == (project.tree / path).read_bytes()
        assert oct((tree / path).stat().st_mode)[-3:] == "644"
    assert oct((tree / "script").stat().st_mode)[-3:] == "755"
    assert oct((tree / "probe").stat().st_mode)[-3:] == "755"
    assert (tree / "link").readlink() == Path("pyproject.toml")
    assert not (tmp_path / "hooked").exists()
    assert git(tree, "status", "--porcelain") == ""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "0")
    (tmp_path / "other").write_text("[core]\n\tautocrlf = true\n")
    (tree / "pyproject.toml").unlink()
    git(tree, "checkout-index", "--all", GIT_CONFIG_GLOBAL=str(tmp_path / "other"))
    assert b"\r" not in (tree / "pyproject.toml").read_bytes()


def test_files_that_no_checkout_makes_as_committed_are_not_dirty(tmp_path: Path) -> None:
    """CRLF was committed, and attributes want that it had not been."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    (project.tree / "notes.txt").write_bytes(b"one\r\ntwo\r\n")
    git(project.tree, "add", "--all")
    (project.tree / ".gitattributes").write_text("*.txt text\n")
    git(project.tree, "add", ".gitattributes")
    git(project.tree, "commit", "--quiet", "--message", "v1.0")
    git(project.tree, "tag", "v1.0")
    git(project.tree, "push", "--quiet", "origin", "HEAD", "--tags")
    mirror, tree = tmp_path / "mirror.git", tmp_path / "tree"
    remotes.fetch(project.url, mirror)
    remotes.export(mirror, git(project.tree, "rev-parse", "HEAD"), tree)
    assert (tree / "notes.txt").read_bytes() == b"one\r\ntwo\r\n"
    assert offline(tree, "describe", "--tags", "--dirty") == "v1.0"
    assert offline(tree, "status", "--porcelain") == ""


def test_pointers_of_git_lfs_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They stay what they are, and the log names them."""
    project = create(tmp_path, "probe")
    (project.tree / ".gitattributes").write_text("*.bin filter=lfs\n")
    (project.tree / "model.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    commit, mirror = project.release("1.0"), tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)
    remotes.export(mirror, commit, tmp_path / "tree")
    assert "in place of 1 file:" in caplog.text
    assert "model.bin" in caplog.text


def test_tags_that_moved_or_vanished_do_so_in_the_mirror(tmp_path: Path) -> None:
    """What the repository says now is what counts."""
    project = sparing(create(tmp_path, "probe"))
    project.release("1.0")
    project.release("1.1")
    mirror = tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)
    project.write("1.0.1")
    commit = project.push("v1.0", force=True)
    git(project.remote, "tag", "--delete", "v1.1")
    remotes.fetch(project.url, mirror)
    assert git(mirror, "tag") == "v1.0"
    assert git(mirror, "rev-parse", "v1.0^{commit}") == commit


def test_a_full_mirror_as_it_was_made_before_goes_on(tmp_path: Path) -> None:
    """It has no remote, and all content; new content comes as for any other."""
    project = sparing(create(tmp_path, "probe"))
    first, mirror = project.release("1.0"), tmp_path / "mirror.git"
    git(tmp_path, "init", "--quiet", "--bare", "mirror.git")
    git(mirror, "fetch", "--quiet", project.url, "+refs/tags/*:refs/tags/*")
    second = project.release("1.1")
    remotes.fetch(project.url, mirror)
    for number, commit in enumerate((first, second)):
        remotes.export(mirror, commit, tmp_path / f"tree-{number}")
        assert offline(tmp_path / f"tree-{number}", "describe") == f"v1.{number}"
    assert len(blobs(mirror)) == 5


def test_a_mirror_that_git_has_tidied_up_goes_on(tmp_path: Path) -> None:
    """What it lacks is not missed, and comes when it is needed."""
    project = sparing(create(tmp_path, "probe"))
    commits = [project.release(f"1.{minor}") for minor in range(3)]
    mirror = tmp_path / "mirror.git"
    for number, commit in enumerate(commits):
        remotes.fetch(project.url, mirror)
        remotes.export(mirror, commit, tmp_path / f"tree-{number}")
        git(mirror, "gc", "--quiet", "--prune=now", GIT_ALLOW_PROTOCOL="none")
        assert offline(tmp_path / f"tree-{number}", "describe", "--dirty") == f"v1.{number}"


def ruin_packs(mirror: Path) -> None:
    """Cut what holds the objects."""
    for path in mirror.glob("objects/pack/*.pack"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:20])


@pytest.mark.parametrize(
    "ruin",
    [
        ruin_packs,
        lambda mirror: [path.unlink() for path in mirror.glob("objects/pack/*")],
        lambda mirror: shutil.rmtree(mirror / "objects"),
        lambda mirror: (mirror / "packed-refs.lock").touch(),
        lambda mirror: (mirror / "config.lock").touch(),
        lambda mirror: (mirror / "config").write_text("[core\n"),
        lambda mirror: (mirror / "HEAD").unlink(),
        lambda mirror: git(mirror, "config", "remote.origin.url", "file:///nonexistent"),
    ],
    ids=["packs", "no-packs", "objects", "refs-lock", "config-lock", "config", "head", "moved"],
)
def test_a_damaged_mirror_is_made_anew(tmp_path: Path, ruin: Callable[[Path], None]) -> None:
    """And not found damaged at every update."""
    project = sparing(create(tmp_path, "probe"))
    project.release("1.0")
    project.release("1.1")
    mirror = tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)
    ruin(mirror)
    git(project.remote, "tag", "--delete", "v1.0")
    commit = project.release("1.2")
    git(project.remote, "tag", "--delete", "v1.0")
    remotes.fetch(project.url, mirror)
    remotes.export(mirror, commit, tmp_path / "tree")
    assert offline(tmp_path / "tree", "describe") == "v1.2"


def test_damage_that_only_an_export_finds_is_mended_there(tmp_path: Path) -> None:
    """The content of files is first read then."""
    project = sparing(create(tmp_path, "probe"))
    commit, mirror = project.release("1.0"), tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)
    remotes.export(mirror, commit, tmp_path / "first")
    ruin_packs(mirror)
    remotes.export(mirror, commit, tmp_path / "second")
    assert offline(tmp_path / "second", "describe") == "v1.0"
    assert offline(tmp_path / "second", "status", "--porcelain") == ""


def test_a_mirror_outlives_a_host_that_is_away(tmp_path: Path) -> None:
    """It is not thrown away before there is another; what it has can still be checked out."""
    project = sparing(create(tmp_path, "probe"))
    commit, mirror = project.release("1.0"), tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)
    remotes.export(mirror, commit, tmp_path / "first")
    with pytest.raises(UnreachableError):
        remotes.fetch(f"https://127.0.0.1:{free_port()}/me/probe.git", mirror)
    with pytest.raises(InsidersError, match="repository not found"):
        remotes.fetch("file:///nonexistent", mirror)
    (mirror / "packed-refs.lock").touch()
    (mirror / "config.lock").touch()
    with pytest.raises(UnreachableError):
        remotes.fetch(f"https://127.0.0.1:{free_port()}/me/probe.git", mirror)
    remotes.export(mirror, commit, tmp_path / "second")
    remotes.fetch(project.url, mirror)
    with pytest.raises(InsidersError, match=r"^commit 012345678 not found in the tags$"):
        remotes.export(mirror, "0123456789" * 4, tmp_path / "third")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_host_in_trouble_is_one_that_cannot_be_reached(
    tmp_path: Path, make_host: Callable[..., GitHost], status: int
) -> None:
    """Nothing is wrong with the access; a host that denies it can be reached."""
    create(tmp_path, "probe").release("1.0")
    host = make_host()
    host.status = status
    with pytest.raises(UnreachableError, match=r"^the host (?:fails|limits requests) "):
        remotes.list_tags(f"{host.url}/me/probe.git")
    for answer, message in ((403, r"^no access: "), (501, r"^the host or a proxy refuses ")):
        host.status = answer
        with pytest.raises(InsidersError, match=message) as caught:
            remotes.list_tags(f"{host.url}/me/probe.git")
        assert not isinstance(caught.value, UnreachableError)


@pytest.mark.parametrize("page", [b"<html>Sign in</html>", b"<html>\nSign in\n</html>\n"])
def test_a_sign_in_page_is_no_empty_list_of_tags(
    tmp_path: Path, make_host: Callable[..., GitHost], page: bytes
) -> None:
    """Git takes a page without line ends for a repository without tags."""
    host = make_host()
    host.page = page
    url = f"{host.url}/me/probe.git"
    reason = r"^no access: the host answers with a web page, such as a sign-in page \("
    with pytest.raises(InsidersError, match=reason) as caught:
        remotes.list_tags(url, Access(name="me/probe"))
    assert (caught.value.hint or "").endswith("`pypi-insiders repos set me/probe token-file=FILE`")
    host.page = None
    create(tmp_path, "probe")
    assert remotes.list_tags(url) == {}


def test_a_connection_that_breaks_is_no_damage(
    tmp_path: Path, make_host: Callable[..., GitHost]
) -> None:
    """It will pass; the mirror is not fetched again as a whole, which takes more of the same."""
    project, host = create(tmp_path, "probe"), make_host()
    project.release("1.0")
    url, mirror = f"{host.url}/me/probe.git", tmp_path / "mirror.git"
    remotes.fetch(url, mirror)
    host.is_cutting = True
    asked = len(host.requests)
    with pytest.raises(UnreachableError, match=r"^the connection to the host broke \("):
        remotes.fetch(url, mirror)
    assert len(host.requests) == asked + 1


@pytest.mark.parametrize(
    ("helper", "message"),
    [
        ("missing", "credential helper missing is not installed (git: 'credential-missing' is not "
                    "a git command. See 'git --help'.)"),
        ("PATH/slow", "credential helper PATH/slow does not answer"),
        ("!sleep 1000 & wait; true", "credential helper of credential.helper does not answer"),
    ],
)  # fmt: skip
def test_a_credential_helper_that_fails_is_named(
    make_host: Callable[..., GitHost], gitconfig: Path, tmp_path: Path, helper: str, message: str
) -> None:
    """Also one that waits for somebody; it is not the host that is away."""
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nsleep 1000\n:\n")
    slow.chmod(0o755)
    gitconfig.write_text(f'[credential]\n\thelper = "{helper.replace("PATH", str(tmp_path))}"\n')
    with pytest.raises(InsidersError) as caught:
        # Git has its answer from the host, and has started the helper, long before.
        remotes.list_tags(f"{make_host(token=TOKEN).url}/me/probe.git", timeout_s=2)
    assert caught.value.message == message.replace("PATH", str(tmp_path))
    assert (caught.value.hint or "").endswith(
        "`git config --show-origin --get-all credential.helper`"
    )
    assert not isinstance(caught.value, UnreachableError)


def test_a_token_opens_its_host_and_is_seen_by_nobody(
    tmp_path: Path,
    make_host: Callable[..., GitHost],
    access: Access,
    gitconfig: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not by who lists processes, not on the disk, not in the log, not by the person's helpers."""
    gitconfig.write_text(f'[credential]\n\thelper = "!f() {{ cat >>{tmp_path}/stored; }}; f"\n')
    caplog.set_level("DEBUG")
    project, host = sparing(create(tmp_path, "probe")), make_host(token=TOKEN)
    commit, mirror, tree = project.release("1.0"), tmp_path / "mirror.git", tmp_path / "tree"
    url, processes = f"{host.url}/me/probe.git", []

    def list_processes() -> None:
        for path in (*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")):
            try:
                processes.append(path.read_bytes())
            except OSError:  # it has ended
                continue

    host.on_request = list_processes
    assert remotes.list_tags(url, access) == {"v1.0": commit}
    remotes.fetch(url, mirror, access)
    remotes.export(mirror, commit, tree, access)
    assert set(host.passwords) == {TOKEN}
    assert any(b"PYPI_INSIDERS_TOKEN_FILE" in process for process in processes)
    assert not any(TOKEN.encode() in process for process in processes)
    for directory in (mirror, tree):
        for path in directory.rglob("*"):
            assert not (path.is_file() and TOKEN.encode() in path.read_bytes()), path
    assert "git" in caplog.text
    assert TOKEN not in caplog.text
    assert not (tmp_path / "stored").exists()


def test_without_a_token_file_git_s_own_credentials_open(
    tmp_path: Path, make_host: Callable[..., GitHost], person: Person, gitconfig: Path
) -> None:
    """A helper of the person, and ~/.netrc."""
    commit, host = create(tmp_path, "probe").release("1.0"), make_host(token=TOKEN)
    url = f"{host.url}/me/probe.git"
    gitconfig.write_text(f'[credential]\n\thelper = "!echo username=me; echo password={TOKEN};:"\n')
    assert remotes.list_tags(url) == {"v1.0": commit}
    gitconfig.unlink()
    (person.home / ".netrc").write_text(f"machine localhost login me password {TOKEN}\n")
    assert remotes.list_tags(url) == {"v1.0": commit}


def test_a_token_goes_to_no_other_host(
    tmp_path: Path, make_host: Callable[..., GitHost], access: Access
) -> None:
    """Not to where its host sends us, and not to the host of a submodule."""
    library, project = create(tmp_path, "library"), create(tmp_path, "probe")
    library.release("1.0")
    own, other = make_host(token=TOKEN), make_host()
    add_submodule(project, library, f"{other.url}/me/library.git", "library")
    commit, mirror = project.release("1.0"), tmp_path / "mirror.git"
    remotes.fetch(f"{own.url}/me/probe.git", mirror, access)
    remotes.export(mirror, commit, tmp_path / "tree", access)
    assert (tmp_path / "tree/library/pyproject.toml").exists()
    assert other.requests
    assert other.passwords == []

    own.elsewhere, other.token = other.url, "another"
    with pytest.raises(InsidersError, match=r"^no access: "):
        remotes.list_tags(f"{own.url}/me/probe.git", access)
    assert other.passwords == []


def test_http_is_used_where_it_is_allowed_only(
    tmp_path: Path, make_host: Callable[..., GitHost], access: Access
) -> None:
    """With the token, as the user said yes, and with submodules of the same host."""
    library, project = create(tmp_path, "library"), create(tmp_path, "probe")
    library.release("1.0")
    add_submodule(project, library, "../library.git", "library")
    commit = project.release("1.0")
    with contextlib.closing(GitHost(tmp_path / "git", None, TOKEN)) as host:
        url = f"{host.url}/me/probe.git"
        with pytest.raises(InsidersError, match=r"^this transport is not allowed \("):
            remotes.list_tags(url, access)
        assert host.passwords == []
        allowed = replace(access, insecure_http=True)
        remotes.fetch(url, tmp_path / "mirror.git", allowed)
        remotes.export(tmp_path / "mirror.git", commit, tmp_path / "tree", allowed)
        assert (tmp_path / "tree/library/pyproject.toml").exists()
        assert set(host.passwords) == {TOKEN}
        # A host of https still cannot lead there.
        secure = make_host()
        secure.elsewhere = host.url
        with pytest.raises(InsidersError, match=r"^this transport is not allowed \("):
            remotes.list_tags(f"{secure.url}/me/probe.git", allowed)


def test_a_wrong_token_is_named_by_its_file(
    tmp_path: Path, make_host: Callable[..., GitHost], access: Access
) -> None:
    """So that the person knows which."""
    create(tmp_path, "probe").release("1.0")
    with pytest.raises(InsidersError) as caught:
        remotes.list_tags(f"{make_host(token='another').url}/me/probe.git", access)
    assert caught.value.message.startswith("no access: the host does not accept the credentials")
    assert caught.value.hint == (
        f"check that the token in {access.token_file} is valid for this repository"
    )
    assert TOKEN not in complaint(caught)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (None, 0o600, "token file PATH not found; write the token into it, on one line"),
        ("", 0o600, "token file PATH is empty; write the token into it, on one line"),
        ("\n", 0o600, "token file PATH is empty; write the token into it, on one line"),
        ("a\nb\n", 0o600, "token file PATH contains more than a token; write the token into it, "
                          "on one line"),
        ("a\n", 0o640, "token file PATH is accessible by other users (mode 0640); "
                         "`chmod 600 PATH`"),
        ("a\n", 0o604, "token file PATH is accessible by other users (mode 0604); "
                         "`chmod 600 PATH`"),
    ],
)  # fmt: skip
def test_a_token_file_must_have_a_secret(
    tmp_path: Path, content: str | None, mode: int, message: str
) -> None:
    """What is wrong with it is said before anybody is asked."""
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(InsidersError) as caught:
        remotes.list_tags("https://nowhere.invalid/me/probe.git", Access(path))
    assert complaint(caught) == message.replace("PATH", str(path))


def test_a_token_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A directory stands for all that cannot be: root reads everything else."""
    with pytest.raises(InsidersError, match=r"^cannot read the token file .*: Is a directory$"):
        remotes.list_tags("https://nowhere.invalid/me/probe.git", Access(tmp_path))


def add_submodule(project: Project, other: Project, url: str, path: str) -> None:
    """Let a project have another one, as it is now, at a path, under a URL."""
    git(
        project.tree, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add",
        other.url, path,
    )  # fmt: skip
    git(project.tree, "config", "--file", ".gitmodules", f"submodule.{path}.url", url)
    git(project.tree, "submodule", "--quiet", "deinit", "--force", path)


@pytest.mark.parametrize("filters", [True, False])
def test_submodules_are_checked_out_as_recorded(tmp_path: Path, filters: bool) -> None:
    """Also one in another, by relative URLs; and git needs no network for them either."""
    inner, middle, outer = (create(tmp_path, name) for name in ("inner", "middle", "outer"))
    for project in (inner, middle, outer) if filters else ():
        sparing(project)
    wanted = inner.release("1.0")
    add_submodule(middle, inner, "../inner.git", "deps/inner")
    middle.release("1.0")
    add_submodule(outer, middle, "./../middle.git", "middle")
    commit = outer.release("1.0")
    inner.release("2.0")
    middle.release("2.0")
    mirror, tree = tmp_path / "mirror.git", tmp_path / "tree"
    remotes.fetch(outer.url, mirror)
    epoch_s = remotes.export(mirror, commit, tree)
    shutil.rmtree(tmp_path / "git")
    nested = tree / "middle/deps/inner"
    assert 'version = "1.0"' in (nested / "inner/__init__.py").read_text()
    assert (nested / "pyproject.toml").stat().st_mtime == epoch_s
    assert offline(nested, "rev-parse", "HEAD") == wanted
    assert offline(nested, "describe", "--dirty") == "v1.0"
    assert offline(tree, "describe", "--dirty") == "v1.0"
    assert offline(tree, "status", "--porcelain") == ""
    assert (
        "middle/deps/inner/pyproject.toml"
        in offline(tree, "ls-files", "--recurse-submodules").splitlines()
    )
    assert [line.split()[1] for line in offline(
        tree, "submodule", "status", "--recursive"
    ).splitlines()] == ["middle", "middle/deps/inner"]  # fmt: skip
    # All that it needs is kept by the mirror.
    remotes.export(mirror, commit, tmp_path / "again")
    assert (tmp_path / "again/middle/deps/inner/pyproject.toml").exists()


def test_a_submodule_costs_two_connections_and_none_the_next_time(
    tmp_path: Path, make_host: Callable[..., GitHost]
) -> None:
    """One for its history, one for the content of its files."""
    library, project = sparing(create(tmp_path, "library")), sparing(create(tmp_path, "probe"))
    library.release("1.0")
    host = make_host()
    add_submodule(project, library, "../library.git", "library")
    first, mirror = project.release("1.0"), tmp_path / "mirror.git"
    second = project.release("1.1")
    remotes.fetch(f"{host.url}/me/probe.git", mirror)
    assert host.connections == 1
    remotes.export(mirror, first, tmp_path / "first")
    assert host.connections == 1 + 1 + 2
    remotes.export(mirror, second, tmp_path / "second")
    assert host.connections == 1 + 1 + 2 + 1


def test_a_submodule_that_no_tag_or_branch_names_is_found(tmp_path: Path, gitconfig: Path) -> None:
    """By its hash; where the host wants a name, from the branches."""
    library, project = create(tmp_path, "library"), create(tmp_path, "probe")
    library.write("0.9")
    git(library.tree, "add", "--all")
    git(library.tree, "commit", "--quiet", "--message", "untagged")
    git(library.tree, "push", "--quiet", "origin", "HEAD:refs/heads/main")
    add_submodule(project, library, "../library.git", "library")
    library.release("1.0")
    commit = project.release("1.0")
    for version in (2, 0):
        gitconfig.write_text(f"[protocol]\n\tversion = {version}\n")
        mirror, tree = tmp_path / f"mirror-{version}.git", tmp_path / f"tree-{version}"
        remotes.fetch(project.url, mirror)
        remotes.export(mirror, commit, tree)
        assert '"0.9"' in (tree / "library/library/__init__.py").read_text()


def test_what_a_submodule_may_not_be(tmp_path: Path, make_host: Callable[..., GitHost]) -> None:
    """A file of this machine for a repository of another; a command; a commit that is nowhere."""
    library, project, host = create(tmp_path, "library"), create(tmp_path, "probe"), make_host()
    library.release("1.0")
    add_submodule(project, library, library.url, "library")

    def export_with(url: str) -> str:
        git(project.tree, "config", "--file", ".gitmodules", "submodule.library.url", url)
        commit, mirror = project.push("v1.0", force=True), tmp_path / "mirror.git"
        remotes.fetch(f"{host.url}/me/probe.git", mirror)
        shutil.rmtree(tmp_path / "tree", ignore_errors=True)
        with pytest.raises(InsidersError) as caught:
            remotes.export(mirror, commit, tmp_path / "tree")
        return caught.value.message

    forbidden = "submodule library: this transport is not allowed (transport 'file' not "
    assert export_with(library.url).startswith(forbidden)
    assert export_with(str(library.remote)).startswith(forbidden)
    assert export_with("ext::sh -c true") == "invalid URL of a submodule: 'ext::sh -c true'"
    assert export_with("../nope.git").startswith("submodule library: repository not found, or no ")
    git(project.tree, "update-index", "--cacheinfo", f"160000,{'1' * 40},library")
    assert export_with("../library.git").startswith(
        "submodule library: the host does not send a requested commit ("
    )


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=true",
        "https://[evil/x",
        "ssh://h.example:99999/x",
        # Curl connects to the first, though `@` comes before the own host.
        "http://evil.example#@localhost/me/library.git",
        "http://evil.example?@localhost/me/library.git",
        "http://evil.example\\@localhost/me/library.git",
        # In the command of the hint it would be another command, or allow another place.
        "https://evil.example/me;reboot/x",
        "https://evil.example/$(reboot)/x",
        "https://evil.example/me,github.com/x",
    ],
)
def test_what_is_no_url_of_a_submodule(url: str) -> None:
    """It leads elsewhere than it seems to, or would be a command or an option."""
    with pytest.raises(remotes.UnfitError) as caught:
        submodules.absolute(url, "http://localhost/me/probe.git")
    assert caught.value.message.startswith("invalid URL of a submodule: ")


@pytest.mark.parametrize(
    ("base", "url", "expected"),
    [
        ("https://host/a/b.git", "../c.git", "https://host/a/c.git"),
        ("https://host/a/b.git/", "../../c/d", "https://host/c/d"),
        ("git@host:a/b.git", "../c.git", "git@host:a/c.git"),
        ("git@host:b.git", "../c.git", "git@host:c.git"),
        ("https://host/a/b", "./c/", "https://host/a/b/c"),
        ("https://host/a/b", "ssh://git@other/c", "ssh://git@other/c"),
    ],
)
def test_urls_of_submodules_are_resolved_as_git_does(base: str, url: str, expected: str) -> None:
    """Source: git-submodule(1), and what git 2.39 makes of them."""
    assert submodules.absolute(url, base) == expected


@pytest.mark.parametrize(
    ("url", "allowed", "is_inside"),
    [
        ("git@forge.example:me/other.git", [], True),
        ("https://me@forge.example/me/other", [], True),
        ("https://forge.example/me/group/other.git", [], True),
        ("https://forge.example/me", [], False),
        ("https://forge.example/me2/other.git", [], False),
        ("https://forge.example/me/../them/other.git", [], False),
        ("https://forge.example/me/%2e%2e/them/other.git", [], False),
        ("ssh://git@forge.example:2222/me/other.git", [], False),
        ("https://forge.example.evil.example/me/other.git", [], False),
        ("file:///me/other.git", [], False),
        ("https://forge.example/them/other.git", ["them"], True),
        ("https://forge.example/them/other.git", ["them/other"], True),
        ("https://forge.example/them/others.git", ["them/other"], False),
        ("https://github.com/them/other.git", ["them/other"], False),
        ("https://github.com/them/other.git", ["github.com/them"], True),
    ],
)
def test_a_submodule_is_in_the_namespace_of_its_repository(
    url: str, allowed: list[str], is_inside: bool
) -> None:
    """Or in one that the user allows; what looks like it is not."""
    found = submodules.Submodule("lib", url, "0" * 40)
    outside = contextlib.nullcontext() if is_inside else pytest.raises(submodules.OutsideError)
    with outside:
        submodules.check_place(found, "git@forge.example:me/probe.git", allowed)


def put(project: Project, *entries: tuple[str, str, str], above: Sequence[str] = ()) -> str:
    """Push a commit with the tag v1.0 that no work tree can have; return the commit.

    Args:
        project: has nothing yet.
        entries: mode, name and content of each file.
        above: the directories in which they are, the innermost first.
    """

    def plumb(text: str, *arguments: str) -> str:
        command = ["git", f"--git-dir={project.remote}", *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    lines = [
        f"{mode} blob {plumb(content, 'hash-object', '-w', '--stdin')}\t{name}\0"
        for mode, name, content in entries
    ]
    tree = plumb("".join(lines), "mktree", "-z")
    for name in above:
        tree = plumb(f"040000 tree {tree}\t{name}\0", "mktree", "-z")
    commit = git(project.remote, "commit-tree", tree, "-m", "v1.0")
    git(project.remote, "update-ref", "refs/tags/v1.0", commit)
    return commit


@pytest.mark.parametrize(
    ("entry", "above", "told"),
    [
        (("100644", "config", "x"), [".git"], "invalid path '.git/config'"),
        (("100644", "x", "x"), [".."], "invalid path '../x'"),
        (("100644", 256 * "a", "x"), [], "unable to create file aaa"),
        (("100644", "x", "x"), 30 * [200 * "d"], "cannot create directory at 'ddd"),
        (("120000", "x", 5000 * "a"), [], "unable to create symlink x: File name too long"),
        (("120000", "x", ""), [], "unable to create symlink x: No such file or directory"),
    ],
)
def test_a_commit_that_nobody_can_check_out_is_no_damage(
    tmp_path: Path, entry: tuple[str, str, str], above: list[str], told: str
) -> None:
    """It stays so: its mirror is not made anew for it by each update."""
    project, mirror = create(tmp_path, "probe"), tmp_path / "mirror.git"
    commit = put(project, entry, above=above)
    remotes.fetch(project.url, mirror)
    before = mirror.stat().st_ino
    with pytest.raises(remotes.UnfitError) as caught:
        remotes.export(mirror, commit, tmp_path / "tree")
    assert caught.value.message.startswith(f"git checkout failed: {told}")
    assert mirror.stat().st_ino == before


@pytest.mark.parametrize("annotated", [True, False])
def test_one_tag_alone_names_the_commit_in_a_tree(tmp_path: Path, annotated: bool) -> None:
    """Tools that take the version from git see the tag that is built; older tags stay."""
    project, mirror = create(tmp_path, "probe"), tmp_path / "mirror.git"
    project.release("1.0", annotated=annotated)
    commit = project.release("1.2.3", annotated=annotated)
    for tag in ("v1", "nightly"):
        git(project.tree, "tag", tag)
    project.send()
    remotes.fetch(project.url, mirror)
    remotes.export(mirror, commit, tmp_path / "tree", tag="v1.2.3")
    assert offline(tmp_path / "tree", "tag").split() == ["v1.0", "v1.2.3"]
    assert offline(tmp_path / "tree", "describe", "--tags") == "v1.2.3"
    remotes.export(mirror, commit, tmp_path / "none", tag=False)
    assert offline(tmp_path / "none", "describe", "--tags").startswith("v1.0-1-g")
    remotes.export(mirror, commit, tmp_path / "all")
    assert offline(tmp_path / "all", "tag").split() == ["nightly", "v1", "v1.0", "v1.2.3"]


def test_links_out_of_a_project_to_its_repository_become_files(tmp_path: Path) -> None:
    """Backends refuse a LICENSE that leads outside; git sees no difference to the commit."""
    project, mirror = create(tmp_path, "probe"), tmp_path / "mirror.git"
    (tmp_path / "private").write_text("private")
    inner = project.tree / "packages/p"
    inner.mkdir(parents=True)
    (project.tree / "LICENSE").write_text("free")
    (inner / "own").write_text("own")
    for name, target in {
        "LICENSE": "../../LICENSE", "inside": "own", "outside": str(tmp_path / "private"),
        "nowhere": "../none", "above": "..", "loop": "loop", "config": "../../.git/config",
    }.items():  # fmt: skip
        (inner / name).symlink_to(target)
    commit = project.push("v1.0")
    remotes.fetch(project.url, mirror)
    remotes.export(mirror, commit, tmp_path / "tree", tag="v1.0", project="packages/p")
    made = tmp_path / "tree/packages/p"
    assert {path.name for path in made.iterdir() if path.is_symlink()} == {
        "inside", "outside", "nowhere", "above", "loop", "config",
    }  # fmt: skip
    assert (made / "LICENSE").read_text() == "free"
    assert offline(tmp_path / "tree", "describe", "--dirty") == "v1.0"
    remotes.export(mirror, commit, tmp_path / "top")
    assert (tmp_path / "top/packages/p/LICENSE").is_symlink()


def test_a_repository_of_sha256_objects_is_read(tmp_path: Path) -> None:
    """Its tags, the files of one of them, and a tree with a history."""
    project, mirror = create(tmp_path, "probe"), tmp_path / "mirror.git"
    for path in (project.remote, project.tree):
        shutil.rmtree(path)
        path.mkdir()
        git(path, "init", "--quiet", "--template=", "--object-format=sha256",
            *(["--bare"] if path == project.remote else []))  # fmt: skip
    git(project.tree, "remote", "add", "origin", str(project.remote))
    commit = project.release("1.0")
    assert remotes.list_tags(project.url) == {"v1.0": commit}
    assert len(commit) == 64
    wanted = remotes.Wanted(project.url, "v1.0", ["pyproject.toml"])
    assert (
        "probe" in remotes.read_files(wanted, tmp_path / "scratch", timeout_s=60)["pyproject.toml"]
    )
    for _ in range(2):
        remotes.fetch(project.url, mirror)
    remotes.export(mirror, commit, tmp_path / "tree", tag="v1.0")
    assert offline(tmp_path / "tree", "describe", "--dirty") == "v1.0"


def test_no_file_of_the_user_becomes_part_of_gitmodules(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A name in it is the only way to a submodule: it includes nothing."""
    caplog.set_level(logging.INFO)
    other = create(tmp_path, "other")
    wanted = other.release("1.0")
    project, mirror = create(tmp_path, "probe"), tmp_path / "mirror.git"
    private = tmp_path / "private"
    private.write_text(f'[submodule "x"]\n\tpath = x\n\turl = {other.url}\n')
    project.write("1.0")
    (project.tree / ".gitmodules").write_text(f"[include]\n\tpath = {private}\n")
    git(project.tree, "update-index", "--add", "--cacheinfo", f"160000,{wanted},x")
    git(project.tree, "add", ".gitmodules", "pyproject.toml")
    git(project.tree, "commit", "--quiet", "--message", "1.0")
    git(project.tree, "push", "--quiet", "origin", "HEAD:refs/tags/v1.0")
    remotes.fetch(project.url, mirror)
    remotes.export(mirror, git(project.tree, "rev-parse", "HEAD"), tmp_path / "tree")
    assert list((tmp_path / "tree/x").iterdir()) == []
    assert caplog.messages == ["submodule x has no entry in .gitmodules and stays empty"]
