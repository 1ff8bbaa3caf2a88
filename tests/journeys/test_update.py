"""update: `pypi-insiders update` in the foreground, on real repositories with real builds."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from fallback import fallback
from fixtures import COMMAND, Person, Watch, names, need, unavailable, untimed
from hostile import Index
from projects import Project, block, create, git
from wheels import wheel

from pypi_insiders.index import store
from pypi_insiders.index.metadata_cache import MetadataCache, Origin
from pypi_insiders.reporting import snapshot
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.repositories import held_names, no_release

__all__ = ["fallback"]


def test_first_the_newest_then_each_new_tag_and_nothing_twice(
    person: Person, watch: Watch, fallback: Index
) -> None:
    """Old tags stay unbuilt; tags that come later are built once, the newest first."""
    project = watch("probe", named=False)
    project.release("1.9")
    commit = project.release("1.10")
    assert untimed(person.run("update").stdout) == "Checked 1 repository, published 2 files\n"
    assert person.distributions() == names("probe-1.10")
    listed = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
    assert listed == [
        {
            "name": "me/probe",
            "url": project.url,
            "project": "probe",
            "served_version": "1.10",
            "tag": "v1.10",
            "keep": None,
            "reason": None,
            "distribution": "probe",
            "version": "1.10",
        }
    ]
    record = json.loads((person.paths.state / "repositories/me/probe.json").read_text())
    (build,) = record["builds"]
    # What its tag says, for the pages.
    assert (build["tag"], build["commit"], build["message"]) == ("v1.10", commit, "v1.10")

    assert person.run("update").stdout == "Checked 1 repository, published 0 files\n"
    project.release("2.0")
    project.release("1.11")
    done = person.run("update", "me/probe")
    assert untimed(done.stdout) == "Checked 1 repository, published 4 files\n"
    assert [line for line in done.stderr.splitlines() if "published" in line] == [
        "me/probe: published probe-2.0.tar.gz, probe-2.0-py3-none-any.whl",
        "me/probe: published probe-1.11.tar.gz, probe-1.11-py3-none-any.whl",
    ]
    assert person.distributions() == names("probe-1.10", "probe-1.11", "probe-2.0")


def test_the_warnings_of_a_backend_are_for_who_asks(person: Person, watch: Watch) -> None:
    """They are the project's business: without `-v` nobody has to read them."""
    project = watch("probe")
    for version, options in (("1.0", ()), ("1.1", ("-v",))):
        project.write(version)
        project.hook("import warnings\nwarnings.warn('this is deprecated')")
        project.push(f"v{version}")
        shown = person.run("update", *options).stderr
        assert ("is deprecated" in shown) == bool(options)


def test_a_tag_that_is_no_version_is_passed_over_and_named_once(
    person: Person, watch: Watch
) -> None:
    """The log has one line for it, and not again at each run."""
    project = watch("probe")
    project.release("1.0")
    project.push("nightly")
    project.push("2.1.x")
    line = "me/probe: skipped tags that are not releases: 2.1.x, nightly\n"
    assert line in person.run("update").stderr
    assert line not in person.run("update").stderr
    assert person.distributions() == names("probe-1.0")
    for tag in ("probe-v1.1", "probe-v1.2", "probe-v1.3", "probe-v1.4"):
        project.push(tag)
    warning = "skipped 4 tags such as probe-v1.4, newer than v1.0"
    hint = "`pypi-insiders repos set me/probe tags='probe-v{version}'`"
    assert f"warning: me/probe: {warning}; {hint}\n" in person.run("update").stderr
    added = person.run("repos", "add", "them/probe", "--url", project.url)
    hint = hint.replace("me/probe", "them/probe")
    assert added.stderr.startswith(f"warning: them/probe: {warning}\nhint: {hint}\n")
    person.run("repos", "set", "me/probe", "tags=*")
    assert "skipped 4 tags" not in person.run("update", "me/probe").stderr


def test_a_moved_tag_changes_nothing_that_is_published(person: Person, watch: Watch) -> None:
    """The tag is warned about; the published files keep their content."""
    project = watch("probe")
    old = project.release("1.0")
    person.run("update")
    before = {name: (person.paths.distributions / name).read_bytes() for name in names("probe-1.0")}
    (project.package / "more.py").write_text("")
    new = project.push("v1.0", force=True)
    assert person.run("update").stderr == (
        f"warning: me/probe: tag v1.0 has moved from {old[:9]} to {new[:9]} since its build; "
        "its published files stay\n"
    )
    assert before == {name: (person.paths.distributions / name).read_bytes() for name in before}


