"""lookup: the watched repository that a typed name or a pasted address means."""

import pytest

from pypi_insiders.repositories import lookup
from pypi_insiders.repositories.lookup import find, select
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.util.errors import InsidersError, UsageError

AB, CD = Repository("A/b", "ab"), Repository("c/D")
KNOWN = {item.name: item for item in (AB, CD)}


def test_find_ignores_case() -> None:
    assert [find(KNOWN, name) for name in ("a/B", "C/d", "c/x")] == [AB, CD, None]


@pytest.mark.parametrize(
    ("names", "found"),
    [((), [AB, CD]), (("C/D", "a/b"), [CD, AB]), (("a/b", "A/B.git"), [AB])],
)
def test_select(names: tuple[str, ...], found: list[Repository]) -> None:
    """All without a name; each once, in the order asked for."""
    assert select(KNOWN, names) == found


def test_select_names_all_that_are_not_watched() -> None:
    with pytest.raises(InsidersError) as failed:
        select(KNOWN, ["x/y", "a/b", "z/z"])
    assert failed.value.message == "x/y, z/z are not watched repositories"
    assert failed.value.hint == "see `pypi-insiders repos list`"
    with pytest.raises(UsageError):
        select(KNOWN, ["a/b", "../x"])


def test_select_suggests_the_name_that_was_mistyped() -> None:
    near = {"me/probe": Repository("me/probe"), "you/other": Repository("you/other")}
    with pytest.raises(InsidersError) as failed:
        select(near, ["me/prob"])
    assert failed.value.message == "me/prob is not a watched repository; did you mean me/probe?"


WATCHED = {
    item.name: item
    for item in (
        Repository("me/probe-insiders", "probe"),
        Repository("you/other", None, "https://gitlab.com/a/b/theirs.git"),
        Repository("org/project/repo", None, "git@ssh.dev.azure.com:v3/org/project/repo"),
    )
}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("https://github.com/ME/probe-insiders/issues/1", "me/probe-insiders"),
        ("https://gitlab.com/a/b/theirs/-/tags", "you/other"),
        ("git@gitlab.com:a/b/theirs.git", "you/other"),
        ("ssh://git@gitlab.com:22/A/b/theirs", "you/other"),
        ("gitlab.com/a/b/theirs", "you/other"),
        ("ssh://git@altssh.gitlab.com:443/a/b/theirs.git", "you/other"),
        ("org/project/repo", "org/project/repo"),
        ("https://org@dev.azure.com/org/project/_git/repo", "org/project/repo"),
    ],
)
def test_an_address_finds_what_is_watched(text: str, name: str) -> None:
    """By the place, under whatever name."""
    assert [item.name for item in select(WATCHED, [text])] == [name]


@pytest.mark.parametrize(
    ("text", "repository"),
    [
        ("gitlab.com/me/probe-insiders",
         Repository("gitlab.com/me/probe-insiders", None, "https://gitlab.com/me/probe-insiders")),
        ("git@gitlab.com:me/probe-insiders.git:x",
         Repository("gitlab.com/me/probe-insiders", "x", "git@gitlab.com:me/probe-insiders.git")),
        ("git@github.com:you/other.git",
         Repository("github.com/you/other", None, "git@github.com:you/other.git")),
        ("https://gitlab.com/a/b/theirs", Repository("you/other")),
        ("https://github.com/me/probe-insiders:y", Repository("me/probe-insiders", "y")),
        ("you/other", Repository("you/other")),
        ("git@github.com:me/new.git", Repository("me/new")),
    ],
)  # fmt: skip
def test_the_host_is_in_the_name_where_two_would_clash(text: str, repository: Repository) -> None:
    """An address of what is watched names that; a new one of another host keeps both apart."""
    assert lookup.specified(WATCHED, text) == repository
    both = {repository.name: repository, **WATCHED}
    assert lookup.meant(both, text.removesuffix(":x").removesuffix(":y")) == repository.name


def test_an_address_of_two_that_are_watched_is_neither() -> None:
    """`repos remove` would remove the one that was added first."""
    urls = {"a/x": "ssh://git@h.example:1/ns/proj", "b/x": "ssh://git@h.example:2/ns/proj"}
    watched = {name: Repository(name, None, url) for name, url in urls.items()}
    with pytest.raises(
        InsidersError, match=r"^https://h\.example/ns/proj can be each of a/x, b/x$"
    ):
        select(watched, ["https://h.example/ns/proj"])
    watched["c/x"] = Repository("c/x", None, "https://h.example/ns/proj")
    for name, url in {**urls, "c/x": "https://h.example/ns/proj"}.items():
        assert lookup.meant(watched, url) == name


