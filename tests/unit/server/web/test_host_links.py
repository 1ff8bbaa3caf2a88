"""web.host_links: the pages of commits, tags and comparisons on the hosts that are known."""

import pytest

from pypi_insiders.server.web import host_links


@pytest.mark.parametrize(
    "remote",
    [
        "git@github.com:me/probe.git",
        "git@GitHub.com:me/probe",
        "github.com:me/probe.git",
        "ssh://git@github.com/me/probe.git",
        "ssh://git@github.com:2222/me/probe.git",
        "https://github.com/me/probe.git",
        "https://github.com/me/probe/",
        "https://github.com:/me/probe",
        "http://github.com/me/probe.git?token=secret",
        "git://github.com/me/probe.git",
        "https://user:secret@github.com/me/probe.git",
    ],
)
def test_every_spelling_of_a_url_has_the_same_page(remote: str) -> None:
    """Without credentials, and by https."""
    links = host_links.of(remote)
    assert links is not None
    assert links.url == "https://github.com/me/probe"


def test_a_head_has_the_page_of_its_commit() -> None:
    links = host_links.of("git@github.com:me/probe.git")
    assert links is not None
    page = "https://github.com/me/probe/commit/1a2b3c4d5"
    assert links.tag("branch feature/x at 1a2b3c4d5") == page


@pytest.mark.parametrize(
    ("host", "commit", "tag", "compare"),
    [
        ("github.com", "commit/b2", "releases/tag/v1/x%23%2B1", "compare/a1...b2"),
        ("github.acme.example", "commit/b2", "releases/tag/v1/x%23%2B1", "compare/a1...b2"),
        ("gitlab.com", "-/commit/b2", "-/tags/v1/x%23%2B1", "-/compare/a1...b2"),
        ("gitlab.acme.example", "-/commit/b2", "-/tags/v1/x%23%2B1", "-/compare/a1...b2"),
        ("codeberg.org", "commit/b2", "src/tag/v1/x%23%2B1", "compare/a1...b2"),
        ("gitea.com", "commit/b2", "src/tag/v1/x%23%2B1", "compare/a1...b2"),
        ("forgejo.acme.example", "commit/b2", "src/tag/v1/x%23%2B1", "compare/a1...b2"),
        ("bitbucket.org", "commits/b2", "src/v1/x%23%2B1", "branches/compare/b2%0Da1"),
    ],
)
def test_each_kind_of_host_has_its_own_paths(
    host: str, commit: str, tag: str, compare: str
) -> None:
    """Names of tags are quoted."""
    links = host_links.of(f"git@{host}:group/sub/probe.git")
    assert links is not None
    url = f"https://{host}/group/sub/probe"
    assert links.url == url
    assert links.commit("b2") == f"{url}/{commit}"
    assert links.tag("v1/x#+1") == f"{url}/{tag}"
    assert links.compare("a1", "b2") == f"{url}/{compare}"


@pytest.mark.parametrize(
    "remote",
    [
        None,
        "",
        "file:///srv/git/me/probe.git",
        "/srv/github.com/me/probe.git",
        "https://git.acme.example/me/probe.git",
        "https://evilgithub.com/me/probe.git",
        "https://gitlab.local/me/probe.git",
        "github-work:me/probe.git",
        "git@[::1]:me/probe.git",
        "https://github.com:8443/me/probe.git",
        "https://github.com:x/me/probe.git",
        "https://github.com/probe.git",
        "https://github.com/me/../admin",
        "https://github.com/me/probe\"onclick='x'",
        "javascript://github.com/me/probe",
    ],
)
def test_what_is_not_known_has_no_link(remote: str | None) -> None:
    """Rather none than one that leads elsewhere."""
    assert host_links.of(remote) is None
