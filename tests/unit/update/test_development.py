"""development: what the version of a head follows from."""

from pathlib import Path

from packaging.version import Version
from projects import create, git

from pypi_insiders import git as remotes
from pypi_insiders.repositories import heads
from pypi_insiders.repositories.dev_versions import Numbering
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.update import development
from pypi_insiders.update.sources import TaggedRelease


def test_releases_of_the_branch_before_the_head_count(tmp_path: Path) -> None:
    """Not those of other projects or branches, nor a tag that the head itself gets later."""
    project = create(tmp_path, "probe")
    for tag in ("app-1.9", "app-1.10", "docs-7.0"):
        project.push(tag)
    git(project.tree, "commit", "--quiet", "--allow-empty", "--message", "x")
    head = project.push("app-1.11")
    git(project.tree, "checkout", "--quiet", "--orphan", "other")
    other = project.push("app-3.0")
    mirror = tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)

    def build(commit: str, version: str) -> Build:
        return Build(heads.label("main", commit), commit, version, 0, {})

    repository = Repository("me/probe", tags="app-{version}")
    known = RepositoryState(builds=[build(other, "1.10.1.dev9+gaaaaaaa")])
    numbers = development.numbering(mirror, repository, head, known)
    assert numbers == Numbering(head, Version("1.10"), 3, (Version("1.10.1.dev9+gaaaaaaa"),))
    known.builds.append(build(head, "1.10.1.dev3+gbbbbbbb"))
    numbers = development.numbering(mirror, repository, head, known)
    assert numbers.exact == Version("1.10.1.dev3+gbbbbbbb")
    orphan = development.numbering(mirror, repository, other, RepositoryState())
    assert orphan == Numbering(other, None, 1)


def test_a_branch_was_rewritten_if_its_last_head_is_not_in_its_history(tmp_path: Path) -> None:
    project = create(tmp_path, "probe")
    first, second = project.push("one"), project.push("two")
    git(project.tree, "reset", "--quiet", "--hard", first)
    third = project.push("three")
    mirror = tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)

    def warned(branch: str, head: str, *built: str) -> list[str]:
        builds = [Build(heads.label("main", it), it, "1.dev1", 0, {}) for it in built]
        release = TaggedRelease(Repository("me/probe"), heads.label(branch, head), head)
        numbered, warnings = development.numbered(mirror, release, RepositoryState(builds=builds))
        assert numbered.numbers is not None
        return warnings

    assert warned("main", second, first) == []
    assert warned("main", third, second, first) == []
    assert warned("other", third, second) == []
    assert warned("main", second, third, second) == []
    gone = "0" * 40
    for old in (second, gone):
        assert warned("main", third, first, old) == [
            f"branch main was rewritten: {old:.9}, built as 1.dev1, is not in the history of "
            f"{third:.9}"
        ]
