"""yank, unyank, unpublish, prune: what becomes of releases, as the person does it."""

from pathlib import Path

import pytest
from fixtures import Person
from wheels import sdist, wheel

from pypi_insiders.index.release_lists import TAKEN_BACK, YANKED
from pypi_insiders.repositories import running, state
from pypi_insiders.repositories.state import Build, Failure, RepositoryState
from pypi_insiders.update import retention


@pytest.fixture
def directory(person: Person) -> Path:
    """An index with two releases of one project and one of another."""
    path = person.paths.distributions
    wheel(path, "my-dist", "1.0")
    sdist(path, "my-dist", "1.0")
    wheel(path, "my-dist", "1.1+insiders.2")
    wheel(path, "other", "2.0")
    return path


def test_yank_and_unyank(person: Person, directory: Path) -> None:
    """In any spelling; a second time it says so, and a new reason takes the old one's place."""
    files = "my_dist-1.0-py3-none-any.whl, my_dist-1.0.tar.gz"
    said = [
        person.run(*words.split(" ", 3)).stdout
        for words in (
            "yank My_Dist 1.0.0 --reason=it is  broken",
            "yank my-dist 1.0 --reason=it is broken",
            "yank my-dist 1.0",
            "unyank my.dist 1.0",
            "unyank my-dist 1.0",
        )
    ]
    assert said == [
        f"yanked my-dist 1.0: {files}\n",
        f"already yanked: my-dist 1.0: {files}\n",
        f"yanked my-dist 1.0: {files}\n",
        "unyanked my-dist 1.0\n",
        "not yanked: my-dist 1.0\n",
    ]
    assert person.distributions() == [
        "my_dist-1.0-py3-none-any.whl", "my_dist-1.0.tar.gz",
        "my_dist-1.1+insiders.2-py3-none-any.whl", "other-2.0-py3-none-any.whl",
    ]  # fmt: skip


def test_a_yank_of_what_is_gone_can_be_taken_back(person: Person, directory: Path) -> None:
    """Somebody removed the file by hand."""
    person.run("yank", "other", "2.0")
    (directory / "other-2.0-py3-none-any.whl").unlink()
    assert person.run("unyank", "Other", "2.0.0").stdout == "unyanked other 2.0\n"
    assert YANKED.load(directory) == {}


@pytest.mark.parametrize("command", ["yank", "unyank", "unpublish"])
def test_what_is_no_directory_is_named(person: Person, command: str) -> None:
    """In one line, with what to do."""
    path = person.paths.distributions
    path.parent.mkdir(parents=True)
    path.touch()
    done = person.run(command, "my-dist", "1.0", status=1)
    assert done.stderr == (
        f"error: cannot read {path}: Not a directory\nhint: move that file or directory away\n"
    )


def test_the_reason_is_kept_as_one_line(person: Person, directory: Path) -> None:
    """A page has no room for more."""
    person.run("yank", "other", "2.0", "--reason", " two\n lines ")
    assert YANKED.load(directory) == {"other": {"2.0": "two lines"}}


def test_unpublish_removes_a_release(person: Person, directory: Path) -> None:
    """All of its files and its yank, and nothing else."""
    person.run("yank", "my-dist", "1.0")
    done = person.run("unpublish", "--yes", "my-dist", "1.0", "1.1+insiders.2")
    assert done.stdout == (
        "removed my_dist-1.0-py3-none-any.whl from the index\n"
        "removed my_dist-1.0.tar.gz from the index\n"
        "removed my_dist-1.1+insiders.2-py3-none-any.whl from the index\n"
        "my-dist is no longer held: installers get it from the fallback index\n"
    )
    assert person.distributions() == ["other-2.0-py3-none-any.whl"]
    assert YANKED.load(directory) == {}


@pytest.mark.parametrize("command", ["yank", "unyank", "unpublish"])
@pytest.mark.parametrize(
    "told",
    [
        (
            "my-dist 3.0", 1,
            "error: my-dist 3.0 not found in the index\nhint: its versions: 1.0, 1.1+insiders.2\n",
        ),
        (
            "unknown 1.0", 1,
            "error: unknown has no releases here\n"
            "hint: list the watched repositories: `pypi-insiders repos list`\n",
        ),
        (
            "My.Dits 1.0", 1,
            "error: my-dits has no releases here\nhint: did you mean my-dist?\n",
        ),
        (
            "my/dist 1.0", 2,
            "error: 'my/dist' is not the name of a project\nhint: such as mkdocs-material\n",
        ),
        (
            "my-dist new", 2,
            "error: 'new' is not a version\nhint: such as 9.5.3+insiders.4.49.0\n",
        ),
    ],
)  # fmt: skip
def test_what_the_index_does_not_hold_is_named(
    person: Person, directory: Path, command: str, told: tuple[str, int, str]
) -> None:
    """With what it does hold; nothing changes."""
    words, status, message = told
    done = person.run(command, *words.split(), status=status)
    assert (done.stdout, done.stderr, len(person.distributions())) == ("", message, 4)


