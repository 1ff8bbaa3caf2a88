"""heads: their names, and the key `branch`."""

import json
from pathlib import Path

import pytest

from pypi_insiders.config.validators import parse_branch
from pypi_insiders.repositories import heads, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Failure, RepositoryState
from pypi_insiders.util.errors import UsageError

COMMIT = "1a2b3c4d5e" * 4
HEAD = "branch feature/x at 1a2b3c4d5"


def test_a_head_is_named_by_its_branch_and_commit() -> None:
    assert heads.label("feature/x", COMMIT) == HEAD
    assert (heads.branch_of(HEAD), heads.digits_of(HEAD)) == ("feature/x", "1a2b3c4d5")
    assert heads.subject(HEAD) == HEAD
    command = "`pypi-insiders update me/probe --tag 'branch feature/x at 1a2b3c4d5' --force`"
    assert heads.build_command("me/probe", HEAD) == command


@pytest.mark.parametrize("tag", ["v1.0", "branch", "branch-main-at-1a2b3c4d5", "main"])
def test_a_tag_is_no_head(tag: str) -> None:
    assert (heads.branch_of(tag), heads.digits_of(tag)) == (None, None)
    assert heads.subject(tag) == f"tag {tag}"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("main", "main"), ("feature/x", "feature/x"), ("refs/heads/main", "main"),
        ("release-1.x", "release-1.x"), ("ä", "ä"),
    ],
)  # fmt: skip
def test_a_branch_is_what_git_accepts(text: str, name: str) -> None:
    assert parse_branch(text) == name


@pytest.mark.parametrize(
    "text",
    ["", "a b", "a..b", "-x", "--upload-pack=x", "/a", "a/", "a//b", ".a", "a.", "a.lock", "a:b",
     "a^", "a~1", "a*", "a?", "a[", "a\\b", "@", "a@{1}", "a\n", "a\u202eb", "refs/heads/"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must be the name of a branch, not"):
        Repository("me/probe").with_key("branch", text)


def test_an_older_version_refuses_a_state_with_heads(tmp_path: Path) -> None:
    """It would take them for deleted tags; here they are no tags."""
    tag = Build("v1.0", COMMIT, "1.0", 0, {})
    head = Build(HEAD, COMMIT, "1.0.1.dev1+g1a2b3c4", 0, {})
    known = RepositoryState(builds=[head, tag], failures={HEAD: Failure(COMMIT, "x", 1, 0, 0)})
    state.save(tmp_path, "me/probe", known)
    assert state.load(tmp_path, "me/probe") == known
    assert json.loads((tmp_path / "repositories/me/probe.json").read_text())["format"] >= 5
    assert (known.built, known.produced) == ({"v1.0": COMMIT}, {"v1.0": "1.0"})
    assert known.heads == [head]


def test_a_hint_has_the_url_as_one_word() -> None:
    """A URL may have what a shell reads; the hint is pasted into one."""
    error = heads.not_found("main", ["trunk"], "ssh://git@h/a;b$(x)")
    assert error.hint == "list its branches: `git ls-remote --heads 'ssh://git@h/a;b$(x)'`"
