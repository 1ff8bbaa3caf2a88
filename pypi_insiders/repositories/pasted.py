"""Read the repository that a pasted address names: of a page of its host, or to clone it."""

import re
from typing import NamedTuple

GITHUB = "github.com"
# What follows a repository in the addresses of pages: of GitLab, and of Forgejo, Gitea, Bitbucket.
_PAGES = r"/-/|/(?:src|tree|blob|raw|releases|tags|commits?|branches|issues|pulls?|wiki)(?:/|$)"


class Pasted(NamedTuple):
    """An address that was pasted in place of `NS/PROJ`."""

    name: str
    """`NS/PROJ`, the last two parts of its path, not checked yet."""
    url: str | None
    """Where Git finds it; `None`: where it does by default."""
    place: tuple[str, str]
    """Host and path in lower case, by which two addresses of one repository are the same."""


def parse(text: str) -> Pasted | None:
    """Read an address; `None`: the text is none, or names no repository."""
    if match := re.fullmatch(r"(\w+)://(?:[^/@]*@)?([^/]*)/+(.*)", text):
        scheme, host, path = match[1].lower(), match[2].lower(), match[3]
    elif match := re.fullmatch(r"[\w.-]+@([\w.-]+):(?!//)/?(.*)", text):
        scheme, host, path = "ssh", match[1].lower(), match[2]
    elif match := re.fullmatch(rf"(?:www\.)?{re.escape(GITHUB)}/(.*)", text, re.IGNORECASE):
        scheme, host, path = "https", GITHUB, match[1]
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
    parts = [part for part in path.removesuffix(".git").split("/") if part]
    if len(parts) < 2:
        return None
    if host == GITHUB and (scheme == "ssh" or (is_web and not is_to_clone)):
        # An address of the browser says nothing of how Git is to get there.
        url = None
    else:
        url = f"{scheme}://{host}/{path}" if is_web and not is_to_clone else text
    host = host.partition(":")[0]
    return Pasted("/".join(parts[-2:]), url, (host, "/".join(parts).casefold()))
