"""Render the templates of the pages for people."""

from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pypi_insiders.server.web import code_spans
from pypi_insiders.util import times
from pypi_insiders.util.formatting import counted, size
from pypi_insiders.util.plain_text import printable

_PARTS_AT_ONCE = 1000


def render(template: str, **values: object) -> bytes:
    """Render a template of `templates/people`, as UTF-8."""
    # Not render(), which has all parts of a page in memory at once: those of an index with
    # thousands of projects take several times as much as the page.
    parts = _templates().get_template(template).stream(values)
    parts.enable_buffering(_PARTS_AT_ONCE)
    page = BytesIO()
    # What a shell hands on may be no text.
    parts.dump(page, "utf-8", "replace")
    return page.getvalue()


@cache
def _templates() -> Environment:
    # A name that is misspelled in a template is an error, and not an empty place on a page.
    environment = Environment(
        loader=PackageLoader("pypi_insiders.server.web", "templates/people"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "counted": counted,
        "marked": _marked,
        "rfc3339": times.rfc3339,
        "size": _size,
        "when": _when,
    }
    return environment


def _shown(value: Any) -> Any:
    """Show what comes from a repository as it is; what is markup already has been cleaned."""
    # `Markup` is a `str` too: by its exact type foreign text is told from it.
    return printable(value) if type(value) is str else value


def _marked(text: str, *, has_copy: bool = False) -> Markup:
    return Markup(code_spans.html(text, has_copy=has_copy))  # noqa: S704  # it escapes


def _when(epoch_s: float) -> str:
    """Write a time for people: `2026-11-22 21:30 UTC`."""
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%d %H:%M %Z}"


def _size(size_bytes: int) -> str:
    return size(size_bytes).replace(" ", "\N{NO-BREAK SPACE}")