@pytest.mark.parametrize(
    ("tags", "error", "hint"),
    [
        (
            ["nightly"],
            "none of its tags is a version: nightly",
            "releases are built from tags such as v1.0",
        ),
    ],
)
def test_nothing_to_build_is_said(
    person: Person, watch: Watch, tags: list[str], error: str, hint: str
) -> None:
    """A repository without a single release is a failure that names the reason."""
    project = watch("probe")
    project.write("1.0")
    for tag in tags:
        project.push(tag)
    failed = person.run("update", status=1)
    assert failed.stderr.splitlines()[-2:] == [f"error: me/probe: {error}", f"hint: {hint}"]
    assert failed.stdout == "Checked 1 repository, published 0 files; 1 failed: me/probe\n"


def test_another_name_than_the_configured_one_is_refused(person: Person, watch: Watch) -> None:
    """What is built under a foreign name never gets into the index."""
    project = watch("probe")
    Project("pip", project.tree, project.remote).write("99.0")
    project.push("v99.0")
    failed = person.run("update", status=1)
    assert failed.stderr.splitlines()[-2:] == [
        "error: me/probe: tag v99.0: the build is of project pip, expected probe",
        "hint: if this is correct: `pypi-insiders repos set me/probe project=pip`",
    ]
    assert person.distributions() == []
    person.run("repos", "set", "me/probe", "project=pip")
    person.run("update", "me/probe")
    assert person.distributions() == names("pip-99.0")


def test_a_name_that_was_built_once_may_not_change(
    person: Person, watch: Watch, fallback: Index
) -> None:
    """Without a configured name the first build decides, for good."""
    project = watch("probe", named=False)
    project.release("1.0")
    person.run("update")
    Project("pip", project.tree, project.remote).write("99.0")
    project.push("v99.0")
    failed = person.run("update", status=1)
    assert (
        "error: me/probe: tag v99.0: the build is of project pip, expected probe" in failed.stderr
    )
    assert person.distributions() == names("probe-1.0")


def test_the_name_of_a_project_that_was_renamed_is_not_redirected(
    person: Person, watch: Watch, fallback: Index
) -> None:
    """It is as private as the former one; that of a public project stays public."""
    wheel(fallback.directory, "public", "1.0")
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    for name, version in (("public", "2.0"), ("renamed", "3.0")):
        Project(name, project.tree, project.remote).write(version)
        project.push(f"v{version}")
    # Its metadata are never seen, but its files state the name.
    Project("broken", project.tree, project.remote).write("4.0")
    for backend in project.tree.glob("*.py"):
        backend.write_text("raise SystemExit(1)\n")
    project.push("v4.0")
    person.run("update", status=1)
    held = held_names.load(person.paths)
    assert set(held.repositories) == {"probe", "renamed", "broken"}
    found = no_release.find(person.paths, held, "renamed", None)
    assert found is not None
    assert (found.text, found.hint) == (
        "renamed has no release: me/probe has a tag of it, but is watched as probe",
        "if it was renamed: `pypi-insiders repos set me/probe project=renamed`, or give up the "
        "name: `pypi-insiders unpublish renamed --all`",
    )

    def told(status: int) -> list[tuple[str, str]]:
        found = json.loads(person.run("status", "--json", status=status).stdout)
        listed = (*found["problems"], *found["warnings"])
        return [(item["subject"], item["text"]) for item in listed]

    # The failed tags say it; without them, the name still has its line.
    assert not [subject for subject, _ in told(1) if subject == "renamed"]
    git(project.remote, "tag", "--delete", "v2.0", "v3.0", "v4.0")
    person.run("update")
    assert ("renamed", found.text) in told(3)
    for name in ("renamed", "broken"):
        person.run("unpublish", name, "--all", "--yes")
    assert set(held_names.load(person.paths).repositories) == {"probe"}


