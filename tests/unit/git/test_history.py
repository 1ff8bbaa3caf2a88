"""history: what is known of a commit without its files."""

from pathlib import Path

from projects import create, git

from pypi_insiders import git as remotes
from pypi_insiders.git.listing import Refs


def test_tags_and_count_of_a_branch_come_from_its_own_history(tmp_path: Path) -> None:
    """Also of a partial mirror, which has no files."""
    project = create(tmp_path, "probe")
    first = project.release("1.0", annotated=False)
    second = project.release("1.1")
    git(project.tree, "checkout", "--quiet", "-b", "other", first)
    aside = project.release("2.0")
    git(project.tree, "checkout", "--quiet", "main")
    git(project.tree, "commit", "--quiet", "--allow-empty", "--message", "more")
    git(project.tree, "push", "--quiet", "origin", "main")
    head = git(project.tree, "rev-parse", "HEAD")

    tags = {"v1.0": first, "v1.1": second, "v2.0": aside}
    assert remotes.list_refs(project.url) == Refs(tags, {})
    both = remotes.list_refs(project.url, has_branches=True)
    assert both == Refs(tags, {"main": head, "other": aside})
    assert remotes.default_branch(project.url) == "main"

    mirror = tmp_path / "mirror.git"
    remotes.fetch(project.url, mirror)
    assert remotes.is_ancestor(mirror, second, head) is None
    remotes.fetch_commit(project.url, mirror, head)
    assert remotes.merged_tags(mirror, head) == {"v1.0": first, "v1.1": second}
    assert remotes.count_commits(mirror, head, second) == 1
    assert remotes.count_commits(mirror, head) == 3
    assert remotes.is_ancestor(mirror, second, head) is True
    assert remotes.is_ancestor(mirror, aside, head) is False


def test_a_repository_without_commits_has_no_default_branch(tmp_path: Path) -> None:
    assert remotes.default_branch(create(tmp_path, "probe").url) is None
