"""Read what a request asks for."""

import re
from functools import cache
from typing import Any
from wsgiref.types import WSGIEnvironment

# No `.` and `..`, which clients resolve, and no longer than any proxy needs.
_PREFIX = re.compile(r"(?=.{1,200}\Z)(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+/?", re.ASCII)


class Request:
    """A request, as far as answers depend on it."""

    __slots__ = ("environ", "method", "path")

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ["PATH_INFO"]

    def header(self, name: str) -> str | None:
        """Return a header field, by its name in any case; `None`: the request has none such."""
        value: Any = self.environ.get(_key(name))
        return value  # type: ignore[no-any-return]

    @property
    def query(self) -> str:
        """What follows the question mark."""
        return str(self.environ.get("QUERY_STRING", ""))

    @property
    def prefix(self) -> str:
        """The path below which a proxy serves the index, as `/pypi`; empty without one.

        Only the client that sends the header gets it back: answers vary by it.

        Source: https://doc.traefik.io/traefik/middlewares/http/stripprefix/
        """
        # It goes into lines that are pasted into shells: nothing that a shell or TOML would read.
        prefix = self.header("X-Forwarded-Prefix") or ""
        return prefix.rstrip("/") if _PREFIX.fullmatch(prefix) else ""

    @property
    def client(self) -> str:
        """The program that asks, as it names itself; empty where it does not."""
        return self.header("User-Agent") or ""


@cache
def _key(name: str) -> str:
    return f"HTTP_{name.upper().replace('-', '_')}"
