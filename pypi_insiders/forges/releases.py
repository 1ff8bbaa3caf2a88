"""Read which files the release of a tag has."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pypi_insiders.forges import requests
from pypi_insiders.forges.errors import NoReleaseError
from pypi_insiders.forges.place import GITEA, GITHUB, GITLAB, Forge
from pypi_insiders.util.redirects import is_same_origin
from pypi_insiders.util.without_credentials import without_credentials

# The most that GitHub and GitLab send at once.
_PAGE = 100
_MOST_PAGES = 100
_TIME_CHARS = 40
_SHOWN_CHARS = 100
# Secret and file name. Source: docs.gitlab.com, "Markdown uploads API".
_UPLOAD = re.compile(r"/uploads/([0-9a-f]{32}/[^/]+)\Z")
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


@dataclass(frozen=True)
class Asset:
    """A file of a release, as its forge lists it."""

    name: str
    """Text of the forge: any characters."""
    url: str
    """Of the host of the forge."""
    size_bytes: int | None = None
    """`None`: GitLab does not say."""
    sha256: str | None = None
    """Hexadecimal; `None`: the forge has none."""
    updated_at: str = ""
    """When it was uploaded, in the words of the forge; empty: it does not say."""


@dataclass(frozen=True)
class ForgeRelease:
    """The release of a tag."""

    assets: tuple[Asset, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """The names of assets that are on another host, with the host."""


def release_of(forge: Forge, tag: str) -> ForgeRelease:
    """Ask a forge for the release of a tag: one question, and one more for each 100 files.

    Raises:
        PassingError: the forge does not answer, or not now.
        NoReleaseError: it has no release of this tag, or only a draft.
        ForgeError: it refuses, or does not answer as its API does.

    Source: docs.github.com, "REST API endpoints for releases"; docs.gitlab.com, "Releases API";
    docs.gitea.com, "API", `repoGetReleaseByTag`.
    """
    at = "releases" if forge.kind == GITLAB else "releases/tags"
    url = f"{forge.api}/{at}/{quote(tag, safe='')}"
    try:
        found = requests.read_json(forge, url)
    except NoReleaseError as error:
        _demand_repository(forge)
        raise NoReleaseError(f"{forge.host} has no release of it") from error
    try:
        # GitHub shows drafts to those who may write. Source: docs.github.com, "Releases".
        if found.get("draft"):
            raise NoReleaseError(f"its release on {forge.host} is a draft")
        if forge.kind == GITLAB:
            return _of_gitlab(forge, found)
        return _of_github_or_gitea(forge, found)
    # OverflowError: JSON of Python has `Infinity`.
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise requests.not_of_api(forge, "no release in its answer") from error


def _demand_repository(forge: Forge) -> None:
    """Require that the forge shows the repository, which has no release of this tag.

    Raises:
        ForgeError: it is not shown; forges answer 404 for what somebody may not see.
    """
    try:
        requests.read_json(forge, forge.api)
    except NoReleaseError as error:
        what = "without a token" if forge.token is None else "with this token"
        raise requests.not_shown(forge, what) from error


def _of_github_or_gitea(forge: Forge, found: Mapping[str, Any]) -> ForgeRelease:
    listed = found["assets"]
    # What is in the release itself may be its first page.
    if forge.kind == GITHUB and len(listed) >= _PAGE:
        listed = _pages(forge, f"{forge.api}/releases/{int(found['id'])}/assets")
    assets, elsewhere = [], []
    for item in listed:
        # GitHub lists files whose upload has begun, or has failed.
        if item.get("state", "uploaded") != "uploaded":
            continue
        # Of Forgejo: a link to another place.
        if forge.kind == GITEA and item.get("type", "attachment") != "attachment":
            elsewhere.append(_place(item["name"], item["browser_download_url"]))
            continue
        # Not by the address in the answer, which could lead anywhere with the token.
        url = (
            f"{forge.api}/releases/assets/{int(item['id'])}"
            if forge.kind == GITHUB
            else f"{forge.site}/attachments/{quote(item['uuid'], safe='')}"
        )
        at = str(item.get("updated_at") or item.get("created_at") or "")[:_TIME_CHARS]
        digest = _SHA256.fullmatch(item.get("digest") or "")
        sha256 = digest[1].lower() if digest else None
        assets.append(Asset(str(item["name"]), url, _size(item["size"]), sha256, at))
    return ForgeRelease(tuple(assets), tuple(elsewhere))


def _of_gitlab(forge: Forge, found: Mapping[str, Any]) -> ForgeRelease:
    """Return the links of a release; its archives of the source tree are no distributions."""
    assets, elsewhere, digests = [], [], dict[str, str]()
    links = found["assets"]["links"]
    packages = {
        (match[1], match[2])
        for link in links
        if (match := re.search(r"/packages/generic/([^/]+)/([^/]+)/[^/]+$", link["url"]))
        and is_same_origin(link["url"], forge.site)
    }
    # A release has its files in one package; a link of the maintainer can name any.
    for package, version in sorted(packages)[:3]:
        digests |= _digests_of_gitlab(forge, unquote(package), unquote(version))
    for link in links:
        url = str(link["url"])
        # The title of a link may be any text.
        file = unquote(urlsplit(url).path.rpartition("/")[2])
        title = str(link["name"])
        shown = title if title.endswith((".whl", ".tar.gz", ".zip")) else file
        if not is_same_origin(url, forge.site):
            elsewhere.append(_place(shown, url))
            continue
        if forge.token is not None and (match := _UPLOAD.search(urlsplit(url).path)):
            # A token does not open the page of the link. Always of this repository: the link could
            # name another one that the token can read.
            url = f"{forge.api}/uploads/{match[1]}"
        assets.append(Asset(shown, url, sha256=digests.get(file)))
    return ForgeRelease(tuple(assets), tuple(elsewhere))


def _digests_of_gitlab(forge: Forge, package: str, version: str) -> dict[str, str]:
    """Return the sha256 of the files of a generic package, which its release does not list.

    Source: docs.gitlab.com, "Packages API", `package_files`.
    """
    query = f"package_name={quote(package, safe='')}&package_version={quote(version, safe='')}"
    found = dict[str, str]()
    try:
        for item in _pages(forge, f"{forge.api}/packages?{query}"):
            # The name is searched for as a part.
            if (item["name"], item["version"]) == (package, version):
                url = f"{forge.api}/packages/{int(item['id'])}/package_files"
                for file in _pages(forge, url):
                    if digest := _SHA256.fullmatch(file.get("file_sha256") or ""):
                        found[file["file_name"]] = digest[1].lower()
    # Without the rights for packages there is no digest, as for any other link.
    except NoReleaseError:
        return {}
    return found


def _pages(forge: Forge, url: str) -> Iterator[dict[str, Any]]:
    """Yield the items of a list, page by page."""
    url += "&" if "?" in url else "?"
    for number in range(1, _MOST_PAGES + 1):
        page = requests.read_json(forge, f"{url}per_page={_PAGE}&page={number}")
        yield from page
        if len(page) < _PAGE:
            return


def _size(value: Any) -> int:
    size_bytes = int(value)
    # Beyond that, JSON of other programs has no exact integers; and a forge may send any number.
    if not 0 <= size_bytes < 2**53:
        raise ValueError("no size of a file")
    return size_bytes


def _place(name: str, url: str) -> str:
    return f"{name[:_SHOWN_CHARS]} ({urlsplit(without_credentials(url)).netloc[:_SHOWN_CHARS]})"
