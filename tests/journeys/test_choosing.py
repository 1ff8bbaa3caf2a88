"""Which tags are built, when again, and what is remembered: `pypi-insiders update`."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from fixtures import Person, Watch, free_port, names, untimed
from projects import Project, create, git


def known(person: Person, name: str = "me/probe") -> dict[str, Any]:
    """Read what is remembered of a repository."""
    state: dict[str, Any] = json.loads(
        (person.paths.state / f"repositories/{name}.json").read_text()
    )
    return state


def remember(person: Person, file: str, **changes: Any) -> None:
    """Change what is remembered, as if time had gone by."""
    path = person.paths.state / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def built(person: Person) -> list[str]:
    """Name the tags that were built, in that order."""
    return [build["tag"] for build in known(person)["builds"]]


def test_of_two_projects_in_one_repository_each_has_its_tags(
    person: Person, tmp_path: Path
) -> None:
    """`--tags` and `--subdirectory` name one; the tags of the other are nobody's business."""
    project = create(tmp_path, "probe")
    server = Project("probe-server", project.tree / "packages/server", project.remote)
    client = Project("probe-client", project.tree / "packages/client", project.remote)
    for part, version in ((server, "6.19.1"), (client, "2.0")):
        part.tree.mkdir(parents=True)
        part.write(version)
    for tag in ("server-6.19.1", "client-2.0", "latest"):
        project.push(tag)
    for name in ("server", "client"):
        person.run(
            "repos", "add", f"me/{name}:probe-{name}", "--url", project.url,
            "--tags", f"{name}-{{version}}", "--subdirectory", f"packages/{name}",
        )  # fmt: skip
    done = person.run("update")
    assert untimed(done.stdout) == "Checked 2 repositories, published 4 files\n"
    assert "passed over" not in done.stderr
    assert person.distributions() == names("probe_server-6.19.1", "probe_client-2.0")


def test_a_subdirectory_must_be_there(person: Person, watch: Watch) -> None:
    """It is named."""
    project = watch("probe")
    project.release("1.0")
    person.run("repos", "add", "me/probe", "--subdirectory", "nowhere")
    failed = person.run("update", status=1)
    assert "error: me/probe: tag v1.0: the repository has no directory nowhere" in failed.stderr


def test_pre_releases_as_the_person_wants(person: Person, watch: Watch) -> None:
    """`--no-pre` leaves them out, `--pre` builds them, also first."""
    project = watch("probe")
    project.release("1.0")
    project.release("2.0rc1")
    person.run("repos", "add", "me/probe", "--no-pre")
    person.run("update")
    project.release("2.0rc2")
    assert person.run("update").stdout == "Checked 1 repository, published 0 files\n"
    added = person.run("repos", "add", "me/probe", "--pre").stdout
    assert added == "me/probe is already watched; pre = true\n"
    person.run("update")
    assert built(person) == ["v1.0", "v2.0rc2", "v2.0rc1"]


def test_at_most_so_many_new_ones_and_the_newest(person: Person, watch: Watch) -> None:
    """Of the others is said once how they can be had; they can."""
    project = watch("probe")
    (person.paths.config / "config.toml").write_text("[watcher]\nmax-new = 2\n")
    project.release("1.0")
    person.run("update")
    for minor in range(1, 6):
        project.release(f"1.{minor}")
    told = person.run("update").stderr
    assert (
        "me/probe: skipped older tags: v1.3, v1.2, v1.1; build one: "
        "`pypi-insiders update me/probe --tag TAG`, or all: --all-tags\n"
    ) in told
    assert built(person) == ["v1.0", "v1.5", "v1.4"]
    quiet = person.run("update")
    assert (quiet.stdout, quiet.stderr) == ("Checked 1 repository, published 0 files\n", "")
    person.run("update", "me/probe", "--tag", "v1.2")
    assert (
        untimed(person.run("update", "me/probe", "--all-tags").stdout)
        == "Checked 1 repository, published 4 files\n"
    )
    assert built(person) == ["v1.0", "v1.5", "v1.4", "v1.2", "v1.3", "v1.1"]