def test_one_wrong_version_leaves_all(person: Person, directory: Path) -> None:
    """Nothing is half done."""
    before = person.distributions()
    person.run("unpublish", "--yes", "my-dist", "1.0", "3.0", status=1)
    assert person.distributions() == before


def test_a_tag_that_failed_is_given_up(person: Person) -> None:
    """A newer release replaces it, and its owner leaves the tag: that is no problem for ever."""
    paths = person.paths
    paths.repositories.parent.mkdir(parents=True)
    paths.repositories.write_text('["me/probe"]\nurl = "file:///nowhere"\nproject = "probe"\n')
    wheel(paths.distributions, "probe", "1.1")
    failures = {tag: Failure("c0ffee", "no", 1, 0, 0) for tag in ("v1.0", "v0.9")}
    built = Build("v1.1", "c0ffee", "1.1", 0, {"probe-1.1-py3-none-any.whl": ""})
    known = RepositoryState("probe", [built], "file:///nowhere", failures=failures)
    state.save(paths.state, "me/probe", known)
    assert "tag v1.0: no" in person.run("status", status=1).stdout

    refused = person.run("unpublish", "--yes", "probe", "1.0", "0.8", status=1)
    assert refused.stderr.startswith("error: probe 1.0 not found in the index\n")
    assert set(state.load(paths.state, "me/probe").failures) == {"v1.0", "v0.9"}
    # A dry run only reads, so it does not wait for an update.
    with running.updates_stopped(paths):
        planned = person.run("unpublish", "--dry-run", "probe", "1.0")
        person.run("unpublish", "--dry-run", "probe", "1.1")
        person.run("prune", "--dry-run", "--keep", "1")
        person.run("repos", "remove", "--dry-run", "--purge", "me/probe")
    assert planned.stdout == "would give up me/probe v1.0\n"
    assert TAKEN_BACK.load(paths.distributions, paths.state) == {}
    done = person.run("unpublish", "--yes", "Probe", "1.0.0")
    assert done.stdout == "gave up me/probe v1.0: no update builds it\n"
    assert set(state.load(paths.state, "me/probe").failures) == {"v0.9"}
    assert TAKEN_BACK.load(paths.distributions, paths.state) == {"probe": {"1.0": "unpublished"}}


def test_without_an_index_there_is_nothing_to_yank(person: Person) -> None:
    """No directory is made for it."""
    done = person.run("yank", "my-dist", "1.0", status=1)
    assert done.stderr == (
        "error: my-dist has no releases here\n"
        "hint: list the watched repositories: `pypi-insiders repos list`\n"
    )
    assert not person.paths.distributions.exists()


def _build(tag: str, version: str) -> Build:
    return Build(tag, "c0ffee", version, 0, {f"d-{version}.tar.gz": "", f"{tag}.whl": ""})


@pytest.mark.parametrize(
    ("keep", "superfluous"),
    [
        (0, []),
        (1, ["1.9", "1.10rc1", "1.9.0"]),
        (2, ["1.9", "1.9.0"]),
        (3, []),
        (9, []),
    ],
)
def test_the_newest_versions_stay(tmp_path: Path, keep: int, superfluous: list[str]) -> None:
    """By version, not by time; two tags of one version are one. What is gone does not count."""
    builds = [_build(f"v{version}", version) for version in ("1.9", "1.10", "1.10rc1", "1.9.0")]
    names = [name for version in superfluous for name in (f"d-{version}.tar.gz", f"v{version}.whl")]
    for build in builds:
        for name in build.files:
            (tmp_path / name).touch()
    builds.append(_build("v2.0", "2.0"))
    assert retention.superfluous(tmp_path, builds, keep) == names


def test_prune_says_why_it_removes_nothing(person: Person) -> None:
    """Because nothing is watched, or because everything is kept."""
    assert person.run("prune").stderr == (
        "no repositories are watched; `pypi-insiders repos add NS/PROJ`\n"
    )
    person.run("repos", "add", "--no-check", "me/probe")
    assert person.run("prune").stdout == (
        "nothing to remove: all versions are kept (`--keep N` keeps only N)\n"
    )
