"""pasted: an address in place of NS/PROJ, as a browser or a host shows it."""

from pathlib import Path

import pytest

from pypi_insiders.repositories import pasted, registry, state
from pypi_insiders.repositories.repository import Repository, parse_specification
from pypi_insiders.repositories.state import RepositoryState
from pypi_insiders.util.errors import InsidersError, UsageError


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("https://github.com/me/probe", "me/probe", "https://github.com/me/probe.git"),
        ("https://www.github.com/me/probe/", "me/probe", "https://github.com/me/probe.git"),
        ("github.com/me/probe", "me/probe", "https://github.com/me/probe.git"),
        ("https://github.com/me/probe/tree/main/src", "me/probe", "https://github.com/me/probe.git"),
        ("https://github.com/me/probe/releases/tag/v1?expanded=true#x", "me/probe", "https://github.com/me/probe.git"),
        ("git@github.com:me/probe.git", "me/probe", None),
        ("ssh://git@github.com/me/probe.git", "me/probe", None),
        ("https://github.com/me/probe.git", "me/probe", "https://github.com/me/probe.git"),
        ("https://gitlab.com/a/b/probe/-/tree/x", "a/b/probe", "https://gitlab.com/a/b/probe"),
        ("https://codeberg.org/me/probe/src/branch/x", "me/probe", "https://codeberg.org/me/probe"),
        ("git@example.org:a/b/probe.git", "a/b/probe", "git@example.org:a/b/probe.git"),
        ("gitlab.com/a/b/c/probe", "a/b/c/probe", "https://gitlab.com/a/b/c/probe"),
        ("https://org@dev.azure.com/org/project/_git/repo", "org/project/repo",
         "https://org@dev.azure.com/org/project/_git/repo"),
        ("https://dev.azure.com/org/My%20Project/_git/repo?path=/x", "org/My-Project/repo",
         "https://dev.azure.com/org/My%20Project/_git/repo"),
        ("git@ssh.dev.azure.com:v3/org/project/repo", "org/project/repo",
         "git@ssh.dev.azure.com:v3/org/project/repo"),
        ("https://org.visualstudio.com/DefaultCollection/project/_git/repo", "org/project/repo",
         "https://org.visualstudio.com/DefaultCollection/project/_git/repo"),
        ("https://bb.example/scm/team/probe.git", "team/probe",
         "https://bb.example/scm/team/probe.git"),
        ("ssh://git@ssh.github.com:443/me/probe.git", "me/probe",
         "ssh://git@ssh.github.com:443/me/probe.git"),
        ("http://git.example/me/probe", "me/probe", "http://git.example/me/probe"),
        ("ssh://git@h:22/me/probe", "me/probe", "ssh://git@h:22/me/probe"),
        ("file:///srv/me/probe.git", "me/probe", "file:///srv/me/probe.git"),
    ],
)  # fmt: skip
def test_an_address_is_taken(text: str, name: str, url: str | None) -> None:
    """Of a page of the browser or to clone; also with the name of the project behind it."""
    assert parse_specification(text) == Repository(name, None, url)
    if "?" not in text and not text.endswith("/"):
        assert parse_specification(f"{text}:Pro_be") == Repository(name, "pro-be", url)


@pytest.mark.parametrize(
    "text",
    ["https://ghp_t0ken@h/me/x.git", "https://me:t0ken@h/me/x", "http://me:t0ken@h/me/x.git"],
)
def test_a_credential_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError, match="contains a credential") as failed:
        parse_specification(text)
    assert "t0ken" not in failed.value.message


@pytest.mark.parametrize("text", ["me/probe", "me/probe:x", "https://h/probe", "/srv/me/probe"])
def test_other_words_are_no_address(text: str) -> None:
    assert pasted.parse(text) is None


