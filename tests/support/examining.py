"""Examine new files as the server does, in a thread that ends with its test."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from pypi_insiders.index.catalog import Catalog


@contextmanager
def keeping_up(catalog: Catalog) -> Iterator[None]:
    """Examine new files in a thread, as the server does, until the block ends."""
    has_ended = threading.Event()

    def learn(_projects: Iterable[str]) -> None:
        if has_ended.is_set():
            raise SystemExit

    def run() -> None:
        with suppress(SystemExit):
            catalog.keep_up(learn)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        while thread.is_alive():
            catalog._scan.news.set()
            thread.join(timeout=0.1)
