"""templating: pages for people."""

import tracemalloc
from typing import Any

from pypi_insiders.index.overview import IndexOverview
from pypi_insiders.server.web import templating
from pypi_insiders.server.web.page_data import Row


def _front(rows: list[Row]) -> bytes:
    values: dict[str, Any] = {"root": "./", "url": "http://localhost:31411", "is_private": False}
    values |= {"has_checks": False, "checked_at": 0, "services_at": None, "snippets": ()}
    values |= {"items": [], "more_items": [], "index": IndexOverview(()), "rows": rows}
    return templating.render("front.html", **values)


def test_a_page_of_many_projects_takes_little_more_memory_than_itself() -> None:
    """An index keeps the most that it ever took."""
    rows = [Row(f"project-{n}", f"project-{n}", version="1.0") for n in range(2000)]
    _front(rows[:1])  # which compiles the template
    tracemalloc.start()
    try:
        page = _front(rows)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert b"project-1999" in page
    assert peak_bytes < 2 * len(page)
