"""Read the history of commits in a mirror."""

from pathlib import Path

from pypi_insiders.git.command import attempt, in_mirror


def merged_tags(mirror: Path, commit: str) -> dict[str, str]:
    """Return the tags that a commit or its history contains, tag to commit.

    Raises:
        InsidersError: the mirror cannot be read.

    Source: git-for-each-ref(1), `--merged`, `*objectname`.
    """
    listed = in_mirror(
        mirror, "for-each-ref", f"--merged={commit}",
        "--format=%(objectname) %(*objectname) %(refname:lstrip=2)", "refs/tags",
    )  # fmt: skip
    found = {}
    for line in listed.splitlines():
        # The second is empty but for an annotated tag.
        name, peeled, tag = line.split(" ", 2)
        found[tag] = peeled or name
    return found


def count_commits(mirror: Path, commit: str, since: str | None = None) -> int:
    """Return the number of commits up to a commit, without those of another one.

    Args:
        mirror: the mirror of the repository.
        commit: full hash.
        since: full hash of the commit whose history does not count; `None`: all commits count.

    Raises:
        InsidersError: the mirror cannot be read.
    """
    excluded = [f"^{since}"] if since else []
    return int(in_mirror(mirror, "rev-list", "--count", commit, *excluded, "--"))


def is_ancestor(mirror: Path, old: str, new: str) -> bool | None:
    """Return whether a commit is in the history of another; `None`: the mirror lacks one.

    Source: git-merge-base(1), `--is-ancestor`.
    """
    # Its exit status is the answer; 128 is of a commit that is missing.
    done = attempt(f"--git-dir={mirror}", "merge-base", "--is-ancestor", old, new)
    return {0: True, 1: False}.get(done.status)