def test_backfill_builds_older_ones_too(person: Person, watch: Watch) -> None:
    """At first, and for a repository that is already watched."""
    project = watch("probe")
    for version in ("1.0", "1.1", "1.2", "2.0rc1"):
        project.release(version)
    person.run("repos", "add", "me/probe", "--backfill", "2")
    person.run("update")
    assert built(person) == ["v1.2", "v1.1"]
    person.run("repos", "add", "me/probe", "--backfill", "3")
    person.run("update")
    assert built(person) == ["v1.2", "v1.1", "v2.0rc1", "v1.0"]


def test_one_tag_however_old(person: Person, watch: Watch) -> None:
    """Also one that is no version; a wrong one is told, and what comes close."""
    project = watch("probe")
    project.release("1.0", "first")
    project.release("1.1")
    person.run("update", "me/probe", "--tag", "first")
    assert person.distributions() == names("probe-1.0")
    again = person.run("update", "me/probe", "--tag", "first")
    assert again.stderr == ("me/probe: tag first is already built; rebuild it with --force\n")
    wrong = person.run("update", "me/probe", "--tag", "v1.l", status=1)
    assert wrong.stderr == (
        "error: me/probe: tag v1.l not found (did you mean v1.1?)\n"
        f"hint: list its tags: `git ls-remote --tags {project.url}`\n"
    )


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--tag", "v1"], "--tag requires exactly one repository"),
        (["a/b", "c/d", "--tag", "v1"], "--tag requires exactly one repository"),
        (["--all-tags"], "--all-tags requires a repository, and excludes --tag"),
        (["a/b", "--force"], "--force requires --tag or --all-tags"),
        (["--index-url", "ftp://x"], "the upload URL must be the URL of an index"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said(
    person: Person, watch: Watch, typed: list[str], message: str
) -> None:
    """Before anything happens."""
    watch("probe")
    failed = person.run("update", *typed, status=2 if "ftp" not in typed[-1] else 1)
    assert failed.stderr.startswith(f"error: {message}")


def test_force_tells_what_differs_and_replaces_nothing(person: Person, watch: Watch) -> None:
    """The same commit gives the same files; another one is told apart, and stays out."""
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    before = {name: (person.paths.distributions / name).read_bytes() for name in names("probe-1.0")}
    same = person.run("update", "me/probe", "--tag", "v1.0", "--force").stderr
    for name in before:
        assert f"me/probe: the rebuilt {name} is identical to the published file\n" in same
    (project.package / "__init__.py").write_text('"""Another."""\n\nversion = "1.0"\n')
    project.push("v1.0", force=True)
    other = person.run("update", "me/probe", "--tag", "v1.0", "--force").stderr
    assert (
        "warning: me/probe: keeping the published probe-1.0-py3-none-any.whl; the rebuilt file "
        "differs in probe-1.0.dist-info/RECORD; probe/__init__.py\n"
    ) in other
    assert before == {name: (person.paths.distributions / name).read_bytes() for name in before}
    person.run("unpublish", "--yes", "probe", "1.0")
    assert person.run("update").stdout == "Checked 1 repository, published 0 files\n"
    person.run("update", "me/probe", "--tag", "v1.0", "--force")
    after = {name: (person.paths.distributions / name).read_bytes() for name in before}
    assert [name for name in before if before[name] == after[name]] == []


def test_moved_tags_are_told_in_the_end_of_each_run_and_gone_ones_stay(
    person: Person, watch: Watch
) -> None:
    """What is published stays in both cases."""
    project = watch("probe")
    old = project.release("1.0")
    person.run("update")
    (project.package / "more.py").write_text("")
    new = project.push("v1.0", force=True)
    warning = (
        f"warning: me/probe: tag v1.0 has moved from {old[:9]} to {new[:9]} since its build; "
        "its published files stay"
    )
    project.release("1.1")
    assert person.run("update").stderr.splitlines()[-1] == warning
    assert person.run("update").stderr == f"{warning}\n"
    git(project.remote, "tag", "--delete", "v1.0")
    assert person.run("update").stderr == ""
    assert person.distributions() == names("probe-1.0", "probe-1.1")


def test_what_fails_is_tried_less_and_less(person: Person, watch: Watch) -> None:
    """Not on every run; at once if it is asked for, or if the tag names another commit."""
    project = watch("probe")
    project.write("1.0")
    project.hook("raise SystemExit('broken')")
    project.push("v1.0")
    person.run("update", status=1)
    first = known(person)["failures"]["v1.0"]
    assert first["count"] == 1
    assert first["next_at"] - first["failed_at"] == 3600
    assert "broken" in first["message"]
    paused = person.run("update", status=1)
    assert paused.stdout == "Checked 1 repository, published 0 files; 1 failed: me/probe\n"
    assert re.fullmatch(
        r"error: me/probe: tag v1\.0: .*broken \(failed before; next try after .*\)\n"
        r"hint: retry now: `pypi-insiders update me/probe`\n",
        paused.stderr,
    )
    assert known(person)["failures"]["v1.0"] == first
    person.run("update", "me/probe", status=1)
    second = known(person)["failures"]["v1.0"]
    assert (second["count"], second["next_at"] - second["failed_at"]) == (2, 7200)
    past = {"v1.0": {**second, "count": 9, "next_at": int(time.time()) - 1}}
    remember(person, "repositories/me/probe.json", failures=past)
    person.run("update", status=1)
    third = known(person)["failures"]["v1.0"]
    assert (third["count"], third["next_at"] - third["failed_at"]) == (10, 86400)
    project.write("1.0")
    project.push("v1.0", force=True)
    person.run("update")
    assert known(person)["failures"] == {}
    assert person.distributions() == names("probe-1.0")


@pytest.mark.parametrize("end", ["deleted", "superseded"])
def test_a_tag_that_nobody_builds_any_more_fails_no_more(
    person: Person, watch: Watch, end: str
) -> None:
    """It is gone, or lower than the first that was built; status does not name it for ever."""
    project = watch("probe")
    project.write("1.0")
    project.hook("raise SystemExit('broken')")
    project.push("v1.0")
    person.run("update", status=1)
    if end == "deleted":
        git(project.tree, "push", "origin", ":v1.0")
        git(project.tree, "tag", "--delete", "v1.0")
    project.release("2.0")
    person.run("update")
    person.run("update")
    assert known(person)["failures"] == {}


def test_a_host_out_of_reach_is_no_failure_until_it_lasts(person: Person, watch: Watch) -> None:
    """A laptop without network stays quiet; whoever asks for it gets to know."""
    watch("probe").release("1.0")
    far = watch("far")
    far.release("1.0")
    person.run("update")
    away = f'[url "https://127.0.0.1:{free_port()}/"]\n  insteadOf = {far.url}\n'
    (person.home / ".gitconfig").write_text(away)
    done = person.run("update")
    assert done.stdout == "Checked 2 repositories, published 0 files; 1 unreachable: me/far\n"
    assert re.search("me/far: host unreachable .* the next update tries", done.stderr)
    checks = json.loads((person.paths.state / "checks.json").read_text())
    assert checks["me/probe"]["unreachable_since"] is None
    assert checks["me/probe"]["checked_at"] <= time.time()
    checked_s, since_s = (checks["me/far"][key] for key in ("checked_at", "unreachable_since"))
    person.run("update")
    checks = json.loads((person.paths.state / "checks.json").read_text())
    assert checks["me/far"].pop("tried_at") >= since_s
    assert checks["me/far"] == {
        "checked_at": checked_s,
        "unreachable_since": since_s,
        "errors": [],
        "warnings": [],
        "hints": {},
    }
    long_ago = {**checks["me/far"], "unreachable_since": since_s - 86400}
    remember(person, "checks.json", **{"me/far": long_ago})
    failed = person.run("update", status=1)
    assert failed.stdout == "Checked 2 repositories, published 0 files; 1 failed: me/far\n"
    (person.paths.config / "config.toml").write_text('[watcher]\nunreachable-grace = "2d"\n')
    person.run("update")
    told = person.run("update", "me/far", status=1)
    assert re.search("error: me/far: host unreachable ", told.stderr), "who asks is told"


def test_a_host_out_of_reach_is_a_failure_before_the_first_build(person: Person) -> None:
    """Installers have nothing of it: `watcher enable` must not end as if all was well."""
    person.run("repos", "add", "me/far", "--url", f"https://127.0.0.1:{free_port()}/me/far.git")
    failed = person.run("update", status=1)
    assert failed.stdout == "Checked 1 repository, published 0 files; 1 failed: me/far\n"
    assert re.search("error: me/far: host unreachable ", failed.stderr)


def test_a_build_of_another_version_than_its_tag(person: Person, watch: Watch) -> None:
    """That is a warning, or an error if the person wants; it is not built again and again."""
    project = watch("probe")
    project.release("1.0", "v1.5")
    told = "me/probe: tag v1.5: the build has version 1.0, expected 1.5\n"
    assert f"warning: {told}" in person.run("update").stderr
    assert person.run("update").stderr == ""
    seen = json.loads(person.run("status", "--json", status=3).stdout)["repositories"]
    assert [item["warnings"] for item in seen] == [["tag v1.5 was built as version 1.0"]]
    # Built as a version that another tag has published: nothing of it is served, and that is said.
    (project.package / "__init__.py").write_text("changed = True\n")
    project.push("v1.6")
    assert "published no new files" in person.run("update").stderr
    seen = json.loads(person.run("status", "--json", status=3).stdout)["repositories"]
    assert [text for item in seen for text in item["warnings"] if "v1.6" in str(text)] == [
        "tag v1.6 was built as version 1.0, which tag v1.5 has published"
    ]
    path = person.paths.config / "repos.toml"
    path.write_text(path.read_text() + "strict = true\n")
    project.release("1.1", "v2.0")
    failed = person.run("update", status=1).stderr
    assert "error: me/probe: tag v2.0: the build has version 1.1, expected 2.0\n" in failed
    assert person.distributions() == names("probe-1.0")


def test_lost_state_is_found_again_by_what_the_index_holds(person: Person, watch: Watch) -> None:
    """Nothing is built again; what was not there before the loss stays unbuilt."""
    project = watch("probe")
    for version in ("0.9", "1.0"):
        project.release(version)
    person.run("update")
    project.release("1.1")
    person.run("update")
    before = known(person)
    shutil.rmtree(person.paths.state)
    done = person.run("update")
    assert done.stdout == "Checked 1 repository, published 0 files\n"
    assert done.stderr == "me/probe: its state was lost; recovered: 1.0, 1.1\n"
    after = known(person)
    kept = ("tag", "commit", "version", "files")
    assert [{key: build[key] for key in kept} for build in after["builds"]] == [
        {key: build[key] for key in kept} for build in before["builds"]
    ]
    project.release("1.2")
    assert untimed(person.run("update").stdout) == "Checked 1 repository, published 2 files\n"


def test_what_comes_from_elsewhere_is_not_taken_for_ours(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """A name that another repository built before stands for a new one: that one is built."""
    watch("probe").release("1.0")
    person.run("update")
    person.run("repos", "remove", "me/probe")
    other = create(tmp_path, "probe", "you/probe")
    other.release("1.0")
    person.run("repos", "add", "you/probe:probe", "--url", other.url)
    assert "you/probe: building tag v1.0" in person.run("update").stderr


def test_state_of_an_older_version_is_read(person: Person, watch: Watch) -> None:
    """What was built before an upgrade is not built again."""
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    path = person.paths.state / "repositories/me/probe.json"
    content = known(person)
    for key in ("requirements", "sandboxed", "uploaded_to"):
        del content["builds"][0][key]
    for key in ("left_out", "failures", "unsigned", "signers"):
        del content[key]
    path.write_text(json.dumps({**content, "format": 1}))
    done = person.run("update")
    assert (done.stdout, done.stderr) == ("Checked 1 repository, published 0 files\n", "")


def test_what_a_release_was_built_with_is_remembered(person: Person, watch: Watch) -> None:
    """Requirements with their versions, and whether it was in a sandbox."""
    watch("probe").release("1.0", backend="flit")
    person.run("update")
    build = known(person)["builds"][0]
    assert list(build["requirements"]) == ["flit-core"]
    assert re.fullmatch(r"[0-9.]+", build["requirements"]["flit-core"])
    assert build["sandboxed"] is False
