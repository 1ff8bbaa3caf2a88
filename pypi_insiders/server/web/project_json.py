"""Describe projects as the JSON API of PyPI does."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from packaging.utils import canonicalize_version

from pypi_insiders.index import distribution
from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.index.published import Project
from pypi_insiders.server.web import page_data, pages
from pypi_insiders.util.plain_text import encodable

MEDIA_TYPE = "application/json"
_NO_INFO: Mapping[str, Any] = {
    **dict.fromkeys((
        *("author", "author_email", "description", "description_content_type", "download_url"),
        *("home_page", "keywords", "license", "license_expression", "maintainer"),
        *("maintainer_email", "project_urls", "provides_extra", "requires_dist", "summary"),
    )),
    "classifiers": [],
}  # fmt: skip


def current(project: Project) -> list[Entry]:
    """Return the files of the release that clients are to take for the current one.

    Returns:
        Those of the newest release that is not yanked; none where all are.
    """
    # PyPI gives the newest yanked release if there is no other; Renovate would propose it.
    best = page_data.newest(project)
    return [] if best[0].version in project.yanked else best


def of_version(project: Project, version: str) -> list[Entry]:
    """Return the files of a release, whose version may be written in another way."""
    try:
        wanted = canonicalize_version(version)
    except ValueError:  # Python reads no numbers of thousands of digits
        return []
    return [entry for entry in project.files if canonicalize_version(entry.version) == wanted]


def render(
    url: str, project: Project, shown: Sequence[Entry], info: Mapping[str, Any], *, is_release: bool
) -> bytes:
    """Write the answer to `/pypi/NAME/json` or `/pypi/NAME/VERSION/json`.

    Args:
        url: of the index, without a slash at the end.
        project: that has files.
        shown: the files of the release that is described; none where all are yanked.
        info: the metadata of one of them.
        is_release: whether this release is asked for; its answer has no list of releases.

    Source: https://docs.pypi.org/api/json/
    """
    releases: dict[str, list[dict[str, Any]]] = {}
    for entry in project.files:
        releases.setdefault(entry.version, []).append(_file(url, project, entry))
    content = {
        "info": _info(url, project, shown, info),
        # Clients of the original require these keys; here nothing is mirrored or audited.
        "last_serial": 0,
        **({} if is_release else {"releases": releases}),
        "urls": releases[shown[0].version] if shown else [],
        "vulnerabilities": [],
    }
    return json.dumps(content, separators=(",", ":")).encode()


def _info(
    url: str, project: Project, shown: Sequence[Entry], info: Mapping[str, Any]
) -> dict[str, Any]:
    page = f"{url}/project/{project.name}/"
    version = shown[0].version if shown else None
    reason = project.yanked.get(version or "")
    return {
        **_NO_INFO,
        **info,
        "name": project.name,
        "version": version,
        "requires_python": next((it.requires_python for it in shown if it.requires_python), None),
        "package_url": page,
        "project_url": page,
        "release_url": f"{page}#{quote(version, safe='+!')}" if version else page,
        "yanked": reason is not None,
        "yanked_reason": encodable(reason) if reason else None,
    }


def _file(url: str, project: Project, entry: Entry) -> dict[str, Any]:
    reason = project.yanked.get(entry.version)
    uploaded = pages.time(entry.published_us)
    is_wheel = distribution.is_wheel(entry.name)
    return {
        "digests": {"sha256": entry.sha256},
        "filename": entry.name,
        "packagetype": "bdist_wheel" if is_wheel else "sdist",
        # The tag of the Python, such as `cp312`, as PyPI has it.
        "python_version": entry.name.split("-")[-3] if is_wheel else "source",
        "requires_python": entry.requires_python,
        "size": entry.identity.size_bytes,
        # Of PyPI, this one has neither a fraction nor a time zone.
        "upload_time": uploaded.partition(".")[0],
        "upload_time_iso_8601": uploaded,
        "url": f"{url}/packages/{quote(entry.name)}",
        "yanked": reason is not None,
        # Of what a shell has handed on.
        "yanked_reason": encodable(reason) if reason else None,
    }
