"""What real updates leave of older releases."""

from pathlib import Path

from fixtures import Person
from projects import create
from wheels import wheel

from pypi_insiders.index.release_lists import YANKED


def test_update_keeps_the_newest_versions(person: Person, tmp_path: Path) -> None:
    """As many as the repository says, or else the settings; what else lies there stays."""
    project = create(tmp_path, "probe")
    for version in ("1.0", "1.1", "1.2"):
        project.write(version)
        project.push(f"v{version}")
        if version == "1.0":
            person.run("repos", "add", "me/probe", "--url", project.url)
        person.run("update")
    wheel(person.paths.distributions, "probe", "0.1")
    for version in ("0.1", "1.0", "1.1"):
        person.run("yank", "probe", version)
    assert len(person.distributions()) == 8
    dry = person.run("prune", "--keep", "2", "--dry-run")
    assert dry.stdout == (
        "would remove probe-1.0.tar.gz from the index\n"
        "would remove probe-1.0-py3-none-any.whl from the index\n"
    )
    assert len(person.distributions()) == 8
    person.paths.settings.write_text("[watcher]\nkeep = 2\n")
    done = person.run("update")
    assert (
        "me/probe: removed probe-1.0.tar.gz, probe-1.0-py3-none-any.whl (keep = 2)\n"
    ) in done.stderr
    added = person.run("repos", "add", "me/probe", "--keep", "1")
    assert added.stdout == "me/probe is already watched; keep = 1\n"
    assert "keep = 1\n" in person.paths.repositories.read_text()
    pruned = person.run("prune")
    assert pruned.stdout == (
        "removed probe-1.1.tar.gz from the index\n"
        "removed probe-1.1-py3-none-any.whl from the index\n"
    )
    assert YANKED.load(person.paths.distributions) == {"probe": {"0.1": ""}}
    assert person.run("prune").stdout == (
        "nothing to remove: the index has no version beyond those that are kept\n"
    )
    again = person.run("update")
    assert again.stdout == "Checked 1 repository, published 0 files\n"
    assert person.distributions() == [
        ".yanked.json", "probe-0.1-py3-none-any.whl", "probe-1.2-py3-none-any.whl",
        "probe-1.2.tar.gz",
    ]  # fmt: skip


def test_purge_takes_the_yanks_along(person: Person, tmp_path: Path) -> None:
    """A version that comes back some day is not yanked for a reason that is gone."""
    project = create(tmp_path, "probe")
    project.write("1.0")
    project.push("v1.0")
    person.run("repos", "add", "me/probe", "--url", project.url)
    person.run("update")
    person.run("yank", "probe", "1.0", "--reason", "broken")
    person.run("repos", "remove", "--purge", "--yes", "me/probe")
    assert (person.distributions(), YANKED.load(person.paths.distributions)) == ([], {})
