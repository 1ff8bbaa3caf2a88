"""forges: what is asked of them, and what their answers become, over real TLS."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures import free_port
from releases import Answer, File, MakeReleases, Releases, make_releases

from pypi_insiders import forges
from pypi_insiders.forges import Asset, Forge, ForgeError, NoReleaseError, PassingError
from pypi_insiders.git import Access, token_for
from pypi_insiders.util.errors import InsidersError

__all__ = ["make_releases"]  # a fixture

KINDS = ("github", "gitlab", "gitea")
TOKEN = "t0ken-of-the-api"
NAME = "probe-1.0-py3-none-any.whl"


def of(releases: Releases, token: str | None = TOKEN) -> Forge:
    """Return the forge that answers."""
    return replace(forges.forge_of(releases.url, releases.kind, name="me/probe"), token=token)


def ask(releases: Releases, token: str | None = TOKEN, tag: str = "v1.0") -> forges.ForgeRelease:
    """Ask for the release of a tag."""
    return forges.release_of(of(releases, token), tag)


@pytest.mark.parametrize(
    ("url", "kind", "api"),
    [
        ("git@github.com:me/probe.git", None, "https://api.github.com/repos/me/probe"),
        ("https://github.com/me/probe", None, "https://api.github.com/repos/me/probe"),
        ("ssh://git@ssh.github.com:443/me/probe.git", None,
         "https://api.github.com/repos/me/probe"),
        ("https://acme.ghe.com/me/probe.git", None, "https://api.acme.ghe.com/repos/me/probe"),
        ("https://me@git.acme.example:8443/me/probe.git", "github",
         "https://git.acme.example:8443/api/v3/repos/me/probe"),
        ("ssh://git@git.acme.example:2222/a/b/c.git", "gitlab",
         "https://git.acme.example/api/v4/projects/a%2Fb%2Fc"),
        ("https://gitlab.com/a/b/c.git", None, "https://gitlab.com/api/v4/projects/a%2Fb%2Fc"),
        ("https://codeberg.org/me/probe.git", None,
         "https://codeberg.org/api/v1/repos/me/probe"),
        ("git@[2001:db8::1]:me/probe.git", "gitea", None),
        ("ssh://git@[2001:db8::1]/me/probe.git", "gitea",
         "https://[2001:db8::1]/api/v1/repos/me/probe"),
    ],
)  # fmt: skip
def test_the_api_is_found_by_the_address_of_the_repository(
    url: str, kind: str | None, api: str | None
) -> None:
    if api is None:
        with pytest.raises(ForgeError):
            forges.forge_of(url, kind, name="me/probe")
    else:
        assert forges.forge_of(url, kind, name="me/probe").api == api


def test_no_traceback_shows_the_token() -> None:
    forge = forges.forge_of("git@github.com:me/probe.git", name="me/probe")
    assert TOKEN not in repr(replace(forge, token=TOKEN))


def test_a_host_that_is_no_known_forge_is_not_asked() -> None:
    """A question with the token would go to a program that is none."""
    with pytest.raises(ForgeError) as caught:
        forges.forge_of("git@git.example:me/probe.git", name="me/probe")
    assert (caught.value.message, caught.value.hint) == (
        "git.example is not known as a forge, so that it is not asked for assets",
        "name its program: `pypi-insiders repos set me/probe forge=gitlab`, or github, or gitea, "
        "also for Forgejo",
    )
    # The latter of a setting of Git, `insteadOf`.
    for url in ("file:///srv/git/me/probe.git", "/srv/git/me/probe.git", "https://[x/me/probe",
                "https://[::x]/me/probe", "https://x]/me/probe"):  # fmt: skip
        with pytest.raises(ForgeError, match="is on no forge"):
            forges.forge_of(url, "github", name="me/probe")


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_listed_and_downloaded_with_the_token(
    make_releases: MakeReleases, tmp_path: Path, kind: str
) -> None:
    """By one question for a release; and only the forge gets the token, not the place of files."""
    releases = make_releases(kind, TOKEN)
    releases.files["v1.0"] = [File(NAME, b"content"), File("probe.exe", b"other")]
    asset, _ = ask(releases).assets
    expected = {
        "github": ("sha256", 7, "2026-11-01T10:00:00Z", 1),
        "gitlab": ("sha256", None, "", 3),  # its packages are asked for the digest
        "gitea": (None, 7, "2026-11-01T10:00:00Z", 1),
    }[kind]
    digest = releases.files["v1.0"][0].sha256 if expected[0] else None
    assert (asset.name, asset.sha256, asset.size_bytes, asset.updated_at) == (
        NAME, digest, *expected[1:3]
    )  # fmt: skip
    assert len(releases.questions) == expected[3]
    assert asset.url.startswith(releases.host.url)
    target = tmp_path / NAME
    found = forges.download(of(releases), asset, target)
    assert (target.read_bytes(), found) == (b"content", File(NAME, b"content").sha256)
    assert None not in releases.authorizations
    assert releases.foreign == [None]


def test_the_digest_of_one_of_many_similar_packages_is_found(make_releases: MakeReleases) -> None:
    """GitLab searches for a part of the name, and shows a page of what it finds."""
    releases = make_releases("gitlab")
    releases.files["v1.0"] = [File(NAME, b"content")]
    releases.similar = 100
    (asset,) = ask(releases, None).assets
    assert asset.sha256 == releases.files["v1.0"][0].sha256


@pytest.mark.parametrize("kind", KINDS)
def test_a_draft_is_no_release(make_releases: MakeReleases, kind: str) -> None:
    releases = make_releases(kind)
    releases.files["v1.0"] = [File(NAME, b"content")]
    releases.drafts = {"v1.0"} if kind != "gitlab" else set()  # which has none
    if kind == "gitlab":
        assert len(ask(releases, None).assets) == 1
        return
    with pytest.raises(NoReleaseError):
        ask(releases, None)


@pytest.mark.parametrize("kind", KINDS)
def test_no_release_is_told_from_a_repository_that_is_not_shown(
    make_releases: MakeReleases, kind: str
) -> None:
    """Forges answer both alike: a wrong token must not be waited for."""
    releases = make_releases(kind, TOKEN)
    host = of(releases).host
    with pytest.raises(NoReleaseError) as absent:
        ask(releases)
    assert absent.value.message == f"{host} has no release of it"
    for token, words in ((None, "without a token"), ("wrong", "with this token")):
        with pytest.raises(ForgeError) as hidden:
            ask(releases, token)
        assert not isinstance(hidden.value, NoReleaseError)
        assert hidden.value.message == f"{host} does not show me/probe {words} (404)"
        assert "repos set me/probe token-file=FILE" in str(hidden.value.hint)


def test_a_forge_that_does_not_answer_is_not_asked_for_ever() -> None:
    """An update asks it for each of a thousand repositories."""
    url = f"https://127.0.0.1:{free_port()}/me/probe.git"
    forge = forges.forge_of(url, "gitlab", name="me/probe")
    found = []
    for _ in range(17):
        with pytest.raises(PassingError) as caught:
            forges.release_of(forge, "v1.0")
        found.append(caught.value.message)
    assert set(found[:16]) == {f"{forge.host} does not answer: Connection refused"}
    assert found[16] == f"{forge.host} was not asked, as it has not answered 16 times"


def test_more_files_than_a_page_are_all_listed(make_releases: MakeReleases) -> None:
    releases = make_releases()
    releases.files["v1.0"] = [File(f"file-{number}", b"") for number in range(250)]
    assert [it.name for it in ask(releases).assets] == [f"file-{n}" for n in range(250)]
    assert len(releases.questions) == 4


def test_a_file_whose_upload_has_not_ended_is_not_listed(make_releases: MakeReleases) -> None:
    releases = make_releases()
    releases.files["v1.0"] = [File(NAME, b"con", state="open"), File("whole", b"")]
    assert [it.name for it in ask(releases).assets] == ["whole"]


@pytest.mark.parametrize("place", ["/-/project/7", "/me/probe"])
def test_an_upload_of_a_private_project_comes_by_the_api(
    make_releases: MakeReleases, tmp_path: Path, place: str
) -> None:
    """A token does not open the page that is linked; without one, only that page can be had."""
    releases = make_releases("gitlab", TOKEN)
    file = f"uploads/{'5f' * 16}/{NAME}"
    url = f"{releases.host.url}{place}/{file}"
    releases.files["v1.0"] = [File(NAME, b"content", url=url)]
    (asset,) = ask(releases).assets
    assert asset.url == f"{of(releases).api}/{file}"
    forges.download(of(releases), asset, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == b"content"
    releases.token = None
    assert [it.url for it in ask(releases, None).assets] == [url]


@pytest.mark.parametrize("kind", ["gitlab", "gitea"])
def test_files_on_other_hosts_are_named_and_not_asked_for(
    make_releases: MakeReleases, kind: str
) -> None:
    """Otherwise a release could have any host asked from here."""
    releases = make_releases(kind)
    url = f"https://user:secret@internal.example/{NAME}"
    releases.files["v1.0"] = [File(NAME, b"content", url=url)]
    found = ask(releases)
    assert (found.assets, found.elsewhere) == ((), (f"{NAME} (internal.example)",))


_JSON = [("Content-Type", "application/json")]
_HTML = [("Content-Type", "text/html; charset=utf-8")]


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((401, _JSON, b"{}"), ForgeError, "{} rejects the token (401), which may have expired"),
        ((403, _JSON, b"{}"), ForgeError, "{} gives no access to the releases (403)"),
        ((418, _JSON, b"{}"), ForgeError, "{} answers with status 418"),
        ((502, _HTML, b"<p>Bad Gateway"), PassingError, "{} fails (status 502)"),
        ((200, _HTML, b"<p>Sign in"), ForgeError, "{} does not answer as github does (text/html)"),
        ((200, _JSON, b"[" * 100_000), ForgeError,
         "{} does not answer as github does (application/json)"),
        ((200, _JSON, b'{"id": 1}'), ForgeError,
         "{} does not answer as github does (no release in its answer)"),
        ((200, _JSON, b'[1]'), ForgeError,
         "{} does not answer as github does (no release in its answer)"),
        *(
            ((200, _JSON, b'{"id": 1, "assets": [%s]}' % assets), ForgeError,
             "{} does not answer as github does (no release in its answer)")
            for assets in (
                b"5", b'{"name": "x", "id": 1, "size": Infinity}',
                b'{"name": "x", "id": 1, "size": -1}', b'{"name": "x", "id": "../..", "size": 1}',
                b'{"name": "x", "id": 1, "size": 1%s}' % (b"0" * 400),
                b'{"name": "x", "id": 1, "size": 1, "digest": 7}',
            )
        ),
        ((200, [*_JSON, ("Content-Length", "100")], b'{"id": 1}'), PassingError,
         "the answer of {} is incomplete"),
        ((302, [("Location", "http://localhost:1/")], b""), PassingError,
         "{} does not answer: a redirect to http"),
    ],
)  # fmt: skip
def test_a_bad_answer_is_one_line(
    make_releases: MakeReleases, answer: Answer, kind: type[InsidersError], message: str
) -> None:
    releases = make_releases()
    releases.answer = answer
    with pytest.raises(ForgeError) as caught:
        ask(releases)
    assert (type(caught.value), caught.value.message) == (kind, message.format(of(releases).host))
    assert TOKEN not in caught.value.message + str(caught.value.hint)


@pytest.mark.parametrize("status", [403, 429])
def test_a_rate_limit_is_told_with_its_end_and_asked_no_more_until_then(
    make_releases: MakeReleases, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred repositories would otherwise all ask, for which some forges punish."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    releases = make_releases()
    reset = int(time.time()) + 1800
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(reset))
    headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", str(reset))]
    releases.answer = (status, headers, b"{}")
    for _ in range(2):
        with pytest.raises(PassingError) as caught:
            ask(releases)
        assert (
            caught.value.message == f"the rate limit of {of(releases).host} is reached until {at}"
        )
    assert len(releases.questions) == 1
    # Another token has a limit of its own.
    releases.answer = None
    releases.files["v1.0"] = []
    assert ask(releases, "another").assets == ()


def test_a_time_that_never_comes_is_not_waited_for(make_releases: MakeReleases) -> None:
    releases = make_releases()
    releases.answer = (429, [("Retry-After", "9" * 9)], b"")
    before_s = time.time()
    with pytest.raises(PassingError) as caught:
        ask(releases)
    # It may be midnight meanwhile.
    moments_s = (before_s + 86400, time.time() + 86400)
    days = {time.strftime("%Y-%m-%d", time.localtime(moment_s)) for moment_s in moments_s}
    assert any(f"until {day}" in caught.value.message for day in days)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("gitea", {"is_cutting": True}, "{} arrived incomplete from {host}"),
        ("gitlab", {"is_cutting": True}, "{} arrived incomplete from {host}"),  # lists no size
        ("github", {"digest": "0" * 64}, "{} has another SHA-256 than {host} lists"),
        ("gitlab", {"digest": "0" * 64}, "{} has another SHA-256 than {host} lists"),
        ("gitea", {"listed_bytes": 9}, "{} arrived incomplete from {host}"),
        ("gitea", {"listed_bytes": 3}, "{} is larger than {host} lists"),
    ],
)
def test_a_file_is_as_it_was_listed(
    make_releases: MakeReleases,
    tmp_path: Path,
    kind: str,
    change: dict[str, object],
    message: str,
) -> None:
    change = {**change}
    releases = make_releases(kind)
    file = File(NAME, b"content")
    if change.pop("is_cutting", False):
        releases.is_cutting = True
    releases.files["v1.0"] = [replace(file, **change)]  # type: ignore[arg-type]
    (asset,) = ask(releases).assets
    with pytest.raises(PassingError) as caught:
        forges.download(of(releases), asset, tmp_path / "file")
    assert caught.value.message == message.format(NAME, host=of(releases).host)


def test_a_forge_that_is_down_passes(tmp_path: Path) -> None:
    forge = Forge("gitea", "https://localhost:1", "me/probe", "me/probe")
    with pytest.raises(PassingError) as caught:
        forges.release_of(forge, "v1")
    assert caught.value.message == "localhost:1 does not answer: Connection refused"
    asset = Asset(NAME, f"{forge.site}/x")
    with pytest.raises(PassingError):
        forges.download(forge, asset, tmp_path / "x")


def test_the_token_is_that_of_the_file_or_of_gits_helper(gitconfig: Path, tmp_path: Path) -> None:
    url = "https://git.example/me/probe.git"
    assert token_for(url, Access()) is None
    gitconfig.write_text(
        '[credential "https://git.example"]\n'
        '  helper = "!f() { test \\"$1\\" = get && echo username=me && echo password=kept; }; f"\n'
    )
    assert token_for(url, Access()) == "kept"
    assert token_for("https://other.example/me/probe.git", Access()) is None
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text("filed\n")
    assert token_for(url, Access(file)) == "filed"
    file.chmod(0o644)
    with pytest.raises(InsidersError, match="accessible by other users"):
        token_for(url, Access(file))
