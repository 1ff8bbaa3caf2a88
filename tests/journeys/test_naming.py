"""The project name of a repository: read when it is added, or confirmed before it is published."""

import json
import os
import time
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from fallback import fallback
from fixtures import Person, Watch, free_port, names, need
from hostile import Index
from messages import UNNAMED
from projects import Project, create, git
from wheels import wheel

from pypi_insiders import git as remotes
from pypi_insiders.util.errors import InsidersError

__all__ = ["fallback"]


def add(person: Person, project: Project, *options: str) -> CompletedProcess[str]:
    """Watch a project without its name."""
    return person.run("repos", "add", f"me/{project.name}", "--url", project.url, *options)


def test_the_name_comes_from_the_tag_that_is_built_first(person: Person, tmp_path: Path) -> None:
    """By the given rules; nothing is left behind, and `update` builds nothing else."""
    project = create(tmp_path, "probe")
    for tag, name in (("a-1.0", "one"), ("b-2.0", "two"), ("b-3.0rc1", "three")):
        (project.tree / "sub").mkdir(exist_ok=True)
        (project.tree / "sub/pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
        project.push(tag)
    added = add(person, project, "--tags", "b-{version}", "--subdirectory", "sub")
    assert (added.stdout, added.stderr) == (
        "watching me/probe as two\n",
        "me/probe: 3 tags found, latest release: b-2.0\nnext: `pypi-insiders update me/probe`\n",
    )
    assert 'project = "two"' in person.paths.repositories.read_text()
    assert not person.paths.cache.exists() or list(person.paths.cache.iterdir()) == []
    person.run("repos", "remove", "me/probe")
    pre = add(person, project, "--tags", "b-{version}", "--subdirectory", "sub", "--pre")
    assert pre.stdout == "watching me/probe as three\n"


@pytest.mark.parametrize("filters", ["true", "false"])
def test_only_what_is_asked_for_is_fetched(person: Person, tmp_path: Path, filters: str) -> None:
    """Of a host that can leave out files, and of one that cannot."""
    project = create(tmp_path, "probe")
    git(project.remote, "config", "uploadpack.allowFilter", filters)
    git(project.remote, "config", "uploadpack.allowAnySHA1InWant", filters)
    project.release("1.0")
    assert add(person, project).stdout == "watching me/probe as probe\n"


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("setup.py", "setup(name=read())\n", "setup.py computes the name"),
        ("setup.py", "#" * 600_000, "setup.py is larger than 512 KiB"),
        ("readme", "text", "no name in pyproject.toml, setup.cfg or setup.py"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_it_means(
    person: Person, tmp_path: Path, path: str, content: str, reason: str
) -> None:
    """And how to name the project now."""
    project = create(tmp_path, "probe")
    (project.tree / path).write_text(content)
    project.push("v1.0")
    added = add(person, project)
    assert added.stdout == "watching me/probe\n"
    assert UNNAMED.format("me/probe", f" ({reason})") in added.stderr
    person.run("repos", "set", "me/probe", "project=probe")


def test_a_link_leads_nowhere(person: Person, tmp_path: Path) -> None:
    """A repository cannot have files of this machine read."""
    project = create(tmp_path, "probe")
    (tmp_path / "secret").write_text('[project]\nname = "secret"\n')
    (project.tree / "pyproject.toml").symlink_to(tmp_path / "secret")
    project.push("v1.0")
    assert "(pyproject.toml is not a regular file)" in add(person, project).stderr


def test_a_tag_that_nobody_signed_names_nothing(person: Person, tmp_path: Path) -> None:
    """Where an allowed signer must have signed it."""
    signers = tmp_path / "signers"
    signers.write_text(
        "* ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbT9oQEn0nGVrIiYxdfTjfbJvCS9hW1K7V+\n"
    )
    project = create(tmp_path, "probe")
    project.release("1.0")
    added = add(person, project, "--allowed-signers", str(signers))
    assert added.stdout == "watching me/probe\n"
    assert "project name unknown (tag v1.0 is not signed)" in added.stderr


def test_a_repository_that_is_too_large_is_not_fetched(gitconfig: Path, tmp_path: Path) -> None:
    """Of a host that gives all files or none, at most 32 MiB are taken."""
    project = create(tmp_path, "probe")
    git(project.remote, "config", "uploadpack.allowFilter", "false")
    git(project.tree, "config", "core.compression", "0")
    project.write("1.0")
    (project.tree / "large").write_bytes(os.urandom(33 * 1024 * 1024))
    project.push("v1.0")
    wanted = remotes.Wanted(project.url, "v1.0", ["pyproject.toml"])
    with pytest.raises(InsidersError, match="git fetch failed"):
        remotes.read_files(wanted, tmp_path / "scratch", timeout_s=100)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_it_does_not_take_longer_than_it_may(person: Person, tmp_path: Path) -> None:
    """A host that lists its tags and then says nothing; also without `pgrep` and `ps`."""
    project = create(tmp_path, "probe")
    project.release("1.0")
    waiting = tmp_path / "waiting"
    waiting.write_text('#!/bin/sh\ncat "$0.pipe"\n')
    waiting.chmod(0o755)
    os.mkfifo(f"{waiting}.pipe")
    (person.home / ".gitconfig").write_text(f'[remote "origin"]\n\tuploadpack = {waiting}\n')
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("git", "sh", "cat"):
        (programs / program).symlink_to(need(program))
    begin_s = time.monotonic()
    added = person.run("repos", "add", "me/probe", "--url", project.url, PATH=str(programs))
    assert 10 <= time.monotonic() - begin_s < 60
    reason = " (fetching the files of tag v1.0 timed out after 10 s)"
    assert UNNAMED.format("me/probe", reason) in added.stderr
    assert list(person.paths.cache.iterdir()) == []


def test_a_name_of_another_repository_is_refused(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """As if it had been given."""
    watch("probe")
    other = create(tmp_path, "probe", "you/probe")
    other.release("2.0")
    failed = person.run("repos", "add", "you/probe", "--url", other.url, status=1)
    assert (failed.stdout, failed.stderr) == (
        "",
        "error: probe already belongs to me/probe\n"
        "hint: a project can belong to one repository only\n",
    )


def test_a_name_that_a_build_of_another_repository_has_can_be_moved(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """`repos set` alone would be refused, so the hint has all that it takes."""
    watch("probe").release("1.0")
    person.run("update")
    other = create(tmp_path, "probe", "you/probe")
    other.release("2.0")
    told = person.run("repos", "add", "you/probe", "--url", other.url).stderr
    move = "pypi-insiders repos remove me/probe && pypi-insiders repos set you/probe project=probe"
    assert told == (
        "you/probe: 1 tag found, latest release: v2.0\n"
        "warning: you/probe: its project name is probe, which belongs to me/probe; nothing is "
        "published while both are watched\n"
        f"hint: `pypi-insiders repos remove you/probe`; or to move the project to it: `{move}`\n"
    )
    for command in move.split(" && "):
        person.run(*command.split()[1:])
    assert person.run("update").stdout.startswith("Checked 1 repository, published 2 files")


CONFIRM = "`pypi-insiders repos set me/probe project=probe`"


def test_a_name_of_which_files_lie_here_needs_a_yes(
    person: Person, tmp_path: Path, fallback: Index
) -> None:
    """When it is added, and when it is built first; what the repository itself built is its own."""
    wheel(person.paths.distributions, "probe", "0.1")
    project = create(tmp_path, "probe")
    project.release("1.0")
    added = add(person, project)
    assert (added.stdout, added.stderr) == (
        "watching me/probe\n",
        "me/probe: 1 tag found, latest release: v1.0\n"
        "warning: me/probe: its project name is probe, of which the index has files of another "
        "origin; nothing is published before you confirm it\n"
        f"hint: {CONFIRM}\n",
    )
    failed = person.run("update", status=1)
    assert failed.stderr.endswith(
        "error: me/probe: tag v1.0: the build is of project probe, of which the index has "
        "probe-0.1-py3-none-any.whl from elsewhere; nothing published\n"
        f"hint: if this is correct: {CONFIRM}\n"
    )
    assert person.distributions() == ["probe-0.1-py3-none-any.whl"]
    person.run("repos", "set", "me/probe", "project=probe")
    person.run("update", "me/probe")
    assert person.distributions() == ["probe-0.1-py3-none-any.whl", *names("probe-1.0")]
    (person.paths.distributions / "probe-0.1-py3-none-any.whl").unlink()
    person.run("repos", "remove", "me/probe")
    assert add(person, project).stdout == "watching me/probe as probe\n"


def test_a_public_name_needs_a_yes(person: Person, watch: Watch, fallback: Index) -> None:
    """Unless it was given, or read when the repository was added."""
    wheel(fallback.directory, "probe", "99.0")
    project = watch("probe", named=False)
    project.release("1.0")
    failed = person.run("update", status=1)
    assert failed.stderr.endswith(
        "error: me/probe: tag v1.0: the build is of project probe, which is also a public project; "
        "nothing published\n"
        f"hint: if this is correct: {CONFIRM}\n"
    )
    assert person.distributions() == []
    confirmed = person.run("repos", "set", "me/probe", "project=probe")
    assert confirmed.stderr == (
        "note: `pypi-insiders update me/probe` tries failed tags again at once\n"
    )
    person.run("update", "me/probe")
    assert person.distributions() == names("probe-1.0")

    person.run("repos", "remove", "--purge", "--yes", "me/probe")
    assert add(person, project).stdout == "watching me/probe as probe\n"
    person.run("update", "me/probe", "--tag", "v1.0", "--force")
    assert person.distributions() == names("probe-1.0")


def test_what_cannot_be_checked_is_not_published(person: Person, watch: Watch) -> None:
    """The next update asks again: that is no failure that lasts."""
    project = watch("probe", named=False)
    project.release("1.0")
    url = f"http://127.0.0.1:{free_port()}/simple/"
    for settings, reason in (
        (f'[server]\nfallback-url = "{url}"\n', "Connection refused"),
        ("[watcher]\npublic-versions = false\n", "public-versions = false"),
        ('[server]\nfallback-url = ""\n', 'fallback-url = ""'),
    ):
        person.paths.settings.write_text(settings)
        failed = person.run("update", status=1)
        assert "cannot check whether probe is also a public project: " in (failed.stderr)
        assert reason in failed.stderr
        assert failed.stderr.endswith(f"hint: if this is correct: {CONFIRM}\n")
    assert person.distributions() == []


def test_a_process_that_is_killed_leaves_nothing_for_long(person: Person, tmp_path: Path) -> None:
    """What it left an hour ago is removed when the next name is read."""
    left = person.paths.cache / "glances/old"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    project = create(tmp_path, "probe")
    project.release("1.0")
    add(person, project)
    assert list(person.paths.cache.iterdir()) == []


def test_a_name_that_was_not_read_is_read_again(person: Person, tmp_path: Path) -> None:
    """By `repos add` as if it was new; a name that was typed or built is not replaced."""
    project = create(tmp_path, "probe")
    add(person, project, "--no-check")
    project.release("1.0")
    done = add(person, project, "--keep", "3")
    assert done.stdout == 'me/probe is already watched; project = "probe"; keep = 3\n'
    done = person.run("repos", "add", "me/probe:other", status=1)
    assert "me/probe is already watched: project probe, url " in done.stderr


def test_an_update_holds_a_name_before_it_is_built(
    person: Person, tmp_path: Path, fallback: Index
) -> None:
    """Though the build fails; not that of a public project, for which nobody has said yes."""
    for name in ("private", "public"):
        project = create(tmp_path, name)
        project.write("1.0")
        project.hook("raise SystemExit('broken')")
        project.push("v1.0")
        add(person, project, "--no-check")
    wheel(fallback.directory, "public", "99.0")
    person.run("update", status=1)
    held = json.loads(person.paths.held_names.read_text())
    assert held == {"private": "me/private"}
    told = person.run("status", status=1).stdout
    assert "me/private: project name unknown" not in told
    assert "me/public: project name unknown" in told
    done = person.run("repos", "remove", "me/private")
    assert "private" not in json.loads(person.paths.held_names.read_text())
    assert "private" in done.stdout + done.stderr
