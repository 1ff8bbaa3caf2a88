"""Find the forge of a repository, and the addresses of its API."""

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import quote, urlsplit

from pypi_insiders.config.validators import FORGES
from pypi_insiders.forges.errors import ForgeError
from pypi_insiders.util.without_credentials import without_credentials

GITHUB, GITLAB, GITEA = FORGES
# Other hosts are not tried out: a question with the token would go to a program that is none of
# these, and an answer of it would be taken for a forge's.
_KNOWN = {"github.com": GITHUB, "gitlab.com": GITLAB, "codeberg.org": GITEA, "gitea.com": GITEA}
# The hosts that answer for another one on ssh.
# Source: docs.github.com, "Using SSH over the HTTPS port"; the same of GitLab.
_SSH_HOSTS = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}


@dataclass(frozen=True)
class Forge:
    """A repository on a forge."""

    kind: str
    """One of `FORGES`."""
    site: str
    """Scheme and host, such as `https://github.com`."""
    path: str
    """`NS/PROJ`; on GitLab with any number of parts."""
    name: str
    """`NS/PROJ` as it is watched, for hints."""
    # No traceback may show it.
    token: str | None = field(default=None, repr=False)
    """The token for its API; `None`: it is asked anonymously."""

    @property
    def host(self) -> str:
        """The host, with its port if it is another one than that of https."""
        return urlsplit(self.site).netloc

    def has(self, url: str) -> bool:
        """Return whether a URL of Git, over any transport, is of this repository."""
        parts = _parts(without_credentials(url))
        return parts is not None and (parts[1], parts[2].lower()) == (self.host, self.path.lower())

    @property
    def api(self) -> str:
        """The URL of the API for this repository.

        Source: docs.github.com, "REST API", and the same of Enterprise Server; docs.gitlab.com,
        "REST API"; docs.gitea.com, "API Usage".
        """
        if self.kind == GITLAB:
            return f"{self.site}/api/v4/projects/{quote(self.path, safe='')}"
        base = f"{self.site}/api/v1"
        if self.kind == GITHUB:
            # Only these two have a host of their own for the API: the others are of the customer.
            is_cloud = self.host == "github.com" or self.host.endswith(".ghe.com")
            base = f"https://api.{self.host}" if is_cloud else f"{self.site}/api/v3"
        return f"{base}/repos/{quote(self.path)}"


def forge_of(url: str, kind: str | None = None, *, name: str, insecure_http: bool = False) -> Forge:
    """Return the forge of a repository.

    Args:
        url: where Git finds the repository, over any transport.
        kind: one of `FORGES`; `None`: by its host.
        name: `NS/PROJ` as it is watched, for hints.
        insecure_http: whether the API of a URL of http is asked over http.

    Raises:
        ForgeError: its host is of no known forge, or it is on this machine.
    """
    parts = _parts(url)
    if parts is None:
        raise ForgeError(
            f"{without_credentials(url)} is on no forge, which could have assets",
            f"build its tags: `pypi-insiders repos set {name} assets=never`",
        )
    scheme, host, path = parts
    found = kind or (GITHUB if host.endswith(".ghe.com") else _KNOWN.get(host))
    if found is None:
        raise ForgeError(
            f"{host} is not known as a forge, so that it is not asked for assets",
            f"name its program: `pypi-insiders repos set {name} forge=gitlab`, or github, or "
            "gitea, also for Forgejo",
        )
    # Of git and ssh the port is another one than that of the pages and the API.
    is_plain = scheme == "http" and insecure_http
    return Forge(found, f"{'http' if is_plain else 'https'}://{host}", path, name)


def is_known(url: str, kind: str | None) -> bool:
    """Return whether a repository is on a forge; its `kind` is as in `forge_of`."""
    try:
        forge_of(url, kind, name="")
    except ForgeError:
        return False
    return True


def _parts(url: str) -> tuple[str, str, str] | None:
    """Return scheme, host and path of a repository; `None`: it has no host."""
    # Not urlsplit(), which raises for some of what Git takes.
    if match := re.fullmatch(r"(\w+)://(?:[^/@]*@)?(\[[^\]/]*\]|[^][/:]*)(:\d*)?/+(.*)", url):
        scheme, host, port, path = match[1].lower(), match[2].lower(), match[3] or "", match[4]
    elif match := re.fullmatch(r"(?:[\w.-]+@)?([\w.-]+):(?!//)(.*)", url):
        scheme, host, port, path = "ssh", match[1].lower(), "", match[2]
    else:
        return None
    path = path.strip("/").removesuffix(".git")
    if scheme == "file" or not host or "/" not in path or not _is_host(host):
        return None
    is_web = scheme in ("http", "https")
    return scheme, (f"{host}{port}" if is_web else _SSH_HOSTS.get(host, host)), path


def _is_host(text: str) -> bool:
    # Git's own settings may have replaced the URL (`insteadOf`), by one that nobody has checked.
    try:
        return not text.startswith("[") or bool(IPv6Address(text[1:-1]))
    except ValueError:
        return False
