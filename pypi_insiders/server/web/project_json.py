"""Describe projects as the JSON API of PyPI does."""

import json
from typing import Any
from urllib.parse import quote

from pypi_insiders.index import distribution
from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.index.published import Project
from pypi_insiders.server.web import page_data, pages
from pypi_insiders.util.plain_text import encodable

MEDIA_TYPE = "application/json"


def render(url: str, project: Project) -> bytes:
    """Write the answer to `/pypi/NAME/json`.

    Args:
        url: of the index, without a slash at the end.
        project: that has files.

    Source: https://docs.pypi.org/api/json/
    """
    # PyPI gives the newest yanked release if there is no other; Renovate would propose it.
    best = page_data.newest(project)
    # A release that is yanked must never be what a client takes for the current one.
    current = [] if best[0].version in project.yanked else best
    releases: dict[str, list[dict[str, Any]]] = {}
    for entry in project.files:
        releases.setdefault(entry.version, []).append(_file(url, project, entry))
    content = {
        "info": _info(url, project, current),
        # Clients of the original require these keys; here nothing is mirrored or audited.
        "last_serial": 0,
        "releases": releases,
        "urls": releases[current[0].version] if current else [],
        "vulnerabilities": [],
    }
    return json.dumps(content, separators=(",", ":")).encode()


def _info(url: str, project: Project, current: list[Entry]) -> dict[str, Any]:
    page = f"{url}/project/{project.name}/"
    version = current[0].version if current else None
    return {
        "name": project.name,
        "version": version,
        "requires_python": next((it.requires_python for it in current if it.requires_python), None),
        "package_url": page,
        "project_url": page,
        "release_url": f"{page}#{quote(version, safe='+!')}" if version else page,
        "yanked": False,
        "yanked_reason": None,
    }


def _file(url: str, project: Project, entry: Entry) -> dict[str, Any]:
    reason = project.yanked.get(entry.version)
    uploaded = pages.time(entry.published_us)
    is_wheel = distribution.is_wheel(entry.name)
    return {
        "digests": {"sha256": entry.sha256},
        "filename": entry.name,
        "packagetype": "bdist_wheel" if is_wheel else "sdist",
        "python_version": entry.name.split("-")[-3] if is_wheel else "source",
        "requires_python": entry.requires_python,
        "size": entry.identity.size_bytes,
        "upload_time": uploaded.partition(".")[0],
        "upload_time_iso_8601": uploaded,
        "url": f"{url}/packages/{quote(entry.name)}",
        "yanked": reason is not None,
        # Of what a shell has handed on.
        "yanked_reason": encodable(reason) if reason else None,
    }
