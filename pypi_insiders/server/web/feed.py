"""Write the Atom feeds of releases."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from pypi_insiders.index.published import Project
from pypi_insiders.repositories.state import Build
from pypi_insiders.server.web import page_data, templating
from pypi_insiders.server.web.page_data import ShownRelease

NAME = "releases.atom"
MEDIA_TYPE = "application/atom+xml; charset=utf-8"
# Readers come back within days, and an index of hundreds of projects is not sent as a whole.
_MOST_ENTRIES = 50
# `printable` leaves these, which XML 1.0 does not have. Source: XML 1.0, section 2.2.
_NO_XML = re.compile("[\ufffe\uffff]")


@dataclass(frozen=True)
class FeedEntry:
    """One release."""

    id: str
    project: str
    release: ShownRelease
    url: str
    """Of its place on the page of the project."""


def render(url: str, project: str | None, entries: Sequence[FeedEntry]) -> bytes:
    """Write a feed of the index.

    Args:
        url: of the index, without a slash at the end.
        project: normalized; `None`: the feed is of all projects.
        entries: newest first.
    """
    title = f"Releases of {project or url.partition('//')[2]}"
    page = f"{url}/project/{project}/" if project else f"{url}/"
    return _render(project, title, page, f"{url}/{path(project)}", entries)


def render_exported(
    projects: Iterable[Project], builds: Sequence[Build], name: str | None
) -> bytes:
    """Write a feed of an export, which may be at any URL: all links are relative to the feed.

    Args:
        projects: of which.
        builds: all that may have made one of the files.
        name: of the one project; `None`: the feed is of all projects.
    """
    root = "../" * path(name).count("/")
    found = [
        # There is no page for people, but the one of installers.
        replace(entry, url=f"{root}simple/{entry.project}/")
        for entry in entries("", projects, builds)
    ]
    page = f"{root}simple/{name}/" if name else f"{root}simple/"
    return _render(name, f"Releases of {name or 'all projects'}", page, NAME, found)


def path(project: str | None) -> str:
    """Return the path of a feed below the index; `None`: that of all projects."""
    return f"project/{project}/{NAME}" if project else f"-/{NAME}"


def _render(
    project: str | None, title: str, page: str, own: str, entries: Sequence[FeedEntry]
) -> bytes:
    """Write a feed. Source: RFC 4287."""
    text = templating.render(
        "releases.atom",
        id=_id(project or ""),
        title=title,
        page=page,
        own=own,
        entries=entries,
        # RFC 4287 demands a time also of a feed in which there is nothing yet.
        updated_at=max((entry.release.published_at for entry in entries), default=0),
    ).decode()
    return _NO_XML.sub("?", text).encode()


def entries(url: str, projects: Iterable[Project], builds: Sequence[Build]) -> list[FeedEntry]:
    """List the newest releases of some projects, newest first.

    Args:
        url: of the index, without a slash at the end.
        projects: of which.
        builds: all that may have made one of the files.
    """
    made = page_data.made_by(builds)
    found = [
        FeedEntry(
            _id(f"{project.name}/{release.version}"),
            project.name,
            release,
            f"{url}/project/{project.name}/#{quote(release.version, safe='+!')}",
        )
        for project in projects
        for release in page_data.releases(project, made)
    ]
    found.sort(key=lambda entry: (-entry.release.published_at, entry.project))
    return found[:_MOST_ENTRIES]


def _id(what: str) -> str:
    # Of no address: a reader who calls the index by another name is not shown all releases anew.
    return uuid5(NAMESPACE_URL, f"pypi-insiders:{what}").urn
