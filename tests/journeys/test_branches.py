"""Development releases of a branch, from the repository to real installers."""

import json
import re
import shutil
from pathlib import Path

from clients import BIN
from fixtures import Person, names
from projects import Project, create, git


def commit(project: Project, *options: str) -> str:
    """Commit everything and push it, without a tag; return the commit."""
    git(project.tree, "add", "--all")
    git(project.tree, "commit", "--quiet", "--allow-empty", "--message", "x", *options)
    git(project.tree, "push", "--quiet", "--force", "origin", "HEAD")
    return git(project.tree, "rev-parse", "HEAD")


def develop(person: Person, tmp_path: Path, *options: str) -> tuple[Project, str]:
    """Watch the branch of a project without tags; return its head."""
    project = create(tmp_path, "probe")
    project.write("0.1.0")
    head = commit(project)
    words = ("repos", "add", "me/probe", "--url", project.url, "--branch", "main", *options)
    added = person.run(*words)
    if not options:
        assert (added.stdout, added.stderr) == (
            "watching me/probe as probe\n",
            f"me/probe: 0 tags found, first build: branch main at {head:.9}\n"
            "next: `pypi-insiders update me/probe`\n",
        )
    return project, head


def install(person: Person, client: str, target: Path, *words: str) -> str:
    """Install with a real client; return the version."""
    command = {"pip": (BIN / "pip",), "uv": (BIN / "uv", "pip")}[client]
    person.run("exec", "--no-update", "--", *command, "install", "--target", target, *words)
    (info,) = target.glob("probe-*.dist-info")
    return info.name.removesuffix(".dist-info").partition("-")[2]


def test_a_repository_without_tags_is_no_failure_and_its_branch_is_offered(
    person: Person, tmp_path: Path
) -> None:
    """With the name of its own default branch, which the next command builds."""
    project = create(tmp_path, "probe")
    project.write("0.1.0")
    git(project.tree, "checkout", "--quiet", "-b", "trunk")
    git(project.remote, "symbolic-ref", "HEAD", "refs/heads/trunk")
    head = commit(project)
    told = (
        "warning: me/probe: no tags found\n"
        "hint: build its branch: `pypi-insiders repos add me/probe --branch trunk`\n"
    )
    added = person.run("repos", "add", "me/probe:probe", "--url", project.url)
    assert added.stderr == told
    for _ in range(2):
        assert person.run("update").stderr == told
    shown = json.loads(person.run("status", "--json", status=3).stdout)
    found = [item for item in shown["warnings"] if item["subject"] == "me/probe"]
    assert (shown["problems"], found) == (
        [],
        [{
            "subject": "me/probe",
            "text": "probe has no release yet: no tags found",
            "hint": "build its branch: `pypi-insiders repos add me/probe --branch trunk`",
            "tag": None,
        }],
    )  # fmt: skip
    person.run("repos", "add", "me/probe", "--branch", "trunk")
    person.run("update")
    assert person.distributions() == names(f"probe-0.1.0.dev1+g{head:.7}")


def test_installers_get_development_releases_only_if_asked_for_or_without_others(
    person: Person, tmp_path: Path
) -> None:
    project, head = develop(person, tmp_path)
    person.run("update")
    trace = tmp_path / "trace"
    assert "published 0 files" in person.run("update", GIT_TRACE=str(trace)).stdout
    # One connection, as without a branch.
    started = re.findall(r"built-in: git (?!upload-pack)(.*) file:", trace.read_text())
    assert started == ["ls-remote --tags --heads --"]
    first = f"0.1.0.dev1+g{head:.7}"
    listed = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
    assert (listed[0]["tag"], listed[0]["served_version"]) == (f"branch main at {head:.9}", first)
    for client in ("pip", "uv"):
        assert install(person, client, tmp_path / f"only-{client}", "probe") == first
    # The tag of a head is built as what it is, and its commit not again.
    tagged = project.push("v0.1.0")
    person.run("update")
    head = commit(project)
    person.run("update")
    second = f"0.1.1.dev1+g{head:.7}"
    assert person.distributions() == names(f"probe-{first}", "probe-0.1.0", f"probe-{second}")
    for client, pre in (("pip", "--pre"), ("uv", "--prerelease=allow")):
        at = tmp_path / client
        assert install(person, client, at / "final", "probe") == "0.1.0"
        assert install(person, client, at / "pre", pre, "probe") == second
    assert install(person, "uv", tmp_path / "exact", f"probe=={first}") == first
    # The branch goes back to a commit that has a tag only.
    git(project.remote, "update-ref", "refs/heads/main", tagged)
    assert person.run("update").stderr == (
        f"warning: me/probe: tag v0.1.0 is 0.1.0, and {second} of {head:.9} is higher: installers "
        f"prefer it until `pypi-insiders unpublish probe {second}`\n"
    )


