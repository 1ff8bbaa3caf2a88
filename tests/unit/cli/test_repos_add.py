"""repos add: which repositories its arguments name."""

from pathlib import Path

import pytest
from fixtures import Person
from projects import create, git

from pypi_insiders.cli import repos_add
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.util.errors import UsageError

GITLAB = "https://gitlab.com/q/w"


@pytest.mark.parametrize("texts", [(f"{GITLAB}:aa", "q/w"), (GITLAB, "Q/W:bb")])
def test_a_name_beside_an_address_of_another_host_is_refused(texts: tuple[str, ...]) -> None:
    """It would count as that one, and the project of GitHub's would not be held."""
    with pytest.raises(UsageError, match="is listed twice: as https://gitlab") as failed:
        repos_add._specified({}, texts, has_url=False)
    assert failed.value.hint is not None
    address = failed.value.hint.rpartition(" ")[2]
    both = repos_add._specified({}, (texts[0], address), has_url=False)
    assert [item.name.casefold() for item in both] == ["q/w", "github.com/q/w"]


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (("q/w", GITLAB), ["q/w", "gitlab.com/q/w"]),
        (("https://github.com/q/w", "q/w"), ["q/w", "q/w"]),
        (("you/x", "https://codeberg.org/me/x", "me/x"), ["you/x", "me/x", "me/x"]),
        ((GITLAB, "git@gitlab.com:q/w.git"), ["q/w", "q/w"]),
        (
            ("q/w", GITLAB, "https://GitLab.com/Q/w.git"),
            ["q/w", "gitlab.com/q/w", "gitlab.com/q/w"],
        ),
    ],
)
def test_what_can_mean_one_only_is_taken(texts: tuple[str, ...], names: list[str]) -> None:
    """Also the name of a repository that is watched already, whatever its host."""
    watched = {"me/x": Repository("me/x", url="https://codeberg.org/me/x")}
    found = repos_add._specified(watched, texts, has_url=False)
    assert [item.name for item in found] == names


def test_another_repository_of_a_name_gets_no_project_of_the_first(
    person: Person, tmp_path: Path
) -> None:
    """That one has no project yet; its name is not that of what was typed."""
    project = create(tmp_path, "my-dist", "me/probe")
    project.release("1.0")
    person.run("repos", "add", "--no-check", "me/probe", "--url", project.url)
    other = "https://127.0.0.1:9/me/probe"
    failed = person.run("repos", "add", "me/probe", "--url", other, status=1)
    assert failed.stderr.splitlines()[-1] == (
        f"hint: change it: `pypi-insiders repos set me/probe url={other}`; "
        f"or watch both: `pypi-insiders repos add 127.0.0.1-9/me/probe --url {other}`"
    )


def test_the_branch_that_is_offered_names_the_project(person: Person, tmp_path: Path) -> None:
    """At once, so that its name is held; and one that is not there is told."""
    project = create(tmp_path, "my-dist", "me/probe")
    project.write("1.0")
    git(project.tree, "add", "--all")
    git(project.tree, "commit", "--quiet", "--message", "begin")
    git(project.tree, "push", "--quiet", "origin", "HEAD")
    added = person.run("repos", "add", "me/probe", "--url", project.url)
    assert "build its branch: `pypi-insiders repos add me/probe --branch main`" in added.stderr
    wrong = person.run("repos", "add", "me/probe", "--branch", "mian")
    assert wrong.stdout == 'me/probe is already watched; branch = "mian"\n'
    assert "me/probe: branch mian not found (did you mean main?)" in wrong.stderr
    done = person.run("repos", "add", "me/probe", "--branch", "main")
    assert done.stdout == ('me/probe is already watched; project = "my-dist"; branch = "main"\n')
    assert "me/probe: 0 tags found, first build: branch main at " in done.stderr


def test_a_repository_that_is_named_twice_is_asked_for_once(person: Person, tmp_path: Path) -> None:
    """Where it is, and not on GitHub, which has another one of that name, or learns it."""
    project = create(tmp_path, "my-dist", "me/probe")
    project.release("1.0")
    wanted = tmp_path / "requirements.txt"
    wanted.write_text(f"git+{project.url}\ngit+{project.url}@v1.0\n")
    # What is asked of GitHub would come here.
    asked = tmp_path / "asked"
    ssh = f"sh -c 'echo \"$*\" >>{asked}; exit 1' ssh"
    for words in (("import", str(wanted)), ("add", project.url, project.url)):
        added = person.run("repos", *words, GIT_SSH_COMMAND=ssh)
        assert added.stdout == "watching me/probe as my-dist\n"
        assert "me/probe: 1 tag found, latest release: v1.0\n" in added.stderr
        assert not asked.exists()
        person.run("repos", "remove", "me/probe")