@pytest.mark.parametrize(
    ("url", "is_same"),
    [
        ("git@github.com:me/probe.git", True),
        ("https://github.com/ME/probe", True),
        ("ssh://git@ssh.github.com:443/me/probe.git", True),
        ("https://gitlab.com/me/probe.git", False),
        ("https://github.com/me/other.git", False),
        ("file:///me/probe.git", False),
        ("work:me/probe.git", False),
    ],
)
def test_another_transport_is_no_other_repository(url: str, is_same: bool) -> None:
    """The hint to use https instead of ssh must not build everything again."""
    assert RepositoryState(remote="git@github.com:me/probe.git").is_of(url, None) == is_same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://h.example:8443/t/app", "https://h.example:9443/t/app"),
        ("git://h.example:1/t/app", "git://h.example/t/app"),
        ("alice@h.example:x/p", "bob@h.example:x/p"),
        ("ssh://alice@h.example/x/p", "ssh://bob@h.example/x/p"),
        ("ssh://alice@h.example:1/x/p", "ssh://alice@h.example:2/x/p"),
        ("ssh://git@h.example:1/x/p", "ssh://git@h.example:2/x/p"),
        ("ssh://git@h.example:2222/x/p", "git@h.example:x/p"),
        ("alice@h.example:/x/p", "alice@h.example:x/p"),
        ("alice@h.example:x/P", "alice@h.example:x/p"),
        ("git@h.example:/srv/p", "git@h.example:srv/p"),
        ("https://[2001:db8::1]/x/p", "https://[2001:db8::2]/x/p"),
        ("https://dev.azure.com/o/My%20P/_git/r", "https://dev.azure.com/o/My-P/_git/r"),
        ("https://h.example/a%2Fb/c", "https://h.example/a-b/c"),
        ("https://h.example/a%2Fb/c", "https://h.example/a/b/c"),
        ("https://h.example/ns/sub/releases/o", "https://h.example/ns/sub"),
        ("https://h.example/ns/p?x=1", "https://h.example/ns/p?x=2"),
        ("https://gitlab.com/scm/a/b", "https://gitlab.com/a/b"),
        ("https://www.h.example/a/b", "https://h.example/a/b"),
        ("file:///r/n/Proj", "file:///r/n/proj"),
        ("file:///r/n/proj.git", "file:///r/n/proj"),
        ("alice@h.example:x/p.git", "alice@h.example:x/p"),
        ("gitea@h.example:x/p", "ssh://gitea@h.example:2222/x/p"),
        ("http://h.example:3000/x/p", "ssh://git@h.example/x/p"),
        ("http://h.example:3000/x/p", "http://h.example/x/p"),
        ("https://one.visualstudio.com/p/_git/r", "https://dev.azure.com/two/p/_git/r"),
        ("https://visualstudio.com/o/p/_git/r", "https://dev.azure.com/o/p/_git/r"),
        ("https://o.visualstudio.com.example/p/_git/r", "https://dev.azure.com/o/p/_git/r"),
        ("https://dev.azure.com/o/p/_git/r.git", "https://dev.azure.com/o/p/_git/r"),
        ("https://dev.azure.com/o/p/_git/r/_git", "https://dev.azure.com/o/p/_git/r"),
        ("https://h.example/stra\u00dfe/p", "https://h.example/strasse/p"),
        ("https://h.example/\u212a/p", "https://h.example/k/p"),
        ("https://bitbuc\u212aet.org/x/p", "https://bitbucket.org/x/p"),
        ("https://h.example/scm/a/b", "https://h.example/a/b"),
        ("https://h.example/scm/a/b", "git@h.example:a/b"),
        ("https://h.example/scm/a/b", "ssh://git@h.example:2222/a/b"),
        ("https://h.example/a/../b/p", "https://h.example/b/p"),
        ("https://h.example/a/%2e%2e/p", "https://h.example/p"),
        ("https://h.example@evil.example/x/p", "https://h.example/x/p"),
        ("https://evil.example#@h.example/x/p", "https://evil.example/x/p"),
        ("https:///h.example/x/p", "https://h.example/x/p"),
        ("file://h.example/x/p", "file:///x/p"),
        ("one@vs-ssh.visualstudio.com:p/_ssh/r", "two@vs-ssh.visualstudio.com:p/_ssh/r"),
    ],
)
def test_two_repositories_are_never_one(one: str, other: str) -> None:
    """Files of the one would be served, or purged, as those of the other."""
    assert not pasted.is_same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("git@h.example:t/app.git", "https://h.example/T/app"),
        ("ssh://git@h.example:2222/t/app", "https://h.example:443/t/app"),
        ("ssh://git@bb.example:7999/t/app.git", "https://bb.example/scm/t/app.git"),
        ("github.com:me/probe.git", "https://github.com/me/probe"),
        ("ssh://gitlab.com/a/b", "https://gitlab.com/a/b.git"),
        ("git@gitlab.com:/a/b", "https://gitlab.com/a/b.git"),
        ("ssh://alice@h.example/x/p", "alice@h.example:/x/p/"),
        ("git@ssh.dev.azure.com:v3/o/My%20P/r", "https://o@dev.azure.com/o/My%20P/_git/r"),
        ("https://O.visualstudio.com/p/_git/r", "https://dev.azure.com/o/p/_git/r"),
        ("https://o.visualstudio.com/DefaultCollection/p/_git/r", "git@ssh.dev.azure.com:v3/o/p/r"),
        ("o@vs-ssh.visualstudio.com:v3/o/p/r", "https://o.visualstudio.com/P/_git/R"),
        ("https://dev.azure.com/o/_git/r", "https://o@dev.azure.com/o/r/_git/r"),
        ("https://o.visualstudio.com/_git/r", "git@ssh.dev.azure.com:v3/o/r/r"),
        ("gitea@h.example:t/app.git", "https://h.example/T/app"),
        ("ssh://forgejo@h.example/t/app.git", "forgejo@h.example:t/app"),
    ],
)
def test_one_repository_is_the_same_over_each_transport(one: str, other: str) -> None:
    assert pasted.is_same(one, other)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("https://gitlab.com/ns/proj", "https://h.example/ns/proj", "h.example/ns/proj"),
        ("https://gitlab.com/ns/proj", "file:///srv/ns/proj", "ns/proj-3"),
        ("file:///home/ns/proj", "file:///srv/ns/proj", "ns/proj-3"),
        ("https://h.example/ns/old", "https://h.example/ns/proj", None),
        ("file:///srv/ns/proj", "file:///srv/ns/proj/", None),
    ],
)
def test_the_hint_to_watch_both_works(old: str, new: str, name: str | None) -> None:
    """With a name that is free: not that of the command that was just typed."""
    watched = {
        "ns/proj": Repository("ns/proj", None, old),
        "ns/proj-2": Repository("ns/proj-2"),
    }
    with pytest.raises(InsidersError) as failed:
        registry.add(watched, [Repository("ns/proj", None, new)])
    _, both, command = (failed.value.hint or "").partition("; or watch both: ")
    if name is None:
        assert not both
    else:
        assert command == f"`pypi-insiders repos add {name} --url {new}`"
        assert name in registry.add(watched, [Repository(name, None, new)])


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    """Each update would fail, with another message."""
    part = "x" * 109
    longest = f"{'n' * 225}/{part}/{part}{'x' * 4}"
    assert parse_specification(f"https://h.example/{longest}").name == longest
    state.save(tmp_path, longest, RepositoryState())
    for text in (f"{longest}x", f"n{longest}"):
        with pytest.raises(UsageError, match="is too long for the name of a file"):
            parse_specification(f"https://h.example/{text}")


def test_both_commands_of_a_clash_keep_what_was_typed() -> None:
    """A hint is pasted: without the options, another project would be watched, without a token."""
    watched = {"ns/proj": Repository("ns/proj")}
    typed = Repository("ns/proj", None, "https://h.example/ns/proj")
    for key, value in (("subdirectory", "pkg"), ("token-file", "/t"), ("pre", False)):
        typed = typed.with_key(key, value)
    with pytest.raises(InsidersError) as failed:
        registry.add(watched, [typed])
    assert failed.value.hint == (
        "change it: `pypi-insiders repos set ns/proj url=https://h.example/ns/proj pre=false "
        "subdirectory=pkg token-file=/t`; or watch both: `pypi-insiders repos add "
        "h.example/ns/proj --no-pre --subdirectory pkg --token-file /t "
        "--url https://h.example/ns/proj`"
    )
