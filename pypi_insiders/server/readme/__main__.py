"""Render the README of the distribution on standard input, as JSON on standard output.

The README may be hostile: this process has limits of time and memory, and cannot write files.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.metadata import RawMetadata, parse_email

from pypi_insiders.index import file_contents
from pypi_insiders.util import bounded

_PROCESSOR_S = 5
_MEMORY_BYTES = 1024 * 1024 * 1024
_LONGEST_CHARS = 256 * 1024
_LONGEST_HTML_CHARS = 1024 * 1024
_LONGEST_LINE_CHARS = 500
_MOST_LINKS = 20
_MOST_DEPENDENCIES = 200
_LICENSE_CLASSIFIER = "License :: "
# The fields of `info` in the JSON API. Source: https://docs.pypi.org/api/json/
_TEXTS = (
    *("author", "author_email", "description_content_type", "download_url", "home_page"),
    *("license", "license_expression", "maintainer", "maintainer_email", "summary"),
)
_MOST_INFO_CHARS = 512 * 1024


def main() -> None:
    """Write the rendered README as JSON."""
    # Before foreign text is read: docutils and regular expressions have no limits of their own.
    bounded.limit(_PROCESSOR_S, _MEMORY_BYTES)
    # The server has opened the file, so this process needs no right to any.
    contents = file_contents.read(Path("/dev/stdin"), sys.argv[1])
    fields, _ = parse_email(contents.metadata)
    html, problem = _render(fields)
    found = {
        "summary": fields.get("summary", "")[:_LONGEST_LINE_CHARS],
        "links": _links(fields),
        "facts": {label: text for label, text in _facts(fields) if text},
        "dependencies": [
            text[:_LONGEST_LINE_CHARS]
            for text in fields.get("requires_dist", [])[:_MOST_DEPENDENCIES]
        ],
        "html": html,
        "problem": problem,
        "info": _info(fields),
    }
    sys.stdout.write(json.dumps(found))


def _info(fields: RawMetadata) -> dict[str, object]:
    """Return the metadata as the JSON API names it; what is missing is `None`."""
    named: dict[str, object] = dict(fields)
    found: dict[str, object] = {name: named.get(name) for name in _TEXTS}
    found |= {
        "classifiers": fields.get("classifiers", []),
        "keywords": ",".join(fields.get("keywords", [])) or None,
        "project_urls": fields.get("project_urls") or None,
        "provides_extra": fields.get("provides_extra") or None,
        "requires_dist": fields.get("requires_dist") or None,
        "description": fields.get("description", "")[:_LONGEST_CHARS],
    }
    # The server keeps some of these in memory. Texts can be left out; half of the dependencies, or
    # none, would be wrong.
    short: dict[str, object] = {**found, **dict.fromkeys((*_TEXTS, "keywords", "description"))}
    for shown in (found, short):
        if len(json.dumps(shown)) <= _MOST_INFO_CHARS:
            return shown
    return {}


def _links(fields: RawMetadata) -> dict[str, str]:
    """Return the URLs of a project. Source: Core metadata, `Project-URL`, `Home-page`."""
    found = {"Homepage": fields.get("home_page", ""), **fields.get("project_urls", {})}
    return {
        label[:_LONGEST_LINE_CHARS]: url
        for label, url in list(found.items())[:_MOST_LINKS]
        if label and url.startswith(("https://", "http://")) and len(url) <= _LONGEST_LINE_CHARS
    }


def _facts(fields: RawMetadata) -> Iterator[tuple[str, str]]:
    """Read what pypi.org shows beside a README. Source: Core metadata."""
    yield "Licence", _line(fields.get("license_expression", "") or _license(fields))
    yield "Author", _person(fields.get("author", ""), fields.get("author_email", ""))
    yield "Maintainer", _person(fields.get("maintainer", ""), fields.get("maintainer_email", ""))
    yield "Keywords", _line(", ".join(fields.get("keywords", [])))


def _person(name: str, address: str) -> str:
    """Join a name and an address, which may have the name itself: `Acme <dev@acme.example>`."""
    if not name or not address or name in address:
        return _line(address or name)
    return _line(f"{name}, {address}" if "<" in address else f"{name} <{address}>")


def _license(fields: RawMetadata) -> str:
    """Read the licence of a distribution that has no expression of SPDX for it."""
    found = [
        item.rpartition(" :: ")[2]
        for item in fields.get("classifiers", [])
        if item.startswith(_LICENSE_CLASSIFIER)
    ]
    # `License` may be the whole text; then the first line is its name.
    return ", ".join(found) or next(iter(fields.get("license", "").strip().splitlines()), "")


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_LINE_CHARS]


def _render(fields: RawMetadata) -> tuple[str, str]:
    """Return safe HTML of the README, and the problem of rendering it.

    Source: Core metadata, `Description-Content-Type`.
    """
    from pypi_insiders.server.readme.rendering import plain, rich  # they take 0.3 s

    text = fields.get("description", "").strip()
    problem = ""
    if len(text) > _LONGEST_CHARS:
        text, problem = text[:_LONGEST_CHARS], "The README is very long; this is its start."
    if not text:
        return "", ""
    html = rich(text, fields.get("description_content_type", ""))
    if html is None:
        problem = problem or "The README is not valid for its content type; this is its text."
        return plain(text), problem
    if len(html) > _LONGEST_HTML_CHARS:
        return plain(text), "The rendered README is too long; this is its text."
    return html, problem


if __name__ == "__main__":
    main()
