"""Read the repository that a pasted address names: of a page of its host, or to clone it."""

import re
from typing import NamedTuple
from urllib.parse import unquote

GITHUB = "github.com"
# What follows a repository in the addresses of pages: of GitLab, and of Forgejo, Gitea, Bitbucket.
_PAGES = r"/-/|/(?:src|tree|blob|raw|releases|tags|commits?|branches|issues|pulls?|wiki)(?:/|$)"
# The hosts that answer for another one on ssh.
# Source: docs.github.com, "Using SSH over the HTTPS port"; the same of the others.
_SSH_HOSTS = {
    "ssh.github.com": GITHUB,
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
    "ssh.dev.azure.com": "dev.azure.com",
}


class Pasted(NamedTuple):
    """An address that was pasted in place of `NS/PROJ`."""

    name: str
    """All parts of its path, such as `NS/PROJ`, not checked yet."""
    url: str | None
    """Where Git finds it; `None`: where it does by default."""
    place: tuple[str, str]
    """Host and path in lower case, by which two addresses of one repository are the same."""

    @property
    def full_name(self) -> str:
        """The name with its host before it, where another host has a repository of that name."""
        return f"{self.place[0]}/{self.name}"


def parse(text: str) -> Pasted | None:
    """Read an address; `None`: the text is none, or names no repository."""
    if match := re.fullmatch(r"(\w+)://([^/@]*@)?([^/]*)/+(.*)", text):
        scheme, user, host, path = match[1].lower(), match[2] or "", match[3].lower(), match[4]
    elif match := re.fullmatch(r"[\w.-]+@([\w.-]+):(?!//)/?(.*)", text):
        scheme, user, host, path = "ssh", "", match[1].lower(), match[2]
    # As browsers show it. A namespace of GitHub has no dot.
    elif match := re.fullmatch(r"([\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}(?::\d+)?)/([^/]+/.*)", text):
        scheme, user, host, path = "https", "", match[1].lower(), match[2]
    else:
        return None
    is_web = scheme in ("http", "https")
    is_to_clone = path.rstrip("/").endswith(".git")
    path = re.sub(r"[?#].*", "", path).rstrip("/") if is_web else path.rstrip("/")
    host = host.removeprefix("www.")
    if is_web and not is_to_clone:
        path = re.split(_PAGES, path, maxsplit=1)[0]
        if host == GITHUB:
            path = "/".join(path.split("/")[:2])
    name = host.partition(":")[0]
    parts = _parts(path, name)
    if len(parts) < 2:
        return None
    url: str | None = f"{scheme}://{user}{host}/{path}" if is_web else text
    place = (_SSH_HOSTS.get(name, name), "/".join(parts).casefold())
    if place[0] == GITHUB and is_web:
        url = f"{scheme}://{user}{host}/{path.removesuffix('.git')}.git"
    elif name == GITHUB and scheme == "ssh":
        url = None
    # A path of this machine has parts that name nothing.
    return Pasted("/".join(parts[-2:] if scheme == "file" else parts), url, place)


def is_same(url: str | None, other: str | None) -> bool:
    """Return whether two URLs lead to one repository, such as over ssh and over https."""
    if url == other:
        return True
    one, two = (parse(text or "") for text in (url, other))
    return one is not None and two is not None and one.place == two.place


def _parts(path: str, host: str) -> list[str]:
    """Return the parts of a path that name a repository."""
    parts = [part for part in path.removesuffix(".git").split("/") if part]
    # Of Azure: `v3/ORG/PROJECT/REPO` for ssh, `ORG/PROJECT/_git/REPO` for https.
    # Source: https://learn.microsoft.com/azure/devops/repos/git/clone
    if host in ("ssh.dev.azure.com", "vs-ssh.visualstudio.com") and parts[:1] == ["v3"]:
        del parts[0]
    # Of Bitbucket Data Center.
    if parts[:1] == ["scm"] and len(parts) > 2:
        del parts[0]
    # Spaces and the like, which a name cannot have.
    named = (re.sub(r"[^A-Za-z0-9_.-]+", "-", unquote(part)).lstrip("-") for part in parts)
    return [part for part in named if part not in ("", "_git")]