def test_one_distribution_comes_from_one_repository(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """A second repository that builds the same name is refused."""
    watch("probe").release("1.0")
    person.run("update")
    other = create(tmp_path, "probe", "you/probe")
    person.run("repos", "add", "you/probe", "--url", other.url)
    other.release("2.0")
    failed = person.run("update", "you/probe", status=1)
    assert (
        "error: you/probe: tag v2.0: it builds probe, which already belongs to me/probe"
        in failed.stderr
    )
    assert person.distributions() == names("probe-1.0")
    found = json.loads(person.run("status", "--json", status=1).stdout)
    assert "you/probe" not in [item["subject"] for item in found["warnings"]]


def start_update(person: Person) -> "subprocess.Popen[str]":
    """Start an update as a shell does: in a process group of its own."""
    return subprocess.Popen(
        [COMMAND, "update"],
        env=person.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def wait_for_line(process: "subprocess.Popen[str]", text: str) -> None:
    """Read the process's log until a line contains the text."""
    assert process.stderr
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{text!r} never came")


def test_of_two_updates_at_once_the_second_waits(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """The second says that it waits, and builds nothing again."""
    pipe = tmp_path / "pipe"
    block(watch("probe"), "1.0", pipe)
    first = start_update(person)
    wait_for_line(first, "building tag v1.0")
    second = start_update(person)
    wait_for_line(second, "an update is running; waiting for its end")
    pipe.open("w").close()
    assert untimed(first.communicate(timeout=60)[0]) == "Checked 1 repository, published 2 files\n"
    assert second.communicate(timeout=60)[0] == "Checked 1 repository, published 0 files\n"
    assert (first.returncode, second.returncode) == (0, 0)


def test_what_was_removed_meanwhile_is_not_published(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """Neither what is new nor what was lost; a name that was let go stays so."""
    pipe = tmp_path / "pipe"
    block(watch("probe"), "1.0", pipe)
    update = start_update(person)
    wait_for_line(update, "building tag v1.0")
    told = person.run("repos", "remove", "me/probe").stdout
    assert "probe is no longer held" in told
    pipe.open("w").close()
    out, errors = update.communicate(timeout=60)
    assert (out, update.returncode) == ("Checked 1 repository, published 0 files\n", 0)
    assert "warning: me/probe: removed while it was built; nothing published\n" in errors
    assert person.distributions() == []
    assert held_names.load(person.paths).repositories == {}

    person.run("repos", "add", "me/probe:probe", "--url", f"file://{tmp_path}/git/me/probe.git")
    update = start_update(person)
    pipe.open("w").close()
    update.communicate(timeout=60)
    (person.paths.distributions / names("probe-1.0")[0]).unlink()
    update = start_update(person)
    wait_for_line(update, "building tag v1.0")
    person.run("repos", "remove", "me/probe")
    pipe.open("w").close()
    assert (
        update.communicate(timeout=60)[0]
        == "Checked 1 repository, published 0 files; 1 failed: probe\n"
    )
    assert person.distributions() == names("probe-1.0")[1:]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupted_update_leaves_nothing_half_done(
    person: Person, watch: Watch, tmp_path: Path, number: int, status: int
) -> None:
    """Ctrl-C and `systemctl stop` end the build; the next update does it all."""
    pipe = tmp_path / "pipe"
    block(watch("probe"), "1.0", pipe)
    update = start_update(person)
    with pipe.open("w"):  # opens when the build is there, and keeps it waiting
        os.killpg(update.pid, number)
        _, errors = update.communicate(timeout=60)
    assert update.returncode == status
    assert errors.splitlines()[-3:] == [
        "note: what was published until now stays",
        "",  # after the ^C of a terminal
        "error: interrupted",
    ]
    assert person.distributions() == []
    again = start_update(person)
    pipe.open("w").close()
    assert untimed(again.communicate(timeout=60)[0]) == "Checked 1 repository, published 2 files\n"


def test_a_token_that_only_the_watcher_has_stops_no_other_repository(
    person: Person, watch: Watch
) -> None:
    """Which repository lacks it is said."""
    watch("one").release("1.0")
    watch("two").release("1.0")
    person.run("repos", "set", "me/two", "token-credential=forge")
    failed = person.run("update", status=1)
    assert (
        "error: me/two: its token is the credential forge of the watcher"
    ) in failed.stderr.splitlines()
    assert person.distributions() == names("one-1.0")


def test_a_full_disk_leaves_nothing_half_written(person: Person, watch: Watch) -> None:
    """The error names the file; no part of it is in the index; with room it works."""
    project = watch("probe")
    project.write("1.0")
    (project.package / "data.bin").write_bytes(os.urandom(300_000))
    project.push("v1.0")
    directory = person.paths.distributions
    directory.mkdir(parents=True)
    script = f'mount -t tmpfs -o size=64k tmpfs "$0" && {COMMAND} update; ls -A -I .held.json "$0"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, directory],
        env=person.environment, capture_output=True, text=True,
    )  # fmt: skip
    if "unshare" in done.stderr or "mount:" in done.stderr:
        unavailable(done.stderr.strip())
    error, hint = done.stderr.splitlines()[-2:]
    full = rf"the disk of {directory} is too full: \d+ KiB required, \d+ KiB available"
    assert re.fullmatch(rf"error: me/probe: tag v1\.0: {full}", error)
    assert hint == ("hint: free space on that disk, or lower `disk-reserve` under [build]")
    # And no file.
    assert done.stdout == "Checked 1 repository, published 0 files; 1 failed: me/probe\n"
    assert untimed(person.run("update").stdout) == "Checked 1 repository, published 2 files\n"


def test_what_a_killed_update_left_is_swept(person: Person, watch: Watch) -> None:
    """Source trees of an update that was killed do not pile up."""
    left = person.paths.builds / "left"
    left.mkdir(parents=True)
    watch("probe").release("1.0")
    person.run("update")
    assert list(person.paths.builds.iterdir()) == []


def update_at_link(person: Person, name: str, do: str) -> "subprocess.CompletedProcess[str]":
    """Run an update that does something when it is about to give a file its name."""
    code = f"""
import errno, os, signal, sys
def watch(event, arguments):
    if event == "os.link" and str(arguments[1]).endswith("/{name}"):
        {do}
sys.addaudithook(watch)
from pypi_insiders.__main__ import main
sys.argv = ["pypi-insiders", "update"]
main()
"""
    return subprocess.run(
        [sys.executable, "-c", code], env=person.environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def update_killed(person: Person, name: str) -> None:
    """Run an update that is killed when it is about to give a file its name."""
    done = update_at_link(person, name, "os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_publication_that_fails_is_forgotten(person: Person, watch: Watch) -> None:
    """The disk refuses the second file: neither is there, and nothing says that it should be."""
    watch("probe").release("1.0")
    refuse = 'raise OSError(errno.EDQUOT, "Disk quota exceeded")'
    done = update_at_link(person, names("probe-1.0")[0], refuse)
    assert "Disk quota exceeded" in done.stderr
    assert person.distributions() == []
    path = person.paths.state / "repositories/me/probe.json"
    assert json.loads(path.read_text())["builds"] == []
    person.run("update", status=0)
    assert person.distributions() == names("probe-1.0")


def test_a_publication_that_was_killed_is_finished_or_taken_back(
    person: Person, watch: Watch
) -> None:
    """It is a problem until the next update; no release is of two commits."""

    def problems() -> list[str]:
        seen = snapshot.take(person.paths, datetime.now().astimezone())
        return [item.line for item in judge(seen).problems]

    def shown() -> list[str]:
        return [name for name in person.distributions() if not name.startswith(".")]

    project = watch("probe")
    project.release("1.0")
    update_killed(person, names("probe-1.0")[0])
    assert shown() == names("probe-1.0")[1:]
    assert problems() == [f"me/probe: probe 1.0: {names('probe-1.0')[0]} is missing"]
    assert untimed(person.run("update").stdout) == "Checked 1 repository, published 1 file\n"
    assert shown() == names("probe-1.0")
    assert problems() == []

    project.release("2.0")
    update_killed(person, names("probe-2.0")[0])
    project.write("2.0")
    (project.package / "more.py").touch()
    project.push("v2.0", force=True)
    project.release("3.0")
    update_killed(person, names("probe-3.0")[0])
    git(project.remote, "tag", "--delete", "v3.0")
    done = person.run("update")
    warning = (
        "warning: me/probe: publication of {0} was interrupted, and tag v{0} {1}: removed {2}\n"
    )
    assert warning.format("3.0", "no longer exists", "probe-3.0.tar.gz") in done.stderr
    assert shown() == names("probe-1.0", "probe-2.0")
    with contextlib.closing(
        MetadataCache(person.paths.record, person.paths.distributions)
    ) as record:
        origins = {entry.origin for entry in record.entries().values() if entry.version == "2.0"}
    commit = git(project.remote, "rev-parse", "v2.0^{commit}")
    assert origins == {Origin("me/probe", "v2.0", commit)}
    assert problems() == []


def test_a_file_that_no_build_made_beside_a_release_is_a_problem(
    person: Person, watch: Watch
) -> None:
    """It stays as it is, and is named for as long as it is there; lower versions do not count."""
    directory = person.paths.distributions
    for version in ("0.1", "2.0"):
        wheel(directory, "probe", version)
    hand_made = directory / "probe-2.0-py3-none-any.whl"
    before = hand_made.read_bytes()
    watch("probe").release("2.0")

    def problems() -> list[tuple[str, str | None]]:
        seen = snapshot.take(person.paths, datetime.now().astimezone())
        return [(item.line, item.hint) for item in judge(seen).problems]

    assert problems() == []  # all of it is by hand
    text = f"me/probe: probe 2.0: not built from me/probe: {hand_made.name}"
    hint = f"move that file out of {directory}, then "
    hint += "`pypi-insiders update me/probe --tag v2.0 --force`"
    for _ in range(2):
        done = person.run("update", status=1)
        assert f"error: {text}\nhint: {hint}\n" in done.stderr
        assert done.stdout.endswith("; 1 failed: me/probe\n")
        assert hand_made.read_bytes() == before
        assert problems() == [(text, hint)]
    hand_made.unlink()
    person.run("update", "me/probe", "--tag", "v2.0", "--force")
    assert problems() == []
    wheel(directory, "probe", "3.0")
    assert [line for line, _ in problems()] == [text.replace("2.0", "3.0")]
    told = person.run("repos", "remove", "--purge", "--yes", "me/probe").stdout
    assert (
        "  stays in the index, not built from me/probe: "
        "probe-0.1-py3-none-any.whl, probe-3.0-py3-none-any.whl\n"
        "  to remove that too: pypi-insiders unpublish probe --all\n"
    ) in told


def test_a_lost_file_that_nothing_builds_is_an_error(person: Person, watch: Watch) -> None:
    """Until it is published again, or its release given up as the hint says."""
    watch("probe").release("1.0")
    directory = person.paths.distributions
    with contextlib.closing(MetadataCache(person.paths.record, directory)) as record:
        file = wheel(person.home, "other", "1.0")
        store.publish(directory, record, [file])
        second = wheel(person.home, "other", "1.1")
        store.publish(directory, record, [second])
    (directory / file.name).unlink()
    hint = (
        "publish the same file again; or give up the release: `pypi-insiders unpublish other 1.0`"
    )
    done = person.run("update", status=1)
    assert untimed(done.stdout) == "Checked 1 repository, published 2 files; 1 failed: other\n"
    assert f"error: {file.name} is missing\nhint: {hint}\n" in done.stderr
    found = json.loads(person.run("update", "--json", status=1).stdout)
    assert found["problems"] == [
        {"subject": "other", "text": f"{file.name} is missing", "hint": hint, "tag": None}
    ]
    assert found["errors"] == [f"{file.name} is missing"]
    assert [item["name"] for item in found["repositories"]] == ["me/probe"]
    seen = snapshot.take(person.paths, datetime.now().astimezone())
    (problem,) = judge(seen).about(["other"])
    assert (problem.text, problem.hint) == (f"other 1.0: {file.name} is missing", hint)
    person.run("unpublish", "--yes", "other", "1.0")
    assert person.run("update").stdout == "Checked 1 repository, published 0 files\n"


def test_a_repository_is_removed_however_it_is_spelled(person: Person, watch: Watch) -> None:
    """Also one of which something was built."""
    watch("probe").release("1.0")
    person.run("update")
    assert person.run("repos", "remove", "ME/Probe").stdout.startswith("removed me/probe\n")
    assert json.loads(person.run("repos", "list", "--json").stdout)["repositories"] == []


def test_removing_says_what_stays_and_purge_takes_it(person: Person, watch: Watch) -> None:
    """`remove` keeps the distributions and says so; `--purge` removes them, later too."""
    watch("probe").release("1.0")
    person.run("update")
    for done in ("removed me/probe", "me/probe is no longer watched"):
        assert person.run("repos", "remove", "me/probe").stdout == (
            f"{done}\n"
            "  stays in the index: probe-1.0.tar.gz, probe-1.0-py3-none-any.whl\n"
            "  to remove that too: pypi-insiders repos remove --purge me/probe\n"
        )
    assert person.distributions() == names("probe-1.0")
    assert person.run("repos", "remove", "--purge", "--yes", "me/probe").stdout == (
        "me/probe is no longer watched\n"
        "  removed probe-1.0.tar.gz from the index\n"
        "  removed probe-1.0-py3-none-any.whl from the index\n"
        "probe is no longer held: installers get it from the fallback index\n"
    )
    assert person.distributions() == []
    assert not (person.paths.state / "repositories/me/probe.json").exists()


def test_on_a_terminal_progress_is_live_and_in_a_pipe_plain(person: Person, watch: Watch) -> None:
    """Control sequences are for terminals only."""
    watch("probe").release("1.0")
    terminal = subprocess.run(
        [need("script"), "--quiet", "--return", "--command", f"{COMMAND} update", "/dev/null"],
        env={**person.environment, "TERM": "xterm"}, capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert terminal.returncode == 0
    assert b"building v1.0" in terminal.stdout
    assert b"\x1b[" in terminal.stdout
    piped = person.run("update")
    assert "\x1b" not in piped.stdout + piped.stderr


def test_the_first_builds_of_a_process_do_not_disturb_each_other(
    person: Person, watch: Watch
) -> None:
    """Builds begin at the same moment, in threads, each time in a process that has built nothing.

    Several times, because what went wrong there did so every second time.
    """
    for name in ("alpha", "beta"):
        watch(name).release("1.0")
    for _ in range(3):
        assert untimed(person.run("update").stdout) == "Checked 2 repositories, published 4 files\n"
        shutil.rmtree(person.paths.state)
        shutil.rmtree(person.paths.distributions)


def test_an_update_that_waited_leaves_out_what_was_removed_meanwhile(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """What is watched is read when it is the update's turn."""
    pipe = tmp_path / "pipe"
    block(watch("slow"), "1.0", pipe)
    first = start_update(person)
    wait_for_line(first, "building tag v1.0")
    watch("gone").release("1.0")
    second = start_update(person)
    wait_for_line(second, "an update is running; waiting for its end")
    person.run("repos", "remove", "me/gone")
    pipe.open("w").close()
    first.communicate(timeout=60)
    assert second.communicate(timeout=60)[0] == "Checked 1 repository, published 0 files\n"
    assert person.distributions() == names("slow-1.0")


def test_a_name_that_stands_for_another_repository_begins_anew(
    person: Person, watch: Watch, tmp_path: Path
) -> None:
    """After a wrong URL or distribution was put right, nothing of the old one is taken for new."""
    watch("probe").release("1.0")
    person.run("update")
    other = create(tmp_path, "other")
    other.release("1.0")
    person.run("repos", "remove", "me/probe")
    person.run("repos", "add", "me/probe:other", "--url", other.url)
    (row,) = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
    assert row["served_version"] is None
    done = person.run("update")
    assert "me/probe: its url or project has changed; starting from scratch" in done.stderr
    assert person.distributions() == names("other-1.0", "probe-1.0")
    person.run("repos", "remove", "--purge", "--yes", "me/probe")
    assert person.distributions() == []


def test_a_tag_that_made_way_for_another_does_not_block(person: Person, watch: Watch) -> None:
    """`rel` was deleted and `rel/2` made: git cannot have both."""
    project = watch("probe")
    project.release("1.0")
    project.push("rel")
    person.run("update")
    git(project.tree, "tag", "--delete", "rel")
    git(project.tree, "push", "--quiet", "origin", ":refs/tags/rel")
    project.push("rel/2")
    project.release("2.0")
    person.run("update")
    assert person.distributions() == names("probe-1.0", "probe-2.0")


def test_a_second_tag_of_one_version_publishes_nothing_and_says_so(
    person: Person, watch: Watch
) -> None:
    """The figures count what is new."""
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    project.push("v1.1")
    done = person.run("update")
    assert done.stdout == "Checked 1 repository, published 0 files\n"
    assert done.stderr.splitlines()[-1] == "me/probe: published no new files"


def test_what_is_private_stays_private(person: Person, watch: Watch) -> None:
    """Nobody else on the machine reads mirrors, sources or distributions."""
    watch("probe").release("1.0")
    person.run("update")
    paths = person.paths
    for directory in (paths.config, paths.data, paths.state, paths.cache):
        assert directory.stat().st_mode & 0o777 == 0o700
    with zipfile.ZipFile(paths.distributions / "probe-1.0-py3-none-any.whl") as archive:
        assert archive.getinfo("probe/__init__.py").external_attr >> 16 & 0o777 == 0o644


def test_a_repository_cannot_be_added_for_what_another_one_built(
    person: Person, watch: Watch, fallback: Index
) -> None:
    """The first build gave the name an owner."""
    watch("probe", named=False).release("1.0")
    person.run("update")
    failed = person.run("repos", "add", "you/new:probe", status=1)
    assert failed.stderr.startswith("error: probe already belongs to me/probe\n")