def test_a_rewritten_branch_is_told_and_no_version_is_given_twice(
    person: Person, tmp_path: Path
) -> None:
    project, first = develop(person, tmp_path)
    person.run("update")
    # Of the same second, it would be the same commit without another message.
    second = commit(project, "--amend", "--message", "y")
    old, new = f"0.1.0.dev1+g{first:.7}", f"0.1.0.dev2+g{second:.7}"
    assert person.run("update").stderr.endswith(
        f"warning: me/probe: branch main was rewritten: {first:.9}, built as {old}, is not in the "
        f"history of {second:.9}\n"
    )
    git(project.remote, "update-ref", "refs/heads/main", first)
    back = person.run("update")
    assert back.stderr == (
        f"warning: me/probe: branch main at {first:.9} is {old}, and {new} of {second:.9} is "
        f"higher: installers prefer it until `pypi-insiders unpublish probe {new}`\n"
    )
    assert person.distributions() == names(f"probe-{old}", f"probe-{new}")
    person.run("unpublish", "probe", new, "--yes")
    assert person.run("update").stderr == ""
    # What was built is built again from its commit, whatever the branch is by then.
    git(project.remote, "branch", "--move", "main", "trunk")
    gone = (
        "warning: me/probe: branch main not found (known: trunk); its releases stay; "
        "`pypi-insiders repos set me/probe branch=BRANCH` builds another\n"
    )
    again = person.run("update", "me/probe", "--tag", old, "--force")
    assert again.stderr.count("is identical to the published file") == 2
    (person.paths.distributions / names(f"probe-{old}")[0]).unlink()
    # As if an update had been killed while it published the head.
    known = person.paths.state / "repositories/me/probe.json"
    content = json.loads(known.read_text())
    content["builds"][0]["unfinished"] = list(content["builds"][0]["files"])
    known.write_text(json.dumps(content))
    restored = person.run("update").stderr
    assert "identical to the lost file" in restored
    assert restored.endswith(gone)
    # Its state may be lost too.
    shutil.rmtree(person.paths.state / "repositories")
    person.run("repos", "set", "me/probe", "branch=trunk")
    assert f"its state was lost; recovered: {old}\n" in person.run("update").stderr
    assert person.distributions() == names(f"probe-{old}")


def test_a_head_with_a_tag_that_is_never_built_is_built(person: Person, tmp_path: Path) -> None:
    """Otherwise neither would be, and nothing would say so."""
    project, head = develop(person, tmp_path)
    person.run("repos", "set", "me/probe", "pre=false")
    git(project.tree, "tag", "v0.1.0rc1")
    git(project.tree, "push", "--quiet", "--tags")
    person.run("update")
    assert person.distributions() == names(f"probe-0.1.0.dev1+g{head:.7}")
    person.run("repos", "set", "me/probe", "pre=")
    git(project.tree, "tag", "v0.1.0")
    git(project.tree, "push", "--quiet", "--tags")
    person.run("update")
    assert names("probe-0.1.0")[0] in person.distributions()


