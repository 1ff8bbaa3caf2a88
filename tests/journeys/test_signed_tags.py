"""Tags that are signed by real keys, as an update and `repos add` see them."""

import shutil
from pathlib import Path

import pytest
from fixtures import Person
from projects import Project, git
from signers import Signer, gpg_homes, project, signers

__all__ = ["gpg_homes", "project", "signers"]

pytestmark = pytest.mark.usefixtures("gitconfig")


def test_only_signed_tags_are_built(
    person: Person, project: Project, signers: tuple[Signer, Signer], tmp_path: Path
) -> None:
    """Others are named and passed over; what is signed and older takes their place."""
    allowed, other = signers
    file = tmp_path / "allowed"
    shutil.copy(allowed.file, file)
    person.run("repos", "add", "me/probe:probe", "--url", project.url, "--allowed-signers", file)
    for version, signer in (("1.0", allowed), ("1.1", None), ("1.2", other)):
        project.release(version)
        if signer is not None:
            signer.sign(project, f"v{version}")
            git(project.tree, "push", "--quiet", "--force", "origin", "--tags")
    done = person.run("update")
    assert person.distributions() == ["probe-1.0-py3-none-any.whl", "probe-1.0.tar.gz"]
    told = [line for line in done.stderr.splitlines() if "skipped" in line]
    assert [line.partition(" skipped: ")[0] for line in told] == [
        "warning: me/probe: tag v1.2", "warning: me/probe: tag v1.1",
    ]  # fmt: skip
    quiet = person.run("update")
    assert (quiet.stdout, quiet.stderr) == ("Checked 1 repository, published 0 files\n", "")
    failed = person.run("update", "me/probe", "--tag", "v1.1", status=1)
    assert "error: me/probe: tag v1.1: " in failed.stderr or "error: me/probe: " in failed.stderr
    # Who is allowed later is asked again.
    file.write_bytes(other.file.read_bytes())
    person.run("update")
    assert "probe-1.2.tar.gz" in person.distributions()


def test_the_project_name_is_read_from_a_signed_tag(
    person: Person, project: Project, signers: tuple[Signer, Signer]
) -> None:
    """As the first update passes over those that nobody signed, so does `repos add`."""
    allowed, _ = signers
    project.release("1.0")
    allowed.sign(project, "v1.0")
    git(project.tree, "push", "--quiet", "--force", "origin", "--tags")
    Project("stranger", project.tree, project.remote).write("1.1")
    project.push("v1.1")
    added = person.run(
        "repos", "add", "me/probe", "--url", project.url, "--allowed-signers", allowed.file
    )
    assert added.stdout == "watching me/probe as probe\n"
