"""Name the heads of branches that are built, where a tag is named otherwise."""

import re
import shlex
from collections.abc import Collection

from pypi_insiders.config.toml_fields import did_you_mean
from pypi_insiders.util.errors import InsidersError

# No tag has spaces in its name, so none can be taken for a head. Source: git-check-ref-format(1).
_LABEL = re.compile(r"branch (?P<branch>\S+) at (?P<digits>[0-9a-f]+)")
# As many as messages have of any commit.
_DIGITS = 9
_MOST_KNOWN = 20
NO_TAGS = "no tags found"
"""The warning about a repository without tags and without the key `branch`."""
TAGS_HINT = "releases are built from tags such as v1.0"


def label(branch: str, commit: str) -> str:
    """Return the name of a head, such as `branch main at 1a2b3c4d5`.

    Args:
        branch: without `refs/heads/`.
        commit: full hash.
    """
    return f"branch {branch} at {commit[:_DIGITS]}"


def branch_of(tag: str) -> str | None:
    """Return the branch in the name of a head; `None` for a tag."""
    found = _LABEL.fullmatch(tag)
    return found["branch"] if found else None


def digits_of(tag: str) -> str | None:
    """Return the first digits of the commit in the name of a head; `None` for a tag."""
    found = _LABEL.fullmatch(tag)
    return found["digits"] if found else None


def subject(tag: str) -> str:
    """Return a tag or a head as the subject of a message: `tag v1.0`."""
    return tag if branch_of(tag) else f"tag {tag}"


def build_command(repository: str, tag: str) -> str:
    """Return the command that builds a tag or a head again, in backticks."""
    return f"`{shlex.join(['pypi-insiders', 'update', repository, '--tag', tag, '--force'])}`"


def list_command(kind: str, remote: str) -> str:
    """Return the command that lists the `--tags` or `--heads` of a repository, in backticks."""
    return f"`{shlex.join(['git', 'ls-remote', kind, remote])}`"


def not_found(branch: str, branches: Collection[str], remote: str) -> InsidersError:
    """Return the error of a branch that a repository lacks."""
    # Some repositories have thousands, and the hint lists them.
    meant = did_you_mean(branch, branches) if 0 < len(branches) <= _MOST_KNOWN else ""
    return InsidersError(
        f"branch {branch} not found{meant}",
        f"list its branches: {list_command('--heads', remote)}",
    )


def untagged_hint(repository: str, branch: str | None) -> str:
    """Return what to do about a repository without tags, by its default branch if it has one."""
    if branch is None:
        return TAGS_HINT
    command = shlex.join(["pypi-insiders", "repos", "add", repository, "--branch", branch])
    return f"build its branch: `{command}`"