@pytest.mark.parametrize("url", [None, "git.example.com:ns/proj.git", "file:///r/ns/proj"])
@pytest.mark.parametrize(
    "text",
    [
        "https://forge/ns/proj",
        "https://localhost:3000/ns/proj",
        "file:///srv/other/ns/proj",
        "https://[2001:db8::2]/ns/proj",
        "ssh://git@[2001:db8::2]/ns/proj",
        "http://gitlab.com/ns/proj",
        # Perhaps a name of ~/.ssh/config, perhaps another host.
        "git@gitea:ns/proj.git",
    ],
)
def test_a_host_is_no_alias(url: str | None, text: str) -> None:
    """`repos remove` would remove the repository of another host."""
    watched = {"ns/proj": Repository("ns/proj", "privproj", url)}
    with pytest.raises(InsidersError, match="not a watched repository; did you mean ns/proj"):
        select(watched, [text])


def test_a_url_without_a_user_has_a_host() -> None:
    watched = {"ns/proj": Repository("ns/proj", None, "git.example.com:ns/proj.git")}
    with pytest.raises(InsidersError, match="did you mean ns/proj"):
        select(watched, ["https://github.com/ns/proj"])
    (found,) = select(watched, ["git.example.com:ns/proj.git"])
    assert found.name == "ns/proj"


def test_the_name_of_another_place_is_not_what_was_pasted() -> None:
    """Not even with its host before it."""
    mirror = Repository("codeberg.org/q/w", None, "https://mirror.example/q/w")
    watched = {"q/w": Repository("q/w"), mirror.name: mirror}
    with pytest.raises(InsidersError, match=r"https://codeberg\.org/q/w is not a watched"):
        select(watched, ["https://codeberg.org/q/w"])


@pytest.mark.parametrize(
    ("url", "text", "name"),
    [
        ("https://[2001:db8::1]/ns/proj", "https://[2001:db8::2]/ns/proj", "2001-db8-2/ns/proj"),
        ("https://h.example:8443/ns/proj", "https://h.example:9443/ns/proj",
         "h.example-9443/ns/proj"),
        ("https://h.example/ns/proj", "alice@h.example:ns/proj", "h.example/ns/proj"),
    ],
)  # fmt: skip
def test_a_second_repository_of_a_host_is_added_too(url: str, text: str, name: str) -> None:
    watched = {"ns/proj": Repository("ns/proj", "proj", url)}
    assert lookup.specified(watched, text) == Repository(name, None, text)


def test_a_repository_that_is_called_like_a_page_is_found() -> None:
    url = "https://h.example/ns/sub/releases/o"
    watched = {
        "ns/sub": Repository("ns/sub", None, "https://h.example/ns/sub"),
        "o/o": Repository("o/o", None, url),
    }
    assert lookup.meant(watched, url) == "o/o"
    assert lookup.meant(watched, "https://h.example/ns/sub/releases/tag/1") == "ns/sub"


@pytest.mark.parametrize("word", ["releases", "tags", "issues", "pulls", "wiki", "src", "branches"])
def test_a_project_of_a_subgroup_is_no_page_of_another(word: str) -> None:
    """`repos remove` would remove the repository that is called like the group."""
    text = f"https://gitlab.com/team/app/{word}/client"
    watched = {"team/app": Repository("team/app", "app", "https://gitlab.com/team/app.git")}
    with pytest.raises(InsidersError, match="is not a watched repository"):
        select(watched, [text])
    assert lookup.specified(watched, text).name == f"team/app/{word}/client"


def test_with_a_url_of_its_own_any_path_is_a_name() -> None:
    found = lookup.specified({}, "my.group/sub/probe", has_url=True)
    assert found == Repository("my.group/sub/probe")


def test_an_address_of_another_host_is_not_what_is_watched_here() -> None:
    """`repos remove` would remove the wrong one."""
    with pytest.raises(InsidersError) as failed:
        select(WATCHED, ["https://gitlab.com/me/probe-insiders"])
    assert failed.value.message == (
        "gitlab.com/me/probe-insiders is not a watched repository; did you mean me/probe-insiders?"
    )


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("probe",
         "'probe' is not a repository of the form NS/PROJ; did you mean me/probe-insiders?"),
        ("Probe",
         "'Probe' is not a repository of the form NS/PROJ; did you mean me/probe-insiders?"),
        ("other", "'other' is not a repository of the form NS/PROJ; did you mean you/other?"),
        ("me/probe", "me/probe is not a watched repository; did you mean me/probe-insiders?"),
        ("me/pro", "me/pro is not a watched repository; did you mean me/probe-insiders?"),
        ("me/other", "me/other is not a watched repository; did you mean you/other?"),
        ("me/prob-insiders",
         "me/prob-insiders is not a watched repository; did you mean me/probe-insiders?"),
        ("me/none", "me/none is not a watched repository"),
        ("nothing", "'nothing' is not a repository of the form NS/PROJ"),
    ],
)  # fmt: skip
def test_what_is_almost_right_is_answered_with_the_right_one(typed: str, message: str) -> None:
    """What is like none of them is not."""
    with pytest.raises(InsidersError) as failed:
        select(WATCHED, [typed])
    assert failed.value.message == message
