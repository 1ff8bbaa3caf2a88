"""Say what to paste, so that pip, uv, PDM, Poetry and Hatch find the index."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from pypi_insiders.config import addresses
from pypi_insiders.server.web.request import Request


@dataclass(frozen=True)
class Snippet:
    """Some lines for one program."""

    tool: str
    where: str
    """Where they go: words before a colon."""
    text: str


def base_url(request: Request) -> str:
    """Tell by which URL the index was called, up to the port.

    Behind a proxy with TLS the request itself is plain, and what a proxy says of it cannot be
    believed. A browser says where a request comes from to those alone that it trusts: by https, and
    this machine.

    Source: https://www.w3.org/TR/fetch-metadata/#framework
    """
    host = request.header("Host") or f"localhost:{request.environ['SERVER_PORT']}"
    is_trusted = request.header("Sec-Fetch-Site") is not None
    scheme = "https" if is_trusted and not _is_loopback(f"http://{host}") else "http"
    return f"{scheme}://{host}"


def _is_loopback(url: str) -> bool:
    return addresses.is_loopback(urlsplit(url).hostname or "")


def for_all(url: str) -> list[Snippet]:
    """Say how a program gets to know the index for good.

    Args:
        url: of the index, up to the port.
    """
    simple, beside = f"{url}/simple/", f"{url}/insiders/simple/"
    return [
        Snippet("pip", "In the shell", f"export PIP_INDEX_URL={simple}{_trust(url)}"),
        Snippet(
            "uv", "In pyproject.toml", f'[[tool.uv.index]]\nname = "insiders"\nurl = "{beside}"'
        ),
        Snippet(
            "PDM",
            "In pyproject.toml",
            f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{simple}"',
        ),
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
    """Say how a program adds one project.

    Args:
        url: of the index, up to the port.
        name: normalized.
    """
    simple, beside = f"{url}/simple/", f"{url}/insiders/simple/"
    trust = "" if _is_safe(url) else f" --trusted-host {urlsplit(url).netloc}"
    return [
        Snippet("pip", "In the shell", f"pip install --index-url {simple}{trust} {name}"),
        Snippet("uv", "In a project", f"uv add --index insiders={beside} {name}"),
        Snippet("PDM", "In a project", f"PDM_PYPI_URL={simple} pdm add {name}"),
        Snippet(
            "Poetry",
            "In a project",
            f"poetry source add --priority=primary insiders {simple}\npoetry add {name}",
        ),
    ]


def _is_safe(url: str) -> bool:
    """Tell whether pip takes a URL without being told to."""
    return url.startswith("https:") or _is_loopback(url)


def _trust(url: str) -> str:
    return "" if _is_safe(url) else f"\nexport PIP_TRUSTED_HOST={urlsplit(url).netloc}"
