"""Write the lines to paste that point installers to the index."""

import shlex
from dataclasses import dataclass
from urllib.parse import urlsplit

from pypi_insiders.config import addresses, client_variables
from pypi_insiders.server.web.request import Request

VARY = "Sec-Fetch-Site, X-Forwarded-Prefix"
"""The headers on which `base_url` depends, beside `Host`."""


@dataclass(frozen=True)
class Snippet:
    """Some lines for one installer, or for a shell."""

    tool: str
    where: str
    """Where the lines belong: words before a colon."""
    text: str


def base_url(request: Request, loopback: str | None) -> str:
    """Return the URL by which a client calls the index, without a slash at the end.

    Behind a proxy with TLS the request itself is plain, and what a proxy says of it cannot be
    believed. A browser says where a request comes from to those alone that it trusts: by https, and
    this machine.

    Args:
        request: of the client.
        loopback: how to write the host in URLs for this machine, however the client wrote it.

    Source: https://www.w3.org/TR/fetch-metadata/#framework
    """
    # HTTP/1.0 may have no `Host`; the guard has refused all else without one.
    host = request.header("Host") or f"localhost:{request.environ['SERVER_PORT']}"
    if _is_loopback(f"http://{host}"):
        # The port stays: ssh may forward another one to here.
        port = urlsplit(f"http://{host}").port
        host = f"{loopback or host.rpartition(':')[0]}:{port}" if port else loopback or host
        return f"http://{host}{request.prefix}"
    is_trusted = request.header("Sec-Fetch-Site") is not None
    return f"{'https' if is_trusted else 'http'}://{host}{request.prefix}"


def _is_loopback(url: str) -> bool:
    return addresses.is_loopback(urlsplit(url).hostname or "")


def for_all(url: str) -> list[Snippet]:
    """Return the lines that make installers use the index for all projects.

    Args:
        url: of the index, without `/simple/`.
    """
    simple, beside = f"{url}/simple/", f"{url}/insiders/simple/"
    # All of them: with pip's alone, pipx, which runs uv, would install the public release.
    variables = dict.fromkeys(client_variables.INDEX, simple)
    if not _is_safe(url):
        variables[client_variables.TRUSTED_HOST] = urlsplit(url).netloc
    exports = (f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    return [
        Snippet("Shell", "For pip, uv, PDM, pipx and tox in one shell", "\n".join(exports)),
        # Beside PyPI, so that uv.lock has this URL only for the projects that are served here.
        Snippet(
            "uv", "In pyproject.toml", f'[[tool.uv.index]]\nname = "insiders"\nurl = "{beside}"'
        ),
        # Only a source of the name `pypi` replaces PDM's own; of two the higher version wins.
        Snippet(
            "PDM",
            "In pyproject.toml",
            f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{simple}"',
        ),
        # A primary source switches PyPI off; of several, the highest version wins (Poetry 2.5).
        Snippet(
            "Poetry",
            "In pyproject.toml",
            f'[[tool.poetry.source]]\nname = "insiders"\nurl = "{simple}"\npriority = "primary"',
        ),
        Snippet(
            "Hatch",
            "In pyproject.toml",
            f'[tool.hatch.envs.default.env-vars]\nPIP_INDEX_URL = "{simple}"\n'
            f'UV_INDEX = "{beside}"',
        ),
    ]


def for_one(url: str, name: str) -> list[Snippet]:
    """Return the lines that install one project.

    Args:
        url: of the index, without `/simple/`.
        name: normalized.
    """
    simple, beside = f"{url}/simple/", f"{url}/insiders/simple/"
    trust = "" if _is_safe(url) else f" --trusted-host {urlsplit(url).netloc}"
    return [
        Snippet("pip", "In an environment", f"pip install --index-url {simple}{trust} {name}"),
        Snippet("uv", "In a project", f"uv add --index insiders={beside} {name}"),
        Snippet("PDM", "In a project", f"PDM_PYPI_URL={simple} pdm add {name}"),
        Snippet(
            "Poetry",
            "In a project",
            f"poetry source add --priority=primary insiders {simple}\npoetry add {name}",
        ),
    ]


def _is_safe(url: str) -> bool:
    """Check whether pip takes a URL without `--trusted-host`."""
    return url.startswith("https:") or _is_loopback(url)