def test_a_head_that_fails_waits_and_holds_up_no_release(person: Person, tmp_path: Path) -> None:
    project, _ = develop(person, tmp_path)
    project.write("0.2.0")
    project.push("v0.2.0")
    (project.tree / "buildapi.py").write_text("raise SystemExit('broken')\n")
    broken = commit(project)
    failed = person.run("update", status=1)
    assert f"error: me/probe: branch main at {broken:.9}: " in failed.stderr
    assert failed.stderr.index("building tag v0.2.0") < failed.stderr.index("building branch")
    assert person.distributions() == names("probe-0.2.0")
    waiting = person.run("update", status=1).stderr
    assert "building" not in waiting
    assert "failed before; next try after" in waiting
    project.write("0.3.0")
    mended = commit(project)
    person.run("update")
    assert person.distributions() == names("probe-0.2.0", f"probe-0.3.0.dev2+g{mended:.7}")
    assert person.run("update").stderr == ""


def test_a_head_that_cannot_be_fetched_holds_up_no_release(person: Person, tmp_path: Path) -> None:
    """The host sends the tags, and is out of reach for the rest."""
    project = create(tmp_path, "probe")
    project.release("1.0")
    commit(project)
    ssh, count = tmp_path / "ssh", tmp_path / "count"
    ssh.write_text(
        f"#!/bin/sh\necho >>{count}\n"
        f"test $(wc -l <{count}) -le 2 && exec git-upload-pack {project.remote}\n"
        "echo 'ssh: connect to host git.example port 22: Connection refused' >&2\nexit 255\n"
    )
    ssh.chmod(0o755)
    (person.home / ".gitconfig").write_text(f"[core]\n  sshCommand = {ssh}\n")
    words = ("repos", "add", "me/probe:probe", "--url", "ssh://git@git.example/me/probe")
    person.run(*words, "--branch", "main", "--no-check")
    person.run("update")
    assert person.distributions() == names("probe-1.0")
    assert "me/probe: host unreachable since" in person.run("status", "me/probe").stdout


def test_signed_tags_are_required_of_a_branch_too(person: Person, tmp_path: Path) -> None:
    """Which has none: nothing is built, nor is its name read."""
    signers = tmp_path / "signers"
    signers.write_text("* ssh-ed25519 AAAA\n")
    _, head = develop(person, tmp_path, "--no-pre", "--allowed-signers", str(signers))
    refused = (
        "error: me/probe: branch main is not built: allowed-signers requires signed tags\n"
        "hint: build only its tags: `pypi-insiders repos set me/probe branch=`\n"
    )
    failed = person.run("update", status=1).stderr
    assert refused in failed
    assert failed.count("error: ") == 1
    assert person.distributions() == []
    assert "project =" not in person.paths.repositories.read_text()
    # Nor is it built again, once it was.
    person.run("repos", "set", "me/probe", "allowed-signers=", "project=probe")
    person.run("update")
    sdist, wheel = sorted(person.distributions(), reverse=True)
    (person.paths.distributions / wheel).unlink()
    person.run("repos", "set", "me/probe", f"allowed-signers={signers}")
    failed = person.run("update", status=1).stderr
    assert refused in failed
    assert f"error: me/probe: branch main at {head:.9}: it has no signed tag\n" in failed
    assert person.distributions() == [sdist]


def test_old_development_releases_are_removed_and_no_others(person: Person, tmp_path: Path) -> None:
    project = create(tmp_path, "probe")
    git(project.tree, "checkout", "--quiet", "-b", "feature/x")
    for version in ("0.1.0", "0.2.0"):
        project.release(version)
    options = ("--branch", "feature/x", "--backfill", "2", "--keep", "2")
    person.run("repos", "add", "me/probe", "--url", project.url, *options)
    heads = []
    for _ in range(3):
        heads.append(commit(project))
        last = person.run("update")
    assert "(keep = 2)" in last.stderr
    left = [f"probe-0.2.1.dev{n}+g{head:.7}" for n, head in enumerate(heads, 1)][1:]
    assert person.distributions() == names("probe-0.1.0", "probe-0.2.0", *left)
    assert "published 0 files" in person.run("update").stdout
