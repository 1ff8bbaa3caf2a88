"""Render the pages that installers read."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.index.published import Project
from pypi_insiders.util.media_types import SIMPLE_JSON

if TYPE_CHECKING:
    from jinja2 import Environment

API_VERSION = "1.1"
HTML = "text/html"
METADATA = ".metadata"
"""The ending of core metadata beside a wheel. Source: PEP 658."""


def project_list(names: Iterable[str], media_type: str) -> bytes:
    """Render the list of all projects.

    Args:
        names: normalized.
        media_type: `SIMPLE_JSON`, or anything else for HTML.

    Source: PEP 503, PEP 691.
    """
    if media_type == SIMPLE_JSON:
        return _json({"projects": [{"name": name} for name in names]})
    return _html("projects.html", names=names)


def project_detail(project: Project, media_type: str) -> bytes:
    """Render the page of one project; the URLs in it are relative to `simple/NAME/`.

    Args:
        project: with its published files.
        media_type: `SIMPLE_JSON`, or anything else for HTML.

    Source: PEP 503, 592 (yanked), 658 and 714 (core metadata), 691 (JSON), 700 (versions, sizes,
    upload times); keys that start with `_` are the index's own.
    """
    files = [_file(entry, project.yanked.get(entry.version)) for entry in project.files]
    if media_type == SIMPLE_JSON:
        return _json({"name": project.name, "versions": project.versions, "files": files})
    return _html("project.html", name=project.name, files=files)


def _file(entry: Entry, yanked: str | None) -> dict[str, Any]:
    if yanked is not None:
        yanked = yanked.encode(errors="replace").decode()  # of what a shell hands on
    told: dict[str, Any] = {
        "filename": entry.name,
        # Relative, so that a page is the same under any host, and in an export.
        "url": f"../../packages/{quote(entry.name)}",
        "hashes": {"sha256": entry.sha256},
        "size": entry.identity.size_bytes,
        # Without it, a file does not exist for uv with `exclude-newer`, and pip fails with
        # `--uploaded-prior-to`.
        "upload-time": time(entry.published_us),
        # An empty reason is `true`: as text it would mean that it is not yanked.
        "yanked": False if yanked is None else yanked or True,
    }
    # Left out, not null, as PEP 691 has it.
    if entry.requires_python is not None:
        told["requires-python"] = entry.requires_python
    # Without it, Poetry downloads each candidate.
    if entry.metadata_sha256 is not None:
        told["core-metadata"] = {"sha256": entry.metadata_sha256}
    if entry.origin is not None:
        told |= {f"_{key}": value for key, value in entry.origin._asdict().items()}
    return told


def time(epoch_us: int) -> str:
    """Write a time in microseconds of the epoch as installers read it. Source: PEP 700."""
    seconds, microseconds = divmod(epoch_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{microseconds:06}Z"


def _json(content: dict[str, Any]) -> bytes:
    document = {"meta": {"api-version": API_VERSION}, **content}
    return json.dumps(document, separators=(",", ":")).encode()


def _html(template: str, **values: object) -> bytes:
    text = _templates().get_template(template).render(api_version=API_VERSION, **values)
    return text.encode()


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader  # installers ask for JSON

    return Environment(
        loader=PackageLoader("pypi_insiders.server.web", "templates/installers"), autoescape=True
    )
