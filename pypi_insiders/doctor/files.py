"""Compare the published files with what is remembered of them."""

from collections.abc import Iterator

from pypi_insiders import comparison
from pypi_insiders.doctor.finding import Finding, ok, problem
from pypi_insiders.errors import InsidersError
from pypi_insiders.paths import Paths


def look(paths: Paths, *, verify: bool) -> Iterator[Finding]:
    """Compare each published file: its size and time, or the hash of all that it holds.

    Args:
        paths: where everything lies.
        verify: whether every file is read.
    """
    try:
        found = comparison.compare(paths, verify=verify)
    except InsidersError as error:
        yield problem("files", error.message, error.hint)
        return
    for item in found:
        yield problem("files", item.text, comparison.hint(item))
    if not found:
        yield ok("files", "as they were published" + (", by the hash of each" if verify else ""))
