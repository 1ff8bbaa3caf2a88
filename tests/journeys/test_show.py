"""show: what a person and a script read of one repository."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fallback import fallback
from fixtures import Person
from hostile import Index
from projects import Project, create

from pypi_insiders.config.paths import build_log

__all__ = ["fallback"]

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(\d+ s ago\)"
RFC3339 = "%Y-%m-%dT%H:%M:%SZ"


@pytest.fixture
def project(person: Person, tmp_path: Path, fallback: Index) -> Project:
    """A project that the person watches."""
    project = create(tmp_path, "probe")
    person.run("repos", "add", "me/probe", "--url", project.url)
    return project


def show(person: Person, *options: str) -> str:
    """Read what `show` prints for people, in UTC."""
    return person.run("show", "me/probe", *options, TZ="UTC").stdout


def shown(person: Person) -> dict[str, Any]:
    """Read what `show` prints for scripts."""
    content: dict[str, Any] = json.loads(person.run("show", "me/probe", "--json").stdout)
    return content


def is_recent(text: str) -> bool:
    """Tell whether a time in RFC 3339 was within the last minutes."""
    moment = datetime.strptime(text, RFC3339).replace(tzinfo=UTC)
    return abs((datetime.now(UTC) - moment).total_seconds()) < 200


UNNAMED = (
    "project name unknown; until it is known, installers can get a public package of that name"
)


def remembered(person: Person) -> Path:
    """Find the file with what is known of the repository."""
    return person.paths.state / "repositories/me/probe.json"


def test_of_a_repository_that_was_never_checked_that_is_said(
    person: Person, project: Project
) -> None:
    """With what to type; a script gets `null` for all that nobody knows."""
    person.run("repos", "add", "me/probe", "--keep", "3", "--tags", "v*")
    assert show(person) == (
        "me/probe\n"
        f"  url           {project.url}\n"
        "  project       unknown until the first build\n"
        '  settings      keep = 3, tags = "v*"\n'
        "  last checked  never; `pypi-insiders update me/probe` checks it now\n"
        "\n"
        "problem: no release yet: not built\n"
        f"warning: {UNNAMED}\n"
    )
    lacking = "no release yet: not built"
    assert shown(person) == {
        "version": 1,
        "name": "me/probe",
        "watched": True,
        "url": project.url,
        "project": None,
        "settings": {"url": project.url, "keep": 3, "tags": "v*"},
        "checked_at": None,
        "tried_at": None,
        "first_unreachable_at": None,
        "served_version": None,
        "problems": [
            {"subject": "me/probe", "text": lacking, "hint": "`pypi-insiders update me/probe`",
             "tag": None}
        ],
        "warnings": [
            {"subject": "me/probe", "text": UNNAMED, "tag": None,
             "hint": "`pypi-insiders repos set me/probe project=PROJECT`"}
        ],
        "notes": [],
        "outdated": False,
        "builds": [],
        "failures": [],
        "waiting": [],
        "skipped_tags": [],
        "ignored_tags": [],
        "former_files": [],
        # Deprecated.
        "distribution": None,
        "unreachable_since": None,
        "errors": [],
        "begins_anew": False,
        "left_out": [],
        "passed_over": [],
    }  # fmt: skip


def test_people_read_what_was_built_from_what(person: Person, project: Project) -> None:
    """Newest first, with what the index no longer has and what is yanked."""
    first = project.release("1.9", backend="flit")
    person.run("update")
    project.push("nightly")
    second = project.release("1.10")
    person.run("update")
    person.run("yank", "probe", "1.9", "--reason", "loses data")
    (person.paths.distributions / "probe-1.10.tar.gz").unlink()
    known = json.loads(remembered(person).read_text())["builds"]
    hashes = {name: digest for build in known for name, digest in build["files"].items()}
    wheels = [f"probe-{version}-py3-none-any.whl" for version in ("1.10", "1.9")]
    confined = r"(not )?sandboxed"
    expected = [
        "me/probe",
        f"  url           {re.escape(project.url)}",
        "  project       probe",
        r"  served        1\.10",
        f"  last checked  {TIME}",
        "",
        r"problem: probe 1\.10: probe-1\.10\.tar\.gz is missing",
        "",
        rf"1\.10  v1\.10 \({second[:9]}\), built {TIME}, {confined}",
        rf"  probe-1\.10\.tar\.gz            sha256:{hashes['probe-1.10.tar.gz']}"
        "  not served",
        rf"  {re.escape(wheels[0])}  sha256:{hashes[wheels[0]]}",
        "",
        rf"1\.9  v1\.9 \({first[:9]}\), built {TIME}, {confined}, yanked: loses data",
        rf"  probe-1\.9\.tar\.gz            sha256:{hashes['probe-1.9.tar.gz']}",
        rf"  {re.escape(wheels[1])}  sha256:{hashes[wheels[1]]}",
        "",
        "ignored tags, not releases: nightly",
    ]
    lines = show(person).splitlines()
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line)
    requirements = re.findall(
        r"^  built with flit-core \d+(?:\.\d+)+$", show(person, "-v"), re.MULTILINE
    )
    assert len(requirements) == 1


def test_scripts_read_the_same(person: Person, project: Project) -> None:
    """Times in UTC, and build requirements in full."""
    commit = project.release("1.0", backend="flit")
    person.run("update")
    person.run("yank", "probe", "1.0")
    content = shown(person)
    assert is_recent(content["checked_at"])
    (build,) = content["builds"]
    assert is_recent(build.pop("built_at"))
    assert list(build["requirements"]) == ["flit-core"]
    known = json.loads(remembered(person).read_text())["builds"][0]
    assert build == {
        "version": "1.0",
        "tag": "v1.0",
        "commit": commit,
        "message": "v1.0",
        "sandboxed": known["sandboxed"],
        "requirements": known["requirements"],
        "remark": None,
        "uploaded_to": [],
        "yanked": True,
        "yank_reason": None,
        "files": [
            {"name": name, "sha256": digest, "served": True, "held": True}
            for name, digest in known["files"].items()
        ],
        "assets": [],
    }
    assert len(build["files"]) == 2


def test_what_failed_is_told_with_when_it_is_tried_again(person: Person, project: Project) -> None:
    """How often, why, and from when on."""
    project.write("1.0")
    project.hook("raise SystemExit('flux capacitor is missing')")
    commit = project.push("v1.0")
    person.run("update", status=1)
    person.run("update", "me/probe", status=1)
    why = "Backend subprocess exited when trying to invoke build_wheel: flux capacitor is missing"
    *last_two, log = show(person).splitlines()[-3:]
    kept = build_log(person.paths, "me/probe", "v1.0")
    assert log == f"  build output: {kept}"
    assert "flux capacitor is missing" in kept.read_text()
    assert last_two[0] == f"failed 2 times: v1.0 ({commit[:9]}): {why}"
    again = r"tried again from \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(in [12] h\)"
    assert re.fullmatch(f"  last {TIME}, {again}", last_two[1])
    (failure,) = shown(person)["failures"]
    assert is_recent(failure.pop("failed_at"))
    assert datetime.strptime(failure.pop("next_at"), RFC3339)
    assert failure == {"tag": "v1.0", "commit": commit, "message": why, "hint": None, "count": 2}


def test_what_is_no_longer_watched_is_still_told(person: Person, project: Project) -> None:
    """Until it is purged; and the name may be in any case."""
    project.release("1.0")
    person.run("update")
    person.run("repos", "remove", "me/probe")
    text = person.run("show", "ME/Probe").stdout
    assert text.startswith(f"me/probe (no longer watched)\n  url           {project.url}\n")
    assert "\n1.0  v1.0 (" in text
    assert (shown(person)["watched"], shown(person)["settings"]) == (False, None)
    person.run("repos", "remove", "--purge", "--yes", "me/probe")
    failed = person.run("show", "me/probe", status=1)
    assert (failed.stdout, failed.stderr) == (
        "",
        "error: me/probe is not a watched repository\nhint: `pypi-insiders repos add NS/PROJ`\n",
    )


def test_what_was_built_of_another_url_is_said_to_be(
    person: Person, project: Project, tmp_path: Path
) -> None:
    """The next update begins anew, and what is there is of the old one."""
    project.release("1.0")
    person.run("update")
    other = create(tmp_path, "other")
    person.run("repos", "remove", "me/probe")
    person.run("repos", "add", "me/probe:other", "--url", other.url)
    assert (
        f"  note          what is below was built as probe from {project.url}; "
        "the next update starts from scratch\n"
    ) in show(person)
    assert shown(person)["outdated"] is True


def test_a_host_that_is_out_of_reach_is_told(person: Person, project: Project) -> None:
    """Since when; and when it was reached last."""
    person.paths.state.mkdir(parents=True, exist_ok=True)
    checks = {"me/probe": {"checked_at": 1_700_000_000, "unreachable_since": 1_700_003_600}}
    (person.paths.state / "checks.json").write_text(json.dumps(checks))
    text = show(person)
    assert re.search(r"\n  last checked  2023-11-14 22:13:20 UTC \(\d+ d ago\)\n", text)
    assert re.search(r"\n  unreachable   since 2023-11-14 23:13:20 UTC \(\d+ d ago\)\n", text)
    content = shown(person)
    assert content["checked_at"] == "2023-11-14T22:13:20Z"
    assert content["first_unreachable_at"] == "2023-11-14T23:13:20Z"


def test_what_was_found_again_has_no_history(person: Person, project: Project) -> None:
    """Where what was built from what was lost, what nobody knows is `null`."""
    person.run("repos", "remove", "me/probe")
    person.run("repos", "add", "me/probe:probe", "--url", project.url)
    project.release("1.0")
    person.run("update")
    remembered(person).unlink()
    person.run("update")
    (build,) = shown(person)["builds"]
    assert (build["version"], build["sandboxed"], build["requirements"]) == ("1.0", None, None)


def test_a_name_that_is_none_and_a_state_that_is_damaged_are_said(
    person: Person, project: Project
) -> None:
    """The damage is set aside, and then nothing is known."""
    assert "'probe' is not a repository of the form NS/PROJ" in (
        person.run("show", "probe", status=2).stderr
    )
    remembered(person).parent.mkdir(parents=True)
    remembered(person).write_text("{")
    (warning,) = person.run("show", "me/probe").stderr.splitlines()
    assert warning.startswith(f"warning: {remembered(person)} is damaged (")
    assert warning.endswith("; set aside as probe.json.damaged")


def test_an_attempt_that_is_no_build_is_told_too(person: Person, project: Project) -> None:
    """With its time and its error; what was checked before stays."""
    project.release("1.0")
    person.run("update")
    project.remote.rename(project.remote.with_name("away.git"))
    person.run("update", status=1)
    why = (
        "repository not found, or no access to it "
        f"('{project.remote}' does not appear to be a git repository)"
    )
    told = show(person)
    assert re.search(rf"^  served        1\.0\n  last checked  {TIME}$", told, re.MULTILINE)
    assert re.search(rf"^  last attempt  {TIME}, failed$", told, re.MULTILINE)
    assert f"\nproblem: {why}\n" in told
    found = shown(person)
    assert (found["served_version"], found["errors"]) == ("1.0", [why])
    assert found["tried_at"] >= found["checked_at"]


def test_the_list_has_the_version_that_is_served(person: Person, project: Project) -> None:
    """Not the one that was built: its files may be gone; then it says why there is none."""

    def listed() -> tuple[str | None, str | None]:
        (row,) = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
        return row["served_version"], row["reason"]

    assert listed() == (None, "no release yet: not built")
    for number in ("1.0", "1.1"):
        project.release(number)
        person.run("update")
    assert listed() == ("1.1", None)
    for path in person.paths.distributions.glob("probe-1.1*"):
        path.unlink()
    assert listed() == ("1.0", None)
    for path in person.paths.distributions.glob("probe-*"):
        path.unlink()
    none, reason = listed()
    assert (none, reason is None) == (None, False)
    assert reason is not None
    assert reason.startswith("the files of probe 1.0, 1.1 are missing from ")
    lines = person.run("repos", "list").stdout.splitlines()
    assert lines[1].split()[:3] == ["me/probe", "probe", "-"]
    assert lines[2] == f"  not served: {reason}"
