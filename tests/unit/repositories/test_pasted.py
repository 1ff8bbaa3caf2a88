"""pasted: an address in place of NS/PROJ, as a browser or a host shows it."""

import pytest

from pypi_insiders.repositories import pasted, registry
from pypi_insiders.repositories.repository import Repository, parse_specification
from pypi_insiders.util.errors import InsidersError, UsageError


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("https://github.com/me/probe", "me/probe", None),
        ("https://www.github.com/me/probe/", "me/probe", None),
        ("github.com/me/probe", "me/probe", None),
        ("https://github.com/me/probe/tree/main/src", "me/probe", None),
        ("https://github.com/me/probe/releases/tag/v1?expanded=true#x", "me/probe", None),
        ("git@github.com:me/probe.git", "me/probe", None),
        ("ssh://git@github.com/me/probe.git", "me/probe", None),
        ("https://github.com/me/probe.git", "me/probe", "https://github.com/me/probe.git"),
        ("https://gitlab.com/a/b/probe/-/tree/x", "b/probe", "https://gitlab.com/a/b/probe"),
        ("https://codeberg.org/me/probe/src/branch/x", "me/probe", "https://codeberg.org/me/probe"),
        ("git@example.org:a/b/probe.git", "b/probe", "git@example.org:a/b/probe.git"),
        ("ssh://git@h:22/me/probe", "me/probe", "ssh://git@h:22/me/probe"),
        ("file:///srv/me/probe.git", "me/probe", "file:///srv/me/probe.git"),
    ],
)
def test_an_address_is_taken(text: str, name: str, url: str | None) -> None:
    """Of a page of the browser or to clone; also with the name of the project behind it."""
    assert parse_specification(text) == Repository(name, None, url)
    if "?" not in text and not text.endswith("/"):
        assert parse_specification(f"{text}:Pro_be") == Repository(name, "pro-be", url)


@pytest.mark.parametrize("text", ["https://t0ken@h/me/x.git", "https://me:t0ken@h/me/x.git"])
def test_a_credential_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError, match="contains a credential") as failed:
        parse_specification(text)
    assert "t0ken" not in failed.value.message


@pytest.mark.parametrize("text", ["me/probe", "me/probe:x", "https://h/probe", "/srv/me/probe"])
def test_other_words_are_no_address(text: str) -> None:
    assert pasted.parse(text) is None


WATCHED = {
    item.name: item
    for item in (
        Repository("me/probe-insiders", "probe"),
        Repository("you/other", None, "https://gitlab.com/a/b/theirs.git"),
    )
}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("https://github.com/ME/probe-insiders/issues/1", "me/probe-insiders"),
        ("https://gitlab.com/a/b/theirs/-/tags", "you/other"),
        ("git@gitlab.com:a/b/theirs.git", "you/other"),
        ("ssh://git@gitlab.com:22/A/b/theirs", "you/other"),
    ],
)
def test_an_address_finds_what_is_watched(text: str, name: str) -> None:
    """By the place, under whatever name."""
    assert [item.name for item in registry.select(WATCHED, [text])] == [name]


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
        registry.select(WATCHED, [typed])
    assert failed.value.message == message
